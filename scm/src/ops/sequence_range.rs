//! A range of numbers is reserved for whoever asked. Nobody else ever gets one of them.

use super::{Answer, Op, Refusal};
use crate::model::{Change, QueueError, View};
use crate::rows::{ROW_VERSION, SequenceRow};

/// The command. Answers the first number; `count` of them follow one another.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SequenceRange {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(uint64, tag = "2")]
    pub(crate) count: u64,
}

impl Op for SequenceRange {
    fn name(&self) -> &'static str {
        "SequenceRange"
    }

    fn validate(&self, view: View<'_>) -> Result<(), Refusal> {
        if self.count == 0 || self.name.is_empty() {
            return Err(Refusal::Malformed("a range needs a name and a length"));
        }
        // Numbers travel as signed ones.
        let last = view.model.last_of(&self.name).checked_add(self.count);
        match last {
            Some(last) if i64::try_from(last).is_ok() => Ok(()),
            _ => Err(Refusal::bad_state("sequence", &self.name, "used up")),
        }
    }

    fn apply(&self, view: View<'_>, out: &mut Vec<Change>) -> Result<Answer, QueueError> {
        let last = view.model.last_of(&self.name);
        let row = SequenceRow {
            version: ROW_VERSION,
            last: last + self.count,
        };
        out.push(Change::Sequence(self.name.clone(), row));
        Ok(Answer::First(last + 1))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::testing::World;
    use super::*;

    #[test]
    fn ranges_follow_one_another() {
        let mut world = World::default();
        let range = |count| SequenceRange {
            name: "localId".to_owned(),
            count,
        };
        assert_eq!(world.run(&range(100)), Ok(Answer::First(1)));
        assert_eq!(world.run(&range(5)), Ok(Answer::First(101)));
        assert_eq!(world.run(&range(5)), Ok(Answer::First(106)));
        assert!(matches!(world.run(&range(0)), Err(Refusal::Malformed(_))));
        let rest = i64::MAX as u64;
        assert!(matches!(
            world.run(&range(rest)),
            Err(Refusal::BadState { .. })
        ));
    }
}
