//! Volumes, buckets and inodes as Ozone's clients see them.

use ozone_proto::hdds::{
    BlockId, ContainerBlockId, DefaultReplicationConfig, ReplicationFactor, ReplicationType,
};
use ozone_proto::namespace::{
    BucketRow, Extent, Inode, InodeKind, InodeRow, VolumeRow, extent::Source,
};
use ozone_proto::om::{
    BucketInfo, KeyInfo, KeyLocation, KeyLocationList, StorageTypeProto, VolumeInfo,
};

use crate::{etag, namespace};

/// What a key is called.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// Its volume.
    pub volume: &'a str,
    /// Its bucket.
    pub bucket: &'a str,
    /// Its whole name.
    pub key: &'a str,
}

fn ms(ns: u64) -> u64 {
    ns / 1_000_000
}

/// A key. `place` is told to this system's clients, who read by inode.
pub fn of(names: Names<'_>, row: InodeRow, place: Option<Inode>) -> KeyInfo {
    let replication = row.replication.unwrap_or_default();
    let directory = namespace::is_dir(&row);
    let mut key = names.key.to_owned();
    if directory && !key.ends_with('/') {
        key.push('/');
    }
    KeyInfo {
        volume_name: names.volume.to_owned(),
        bucket_name: names.bucket.to_owned(),
        key_name: key,
        data_size: row.size,
        r#type: match replication.r#type() {
            ReplicationType::NoneType => ReplicationType::Ratis.into(),
            _ => replication.r#type,
        },
        factor: Some(if replication.factor == 0 {
            ReplicationFactor::One.into()
        } else {
            replication.factor
        }),
        key_location_list: vec![KeyLocationList {
            version: Some(0),
            key_locations: row.extents.iter().filter_map(location).collect(),
            is_multipart_key: Some(false),
        }],
        creation_time: ms(row.btime_ns),
        modification_time: ms(row.mtime_ns),
        latest_version: Some(0),
        etag: (!directory).then(|| etag::of(&row)),
        metadata: etag::metadata(&row),
        tags: row.tags.clone(),
        object_id: Some(row.object_id),
        update_id: Some(row.update_id),
        is_file: Some(namespace::kind(&row) == InodeKind::File),
        owner_name: Some(row.owner.clone()),
        inode: place,
        ..Default::default()
    }
}

fn location(extent: &Extent) -> Option<KeyLocation> {
    let Some(Source::Block(block)) = &extent.source else {
        return None;
    };
    Some(KeyLocation {
        block_id: BlockId {
            container_block_id: ContainerBlockId {
                container_id: block.container as i64,
                local_id: block.local as i64,
            },
            block_commit_sequence_id: Some(block.bcsid),
        },
        offset: block.offset,
        length: extent.length,
        ..Default::default()
    })
}

/// A volume.
pub fn volume(row: VolumeRow) -> VolumeInfo {
    let inode = row.inode.unwrap_or_default();
    VolumeInfo {
        admin_name: row.admin,
        owner_name: row.owner,
        volume: row.name,
        quota_in_bytes: u64::try_from(row.quota_bytes).ok(),
        creation_time: Some(ms(inode.btime_ns)),
        object_id: Some(inode.object_id),
        update_id: Some(inode.update_id),
        modification_time: Some(ms(inode.mtime_ns)),
        quota_in_namespace: Some(row.quota_namespace),
        used_namespace: Some(row.used_namespace),
        ref_count: Some(0),
        ..Default::default()
    }
}

/// A bucket.
pub fn bucket(row: BucketRow) -> BucketInfo {
    let link = namespace::is_link(&row);
    let inode = row.inode.unwrap_or_default();
    BucketInfo {
        volume_name: row.volume,
        bucket_name: row.name,
        is_version_enabled: false,
        storage_type: StorageTypeProto::Disk.into(),
        creation_time: Some(ms(inode.btime_ns)),
        object_id: Some(inode.object_id),
        update_id: Some(inode.update_id),
        modification_time: Some(ms(inode.mtime_ns)),
        used_bytes: Some(row.used_bytes),
        quota_in_bytes: Some(row.quota_bytes),
        quota_in_namespace: Some(row.quota_namespace),
        used_namespace: Some(row.used_namespace),
        bucket_layout: Some(row.layout as i32),
        owner: Some(row.owner),
        source_volume: link.then_some(row.source_volume),
        source_bucket: link.then_some(row.source_bucket),
        default_replication_config: row.replication.map(|r| DefaultReplicationConfig {
            r#type: r.r#type,
            factor: Some(r.factor),
            ec_replication_config: None,
        }),
        ..Default::default()
    }
}
