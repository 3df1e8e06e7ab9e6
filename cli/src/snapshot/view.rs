//! Snapshots and their differences as JSON.

use ozone_client::wire::hdds::Uuid;
use ozone_client::wire::om::diff_report_entry_proto::DiffTypeProto;
use ozone_client::wire::om::{
    DiffReportEntryProto, SnapshotDiffJobProto, SnapshotDiffReportProto, SnapshotDiffResponse,
    SnapshotInfo,
};
use serde::Serialize;

/// A snapshot; times are milliseconds since the epoch, sizes bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SnapshotView {
    volume_name: String,
    bucket_name: String,
    name: String,
    creation_time: u64,
    snapshot_status: &'static str,
    snapshot_id: String,
    snapshot_path: String,
    checkpoint_dir: String,
    referenced_size: u64,
    referenced_replicated_size: u64,
    exclusive_size: u64,
    exclusive_replicated_size: u64,
}

impl From<SnapshotInfo> for SnapshotView {
    fn from(info: SnapshotInfo) -> Self {
        Self {
            creation_time: info.creation_time(),
            snapshot_status: info.snapshot_status().as_str_name(),
            snapshot_id: info.snapshot_id.map(id).unwrap_or_default(),
            referenced_size: info.referenced_size(),
            referenced_replicated_size: info.referenced_replicated_size(),
            exclusive_size: info.exclusive_size(),
            exclusive_replicated_size: info.exclusive_replicated_size(),
            volume_name: info.volume_name.unwrap_or_default(),
            bucket_name: info.bucket_name.unwrap_or_default(),
            name: info.name.unwrap_or_default(),
            snapshot_path: info.snapshot_path.unwrap_or_default(),
            checkpoint_dir: info.checkpoint_dir.unwrap_or_default(),
        }
    }
}

fn id(id: Uuid) -> String {
    let (high, low) = (
        id.most_sig_bits.cast_unsigned(),
        id.least_sig_bits.cast_unsigned(),
    );
    uuid::Uuid::from_u64_pair(high, low).to_string()
}

/// One line of a difference, as text.
pub(super) fn line(entry: &DiffReportEntryProto) -> String {
    let (source, target) = (entry.source_path(), entry.target_path());
    match entry.diff_type() {
        DiffTypeProto::Create => format!("+\t{source}"),
        DiffTypeProto::Delete => format!("-\t{source}"),
        DiffTypeProto::Modify => format!("M\t{source}"),
        DiffTypeProto::Rename => format!("R\t{source} -> {target}"),
    }
}

/// An answer about a difference.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DiffView {
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot_diff_report: Option<ReportView>,
    job_status: &'static str,
    wait_time_in_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportView {
    volume_name: String,
    bucket_name: String,
    from_snapshot: String,
    to_snapshot: String,
    diff_list: Vec<EntryView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryView {
    diff_type: &'static str,
    source_path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_path: Option<String>,
}

impl From<SnapshotDiffResponse> for DiffView {
    fn from(answer: SnapshotDiffResponse) -> Self {
        Self {
            job_status: answer.job_status().as_str_name(),
            wait_time_in_ms: answer.wait_time_in_ms(),
            snapshot_diff_report: answer.snapshot_diff_report.map(ReportView::from),
            reason: answer.reason,
        }
    }
}

impl From<SnapshotDiffReportProto> for ReportView {
    fn from(report: SnapshotDiffReportProto) -> Self {
        let entry = |entry: DiffReportEntryProto| EntryView {
            diff_type: entry.diff_type().as_str_name(),
            source_path: entry.source_path.unwrap_or_default(),
            target_path: entry.target_path,
        };
        Self {
            diff_list: report.diff_list.into_iter().map(entry).collect(),
            volume_name: report.volume_name.unwrap_or_default(),
            bucket_name: report.bucket_name.unwrap_or_default(),
            from_snapshot: report.from_snapshot.unwrap_or_default(),
            to_snapshot: report.to_snapshot.unwrap_or_default(),
            next_token: report.token,
        }
    }
}

/// A difference that was asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobView {
    creation_time: u64,
    job_id: String,
    status: &'static str,
    volume: String,
    bucket: String,
    from_snapshot: String,
    to_snapshot: String,
    force_full_diff: bool,
    total_diff_entries: u64,
}

impl From<SnapshotDiffJobProto> for JobView {
    fn from(job: SnapshotDiffJobProto) -> Self {
        Self {
            creation_time: job.creation_time(),
            status: job.status().as_str_name(),
            force_full_diff: job.force_full_diff(),
            total_diff_entries: job.total_diff_entries(),
            job_id: job.job_id.unwrap_or_default(),
            volume: job.volume.unwrap_or_default(),
            bucket: job.bucket.unwrap_or_default(),
            from_snapshot: job.from_snapshot.unwrap_or_default(),
            to_snapshot: job.to_snapshot.unwrap_or_default(),
        }
    }
}
