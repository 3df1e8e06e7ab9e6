//! What goes wrong in a command, as the one line that the user gets on stderr.

use std::io;
use std::path::{Path, PathBuf};

use ozone_client::ClientError;
use ozone_common::config::{AddressError, ConfigError};

/// Exit code for a command line that cannot be understood.
const USAGE: u8 = 2;
/// Exit code for a command that was understood and did not succeed.
const FAILED: u8 = 255;

/// A command that did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A group without a command. Ends the process with the code for wrong usage.
    #[error("Missing required subcommand\n{help}")]
    MissingSubcommand {
        /// What there is to choose from.
        help: String,
    },
    /// An address that does not name what the command is for.
    #[error("{0}")]
    Address(&'static str),
    /// An address of another filesystem.
    #[error("Invalid URI: scheme {scheme} is not o3")]
    Scheme {
        /// What stood before the colon.
        scheme: String,
    },
    /// A service id with a port.
    #[error("Invalid URI: {service} is an OM service, which has no port of its own")]
    ServiceWithPort {
        /// The id of the service.
        service: String,
    },
    /// No host where a host belongs.
    #[error(transparent)]
    Host(#[from] AddressError),
    /// An option whose value makes no sense.
    #[error("{0}")]
    Argument(String),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The cluster refused or could not be reached.
    #[error("{}", client_line(.0))]
    Client(#[from] ClientError),
    /// A file of this machine.
    #[error("{}", local_line(path, source))]
    Local {
        /// Which.
        path: PathBuf,
        /// Why it cannot be used.
        source: io::Error,
    },
    /// The target of a download is there already.
    #[error("{} exists. Download would overwrite an existing file. Aborting.", .0.display())]
    Exists(PathBuf),
    /// A directory where a key's content was asked for.
    #[error("NOT_A_FILE {key} is not a file")]
    NotAFile {
        /// Its address.
        key: String,
    },
    /// A key that was to be moved into the trash.
    #[error("{key} is not moved into the trash: {reason}")]
    NotInTrash {
        /// Its name.
        key: String,
        /// Why not.
        reason: String,
    },
    /// A key's content was shorter than its description.
    #[error("{key} ended after {got} of {size} bytes")]
    Short {
        /// Its address.
        key: String,
        /// Bytes that were read.
        got: u64,
        /// Bytes that were to be read.
        size: u64,
    },
    /// A key that is not what a load test made.
    #[error("Reference (=first) message digest doesn't match with digest of {key}")]
    OtherDigest {
        /// Its name.
        key: String,
    },
    /// A load test of which a part failed; what failed was said before.
    #[error("One or more freon test is failed.")]
    LoadTest,
    /// A part of a command ended with a panic.
    #[error("a worker ended with a panic")]
    Panicked,
    /// Standard output cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// Standard input cannot be read.
    #[error("standard input: {0}")]
    Input(io::Error),
    /// Text that is no JSON.
    #[error("cannot print: {0}")]
    Json(#[from] serde_json::Error),
}

/// What the functions of this crate give.
pub(crate) type Result<T, E = CliError> = std::result::Result<T, E>;

impl CliError {
    /// A failure of a file or directory of this machine.
    pub(crate) fn local(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        |source| Self::Local { path, source }
    }

    /// With which code the process ends.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::MissingSubcommand { .. } => USAGE,
            _ => FAILED,
        }
    }

    /// All that is known, for who wants more than a line.
    pub(crate) fn details(&self) -> String {
        format!("{self:?}")
    }

    /// What is printed on stderr.
    pub(crate) fn report(&self) -> String {
        let text = self.to_string();
        match self {
            Self::MissingSubcommand { .. } => text,
            _ => text.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

fn client_line(error: &ClientError) -> String {
    match error {
        ClientError::Om { status, message } if message == status.as_str_name() => message.clone(),
        ClientError::Om { status, message } => format!("{} {message}", status.as_str_name()),
        other => other.to_string(),
    }
}

fn local_line(path: &Path, source: &io::Error) -> String {
    let path = path.display();
    match source.kind() {
        io::ErrorKind::NotFound => format!("Error: File not found: {path}"),
        io::ErrorKind::PermissionDenied => format!("Error: Access denied: {path}"),
        io::ErrorKind::AlreadyExists => format!("Error: File already exists: {path}"),
        _ => format!("Error: {path}: {source}"),
    }
}

#[cfg(test)]
mod tests {
    use ozone_client::wire::om::Status;

    use super::*;

    #[test]
    fn refusals_of_the_om_are_a_code_and_a_message() {
        let refused = |message: &str| {
            let status = Status::VolumeNotFound;
            let message = message.to_owned();
            CliError::from(ClientError::Om { status, message })
        };
        let error = refused("Volume xyz is not found\nat line 2");
        assert_eq!(error.report(), "VOLUME_NOT_FOUND Volume xyz is not found");
        assert_eq!(error.exit_code(), 255);
        assert_eq!(refused("VOLUME_NOT_FOUND").report(), "VOLUME_NOT_FOUND");
    }

    #[test]
    fn local_failures_name_the_file() {
        let line =
            |kind| CliError::local(Path::new("sample.txt"))(io::Error::from(kind)).to_string();
        assert_eq!(
            line(io::ErrorKind::NotFound),
            "Error: File not found: sample.txt"
        );
        assert_eq!(
            line(io::ErrorKind::PermissionDenied),
            "Error: Access denied: sample.txt"
        );
    }
}
