//! Standard output. Written off the async threads, and flushed before a command ends.

use serde::Serialize;
use tokio::io::AsyncWriteExt;

use crate::error::{CliError, Result};
use crate::json::{self, Array};

/// Prints text as it is.
pub(crate) async fn print(text: &[u8]) -> Result<()> {
    let mut out = tokio::io::stdout();
    out.write_all(text).await.map_err(CliError::Output)?;
    out.flush().await.map_err(CliError::Output)
}

/// Prints a line.
pub(crate) async fn print_line(line: &str) -> Result<()> {
    print(format!("{line}\n").as_bytes()).await
}

/// Prints a value as JSON.
pub(crate) async fn print_json(value: &impl Serialize) -> Result<()> {
    let mut text = json::pretty(value)?;
    text.push(b'\n');
    print(&text).await
}

/// A JSON array on its way to standard output. Nothing is printed before there is an element or
/// the end is known, so that a listing that fails at once prints only its error.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    array: Array,
}

impl Listing {
    /// Prints some more elements.
    pub(crate) async fn print<T: Serialize>(
        &mut self,
        elements: impl IntoIterator<Item = T>,
    ) -> Result<()> {
        let text = self.array.more(elements)?;
        print(&text).await
    }

    /// Prints the end.
    pub(crate) async fn end(self) -> Result<()> {
        print(self.array.end()).await
    }
}
