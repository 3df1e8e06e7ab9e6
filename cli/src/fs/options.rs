//! Options as Hadoop's shell has them: words with one dash, before the first argument.

use super::error::{FsError, Result};

/// What a command takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Format {
    /// Options without a value.
    pub flags: &'static [&'static str],
    /// Options with a value.
    pub values: &'static [&'static str],
    /// Fewest and most arguments.
    pub arguments: (usize, usize),
}

/// What a command was given.
#[derive(Debug, Default)]
pub(super) struct Given {
    flags: Vec<&'static str>,
    values: Vec<(&'static str, String)>,
    /// What is no option.
    pub arguments: Vec<String>,
}

/// As many arguments as there are.
pub(super) const ANY: usize = usize::MAX;

impl Format {
    /// A command with these flags, and as many arguments as said.
    pub(super) const fn new(flags: &'static [&'static str], arguments: (usize, usize)) -> Self {
        Self {
            flags,
            values: &[],
            arguments,
        }
    }

    /// Sorts out the words after the command.
    pub(super) fn parse(&self, words: Vec<String>) -> Result<Given> {
        let mut given = Given::default();
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next_if(|word| word.starts_with('-') && word != "-") {
            if word == "--" {
                break;
            }
            let option = &word[1..];
            if let Some(flag) = self.flags.iter().find(|flag| **flag == option) {
                given.flags.push(flag);
            } else if let Some(name) = self.values.iter().find(|name| **name == option) {
                let value = words.next_if(|word| !word.starts_with('-') || word == "-");
                given.values.push((name, value.unwrap_or_default()));
            } else {
                return Err(FsError::Argument(format!("Illegal option {word}")));
            }
        }
        given.arguments = words.collect();
        let (least, most) = self.arguments;
        let count = given.arguments.len();
        if count < least {
            let text = format!("Not enough arguments: expected {least} but got {count}");
            return Err(FsError::Argument(text));
        }
        if count > most {
            let text = format!("Too many arguments: expected {most} but got {count}");
            return Err(FsError::Argument(text));
        }
        Ok(given)
    }
}

impl Given {
    /// Whether a flag was given.
    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    /// The flags that were given, each once.
    pub(super) fn flags(&self) -> Vec<&'static str> {
        let mut flags = self.flags.clone();
        flags.sort_unstable();
        flags.dedup();
        flags
    }

    /// The value that was given last.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.values.iter().rev().find(|(given, _)| *given == name);
        found.map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FORMAT: Format = Format {
        flags: &["R", "skipTrash"],
        values: &["t"],
        arguments: (1, 2),
    };

    fn parse(line: &str) -> Result<Given> {
        FORMAT.parse(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn options_stand_before_arguments() {
        let given = parse("-R -t 5 -skipTrash a -R").unwrap();
        assert!(given.has("R") && given.has("skipTrash"));
        assert_eq!(given.value("t"), Some("5"));
        assert_eq!(given.arguments, ["a", "-R"]);
        let given = parse("-- -R").unwrap();
        assert_eq!(given.arguments, ["-R"]);
        assert!(!given.has("R"));
        assert_eq!(parse("- x").unwrap().arguments, ["-", "x"]);
    }

    #[test]
    fn what_is_wrong_is_said_as_hadoop_says_it() {
        for (line, expected) in [
            ("-x a", "Illegal option -x"),
            ("-rR a", "Illegal option -rR"),
            ("-R", "Not enough arguments: expected 1 but got 0"),
            ("a b c", "Too many arguments: expected 2 but got 3"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), expected);
        }
    }
}
