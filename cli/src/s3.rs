//! `ozone s3`: the secrets with which users of S3 sign.

use std::io::{BufRead, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ozone_common::config::Config;
use ozone_common::request;

use crate::address::Address;
use crate::error::{CliError, Result};
use crate::output::print_line;
use crate::sh::{exit, missing};
use crate::shell::Shell;

/// What stands after `ozone s3`.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "ozone s3",
    about = "Secrets of S3's users",
    disable_help_subcommand = true
)]
pub struct S3Args {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Make a secret for a user who has none, and show it this once
    #[command(name = "getsecret", visible_alias = "get-secret")]
    Get {
        #[command(flatten)]
        user: User,
        #[command(flatten)]
        form: Form,
    },
    /// Set a user's secret, in place of the one before
    #[command(name = "setsecret", visible_alias = "set-secret")]
    Set {
        #[command(flatten)]
        user: User,
        /// The secret, of at least 8 characters
        #[arg(short, long = "secret", visible_alias = "secretKey")]
        secret: String,
        #[command(flatten)]
        form: Form,
    },
    /// Take a user's secret away
    #[command(name = "revokesecret", visible_alias = "revoke-secret")]
    Revoke {
        #[command(flatten)]
        user: User,
        /// Do not ask whether it is meant
        #[arg(short)]
        yes: bool,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct User {
    /// Whose; yours, unless said otherwise, which is for administrators
    #[arg(short, long)]
    user: Option<String>,
    /// The OM service
    #[arg(long = "om-service-id", value_name = "ID")]
    service: Option<String>,
}

#[derive(Debug, Clone, clap::Args)]
struct Form {
    /// Print commands that set the environment of AWS' tools
    #[arg(short, long)]
    export: bool,
}

/// Runs a command; ends as `ozone sh` does.
pub async fn run_s3(args: S3Args, config: &Config) -> ExitCode {
    let shell = Shell::new(config);
    let work = async {
        let outcome = run(args, &shell).await;
        shell.close().await;
        outcome
    };
    exit(request::begin("s3", work).await)
}

async fn run(args: S3Args, shell: &Shell<'_>) -> Result<()> {
    let Some(command) = args.command else {
        return Err(missing::<S3Args>(None));
    };
    let (Command::Get { user, .. } | Command::Set { user, .. } | Command::Revoke { user, .. }) =
        &command;
    let address = match &user.service {
        Some(service) => Address::parse(&format!("o3://{service}/"))?,
        None => Address::parse("/")?,
    };
    let client = shell.client(&address).await?;
    let whose = user.user.clone();
    let whose = whose.unwrap_or_else(|| client.caller().user.clone());
    let objects = client.objects();
    match command {
        Command::Get { form, .. } => {
            let secret = objects.get_s3_secret(&whose).await?;
            form.print(&whose, &secret).await
        }
        Command::Set { secret, form, .. } => {
            objects.set_s3_secret(&whose, &secret).await?;
            form.print(&whose, &secret).await
        }
        Command::Revoke { yes, .. } => {
            if !yes && !confirmed(&whose).await? {
                return print_line("Operation cancelled.").await;
            }
            objects.revoke_s3_secret(&whose).await?;
            print_line("S3 secret revoked.").await
        }
    }
}

impl Form {
    async fn print(&self, id: &str, secret: &str) -> Result<()> {
        let (first, second) = match self.export {
            true => (
                format!("export AWS_ACCESS_KEY_ID='{id}'"),
                format!("export AWS_SECRET_ACCESS_KEY='{secret}'"),
            ),
            false => (format!("awsAccessKey={id}"), format!("awsSecret={secret}")),
        };
        print_line(&first).await?;
        print_line(&second).await
    }
}

/// Asks at the terminal, which blocks.
async fn confirmed(whose: &str) -> Result<bool> {
    let question = format!("Enter 'y' to confirm S3 secret revocation for '{whose}': ");
    let asked = tokio::task::spawn_blocking(move || {
        let mut out = std::io::stdout();
        write!(out, "{question}").and_then(|()| out.flush())?;
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        Ok(line.trim().eq_ignore_ascii_case("y"))
    });
    let asked = asked.await.map_err(|_| CliError::Panicked)?;
    asked.map_err(CliError::Output)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn ozones_spellings_are_understood() {
        S3Args::command().debug_assert();
        for line in [
            "getsecret",
            "get-secret -u bilbo -e",
            "getsecret --user=bilbo --om-service-id=om",
            "setsecret -s 12345678",
            "set-secret --secret=12345678 -u bilbo -e",
            "revokesecret -y",
            "revoke-secret -u bilbo",
        ] {
            S3Args::try_parse_from(["ozone s3"].into_iter().chain(line.split(' '))).unwrap();
        }
    }
}
