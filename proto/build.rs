//! Compiles the protocol files without a system protoc.

use std::path::Path;

const FILES: &[&str] = &[
    "hdds.proto",
    "namespace.proto",
    "OmClientProtocol.proto",
    "DatanodeClientProtocol.proto",
    "ScmServerProtocol.proto",
    "scm.proto",
    "local.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new("protos");
    println!("cargo:rerun-if-changed=protos");
    let files: Vec<_> = FILES.iter().map(|f| root.join(f)).collect();
    let descriptors = protox::compile(&files, [root])?;
    tonic_prost_build::configure()
        .bytes(".") // bulk data is shared, never copied
        .compile_fds(descriptors)?;
    Ok(())
}
