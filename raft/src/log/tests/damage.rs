//! What damage does to opening: repaired where a crash explains it, refused where not.

use std::fs;
use std::os::unix::fs::FileExt;

use ozone_common::disk::FaultyDisk;

use super::*;

/// Index, and offset of each of the entries 0..n in the only segment.
const FRAME: u64 = 40 + 704;

/// Writes entries from 0 on, in batches that end before each of `ends`.
async fn written(bench: &Bench, ends: &[u64]) {
    let mut log = bench.open().unwrap();
    let mut next = 0;
    for end in ends {
        let entries = (next..*end).map(|index| entry(1, index, 700)).collect();
        append(&mut log, entries).await.unwrap();
        next = *end;
    }
}

fn offset(index: u64) -> u64 {
    16 + index * FRAME
}

#[tokio::test]
async fn a_torn_end_is_cut() {
    let bench = Bench::real();
    written(&bench, &[5, 8]).await;
    // The last fsync never returned: of the second write only the last entry reached the disk.
    let path = bench.path("log_inprogress_0");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 2 * FRAME as usize], offset(5))
        .unwrap();
    let mut log = bench.open().unwrap();
    let kept: Vec<Entry> = (0..5).map(|index| entry(1, index, 700)).collect();
    assert_eq!(read_all(&mut log).await, kept);
    append(&mut log, vec![entry(2, 5, 700)]).await.unwrap();
    drop(log);
    let mut log = bench.open().unwrap();
    assert_eq!(read_all(&mut log).await.last(), Some(&entry(2, 5, 700)));
}

#[tokio::test]
async fn garbage_after_the_last_entry_is_cut() {
    let bench = Bench::real();
    written(&bench, &[3]).await;
    let path = bench.path("log_inprogress_0");
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xa5; 1000], offset(3)).unwrap();
    assert_eq!(read_all(&mut bench.open().unwrap()).await.len(), 3);
    let content = fs::read(&path).unwrap();
    assert!(content[offset(3) as usize..].iter().all(|byte| *byte == 0));
}

fn refused(bench: &Bench) -> (PathBuf, u64, String) {
    match bench.open() {
        Err(RaftError::Corrupt {
            file,
            offset,
            reason,
        }) => (file, offset, reason),
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("opened"),
    }
}

#[tokio::test]
async fn a_damaged_entry_that_was_fsynced_is_refused_with_its_place() {
    let bench = Bench::real();
    written(&bench, &[3, 4, 6]).await;
    let path = bench.path("log_inprogress_0");
    flip_byte(&path, offset(2) + 100);
    let before = fs::read(&path).unwrap();
    let (file, at, reason) = refused(&bench);
    assert_eq!((file, at), (path.clone(), offset(2)), "{reason}");
    assert_eq!(
        fs::read(&path).unwrap(),
        before,
        "a refused file must stay as it is"
    );
}

#[tokio::test]
async fn damage_in_a_closed_segment_is_refused() {
    let bench = Bench::real();
    written(&bench, &[200]).await;
    let path = bench.path("log_0-");
    let last = path
        .to_str()
        .unwrap()
        .rsplit_once('-')
        .unwrap()
        .1
        .parse::<u64>()
        .unwrap();
    flip_byte(&path, offset(last) + 50);
    let (file, at, _) = refused(&bench);
    assert_eq!((file, at), (path, offset(last)));
}

#[tokio::test]
async fn a_missing_segment_is_refused() {
    let bench = Bench::real();
    written(&bench, &[300]).await;
    let mut names: Vec<_> = bench
        .files()
        .into_iter()
        .filter(|n| n.starts_with("log_"))
        .collect();
    names.retain(|name| !name.starts_with("log_0-") && !name.contains("inprogress"));
    fs::remove_file(bench.dir.join(&names[0])).unwrap();
    refused(&bench);
}

#[tokio::test]
async fn a_damaged_meta_file_is_refused() {
    let bench = Bench::real();
    let mut log = bench.open().unwrap();
    log.save_vote(&crate::types::Vote::new(3, 1.into()))
        .await
        .unwrap();
    drop(log);
    let path = bench.path("raft-meta");
    flip_byte(&path, 12);
    assert_eq!(refused(&bench).0, path);
}

#[tokio::test]
async fn a_failed_fsync_fails_the_log_for_good() {
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let bench = Bench::new(disk.clone());
    let mut log = bench.open().unwrap();
    append(&mut log, vec![entry(1, 0, 10)]).await.unwrap();
    disk.fail_sync(1);
    append(&mut log, vec![entry(1, 1, 10)]).await.unwrap_err();
    let again = append(&mut log, vec![entry(1, 2, 10)]).await.unwrap_err();
    assert!(again.to_string().contains("failed before"), "{again}");
    log.save_vote(&crate::types::Vote::new(3, 1.into()))
        .await
        .unwrap_err();
}

#[tokio::test]
async fn a_full_disk_fails_the_log_and_a_restart_with_room_goes_on() {
    let disk = FaultyDisk::new(Arc::new(RealDisk));
    let bench = Bench::new(disk.clone());
    let mut log = bench.open().unwrap();
    append(&mut log, vec![entry(1, 0, 10)]).await.unwrap();
    disk.limit_room(Some(1000));
    append(&mut log, vec![entry(1, 1, 5000)]).await.unwrap_err();
    drop(log);
    disk.limit_room(None);
    let mut log = bench.open().unwrap();
    append(&mut log, vec![entry(1, 1, 5000)]).await.unwrap();
    assert_eq!(
        read_all(&mut log).await,
        [entry(1, 0, 10), entry(1, 1, 5000)]
    );
}
