//! Numbers that no client of ours sends. What is in the log is applied by every replica at every start, so that one
//! which ends the OM would end it for good.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use ozone_om::rows::Rows;
use ozone_om::state_machine::OmState;
use ozone_om::{file_map, namespace, reads, tables};
use ozone_proto::namespace::*;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::*;
use ozone_raft::StateMachine;
use prost::Message;

use crate::scene::{Scene, scene};
use crate::support::{Om, extent, unlink};
use crate::wire;

/// For one request, on a machine that has much else to do.
const QUICKLY: Duration = Duration::from_secs(10);

/// The request with each number in it, and each that could be, replaced by hostile ones.
fn hostile(request: &OmRequest) -> Vec<OmRequest> {
    let plain = request.encode_to_vec();
    let mut seen = HashSet::from([plain.clone()]);
    let all = wire::with_hostile_numbers(&wire::parse(&plain).unwrap());
    let decoded = all
        .iter()
        .filter_map(|message| OmRequest::decode(wire::encode(message).as_slice()).ok());
    decoded
        .filter(|request| seen.insert(request.encode_to_vec()))
        .collect()
}

/// What is wrong with how a request was answered, if anything is.
fn wrong(look: impl FnOnce() -> Result<(), String>) -> Option<String> {
    let started = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(look));
    match outcome {
        Err(_) => Some("panicked".to_owned()),
        Ok(Err(fault)) => Some(fault),
        Ok(Ok(())) if started.elapsed() > QUICKLY => Some(format!("took {:?}", started.elapsed())),
        Ok(Ok(())) => None,
    }
}

fn answered<T>(outcome: ozone_om::Result<T>) -> Result<(), String> {
    match outcome {
        Err(fault) if !fault.is_refusal() => Err(fault.to_string()),
        _ => Ok(()),
    }
}

fn check(all: &[(OmRequest, String)]) {
    let told: Vec<_> = all.iter().take(5).collect();
    assert!(all.is_empty(), "{} wrong answers: {told:#?}", all.len());
}

#[test]
fn no_number_in_a_request_stops_the_om() {
    let dir = tempfile::tempdir().unwrap();
    let mut scene = scene(dir.path());
    for body in [scene.of_files(), scene.of_keys(), scene.of_blocks()].concat() {
        let plain = scene.request(body);
        let outcome = scene.try_change(&plain);
        assert!(outcome.is_ok(), "{outcome:?}: {plain:?}");
    }
    let changes = scene.changes();
    for body in &changes {
        let plain = scene.request(body.clone());
        let tried = hostile(&plain);
        assert!(tried.len() > 5, "{plain:?}");
        let each = tried.into_iter().filter_map(|request| {
            let fault = wrong(|| answered(scene.try_change(&request)))?;
            Some((request, fault))
        });
        check(&each.collect::<Vec<_>>());
    }
    // And one after the other, each on what the ones before it have left.
    for body in &changes {
        for request in hostile(&scene.request(body.clone())) {
            let fault = wrong(|| {
                let applied = scene.om.log(request.clone());
                applied.map(drop).map_err(|fault| fault.to_string())
            });
            check(
                &fault
                    .map(|fault| (request, fault))
                    .into_iter()
                    .collect::<Vec<_>>(),
            );
        }
    }
    scene.om.purge();
    scene.om.state.flush().unwrap();
    let log = std::mem::take(&mut scene.om.log);
    drop(scene);
    let again = OmState::open(dir.path(), 4).unwrap();
    let store = again.store().unwrap();
    assert!(store.any(tables::VOLUME, b"/").unwrap());
    assert!(log.len() > 1000, "{} requests", log.len());
}

#[test]
fn no_number_in_a_look_stops_the_om() {
    let dir = tempfile::tempdir().unwrap();
    let scene = scene(dir.path());
    let store = scene.om.state.store().unwrap();
    for body in scene.looks() {
        let plain = scene.request(body);
        let each = hostile(&plain).into_iter().filter_map(|request| {
            let body = request.body.clone()?;
            let fault = wrong(|| answered(reads::answer(&body, &*store)))?;
            Some((request, fault))
        });
        check(&each.collect::<Vec<_>>());
    }
}

#[test]
fn a_file_ends_where_an_offset_does_and_a_block_long_before() {
    let dir = tempfile::tempdir().unwrap();
    let Scene {
        mut om,
        dir: root,
        session,
        file,
        ..
    } = scene(dir.path());
    let last = i64::MAX as u64;
    let mut commit = |extents| om.commit(&file, session, extents).status();
    assert_eq!(commit(vec![extent(last - 1, 1, 2, 0)]), Status::Ok);
    for refused in [
        extent(last, 1, 2, 0),
        extent(0, 1 << 63, 2, 0),
        extent(0, 1, 2, u64::MAX),
        extent(0, (64 << 30) + 1, 2, 0),
    ] {
        assert_eq!(commit(vec![refused]), Status::InvalidRequest);
    }
    let longer = SetAttrRequest {
        r#ref: file.r#ref.clone(),
        size: Some(last + 1),
        ..Default::default()
    };
    let answer = om.ask(Body::SetAttr(longer));
    assert_eq!(answer.status(), Status::InvalidRequest);
    let store = om.state.store().unwrap();
    let row = namespace::child(&*store, &root, b"file")
        .unwrap()
        .unwrap()
        .row;
    assert_eq!(row.size, last);
    assert!(
        !file_map::read(&*store, &row, 0, u64::MAX, 9)
            .unwrap()
            .0
            .is_empty()
    );
}

#[test]
fn object_ids_that_are_used_up_are_a_refusal() {
    use ozone_kv::WriteTarget;
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (root, session) = om.bucket();
    let store = om.state.store().unwrap();
    let mut rows = store.overlay();
    let last = (ozone_proto::bucket::OBJECT_STORE - 1).to_be_bytes();
    rows.put(tables::META.0, tables::NEXT_ID_KEY.to_vec(), last.to_vec());
    store.write(rows).unwrap();
    drop(store);
    om.create(root, "last", InodeKind::File);
    let open = Body::OpenSession(OpenSessionRequest::default());
    assert_eq!(om.ask(open).status(), Status::NoSpace);
    om.ask(unlink(root, "last", false, None));
    let close = CloseSessionRequest {
        session,
        expired: false,
    };
    assert_eq!(om.ask(Body::CloseSession(close)).status(), Status::Ok);
}
