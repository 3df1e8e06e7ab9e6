//! `ozone version`.

/// Prints what this binary is.
pub(crate) fn print() {
    println!("Ozone (Rust) {}", env!("CARGO_PKG_VERSION"));
    println!("Revision: {}", env!("OZONE_REVISION"));
    println!("Layout versions: OM {}", ozone_om::layout::LAYOUT_VERSION);
    println!(
        "Platform: {}-{}",
        std::env::consts::OS,
        std::env::consts::ARCH
    );
}
