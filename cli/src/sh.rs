//! The command line of `ozone sh`, and how its commands end.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use ozone_common::config::Config;
use ozone_common::request;

use crate::bucket::BucketCommand;
use crate::error::{CliError, Result};
use crate::key::KeyCommand;
use crate::shell::Shell;
use crate::snapshot::SnapshotCommand;
use crate::volume::VolumeCommand;

/// What stands after `ozone sh`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "ozone sh",
    about = "Volumes, buckets and keys",
    disable_help_subcommand = true
)]
pub struct ShArgs {
    /// Say all that is known of an error
    #[arg(long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    noun: Option<Noun>,
}

#[derive(Debug, Clone, Subcommand)]
enum Noun {
    /// Create, show, list and delete volumes
    #[command(visible_alias = "vol", disable_help_subcommand = true)]
    Volume {
        #[command(subcommand)]
        command: Option<VolumeCommand>,
    },
    /// Create, show, list and delete buckets
    #[command(disable_help_subcommand = true)]
    Bucket {
        #[command(subcommand)]
        command: Option<BucketCommand>,
    },
    /// Store, fetch, show, list, rename and delete keys
    #[command(disable_help_subcommand = true)]
    Key {
        #[command(subcommand)]
        command: Option<KeyCommand>,
    },
    /// Take, show, list, compare, rename and delete snapshots of buckets
    #[command(disable_help_subcommand = true)]
    Snapshot {
        #[command(subcommand)]
        command: Option<SnapshotCommand>,
    },
}

/// Runs a command: its output goes to stdout, what went wrong to stderr. Ends with 0, with 2 when
/// the command line made no sense, or with 255 when the command failed.
pub async fn run_sh(args: ShArgs, config: &Config) -> ExitCode {
    let (shell, verbose) = (Shell::new(config), args.verbose);
    let work = async {
        let outcome = run(args, &shell).await;
        shell.close().await;
        outcome
    };
    let outcome = request::begin("sh", work).await;
    if let (Err(error), true) = (&outcome, verbose) {
        complain(&error.details());
    }
    exit(outcome)
}

/// Says on stderr what went wrong, and with which code the process ends.
pub(crate) fn exit(outcome: Result<()>) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    complain(&error.report());
    ExitCode::from(error.exit_code())
}

/// A line on stderr. Whoever closed stderr does not want to know.
pub(crate) fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", line.trim_end());
}

async fn run(args: ShArgs, shell: &Shell<'_>) -> Result<()> {
    match args.noun {
        Some(Noun::Volume {
            command: Some(command),
        }) => command.run(shell).await,
        Some(Noun::Bucket {
            command: Some(command),
        }) => command.run(shell).await,
        Some(Noun::Key {
            command: Some(command),
        }) => command.run(shell).await,
        Some(Noun::Snapshot {
            command: Some(command),
        }) => command.run(shell).await,
        Some(Noun::Snapshot { command: None }) => Err(missing::<ShArgs>(Some("snapshot"))),
        Some(Noun::Volume { command: None }) => Err(missing::<ShArgs>(Some("volume"))),
        Some(Noun::Bucket { command: None }) => Err(missing::<ShArgs>(Some("bucket"))),
        Some(Noun::Key { command: None }) => Err(missing::<ShArgs>(Some("key"))),
        None => Err(missing::<ShArgs>(None)),
    }
}

/// The refusal of a group that was given no command, with the commands that it has.
pub(crate) fn missing<A: CommandFactory>(group: Option<&str>) -> CliError {
    let mut command = A::command();
    command.build();
    let group = match group {
        Some(name) => command.find_subcommand_mut(name),
        None => Some(&mut command),
    };
    let help = group.map(|group| group.render_help().to_string());
    CliError::MissingSubcommand {
        help: help.unwrap_or_default(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<ShArgs, clap::Error> {
        let words = line.split(' ').filter(|word| !word.is_empty());
        ShArgs::try_parse_from(["ozone sh"].into_iter().chain(words))
    }

    #[test]
    fn the_command_line_is_consistent() {
        ShArgs::command().debug_assert();
    }

    #[test]
    fn ozones_spellings_are_understood() {
        for line in [
            "volume create vol -u bilbo --space-quota 10GB --namespace-quota=5",
            "vol create vol --user=bilbo --quota 1TB",
            "volume list",
            "volume ls / -a",
            "volume list -u=bilbo -l1 -s a -p b",
            "bucket create vol/b --layout FSO -t RATIS -r ONE",
            "bucket create vol/b -l obs --type ratis --replication THREE -u bilbo",
            "bucket create vol/b --layout File_System_Optimized --replication-type=RATIS",
            "bucket ls vol --length=2 --start=x --prefix=y",
            "key put vol/b/k file -t EC -r rs-3-2-1024k",
            "key get vol/b/k . -f",
            "key get --force vol/b/k file",
            "key cat o3://om/vol/b/k",
            "key list vol/b --all",
            "key rename vol/b from to",
            "key delete vol/b/k",
            "snapshot create vol/b",
            "snapshot create vol/b s1",
            "snapshot ls vol/b -a",
            "snapshot diff vol/b s1 s2 -r --json -p 10 -t 5",
            "snapshot snapshotDiff vol/b s1 s2 --get-report",
            "snapshot listDiff vol/b --job-status done",
            "snapshot lsDiffJob vol/b --all-status -l 5",
            "bucket delete -r --yes vol/b",
            "bucket delete vol/b --recursive",
            "bucket delete vol/b -y",
            "volume delete -r -y vol",
            "--verbose volume info vol",
            "volume info vol --verbose",
        ] {
            parse(line).map(drop).unwrap();
        }
    }

    #[test]
    fn a_wrong_command_line_ends_with_two() {
        for line in [
            "volume create",
            "volume create vol --no-such-option",
            "bucket create vol/b --layout Invalid",
            "key put vol/b/k file --type invalid",
            "key put vol/b/k",
            "key rename vol/b from",
            "key list vol/b -l many",
            "bouquet list",
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains("Usage: "), "{error}");
        }
    }

    #[test]
    fn a_kind_of_replication_that_there_is_not_is_named_as_in_ozone() {
        for kind in ["STAND_ALONE", "CHAINED", "no-such-kind"] {
            let error = parse(&format!("key put vol/b/k file --type {kind}")).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("Invalid value '{kind}'")), "{text}");
            assert!(text.contains("RATIS, EC"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_group_without_a_command_says_what_there_is() {
        let config = Config::default();
        for (line, offered) in [("", "bucket"), ("volume", "create"), ("key", "rename")] {
            let error = run(parse(line).unwrap(), &Shell::new(&config))
                .await
                .unwrap_err();
            let text = error.report();
            assert!(text.starts_with("Missing required subcommand"), "{text}");
            assert!(text.contains(offered), "{text}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[tokio::test]
    async fn arguments_are_checked_before_the_cluster_is_asked() {
        let config = Config::default();
        for (line, expected) in [
            ("volume info /", "Volume name is required"),
            ("bucket info vol", "Bucket name is required."),
            ("key info vol/b", "Key name is missing."),
            (
                "bucket create vol/b/k",
                "Invalid bucket name. Delimiters (/) not allowed in bucket name",
            ),
            (
                "key put vol/b/k /no/such/file",
                "Error: File not found: /no/such/file",
            ),
            (
                "volume list vol",
                "Invalid URI. Volume/bucket/key elements should not been used",
            ),
            (
                "key list vol/b -l 0",
                "List length should be a positive number",
            ),
            (
                "volume create vol --quota 0",
                "Invalid values for space quota: 0",
            ),
        ] {
            let shell = Shell::new(&config);
            let error = run(parse(line).unwrap(), &shell).await.unwrap_err();
            assert_eq!(error.report(), expected, "{line}");
            assert_eq!(error.exit_code(), 255);
        }
    }
}
