//! Alive, silent for a while, or given up: by the time since the last sign of life.

use std::fmt;
use std::time::Duration;

/// How a datanode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Health {
    /// It reports.
    Healthy,
    /// Silent for some time: it gets nothing new.
    Stale,
    /// Silent for so long that its replicas count as lost.
    Dead,
}

impl Health {
    /// As operators know it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Stale => "STALE",
            Self::Dead => "DEAD",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// After how much silence a datanode is stale, and dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Patience {
    /// No new data from here.
    pub(crate) stale: Duration,
    /// Given up from here.
    pub(crate) dead: Duration,
}

impl Patience {
    /// How a datanode is that was silent for this long.
    pub(crate) fn judge(&self, silence: Duration) -> Health {
        if silence >= self.dead {
            Health::Dead
        } else if silence >= self.stale {
            Health::Stale
        } else {
            Health::Healthy
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_decides() {
        let patience = Patience {
            stale: Duration::from_secs(5),
            dead: Duration::from_secs(10),
        };
        let judge = |ms| patience.judge(Duration::from_millis(ms));
        assert_eq!(judge(0), Health::Healthy);
        assert_eq!(judge(4_999), Health::Healthy);
        assert_eq!(judge(5_000), Health::Stale);
        assert_eq!(judge(10_000), Health::Dead);
    }
}
