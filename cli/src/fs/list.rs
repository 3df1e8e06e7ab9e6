//! `-ls`.

use ozone_client::ofs::{FileStatus, Kind};

use super::error::Result;
use super::item::Item;
use super::options::{ANY, Format};
use super::run::{GROUP, Run};
use super::system::Entries;
use super::words::{local_minute, permission, size};

const FORMAT: Format = Format::new(
    &["C", "d", "h", "q", "R", "t", "S", "r", "u", "e"],
    (0, ANY),
);

/// In which order the entries of a directory are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Name,
    Time,
    Size,
}

/// What was asked for, and how wide the columns are by now.
struct List {
    only_paths: bool,
    contents: bool,
    recursive: bool,
    human: bool,
    hide: bool,
    by_access: bool,
    policy: bool,
    order: Order,
    reverse: bool,
    widths: Widths,
}

/// Columns grow, and never shrink again.
struct Widths {
    replication: usize,
    owner: usize,
    group: usize,
    length: usize,
}

/// Lists directories, and files by themselves.
pub(super) async fn ls(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = FORMAT.parse(words)?;
    let contents = !given.has("d");
    let mut list = List {
        only_paths: given.has("C"),
        contents,
        recursive: given.has("R") && contents,
        human: given.has("h"),
        hide: given.has("q"),
        by_access: given.has("u"),
        policy: given.has("e"),
        order: match (given.has("t"), given.has("S")) {
            (true, _) => Order::Time,
            (false, true) => Order::Size,
            (false, false) => Order::Name,
        },
        reverse: given.has("r"),
        widths: Widths {
            replication: 3,
            owner: 0,
            group: 0,
            length: 10,
        },
    };
    let here = vec![".".to_owned()];
    let arguments = match given.arguments.is_empty() {
        true => here,
        false => given.arguments,
    };
    run.each(&arguments, async |run, item| {
        match list.contents && item.is_directory() {
            true if list.recursive => list.tree(run, item).await,
            true => list.directory(run, item).await,
            false => list.items(run, vec![item]).await,
        }
    })
    .await
}

impl List {
    /// Prints what is in a directory, with how many there are.
    async fn directory(&mut self, run: &mut Run<'_>, dir: Item) -> Result<()> {
        let items = self.sorted(&dir).await?;
        if !items.is_empty() && !self.only_paths {
            run.line(&format!("Found {} items", items.len())).await?;
        }
        self.items(run, items).await
    }

    /// Prints what is in a directory and below. In the order of names it is read in pieces.
    async fn tree(&mut self, run: &mut Run<'_>, top: Item) -> Result<()> {
        let mut open = vec![self.group(top).await?];
        while let Some(mut group) = open.pop() {
            let item = match group.next(self).await {
                Ok(None) => continue,
                Ok(Some(item)) => item,
                Err(error) => {
                    run.tell(error).await?;
                    continue;
                }
            };
            open.push(group);
            self.print(run, &item).await?;
            if !item.is_directory() {
                continue;
            }
            match self.group(item).await {
                Ok(group) => open.push(group),
                Err(error) => run.tell(error).await?,
            }
        }
        Ok(())
    }

    async fn group(&self, dir: Item) -> Result<Group> {
        if self.order == Order::Name && !self.reverse {
            let entries = dir.system.list(&dir.path).await;
            return Ok(Group {
                more: Some(entries.map_err(|trouble| trouble.at(&dir.text))?),
                dir,
                ready: Vec::new(),
                seen: Vec::new(),
            });
        }
        let mut items = self.sorted(&dir).await?;
        items.reverse();
        Ok(Group {
            more: None,
            dir,
            ready: Vec::new(),
            seen: items,
        })
    }

    /// All that is in a directory, in the order that was asked for.
    async fn sorted(&self, dir: &Item) -> Result<Vec<Item>> {
        let failed = |trouble: super::error::Trouble| trouble.at(&dir.text);
        let mut entries = dir.system.list(&dir.path).await.map_err(failed)?;
        let mut items = Vec::new();
        loop {
            let page = entries.next_page().await.map_err(failed)?;
            if page.is_empty() {
                break;
            }
            items.extend(page.into_iter().map(|entry| child(dir, entry)));
        }
        let status = |item: &Item, key: fn(&FileStatus) -> u64| item.status.as_ref().map(key);
        items.sort_by(|a, b| {
            let largest_first = |key| status(b, key).cmp(&status(a, key));
            let first = match self.order {
                Order::Name => std::cmp::Ordering::Equal,
                Order::Time if self.by_access => largest_first(|s| s.accessed_ms),
                Order::Time => largest_first(|s| s.modified_ms),
                Order::Size => largest_first(|s| s.length),
            };
            first.then_with(|| a.path.cmp(&b.path))
        });
        if self.reverse {
            items.reverse();
        }
        Ok(items)
    }

    async fn items(&mut self, run: &mut Run<'_>, items: Vec<Item>) -> Result<()> {
        self.widen(&items);
        for item in items {
            self.print(run, &item).await?;
        }
        Ok(())
    }

    fn widen(&mut self, items: &[Item]) {
        let widths = &mut self.widths;
        for status in items.iter().filter_map(|item| item.status.as_ref()) {
            let wide = |width: &mut usize, text: &str| *width = (*width).max(text.chars().count());
            wide(&mut widths.replication, &status.replication.to_string());
            wide(&mut widths.length, &status.length.to_string());
            wide(&mut widths.owner, &status.owner);
            wide(&mut widths.group, &status.group);
        }
    }

    async fn print(&self, run: &mut Run<'_>, item: &Item) -> Result<()> {
        let status = item.status()?;
        let path = match self.hide {
            true => printable(&item.text),
            false => item.text.clone(),
        };
        if self.only_paths {
            return run.line(&path).await;
        }
        let widths = &self.widths;
        let kind = match status.kind {
            Kind::Directory => 'd',
            Kind::Symlink => 'l',
            _ => '-',
        };
        let replication = match status.is_directory() {
            true => "-".to_owned(),
            false => status.replication.to_string(),
        };
        let policy = if self.policy { "Replicated " } else { "" };
        let time = match self.by_access {
            true => status.accessed_ms,
            false => status.modified_ms,
        };
        let line = format!(
            "{kind}{} {replication:>rw$} {}{}{policy}{:>lw$} {} {path}",
            permission(status.mode),
            column(&status.owner, widths.owner),
            column(&status.group, widths.group),
            size(status.length, self.human),
            local_minute(time),
            rw = widths.replication,
            lw = widths.length,
        );
        run.line(&line).await
    }
}

/// A directory on the way through a tree.
struct Group {
    dir: Item,
    more: Option<Entries>,
    /// A group of entries whose widths are counted, the next one last.
    ready: Vec<Item>,
    /// Entries that were read, the next one last.
    seen: Vec<Item>,
}

impl Group {
    async fn next(&mut self, list: &mut List) -> Result<Option<Item>> {
        if let Some(item) = self.ready.pop() {
            return Ok(Some(item));
        }
        if self.seen.is_empty()
            && let Some(entries) = &mut self.more
        {
            let page = entries.next_page().await;
            let page: Vec<FileStatus> = page.map_err(|trouble| trouble.at(&self.dir.text))?;
            let items = page.into_iter().rev().map(|entry| child(&self.dir, entry));
            self.seen = items.collect();
        }
        let rest = match self.more {
            Some(_) => self.seen.len().saturating_sub(GROUP),
            None => 0,
        };
        self.ready = self.seen.split_off(rest);
        list.widen(&self.ready);
        Ok(self.ready.pop())
    }
}

fn child(dir: &Item, entry: FileStatus) -> Item {
    dir.child(&entry.name.clone(), Some(entry))
}

/// Text with a space behind it, in a column that is as wide as its widest text.
fn column(text: &str, width: usize) -> String {
    match width {
        0 => String::new(),
        width => format!("{text:<width$} "),
    }
}

/// The text with a question mark for every character that cannot be seen.
fn printable(text: &str) -> String {
    let seen = |c: char| if c.is_control() { '?' } else { c };
    text.chars().map(seen).collect()
}
