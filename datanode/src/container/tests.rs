#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use ozone_common::disk::{Cut, Disk, FaultyDisk, OpenMode, RealDisk};

use super::*;
use crate::chunk::Chunk;
use crate::chunk::tests::chunk_of;
use crate::volume::VolumeSet;
use crate::volume::tests::open_on;

/// A volume that can be opened again as after a crash.
pub(super) struct Bed {
    dir: tempfile::TempDir,
    disk: Arc<dyn Disk>,
    volumes: Option<VolumeSet>,
    pub(super) set: ContainerSet,
}

impl Bed {
    fn new(disk: Arc<dyn Disk>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut bed = Self {
            dir,
            disk,
            volumes: None,
            set: ContainerSet::default(),
        };
        bed.open();
        bed
    }

    pub(super) fn real() -> Self {
        Self::new(Arc::new(RealDisk))
    }

    fn open(&mut self) {
        let volume = open_on(self.disk.clone(), self.dir.path()).unwrap();
        let volumes = VolumeSet::new(vec![volume], vec![]);
        for volume in volumes.iter() {
            load_volume(volume)
                .unwrap()
                .into_iter()
                .for_each(|c| self.set.adopt(c));
        }
        self.volumes = Some(volumes);
    }

    /// Everything in memory is gone.
    pub(super) fn restart(&mut self) {
        self.crash(|| {});
    }

    fn crash(&mut self, between: impl FnOnce()) {
        self.set = ContainerSet::default();
        self.volumes = None;
        between();
        self.open();
    }

    pub(super) fn container(&self) -> Arc<Container> {
        let new = NewContainer {
            id: 1,
            pipeline_id: "p".into(),
            node_id: "dn-1".into(),
            max_size: 1 << 20,
            margin: 1,
        };
        self.set
            .get_or_create(self.volumes.as_ref().unwrap(), &new)
            .unwrap()
    }
}

pub(super) fn data(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + seed * 7) as u8).collect()
}

fn commit(local: i64, bcsid: u64, chunks: &[Chunk]) -> Commit {
    let size = chunks.last().map_or(0, Chunk::end);
    Commit {
        local,
        size,
        flags: 0,
        chunks: chunks.to_vec(),
        bcsid,
    }
}

fn claim(chunk: &Chunk) -> Claim {
    Claim {
        committed: 0,
        chunks: vec![chunk.clone()],
    }
}

/// Writes and commits one chunk.
pub(super) fn put(container: &Container, local: i64, bcsid: u64, offset: u64, bytes: &[u8]) {
    let chunk = chunk_of(offset, bytes);
    container.write_chunk(local, &chunk, bytes).unwrap();
    let done = container.commit(&commit(local, bcsid, &[chunk])).unwrap();
    assert!(!done.lacking);
}

pub(super) fn read(
    container: &Container,
    local: i64,
    range: (u64, Option<u64>),
) -> OpResult<Vec<u8>> {
    let row = container.readable_block(local, 0)?;
    let plan = container.plan_read(local, row, range, 4096)?;
    let mut out = Vec::new();
    for index in 0..plan.len() {
        let piece = plan.read(container, index)?;
        assert_eq!(
            piece.data.len().div_ceil(1024),
            piece.checksums.checksums.len()
        );
        out.extend_from_slice(&piece.data);
    }
    Ok(out)
}

pub(super) fn block_file(bed: &Bed, local: i64) -> std::path::PathBuf {
    bed.container()
        .dir
        .join("chunks")
        .join(format!("{local}.block"))
}

#[test]
fn bytes_do_not_exist_before_their_commit() {
    let bed = Bed::real();
    let container = bed.container();
    let bytes = data(10_000, 1);
    let chunk = chunk_of(0, &bytes);
    container.write_chunk(7, &chunk, &bytes).unwrap();
    assert_eq!(
        read(&container, 7, (0, None)).unwrap_err().code,
        Code::NoSuchBlock
    );
    container.commit(&commit(7, 1, &[chunk])).unwrap();
    assert_eq!(read(&container, 7, (0, None)).unwrap(), bytes);
    let more = data(500, 2);
    container
        .write_chunk(7, &chunk_of(10_000, &more), &more)
        .unwrap();
    let error = read(&container, 7, (9_999, Some(2))).unwrap_err();
    assert_eq!(error.code, Code::BlockNotCommitted, "{error}");
}

#[test]
fn a_range_comes_back_as_the_whole_windows_that_hold_it() {
    let bed = Bed::real();
    let container = bed.container();
    let (a, b) = (data(5_000, 1), data(5_000, 2));
    put(&container, 7, 1, 0, &a);
    put(&container, 7, 2, 5_000, &b);
    let whole = [a.clone(), b].concat();
    assert_eq!(read(&container, 7, (0, None)).unwrap(), whole);
    assert_eq!(
        read(&container, 7, (1_500, Some(10))).unwrap(),
        whole[1024..2048]
    );
    // The second chunk has windows of its own: from 5000 on.
    assert_eq!(
        read(&container, 7, (4_999, Some(2))).unwrap(),
        whole[4096..6024]
    );
    assert_eq!(read(&container, 7, (10_000, Some(0))).unwrap(), b"");
    assert!(read(&container, 7, (10_000, Some(1))).is_err());
    assert!(read(&container, 7, (u64::MAX, Some(2))).is_err());
}

#[test]
fn a_commit_that_does_not_fit_is_refused_and_changes_nothing() {
    let bed = Bed::real();
    let container = bed.container();
    let bytes = data(3_000, 1);
    put(&container, 7, 1, 0, &bytes);
    let gap = commit(7, 2, &[chunk_of(4_000, &bytes)]);
    assert_eq!(
        container.commit(&gap).unwrap_err().code,
        Code::MalformedRequest
    );
    let overlap = commit(7, 2, &[chunk_of(2_000, &bytes)]);
    assert!(container.commit(&overlap).is_err());
    let short = Commit {
        size: 9_000,
        ..commit(7, 2, &[chunk_of(3_000, &bytes)])
    };
    assert!(container.commit(&short).is_err());
    assert_eq!(container.block(7).unwrap().unwrap().size, 3_000);
    assert_eq!(container.counters().bcsid, 1);
}

#[test]
fn the_last_chunk_may_grow_and_full_lists_are_taken() {
    let bed = Bed::real();
    let container = bed.container();
    let whole = data(6_000, 1);
    let first = chunk_of(0, &whole[..2_000]);
    put(&container, 7, 1, 0, &whole[..2_000]);
    put(&container, 7, 2, 2_000, &whole[2_000..2_500]);
    let grown = chunk_of(2_000, &whole[2_000..]);
    container.write_chunk(7, &grown, &whole[2_000..]).unwrap();
    container.commit(&commit(7, 3, &[first, grown])).unwrap();
    assert_eq!(read(&container, 7, (0, None)).unwrap(), whole);
    assert_eq!(
        container.counters(),
        Counters {
            blocks: 1,
            bytes: 6_000,
            bcsid: 3,
            delete_tx: 0
        }
    );
}

#[test]
fn replayed_commits_change_nothing_even_after_a_deletion() {
    let mut bed = Bed::real();
    let container = bed.container();
    let bytes = data(3_000, 1);
    put(&container, 7, 5, 0, &bytes);
    let again = commit(7, 5, &[chunk_of(0, &bytes)]);
    assert_eq!(container.commit(&again).unwrap().length, 3_000);
    assert_eq!(container.delete_blocks(1, &[7]).unwrap(), 3_000);
    drop(container);
    bed.restart();
    let container = bed.container();
    container.commit(&again).unwrap();
    assert_eq!(container.block(7).unwrap(), None);
    assert_eq!(
        container.counters(),
        Counters {
            blocks: 0,
            bytes: 0,
            bcsid: 5,
            delete_tx: 1
        }
    );
}

#[test]
fn committed_blocks_outlive_a_restart_and_uncommitted_bytes_do_not() {
    let mut bed = Bed::real();
    let bytes = data(4_000, 1);
    {
        let container = bed.container();
        put(&container, 7, 1, 0, &bytes);
        let junk = data(900, 3);
        container
            .write_chunk(7, &chunk_of(4_000, &junk), &junk)
            .unwrap();
    }
    bed.restart();
    let container = bed.container();
    assert_eq!(read(&container, 7, (0, None)).unwrap(), bytes);
    let more = data(100, 4);
    put(&container, 7, 2, 4_000, &more);
    assert_eq!(std::fs::metadata(block_file(&bed, 7)).unwrap().len(), 4_100);
    assert_eq!(
        read(&container, 7, (0, None)).unwrap(),
        [bytes, more].concat()
    );
}

#[test]
fn held_and_synced_bytes_survive_any_power_cut() {
    for seed in 0..20 {
        let faulty = FaultyDisk::with_power_cuts(Arc::new(RealDisk));
        let mut bed = Bed::new(faulty.clone());
        let bytes = data(9_000, 1);
        {
            let container = bed.container();
            let chunk = chunk_of(0, &bytes);
            container.write_chunk(7, &chunk, &bytes).unwrap();
            let held = container.hold(7, &claim(&chunk), true).unwrap();
            assert_eq!(held, Held::Yes);
            container.commit(&commit(7, 1, &[chunk])).unwrap();
            let lazy = data(5_000, 2);
            container
                .write_chunk(7, &chunk_of(9_000, &lazy), &lazy)
                .unwrap();
        }
        let cut = if seed == 0 {
            Cut::Clean
        } else {
            Cut::Random(seed)
        };
        bed.crash(|| faulty.crash(cut).unwrap());
        let container = bed.container();
        assert_eq!(
            read(&container, 7, (0, None)).unwrap(),
            bytes,
            "seed {seed}"
        );
    }
}

#[test]
fn committed_bytes_that_a_power_cut_took_are_an_error_and_known_to_lack() {
    let faulty = FaultyDisk::with_power_cuts(Arc::new(RealDisk));
    let mut bed = Bed::new(faulty.clone());
    let bytes = data(9_000, 1);
    put(&bed.container(), 7, 1, 0, &bytes);
    bed.crash(|| faulty.crash(Cut::Clean).unwrap());
    let container = bed.container();
    assert_eq!(container.lacking(), [(7, 0)]);
    assert_eq!(
        read(&container, 7, (0, None)).unwrap_err().code,
        Code::UnableToFindChunk
    );
    let chunks = container.chunks_to_fetch(7).unwrap();
    container.store_fetched(7, &chunks[0], &bytes).unwrap();
    assert!(container.repaired(7).unwrap());
    assert_eq!(read(&container, 7, (0, None)).unwrap(), bytes);
    assert!(container.lacking().is_empty());
}

#[test]
fn a_member_that_missed_a_chunk_knows_and_can_be_given_it() {
    let mut bed = Bed::real();
    let bytes = data(5_000, 1);
    let chunks = [
        chunk_of(0, &bytes[..2_000]),
        chunk_of(2_000, &bytes[2_000..]),
    ];
    let container = bed.container();
    container
        .write_chunk(7, &chunks[0], &bytes[..2_000])
        .unwrap();
    assert!(matches!(
        container
            .hold(
                7,
                &Claim {
                    committed: 0,
                    chunks: chunks.to_vec()
                },
                true
            )
            .unwrap(),
        Held::No(_)
    ));
    assert!(container.commit(&commit(7, 1, &chunks)).unwrap().lacking);
    assert!(read(&container, 7, (0, None)).is_err());
    drop(container);
    bed.restart();
    let container = bed.container();
    assert_eq!(container.chunks_to_fetch(7).unwrap(), chunks[1..]);
    assert!(!container.repaired(7).unwrap(), "nothing was fetched yet");
    assert!(
        container
            .store_fetched(7, &chunks[1], &bytes[..3_000])
            .is_err()
    );
    container
        .store_fetched(7, &chunks[1], &bytes[2_000..])
        .unwrap();
    assert!(container.repaired(7).unwrap());
    assert_eq!(read(&container, 7, (0, None)).unwrap(), bytes);
}

#[test]
fn nobody_claims_committed_bytes_that_it_never_saw() {
    let bed = Bed::real();
    let container = bed.container();
    let none = Claim {
        committed: 1,
        chunks: vec![],
    };
    assert!(matches!(
        container.hold(7, &none, true).unwrap(),
        Held::No(_)
    ));
    put(&container, 7, 1, 0, b"x");
    assert_eq!(container.hold(7, &none, true).unwrap(), Held::Yes);
}

#[test]
fn a_failed_fsync_fails_the_volume() {
    let faulty = FaultyDisk::new(Arc::new(RealDisk));
    let bed = Bed::new(faulty.clone());
    let container = bed.container();
    let bytes = data(2_000, 1);
    let chunk = chunk_of(0, &bytes);
    container.write_chunk(7, &chunk, &bytes).unwrap();
    faulty.fail_sync(1);
    assert_eq!(
        container.hold(7, &claim(&chunk), true).unwrap_err().code,
        Code::IoException
    );
    assert!(
        container.hold(7, &claim(&chunk), true).is_err(),
        "a later fsync proves nothing"
    );
    assert!(container.volume().failure().is_some());
    assert_eq!(container.report().state(), ReplicaState::ReplicaUnhealthy);
}

#[test]
fn deletion_frees_bytes_of_open_containers_and_finishes_after_a_crash() {
    let mut bed = Bed::real();
    let bytes = data(3_000, 1);
    {
        let container = bed.container();
        put(&container, 7, 1, 0, &bytes);
        put(&container, 8, 2, 0, &bytes);
        let mut change = crate::rows::Change::new(1);
        change.delete_block(8, &container.chunks(8).unwrap());
        change.put_deletion(4, &[8]);
        container.db().write(change, true).unwrap();
    }
    let file = block_file(&bed, 8);
    assert!(file.exists());
    bed.restart();
    assert!(!file.exists(), "a deletion that was begun is finished");
    let container = bed.container();
    assert_eq!(container.delete_blocks(5, &[7]).unwrap(), 3_000);
    assert_eq!(container.delete_blocks(5, &[7]).unwrap(), 0);
    assert!(!block_file(&bed, 7).exists());
    assert_eq!(
        read(&container, 7, (0, None)).unwrap_err().code,
        Code::NoSuchBlock
    );
}

#[test]
fn closing_drops_what_was_never_committed() {
    let mut bed = Bed::real();
    let bytes = data(3_000, 1);
    {
        let container = bed.container();
        put(&container, 7, 1, 0, &bytes);
        container
            .write_chunk(7, &chunk_of(3_000, b"junk"), b"junk")
            .unwrap();
        container
            .write_chunk(9, &chunk_of(0, b"junk"), b"junk")
            .unwrap();
        container.begin_close().unwrap();
        let refused = container
            .write_chunk(9, &chunk_of(4, b"more"), b"more")
            .unwrap_err();
        assert_eq!(refused.code, Code::ContainerNotOpen);
        container.close(State::Closed).unwrap();
        container.close(State::Closed).unwrap();
        let late = commit(9, 2, &[chunk_of(0, b"junk")]);
        assert_eq!(
            container.commit(&late).unwrap_err().code,
            Code::ContainerNotOpen
        );
    }
    assert_eq!(std::fs::metadata(block_file(&bed, 7)).unwrap().len(), 3_000);
    assert!(!block_file(&bed, 9).exists());
    bed.restart();
    assert_eq!(bed.container().state(), State::Closed);
}

#[test]
fn a_damaged_descriptor_spoils_one_container_alone() {
    let mut bed = Bed::real();
    put(&bed.container(), 7, 1, 0, &data(10, 1));
    let other = NewContainer {
        id: 2,
        pipeline_id: "p".into(),
        node_id: "n".into(),
        max_size: 1,
        margin: 1,
    };
    bed.set
        .create(bed.volumes.as_ref().unwrap(), &other)
        .unwrap();
    let path = crate::layout::descriptor_path(&bed.container().dir, 1);
    std::fs::write(&path, "garbage").unwrap();
    bed.restart();
    assert_eq!(bed.set.get(1).unwrap().state(), State::Unhealthy);
    assert_eq!(bed.set.get(2).unwrap().state(), State::Open);
    assert_eq!(
        bed.set.get(1).unwrap().check_writable().unwrap_err().code,
        Code::ContainerUnhealthy
    );
}

#[test]
fn half_made_containers_are_removed_at_start() {
    let mut bed = Bed::real();
    let dir = bed.container().volume.layout().container(600);
    std::fs::create_dir_all(dir.join("metadata")).unwrap();
    bed.restart();
    assert!(bed.set.find(600).is_none());
    assert!(!dir.exists());
}

#[test]
fn a_full_disk_makes_no_container() {
    let faulty = FaultyDisk::new(Arc::new(RealDisk));
    let bed = Bed::new(faulty.clone());
    faulty.limit_room(Some(150));
    let new = NewContainer {
        id: 3,
        pipeline_id: "p".into(),
        node_id: "n".into(),
        max_size: 1,
        margin: 1,
    };
    let error = bed
        .set
        .create(bed.volumes.as_ref().unwrap(), &new)
        .unwrap_err();
    assert_eq!(error.code, Code::DiskOutOfSpace, "{error}");
    faulty.limit_room(None);
    assert!(bed.set.find(3).is_none());
    bed.set.create(bed.volumes.as_ref().unwrap(), &new).unwrap();
}

#[test]
fn deleting_a_container_needs_force_while_it_is_of_use() {
    let mut bed = Bed::real();
    put(&bed.container(), 7, 1, 0, &data(10, 1));
    let dir = bed.container().dir.clone();
    assert_eq!(
        bed.set.delete(1, false).unwrap_err().code,
        Code::DeleteOnOpenContainer
    );
    bed.container().close(State::Closed).unwrap();
    assert_eq!(
        bed.set.delete(1, false).unwrap_err().code,
        Code::DeleteOnNonEmptyContainer
    );
    bed.set.delete(1, true).unwrap();
    assert!(!dir.exists());
    assert_eq!(
        bed.set.changes_since(0).0[0].state(),
        ReplicaState::ReplicaDeleted
    );
    bed.restart();
    assert!(bed.set.find(1).is_none());
    assert_eq!(bed.container().counters(), Counters::default());
}

#[test]
fn a_removed_file_is_an_error_and_not_zeros() {
    let bed = Bed::real();
    let container = bed.container();
    put(&container, 7, 1, 0, &data(3_000, 1));
    container.close(State::Closed).unwrap();
    let path: &Path = &block_file(&bed, 7);
    RealDisk
        .open(path, OpenMode::Write)
        .unwrap()
        .set_len(1_500)
        .unwrap();
    assert_eq!(
        read(&container, 7, (0, None)).unwrap_err().code,
        Code::UnableToFindChunk
    );
    std::fs::remove_file(path).unwrap();
    assert!(read(&container, 7, (0, None)).is_err());
}

#[test]
fn idle_blocks_are_closed_and_can_be_written_on() {
    let bed = Bed::real();
    let container = bed.container();
    put(&container, 7, 1, 0, &data(3_000, 1));
    container
        .write_chunk(8, &chunk_of(0, b"staged"), b"staged")
        .unwrap();
    container.close_idle_blocks();
    assert_eq!(container.open.lock().len(), 2, "both were used");
    container.close_idle_blocks();
    let open: Vec<i64> = container.open.lock().keys().copied().collect();
    assert_eq!(open, [8], "staged chunks are kept");
    put(&container, 7, 2, 3_000, b"more");
    assert_eq!(read(&container, 7, (2_999, Some(5))).unwrap().len(), 956);
}
