//! The options that all listings share, and the walk over the pages that they ask for.

use ozone_client::objects::Page;

use crate::error::{CliError, Result};
use crate::usage::WithUsage;

/// Entries asked for at a time.
pub(crate) const PAGE: u64 = 1000;

/// Which part of a listing to print.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ListOptions {
    /// How many entries to print at most
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 100,
        allow_negative_numbers = true,
        value_parser = WithUsage(clap::value_parser!(i64))
    )]
    length: i64,
    /// Print all entries
    #[arg(short, long)]
    pub(crate) all: bool,
    /// The entry after which to begin
    #[arg(
        short,
        long,
        value_name = "ENTRY",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) start: String,
    /// Print only names that begin with this
    #[arg(
        short,
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) prefix: String,
}

impl ListOptions {
    /// The most entries to print.
    pub(crate) fn limit(&self) -> Result<u64> {
        if self.all {
            return Ok(u64::MAX);
        }
        match u64::try_from(self.length) {
            Ok(length) if length > 0 => Ok(length),
            _ => Err(CliError::Argument(
                "List length should be a positive number".to_owned(),
            )),
        }
    }

    /// The pages to ask for.
    pub(crate) fn pages(&self) -> Result<Pages> {
        Ok(Pages {
            left: self.limit()?,
            start: self.start.clone(),
            prefix: self.prefix.clone(),
        })
    }
}

/// The pages of a listing: ask for [`Pages::next`], tell what came with [`Pages::took`].
#[derive(Debug)]
pub(crate) struct Pages {
    left: u64,
    start: String,
    prefix: String,
}

impl Pages {
    /// Every entry.
    pub(crate) fn all() -> Self {
        Self {
            left: u64::MAX,
            start: String::new(),
            prefix: String::new(),
        }
    }

    /// What to ask for next; none at the end.
    pub(crate) fn next(&self) -> Option<Page> {
        let limit = self.left.min(PAGE);
        (limit > 0).then(|| Page {
            prefix: self.prefix.clone(),
            start: self.start.clone(),
            limit: limit as u32,
        })
    }

    /// Notes how many entries came, and the name of the last. No entries: there are no more.
    pub(crate) fn took(&mut self, count: usize, last: Option<&str>) {
        match last {
            Some(last) => {
                self.left = self.left.saturating_sub(count as u64);
                last.clone_into(&mut self.start);
            }
            None => self.left = 0,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(length: i64, all: bool) -> ListOptions {
        ListOptions {
            length,
            all,
            start: "a".to_owned(),
            prefix: "p".to_owned(),
        }
    }

    #[test]
    fn pages_go_on_from_the_last_name_until_the_length_is_reached() {
        let mut pages = options(1500, false).pages().unwrap();
        let first = pages.next().unwrap();
        assert_eq!((first.start.as_str(), first.prefix.as_str()), ("a", "p"));
        assert_eq!(first.limit, 1000);
        pages.took(1000, Some("m"));
        let second = pages.next().unwrap();
        assert_eq!((second.start.as_str(), second.limit), ("m", 500));
        pages.took(500, Some("z"));
        assert!(pages.next().is_none());
    }

    #[test]
    fn a_page_without_entries_is_the_end() {
        let mut pages = options(100, true).pages().unwrap();
        pages.took(7, Some("m"));
        assert_eq!(pages.next().unwrap().limit, 1000);
        pages.took(0, None);
        assert!(pages.next().is_none());
    }

    #[test]
    fn a_length_is_positive() {
        for length in [0, -1] {
            assert!(options(length, false).limit().is_err());
            assert!(options(length, true).limit().is_ok());
        }
    }
}
