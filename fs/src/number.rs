//! The numbers under which the kernel knows an inode. The first is its object id. While programs read a file
//! without this mount ([`crate::lent`]), the kernel lets nobody use it in any other way under that number; who
//! wants to is shown the same file under its second one.

/// Second numbers have this bit.
const SECOND: u64 = 1 << 63;

/// Whether this is the second number of an inode.
pub(crate) fn is_second(number: u64) -> bool {
    number & SECOND != 0
}

/// The first number of the inode that has this one.
pub(crate) fn first(number: u64) -> u64 {
    number & !SECOND
}

/// The second number of the inode that has this first one.
pub(crate) fn second(first: u64) -> u64 {
    first | SECOND
}

/// How often the kernel has looked an inode up under each of its numbers, and not forgotten it.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    first: u64,
    second: u64,
}

impl Lookups {
    /// Counts one more, of the second number or the first.
    pub(crate) fn add(&mut self, second: bool) {
        *self.of(second) += 1;
    }

    /// Takes `count` off a number.
    pub(crate) fn forget(&mut self, number: u64, count: u64) {
        let known = self.of(is_second(number));
        *known = known.saturating_sub(count);
    }

    /// Whether the kernel knows the inode.
    pub(crate) fn any(&self) -> bool {
        self.first > 0 || self.second > 0
    }

    /// Whether the kernel knows it by its second number.
    pub(crate) fn by_second(&self) -> bool {
        self.second > 0
    }

    fn of(&mut self, second: bool) -> &mut u64 {
        match second {
            true => &mut self.second,
            false => &mut self.first,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_forgotten_by_itself() {
        let mut lookups = Lookups::default();
        lookups.add(false);
        lookups.add(true);
        lookups.add(true);
        lookups.forget(7, 1);
        assert!(lookups.any() && lookups.by_second());
        lookups.forget(second(7), 2);
        assert!(!lookups.any());
        assert_eq!((first(second(7)), is_second(7)), (7, false));
    }
}
