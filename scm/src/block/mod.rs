//! Handing out blocks: from memory alone, unless a container or a range of ids has to be made.

pub(crate) mod allocate;
pub(crate) mod choose;
pub(crate) mod local_ids;

pub(crate) use allocate::Allocator;
pub(crate) use local_ids::LocalIds;
