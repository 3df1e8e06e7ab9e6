//! Who waits for whose fsync.

use std::time::Duration;

use ozone_common::disk::FaultyDisk;

use super::*;

/// Long enough for any machine; only a failure takes it.
const LIMIT: Duration = Duration::from_secs(20);

/// Logs on one disk, in one process, past the making of their first files.
async fn logs<const N: usize>(disk: &Arc<FaultyDisk>) -> (Vec<Bench>, [LogStore; N]) {
    let flushers = Flushers::default();
    let benches: Vec<_> = (0..N).map(|_| Bench::new(disk.clone())).collect();
    let mut logs: [LogStore; N] =
        std::array::from_fn(|n| benches[n].open_beside(&flushers).unwrap());
    for log in &mut logs {
        append(log, vec![entry(1, 0, 10)]).await.unwrap();
    }
    (benches, logs)
}

#[tokio::test]
async fn logs_on_one_disk_are_fsynced_at_the_same_time() {
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let (_benches, mut logs) = logs::<5>(&disk).await;
    disk.hold_syncs();
    let mut told = Vec::new();
    for log in &mut logs {
        told.push(submit(log, vec![entry(1, 1, 10)]).await.unwrap());
    }
    assert!(disk.holds_syncs(5, LIMIT), "an fsync waits for another");
    disk.release_syncs();
    for told in told {
        told.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn entries_that_come_during_an_fsync_share_the_next() {
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let (_benches, [mut log]) = logs::<1>(&disk).await;
    let before = disk.syncs();
    disk.hold_syncs();
    let mut told = vec![submit(&mut log, vec![entry(1, 1, 10)]).await.unwrap()];
    assert!(disk.holds_syncs(1, LIMIT), "no fsync");
    for index in 2..50 {
        told.push(submit(&mut log, vec![entry(1, index, 10)]).await.unwrap());
    }
    disk.release_syncs();
    for told in told {
        told.await.unwrap().unwrap();
    }
    assert_eq!(disk.syncs() - before, 2);
}

#[tokio::test]
async fn more_logs_than_threads_are_all_served_in_order() {
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let (_benches, mut logs) = logs::<20>(&disk).await;
    let mut told = Vec::new();
    for index in 1..30 {
        for log in &mut logs {
            told.push(submit(log, vec![entry(1, index, 100)]).await.unwrap());
        }
    }
    for told in told {
        told.await.unwrap().unwrap();
    }
    let expected: Vec<_> = (0..30)
        .map(|index| entry(1, index, if index == 0 { 10 } else { 100 }))
        .collect();
    for log in &mut logs {
        assert_eq!(read_all(log).await, expected);
    }
}
