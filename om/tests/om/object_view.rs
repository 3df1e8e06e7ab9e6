//! What the object interface sees of what the mount does.

use ozone_om::{namespace, reads};
use ozone_proto::namespace::*;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::{ListKeysRequest, Status};

use crate::support::{Om, ROOT, id};

fn keys_after(om: &Om, start: &str, count: i32) -> Vec<String> {
    let request = ListKeysRequest {
        volume_name: "vol".into(),
        bucket_name: "bucket".into(),
        start_key: Some(start.into()),
        prefix: None,
        count: Some(count),
    };
    let store = om.state.store().unwrap();
    let listed = reads::keys::list(&request, &*store).unwrap();
    listed.key_info.into_iter().map(|k| k.key_name).collect()
}

#[test]
fn a_listing_goes_on_after_its_start_wherever_that_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (bucket, _) = om.bucket();
    for name in ["0", "a", "a.b", "b"] {
        let made = om.create(bucket, name, InodeKind::Directory);
        let inside = DirRef {
            parent_id: id(&made),
            ..bucket
        };
        om.create(inside, "x", InodeKind::File);
    }
    let all = ["0/", "0/x", "a/", "a/x", "a.b/", "a.b/x", "b/", "b/x"];
    assert_eq!(keys_after(&om, "", 100), all);
    // A directory comes after its own name without the slash.
    assert_eq!(keys_after(&om, "a", 100), all[2..]);
    assert_eq!(keys_after(&om, "a/", 100), all[3..]);
    assert_eq!(keys_after(&om, "a/a", 100), all[3..]);
    assert_eq!(keys_after(&om, "a/x", 100), all[4..]);
    // Page after page, nothing is left out or comes twice.
    for count in 1..4 {
        let (mut listed, mut start) = (Vec::new(), String::new());
        loop {
            let page = keys_after(&om, &start, count);
            let Some(last) = page.last() else { break };
            start.clone_from(last);
            listed.extend(page);
        }
        assert_eq!(listed, all, "pages of {count}");
    }
}

#[test]
fn who_gets_a_uid_is_the_owner_by_name_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (bucket, _) = om.bucket();
    let file = om.create(bucket, "file", InodeKind::File);
    let volume = {
        let store = om.state.store().unwrap();
        let row = namespace::child(&*store, &ROOT, b"vol").unwrap().unwrap();
        namespace::inode(&ROOT, b"vol", row.row)
    };
    let place = {
        let store = om.state.store().unwrap();
        let dir = namespace::inside_volume(id(&volume));
        let row = namespace::child(&*store, &dir, b"bucket").unwrap().unwrap();
        namespace::inode(&dir, b"bucket", row.row)
    };
    let owner_of = |om: &Om, inode: &Inode| {
        let store = om.state.store().unwrap();
        let row = namespace::find(&*store, inode.r#ref.as_ref().unwrap()).unwrap();
        assert_eq!(row.row.uid, 1000);
        match row.slot {
            namespace::Slot::Volume(name) => namespace::volume(&*store, &name).unwrap().owner,
            namespace::Slot::Bucket { volume, bucket } => {
                namespace::bucket(&*store, &volume, &bucket).unwrap().owner
            }
            _ => row.row.owner,
        }
    };
    for inode in [volume, place, file] {
        for (name, expected) in [("bilbo", "bilbo"), ("", "1000")] {
            let request = SetAttrRequest {
                r#ref: inode.r#ref.clone(),
                uid: Some(1000),
                owner_name: name.into(),
                ..Default::default()
            };
            assert_eq!(om.ask(Body::SetAttr(request)).status(), Status::Ok);
            // What leaves the uid alone leaves the name alone.
            let request = SetAttrRequest {
                r#ref: inode.r#ref.clone(),
                gid: Some(7),
                ..Default::default()
            };
            assert_eq!(om.ask(Body::SetAttr(request)).status(), Status::Ok);
            assert_eq!(owner_of(&om, &inode), expected);
        }
    }
}
