//! What every crate of the system leans on: names and ids, configuration, errors of the machine,
//! checksums, telemetry, and the seams (clock, disk, network, randomness) through which all other
//! code reaches the world, so that simulation and fault tests can stand in its place.

pub mod caller;
pub mod checksum;
pub mod clock;
pub mod config;
pub mod coverage;
pub mod disk;
pub mod http;
pub mod ids;
pub mod names;
pub mod net;
mod properties;
pub mod request;
pub mod rng;
pub mod telemetry;
pub mod trash;
pub mod units;
pub mod version_file;
pub mod worker;
