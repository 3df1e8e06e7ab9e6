//! The keys of this system: one row each, with default, kind and meaning. Rows that end in `unused`
//! are checked and then without effect, which setting them is a warning about.
//!
//! Names and fallback chains are Apache Ozone's. A key that is not here and not in
//! [`super::known`] is a mistake, and is refused.

/// What a value has to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Comma-separated texts.
    List,
    /// A size, such as `256MB`.
    Size,
    /// A duration, such as `30s`; a bare number counts milliseconds.
    Duration,
    /// A whole number, not negative.
    Int,
    /// A share between 0 and 1.
    Fraction,
    /// `true` or `false`.
    Bool,
    /// `host:port`; a bare host takes this port, a bare port the loopback address.
    Address(u16),
    /// Comma-separated absolute directories.
    Dirs,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// Where a directory is looked for when its own key is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// The key asked next.
    pub key: &'static str,
    /// A directory below that key's value; empty for the value itself.
    pub below: &'static str,
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    /// Its name.
    pub name: &'static str,
    /// Its value when nothing sets it; none when it has to be set, or may be left out.
    pub default: Option<&'static str>,
    /// What its value has to look like.
    pub kind: Kind,
    /// What it is for.
    pub doc: &'static str,
    /// Asked, for directories, when the key is not set.
    pub fallback: Option<Fallback>,
    /// Other names of the same key.
    pub aliases: &'static [&'static str],
    /// Whether `name.<service>` and `name.<service>.<node>` may stand for it.
    pub per_node: bool,
    /// Whether 0 makes no sense. Where it may be had, it stands for none, off, or any (a port).
    pub above_zero: bool,
    /// Whether a value other than the default changes anything in this version.
    pub has_effect: bool,
}

impl KeySpec {
    const fn new(name: &'static str, default: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self {
            name,
            default: Some(default),
            kind,
            doc,
            fallback: None,
            aliases: &[],
            per_node: false,
            above_zero: false,
            has_effect: true,
        }
    }

    const fn unset(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        let mut spec = Self::new(name, "", kind, doc);
        spec.default = None;
        spec
    }

    const fn dirs(
        name: &'static str,
        key: &'static str,
        below: &'static str,
        doc: &'static str,
    ) -> Self {
        let mut spec = Self::unset(name, Kind::Dirs, doc).per_node();
        spec.fallback = Some(Fallback { key, below });
        spec
    }

    const fn address(
        name: &'static str,
        default: &'static str,
        port: u16,
        doc: &'static str,
    ) -> Self {
        Self::new(name, default, Kind::Address(port), doc).per_node()
    }

    const fn alias(mut self, names: &'static [&'static str]) -> Self {
        self.aliases = names;
        self
    }

    /// Accepted, without effect: what it is for is not there yet, or is not to be chosen here.
    const fn unused(mut self) -> Self {
        self.has_effect = false;
        self
    }

    const fn above_zero(mut self) -> Self {
        self.above_zero = true;
        self
    }

    const fn per_node(mut self) -> Self {
        self.per_node = true;
        self
    }
}

/// Every key that this system has, in groups.
#[rustfmt::skip]
pub const KEYS: &[KeySpec] = &[
    // Directories.
    KeySpec::unset("ozone.metadata.dirs", Kind::Dirs, "Where servers keep what has no place of its own: databases, logs, keys, certificates.").alias(&["ozone.metadata.dir"]).per_node(),
    KeySpec::dirs("ozone.om.db.dirs", "ozone.metadata.dirs", "", "The namespace database of the OM."),
    KeySpec::dirs("ozone.om.ratis.storage.dir", "ozone.metadata.dirs", "ratis", "The Raft log of the OM."),
    KeySpec::dirs("hdds.scm.metadata.dirs", "ozone.metadata.dirs", "", "Where the SCM keeps what has no place of its own."),
    KeySpec::dirs("hdds.scm.ca.location", "hdds.scm.metadata.dirs", "", "Base of scm/ca and scm/sub-ca: keys and certificates of the certificate authority."),
    KeySpec::dirs("ozone.scm.db.dirs", "hdds.scm.metadata.dirs", "", "The block-space database of the SCM."),
    KeySpec::dirs("ozone.scm.ratis.storage.dir", "hdds.scm.metadata.dirs", "scm-ha", "The Raft log of the SCM.").alias(&["ozone.scm.ha.ratis.storage.dir"]),
    KeySpec::unset("hdds.datanode.dir", Kind::Dirs, "The disks of a datanode, one directory each; a [SSD] or [DISK] prefix is allowed."),
    KeySpec::dirs("hdds.datanode.id.dir", "ozone.metadata.dirs", "", "Where a datanode keeps its identity.").alias(&["ozone.scm.datanode.id.dir"]),
    KeySpec::dirs("hdds.container.ratis.datanode.storage.dir", "ozone.metadata.dirs", "datanode/ratis", "The Raft logs of a datanode's pipelines."),
    KeySpec::dirs("hdds.datanode.container.db.dir", "hdds.datanode.dir", "", "Block metadata of a datanode, when it is not to lie on the data disks.").unused(),

    // The OM.
    KeySpec::address("ozone.om.address", "127.0.0.1:9862", 9862, "Where the OM answers clients."),
    KeySpec::address("ozone.om.http-address", "127.0.0.1:9874", 9874, "Metrics and health of the OM."),
    KeySpec::new("ozone.om.service.ids", "", Kind::List, "Names of the OM services of this cluster."),
    KeySpec::new("ozone.om.internal.service.id", "", Kind::Text, "The OM service of this cluster, when several are named."),
    KeySpec::new("ozone.om.nodes", "", Kind::List, "ozone.om.nodes.<service>: node ids of that OM service.").per_node(),
    KeySpec::new("ozone.om.node.id", "", Kind::Text, "Which of the nodes this OM is; found by its address when not set.").unused(),
    KeySpec::new("ozone.om.ratis.port", "9872", Kind::Int, "Port on which OMs replicate to one another.").per_node(),
    KeySpec::new("ozone.om.lease.soft.limit", "60s", Kind::Duration, "After this long without renewal another client may take over an open key.").unused(),
    KeySpec::new("ozone.om.lease.hard.limit", "7d", Kind::Duration, "After this long without renewal an open key is closed as it stands.").unused(),
    KeySpec::new("ozone.om.open.key.expire.threshold", "7d", Kind::Duration, "Age at which an abandoned open key is removed.").above_zero(),
    KeySpec::new("ozone.om.open.key.cleanup.service.interval", "24h", Kind::Duration, "How often abandoned open keys are looked for.").above_zero(),
    KeySpec::new("ozone.om.open.mpu.expire.threshold", "30d", Kind::Duration, "Age at which an abandoned multipart upload is removed.").above_zero(),
    KeySpec::new("ozone.om.open.mpu.cleanup.service.interval", "24h", Kind::Duration, "How often abandoned multipart uploads are looked for.").above_zero(),
    KeySpec::new("ozone.om.save.metrics.interval", "5m", Kind::Duration, "How often the OM writes omMetrics, which tells how many keys it holds.").above_zero(),
    KeySpec::new("ozone.om.server.list.max.size", "1000", Kind::Int, "Most entries in one page of a listing.").unused(),
    KeySpec::new("ozone.om.max.buckets", "100000", Kind::Int, "Most buckets in a cluster.").unused(),
    KeySpec::new("ozone.om.user.max.volume", "1024", Kind::Int, "Most volumes of one owner.").unused(),
    KeySpec::new("ozone.om.volume.listall.allowed", "true", Kind::Bool, "Whether any user may list all volumes.").unused(),
    KeySpec::new("ozone.om.namespace.s3.strict", "true", Kind::Bool, "Whether volume and bucket names must be valid host names (no underscore).").unused(),
    KeySpec::new("ozone.om.fs.snapshot.max.limit", "10000", Kind::Int, "Most snapshots in a cluster."),
    KeySpec::new("ozone.om.snapshot.cache.max.size", "10", Kind::Int, "Most snapshot databases kept open at a time.").above_zero(),
    KeySpec::new("ozone.om.snapshot.rename.allowed", "false", Kind::Bool, "Whether a snapshot may get another name."),
    KeySpec::new("ozone.om.snapshot.diff.max.page.size", "5000", Kind::Int, "Most entries in one page of a snapshot difference.").above_zero(),
    KeySpec::new("ozone.filesystem.snapshot.enabled", "true", Kind::Bool, "Whether bucket snapshots may be taken."),
    KeySpec::new("ozone.default.bucket.layout", "FILE_SYSTEM_OPTIMIZED", Kind::Choice(&["FILE_SYSTEM_OPTIMIZED", "OBJECT_STORE"]), "Layout of a bucket that is created without one.").unused(),
    KeySpec::new("ozone.key.preallocation.max.blocks", "64", Kind::Int, "Most blocks allocated when a key is opened.").unused(),
    KeySpec::new("ozone.key.deleting.limit.per.task", "50000", Kind::Int, "Most deleted keys handled in one round.").unused(),
    KeySpec::new("ozone.path.deleting.limit.per.task", "20000", Kind::Int, "Most deleted directories and files handled in one round.").unused(),
    KeySpec::new("ozone.block.deleting.service.interval", "1m", Kind::Duration, "How often freed blocks are handed to the datanodes and deleted there.").above_zero(),
    KeySpec::new("ozone.om.freed.block.grace", "60s", Kind::Duration, "How long a freed block is kept for readers that still know its place."),
    KeySpec::new("ozone.directory.deleting.service.interval", "1m", Kind::Duration, "How often deleted directories are taken apart.").unused(),
    KeySpec::new("ozone.snapshot.deleting.service.interval", "30s", Kind::Duration, "How often deleted snapshots are reclaimed.").above_zero(),

    // The SCM.
    KeySpec::new("ozone.scm.names", "", Kind::List, "Hosts of the SCMs, for clusters without a service id."),
    KeySpec::new("ozone.scm.service.ids", "", Kind::List, "Names of the SCM services."),
    KeySpec::new("ozone.scm.default.service.id", "", Kind::Text, "The SCM service of this cluster, when several are named."),
    KeySpec::new("ozone.scm.nodes", "", Kind::List, "ozone.scm.nodes.<service>: node ids of that SCM service.").per_node(),
    KeySpec::new("ozone.scm.node.id", "", Kind::Text, "Which of the nodes this SCM is; found by its address when not set."),
    KeySpec::new("ozone.scm.primordial.node.id", "", Kind::Text, "The SCM that makes the root certificate and the cluster id.").unused(),
    KeySpec::new("ozone.scm.address", "", Kind::Text, "ozone.scm.address.<service>.<node>: host of that SCM.").per_node(),
    KeySpec::address("ozone.scm.client.address", "127.0.0.1:9860", 9860, "Where the SCM answers administrators and clients."),
    KeySpec::address("ozone.scm.block.client.address", "127.0.0.1:9863", 9863, "Where the SCM hands out blocks to OMs."),
    KeySpec::address("ozone.scm.datanode.address", "127.0.0.1:9861", 9861, "Where the SCM takes heartbeats."),
    KeySpec::address("ozone.scm.security.service.address", "127.0.0.1:9961", 9961, "Where the SCM gives out keys and certificates."),
    KeySpec::address("ozone.scm.http-address", "127.0.0.1:9876", 9876, "Metrics and health of the SCM."),
    KeySpec::new("ozone.scm.ratis.port", "9894", Kind::Int, "Port on which SCMs replicate to one another.").per_node(),
    KeySpec::new("ozone.scm.container.size", "5GB", Kind::Size, "Size at which a container is closed.").above_zero(),
    KeySpec::new("ozone.scm.block.size", "256MB", Kind::Size, "Largest block.").above_zero(),
    KeySpec::new("ozone.scm.chunk.size", "4MB", Kind::Size, "Largest chunk that a client writes at a time.").above_zero(),
    KeySpec::new("ozone.scm.container.layout", "FILE_PER_BLOCK", Kind::Choice(&["FILE_PER_BLOCK", "PACKED"]), "How a new container lays out its blocks in files.").unused(),
    KeySpec::new("ozone.scm.stale.node.interval", "5m", Kind::Duration, "Silence after which a datanode gets no new data.").above_zero(),
    KeySpec::new("ozone.scm.dead.node.interval", "10m", Kind::Duration, "Silence after which a datanode's replicas are made anew.").above_zero(),
    KeySpec::new("ozone.scm.heartbeat.thread.interval", "3s", Kind::Duration, "How often the SCM looks for silent datanodes.").above_zero(),
    KeySpec::new("ozone.scm.datanode.pipeline.limit", "2", Kind::Int, "Most three-way pipelines of one datanode."),
    KeySpec::new("ozone.scm.pipeline.owner.container.count", "3", Kind::Int, "Open containers per pipeline.").above_zero(),
    KeySpec::new("ozone.scm.pipeline.creation.interval", "120s", Kind::Duration, "How often missing pipelines are made.").unused(),
    KeySpec::new("ozone.scm.pipeline.creation.auto.factor.one", "true", Kind::Bool, "Whether single-node pipelines are made without being asked for."),
    KeySpec::new("hdds.scm.safemode.enabled", "true", Kind::Bool, "Whether the SCM waits for reports before it hands out blocks."),
    KeySpec::new("hdds.scm.safemode.min.datanode", "1", Kind::Int, "Datanodes that must have registered before safe mode ends."),
    KeySpec::new("hdds.scm.safemode.threshold.pct", "0.99", Kind::Fraction, "Share of containers with a reported replica before safe mode ends."),
    KeySpec::new("hdds.scm.replication.thread.interval", "300s", Kind::Duration, "How often every container's replicas are checked.").above_zero(),
    KeySpec::new("hdds.scm.replication.event.timeout", "12m", Kind::Duration, "After this long a replication order counts as lost.").above_zero(),
    KeySpec::new("hdds.scm.replication.datanode.replication.limit", "20", Kind::Int, "Most replication orders at one datanode at a time."),

    // Datanodes.
    KeySpec::new("hdds.datanode.hostname", "", Kind::Text, "The name under which a datanode is reached; its address when not set."),
    KeySpec::new("hdds.container.ipc.port", "9859", Kind::Int, "Port on which a datanode serves blocks."),
    KeySpec::new("hdds.container.ratis.ipc.port", "9858", Kind::Int, "Port on which a datanode serves the clients of its pipelines.").unused(),
    KeySpec::new("hdds.container.ratis.server.port", "9856", Kind::Int, "Port on which the datanodes of a pipeline talk to one another."),
    KeySpec::new("hdds.container.ratis.log.purge.gap", "1000000", Kind::Int, "Entries of its log that a member of a pipeline may lack before another pipeline takes over and the member's containers are copied."),
    KeySpec::new("hdds.datanode.replication.port", "9886", Kind::Int, "Port on which datanodes copy containers from one another.").unused(),
    KeySpec::new("hdds.datanode.client.address", "127.0.0.1", Kind::Text, "Address on which a datanode's listeners are bound."),
    KeySpec::address("hdds.datanode.http-address", "127.0.0.1:9882", 9882, "Metrics and health of a datanode."),
    KeySpec::new("hdds.heartbeat.interval", "3s", Kind::Duration, "How often a datanode reports to the SCMs.").above_zero(),
    KeySpec::new("hdds.node.report.interval", "60s", Kind::Duration, "How often a datanode reports its disks.").unused(),
    KeySpec::new("hdds.container.report.interval", "60m", Kind::Duration, "How often a datanode reports all its containers.").above_zero(),
    KeySpec::new("hdds.pipeline.report.interval", "60s", Kind::Duration, "How often a datanode reports its pipelines.").unused(),
    KeySpec::new("hdds.datanode.volume.min.free.space", "1GB", Kind::Size, "Space that stays free on each data disk."),
    KeySpec::new("hdds.datanode.failed.data.volumes.tolerated", "0", Kind::Int, "Failed disks with which a datanode goes on."),
    KeySpec::new("hdds.datanode.metadata.rocksdb.cache.size", "64MB", Kind::Size, "Block cache shared by the databases of a datanode."),
    KeySpec::new("hdds.datanode.replication.streams.limit", "10", Kind::Int, "Most container copies at a time.").above_zero(),
    KeySpec::new("hdds.container.scrub.enabled", "true", Kind::Bool, "Whether data at rest is verified in the background."),
    KeySpec::new("hdds.container.scrub.data.scan.interval", "7d", Kind::Duration, "How often all data at rest is verified.").above_zero(),
    KeySpec::new("hdds.container.scrub.metadata.scan.interval", "3h", Kind::Duration, "How often all container metadata is verified.").unused(),
    KeySpec::new("hdds.container.scrub.volume.bytes.per.second", "5MB", Kind::Size, "Most that verification reads of one disk in a second.").above_zero(),
    KeySpec::new("ozone.domain.socket.path", "", Kind::Text, "Unix socket on which a datanode passes open block files to clients of the same machine.").unused(),

    // Clients.
    KeySpec::new("ozone.replication", "", Kind::Text, "Replication that a client asks for; the bucket's or server's when not set."),
    KeySpec::new("ozone.replication.type", "", Kind::Choice(&["", "RATIS", "STANDALONE", "EC"]), "Replication type that a client asks for."),
    KeySpec::new("ozone.server.default.replication", "3", Kind::Text, "Replication of keys for which nobody asked for another."),
    KeySpec::new("ozone.server.default.replication.type", "RATIS", Kind::Choice(&["RATIS", "STANDALONE", "EC"]), "Replication type of keys for which nobody asked for another.").unused(),
    KeySpec::new("ozone.client.bytes.per.checksum", "16KB", Kind::Size, "Bytes that one checksum covers.").above_zero(),
    KeySpec::new("ozone.client.checksum.type", "CRC32C", Kind::Choice(&["CRC32C", "CRC32", "SHA256", "MD5", "NONE"]), "Checksum of written data.").unused(),
    KeySpec::new("ozone.client.verify.checksum", "true", Kind::Bool, "Whether a client verifies what it reads.").unused(),
    KeySpec::new("ozone.client.stream.buffer.size", "4MB", Kind::Size, "Bytes that a client collects into one chunk.").unused(),
    KeySpec::new("ozone.client.connection.timeout", "5000ms", Kind::Duration, "How long a client waits for a connection.").above_zero(),
    KeySpec::new("ozone.client.read.timeout", "30s", Kind::Duration, "How long a client waits for data.").above_zero(),
    KeySpec::new("ozone.client.write.timeout", "30s", Kind::Duration, "How long a client waits for written data to be acknowledged.").above_zero(),
    KeySpec::new("ozone.client.failover.max.attempts", "500", Kind::Int, "How often a client tries before it gives up on a service.").unused(),
    KeySpec::new("ozone.fs.trash.interval", "0", Kind::Int, "Minutes that deleted files stay in the trash; 0 deletes them at once."),
    KeySpec::new("fs.trash.interval", "0", Kind::Int, "As ozone.fs.trash.interval, which wins."),
    KeySpec::new("ozone.fs.trash.checkpoint.interval", "0", Kind::Int, "Minutes between two rounds of the OM through the trash; 0, or more than the files stay, for as long as these stay."),
    KeySpec::new("fs.trash.checkpoint.interval", "0", Kind::Int, "As ozone.fs.trash.checkpoint.interval, which wins."),
    KeySpec::new("fs.defaultFS", "", Kind::Text, "Where `ozone fs` looks for paths without a scheme; empty for the configured cluster."),
    KeySpec::new("ozone.om.enable.ofs.shared.tmp.dir", "false", Kind::Bool, "Whether /tmp is one directory for all users of `ozone fs`."),

    // Trust.
    KeySpec::new("ozone.security.enabled", "false", Kind::Bool, "Whether servers prove who they are to one another (mTLS)."),
    KeySpec::new("hdds.grpc.tls.enabled", "true", Kind::Bool, "Whether connections are encrypted while security is on."),
    KeySpec::new("hdds.block.token.enabled", "true", Kind::Bool, "Whether datanodes ask for a block token: they always do.").unused(),
    KeySpec::new("hdds.block.token.expiry.time", "1d", Kind::Duration, "How long a block token is good for.").above_zero(),
    KeySpec::new("hdds.secret.key.rotate.duration", "1d", Kind::Duration, "Age at which the signing key is replaced.").above_zero(),
    KeySpec::new("hdds.secret.key.expiry.duration", "9d", Kind::Duration, "Age at which a signing key is no longer trusted.").above_zero(),
    KeySpec::new("hdds.secret.key.rotate.check.duration", "10m", Kind::Duration, "How often the age of the signing key is checked.").unused(),
    KeySpec::new("hdds.x509.default.duration", "365d", Kind::Duration, "How long a certificate is good for.").above_zero(),
    KeySpec::new("hdds.x509.max.duration", "1865d", Kind::Duration, "How long the certificate of an authority is good for.").above_zero(),
    KeySpec::new("hdds.x509.renew.grace.duration", "28d", Kind::Duration, "How long before its end a certificate is renewed."),
    KeySpec::new("ozone.security.join.certificate.file", "", Kind::Text, "With security on: the file of `ozone admin cert join` with which a server asks for its first certificate."),
    KeySpec::new("ozone.security.client.certificate.file", "", Kind::Text, "With security on: the file of `ozone admin cert client` that says who a client is and whom it trusts."),
    KeySpec::new("ozone.acl.enabled", "false", Kind::Bool, "Whether access control lists are enforced."),
    KeySpec::new("ozone.administrators", "", Kind::List, "Users who may do everything: so far, manage the S3 secrets of others, and the snapshots of their buckets."),
    KeySpec::new("ozone.administrators.groups", "", Kind::List, "Groups whose users may do everything.").unused(),
    KeySpec::new("ozone.readonly.administrators", "", Kind::List, "Users who may read everything.").unused(),

    // S3.
    KeySpec::address("ozone.s3g.http-address", "127.0.0.1:9878", 9878, "Where the S3 gateway answers."),
    KeySpec::new("ozone.s3g.domain.name", "", Kind::List, "Domains under which a host name is a bucket name.").unused(),
    KeySpec::new("ozone.s3.administrators", "", Kind::List, "Users who may manage the S3 secrets of others."),
    KeySpec::new("ozone.s3g.default.bucket.layout", "FILE_SYSTEM_OPTIMIZED", Kind::Choice(&["FILE_SYSTEM_OPTIMIZED", "OBJECT_STORE"]), "Layout of the buckets that are made by S3."),
    KeySpec::new("ozone.s3g.volume.name", "s3v", Kind::Text, "The volume whose buckets S3 sees."),
];

/// The spec of a key by any of its names; `name.<service>[.<node>]` finds a per-node key.
pub fn spec(name: &str) -> Option<&'static KeySpec> {
    let exact = |name: &str| {
        KEYS.iter()
            .find(|spec| spec.name == name || spec.aliases.contains(&name))
    };
    if let Some(found) = exact(name) {
        return Some(found);
    }
    let mut base = name;
    for _ in 0..2 {
        base = base.rsplit_once('.')?.0;
        if let Some(found) = exact(base).filter(|spec| spec.per_node) {
            return Some(found);
        }
    }
    None
}
