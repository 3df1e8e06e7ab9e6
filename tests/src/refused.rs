//! What the binary refused, and whether it said what it should.

use std::process::Output;

/// Exit code of a command that could not do its work.
pub const FAILED: Option<i32> = Some(255);

/// A start or a command that the binary refused.
#[derive(Debug)]
pub struct Refused {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to its standard error.
    pub text: String,
}

impl From<&Output> for Refused {
    fn from(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            text: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// It failed, with all these words.
#[track_caller]
pub fn assert_refused(refused: &Refused, words: &[&str]) {
    assert_eq!(refused.code, FAILED, "{}", refused.text);
    for word in words {
        let says = refused.text.contains(word);
        assert!(says, "no {word:?} in: {}", refused.text);
    }
}
