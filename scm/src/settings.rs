//! What the configuration says, parsed once at start.

use std::time::Duration;

use ozone_common::config::{Config, ConfigError};
use ozone_security::secret_keys::RotationPolicy;

use crate::node::health::Patience;
use crate::pipeline::create::Limits;
use crate::safemode::Rules;

/// Settings of a running SCM.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Bytes that a container may have.
    pub(crate) container_size: u64,
    /// Open containers of a pipeline.
    pub(crate) containers_per_pipeline: usize,
    /// Which pipelines are made.
    pub(crate) pipelines: Limits,
    /// When a datanode is stale, and dead.
    pub(crate) patience: Patience,
    /// How often silence is looked for.
    pub(crate) health_interval: Duration,
    /// How often a datanode reports.
    pub(crate) heartbeat: Duration,
    /// When safe mode ends.
    pub(crate) safemode: Rules,
    /// How often deleted blocks are gone through.
    pub(crate) deletion_interval: Duration,
    /// How often every container's replicas are checked.
    pub(crate) replication_interval: Duration,
    /// After this long a replication order counts as lost.
    pub(crate) replication_timeout: Duration,
    /// Most replication orders at one datanode.
    pub(crate) replication_limit: usize,
    /// When signing keys are replaced and forgotten.
    pub(crate) keys: RotationPolicy,
}

impl Settings {
    pub(crate) fn from_config(config: &Config) -> Result<Self, ConfigError> {
        let count = |key| {
            let number = config.get_int(key)?;
            Ok::<_, ConfigError>(usize::try_from(number).unwrap_or(usize::MAX))
        };
        Ok(Self {
            container_size: config.get_size("ozone.scm.container.size")?,
            containers_per_pipeline: count("ozone.scm.pipeline.owner.container.count")?.max(1),
            pipelines: Limits {
                three_per_node: count("ozone.scm.datanode.pipeline.limit")?,
                ones: config.get_bool("ozone.scm.pipeline.creation.auto.factor.one")?,
            },
            patience: Patience {
                stale: config.get_duration("ozone.scm.stale.node.interval")?,
                dead: config.get_duration("ozone.scm.dead.node.interval")?,
            },
            health_interval: config.get_duration("ozone.scm.heartbeat.thread.interval")?,
            heartbeat: config.get_duration("hdds.heartbeat.interval")?,
            safemode: Rules {
                enabled: config.get_bool("hdds.scm.safemode.enabled")?,
                min_datanodes: count("hdds.scm.safemode.min.datanode")?,
                container_share: config.get_fraction("hdds.scm.safemode.threshold.pct")?,
            },
            deletion_interval: config.get_duration("ozone.block.deleting.service.interval")?,
            replication_interval: config.get_duration("hdds.scm.replication.thread.interval")?,
            replication_timeout: config.get_duration("hdds.scm.replication.event.timeout")?,
            replication_limit: count("hdds.scm.replication.datanode.replication.limit")?,
            keys: RotationPolicy {
                rotate_after: config.get_duration("hdds.secret.key.rotate.duration")?,
                expire_after: config.get_duration("hdds.secret.key.expiry.duration")?,
            },
        })
    }
}
