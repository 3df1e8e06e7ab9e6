//! Snapshots of buckets.

use ozone_proto::om::om_request::Body as Request;
use ozone_proto::om::om_response::Body as Response;
use ozone_proto::om::{
    CancelSnapshotDiffRequest, CreateSnapshotRequest, DeleteSnapshotRequest,
    ListSnapshotDiffJobRequest, ListSnapshotRequest, RenameSnapshotRequest, SnapshotDiffJobProto,
    SnapshotDiffRequest, SnapshotDiffResponse, SnapshotInfo, SnapshotInfoRequest, Status,
    SubmitSnapshotDiffRequest,
};

use super::{Objects, Page, ask};
use crate::{ClientError, Result};

/// A bucket, by names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketName<'a> {
    /// Its volume.
    pub volume: &'a str,
    /// Its name there.
    pub bucket: &'a str,
}

/// A snapshot to be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewSnapshot<'a> {
    /// Its name; empty: the server gives it one.
    pub name: &'a str,
    /// What a mount that has the bucket to itself holds back need not be in it.
    pub no_flush: bool,
}

/// Two snapshots of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotPair<'a> {
    /// The bucket.
    pub of: BucketName<'a>,
    /// The older one.
    pub from: &'a str,
    /// The newer one.
    pub to: &'a str,
}

/// Which part of a difference to give.
#[derive(Debug, Clone, Default)]
pub struct DiffPage {
    /// What the page before was answered with; empty for the first.
    pub token: String,
    /// At most so many entries; 0 for as many as the server gives at once.
    pub size: u32,
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn missing() -> ClientError {
    ClientError::protocol("OM", "a snapshot without its description")
}

impl Objects {
    /// Makes a snapshot.
    pub async fn create_snapshot(
        &self,
        of: BucketName<'_>,
        new: NewSnapshot<'_>,
    ) -> Result<SnapshotInfo> {
        let request = CreateSnapshotRequest {
            volume_name: some(of.volume),
            bucket_name: some(of.bucket),
            snapshot_name: some(new.name).filter(|name| !name.is_empty()),
            no_flush: new.no_flush.then_some(true),
            ..Default::default()
        };
        let answer = ask!(self, CreateSnapshotRequest, CreateSnapshotResponse, request)?;
        answer.snapshot_info.ok_or_else(missing)
    }

    /// What is known of a snapshot.
    pub async fn info_snapshot(&self, of: BucketName<'_>, name: &str) -> Result<SnapshotInfo> {
        let request = SnapshotInfoRequest {
            volume_name: some(of.volume),
            bucket_name: some(of.bucket),
            snapshot_name: some(name),
        };
        let answer = ask!(self, SnapshotInfoRequest, SnapshotInfoResponse, request)?;
        answer.snapshot_info.ok_or_else(missing)
    }

    /// Snapshots of a bucket, in the order of their names.
    pub async fn list_snapshots(
        &self,
        of: BucketName<'_>,
        page: &Page,
    ) -> Result<Vec<SnapshotInfo>> {
        let request = ListSnapshotRequest {
            volume_name: some(of.volume),
            bucket_name: some(of.bucket),
            prefix: some(&page.prefix),
            prev_snapshot: some(&page.start),
            max_list_result: (page.limit > 0).then_some(page.limit),
        };
        Ok(ask!(self, ListSnapshotRequest, ListSnapshotResponse, request)?.snapshot_info)
    }

    /// Refuses a bucket that has snapshots, which cannot be deleted: to be asked before it is emptied.
    pub async fn check_no_snapshots(&self, of: BucketName<'_>) -> Result<()> {
        let one = Page {
            limit: 1,
            ..Page::default()
        };
        let Some(snapshot) = self.list_snapshots(of, &one).await?.pop() else {
            return Ok(());
        };
        let message = format!(
            "Bucket {} can't be deleted when it has snapshots, such as {}: delete them first",
            of.bucket,
            snapshot.name()
        );
        Err(ClientError::om(Status::ContainsSnapshot, message))
    }

    /// Removes a snapshot.
    pub async fn delete_snapshot(&self, of: BucketName<'_>, name: &str) -> Result<()> {
        let request = DeleteSnapshotRequest {
            volume_name: some(of.volume),
            bucket_name: some(of.bucket),
            snapshot_name: some(name),
            deletion_time: None,
        };
        ask!(self, DeleteSnapshotRequest, DeleteSnapshotResponse, request).map(drop)
    }

    /// Gives a snapshot another name.
    pub async fn rename_snapshot(&self, of: BucketName<'_>, from: &str, to: &str) -> Result<()> {
        let request = RenameSnapshotRequest {
            volume_name: some(of.volume),
            bucket_name: some(of.bucket),
            snapshot_old_name: some(from),
            snapshot_new_name: some(to),
            rename_time: None,
        };
        ask!(self, RenameSnapshotRequest, RenameSnapshotResponse, request).map(drop)
    }

    /// Has the difference computed; what the server says to that.
    pub async fn submit_snapshot_diff(&self, pair: SnapshotPair<'_>) -> Result<String> {
        let request = SubmitSnapshotDiffRequest {
            volume_name: some(pair.of.volume),
            bucket_name: some(pair.of.bucket),
            from_snapshot: some(pair.from),
            to_snapshot: some(pair.to),
            ..Default::default()
        };
        let answer = ask!(
            self,
            SubmitSnapshotDiffRequest,
            SubmitSnapshotDiffResponse,
            request
        )?;
        Ok(answer.response.unwrap_or_default())
    }

    /// A page of the difference, or how far its computation is.
    pub async fn snapshot_diff(
        &self,
        pair: SnapshotPair<'_>,
        page: &DiffPage,
    ) -> Result<SnapshotDiffResponse> {
        let request = SnapshotDiffRequest {
            volume_name: some(pair.of.volume),
            bucket_name: some(pair.of.bucket),
            from_snapshot: some(pair.from),
            to_snapshot: some(pair.to),
            token: some(&page.token),
            page_size: (page.size > 0).then_some(page.size),
            ..Default::default()
        };
        ask!(self, SnapshotDiffRequest, SnapshotDiffResponse, request)
    }

    /// Gives up the computation of a difference; what the server says to that.
    pub async fn cancel_snapshot_diff(&self, pair: SnapshotPair<'_>) -> Result<String> {
        let request = CancelSnapshotDiffRequest {
            volume_name: some(pair.of.volume),
            bucket_name: some(pair.of.bucket),
            from_snapshot: some(pair.from),
            to_snapshot: some(pair.to),
        };
        let answer = ask!(
            self,
            CancelSnapshotDiffRequest,
            CancelSnapshotDiffResponse,
            request
        )?;
        Ok(answer.reason.unwrap_or_default())
    }

    /// Differences of the bucket's snapshots that were asked for; `status` empty: those under way.
    pub async fn list_snapshot_diffs(
        &self,
        of: BucketName<'_>,
        status: &str,
        all: bool,
    ) -> Result<Vec<SnapshotDiffJobProto>> {
        let request = ListSnapshotDiffJobRequest {
            volume_name: of.volume.to_owned(),
            bucket_name: of.bucket.to_owned(),
            job_status: some(status),
            list_all: Some(all),
        };
        let answer = ask!(
            self,
            ListSnapshotDiffJobRequest,
            ListSnapshotDiffJobResponse,
            request
        )?;
        Ok(answer.snapshot_diff_job)
    }
}
