//! A command at work: its filesystems, its output, and what went wrong so far.

use std::collections::VecDeque;

use ozone_client::ofs::FileStatus;

use super::error::{FsError, Result};
use super::item::Item;
use super::system::Entries;
use super::systems::Systems;
use crate::output::print;
use crate::sh::complain;

/// Output that is held back at most, in bytes.
const BUFFER: usize = 64 << 10;
/// Entries of a directory that are handled at a time.
pub(super) const GROUP: usize = 100;

/// A command at work.
pub(super) struct Run<'a> {
    name: &'static str,
    /// Where paths lead to.
    pub systems: Systems<'a>,
    /// The exit code when nothing went wrong.
    pub code: u8,
    failed: bool,
    out: Vec<u8>,
}

impl<'a> Run<'a> {
    pub(super) fn new(name: &'static str, systems: Systems<'a>) -> Self {
        Self {
            name,
            systems,
            code: 0,
            failed: false,
            out: Vec::new(),
        }
    }

    /// Whether something went wrong.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// Prints a line.
    pub(super) async fn line(&mut self, line: &str) -> Result<()> {
        self.out.extend_from_slice(line.as_bytes());
        self.out.push(b'\n');
        self.flush_at(BUFFER).await
    }

    /// Prints bytes as they are.
    pub(super) async fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.extend_from_slice(bytes);
        self.flush_at(BUFFER).await
    }

    /// Prints what was held back.
    pub(super) async fn flush(&mut self) -> Result<()> {
        self.flush_at(1).await
    }

    async fn flush_at(&mut self, least: usize) -> Result<()> {
        if self.out.len() < least {
            return Ok(());
        }
        let printed = print(&self.out).await;
        self.out.clear();
        Ok(printed?)
    }

    /// Says what happened, on stderr.
    pub(super) async fn say(&mut self, text: &str) -> Result<()> {
        self.flush().await?;
        complain(text);
        Ok(())
    }

    /// Says what went wrong, and goes on unless nothing more can be done.
    pub(super) async fn tell(&mut self, error: FsError) -> Result<()> {
        if error.ends() {
            return Err(error);
        }
        self.failed = true;
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        self.say(&format!("{}: {line}", self.name)).await
    }

    /// What the arguments stand for. Patterns that match nothing are told.
    pub(super) async fn expand(&mut self, arguments: &[String]) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for text in arguments {
            match self.systems.expand(text).await {
                Ok(found) if found.is_empty() => self.tell(FsError::missing(text)).await?,
                Ok(mut found) => items.append(&mut found),
                Err(error) => self.tell(error).await?,
            }
        }
        Ok(items)
    }

    /// Does something with all that the arguments stand for. What is not there is told.
    pub(super) async fn each(
        &mut self,
        arguments: &[String],
        mut work: impl AsyncFnMut(&mut Self, Item) -> Result<()>,
    ) -> Result<()> {
        for item in self.expand(arguments).await? {
            let done = match item.exists() {
                true => work(self, item).await,
                false => Err(item.missing()),
            };
            match done {
                // Asked for by name, it makes no sense; met on the way, it is one thing among others.
                Err(FsError::Layout(text)) => return Err(FsError::Argument(text)),
                Err(error) => self.tell(error).await?,
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

/// Directories that are walked through, the innermost last, a group of entries in memory for each.
#[derive(Default)]
pub(super) struct Walk {
    open: Vec<Frame>,
}

struct Frame {
    dir: Item,
    entries: Entries,
    page: VecDeque<FileStatus>,
}

/// Where a walk has come to.
pub(super) enum Step {
    /// Something in the innermost directory.
    Entry(Item),
    /// All of this directory was seen.
    Leave(Item),
}

impl Walk {
    /// Goes into a directory.
    pub(super) async fn enter(&mut self, dir: Item) -> Result<()> {
        let entries = dir.system.list(&dir.path).await;
        self.open.push(Frame {
            entries: entries.map_err(|trouble| trouble.at(&dir.text))?,
            dir,
            page: VecDeque::new(),
        });
        Ok(())
    }

    /// The next step; none at the end. After an error the walk goes on behind the directory.
    pub(super) async fn next(&mut self) -> Result<Option<Step>> {
        let Some(frame) = self.open.last_mut() else {
            return Ok(None);
        };
        if frame.page.is_empty() {
            let page = frame.entries.next_page().await;
            match page.map_err(|trouble| trouble.at(&frame.dir.text)) {
                Ok(page) => frame.page.extend(page),
                Err(error) => {
                    self.open.pop();
                    return Err(error);
                }
            }
        }
        match frame.page.pop_front() {
            Some(status) => {
                let name = status.name.clone();
                Ok(Some(Step::Entry(frame.dir.child(&name, Some(status)))))
            }
            None => Ok(self.open.pop().map(|frame| Step::Leave(frame.dir))),
        }
    }
}
