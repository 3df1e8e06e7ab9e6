//! Ranges of keys.

/// Keys from `low` on and before `high`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// First key that belongs to the range.
    pub low: Vec<u8>,
    /// First key that no longer does; none for the end of the table.
    pub high: Option<Vec<u8>>,
}

impl KeyRange {
    /// The whole table.
    pub fn all() -> Self {
        Self::default()
    }

    /// Keys from `low` on and before `high`.
    pub fn between(low: impl Into<Vec<u8>>, high: impl Into<Vec<u8>>) -> Self {
        Self {
            low: low.into(),
            high: Some(high.into()),
        }
    }

    /// Keys that start with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self {
            low: prefix.to_vec(),
            high: prefix_end(prefix),
        }
    }

    /// Without the keys before `key`.
    pub fn from(mut self, key: &[u8]) -> Self {
        if key > self.low.as_slice() {
            self.low = key.to_vec();
        }
        self
    }

    /// Without `key` and those after it.
    pub fn before(mut self, key: &[u8]) -> Self {
        if self.high.as_deref().is_none_or(|high| key < high) {
            self.high = Some(key.to_vec());
        }
        self
    }

    /// Whether no key can be in the range.
    pub fn is_empty(&self) -> bool {
        self.high.as_ref().is_some_and(|high| *high <= self.low)
    }

    /// Whether `key` is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.low.as_slice() && self.high.as_deref().is_none_or(|high| key < high)
    }
}

/// The first key after all that start with `prefix`; none if there can be no such key.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The first key after `key`.
pub fn key_after(key: &[u8]) -> Vec<u8> {
    let mut after = Vec::with_capacity(key.len() + 1);
    after.extend_from_slice(key);
    after.push(0);
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_sibling() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(&[1, 0xff]), Some(vec![2]));
        assert_eq!(prefix_end(&[0xff, 0xff]), None);
        assert_eq!(prefix_end(b""), None);
    }

    #[test]
    fn ranges_only_shrink() {
        let range = KeyRange::prefix(b"b").from(b"a").before(b"z");
        assert_eq!(range, KeyRange::between(b"b", b"c"));
        let range = range.from(b"bb").before(b"bd");
        assert!(range.contains(b"bb") && range.contains(b"bc"));
        assert!(!range.contains(b"ba") && !range.contains(b"bd"));
        assert!(range.before(b"a").is_empty());
    }
}
