//! When something last changed, by object id modulo a fixed number: tells a reader whether what it has
//! looked up may have changed before it was filed as a holder of a lease.

use parking_lot::Mutex;

const COUNT: usize = 4096;

/// Numbers of changes; see the module.
pub(super) struct Stripes(Box<[Mutex<Stripe>]>);

#[derive(Default, Clone, Copy)]
struct Stripe {
    /// Number and author of the last change.
    last: u64,
    by: u64,
    /// Number of the last change by anybody else than `by`.
    others: u64,
}

impl Stripes {
    pub(super) fn new() -> Self {
        Self((0..COUNT).map(|_| Mutex::default()).collect())
    }

    fn of(&self, object: u64) -> &Mutex<Stripe> {
        &self.0[usize::try_from(object % COUNT as u64).unwrap_or_default()]
    }

    /// The change `number` by the session `by` concerns the object.
    pub(super) fn note(&self, object: u64, by: u64, number: u64) {
        let mut stripe = self.of(object).lock();
        if stripe.by != by {
            stripe.others = stripe.last;
            stripe.by = by;
        }
        stripe.last = stripe.last.max(number);
    }

    /// Whether nobody else than `session` has changed the object after the change `number`.
    pub(super) fn quiet_for(&self, object: u64, session: u64, number: u64) -> bool {
        let stripe = *self.of(object).lock();
        let foreign = if stripe.by == session {
            stripe.others
        } else {
            stripe.last
        };
        foreign <= number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_changes_do_not_disturb_and_those_of_others_do() {
        let stripes = Stripes::new();
        assert!(stripes.quiet_for(7, 1, 10));
        stripes.note(7, 1, 11);
        assert!(stripes.quiet_for(7, 1, 10));
        assert!(!stripes.quiet_for(7, 2, 10));
        stripes.note(7, 2, 12);
        stripes.note(7, 1, 13);
        assert!(!stripes.quiet_for(7, 1, 11));
        assert!(stripes.quiet_for(7, 1, 12));
    }
}
