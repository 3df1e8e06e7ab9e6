//! The `.container` file: what a container is, beside its blocks.
//!
//! A YAML mapping of plain values that ends in a SHA-256 over itself. It is replaced as a whole, so
//! that a crash leaves the old or the new one; anything that does not match its checksum is damage.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use ozone_common::disk::{Disk, replace_file};
use sha2::{Digest, Sha256};

use super::State;

const TAG: &str = "!<KeyValueContainerData>";
/// Stands for the checksum while the checksum is computed.
const NO_CHECKSUM: &str = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// `layOutVersion` of a container whose blocks are a file each.
pub const FILE_PER_BLOCK: u32 = 2;

/// Content of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// The container.
    pub id: i64,
    /// How its blocks lie in files.
    pub layout: u32,
    /// What may be done with it.
    pub state: State,
    /// Bytes at which it should be closed.
    pub max_size: u64,
    /// Pipeline that wrote it.
    pub pipeline_id: String,
    /// Datanode on which it was made.
    pub origin_node_id: String,
    /// When all its data was last verified; milliseconds since 1970.
    pub data_scan_ms: Option<u64>,
}

/// A descriptor that cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("{0}")]
    Damaged(String),
}

impl Descriptor {
    /// Reads and checks a file. Blocks.
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Self, DescriptorError> {
        Self::parse(&disk.read(path)?)
    }

    /// Replaces a file. Blocks.
    pub fn write(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        replace_file(disk, path, self.render().as_bytes())
    }

    /// The text of the file.
    pub fn render(&self) -> String {
        self.render_with(&checksum(&self.render_with(NO_CHECKSUM)))
    }

    fn render_with(&self, checksum: &str) -> String {
        let mut text = format!("{TAG}\n");
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "checksum: {checksum}\ncontainerDBType: RocksDB\ncontainerID: {}\n\
             containerType: KeyValueContainer\n",
            self.id
        );
        if let Some(ms) = self.data_scan_ms {
            let _ = writeln!(text, "dataScanTimestamp: {ms}");
        }
        let _ = write!(
            text,
            "layOutVersion: {}\nmaxSize: {}\nmetadata: {{}}\noriginNodeId: {}\n\
             originPipelineId: {}\nschemaVersion: '3'\nstate: {}\n",
            self.layout,
            self.max_size,
            self.origin_node_id,
            self.pipeline_id,
            self.state.name(),
        );
        text
    }

    /// Understands and verifies the text of a file.
    pub fn parse(bytes: &[u8]) -> Result<Self, DescriptorError> {
        let damaged = |reason: String| DescriptorError::Damaged(reason);
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("is not text".into()))?;
        let body = text
            .strip_prefix(TAG)
            .ok_or_else(|| damaged(format!("has no tag {TAG}")))?;
        let fields: BTreeMap<&str, &str> = body
            .lines()
            .filter_map(|line| line.split_once(": "))
            .collect();
        let get = |key: &str| {
            fields
                .get(key)
                .copied()
                .ok_or_else(|| damaged(format!("field {key} is missing")))
        };
        let number = |key: &str| {
            let value = get(key)?;
            value
                .parse::<u64>()
                .map_err(|_| damaged(format!("{key} is {value:?}, no number")))
        };
        let state = get("state")?;
        let descriptor = Self {
            id: i64::try_from(number("containerID")?).unwrap_or(i64::MAX),
            layout: u32::try_from(number("layOutVersion")?).unwrap_or(u32::MAX),
            state: State::from_name(state)
                .ok_or_else(|| damaged(format!("state {state:?} is none")))?,
            max_size: number("maxSize")?,
            pipeline_id: get("originPipelineId")?.to_owned(),
            origin_node_id: get("originNodeId")?.to_owned(),
            data_scan_ms: match fields.contains_key("dataScanTimestamp") {
                true => Some(number("dataScanTimestamp")?),
                false => None,
            },
        };
        let (stored, own) = (
            get("checksum")?,
            checksum(&descriptor.render_with(NO_CHECKSUM)),
        );
        if stored != own {
            return Err(damaged(format!(
                "checksum is {own}, the file says {stored}"
            )));
        }
        Ok(descriptor)
    }
}

fn checksum(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn sample() -> Descriptor {
        Descriptor {
            id: 7,
            layout: FILE_PER_BLOCK,
            state: State::Closed,
            max_size: 5 << 30,
            pipeline_id: "p".into(),
            origin_node_id: "n".into(),
            data_scan_ms: Some(12),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(
            Descriptor::parse(sample().render().as_bytes()).unwrap(),
            sample()
        );
        let fresh = Descriptor {
            data_scan_ms: None,
            state: State::Open,
            ..sample()
        };
        assert_eq!(Descriptor::parse(fresh.render().as_bytes()).unwrap(), fresh);
    }

    #[test]
    fn any_change_of_a_value_is_damage() {
        let text = sample().render();
        for (from, to) in [
            ("CLOSED", "OPEN"),
            ("containerID: 7", "containerID: 8"),
            ("!<", "!!<"),
        ] {
            let changed = text.replace(from, to);
            assert!(
                Descriptor::parse(changed.as_bytes()).is_err(),
                "{from} -> {to}"
            );
        }
        assert!(Descriptor::parse(&text.as_bytes()[..text.len() / 2]).is_err());
        assert!(Descriptor::parse(&[0xff; 40]).is_err());
    }
}
