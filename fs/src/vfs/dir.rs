//! opendir, readdir and readdirplus.
//!
//! A handle walks its directory in pages of the namespace's, in order of names, and holds two of
//! them: memory is bounded whatever the size of the directory. Positions are ordinals. Where each
//! page began is remembered by name, so that a program that seeks back far reads on from there.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use nix::errno::Errno;
use ozone_client::Namespace;

use crate::attr::{Attr, Known};
use crate::errno::{FsError, Result};
use crate::inode::Inode;
use crate::leases::Asked;
use crate::objects;
use crate::past;
use crate::vfs::{Vfs, Who};
use crate::wire;

/// Entries that are asked for at a time.
pub(crate) const PAGE: u32 = 1000;
/// Pages that a handle holds.
const PAGES: usize = 2;
/// Positions of `.` and `..`.
pub(crate) const DOTS: u64 = 2;

/// An open directory.
pub struct DirHandle {
    inode: Arc<Inode>,
    cursor: tokio::sync::Mutex<Cursor>,
    /// Failures of the directory that this handle has told of.
    failures_seen: AtomicU64,
}

/// One name of a directory.
#[derive(Debug, Clone, Copy)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a [u8],
    /// Position behind it, from which to read on.
    pub next: u64,
    /// Attributes; only number and kind are right for `.`, `..` and where they were not asked for.
    pub attr: Attr,
    /// How long name and attributes may be believed.
    pub valid: Duration,
}

/// Takes an entry; true when there was no room for it.
pub type Sink<'a> = dyn FnMut(DirEntry<'_>) -> bool + Send + 'a;

impl Vfs {
    /// Opens a directory.
    pub fn open_dir(&self, ino: u64) -> Result<u64> {
        if past::is_past(ino) {
            return self.past_open_dir(ino);
        }
        if let Some(place) = self.object_place(ino)? {
            return Ok(self.object_open_dir(place));
        }
        let inode = self.inodes.get(ino)?;
        if !inode.is_directory() {
            return Err(Errno::ENOTDIR.into());
        }
        Ok(self.handles.add_dir(DirHandle {
            failures_seen: AtomicU64::new(inode.failures_told()),
            inode,
            cursor: tokio::sync::Mutex::default(),
        }))
    }

    /// fsync of a directory: the names that were made in it are durable, or it is told that one is lost.
    /// Those made elsewhere before are durable, too.
    pub async fn fsync_dir(&self, handle: u64) -> Result<()> {
        if past::is_handle(handle) || objects::is_handle(handle) {
            return Ok(());
        }
        let dir = self.handles.dir(handle)?;
        self.backlog.settle().await?;
        dir.inode.tell_failure(&dir.failures_seen)
    }

    /// Closes a directory.
    pub fn release_dir(&self, handle: u64) {
        if past::is_handle(handle) {
            return self.past.close(handle);
        }
        if objects::is_handle(handle) {
            self.objects.close(handle);
            return;
        }
        self.handles.remove_dir(handle);
    }

    /// Gives entries from `position` on to `sink`, in order, until it is full or all were given.
    /// With `plus`, attributes are right and every entry taken counts as a lookup.
    pub async fn read_dir(
        &self,
        who: &Who,
        handle: u64,
        position: u64,
        plus: bool,
        sink: &mut Sink<'_>,
    ) -> Result<()> {
        if past::is_handle(handle) {
            return self.past_read_dir(who, handle, position, plus, sink).await;
        }
        if objects::is_handle(handle) {
            return self
                .object_read_dir(who, handle, position, plus, sink)
                .await;
        }
        let handle = self.handles.dir(handle)?;
        let mut cursor = handle.cursor.lock().await;
        if position == 0 {
            *cursor = Cursor::default();
        }
        let inode = &handle.inode;
        if give_dots(inode.attr(), inode.parent().parent_id, position, sink) {
            return Ok(());
        }
        let dir = inode.children();
        let fetch = |after: Bytes| async move {
            let asked = self.inodes.asked();
            let ask = |ns: Namespace| {
                let after = after.clone();
                async move { ns.read_dir(dir, &after, PAGE).await }
            };
            let (entries, more) = self.act(who, ask).await?;
            Ok((entries, more, asked))
        };
        let give = |entry: &wire::Inode, next, asked| {
            self.give(inode, entry, next, plus.then_some(asked), sink)
        };
        match cursor.walk(position, fetch, give).await {
            // A directory that was removed while open reads as empty.
            Err(error) if inode.nameless() && error.is(Errno::ENOENT) => Ok(()),
            given => given,
        }
    }

    /// Gives one entry; `asked` tells when the page was, if the entry is to count as a lookup. True
    /// when the sink is full.
    fn give(
        &self,
        parent: &Inode,
        entry: &wire::Inode,
        next: u64,
        asked: Option<Asked>,
        sink: &mut Sink<'_>,
    ) -> Result<bool> {
        let (Some(place), Some(row)) = (&entry.r#ref, &entry.row) else {
            return Err(FsError::from(Errno::EPROTO));
        };
        let Known { attr, valid } = match asked {
            Some(asked) => self.looked(parent, &place.name, entry.clone(), asked)?,
            None => Known {
                attr: Attr::of(place.object_id, row),
                valid: Duration::ZERO,
            },
        };
        let full = sink(DirEntry {
            name: &place.name,
            next,
            attr,
            valid,
        });
        if full && asked.is_some() {
            self.inodes.forget(attr.ino, 1);
        }
        Ok(full)
    }
}

/// Gives `.` and `..` of a directory that has the attributes `own`; true when the sink is full.
pub(crate) fn give_dots(own: Attr, parent: u64, position: u64, sink: &mut Sink<'_>) -> bool {
    let parent = Attr { ino: parent, ..own };
    let dots: [(&[u8], Attr); 2] = [(b".", own), (b"..", parent)];
    let mut rest = (0..).zip(dots).skip_while(|(at, _)| *at < position);
    rest.any(|(at, (name, attr))| {
        sink(DirEntry {
            name,
            next: at + 1,
            attr,
            valid: Duration::ZERO,
        })
    })
}

fn skip(index: u64, first: u64) -> usize {
    usize::try_from(index - first).unwrap_or(usize::MAX)
}

/// Entries with their first ordinal.
struct Page {
    first: u64,
    entries: Vec<wire::Inode>,
    more: bool,
    asked: Asked,
}

impl Page {
    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

/// Where a handle is in its directory.
#[derive(Default)]
pub(crate) struct Cursor {
    pages: VecDeque<Page>,
    /// Ordinal and predecessor's name of the first entry of every page so far.
    marks: Vec<(u64, Bytes)>,
}

impl Cursor {
    /// Gives the entries from `position` on, each with the position behind it and when it was asked for, until
    /// `give` says that there was no room for one.
    pub(crate) async fn walk<F, Fut>(
        &mut self,
        position: u64,
        mut fetch: F,
        mut give: impl FnMut(&wire::Inode, u64, Asked) -> Result<bool>,
    ) -> Result<()>
    where
        F: FnMut(Bytes) -> Fut,
        Fut: Future<Output = Result<(Vec<wire::Inode>, bool, Asked)>>,
    {
        let start = position.saturating_sub(DOTS);
        let mut index = start;
        loop {
            let page = match self.page_of(index, &mut fetch).await {
                Ok(page) => page,
                // What was given counts; the next call meets the failure again.
                Err(_) if index > start => return Ok(()),
                Err(error) => return Err(error),
            };
            let Some(page) = page else {
                return Ok(());
            };
            for entry in page.entries.iter().skip(skip(index, page.first)) {
                index += 1;
                if give(entry, index + DOTS, page.asked)? {
                    return Ok(());
                }
            }
        }
    }

    /// The page that has the entry `index`; `None` past the end. `fetch` asks for the entries after a
    /// name, and tells when.
    async fn page_of<F, Fut>(&mut self, index: u64, mut fetch: F) -> Result<Option<&Page>>
    where
        F: FnMut(Bytes) -> Fut,
        Fut: Future<Output = Result<(Vec<wire::Inode>, bool, Asked)>>,
    {
        loop {
            if let Some(at) = self
                .pages
                .iter()
                .position(|page| (page.first..page.end()).contains(&index))
            {
                return Ok(Some(&self.pages[at]));
            }
            let Some((first, after)) = self.before(index) else {
                return Ok(None);
            };
            let (entries, more, asked) = fetch(after.clone()).await?;
            if entries.is_empty() {
                return Ok(None);
            }
            self.keep(
                Page {
                    first,
                    entries,
                    more,
                    asked,
                },
                after,
            );
        }
    }

    /// From where to read on towards the entry `index`: an ordinal and the name before it.
    fn before(&mut self, index: u64) -> Option<(u64, Bytes)> {
        let follows = self.pages.back().is_some_and(|page| page.end() <= index);
        if let (true, Some(last)) = (follows, self.pages.back()) {
            let name = last.entries.last().and_then(|entry| entry.r#ref.as_ref());
            return name
                .filter(|_| last.more)
                .map(|place| (last.end(), place.name.clone()));
        }
        self.pages.clear();
        let mark = self.marks.iter().rev().find(|(first, _)| *first <= index);
        Some(mark.cloned().unwrap_or_default())
    }

    fn keep(&mut self, page: Page, after: Bytes) {
        if self
            .marks
            .last()
            .is_none_or(|(first, _)| *first < page.first)
        {
            // A copy: the name as it came is a piece of the whole answer, which it would keep in memory.
            self.marks
                .push((page.first, Bytes::copy_from_slice(&after)));
        }
        if self.pages.len() == PAGES {
            self.pages.pop_front();
        }
        self.pages.push_back(page);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeSet;

    use super::*;

    /// A directory that answers pages of three.
    struct Listing {
        names: BTreeSet<Vec<u8>>,
        asked: Cell<usize>,
    }

    impl Listing {
        fn of(count: usize) -> Self {
            let names = (0..count)
                .map(|i| format!("f{i:04}").into_bytes())
                .collect();
            Self {
                names,
                asked: Cell::new(0),
            }
        }

        fn page(&self, after: &Bytes) -> (Vec<wire::Inode>, bool) {
            self.asked.set(self.asked.get() + 1);
            let mut rest = self.names.iter().filter(|name| ***name > **after);
            let page = rest.by_ref().take(3).map(|name| {
                let place = wire::InodeRef {
                    name: name.clone().into(),
                    ..Default::default()
                };
                wire::Inode {
                    r#ref: Some(place),
                    row: Some(wire::InodeRow::default()),
                    leased: false,
                    snapshot: 0,
                }
            });
            let page = page.collect();
            (page, rest.next().is_some())
        }
    }

    async fn at(cursor: &mut Cursor, listing: &Listing, index: u64) -> Option<String> {
        let page = cursor
            .page_of(index, |after| async move {
                let (entries, more) = listing.page(&after);
                let asked = Asked {
                    epoch: 0,
                    generation: 0,
                };
                Ok((entries, more, asked))
            })
            .await
            .unwrap();
        let page = page?;
        let name = page.entries[skip(index, page.first)]
            .r#ref
            .as_ref()
            .unwrap()
            .name
            .to_vec();
        Some(String::from_utf8(name).unwrap())
    }

    #[tokio::test]
    async fn every_name_comes_once_and_memory_stays_bounded() {
        let listing = Listing::of(100);
        let mut cursor = Cursor::default();
        for index in 0..100 {
            assert_eq!(
                at(&mut cursor, &listing, index).await.unwrap(),
                format!("f{index:04}")
            );
            assert!(cursor.pages.len() <= PAGES);
        }
        assert_eq!(at(&mut cursor, &listing, 100).await, None);
        assert_eq!(listing.asked.get(), 34);
    }

    #[tokio::test]
    async fn what_was_given_before_a_page_failed_counts_and_the_next_call_tells_of_the_failure() {
        let listing = Listing::of(10);
        let asked = Asked {
            epoch: 0,
            generation: 0,
        };
        // The second page cannot be had.
        let listing = &listing;
        let fetch = |after: Bytes| async move {
            if !after.is_empty() {
                return Err(FsError::from(Errno::EIO));
            }
            let (entries, more) = listing.page(&after);
            Ok((entries, more, asked))
        };
        let mut cursor = Cursor::default();
        let mut given = DOTS;
        let mut give = |_: &wire::Inode, next, _| {
            given = next;
            Ok(false)
        };
        cursor.walk(DOTS, fetch, &mut give).await.unwrap();
        assert_eq!(given, DOTS + 3);
        let failed = cursor.walk(given, fetch, |_, _, _| Ok(false)).await;
        assert!(failed.unwrap_err().is(Errno::EIO));
    }

    #[tokio::test]
    async fn names_removed_behind_the_reader_hide_none_before_it() {
        let mut listing = Listing::of(30);
        let mut cursor = Cursor::default();
        for index in 0..30 {
            let name = at(&mut cursor, &listing, index).await.unwrap();
            assert_eq!(name, format!("f{index:04}"));
            listing.names.remove(name.as_bytes());
        }
        assert_eq!(at(&mut cursor, &listing, 30).await, None);
    }

    #[tokio::test]
    async fn seeking_back_reads_on_from_a_remembered_page() {
        let listing = Listing::of(100);
        let mut cursor = Cursor::default();
        for index in 0..60 {
            at(&mut cursor, &listing, index).await;
        }
        let asked = listing.asked.get();
        assert_eq!(at(&mut cursor, &listing, 56).await.unwrap(), "f0056");
        assert_eq!(listing.asked.get(), asked);
        assert_eq!(at(&mut cursor, &listing, 31).await.unwrap(), "f0031");
        assert_eq!(listing.asked.get(), asked + 1);
        assert_eq!(at(&mut cursor, &listing, 70).await.unwrap(), "f0070");
    }

    #[tokio::test]
    async fn an_empty_directory_ends_at_once() {
        let listing = Listing::of(0);
        assert_eq!(at(&mut Cursor::default(), &listing, 0).await, None);
    }

    #[tokio::test]
    async fn a_position_past_the_end_ends() {
        let listing = Listing::of(10);
        assert_eq!(at(&mut Cursor::default(), &listing, 50).await, None);
    }
}
