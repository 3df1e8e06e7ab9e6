//! What the id of a bucket says: how the bucket keeps its names. So whoever has a place in it knows.

use crate::namespace::DirRef;

/// Ids of object-store buckets have this bit, and no other ids do.
pub const OBJECT_STORE: u64 = 1 << 47;

impl DirRef {
    /// Whether it is in an object-store bucket, whose names are whole keys.
    pub fn is_object_store(&self) -> bool {
        self.bucket_id & OBJECT_STORE != 0
    }
}
