//! `ozone`: one binary for every server, the embedded cluster, the mount and the command line.

mod admin;
mod conf;
mod daemon;
mod mount;
mod output;
mod signals;
mod up;
mod version;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use ozone_cli::{FreonArgs, FsArgs, S3Args, ShArgs};
use ozone_common::config::{Config, ConfigSources};
use ozone_common::telemetry::{LogFormat, LogOptions, init_logging};

/// Buffers of mebibytes come and go with every large copy: the C library's allocator keeps them.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code of a command that could not do its work, as Ozone's.
const FAILED: u8 = 255;
/// Exit code where no command is given, as Ozone's.
const NO_COMMAND: u8 = 1;

#[derive(Parser)]
#[command(
    name = "ozone",
    version,
    propagate_version = true,
    about = "A POSIX filesystem and an object store over the same bytes"
)]
struct Args {
    /// Configuration file, instead of $OZONE_CONF_DIR/ozone-site.xml.
    #[arg(long, global = true, value_name = "FILE")]
    conf: Option<PathBuf>,
    /// Sets a configuration key, over file and environment. May be given several times.
    #[arg(long = "set", short = 'D', global = true, value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Logs as JSON, one object a line.
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a whole cluster in this process, and mounts it.
    Up(up::UpArgs),
    /// Mounts the namespace of a cluster.
    Mount(mount::MountArgs),
    /// Stays when the process of a mount is killed, until nobody waits for it.
    #[command(name = ozone_fs::guard::COMMAND, hide = true)]
    MountGuard {
        /// The process.
        parent: i32,
    },
    /// Runs a Storage Container Manager.
    Scm(daemon::ScmArgs),
    /// Runs an Ozone Manager.
    Om(daemon::OmArgs),
    /// Runs a datanode.
    Datanode,
    /// Runs an S3 gateway.
    S3g,
    /// What operators do.
    Admin(admin::AdminArgs),
    /// Volumes, buckets and keys.
    #[command(alias = "shell")]
    Sh(ShArgs),
    /// The namespace as Hadoop's shell shows it; -help says more.
    #[command(disable_help_flag = true)]
    Fs(FsArgs),
    /// Secrets of S3's users.
    S3(S3Args),
    /// Load tests.
    Freon(FreonArgs),
    /// Prints configuration values.
    Getconf(conf::GetconfArgs),
    /// Prints the version.
    Version,
}

/// How long work that was not waited for may take to end.
const LINGER: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let args = Args::parse_from(words(std::env::args_os().collect()));
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(format_args!("cannot start threads: {error}")),
    };
    let code = runtime.block_on(run(args));
    runtime.shutdown_timeout(LINGER);
    leave(code)
}

/// The command line, with `--` after `fs`: the words behind it are Hadoop's, whose options have one dash and would
/// be taken for options of this program.
fn words(mut words: Vec<OsString>) -> Vec<OsString> {
    let mut at = 1;
    while let Some(word) = words.get(at).and_then(|word| word.to_str()) {
        at += match word {
            "--conf" | "--set" | "-D" => 2,
            "fs" => {
                words.insert(at + 1, "--".into());
                break;
            }
            word if word.starts_with('-') => 1,
            _ => break,
        };
    }
    words
}

/// Ends the process at once. Returning from `main` would take RocksDB's globals down under threads that
/// still close a database, and such a thread aborts the process; everything that matters is on disk.
#[allow(unsafe_code)]
fn leave(code: ExitCode) -> ! {
    // What cannot be written now could not be written at a return either.
    let _ = std::io::stdout().flush();
    let status = (0..=u8::MAX).find(|status| ExitCode::from(*status) == code);
    let status = i32::from(status.unwrap_or(FAILED));
    // SAFETY: takes no pointer, runs no code of this process, and does not return.
    unsafe { nix::libc::_exit(status) }
}

async fn run(mut args: Args) -> ExitCode {
    let Some(mut command) = args.command else {
        eprint!("{}", Args::command().render_help());
        return ExitCode::from(NO_COMMAND);
    };
    if let Command::MountGuard { parent } = command {
        let guarded = ozone_fs::guard::guard(parent).await;
        // At once: a thread waits for requests that do not come.
        leave(guarded.map_or(ExitCode::from(FAILED), |()| ExitCode::SUCCESS));
    }
    if let Command::Fs(fs) = &mut command {
        let generic = fs.take_generic();
        args.conf = generic.conf.map(PathBuf::from).or(args.conf);
        args.sets.extend(generic.sets);
    }
    let sources = ConfigSources::of_process(args.conf, args.sets);
    let config = match Config::load(&sources) {
        Ok(config) => config,
        Err(error) => return fail(error),
    };
    if let Some(warning) = config.warning() {
        eprintln!("ozone: warning: {warning}");
    }
    let format = if args.log_json {
        LogFormat::Json
    } else {
        LogFormat::Text
    };
    let log = |file| {
        init_logging(&LogOptions {
            format,
            file,
            level: None,
        })
    };
    let outcome = match command {
        Command::Up(up) => {
            let dir = up.dir.clone();
            if let Err(error) = up::prepare_dir(&dir) {
                return fail(up::explain(&dir, error));
            }
            let outcome = match log(Some(dir.join("ozone.log"))) {
                Ok(()) => up::run(up, config).await,
                Err(error) => Err(up::no_log(&error)),
            };
            outcome.map_err(|error| up::explain(&dir, error))
        }
        Command::Sh(sh) => return ozone_cli::run_sh(sh, &config).await,
        Command::Fs(fs) => return ozone_cli::run_fs(fs, &config).await,
        Command::S3(s3) => return ozone_cli::run_s3(s3, &config).await,
        Command::Freon(freon) => return ozone_cli::run_freon(freon, &config).await,
        Command::Admin(admin) => admin::run(admin, config).await,
        Command::Getconf(getconf) => return conf::run(&getconf, &config),
        Command::Version => version::print(),
        daemon => match log(None) {
            Ok(()) => match daemon {
                Command::Scm(scm) => daemon::scm(scm, config).await,
                Command::Om(om) => daemon::om(om, config).await,
                Command::Datanode => daemon::datanode(config).await,
                Command::S3g => daemon::s3g(config).await,
                Command::Mount(mount) => mount::run(mount, config).await,
                _ => Ok(()),
            },
            Err(error) => Err(error.to_string()),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

fn fail(error: impl std::fmt::Display) -> ExitCode {
    eprintln!("ozone: {error}");
    ExitCode::from(FAILED)
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    fn shielded(line: &str) -> String {
        let words = words(line.split(' ').map(OsString::from).collect());
        let words = words.iter().map(|word| word.to_string_lossy());
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_stands_behind_fs_is_not_for_this_program() {
        for (line, expected) in [
            ("ozone fs -D a=b -ls", "ozone fs -- -D a=b -ls"),
            (
                "ozone --set a=b --log-json fs -h",
                "ozone --set a=b --log-json fs -- -h",
            ),
            ("ozone -D fs sh fs", "ozone -D fs sh fs"),
            ("ozone sh volume create fs", "ozone sh volume create fs"),
            ("ozone", "ozone"),
        ] {
            assert_eq!(shielded(line), expected);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_tells_its_version() {
        for line in [
            "--version",
            "-V",
            "sh --version",
            "sh volume -V",
            "sh volume create --version",
            "sh key list -V",
            "freon ockg -V",
            "om -V",
        ] {
            let words = ["ozone"].into_iter().chain(line.split(' '));
            let told = Args::try_parse_from(words).err().map(|error| error.kind());
            assert_eq!(told, Some(ErrorKind::DisplayVersion), "{line}");
        }
    }
}
