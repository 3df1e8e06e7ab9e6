//! Finds the known key that a mistyped one was probably meant to be.

use super::keys::KEYS;
use super::known::KNOWN;

/// The known name with the fewest edits from `name`, if these are few enough to be a typing error.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let own = KEYS.iter().flat_map(|s| s.aliases.iter().chain([&s.name]));
    own.chain(KNOWN)
        .map(|known| (distance(name, known), *known))
        .min()
        .filter(|(edits, _)| *edits <= name.len().div_ceil(4))
        .map(|(_, known)| known)
}

/// Levenshtein distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_key_and_nonsense_finds_none() {
        assert_eq!(nearest("ozone.om.adress"), Some("ozone.om.address"));
        assert_eq!(nearest("ozone.metadata.dirrs"), Some("ozone.metadata.dirs"));
        assert_eq!(nearest("completely.different"), None);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
