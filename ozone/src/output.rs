//! Standard output. `println!` panics where it cannot be written: on a full disk, or where nobody reads any more.

use std::fmt::Display;
use std::io::Write;

/// Prints a line.
pub(crate) fn line(text: impl Display) -> Result<(), String> {
    write_line(&mut std::io::stdout().lock(), text)
}

fn write_line(out: &mut impl Write, text: impl Display) -> Result<(), String> {
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map_err(|error| format!("standard output: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn output_that_cannot_be_written_is_an_error() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let refused = write_line(&mut full, "value").unwrap_err();
        assert!(refused.contains("No space left on device"), "{refused}");
        let mut out = Vec::new();
        write_line(&mut out, "value").unwrap();
        assert_eq!(out, b"value\n");
    }
}
