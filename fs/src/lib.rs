//! The namespace as a mounted POSIX filesystem.
//!
//! [`vfs`] is the filesystem: what each system call does, on top of the client, without a kernel.
//! The `fuse` module takes requests from `/dev/fuse`, calls it and replies. [`mount`] brings both
//! together under a mount point: `/` lists volumes, `/vol` buckets, `/vol/bucket/…` what is inside.

mod attr;
mod backlog;
mod behind;
mod data;
mod errno;
mod failures;
mod fuse;
pub mod guard;
mod handle;
mod inode;
mod leases;
mod lent;
mod mount;
mod mountpoint;
mod names;
mod number;
mod objects;
mod options;
mod past;
pub mod vfs;

/// The messages of the namespace.
pub(crate) use ozone_client::proto as wire;

pub use attr::{Attr, Known};
pub use errno::FsError;
pub use mount::{MountError, MountedFs, check, mount};
pub use options::MountOptions;
