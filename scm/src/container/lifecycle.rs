//! Which states a container may go through.
//!
//! OPEN → CLOSING → (QUASI_CLOSED →) CLOSED → DELETING → DELETED. A container that was never
//! written ends from CLOSING. Nothing goes back.

use ozone_proto::hdds::LifeCycleState::{
    self, Closed, Closing, Deleted, Deleting, Open, QuasiClosed,
};

/// What asking for a new state means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The state changes.
    Move,
    /// It is there already, or past it.
    Nothing,
    /// There is no such way.
    Refused,
}

/// How far a state is along the way.
fn rank(state: LifeCycleState) -> u8 {
    match state {
        Open => 0,
        Closing => 1,
        QuasiClosed => 2,
        Closed => 3,
        Deleting => 4,
        Deleted => 5,
        LifeCycleState::Recovering => u8::MAX,
    }
}

/// What becomes of a container in `from` when `to` is asked for.
pub(crate) fn step(from: LifeCycleState, to: LifeCycleState) -> Step {
    let ways = [
        (Open, Closing),
        (Closing, QuasiClosed),
        (Closing, Closed),
        (QuasiClosed, Closed),
        (Closing, Deleting),
        (Closed, Deleting),
        (Deleting, Deleted),
    ];
    if ways.contains(&(from, to)) {
        return Step::Move;
    }
    let known = rank(from) != u8::MAX && rank(to) != u8::MAX;
    match known && rank(to) <= rank(from) {
        true => Step::Nothing,
        false => Step::Refused,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_life_is_allowed_in_order() {
        for pair in [Open, Closing, QuasiClosed, Closed, Deleting, Deleted].windows(2) {
            assert_eq!(step(pair[0], pair[1]), Step::Move, "{pair:?}");
        }
        assert_eq!(step(Closing, Closed), Step::Move);
    }

    #[test]
    fn late_requests_change_nothing_and_jumps_are_refused() {
        assert_eq!(step(Closed, Closing), Step::Nothing);
        assert_eq!(step(Deleted, Deleted), Step::Nothing);
        assert_eq!(step(Open, Closed), Step::Refused);
        assert_eq!(step(Open, Deleted), Step::Refused);
        assert_eq!(step(QuasiClosed, Deleting), Step::Refused);
        assert_eq!(step(Open, LifeCycleState::Recovering), Step::Refused);
    }
}
