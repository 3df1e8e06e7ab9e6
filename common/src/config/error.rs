//! What can be wrong with a configuration, said so that the operator can put it right.

use std::fmt;
use std::path::PathBuf;

use super::load::DIR_VARIABLE;
use crate::units::UnitError;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Built in.
    Default,
    /// A site file.
    File(PathBuf),
    /// An environment variable `OZONE-SITE.XML_<key>`.
    Environment,
    /// `--set` on the command line, or the program itself.
    CommandLine,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("built-in default"),
            Self::File(path) => path.display().fmt(f),
            Self::Environment => f.write_str("environment"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key that neither this system nor Ozone has.
    #[error("{from}: unknown key {key}{}", suggestion(.nearest))]
    UnknownKey {
        /// The key.
        key: String,
        /// Where it was set.
        from: Source,
        /// The known name that is most alike, if any is.
        nearest: Option<&'static str>,
    },
    /// A value that its key cannot have.
    #[error("{from}: bad value {value:?} for {key}: expected {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Where it was set.
        from: Source,
        /// What would be right.
        expected: String,
    },
    /// A key that has to be set and is not.
    #[error("{}: {example}", missing(.keys))]
    Missing {
        /// The key, then those that could stand in for it.
        keys: Vec<String>,
        /// What would be right.
        example: String,
    },
    /// Two names of one key with two values.
    #[error("{key} and {alias} are the same key but differ: {value:?} and {other:?}")]
    AliasConflict {
        /// The key.
        key: &'static str,
        /// Its other name.
        alias: String,
        /// Value under the key's own name.
        value: String,
        /// Value under the other name.
        other: String,
    },
    /// `${name}` that stands for nothing, or for itself.
    #[error("{from}: cannot expand {value:?} of {key}: {reason}")]
    Expansion {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Where it was set.
        from: Source,
        /// Which variable, and why.
        reason: String,
    },
    /// A `--set` that is not `key=value`.
    #[error("--set {text:?}: expected key=value")]
    BadSet {
        /// The argument.
        text: String,
    },
    /// A file that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The directory of the site file that the environment names does not exist.
    #[error("{DIR_VARIABLE}={}: there is no such directory", dir.display())]
    NoDirectory {
        /// The directory.
        dir: PathBuf,
    },
    /// A directory that cannot be made or is none.
    #[error("{key} names {}, which cannot be used: {source}", dir.display())]
    Unusable {
        /// The key that is set.
        key: String,
        /// The directory.
        dir: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file that is not Hadoop configuration XML.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        reason: String,
    },
    /// Code asked for a key that has no row in the registry.
    #[error("{key} is not a key of this system")]
    NotRegistered {
        /// The key.
        key: String,
    },
}

impl ConfigError {
    pub(crate) fn unit(key: &str, from: &Source, error: &UnitError) -> Self {
        Self::bad_value(key, &error.text, from, error.expected)
    }

    pub(crate) fn bad_value(key: &str, value: &str, from: &Source, expected: &str) -> Self {
        Self::BadValue {
            key: key.to_owned(),
            value: value.to_owned(),
            from: from.clone(),
            expected: expected.to_owned(),
        }
    }
}

fn suggestion(nearest: &Option<&'static str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean {name}?)"))
}

fn missing(keys: &[String]) -> String {
    match keys {
        [] => "nothing is set".to_owned(),
        [only] => format!("{only} is not set"),
        [first, rest @ ..] => format!("{first} is not set, nor is {}", rest.join(" or ")),
    }
}
