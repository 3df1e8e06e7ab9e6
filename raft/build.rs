//! Compiles the wire messages of the Raft network, without needing `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/raft.proto");
    let files = protox::compile(["proto/raft.proto"], ["proto"])?;
    let mut prost = prost_build::Config::new();
    prost.bytes(["."]);
    tonic_prost_build::configure().compile_fds_with_config(files, prost)?;
    Ok(())
}
