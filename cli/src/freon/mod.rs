//! `ozone freon`: load tests, with Ozone's names, options and summary.
//!
//! A generator does one thing `-n` times on `-t` workers. Objects are named `<prefix>/<number>`, so
//! that one run's keys can be found, read and checked by another.

mod ockg;
mod ockv;
mod report;
mod runner;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ozone_client::Client;
use ozone_client::objects::KeyName;
use ozone_common::config::Config;

use crate::address::Address;
use crate::error::Result;
use crate::sh::{exit, missing};
use crate::shell::Shell;

/// What stands after `ozone freon`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "ozone freon",
    about = "Load tests",
    disable_help_subcommand = true
)]
pub struct FreonArgs {
    #[command(subcommand)]
    generator: Option<Generator>,
}

#[derive(Debug, Clone, Subcommand)]
enum Generator {
    /// Write keys of the same content
    #[command(visible_alias = "ozone-client-key-generator")]
    Ockg(ockg::Ockg),
    /// Check that keys have the content of the first of them
    #[command(visible_alias = "ozone-client-key-validator")]
    Ockv(ockv::Ockv),
}

/// Where the keys are.
#[derive(Debug, Clone, clap::Args)]
struct Place {
    /// The volume
    #[arg(short, long, default_value = "vol1")]
    volume: String,
    /// The bucket
    #[arg(short, long, default_value = "bucket1")]
    bucket: String,
    /// The OM service, where several are configured
    #[arg(long, value_name = "ID")]
    om_service_id: Option<String>,
}

impl Place {
    fn key<'a>(&'a self, key: &'a str) -> KeyName<'a> {
        KeyName {
            volume: &self.volume,
            bucket: &self.bucket,
            key,
        }
    }

    async fn client(&self, shell: &Shell<'_>) -> Result<Client> {
        let address = match &self.om_service_id {
            Some(id) => Address::parse(&format!("o3://{id}"))?,
            None => Address::default(),
        };
        shell.client(&address).await.cloned()
    }
}

/// Runs a load test: its summary goes to stdout, what failed to stderr. Ends with 0, with 2 when the
/// command line made no sense, or with 255 when anything failed.
pub async fn run_freon(args: FreonArgs, config: &Config) -> ExitCode {
    let shell = Shell::new(config);
    let outcome = match args.generator {
        Some(Generator::Ockg(ockg)) => ockg.run(&shell).await,
        Some(Generator::Ockv(ockv)) => ockv.run(&shell).await,
        None => Err(missing::<FreonArgs>(None)),
    };
    shell.close().await;
    exit(outcome)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<FreonArgs, clap::Error> {
        FreonArgs::try_parse_from(["ozone freon"].into_iter().chain(line.split(' ')))
    }

    #[test]
    fn the_command_line_is_consistent() {
        FreonArgs::command().debug_assert();
    }

    #[test]
    fn ozones_spellings_are_understood() {
        for line in [
            "ockg -t=1 -n=1 -p warmup",
            "ozone-client-key-generator -t 10 -n 100 -s 1MB -v vol -b bucket -p prefix",
            "ockg --threads 4 --number-of-tests 7 --size 10KB --buffer 1024 --prefix=p",
            "ockg --replication ONE --duration 30s --fail-at-end",
            "ockg -r THREE -f --om-service-id om1",
            "ockg -F ONE",
            "ockv -t 10 -n 100 -v vol -b bucket -p prefix",
        ] {
            parse(line).map(drop).unwrap();
        }
    }

    #[test]
    fn a_wrong_command_line_ends_with_two() {
        for line in [
            "ockg -n 0",
            "ockg -t 0",
            "ockg -s much",
            "ockg --buffer 0",
            "ockg --duration soon",
            "nonsense",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
