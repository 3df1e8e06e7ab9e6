#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::PathBuf;

use super::*;
use crate::disk::{RealDisk, create_dir_durably, replace_file};

fn disk() -> (tempfile::TempDir, PathBuf, Arc<FaultyDisk>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_path_buf();
    (dir, path, FaultyDisk::with_power_cuts(Arc::new(RealDisk)))
}

fn write_synced(disk: &FaultyDisk, path: &Path, content: &[u8]) {
    let file = disk.open(path, OpenMode::OpenOrCreate).unwrap();
    file.write_at(content, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(path.parent().unwrap()).unwrap();
}

#[test]
fn fsynced_bytes_survive_and_later_ones_do_not() {
    let (_guard, dir, disk) = disk();
    let path = dir.join("f");
    write_synced(&disk, &path, b"kept");
    let file = disk.open(&path, OpenMode::Write).unwrap();
    file.write_at(b"LOST and longer", 0).unwrap();
    assert_eq!(disk.read(&path).unwrap(), b"LOST and longer");
    assert_eq!(disk.metadata(&path).unwrap().len, 15);
    disk.crash(Cut::Clean).unwrap();
    assert!(
        file.len().is_err(),
        "a handle from before the cut must not work"
    );
    assert_eq!(disk.read(&path).unwrap(), b"kept");
}

#[test]
fn names_are_taken_back_unless_their_directory_was_fsynced() {
    let (_guard, dir, disk) = disk();
    let [old, new, gone, fresh] = ["old", "new", "gone", "fresh"].map(|n| dir.join(n));
    write_synced(&disk, &old, b"1");
    write_synced(&disk, &new, b"2");
    write_synced(&disk, &gone, b"3");
    disk.rename(&old, &new).unwrap();
    disk.remove_file(&gone).unwrap();
    disk.open(&fresh, OpenMode::CreateNew)
        .unwrap()
        .sync_data()
        .unwrap();
    let names: Vec<_> = disk
        .list(&dir)
        .unwrap()
        .into_iter()
        .map(|e| e.name)
        .collect();
    assert_eq!(names, ["fresh", "new"]);
    disk.crash(Cut::Clean).unwrap();
    let names: Vec<_> = disk
        .list(&dir)
        .unwrap()
        .into_iter()
        .map(|e| e.name)
        .collect();
    assert_eq!(names, ["gone", "new", "old"]);
    assert_eq!(disk.read(&new).unwrap(), b"2");
    disk.rename(&old, &new).unwrap();
    disk.sync_dir(&dir).unwrap();
    disk.crash(Cut::Clean).unwrap();
    assert_eq!(disk.read(&new).unwrap(), b"1");
    assert!(!disk.exists(&old).unwrap());
}

#[test]
fn replaced_file_is_old_or_new_whatever_the_cut() {
    for seed in 0..200 {
        let (_guard, dir, disk) = disk();
        let path = dir.join("f");
        replace_file(&*disk, &path, b"old").unwrap();
        let new = vec![b'n'; 5000];
        disk.fail_sync(1 + seed % 3);
        let done = replace_file(&*disk, &path, &new).is_ok();
        disk.crash(Cut::Random(seed)).unwrap();
        let content = disk.read(&path).unwrap();
        assert!(content == b"old" || content == new, "seed {seed}: torn");
        assert!(
            !done || content == new,
            "seed {seed}: acknowledged and lost"
        );
    }
}

#[test]
fn what_a_failed_fsync_took_never_becomes_durable() {
    let (_guard, dir, disk) = disk();
    let path = dir.join("f");
    write_synced(&disk, &path, b"....");
    let file = disk.open(&path, OpenMode::Write).unwrap();
    file.write_at(b"ab", 0).unwrap();
    disk.fail_sync(1);
    assert!(file.sync_data().is_err());
    file.write_at(b"cd", 2).unwrap();
    file.sync_data().unwrap();
    disk.crash(Cut::Clean).unwrap();
    assert_eq!(disk.read(&path).unwrap(), b"..cd");
}

#[test]
fn a_random_cut_keeps_parts_of_what_was_not_fsynced() {
    let mut torn = 0;
    for seed in 0..50 {
        let (_guard, dir, disk) = disk();
        let path = dir.join("f");
        write_synced(&disk, &path, &vec![0; 8192]);
        disk.open(&path, OpenMode::Write)
            .unwrap()
            .write_at(&vec![1; 8192], 0)
            .unwrap();
        disk.crash(Cut::Random(seed)).unwrap();
        let content = disk.read(&path).unwrap();
        let ones = content.iter().filter(|b| **b == 1).count();
        torn += usize::from(ones > 0 && ones < 8192);
    }
    assert!(torn > 5, "only {torn} of 50 cuts tore the write");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let (_guard, dir, disk) = disk();
    let file = disk.open(&dir.join("f"), OpenMode::CreateNew).unwrap();
    disk.limit_room(Some(10));
    file.write_at(&[1; 10], 0).unwrap();
    let full = file.write_at(&[1], 10).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.space(&dir).unwrap().available, 0);
    disk.limit_room(None);
    file.write_at(&[1], 10).unwrap();
}

#[test]
fn a_kill_loses_nothing_until_the_power_is_cut() {
    let (_guard, dir, disk) = disk();
    let path = dir.join("f");
    let file = disk.open(&path, OpenMode::CreateNew).unwrap();
    file.write_at(b"cached", 0).unwrap();
    disk.kill();
    assert!(file.len().is_err(), "a handle of the killed process");
    assert_eq!(disk.read(&path).unwrap(), b"cached");
    disk.crash(Cut::Clean).unwrap();
    assert!(!disk.exists(&path).unwrap());
}

#[test]
fn a_directory_that_a_killed_process_made_is_made_durable_by_the_next() {
    let (_guard, dir, disk) = disk();
    let made = dir.join("made");
    disk.create_dir_all(&made).unwrap();
    disk.kill();
    create_dir_durably(&*disk, &made).unwrap();
    disk.crash(Cut::Clean).unwrap();
    assert!(disk.exists(&made).unwrap());
}
