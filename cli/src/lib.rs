//! `ozone sh`: volumes, buckets and keys from a terminal. `ozone fs`: the same as Hadoop's shell shows
//! them. `ozone freon`: load.
//!
//! Scripts written for Apache Ozone's shell run unchanged: the same addresses, options, JSON, error
//! lines and exit codes. Successful changes print nothing but what Ozone prints; nothing else ever
//! gets between a script and the JSON it reads.

mod acl;
mod address;
mod bucket;
mod content;
mod error;
mod freon;
mod fs;
mod json;
mod key;
mod output;
mod page;
mod quota;
mod recursive;
mod replication;
mod s3;
mod sh;
mod shell;
mod snapshot;
mod usage;
mod volume;

pub use freon::{FreonArgs, run_freon};
pub use fs::{FsArgs, Generic, run_fs};
pub use s3::{S3Args, run_s3};
pub use sh::{ShArgs, run_sh};
