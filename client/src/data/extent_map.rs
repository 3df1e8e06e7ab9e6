//! The piece of a file's extent map that a reader knows.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use ozone_common::checksum::crc32c;
use ozone_proto::namespace::{Extent, GetExtentsResponse, extent::Source};

use super::overlay::{end_of, part};
use super::place::Place;
use crate::{ClientError, Result};

/// Extents kept at most when the known piece grows.
const MAX_EXTENTS: usize = 16 << 10;

/// What a reader has to do for a run of bytes.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// Give zeros.
    Hole(u64),
    /// Give these.
    Inline(Bytes),
    /// Fetch them.
    Block(BlockRange),
}

/// Bytes of a block.
#[derive(Debug, Clone)]
pub(super) struct BlockRange {
    pub(super) place: Arc<Place>,
    pub(super) offset: u64,
    pub(super) length: u64,
    /// A replica that is behind this may not answer.
    pub(super) bcsid: u64,
}

/// Extents of one data version, complete within `known`.
#[derive(Debug)]
pub(super) struct ExtentMap {
    known: Range<u64>,
    extents: Vec<Extent>,
    places: HashMap<(u64, u64), Arc<Place>>,
}

impl Default for ExtentMap {
    fn default() -> Self {
        Self {
            known: 0..0,
            extents: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl ExtentMap {
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(super) fn knows(&self, range: &Range<u64>) -> bool {
        self.known.start <= range.start && range.end <= self.known.end
    }

    /// Where to ask on, to get to know the bytes from `wanted`.
    pub(super) fn unknown_from(&self, wanted: u64) -> u64 {
        match self.known.contains(&wanted) {
            true => self.known.end,
            false => wanted,
        }
    }

    /// Adds what the OM answered when asked for `asked`, to get to know bytes from `wanted` on.
    pub(super) fn learn(
        &mut self,
        wanted: u64,
        asked: Range<u64>,
        answer: GetExtentsResponse,
    ) -> Result<()> {
        let end = match (answer.more, answer.extents.last()) {
            (false, _) => asked.end,
            (true, Some(last)) => end_of(last).min(asked.end),
            (true, None) => {
                return Err(ClientError::protocol("OM", "more extents, but none given"));
            }
        };
        if answer.extents.iter().any(is_damaged) {
            return Err(ClientError::protocol(
                "OM",
                "bytes that were damaged on their way",
            ));
        }
        if end <= asked.start {
            return Err(ClientError::protocol(
                "OM",
                "extents before the offset asked for",
            ));
        }
        let fits = self.known.contains(&wanted) || self.extents.len() < MAX_EXTENTS;
        let goes_on = self.known.end == asked.start && fits;
        if !goes_on {
            *self = Self::default();
            self.known.start = asked.start;
        }
        // What is known of an extent across the border is known already.
        let border = asked.start;
        self.extents
            .extend(answer.extents.iter().filter_map(|e| part(e, border, end)));
        self.known.end = end;
        for location in &answer.locations {
            let block = (location.container, location.local);
            match Place::new(location) {
                Ok(place) => drop(self.places.insert(block, Arc::new(place))),
                // Who reads this very block is told; the rest of the file can be read.
                Err(error) => {
                    tracing::warn!(%error, "a block cannot be reached");
                    self.places.remove(&block);
                }
            }
        }
        Ok(())
    }

    /// What the bytes of a known range are, in order.
    pub(super) fn pieces(&self, range: Range<u64>) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut at = range.start;
        let first = self
            .extents
            .partition_point(|extent| end_of(extent) <= range.start);
        for extent in &self.extents[first..] {
            let Some(extent) = part(extent, range.start, range.end) else {
                break;
            };
            if extent.file_offset > at {
                pieces.push(Piece::Hole(extent.file_offset - at));
            }
            at = end_of(&extent);
            pieces.push(self.piece(extent)?);
        }
        if at < range.end {
            pieces.push(Piece::Hole(range.end - at));
        }
        Ok(pieces)
    }

    fn piece(&self, extent: Extent) -> Result<Piece> {
        let length = extent.length;
        match extent.source {
            Some(Source::Inline(inline)) if inline.data.len() as u64 == length => {
                Ok(Piece::Inline(inline.data))
            }
            Some(Source::Block(block)) => {
                let name = || format!("block {}:{}", block.container, block.local);
                let place = self.places.get(&(block.container, block.local));
                let missing = || ClientError::unavailable(name(), "no replica is known");
                Ok(Piece::Block(BlockRange {
                    place: place.ok_or_else(missing)?.clone(),
                    offset: block.offset,
                    length,
                    bcsid: block.bcsid,
                }))
            }
            _ => Err(ClientError::protocol("OM", "an extent without its source")),
        }
    }
}

/// Whether an extent carries other bytes than were sent.
fn is_damaged(extent: &Extent) -> bool {
    match &extent.source {
        Some(Source::Inline(inline)) => {
            inline.crc32c.is_some_and(|crc| crc != crc32c(&inline.data))
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_proto::namespace::InlineSource;

    use super::*;

    fn inline(file_offset: u64, data: &'static [u8]) -> Extent {
        let source = InlineSource {
            id: 1,
            data: Bytes::from_static(data),
            crc32c: Some(crc32c(data)),
            ..Default::default()
        };
        Extent {
            file_offset,
            length: data.len() as u64,
            source: Some(Source::Inline(source)),
        }
    }

    fn text(pieces: &[Piece]) -> String {
        let show = |piece: &Piece| match piece {
            Piece::Hole(n) => ".".repeat(*n as usize),
            Piece::Inline(data) => String::from_utf8_lossy(data).into_owned(),
            Piece::Block(_) => "?".into(),
        };
        pieces.iter().map(show).collect()
    }

    #[test]
    fn what_no_extent_covers_is_a_hole() {
        let mut map = ExtentMap::default();
        let extents = vec![inline(2, b"abcd"), inline(8, b"ef")];
        let answer = GetExtentsResponse {
            extents,
            ..Default::default()
        };
        map.learn(0, 0..12, answer).unwrap();
        assert_eq!(text(&map.pieces(0..12).unwrap()), "..abcd..ef..");
        assert_eq!(text(&map.pieces(3..9).unwrap()), "bcd..e");
        assert!(!map.knows(&(0..13)));
    }

    #[test]
    fn a_map_that_comes_in_pages_is_known_as_far_as_it_came() {
        let mut map = ExtentMap::default();
        let page = |extents, more| GetExtentsResponse {
            extents,
            more,
            ..Default::default()
        };
        map.learn(0, 0..12, page(vec![inline(0, b"abcd")], true))
            .unwrap();
        assert!(map.knows(&(0..4)) && !map.knows(&(0..5)));
        map.learn(4, 4..12, page(vec![inline(8, b"ef")], false))
            .unwrap();
        assert_eq!(text(&map.pieces(0..12).unwrap()), "abcd....ef..");
    }

    #[test]
    fn inline_bytes_that_are_missing_are_an_error_and_never_zeros() {
        let mut map = ExtentMap::default();
        let mut short = inline(0, b"abcd");
        short.length = 8;
        let answer = GetExtentsResponse {
            extents: vec![short],
            ..Default::default()
        };
        map.learn(0, 0..8, answer).unwrap();
        assert!(map.pieces(0..8).is_err());
    }

    #[test]
    fn inline_bytes_that_were_damaged_on_their_way_are_not_read() {
        let mut damaged = inline(0, b"sent");
        if let Some(Source::Inline(source)) = &mut damaged.source {
            source.data = Bytes::from_static(b"tens");
        }
        let answer = GetExtentsResponse {
            extents: vec![damaged],
            ..Default::default()
        };
        assert!(ExtentMap::default().learn(0, 0..4, answer).is_err());
    }
}
