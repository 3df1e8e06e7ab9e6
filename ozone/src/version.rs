//! `ozone version`.

use crate::output;

/// Prints what this binary is.
pub(crate) fn print() -> Result<(), String> {
    output::line(format_args!(
        "Ozone (Rust) {}\nRevision: {}\nLayout versions: OM {}\nPlatform: {}-{}",
        env!("CARGO_PKG_VERSION"),
        env!("OZONE_REVISION"),
        ozone_om::layout::LAYOUT_VERSION,
        std::env::consts::OS,
        std::env::consts::ARCH
    ))
}
