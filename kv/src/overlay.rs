//! Changes seen before they are written.
//!
//! Operations that are applied together must see one another's effects, yet reach the database as
//! one batch. An [`Overlay`] collects their changes over a view and answers reads, scans included,
//! as if they were written.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::batch::{Batch, Op, WriteTarget};
use crate::error::KvError;
use crate::range::{KeyRange, key_after};
use crate::view::{ReadView, Row};

/// Changes over a view. Overlays stack: one over another can be thrown away, or its batch given
/// to the one below.
#[derive(Debug)]
pub struct Overlay<V> {
    base: V,
    tables: BTreeMap<&'static str, Pending>,
}

/// Changes of one table.
#[derive(Debug, Default)]
struct Pending {
    /// New values; none for deleted rows.
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Ranges of the base that are gone, by their first key; they do not overlap.
    gone: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl<V: ReadView> Overlay<V> {
    /// No changes yet over `base`.
    pub fn new(base: V) -> Self {
        Self {
            base,
            tables: BTreeMap::new(),
        }
    }

    /// What lies below.
    pub fn base(&self) -> &V {
        &self.base
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Takes all changes of a batch.
    pub fn apply(&mut self, batch: Batch) {
        batch.into_iter().for_each(|op| self.change(op));
    }

    /// All changes as one batch: each row at most once, after the ranges that are gone.
    pub fn into_batch(self) -> Batch {
        let mut batch = Batch::new();
        for (table, pending) in self.tables {
            for (low, high) in pending.gone {
                batch.delete_range(table, low, high);
            }
            for (key, value) in pending.rows {
                match value {
                    Some(value) => batch.put(table, key, value),
                    None => batch.delete(table, key),
                }
            }
        }
        batch
    }
}

impl<V: ReadView> WriteTarget for Overlay<V> {
    fn change(&mut self, op: Op) {
        match op {
            Op::Put { table, key, value } => {
                self.tables
                    .entry(table)
                    .or_default()
                    .rows
                    .insert(key, Some(value));
            }
            Op::Delete { table, key } => {
                self.tables.entry(table).or_default().rows.insert(key, None);
            }
            Op::DeleteRange { table, low, high } => {
                self.tables.entry(table).or_default().remove(low, high);
            }
        }
    }
}

impl<V: ReadView> ReadView for Overlay<V> {
    fn get(&self, table: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let Some(pending) = self.tables.get(table) else {
            return self.base.get(table, key);
        };
        match pending.rows.get(key) {
            Some(value) => Ok(value.clone()),
            None if pending.gap_around(key).is_some() => Ok(None),
            None => self.base.get(table, key),
        }
    }

    fn scan_range(
        &self,
        table: &'static str,
        range: &KeyRange,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<Row>, KvError> {
        let Some(pending) = self.tables.get(table) else {
            return self.base.scan_range(table, range, reverse, limit);
        };
        let mut rows = Vec::new();
        let mut rest = range.clone();
        while rows.len() < limit && !rest.is_empty() {
            // One page of the base, without what is gone; then the changes of the same stretch.
            let wanted = limit - rows.len();
            let seen = pending.skip_gone(&rest, reverse);
            let page = self.base.scan_range(table, &seen, reverse, wanted)?;
            let (stretch, after) = match page.last() {
                Some((last, _)) if page.len() == wanted => cut(&rest, last, reverse),
                _ => (rest, None),
            };
            pending.merge(page, &stretch, reverse, &mut rows);
            let Some(after) = after else { break };
            rest = after;
        }
        rows.truncate(limit);
        Ok(rows)
    }
}

/// Splits a range after `last`: what a page that ended there covers, and what is left.
fn cut(range: &KeyRange, last: &[u8], reverse: bool) -> (KeyRange, Option<KeyRange>) {
    let after = key_after(last);
    let covered = range.clone();
    let left = range.clone();
    match reverse {
        false => (covered.before(&after), Some(left.from(&after))),
        true => (covered.from(last), Some(left.before(last))),
    }
}

impl Pending {
    /// Forgets changes from `low` on and before `high`, and hides the base there.
    fn remove(&mut self, mut low: Vec<u8>, mut high: Vec<u8>) {
        if low >= high {
            return;
        }
        let inside = self.rows.range(low.clone()..high.clone());
        let inside: Vec<_> = inside.map(|(key, _)| key.clone()).collect();
        for key in inside {
            self.rows.remove(&key);
        }
        // Join ranges that touch or overlap this one.
        while let Some((first, end)) = self.gone.range(..=high.clone()).next_back() {
            if *end < low {
                break;
            }
            let (first, end) = (first.clone(), end.clone());
            self.gone.remove(&first);
            low = low.min(first);
            high = high.max(end);
        }
        self.gone.insert(low, high);
    }

    /// The range that is gone and holds `key`.
    fn gap_around(&self, key: &[u8]) -> Option<(&[u8], &[u8])> {
        let upto = (Bound::Unbounded, Bound::Included(key));
        let (low, high) = self.gone.range::<[u8], _>(upto).next_back()?;
        (key < high.as_slice()).then_some((low.as_slice(), high.as_slice()))
    }

    /// `range` without what is gone at the end where a scan starts.
    fn skip_gone(&self, range: &KeyRange, reverse: bool) -> KeyRange {
        if !reverse {
            return match self.gap_around(&range.low) {
                Some((_, high)) => range.clone().from(high),
                None => range.clone(),
            };
        }
        let upto = match &range.high {
            Some(high) => Bound::Excluded(high.as_slice()),
            None => Bound::Unbounded,
        };
        let last = self
            .gone
            .range::<[u8], _>((Bound::Unbounded, upto))
            .next_back();
        match (last, &range.high) {
            (Some((low, end)), Some(high)) if end >= high => range.clone().before(low),
            _ => range.clone(),
        }
    }

    /// Appends the rows of `page` that still stand and the new rows of `stretch`, in order.
    fn merge(&self, page: Vec<Row>, stretch: &KeyRange, reverse: bool, out: &mut Vec<Row>) {
        let stands =
            |row: &Row| !self.rows.contains_key(&row.0) && self.gap_around(&row.0).is_none();
        let start = out.len();
        out.extend(page.into_iter().filter(stands));
        if !stretch.is_empty() {
            let low = Bound::Included(stretch.low.as_slice());
            let high = stretch
                .high
                .as_deref()
                .map_or(Bound::Unbounded, Bound::Excluded);
            let changed = self.rows.range::<[u8], _>((low, high));
            out.extend(changed.filter_map(|(key, value)| Some((key.clone(), value.clone()?))));
        }
        out[start..].sort_unstable_by(|a, b| a.0.cmp(&b.0));
        if reverse {
            out[start..].reverse();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::rng::{Rng, SeededRng};

    use super::*;

    const T: &str = "t";

    /// Rows in memory: what every view must agree with.
    #[derive(Clone, Default)]
    struct Model(BTreeMap<Vec<u8>, Vec<u8>>);

    impl ReadView for Model {
        fn get(&self, _: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
            Ok(self.0.get(key).cloned())
        }

        fn scan_range(
            &self,
            _: &'static str,
            range: &KeyRange,
            reverse: bool,
            limit: usize,
        ) -> Result<Vec<Row>, KvError> {
            let inside = self.0.iter().filter(|(key, _)| range.contains(key));
            let mut rows: Vec<Row> = inside.map(|(k, v)| (k.clone(), v.clone())).collect();
            if reverse {
                rows.reverse();
            }
            rows.truncate(limit);
            Ok(rows)
        }
    }

    impl WriteTarget for Model {
        fn change(&mut self, op: Op) {
            match op {
                Op::Put { key, value, .. } => drop(self.0.insert(key, value)),
                Op::Delete { key, .. } => drop(self.0.remove(&key)),
                Op::DeleteRange { low, high, .. } => {
                    self.0.retain(|key, _| *key < low || *key >= high);
                }
            }
        }
    }

    fn key(rng: &SeededRng) -> Vec<u8> {
        (0..=rng.below(2))
            .map(|_| b'a' + rng.below(5) as u8)
            .collect()
    }

    fn random_op(rng: &SeededRng) -> Op {
        let (table, key, other) = (T, key(rng), key(rng));
        match rng.below(10) {
            0..=5 => Op::Put {
                table,
                key,
                value: rng.u64().to_be_bytes().to_vec(),
            },
            6..=8 => Op::Delete { table, key },
            _ => Op::DeleteRange {
                table,
                low: key.clone().min(other.clone()),
                high: key.max(other),
            },
        }
    }

    fn agree(overlay: &impl ReadView, model: &Model, rng: &SeededRng, seed: u64) {
        let (a, b) = (key(rng), key(rng));
        let ranges = [
            KeyRange::all(),
            KeyRange::prefix(&a[..1]),
            KeyRange::prefix(&a[..1]).from(&b),
            KeyRange::between(a.clone().min(b.clone()), a.clone().max(b.clone())),
        ];
        for range in ranges {
            for limit in [1, 2, 3, 100] {
                for reverse in [false, true] {
                    let got = overlay.scan_range(T, &range, reverse, limit).unwrap();
                    let want = model.scan_range(T, &range, reverse, limit).unwrap();
                    assert_eq!(got, want, "seed {seed} {range:?} {reverse} {limit}");
                }
            }
        }
        assert_eq!(overlay.get(T, &a).unwrap(), model.get(T, &a).unwrap());
        let got = overlay.last_at_or_below(T, &a[..1], &a).unwrap();
        assert_eq!(got, model.last_at_or_below(T, &a[..1], &a).unwrap());
    }

    #[test]
    fn an_overlay_reads_as_if_its_changes_were_written() {
        for seed in 0..300 {
            let rng = SeededRng::new(seed);
            let mut base = Model::default();
            (0..rng.below(30)).for_each(|_| base.change(random_op(&rng)));
            let mut model = base.clone();
            let mut overlay = Overlay::new(&base);
            for _ in 0..20 {
                let op = random_op(&rng);
                model.change(op.clone());
                overlay.change(op);
                agree(&overlay, &model, &rng, seed);
            }
            let mut nested = Overlay::new(&overlay);
            let op = random_op(&rng);
            model.change(op.clone());
            nested.change(op);
            agree(&nested, &model, &rng, seed);
            let inner = nested.into_batch();
            overlay.apply(inner);
            let mut written = base.clone();
            overlay
                .into_batch()
                .into_iter()
                .for_each(|op| written.change(op));
            assert_eq!(written.0, model.0, "seed {seed}");
        }
    }

    #[test]
    fn a_thrown_away_overlay_changes_nothing() {
        let base = Model::default();
        let mut overlay = Overlay::new(&base);
        let mut attempt = Overlay::new(&overlay);
        attempt.put(T, b"k".to_vec(), b"v".to_vec());
        drop(attempt);
        assert!(overlay.is_empty() && overlay.get(T, b"k").unwrap().is_none());
        overlay.put(T, b"k".to_vec(), b"v".to_vec());
        assert_eq!(overlay.into_batch().ops().len(), 1);
    }
}
