//! `ozone sh snapshot diff` and `listDiff`.

use std::time::Duration;

use clap::ValueEnum;
use ozone_client::Objects;
use ozone_client::objects::{DiffPage, SnapshotPair};
use ozone_client::wire::om::SnapshotDiffResponse;
use ozone_client::wire::om::snapshot_diff_response::JobStatusProto;

use super::view::{DiffView, JobView, line};
use super::{Target, bucket_of};
use crate::error::Result;
use crate::output::{Listing, print_json, print_line};
use crate::page::ListOptions;
use crate::shell::Shell;

/// How often a report that is being made is asked for before the command ends without it.
const LOOKS: u32 = 80;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);
const UNKNOWN: &str = "No snapshot diff job found. Job may not have been submitted or was removed during \
                       cleanup.";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    target: Target,
    /// The older snapshot
    #[arg(value_name = "FROM")]
    from: String,
    /// The newer snapshot
    #[arg(value_name = "TO")]
    to: String,
    /// The token with which the page before ended
    #[arg(short, long, default_value = "", hide_default_value = true)]
    token: String,
    /// Entries in one page at most
    #[arg(short, long, default_value_t = 5000)]
    page_size: u32,
    /// Give up the computation
    #[arg(short, long)]
    cancel: bool,
    /// Show the report, instead of having it made
    #[arg(short = 'r', long)]
    get_report: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[arg(long, visible_alias = "ffd", hide = true)]
    force_full_diff: bool,
    #[arg(long, visible_alias = "dnld", hide = true)]
    disable_native_libs_diff: bool,
}

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ListDiff {
    #[command(flatten)]
    target: Target,
    /// Only jobs in this state
    #[arg(long, ignore_case = true, default_value = "in_progress")]
    job_status: Wanted,
    /// Jobs in any state
    #[arg(long)]
    all_status: bool,
    #[command(flatten)]
    options: ListOptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Wanted {
    Queued,
    InProgress,
    Done,
    Failed,
    Rejected,
}

impl Wanted {
    fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Rejected => "rejected",
        }
    }
}

impl Diff {
    pub(super) async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let address = self.target.address()?;
        let pair = SnapshotPair {
            of: bucket_of(&address)?,
            from: &self.from,
            to: &self.to,
        };
        let objects = shell.client(&address).await?.objects();
        if self.cancel {
            return print_line(&objects.cancel_snapshot_diff(pair).await?).await;
        }
        if !self.get_report {
            return print_line(&objects.submit_snapshot_diff(pair).await?).await;
        }
        let page = DiffPage {
            token: self.token.clone(),
            size: self.page_size,
        };
        let answer = finished(objects, pair, &page).await?;
        match self.json {
            true => print_json(&DiffView::from(answer)).await,
            false => print_report(answer, pair).await,
        }
    }
}

/// The answer, waited for a little: mostly it is there before a person could ask again.
async fn finished(
    objects: &Objects,
    pair: SnapshotPair<'_>,
    page: &DiffPage,
) -> Result<SnapshotDiffResponse> {
    let mut looks = 1;
    loop {
        let answer = objects.snapshot_diff(pair, page).await?;
        if answer.job_status() != JobStatusProto::InProgress || looks == LOOKS {
            return Ok(answer);
        }
        looks += 1;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn print_report(answer: SnapshotDiffResponse, pair: SnapshotPair<'_>) -> Result<()> {
    let status = answer.job_status();
    let Some(report) = answer.snapshot_diff_report else {
        let text = match (status, answer.reason) {
            (JobStatusProto::NotFound, _) => UNKNOWN.to_owned(),
            (status, Some(reason)) => {
                format!("Snapshot diff job is {}: {reason}", status.as_str_name())
            }
            (status, None) => format!("Snapshot diff job is {}", status.as_str_name()),
        };
        return print_line(&text).await;
    };
    let mut text = format!(
        "Difference between snapshot: {} and snapshot: {}",
        pair.from, pair.to
    );
    for entry in &report.diff_list {
        text.push('\n');
        text.push_str(&line(entry));
    }
    if let Some(token) = report.token {
        text.push_str(&format!("\nNext token: {token}"));
    }
    print_line(&text).await
}

impl ListDiff {
    pub(super) async fn run(self, shell: &Shell<'_>) -> Result<()> {
        let address = self.target.address()?;
        let of = bucket_of(&address)?;
        let limit = usize::try_from(self.options.limit()?).unwrap_or(usize::MAX);
        let objects = shell.client(&address).await?.objects();
        let jobs = objects
            .list_snapshot_diffs(of, self.job_status.name(), self.all_status)
            .await?;
        let mut listing = Listing::default();
        listing
            .print(jobs.into_iter().take(limit).map(JobView::from))
            .await?;
        listing.end().await
    }
}
