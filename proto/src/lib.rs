//! The messages of the cluster, generated at build time from `protos/`.
//!
//! What an Apache Ozone client sends has Ozone's service names, field numbers and enum values
//! (packages `hadoop.*`); what only this system's own parts say to each other is in `ozone.*`.

#[allow(
    missing_docs,
    unreachable_pub,
    non_camel_case_types,
    clippy::all,
    clippy::pedantic,
    clippy::too_many_lines
)]
mod generated {
    pub mod hadoop {
        pub mod hdds {
            tonic::include_proto!("hadoop.hdds");
            pub mod datanode {
                tonic::include_proto!("hadoop.hdds.datanode");
            }
            pub mod block {
                tonic::include_proto!("hadoop.hdds.block");
            }
        }
        pub mod ozone {
            tonic::include_proto!("hadoop.ozone");
        }
    }
    pub mod ozone {
        pub mod local {
            tonic::include_proto!("ozone.local");
        }
        pub mod namespace {
            tonic::include_proto!("ozone.namespace");
        }
        pub mod scm {
            tonic::include_proto!("ozone.scm");
        }
    }
}

pub mod bucket;
pub mod place;

pub use generated::hadoop::hdds;
/// Client to OM (`hadoop.ozone`).
pub use generated::hadoop::ozone as om;
/// Client to the datanode of its machine.
pub use generated::ozone::local;
/// The OM's table rows and POSIX operations.
pub use generated::ozone::namespace;
/// SCM with datanodes and OM.
pub use generated::ozone::scm;
