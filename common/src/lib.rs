//! What every crate of the system leans on: names and ids, configuration, errors of the machine,
//! checksums, telemetry, and the seams (clock, disk, network, randomness) through which all other
//! code reaches the world, so that simulation and fault tests can stand in its place.

pub mod disk;
