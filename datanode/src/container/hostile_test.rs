//! What comes too late, from elsewhere, or back from a disk that lies.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use ozone_proto::scm::{ImportBlock, ImportHeader};

use super::tests::{Bed, block_file, data, put, read};
use super::*;
use crate::chunk::tests::chunk_of;

#[test]
fn what_comes_late_touches_neither_the_disk_nor_a_container_that_came_anew() {
    let bed = Bed::real();
    let late = bed.container();
    let bytes = data(3_000, 1);
    put(&late, 7, 1, 0, &bytes);
    let chunk = late.chunks(7).unwrap().remove(0);
    late.delete_blocks(1, &[7]).unwrap();
    late.close(State::Closed).unwrap();
    bed.set.delete(1, false).unwrap();
    let come_late = || {
        let codes = [
            late.delete_blocks(2, &[7]).unwrap_err().code,
            late.set_scanned(5).unwrap_err().code,
            late.store_fetched(7, &chunk, &bytes).unwrap_err().code,
            late.repaired(7).unwrap_err().code,
        ];
        assert_eq!(codes, [Code::ContainerNotFound; 4]);
        assert!(
            late.check_chunk(7, &chunk).unwrap(),
            "it is deleted, not damaged"
        );
        assert_eq!(late.volume().failure(), None);
    };
    come_late();
    assert!(!late.volume().db().any(1).unwrap());
    assert!(!late.dir.exists());
    let anew = bed.container();
    put(&anew, 7, 1, 0, &bytes);
    let (counters, descriptor) = (anew.counters(), anew.descriptor());
    come_late();
    assert_eq!(late.db().counters(1).unwrap(), counters);
    assert!(late.db().deletions(1).unwrap().is_empty());
    assert_eq!(anew.descriptor(), descriptor);
    assert_eq!(read(&anew, 7, (0, None)).unwrap(), bytes);
    assert!(anew.lacking().is_empty());
}

#[test]
fn a_container_that_makes_no_sense_is_not_taken_in() {
    let bed = Bed::real();
    let volume = bed.container().volume().clone();
    let header = |container_id| ImportHeader {
        container_id,
        state: "CLOSED".to_owned(),
        ..ImportHeader::default()
    };
    for id in [0, -1, i64::MIN] {
        let error = Incoming::begin(volume.clone(), &header(id)).unwrap_err();
        assert_eq!(error.code, Code::MalformedRequest);
    }
    let block = |local_id, offset| ImportBlock {
        local_id,
        size: 2_000,
        chunks: vec![chunk_of(offset, &data(2_000, 1)).to_stored()],
        ..ImportBlock::default()
    };
    let mut incoming = Incoming::begin(volume, &header(i64::MAX)).unwrap();
    for bad in [
        block(-1, 0),
        block(5, 1),
        block(5, i64::MAX as u64),
        block(5, u64::MAX),
    ] {
        let error = incoming.block(&bad).unwrap_err();
        assert_eq!(error.code, Code::MalformedRequest, "{bad:?}");
    }
    incoming.block(&block(i64::MAX, 0)).unwrap();
}

#[test]
fn a_read_of_damaged_bytes_says_each_time_what_is_wrong_with_them() {
    let bed = Bed::real();
    let container = bed.container();
    put(&container, 7, 1, 0, &data(3_000, 1));
    container.finish_block(7);
    let mut bytes = std::fs::read(block_file(&bed, 7)).unwrap();
    bytes[1_500] ^= 1;
    std::fs::write(block_file(&bed, 7), &bytes).unwrap();
    let chunk = container.chunks(7).unwrap().remove(0);
    assert!(!container.check_chunk(7, &chunk).unwrap());
    let error = read(&container, 7, (0, None)).unwrap_err();
    assert_eq!(error.code, Code::UnableToFindChunk);
    let text = error.message;
    assert!(
        text.contains("damaged") && text.contains("checksum"),
        "{text}"
    );
    container.store_fetched(7, &chunk, &data(3_000, 1)).unwrap();
    assert!(container.repaired(7).unwrap());
    assert_eq!(read(&container, 7, (0, None)).unwrap(), data(3_000, 1));
}
