//! Logs and metrics of a process.
//!
//! Logs go through `tracing`, as text for people or as JSON lines for machines. Metrics go through
//! the `metrics` macros to one recorder, which `/prom` prints (see [`crate::http`]).

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::OnceLock;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// The environment variable that sets the log level (`INFO`), or levels per module
/// (`info,ozone_om=debug`).
pub const LOG_LEVEL_ENV: &str = "OZONE_LOGLEVEL";

/// The log level when nobody sets one. openraft tells of each vote, and of each attempt to reach a
/// member that is down; what an operator has to know of that, the servers say themselves. At a clean
/// stop it calls it an error that callers learn of the end, and fuser warns that what was unmounted
/// cannot be unmounted once more. s3s calls every refusal an error.
pub const DEFAULT_LEVEL: &str = "info,openraft=error,openraft::raft=off,fuser::mnt=error,s3s=off";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Where and how to log.
#[derive(Debug, Clone, Default)]
pub struct LogOptions {
    /// Look of a line.
    pub format: LogFormat,
    /// Append to this file; standard error when none.
    pub file: Option<PathBuf>,
    /// Level when the environment does not set one; [`DEFAULT_LEVEL`] when none.
    pub level: Option<String>,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log file cannot be opened.
    #[error("cannot open log file {}: {source}", path.display())]
    LogFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The level is none.
    #[error("bad log level {level:?}: expected error, warn, info, debug or trace: {reason}")]
    Level {
        /// What was given.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Logging or metrics are already set up by someone else.
    #[error("{what} is already set up in this process")]
    AlreadySet {
        /// `logging` or `metrics`.
        what: &'static str,
    },
}

/// Starts logging, once per process.
pub fn init_logging(options: &LogOptions) -> Result<(), TelemetryError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(options)?)
        .with_writer(writer(options)?)
        .with_ansi(false);
    let done = match options.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    done.map_err(|_| TelemetryError::AlreadySet { what: "logging" })
}

/// The span of one request: everything logged within carries its id.
pub fn request_span(name: &'static str, request_id: &str) -> tracing::Span {
    tracing::info_span!("request", op = name, request_id)
}

/// The metrics of this process. Installs the recorder when first called.
pub fn metrics_handle() -> Result<&'static PrometheusHandle, TelemetryError> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let recorder = PrometheusBuilder::new().build_recorder();
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder).ok()?;
            Some(handle)
        })
        .as_ref()
        .ok_or(TelemetryError::AlreadySet { what: "metrics" })
}

/// All metrics in Prometheus' text format.
pub fn render_metrics(handle: &PrometheusHandle) -> String {
    handle.run_upkeep();
    handle.render()
}

fn filter(options: &LogOptions) -> Result<EnvFilter, TelemetryError> {
    let from_env = std::env::var(LOG_LEVEL_ENV).ok().filter(|v| !v.is_empty());
    let level = from_env.or_else(|| options.level.clone());
    let level = level.unwrap_or_else(|| DEFAULT_LEVEL.to_owned());
    EnvFilter::try_new(level.to_lowercase()).map_err(|error| TelemetryError::Level {
        level,
        reason: error.to_string(),
    })
}

fn writer(options: &LogOptions) -> Result<BoxMakeWriter, TelemetryError> {
    let Some(path) = &options.file else {
        return Ok(BoxMakeWriter::new(std::io::stderr));
    };
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let file = opened.map_err(|source| TelemetryError::LogFile {
        path: path.clone(),
        source,
    })?;
    Ok(BoxMakeWriter::new(SharedFile(Mutex::new(file))))
}

/// A log file that every thread appends whole lines to.
struct SharedFile(Mutex<std::fs::File>);

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for SharedFile {
    type Writer = LockedFile<'a>;

    fn make_writer(&'a self) -> LockedFile<'a> {
        LockedFile(self.0.lock())
    }
}

struct LockedFile<'a>(parking_lot::MutexGuard<'a, std::fs::File>);

impl std::io::Write for LockedFile<'_> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn json_lines_in_a_file_carry_the_request_id() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("om.log");
        let options = LogOptions {
            format: LogFormat::Json,
            file: Some(path.clone()),
            level: None,
        };
        init_logging(&options).unwrap();
        request_span("CreateKey", "r-17").in_scope(|| tracing::warn!("slow"));
        let text = std::fs::read_to_string(&path).unwrap();
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["message"], "slow");
        assert_eq!(line["span"]["request_id"], "r-17");
        assert!(init_logging(&options).is_err());
    }

    #[test]
    fn bad_levels_and_files_are_refused() {
        let level = LogOptions {
            level: Some("info,=".to_owned()),
            ..LogOptions::default()
        };
        assert!(filter(&level).is_err());
        let file = LogOptions {
            file: Some("/no/such/dir/log".into()),
            ..LogOptions::default()
        };
        assert!(matches!(writer(&file), Err(TelemetryError::LogFile { .. })));
    }

    #[test]
    fn counted_things_are_printed() {
        let handle = metrics_handle().unwrap();
        metrics::counter!("telemetry_test_total", "op" => "x").increment(3);
        let text = render_metrics(handle);
        assert!(text.contains("telemetry_test_total{op=\"x\"} 3"), "{text}");
    }
}
