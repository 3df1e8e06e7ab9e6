//! `ozone admin cert`: certificates for users, and for servers that are to join. Run on an SCM's
//! host: whoever can read the authority's key there may ask for anybody.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use ozone_common::config::Config;
use ozone_common::units::parse_duration;
use ozone_scm::{CertificateFor, ScmOptions};

use crate::daemon::text;
use crate::output;

/// Arguments of `ozone admin`.
#[derive(Args)]
pub(crate) struct AdminArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Certificates.
    #[command(subcommand)]
    Cert(Cert),
}

#[derive(Subcommand)]
enum Cert {
    /// Writes a file with which a user asks the cluster (ozone.security.client.certificate.file).
    Client {
        /// The user; root may ask for everybody, as a mount for all users of a machine has to.
        user: String,
        /// Holds the private key: to be read by the user alone.
        file: PathBuf,
        /// How long it is good for, such as 30d; as long as hdds.x509.default.duration if not given.
        #[arg(long, value_parser = parse_duration)]
        valid: Option<Duration>,
    },
    /// Writes a file with which servers get their first certificate
    /// (ozone.security.join.certificate.file).
    Join {
        /// Holds a private key: whoever has it may be a server of the cluster.
        file: PathBuf,
        /// What the servers may be.
        #[arg(long = "as", value_delimiter = ',', default_values_t = [Joining::Om, Joining::Datanode])]
        kinds: Vec<Joining>,
        /// How long it is good for.
        #[arg(long, value_parser = parse_duration, default_value = "1d")]
        valid: Duration,
    },
}

/// What a joining server may be.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Joining {
    Om,
    Datanode,
    Scm,
}

impl std::fmt::Display for Joining {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Om => "om",
            Self::Datanode => "datanode",
            Self::Scm => "scm",
        })
    }
}

/// Runs the command.
pub(crate) async fn run(args: AdminArgs, config: Config) -> Result<(), String> {
    let What::Cert(cert) = args.what;
    let options = ScmOptions::new(config);
    let (whom, valid, file) = match cert {
        Cert::Client { user, file, valid } => (CertificateFor::User(user), valid, file),
        Cert::Join { file, kinds, valid } => {
            let kinds = kinds.iter().map(|kind| kind.to_string().to_uppercase());
            (CertificateFor::Servers(kinds.collect()), Some(valid), file)
        }
    };
    issue(&options, whom, valid, &file).await?;
    output::line(format_args!(
        "{} is written: keep it secret",
        file.display()
    ))
}

/// Has the running SCM certify somebody, and writes the bundle.
pub(crate) async fn issue(
    options: &ScmOptions,
    whom: CertificateFor,
    valid: Option<Duration>,
    file: &Path,
) -> Result<(), String> {
    ozone_scm::issue(options, whom, valid, file)
        .await
        .map_err(text)
}
