//! Where the bytes of a key are on the disks of the datanodes.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::corrupt::find;

/// A part of a key in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    container: i64,
    local: i64,
    offset: u64,
    length: u64,
}

impl Location {
    /// Reads what `ozone sh key info` prints.
    pub fn all_of(key_info: &str) -> Vec<Self> {
        let info: serde_json::Value = serde_json::from_str(key_info).expect("JSON");
        let places = info["ozoneKeyLocations"].as_array().expect("locations");
        let number = |place: &serde_json::Value, name: &str| {
            place[name]
                .as_i64()
                .unwrap_or_else(|| panic!("no {name}: {info}"))
        };
        places
            .iter()
            .map(|place| Self {
                container: number(place, "containerID"),
                local: number(place, "localID"),
                offset: number(place, "offset").cast_unsigned(),
                length: number(place, "length").cast_unsigned(),
            })
            .collect()
    }

    /// The file of the block below the data directory of a datanode.
    pub fn file(&self, data: &Path) -> Option<PathBuf> {
        let end = format!("{}/chunks/{}.block", self.container, self.local);
        find(data, &|path| path.ends_with(&end)).pop()
    }

    /// The bytes of this part as a datanode has them; none when it lacks any.
    pub fn read(&self, data: &Path) -> Option<Vec<u8>> {
        let file = File::open(self.file(data)?).ok()?;
        let length = usize::try_from(self.length).expect("a length");
        let mut content = vec![0; length];
        file.read_exact_at(&mut content, self.offset).ok()?;
        Some(content)
    }
}

/// Bytes that blocks take on the disk of a datanode, whose data directory this is.
pub fn used(data: &Path) -> u64 {
    let is_block = |path: &Path| path.extension().is_some_and(|end| end == "block");
    let files = find(data, &is_block);
    // A file may go between the two looks.
    files
        .iter()
        .filter_map(|file| Some(file.metadata().ok()?.blocks() * 512))
        .sum()
}
