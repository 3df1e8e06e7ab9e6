//! Keys as S3 puts, lists and deletes them, and the secrets of its users.

use std::collections::BTreeSet;

use ozone_om::rows::Rows;
use ozone_om::{etag, reads, tables};
use ozone_proto::hdds::{KeyValue, ReplicationFactor, ReplicationType};
use ozone_proto::namespace::*;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::om_response::Body as Reply;
use ozone_proto::om::*;

use crate::support::{Om, inline, unlink};

pub(crate) fn args(key: &str) -> KeyArgs {
    KeyArgs {
        volume_name: "vol".into(),
        bucket_name: "bucket".into(),
        key_name: key.into(),
        ..Default::default()
    }
}

/// Puts a key with some bytes, or a directory.
pub(crate) fn put(om: &mut Om, key: &str) -> Status {
    put_with(om, args(key))
}

fn put_with(om: &mut Om, args: KeyArgs) -> Status {
    let directory = args.key_name.ends_with('/');
    let data = args.key_name.clone();
    let extents = match directory {
        true => Vec::new(),
        false => vec![inline(0, data.as_bytes())],
    };
    let key_args = KeyArgs {
        data_size: Some(if directory { 0 } else { data.len() as u64 }),
        extents,
        ..args
    };
    let answer = om.ask(Body::PutKey(PutKeyRequest { key_args }));
    answer.status()
}

pub(crate) fn delete(om: &mut Om, key: &str) -> Status {
    let request = DeleteKeyRequest {
        key_args: args(key),
        keep: None,
        as_object: Some(true),
    };
    om.ask(Body::DeleteKeyRequest(request)).status()
}

fn page(om: &Om, request: ListObjectsRequest) -> ListObjectsResponse {
    let store = om.state.store().unwrap();
    let body = Body::ListObjects(ListObjectsRequest {
        volume_name: "vol".into(),
        bucket_name: "bucket".into(),
        ..request
    });
    match reads::answer(&body, &*store).unwrap() {
        reads::Answer::Done(reply) => match *reply {
            Reply::ListObjects(page) => page,
            other => panic!("{other:?}"),
        },
        _ => panic!("no listing"),
    }
}

/// Keys and groups of all pages, in the order in which they came, each page's sorted together.
pub(crate) fn list(om: &Om, prefix: &str, delimiter: &str, after: &str, limit: u32) -> Vec<String> {
    let mut found = Vec::new();
    let mut after = after.as_bytes().to_vec();
    loop {
        let page = page(
            om,
            ListObjectsRequest {
                prefix: Some(prefix.into()),
                delimiter: Some(delimiter.into()),
                after: Some(after.clone().into()),
                limit: Some(limit),
                ..Default::default()
            },
        );
        let mut names: Vec<_> = page.objects.iter().map(|o| o.key().to_owned()).collect();
        names.extend(page.common_prefixes.clone());
        assert!(names.len() <= limit as usize);
        names.sort();
        found.extend(names);
        if !page.more() {
            return found;
        }
        after = page.last().to_vec();
    }
}

/// What S3 says that a listing has.
pub(crate) fn expected(
    keys: &BTreeSet<String>,
    prefix: &str,
    delimiter: &str,
    after: &str,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for key in keys {
        let Some(rest) = key.strip_prefix(prefix) else {
            continue;
        };
        let group = match delimiter {
            "" => None,
            delimiter => rest.find(delimiter).map(|at| at + delimiter.len()),
        };
        let entry = match group {
            Some(end) => format!("{prefix}{}", &rest[..end]),
            None => key.clone(),
        };
        let behind = key.as_str() > after && entry != after;
        if behind && found.last() != Some(&entry) {
            found.push(entry);
        }
    }
    found
}

const HOSTILE: &[&str] = &[
    "a",
    "a-",
    "a-b/x",
    "a-b/y/z",
    "a-b-c",
    "a.b",
    "a.b/",
    "ab/c",
    "a!/1",
    "a!b/2",
    "b/",
    "b0/1",
    "b/c/d/e/f",
    "b/c-d",
    "b/c!",
    "b/c/",
    "c/x\u{1}",
    "c/x/y",
    "c/ü",
    "日本/語",
    "d d/e+f=g?h#i%j",
    "z",
    "z-/1",
    "z--/2",
    "z-0",
    "z/1",
    "~",
];

#[test]
fn listings_are_in_the_order_of_the_keys_bytes_whatever_the_page() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    om.bucket();
    let mut keys = BTreeSet::new();
    for key in HOSTILE {
        // Some names are files already where others want directories.
        if put(&mut om, key) == Status::Ok {
            keys.insert((*key).to_owned());
        }
    }
    for n in 0..600 {
        let key = format!("many/{n:04}{}", if n % 7 == 0 { "/deep" } else { "" });
        assert_eq!(put(&mut om, &key), Status::Ok, "{key}");
        keys.insert(key);
    }
    assert!(keys.len() > 620);
    for prefix in [
        "", "a", "a-", "a-b", "b/", "b/c", "many/", "many/01", "z", "nothing", "c/x",
    ] {
        for delimiter in ["", "/", "-", "b/", "0"] {
            for after in [
                "",
                "a-b",
                "a-b/x",
                "b/",
                "b/c",
                "many/0300",
                "z-0",
                "zz",
                "a!/",
            ] {
                let wanted = expected(&keys, prefix, delimiter, after);
                for limit in [1000, 7, 1] {
                    if limit == 1 && wanted.len() > 40 {
                        continue;
                    }
                    let found = list(&om, prefix, delimiter, after, limit);
                    assert_eq!(found, wanted, "{prefix:?} {delimiter:?} {after:?} {limit}");
                }
            }
        }
    }
}

#[test]
fn directories_that_keys_implied_go_with_the_last_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (bucket, _) = om.bucket();
    for name in ["nul\0", "a/nul\0/c"] {
        assert_eq!(put(&mut om, name), Status::InvalidKeyName);
    }
    for name in ["nul\0", "a/b", ""] {
        let create = CreateRequest {
            dir: Some(bucket),
            name: name.into(),
            kind: InodeKind::Directory.into(),
            ..Default::default()
        };
        let answer = om.ask(Body::Create(create));
        assert_eq!(answer.status(), Status::InvalidKeyName, "{name:?}");
    }
    assert_eq!(put(&mut om, "a/b/c"), Status::Ok);
    assert_eq!(put(&mut om, "made/by/hand/"), Status::Ok);
    assert_eq!(put(&mut om, "made/by/hand/x"), Status::Ok);
    assert_eq!(
        list(&om, "", "", "", 10),
        ["a/b/c", "made/by/hand/", "made/by/hand/x"]
    );
    assert_eq!(
        delete(&mut om, "a/b"),
        Status::KeyNotFound,
        "a directory is no key"
    );
    assert_eq!(
        delete(&mut om, "a/b/c/"),
        Status::KeyNotFound,
        "nor is a key a directory"
    );
    assert_eq!(delete(&mut om, "a/b/c"), Status::Ok);
    assert_eq!(delete(&mut om, "made/by/hand/"), Status::Ok);
    assert_eq!(list(&om, "", "", "", 10), ["made/by/hand/x"]);
    assert_eq!(delete(&mut om, "made/by/hand/x"), Status::Ok);
    assert!(list(&om, "", "", "", 10).is_empty());
    assert_eq!(om.rows(tables::DIRECTORY), 0);
    assert_eq!(om.rows(tables::DIRECTORY_ID), 0);
}

#[test]
fn a_directory_of_the_filesystem_that_is_empty_is_listed() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (bucket, _) = om.bucket();
    om.create(bucket, "empty", InodeKind::Directory);
    om.create(bucket, "pipe", InodeKind::Fifo);
    assert_eq!(put(&mut om, "implied/key"), Status::Ok);
    let inside = ozone_om::namespace::child(&*om.state.store().unwrap(), &bucket, b"implied");
    let inside = DirRef {
        parent_id: inside.unwrap().unwrap().row.object_id,
        ..bucket
    };
    om.ask(unlink(inside, "key", false, None));
    assert_eq!(list(&om, "", "", "", 10), ["empty/", "implied/"]);
}

#[test]
fn conditions_are_weighed_where_the_key_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let (bucket, session) = om.bucket();
    let digest = |text: &str| KeyArgs {
        metadata: vec![KeyValue {
            key: etag::KEY.into(),
            value: Some(text.into()),
        }],
        ..args("key")
    };
    let absent = |args: KeyArgs| KeyArgs {
        expected_data_generation: Some(etag::NOTHING),
        ..args
    };
    let matching = |etag: &str, args: KeyArgs| KeyArgs {
        expected_e_tag: Some(etag.into()),
        ..args
    };
    assert_eq!(
        put_with(&mut om, matching("*", digest("one"))),
        Status::EtagMismatch
    );
    assert_eq!(put_with(&mut om, absent(digest("one"))), Status::Ok);
    assert_eq!(
        put_with(&mut om, absent(digest("two"))),
        Status::KeyAlreadyExists
    );
    assert_eq!(
        put_with(&mut om, matching("two", digest("two"))),
        Status::EtagMismatch
    );
    assert_eq!(
        put_with(&mut om, matching("one", digest("two"))),
        Status::Ok
    );
    let store = om.state.store().unwrap();
    let found = ozone_om::namespace::child(&*store, &bucket, b"key");
    drop(store);
    let row = found.unwrap().unwrap().row;
    assert_eq!(etag::of(&row), "two");
    // Another door changes the content: the digest is not the content's any more.
    let inode = ozone_om::namespace::inode(&bucket, b"key", row);
    om.commit(&inode, session, vec![inline(0, b"!")]);
    assert_eq!(
        put_with(&mut om, matching("two", digest("three"))),
        Status::EtagMismatch
    );
}

#[test]
fn a_secret_is_made_once_set_at_will_and_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let get = |om: &mut Om| {
        om.ask(Body::GetS3SecretRequest(GetS3SecretRequest {
            kerberos_id: "bilbo".into(),
            create_if_not_exist: None,
            generated: Some("secret-of-the-leader".into()),
        }))
    };
    let revoke = |om: &mut Om| {
        let kerberos_id = "bilbo".into();
        om.ask(Body::RevokeS3SecretRequest(RevokeS3SecretRequest {
            kerberos_id,
        }))
        .status()
    };
    let set = |om: &mut Om, secret: &str| {
        om.ask(Body::SetS3SecretRequest(SetS3SecretRequest {
            access_id: "bilbo".into(),
            secret_key: secret.into(),
        }))
        .status()
    };
    let stored = |om: &Om| {
        let row: Option<S3SecretRow> = om
            .state
            .store()
            .unwrap()
            .get(tables::S3_SECRET, b"bilbo")
            .unwrap();
        row.map(|row| row.secret)
    };
    assert_eq!(get(&mut om).status(), Status::Ok);
    assert_eq!(stored(&om).as_deref(), Some("secret-of-the-leader"));
    assert_eq!(get(&mut om).status(), Status::S3SecretAlreadyExists);
    assert_eq!(set(&mut om, "short"), Status::InvalidRequest);
    assert_eq!(set(&mut om, "long enough"), Status::Ok);
    assert_eq!(stored(&om).as_deref(), Some("long enough"));
    assert_eq!(revoke(&mut om), Status::Ok);
    assert_eq!(revoke(&mut om), Status::S3SecretNotFound);
    assert_eq!(stored(&om), None);
}

/// GetKeyInfo.
fn info(om: &Om, key: &str) -> ozone_om::Result<KeyInfo> {
    reads::keys::info(&args(key), &*om.state.store().unwrap())
}

#[test]
fn a_directory_is_kept_alike_whoever_made_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    let three = Replication {
        r#type: ReplicationType::Ratis.into(),
        factor: ReplicationFactor::Three.into(),
    };
    om.default_replication = Some(three);
    let (bucket, _) = om.bucket();
    om.create(bucket, "made", InodeKind::Directory);
    assert_eq!(put(&mut om, "implied/key"), Status::Ok);
    for name in ["made", "implied", "implied/key"] {
        let info = info(&om, name).unwrap();
        let told = (info.r#type(), info.factor());
        let expected = (ReplicationType::Ratis, ReplicationFactor::Three);
        assert_eq!(told, expected, "{name}");
    }
    // The OM knows no default before its leader says so.
    om.default_replication = None;
    assert_eq!(put(&mut om, "early/key"), Status::Ok);
    let early = info(&om, "early").unwrap();
    assert_eq!(early.r#type(), ReplicationType::Ratis);
}

#[test]
fn a_trailing_slash_means_a_directory_and_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut om = Om::open(dir.path());
    om.bucket();
    assert_eq!(put(&mut om, "dir/file"), Status::Ok);
    for missing in ["dir/file/", "none/"] {
        let refusal = info(&om, missing).unwrap_err();
        assert_eq!(refusal.status(), Status::KeyNotFound, "{missing}");
    }
    for directory in ["dir", "dir/"] {
        assert_eq!(info(&om, directory).unwrap().key_name, "dir/");
    }
    assert_eq!(info(&om, "dir/file").unwrap().key_name, "dir/file");
}
