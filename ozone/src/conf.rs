//! `ozone getconf`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use ozone_common::config::{Config, ServiceNode, om_nodes, scm_nodes};

use crate::daemon::text;
use crate::output;

/// Arguments of `ozone getconf`.
#[derive(Args)]
pub(crate) struct GetconfArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Prints the value of a key.
    #[command(name = "confKey", alias = "-confKey")]
    ConfKey {
        /// The key.
        key: String,
    },
    /// Prints the hosts of the OMs.
    #[command(name = "ozonemanagers", alias = "-ozonemanagers")]
    OzoneManagers,
    /// Prints the hosts of the SCMs.
    #[command(name = "storagecontainermanagers", alias = "-storagecontainermanagers")]
    StorageContainerManagers,
    /// Prints every key that is known, with its value.
    #[command(name = "list")]
    List,
}

/// Runs the command.
pub(crate) fn run(args: &GetconfArgs, config: &Config) -> ExitCode {
    let printed = match &args.what {
        What::ConfKey { key } => match config.get(key) {
            Some(value) => output::line(value),
            None => Err(format!("Configuration {key} is missing.")),
        },
        What::OzoneManagers => om_nodes(config).map_err(text).and_then(print_hosts),
        What::StorageContainerManagers => scm_nodes(config).map_err(text).and_then(print_hosts),
        What::List => config
            .iter()
            .try_for_each(|(key, value)| output::line(format_args!("{key}={value}"))),
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(crate::FAILED)
        }
    }
}

fn print_hosts(nodes: Vec<ServiceNode>) -> Result<(), String> {
    let hosts: Vec<_> = nodes.into_iter().map(|node| node.address.host).collect();
    output::line(hosts.join(" "))
}
