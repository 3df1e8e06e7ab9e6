//! The matrix of doors: what is written, overwritten, renamed and deleted by any one of them, all the others show
//! at once, whatever they have cached. A row is a kind of bucket.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod door;

use std::collections::BTreeSet;

use ozone_tests::content::bytes;
use ozone_tests::s3::S3;
use ozone_tests::{Cluster, ClusterOptions};

use self::door::{Door, Gateway, Mount, OzoneFs, Shell};

/// A kind of bucket, and by which of its names each door knows it.
struct Row {
    /// Commands of `ozone sh` that make it.
    made_by: &'static [&'static str],
    /// `volume/bucket` in the mount and in the shell.
    name: &'static str,
    /// Likewise, in the second mount and in `ozone fs`.
    other_name: &'static str,
    /// In S3.
    s3_name: &'static str,
    /// Whether `ozone fs` serves it.
    has_paths: bool,
}

#[test]
fn what_one_door_changes_in_a_filesystem_bucket_every_other_shows_at_once() {
    matrix(&Row {
        made_by: &["bucket create s3v/files --layout FILE_SYSTEM_OPTIMIZED"],
        name: "s3v/files",
        other_name: "s3v/files",
        s3_name: "files",
        has_paths: true,
    });
}

#[test]
fn what_one_door_changes_in_an_object_store_every_other_shows_at_once() {
    matrix(&Row {
        made_by: &["bucket create s3v/objects --layout OBJECT_STORE"],
        name: "s3v/objects",
        other_name: "s3v/objects",
        s3_name: "objects",
        has_paths: false,
    });
}

#[test]
fn what_one_door_changes_through_a_bucket_link_every_other_shows_at_once() {
    matrix(&Row {
        made_by: &[
            "volume create vol",
            "bucket create vol/source --layout FILE_SYSTEM_OPTIMIZED",
            "bucket link vol/source s3v/link",
        ],
        name: "vol/source",
        other_name: "s3v/link",
        s3_name: "link",
        has_paths: true,
    });
}

/// Nothing, what rides in the OM's log, what takes a block, and what takes several chunks.
const SIZES: [usize; 4] = [5, 20_000, 0, (1 << 20) + 1];
/// Where the keys are.
const DIR: &str = "dir";

/// Every door writes over what every door has written, and so for renaming and deleting.
fn matrix(row: &Row) {
    let cluster = Cluster::start(ClusterOptions::default());
    let s3 = S3::of(&cluster, "bilbo");
    // The gateway makes its volume with the first bucket.
    assert_eq!(s3.ask("PUT", "/first", b"").status, 200);
    for command in row.made_by {
        let words: Vec<_> = ["sh"].into_iter().chain(command.split(' ')).collect();
        let output = cluster.ozone(&words);
        assert!(output.status.success(), "{command}: {output:?}");
    }
    let second = cluster.mount_again();
    let mut doors: Vec<Box<dyn Door + '_>> = vec![
        Box::new(Mount {
            name: "the mount",
            bucket: cluster.mountpoint().join(row.name),
        }),
        Box::new(Mount {
            name: "the second mount",
            bucket: second.path().join(row.other_name),
        }),
        Box::new(Shell {
            cluster: &cluster,
            bucket: row.name.to_owned(),
        }),
        Box::new(Gateway {
            s3,
            bucket: row.s3_name.to_owned(),
        }),
    ];
    if row.has_paths {
        doors.push(Box::new(OzoneFs {
            cluster: &cluster,
            bucket: format!("/{}", row.other_name),
        }));
    }
    let doors = Doors(doors);
    let count = doors.0.len();
    for first in 0..count {
        for second in 0..count {
            doors.round(first, second);
        }
    }
}

struct Doors<'a>(Vec<Box<dyn Door + 'a>>);

impl Doors<'_> {
    /// One key's life: `first` makes it, `second` writes over it. Over all rounds, each door renames what each has
    /// written, and deletes what each has renamed.
    fn round(&self, first: usize, second: usize) {
        let count = self.0.len();
        let [writer, over, renamer, deleter] =
            [first, second, first + second, first + 2 * second].map(|n| &*self.0[n % count]);
        let size = |n: usize| SIZES[(first + n) % SIZES.len()];
        let seed = (first * count + second) as u64 * 2;
        let key = format!("{DIR}/key-{first}-{second}");
        let moved = format!("{DIR}/moved-{first}-{second}");
        let [old, new] = [bytes(seed, size(second)), bytes(seed + 1, size(second + 1))];

        // That there is nothing is cached, and what is in the directory.
        self.all_show(&key, &moved, [None, None], "before it is made");
        writer.write(&key, &old);
        let when = format!("written by {}", writer.name());
        self.all_show(&key, &moved, [Some(&old), None], &when);
        over.write(&key, &new);
        let when = format!("{when}, overwritten by {}", over.name());
        self.all_show(&key, &moved, [Some(&new), None], &when);
        renamer.rename(&key, &moved);
        let when = format!("{when}, renamed by {}", renamer.name());
        self.all_show(&key, &moved, [None, Some(&new)], &when);
        deleter.delete(&moved);
        let when = format!("{when}, deleted by {}", deleter.name());
        self.all_show(&key, &moved, [None, None], &when);
    }

    /// Looks through all doors, which leaves warm what a door caches of it.
    fn all_show(&self, key: &str, moved: &str, wanted: [Option<&[u8]>; 2], when: &str) {
        let names = [key, moved].into_iter().zip(wanted);
        let there = names.filter(|(_, data)| data.is_some());
        let listed: BTreeSet<String> = there
            .map(|(name, _)| name.rsplit('/').next().unwrap().to_owned())
            .collect();
        for door in &self.0 {
            let name = door.name();
            for (key, wanted) in [key, moved].into_iter().zip(wanted) {
                let found = door.read(key);
                assert!(
                    found.as_deref() == wanted,
                    "{key} {when}: {name} shows {:?} bytes, not {:?}",
                    found.map(|data| data.len()),
                    wanted.map(<[u8]>::len)
                );
            }
            assert_eq!(door.list(DIR), listed, "{key} {when}: {name}");
        }
    }
}
