//! Tells the benchmarks how they were compiled, for their header.

fn main() {
    for name in ["PROFILE", "OPT_LEVEL"] {
        let value = std::env::var(name).unwrap_or_default();
        println!("cargo:rustc-env=BENCH_{name}={value}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
