//! How large what a request says may be. A number beyond these is refused where it comes in, so that sums of what
//! is kept cannot overflow: a panic in apply would come again whenever the log is replayed.

use ozone_proto::hdds::ReplicationFactor;
use ozone_proto::namespace::Replication;

use crate::error::{Result, refuse};

/// Bytes of the largest file: what an `off_t` holds.
pub const MAX_FILE: u64 = i64::MAX as u64;
/// Bytes of the largest block, far above what writers are given.
pub const MAX_BLOCK: u64 = 64 << 30;

/// `size`, if a file can have it.
pub fn file_size(size: u64) -> Result<u64> {
    match size <= MAX_FILE {
        true => Ok(size),
        false => Err(refuse::invalid(format!(
            "a file of {size} bytes: {MAX_FILE} at most can be kept"
        ))),
    }
}

/// Refuses what lies outside of any file; nothing lies nowhere.
pub fn check_file_range(offset: u64, length: u64) -> Result<()> {
    match length > 0 && fits(offset, length, MAX_FILE) {
        true => Ok(()),
        false => Err(refuse::invalid(format!(
            "{length} bytes at {offset} of a file: a file has bytes up to {MAX_FILE}, and an extent at least one"
        ))),
    }
}

/// Refuses what lies outside of any block.
pub fn check_block_range(offset: u64, length: u64) -> Result<()> {
    match fits(offset, length, MAX_BLOCK) {
        true => Ok(()),
        false => Err(refuse::invalid(format!(
            "{length} bytes at {offset} of a block: a block has {MAX_BLOCK} at most"
        ))),
    }
}

/// Refuses what no data is kept as.
pub fn check_replication(replication: &Replication) -> Result<()> {
    match ReplicationFactor::try_from(replication.factor) {
        Ok(_) => Ok(()),
        Err(_) => Err(refuse::invalid(format!(
            "replication factor {}: ONE and THREE are served",
            replication.factor
        ))),
    }
}

fn fits(offset: u64, length: u64, most: u64) -> bool {
    offset.checked_add(length).is_some_and(|end| end <= most)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_let_in_and_the_next_byte_is_not() {
        file_size(MAX_FILE).unwrap();
        file_size(MAX_FILE + 1).unwrap_err();
        check_file_range(MAX_FILE - 1, 1).unwrap();
        check_file_range(MAX_FILE, 1).unwrap_err();
        check_file_range(1, 0).unwrap_err();
        check_file_range(2, u64::MAX).unwrap_err();
        check_block_range(0, MAX_BLOCK).unwrap();
        check_block_range(1, MAX_BLOCK).unwrap_err();
        check_block_range(u64::MAX, 1).unwrap_err();
    }
}
