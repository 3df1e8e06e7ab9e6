//! `ozone fs`: the namespace as Hadoop's shell shows it, on `ofs://`, `o3fs://` and `file://` paths.
//!
//! Scripts written for `hadoop fs` and `ozone fs` run unchanged: the same commands, options, output,
//! error lines and exit codes. A command that makes no sense ends with 255 and the usage, one of which
//! some part failed with 1, after it has done the rest. The commands are described in [`commands`], and
//! each group of them has a file. Bytes stream through; directories are read in pieces.

mod ask;
mod attributes;
mod commands;
mod copy;
mod error;
mod find;
mod glob;
mod help;
mod item;
mod list;
mod local;
mod location;
mod make;
mod merge;
mod options;
mod remove;
mod run;
mod show;
mod snapshots;
mod sums;
mod system;
mod systems;
mod text;
mod words;

use std::process::ExitCode;

use ozone_common::config::Config;
use ozone_common::request;

use crate::sh::complain;
use error::{FsError, Result};
use run::Run;
use systems::Systems;

/// Exit code of a command line that makes no sense.
const SENSELESS: u8 = 255;
/// Exit code when a part of a command failed.
const FAILED: u8 = 1;

/// What stands after `ozone fs`.
#[derive(Debug, Clone, clap::Args)]
pub struct FsArgs {
    /// [-conf FILE] [-D KEY=VALUE] [-fs URI] -COMMAND [OPTIONS] [ARGUMENTS]
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    words: Vec<String>,
}

/// Options before the command, which change the configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Generic {
    /// Configuration file.
    pub conf: Option<String>,
    /// Configuration keys, `key=value` each.
    pub sets: Vec<String>,
}

impl FsArgs {
    /// Takes away the options that stand before the command. An option without its value stays, and is
    /// refused as a command.
    pub fn take_generic(&mut self) -> Generic {
        let mut generic = Generic::default();
        while self.words.len() >= 2 {
            match self.words[0].as_str() {
                "-conf" => generic.conf = Some(self.words[1].clone()),
                "-D" => generic.sets.push(self.words[1].clone()),
                "-fs" => generic.sets.push(format!("fs.defaultFS={}", self.words[1])),
                _ => break,
            }
            self.words.drain(..2);
        }
        generic
    }
}

/// Runs a command: its output goes to stdout, what went wrong to stderr.
pub async fn run_fs(args: FsArgs, config: &Config) -> ExitCode {
    let mut words = args.words.into_iter();
    let Some(word) = words.next() else {
        complain(&help::all());
        return ExitCode::from(SENSELESS);
    };
    let outcome = request::begin("fs", run(&word, words.collect(), config)).await;
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error @ FsError::Output(_)) => {
            complain(&format!("{}: {error}", word.trim_start_matches('-')));
            ExitCode::from(FAILED)
        }
        Err(error) => {
            complain(&help::senseless(&word, &error));
            ExitCode::from(SENSELESS)
        }
    }
}

/// Runs a command to its end; its exit code, or why it ended at once.
async fn run(word: &str, words: Vec<String>, config: &Config) -> Result<u8> {
    let command = word.strip_prefix('-').and_then(commands::find);
    let Some(command) = command else {
        return Err(FsError::Argument("Unknown command".to_owned()));
    };
    let mut run = Run::new(command.name, Systems::new(config)?);
    let done = commands::run(command, &mut run, words).await;
    let told = match done {
        Err(error) => run.tell(error).await,
        Ok(()) => Ok(()),
    };
    let flushed = run.flush().await;
    run.systems.close().await;
    told?;
    flushed?;
    Ok(match run.failed() {
        true => FAILED,
        false => run.code,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn args(line: &str) -> FsArgs {
        FsArgs {
            words: line.split_whitespace().map(str::to_owned).collect(),
        }
    }

    #[test]
    fn generic_options_stand_before_the_command() {
        let mut words = args("-D a=b -fs ofs://om -conf f.xml -ls -D x");
        let expected = Generic {
            conf: Some("f.xml".to_owned()),
            sets: vec!["a=b".to_owned(), "fs.defaultFS=ofs://om".to_owned()],
        };
        assert_eq!(words.take_generic(), expected);
        assert_eq!(words.words, ["-ls", "-D", "x"]);
    }

    #[tokio::test]
    async fn a_line_that_makes_no_sense_is_refused_before_a_cluster_is_asked() {
        let config = Config::default();
        for (line, expected) in [
            ("-nothing", "Unknown command"),
            ("ls /", "Unknown command"),
            ("-ls -z /", "Illegal option -z"),
            ("-mkdir", "Not enough arguments: expected 1 but got 0"),
            ("-test /a", "No test flag given"),
            ("-test -d -e /a", "Only one test flag is allowed"),
            ("-cat", "Not enough arguments: expected 1 but got 0"),
            ("-createSnapshot", "<snapshotDir> is missing."),
            ("-deleteSnapshot /v/b", "Incorrect number of arguments."),
            ("-ls o3fs://bucket/x", "Ozone file system URL"),
        ] {
            let mut words = line.split_whitespace().map(str::to_owned);
            let word = words.next().unwrap();
            let error = run(&word, words.collect(), &config).await.unwrap_err();
            assert!(error.to_string().starts_with(expected), "{line}: {error}");
        }
    }
}
