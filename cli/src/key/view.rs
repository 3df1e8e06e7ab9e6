//! Keys as JSON.

use ozone_client::wire::om::{KeyInfo, KeyLocation};
use serde::Serialize;

use crate::json::{Instant, Pairs, pairs};
use crate::replication::ReplicationView;

/// Metadata that is nobody's business.
const SECRET: [&str; 2] = ["secret", "algorithm"];

/// A key in a listing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyView {
    volume_name: String,
    bucket_name: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    data_size: u64,
    creation_time: Instant,
    modification_time: Instant,
    replication_config: ReplicationView,
    metadata: Pairs,
    tags: Pairs,
    file: bool,
}

/// A key by itself, with the places of its data.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeyDetails {
    #[serde(flatten)]
    key: KeyView,
    ozone_key_locations: Vec<LocationView>,
    generation: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LocationView {
    #[serde(rename = "containerID")]
    container_id: i64,
    #[serde(rename = "localID")]
    local_id: i64,
    length: u64,
    offset: u64,
    key_offset: u64,
}

impl From<KeyInfo> for KeyView {
    fn from(info: KeyInfo) -> Self {
        let mut metadata = pairs(info.metadata.clone());
        metadata.retain(|name, _| !SECRET.contains(&name.as_str()));
        Self {
            data_size: info.data_size,
            creation_time: Instant(info.creation_time),
            modification_time: Instant(info.modification_time),
            replication_config: ReplicationView::new(info.r#type(), info.factor()),
            metadata,
            file: info.is_file(),
            tags: pairs(info.tags),
            volume_name: info.volume_name,
            bucket_name: info.bucket_name,
            name: info.key_name,
            owner: info.owner_name,
        }
    }
}

impl From<KeyInfo> for KeyDetails {
    fn from(mut info: KeyInfo) -> Self {
        let latest = info.key_location_list.pop();
        Self {
            ozone_key_locations: latest.map_or_else(Vec::new, |l| locations(&l.key_locations)),
            generation: info.update_id(),
            key: info.into(),
        }
    }
}

/// The blocks of a key, one after the other.
fn locations(blocks: &[KeyLocation]) -> Vec<LocationView> {
    let mut key_offset = 0;
    let view = |block: &KeyLocation| {
        let id = &block.block_id.container_block_id;
        let view = LocationView {
            container_id: id.container_id,
            local_id: id.local_id,
            length: block.length,
            offset: block.offset,
            key_offset,
        };
        key_offset += block.length;
        view
    };
    blocks.iter().map(view).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ozone_client::wire::hdds::{
        BlockId, ContainerBlockId, KeyValue, ReplicationFactor, ReplicationType,
    };
    use ozone_client::wire::om::KeyLocationList;

    use super::*;
    use crate::json::pretty;

    fn block(local_id: i64, length: u64) -> KeyLocation {
        KeyLocation {
            block_id: BlockId {
                container_block_id: ContainerBlockId {
                    container_id: 1,
                    local_id,
                },
                block_commit_sequence_id: None,
            },
            length,
            ..Default::default()
        }
    }

    fn pair(key: &str, value: &str) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            value: Some(value.to_owned()),
        }
    }

    fn key() -> KeyInfo {
        KeyInfo {
            volume_name: "vol1".to_owned(),
            bucket_name: "bucket1".to_owned(),
            key_name: "dir/key1".to_owned(),
            owner_name: Some("bilbo".to_owned()),
            data_size: 30,
            r#type: ReplicationType::Ratis.into(),
            factor: Some(ReplicationFactor::Three.into()),
            creation_time: 1_595_939_510_112,
            modification_time: 1_595_939_510_113,
            update_id: Some(77),
            metadata: vec![
                pair("secret", "x"),
                pair("gdprEnabled", "true"),
                pair("algorithm", "AES"),
            ],
            key_location_list: vec![KeyLocationList {
                key_locations: vec![block(5, 20), block(6, 10)],
                ..Default::default()
            }],
            is_file: Some(true),
            ..Default::default()
        }
    }

    const LISTED: &str = r#"{
  "volumeName" : "vol1",
  "bucketName" : "bucket1",
  "name" : "dir/key1",
  "owner" : "bilbo",
  "dataSize" : 30,
  "creationTime" : "2020-07-28T12:31:50.112Z",
  "modificationTime" : "2020-07-28T12:31:50.113Z",
  "replicationConfig" : {
    "replicationFactor" : "THREE",
    "requiredNodes" : 3,
    "minimumNodes" : 1,
    "replicationType" : "RATIS"
  },
  "metadata" : {
    "gdprEnabled" : "true"
  },
  "tags" : { },
  "file" : true"#;

    #[test]
    fn a_listed_key_has_ozones_fields_and_no_secrets() {
        let text = String::from_utf8(pretty(&KeyView::from(key())).unwrap()).unwrap();
        assert_eq!(text, format!("{LISTED}\n}}"));
    }

    #[test]
    fn a_key_by_itself_shows_its_blocks_and_generation_too() {
        let text = String::from_utf8(pretty(&KeyDetails::from(key())).unwrap()).unwrap();
        let blocks = r#",
  "ozoneKeyLocations" : [ {
    "containerID" : 1,
    "localID" : 5,
    "length" : 20,
    "offset" : 0,
    "keyOffset" : 0
  }, {
    "containerID" : 1,
    "localID" : 6,
    "length" : 10,
    "offset" : 0,
    "keyOffset" : 20
  } ],
  "generation" : 77
}"#;
        assert_eq!(text, format!("{LISTED}{blocks}"));
    }
}
