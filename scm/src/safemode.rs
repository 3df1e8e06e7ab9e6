//! Safe mode: after a start, SCM hands out no blocks until it knows enough of what exists.
//!
//! Enough is: as many datanodes as configured have registered, nearly every closed container that
//! holds data has a reported replica, and the open pipelines are reported, at least one of them.
//! It is judged again with every report, and once left it is never entered again.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use ozone_common::ids::ContainerId;
use parking_lot::Mutex;

/// What has to be seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rules {
    /// Whether there is a safe mode at all.
    pub(crate) enabled: bool,
    /// Datanodes that must have registered.
    pub(crate) min_datanodes: usize,
    /// Share of closed containers with data that must have a reported replica.
    pub(crate) container_share: f64,
}

/// What has been seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Datanodes that registered.
    pub(crate) datanodes: usize,
    /// Closed containers with data.
    pub(crate) containers: usize,
    /// Those of them without a reported replica.
    pub(crate) containers_unseen: usize,
    /// Open pipelines that a member reports.
    pub(crate) pipelines_reported: usize,
    /// Open pipelines that no member reports, though one may still do so.
    pub(crate) pipelines_awaited: usize,
}

/// What is missing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wait {
    /// Too few datanodes.
    Datanodes {
        /// Registered.
        have: usize,
        /// Needed.
        need: usize,
    },
    /// Too many closed containers without a replica.
    Containers {
        /// With a replica.
        have: usize,
        /// All of them.
        of: usize,
        /// Share that is needed.
        share: f64,
    },
    /// Open pipelines that nobody reports.
    Pipelines {
        /// How many.
        awaited: usize,
    },
    /// No open pipeline at all.
    NoPipeline,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Datanodes { have, need } => {
                write!(f, "{have} of {need} datanodes have registered")
            }
            Self::Containers { have, of, share } => write!(
                f,
                "{have} of {of} closed containers have a reported replica, {:.1} % are needed",
                share * 100.0
            ),
            Self::Pipelines { awaited } => {
                write!(f, "{awaited} open pipelines are not reported by any member")
            }
            Self::NoPipeline => f.write_str("no pipeline is open"),
        }
    }
}

/// What is missing before safe mode may end; none if nothing is.
pub(crate) fn judge(rules: &Rules, facts: &Facts) -> Option<Wait> {
    if facts.datanodes < rules.min_datanodes {
        return Some(Wait::Datanodes {
            have: facts.datanodes,
            need: rules.min_datanodes,
        });
    }
    let have = facts.containers.saturating_sub(facts.containers_unseen);
    if (have as f64) < rules.container_share * facts.containers as f64 {
        let (of, share) = (facts.containers, rules.container_share);
        return Some(Wait::Containers { have, of, share });
    }
    if facts.pipelines_awaited > 0 {
        return Some(Wait::Pipelines {
            awaited: facts.pipelines_awaited,
        });
    }
    (facts.pipelines_reported == 0).then_some(Wait::NoPipeline)
}

/// Whether SCM is in safe mode, and why.
#[derive(Debug)]
pub(crate) struct SafeMode {
    rules: Rules,
    on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    containers: usize,
    unseen: HashSet<ContainerId>,
    reason: String,
}

impl SafeMode {
    /// Starts in safe mode, if that is enabled.
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            on: AtomicBool::new(rules.enabled),
            state: Mutex::new(State {
                containers: 0,
                unseen: HashSet::new(),
                reason: "starting".to_owned(),
            }),
        }
    }

    /// Waits for these closed containers with data.
    pub(crate) fn expect(&self, containers: HashSet<ContainerId>) {
        let mut state = self.state.lock();
        state.containers = containers.len();
        state.unseen = containers;
    }

    /// Replicas of these containers were reported.
    pub(crate) fn seen(&self, containers: &[ContainerId]) {
        if self.is_on() {
            let mut state = self.state.lock();
            for id in containers {
                state.unseen.remove(id);
            }
        }
    }

    /// Whether SCM is in safe mode.
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// What is waited for; empty once safe mode is left.
    pub(crate) fn reason(&self) -> String {
        match self.is_on() {
            true => self.state.lock().reason.clone(),
            false => String::new(),
        }
    }

    /// Judges again; `facts` without the containers, which are counted here. True if this ended
    /// safe mode.
    pub(crate) fn judge(&self, facts: Facts) -> bool {
        if !self.is_on() {
            return false;
        }
        let mut state = self.state.lock();
        let facts = Facts {
            containers: state.containers,
            containers_unseen: state.unseen.len(),
            ..facts
        };
        match judge(&self.rules, &facts) {
            Some(wait) => {
                state.reason = wait.to_string();
                false
            }
            None => {
                self.on.store(false, Ordering::Release);
                state.unseen = HashSet::new();
                true
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        enabled: true,
        min_datanodes: 2,
        container_share: 0.99,
    };
    const ENOUGH: Facts = Facts {
        datanodes: 2,
        containers: 100,
        containers_unseen: 1,
        pipelines_reported: 1,
        pipelines_awaited: 0,
    };

    #[test]
    fn each_rule_holds_it_and_is_named() {
        assert_eq!(judge(&RULES, &ENOUGH), None);
        let cases = [
            (
                Facts {
                    datanodes: 1,
                    ..ENOUGH
                },
                "1 of 2 datanodes",
            ),
            (
                Facts {
                    containers_unseen: 2,
                    ..ENOUGH
                },
                "98 of 100 closed containers",
            ),
            (
                Facts {
                    pipelines_awaited: 3,
                    ..ENOUGH
                },
                "3 open pipelines",
            ),
            (
                Facts {
                    pipelines_reported: 0,
                    ..ENOUGH
                },
                "no pipeline",
            ),
        ];
        for (facts, words) in cases {
            let text = judge(&RULES, &facts).unwrap().to_string();
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn it_is_left_once_for_all_when_the_last_container_shows_up() {
        let mode = SafeMode::new(RULES);
        mode.expect(HashSet::from([ContainerId(1), ContainerId(2)]));
        let facts = Facts {
            containers: 0,
            containers_unseen: 0,
            ..ENOUGH
        };
        mode.seen(&[ContainerId(1), ContainerId(7)]);
        assert!(!mode.judge(facts));
        assert!(mode.reason().contains("1 of 2"), "{}", mode.reason());
        mode.seen(&[ContainerId(2)]);
        assert!(mode.judge(facts));
        assert!(!mode.is_on());
        assert!(!mode.judge(Facts::default()));
        assert!(!mode.is_on() && mode.reason().is_empty());
    }

    #[test]
    fn it_can_be_switched_off() {
        assert!(
            !SafeMode::new(Rules {
                enabled: false,
                ..RULES
            })
            .is_on()
        );
    }
}
