//! `ozone getconf`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use ozone_common::config::{Config, om_nodes, scm_nodes};

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
            Some(value) => {
                println!("{value}");
                Ok(())
            }
            None => Err(format!("Configuration {key} is missing.")),
        },
        What::OzoneManagers => om_nodes(config).map(print_hosts).map_err(|e| e.to_string()),
        What::StorageContainerManagers => scm_nodes(config)
            .map(print_hosts)
            .map_err(|e| e.to_string()),
        What::List => {
            config
                .iter()
                .for_each(|(key, value)| println!("{key}={value}"));
            Ok(())
        }
    };
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(crate::FAILED)
        }
    }
}

fn print_hosts(nodes: Vec<ozone_common::config::ServiceNode>) {
    let hosts: Vec<_> = nodes.into_iter().map(|node| node.address.host).collect();
    println!("{}", hosts.join(" "));
}
