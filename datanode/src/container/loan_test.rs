#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::mpsc;

use super::loan::LEND_FROM;
use super::tests::{Bed, data, put, read};
use super::*;

const LEN: usize = LEND_FROM as usize + 1000;
const BORROWER: u64 = 7;

fn wanted() -> Wanted {
    Wanted {
        local: 1,
        length: LEN as u64,
        bcsid: 1,
        verified: false,
    }
}

/// A container with a block that was written and is done with.
fn with_block(bed: &Bed) -> (Arc<Container>, Vec<u8>) {
    let (container, bytes) = (bed.container(), data(LEN, 3));
    put(&container, 1, 1, 0, &bytes);
    container.finish_block(1);
    (container, bytes)
}

fn bytes_of(lent: &dyn ozone_common::disk::DiskFile) -> Vec<u8> {
    let own: OwnedFd = lent.descriptor().unwrap().try_clone_to_owned().unwrap();
    let mut file = std::fs::File::from(own);
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut file).unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn what_its_writer_may_go_on_writing_by_himself_is_not_lent() {
    let bed = Bed::real();
    let (container, _) = with_block(&bed);
    let verified = Wanted {
        verified: true,
        ..wanted()
    };
    container.lend_to_write(1).unwrap();
    // Twice: used since the last call, and not.
    container.close_idle_blocks();
    container.close_idle_blocks();
    assert!(container.lend(&verified, BORROWER).is_err());
    container.finish_block(1);
    container.lend(&verified, BORROWER).unwrap();
    assert!(container.lend_to_write(1).is_err(), "somebody reads it");
}

#[test]
fn what_the_borrower_has_verified_is_lent_to_him() {
    let bed = Bed::real();
    let (container, bytes) = with_block(&bed);
    let verified = Wanted {
        verified: true,
        ..wanted()
    };
    let lent = container.lend(&verified, BORROWER).unwrap();
    assert!(bytes_of(&*lent) == bytes);
}

#[test]
fn only_what_was_verified_as_a_whole_is_lent() {
    let bed = Bed::real();
    let (container, bytes) = with_block(&bed);
    let refused = container.lend(&wanted(), BORROWER).unwrap_err();
    assert!(refused.once_read, "{refused:?}");
    let half = LEN as u64 / 2;
    read(&container, 1, (half, None)).unwrap();
    assert!(container.lend(&wanted(), BORROWER).is_err());
    read(&container, 1, (0, Some(half))).unwrap();
    let lent = container.lend(&wanted(), BORROWER).unwrap();
    assert!(bytes_of(&*lent) == bytes);
    let shorter = Wanted {
        length: half,
        ..wanted()
    };
    let refused = container.lend(&shorter, BORROWER).unwrap_err();
    assert!(!refused.once_read, "{refused:?}");
}

#[test]
fn a_block_is_lent_once_at_a_time() {
    let bed = Bed::real();
    let (container, bytes) = with_block(&bed);
    read(&container, 1, (0, None)).unwrap();
    container.lend(&wanted(), BORROWER).unwrap();
    assert!(container.lend(&wanted(), BORROWER + 1).is_err());
    assert!(container.lend(&wanted(), BORROWER).is_err(), "another file");
    let more = crate::chunk::tests::chunk_of(LEN as u64, b"more");
    container.give_back(1, BORROWER + 1);
    assert!(container.lend(&wanted(), BORROWER + 1).is_err());
    container.give_back(1, BORROWER);
    container.lend(&wanted(), BORROWER + 1).unwrap();
    container.give_back(1, BORROWER + 1);
    container.write_chunk(1, &more, b"more").unwrap();
    assert!(
        container.lend(&wanted(), BORROWER).is_err(),
        "it is written"
    );
    assert!(read(&container, 1, (0, None)).unwrap() == bytes);
}

#[test]
fn what_is_written_to_a_lent_block_goes_to_another_file() {
    let bed = Bed::real();
    let (container, bytes) = with_block(&bed);
    read(&container, 1, (0, None)).unwrap();
    let lent = container.lend(&wanted(), BORROWER).unwrap();
    put(&container, 1, 2, LEN as u64, b"more");
    assert!(bytes_of(&*lent) == bytes);
    let all = [&bytes, &b"more"[..]].concat();
    assert!(read(&container, 1, (0, None)).unwrap() == all);
    container.detach(1, BORROWER).unwrap();
    assert!(read(&container, 1, (0, None)).unwrap() == all);
}

#[test]
fn a_borrower_that_takes_the_file_over_changes_nothing_that_others_read() {
    let mut bed = Bed::real();
    let (container, bytes) = with_block(&bed);
    read(&container, 1, (0, None)).unwrap();
    let lent = container.lend(&wanted(), BORROWER).unwrap();
    assert!(container.detach(1, BORROWER + 1).is_err());
    container.detach(1, BORROWER).unwrap();
    let path = format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&lent.descriptor().unwrap())
    );
    std::fs::write(path, b"changed").unwrap();
    assert_eq!(bytes_of(&*lent), b"changed");
    assert!(read(&container, 1, (0, None)).unwrap() == bytes);
    let again = container.lend(&wanted(), BORROWER).unwrap();
    assert!(bytes_of(&*again) == bytes);
    drop((again, container));
    bed.restart();
    assert!(read(&bed.container(), 1, (0, None)).unwrap() == bytes);
}

#[test]
fn a_file_is_taken_over_when_those_who_read_it_are_done() {
    let bed = Bed::real();
    let (container, _) = with_block(&bed);
    read(&container, 1, (0, None)).unwrap();
    container.lend(&wanted(), BORROWER).unwrap();
    let row = container.readable_block(1, 0).unwrap();
    let plan = container.plan_read(1, row, (0, None), 4096).unwrap();
    let (done, taken) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            container.detach(1, BORROWER).unwrap();
            done.send(()).unwrap();
        });
        // What is read from now on is the copy; the plan still has the old file.
        while container.loans.has_file(1) {
            std::thread::yield_now();
        }
        assert!(taken.try_recv().is_err());
        plan.read(&container, 0).unwrap();
        drop(plan);
        taken.recv().unwrap();
    });
}

#[test]
fn a_block_that_is_deleted_is_the_borrowers_without_a_copy() {
    let bed = Bed::real();
    let (container, bytes) = with_block(&bed);
    read(&container, 1, (0, None)).unwrap();
    let lent = container.lend(&wanted(), BORROWER).unwrap();
    container.delete_blocks(1, &[1]).unwrap();
    container.detach(1, BORROWER).unwrap();
    assert!(bytes_of(&*lent) == bytes);
    assert_eq!(container.layout.list_blocks().unwrap(), [0; 0]);
}

#[test]
fn damage_that_is_found_ends_what_was_verified() {
    let bed = Bed::real();
    let (container, _) = with_block(&bed);
    read(&container, 1, (0, None)).unwrap();
    let file = container.layout.create_block(1).unwrap();
    file.write_at(b"\0\0\0\0", 5000).unwrap();
    let error = read(&container, 1, (4096, Some(4096))).unwrap_err();
    assert_eq!(error.code, Code::ChecksumMismatch);
    let chunk = container.chunks(1).unwrap().remove(0);
    assert!(!container.check_chunk(1, &chunk).unwrap());
    assert!(container.lend(&wanted(), BORROWER).is_err());
}

/// Descriptors of this process that are the last that is left of a file under `dir`.
fn held_after_removal(dir: &std::path::Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = links.filter_map(|link| std::fs::read_link(link.unwrap().path()).ok());
    targets
        .filter(|target| target.starts_with(dir) && target.to_string_lossy().ends_with("(deleted)"))
        .count()
}

#[test]
fn the_space_of_a_block_that_was_read_is_free_once_it_is_deleted() {
    let bed = Bed::real();
    let (container, _) = with_block(&bed);
    read(&container, 1, (0, None)).unwrap();
    container.delete_blocks(1, &[1]).unwrap();
    assert_eq!(held_after_removal(&container.dir), 0);
    assert!(read(&container, 1, (0, None)).is_err());
}

#[test]
fn what_was_read_before_a_block_moved_is_not_what_is_read_after() {
    let bed = Bed::real();
    let (container, bytes) = with_block(&bed);
    read(&container, 1, (0, None)).unwrap();
    let lent = container.lend(&wanted(), BORROWER).unwrap();
    container.detach(1, BORROWER).unwrap();
    drop(lent);
    assert!(read(&container, 1, (0, None)).unwrap() == bytes);
    assert_eq!(
        held_after_removal(&container.dir),
        0,
        "the old file is closed"
    );
}
