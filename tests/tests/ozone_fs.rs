//! `ozone fs` on a mounted cluster: what one shows, the other shows too, and scripts for Hadoop's shell find
//! the output, the error lines and the exit codes that they look for.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use ozone_tests::content::bytes;
use ozone_tests::ozone_fs::{code, fs_with, ok, refused};
use ozone_tests::{Cluster, ClusterOptions};

fn set_time(path: &Path, seconds: u64) {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    File::open(path).unwrap().set_modified(at).unwrap();
}

fn names(path: &Path) -> (String, String) {
    let meta = fs::metadata(path).unwrap();
    let user = nix::unistd::User::from_uid(meta.uid().into()).unwrap();
    let group = nix::unistd::Group::from_gid(meta.gid().into()).unwrap();
    (user.unwrap().name, group.unwrap().name)
}

#[test]
fn what_the_mount_writes_ozone_fs_lists_and_reads() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    fs::create_dir(bucket.join("dir")).unwrap();
    fs::write(bucket.join("small"), "content\n").unwrap();
    fs::write(bucket.join("dir/large"), vec![7; 3 << 20]).unwrap();
    fs::set_permissions(bucket.join("small"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(bucket.join("dir"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(bucket.join("dir/large"), fs::Permissions::from_mode(0o644)).unwrap();
    set_time(&bucket.join("dir/large"), 1_500_000_000);
    set_time(&bucket.join("small"), 1_700_000_000);
    set_time(&bucket.join("dir"), 1_600_000_000);

    let (user, group) = names(&bucket.join("small"));
    let listed = ok(&cluster, &["-ls", "/vol/bucket"]);
    let expected = format!(
        "Found 2 items\n\
         drwxrwxrwt   - {user} {group}          0 2020-09-13 14:26 /vol/bucket/dir\n\
         -rw-r-----   1 {user} {group}          8 2023-11-15 00:13 /vol/bucket/small\n"
    );
    assert_eq!(listed, expected);
    let om = format!("ofs://{}/vol/bucket", cluster.om_address());
    let tree = ok(&cluster, &["-ls", "-R", "-h", &om]);
    let expected = format!(
        "drwxrwxrwt   - {user} {group}          0 2020-09-13 14:26 {om}/dir\n\
         -rw-r--r--   1 {user} {group}        3 M 2017-07-14 04:40 {om}/dir/large\n\
         -rw-r-----   1 {user} {group}          8 2023-11-15 00:13 {om}/small\n"
    );
    assert_eq!(tree, expected);
    let o3fs = format!("o3fs://bucket.vol.{}", cluster.om_address());
    let paths = ok(&cluster, &["-ls", "-C", "-t", "-r", &o3fs]);
    assert_eq!(paths, format!("{o3fs}/dir\n{o3fs}/small\n"));
    assert_eq!(
        ok(&cluster, &["-ls", "-C", "-S", "/vol/bucket/dir"]),
        "/vol/bucket/dir/large\n"
    );
    assert_eq!(
        ok(&cluster, &["-ls", "-C", "-d", "/vol/bucket/dir/"]),
        "/vol/bucket/dir\n"
    );
    assert_eq!(ok(&cluster, &["-ls", "-C", "/"]), "/vol\n");
    assert_eq!(
        ok(&cluster, &["-fs", &o3fs, "-ls", "-C", "/"]),
        "/dir\n/small\n"
    );
    assert_eq!(
        ok(
            &cluster,
            &["-D", &format!("fs.defaultFS={o3fs}"), "-cat", "/small"]
        ),
        "content\n"
    );

    assert_eq!(
        ok(
            &cluster,
            &["-cat", "/vol/bucket/small", "/vol/bucket/small"]
        ),
        "content\ncontent\n"
    );
    assert_eq!(ok(&cluster, &["-text", "/vol/bucket/sm*"]), "content\n");
    let stat = ok(
        &cluster,
        &[
            "-stat",
            "%n %b %F %a %u %y",
            "/vol/bucket/small",
            "/vol/bucket/dir",
        ],
    );
    let expected = format!(
        "small 8 regular file 640 {user} 2023-11-14 22:13:20\n\
         dir 0 directory 1777 {user} 2020-09-13 12:26:40\n"
    );
    assert_eq!(stat, expected);
    let got = cluster.scratch().join("got");
    ok(&cluster, &["-get", "/vol/bucket", got.to_str().unwrap()]);
    assert_eq!(fs::read(got.join("dir/large")).unwrap(), vec![7; 3 << 20]);
    assert_eq!(fs::read(got.join("small")).unwrap(), b"content\n");
}

#[test]
fn what_ozone_fs_writes_the_mount_reads() {
    let cluster = Cluster::start(ClusterOptions::default());
    ok(&cluster, &["-mkdir", "-p", "/vol/bucket/a/b"]);
    let bucket = cluster.mountpoint().join("vol/bucket");
    assert!(bucket.join("a/b").is_dir());
    let source = cluster.scratch().join("source");
    fs::create_dir_all(source.join("sub")).unwrap();
    fs::write(source.join("sub/empty"), "").unwrap();
    fs::write(source.join("one"), "one").unwrap();
    let large = bytes(1, 5 << 20);
    fs::write(source.join("large"), &large).unwrap();
    let source = source.to_str().unwrap();
    assert_eq!(ok(&cluster, &["-put", source, "/vol/bucket/a"]), "");
    assert_eq!(fs::read(bucket.join("a/source/large")).unwrap(), large);
    assert_eq!(fs::read(bucket.join("a/source/sub/empty")).unwrap(), b"");
    let piped = fs_with(
        &cluster,
        &["-put", "-", "/vol/bucket/piped"],
        b"from a pipe",
    );
    assert!(piped.status.success(), "{piped:?}");
    assert_eq!(fs::read(bucket.join("piped")).unwrap(), b"from a pipe");

    // Replaced, copied, moved and removed by one, seen at once by the other.
    let one = format!("{source}/one");
    let exists = refused(&cluster, 1, &["-put", &one, "/vol/bucket/piped"]);
    assert_eq!(exists, "put: `/vol/bucket/piped': File exists\n");
    ok(&cluster, &["-put", "-f", &one, "/vol/bucket/piped"]);
    assert_eq!(fs::read(bucket.join("piped")).unwrap(), b"one");
    ok(&cluster, &["-mkdir", "/other", "/other/bucket"]);
    ok(
        &cluster,
        &[
            "-cp",
            "-p",
            "/vol/bucket/a/source",
            "/vol/bucket/piped",
            "/other/bucket",
        ],
    );
    let other = cluster.mountpoint().join("other/bucket");
    assert_eq!(fs::read(other.join("source/large")).unwrap(), large);
    assert_eq!(fs::read(other.join("piped")).unwrap(), b"one");
    ok(
        &cluster,
        &[
            "-mv",
            "/vol/bucket/a/source/sub",
            "/vol/bucket/piped",
            "/vol/bucket/a/b",
        ],
    );
    assert!(bucket.join("a/b/sub/empty").exists() && !bucket.join("piped").exists());
    ok(&cluster, &["-touchz", "/vol/bucket/new"]);
    assert_eq!(fs::read(bucket.join("new")).unwrap(), b"");
    assert_eq!(
        ok(
            &cluster,
            &[
                "-rm",
                "/vol/bucket/n?w",
                "/vol/bucket/a/{source/one,b/piped}"
            ]
        ),
        "Deleted /vol/bucket/n?w\n".replace("n?w", "new")
            + "Deleted /vol/bucket/a/b/piped\nDeleted /vol/bucket/a/source/one\n"
    );
    assert!(!bucket.join("new").exists() && !bucket.join("a/source/one").exists());
    assert_eq!(
        ok(&cluster, &["-rm", "-r", "/vol/bucket/a"]),
        "Deleted /vol/bucket/a\n"
    );
    assert_eq!(fs::read_dir(&bucket).unwrap().count(), 0);
    ok(&cluster, &["-moveFromLocal", source, "/vol/bucket"]);
    assert!(!Path::new(source).exists());
    assert_eq!(fs::read(bucket.join("source/large")).unwrap(), large);
    ok(&cluster, &["-rm", "-r", "-skipTrash", "/vol/bucket"]);
    ok(&cluster, &["-rmdir", "/vol"]);
    assert_eq!(ok(&cluster, &["-ls", "-C", "/"]), "/other\n");
}

/// A command, and the only line that it says; none where it succeeds. `OM` is the address of the cluster.
const ERRORS: &str = "
-ls OM/vol/bucket/none            => ls: `OM/vol/bucket/none': No such file or directory
-ls /none                         => ls: `/none': No such file or directory
-ls /vol/none                     => ls: `/vol/none': No such file or directory
-ls s3a://x/y                     => ls: No FileSystem for scheme \"s3a\"
-cat /vol/bucket/n*               => cat: `/vol/bucket/n*': No such file or directory
-cat /vol/bucket/file/x           => cat: `/vol/bucket/file/x': No such file or directory
-cat /vol/bucket/dir              => cat: `/vol/bucket/dir': Is a directory
-mkdir /vol/bucket/dir            => mkdir: `/vol/bucket/dir': File exists
-mkdir -p /vol/bucket/dir         =>
-mkdir -p /vol/bucket/file        => mkdir: `/vol/bucket/file': Is not a directory
-mkdir OM/vol/bucket/x/y          => mkdir: `OM/vol/bucket/x': No such file or directory
-touchz /vol/bucket/x/y           => touchz: `/vol/bucket/x/y': No such file or directory: `ofs:///vol/bucket/x/y'
-touchz /vol/bucket/file          => touchz: `/vol/bucket/file': Not a zero-length file
-put /etc/hostname /vol/x         => put: Cannot create file under root or volume.
-put /no/such/file /vol/bucket    => put: `/no/such/file': No such file or directory
-put /etc/hostname /vol/bucket/x/ => put: `/vol/bucket/x/': No such file or directory: `ofs:///vol/bucket/x'
-rm /vol/bucket/dir               => rm: `/vol/bucket/dir': Is a directory
-rm /vol/bucket/none              => rm: `/vol/bucket/none': No such file or directory
-rm -f /vol/bucket/none /n*       =>
-rmdir /vol/bucket/dir            => rmdir: `/vol/bucket/dir': Directory is not empty
-rmdir /vol/bucket/file           => rmdir: `/vol/bucket/file': Is not a directory
-mv /vol/bucket/file /vol/bucket/dir/sub =>
-mv /vol/bucket/file /vol/bucket/x       => mv: `/vol/bucket/file': No such file or directory
-mv /vol/bucket/dir /vol/bucket/dir/sub  => mv: `/vol/bucket/dir' to `/vol/bucket/dir/sub/dir': is a subdirectory of itself
-mv /vol/bucket/dir /vol/other    => mv: Cannot rename across different volumes or buckets
-moveToLocal /a /b                => moveToLocal: Option '-moveToLocal' is not implemented yet.
";

/// A question, and the exit code that answers it.
const QUESTIONS: &str = "
-test -d /vol/bucket => 0
-test -d /vol/bucket/dir/sub/file => 1
-test -f /vol/bucket/dir/sub/file => 0
-test -e /vol/bucket/none => 1
-test -e /none/bucket/none => 1
-test -s /vol/bucket/dir/sub/file => 0
-test -z /vol/bucket/dir/sub/file => 1
-test -w /vol/bucket/dir/sub/file => 0
-test -x /vol/bucket => 255
";

#[test]
fn errors_are_hadoops_and_so_are_the_exit_codes() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    let other = cluster.bucket("vol", "other");
    fs::write(bucket.join("file"), "x").unwrap();
    fs::create_dir_all(bucket.join("dir/sub")).unwrap();
    let errors = ERRORS.replace("OM", &format!("ofs://{}", cluster.om_address()));
    for (line, expected) in errors.lines().filter_map(|line| line.split_once("=>")) {
        let words: Vec<_> = line.split_whitespace().collect();
        let expected = expected.trim();
        let text = refused(&cluster, i32::from(!expected.is_empty()), &words);
        assert_eq!(text.trim_end(), expected, "{line}");
    }
    for (line, expected) in QUESTIONS.lines().filter_map(|line| line.split_once("=>")) {
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(
            code(&cluster, &words).to_string(),
            expected.trim(),
            "{line}"
        );
    }
    assert_eq!(fs::read_dir(other).unwrap().count(), 0);
    // What can be done is done.
    let words = ["-cat", "/vol/bucket/none", "/vol/bucket/dir/sub/file"];
    let some = fs_with(&cluster, &words, b"");
    assert_eq!(some.status.code(), Some(1));
    assert_eq!(some.stdout, b"x");
    let whole = refused(&cluster, 1, &["-rm", "-r", "/vol/bucket"]);
    assert!(
        whole.contains("Consider using -skipTrash option"),
        "{whole}"
    );
    let volume = refused(&cluster, 1, &["-rm", "-r", "-skipTrash", "/vol"]);
    let expected = "Recursive volume delete using ofs is not supported";
    assert!(volume.contains(expected), "{volume}");
    let name = refused(&cluster, 1, &["-mkdir", "/UPPER"]);
    assert!(name.starts_with("mkdir: INVALID_VOLUME_NAME"), "{name}");
    assert!(bucket.join("dir/sub/file").exists());
}

#[test]
fn a_line_that_makes_no_sense_is_answered_with_the_usage() {
    let cluster = Cluster::start(ClusterOptions::default());
    let usage = refused(&cluster, 255, &["-ls", "-z", "/vol"]);
    let start = "-ls: Illegal option -z\nUsage: ozone fs [generic options]\n";
    assert!(usage.starts_with(start), "{usage}");
    let end = "-ls [-C] [-d] [-h] [-q] [-R] [-t] [-S] [-r] [-u] [-e] [<path> ...]\n";
    assert!(usage.ends_with(end), "{usage}");
    let unknown = refused(&cluster, 255, &["-lss"]);
    assert!(unknown.starts_with("-lss: Unknown command\n"), "{unknown}");
    let dash = refused(&cluster, 255, &["ls"]);
    assert!(dash.contains("Did you mean -ls?"), "{dash}");
    assert!(refused(&cluster, 255, &[]).starts_with("Usage: ozone fs"));
    assert!(ok(&cluster, &["-help", "ls"]).starts_with("-ls [-C] [-d]"));
    let usage = ok(&cluster, &["-usage", "rm"]);
    assert!(
        usage.starts_with("Usage: ozone fs [generic options] -rm "),
        "{usage}"
    );
}

#[test]
fn a_snapshot_is_read_by_its_path_and_never_changed() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    fs::create_dir(bucket.join("dir")).unwrap();
    fs::write(bucket.join("dir/file"), "then").unwrap();
    let om = format!("ofs://{}/vol/bucket", cluster.om_address());
    let made = ok(&cluster, &["-createSnapshot", &om, "snap"]);
    assert_eq!(made, format!("Created snapshot {om}/.snapshot/snap\n"));
    fs::write(bucket.join("dir/file"), "now").unwrap();
    fs::write(bucket.join("dir/new"), "now").unwrap();
    let past = "/vol/bucket/.snapshot";
    assert_eq!(ok(&cluster, &["-ls", "-C", past]), format!("{past}/snap\n"));
    let tree = ok(&cluster, &["-ls", "-C", "-R", &format!("{past}/snap")]);
    assert_eq!(tree, format!("{past}/snap/dir\n{past}/snap/dir/file\n"));
    let file = format!("{past}/snap/dir/file");
    assert_eq!(ok(&cluster, &["-cat", &file]), "then");
    assert_eq!(
        ok(&cluster, &["-cat", "/vol/bucket/.snapshot/s*/d*/f*"]),
        "then"
    );
    assert_eq!(
        ok(&cluster, &["-ls", "-C", "/vol/bucket"]),
        "/vol/bucket/dir\n"
    );
    assert_eq!(code(&cluster, &["-test", "-d", past]), 0);
    for words in [
        vec!["-put", "-f", "/etc/hostname", &file],
        vec!["-rm", &file],
        vec!["-rm", "-r", "-skipTrash", past],
        vec!["-mkdir", "-p", &format!("{past}/snap/new")],
        vec!["-mkdir", &format!("{past}/new")],
        vec!["-touchz", &format!("{past}/snap/new")],
        vec!["-mv", &file, &format!("{past}/snap/moved")],
        vec!["-mv", &file, "/vol/bucket/moved"],
        vec!["-touch", &file],
    ] {
        let text = refused(&cluster, 1, &words);
        assert!(text.contains("Read-only file system"), "{words:?}: {text}");
    }
    ok(&cluster, &["-cp", "-f", &file, "/vol/bucket/dir/file"]);
    assert_eq!(fs::read(bucket.join("dir/file")).unwrap(), b"then");
    assert!(
        refused(&cluster, 1, &["-rm", "-r", "-skipTrash", "/vol/bucket"])
            .contains("CONTAINS_SNAPSHOT")
    );
    assert!(bucket.join("dir/file").exists(), "nothing was deleted");
    assert!(
        refused(&cluster, 1, &["-deleteSnapshot", &om, "none"])
            .contains("No such file or directory")
    );
    ok(&cluster, &["-deleteSnapshot", &om, "snap"]);
    assert_eq!(ok(&cluster, &["-ls", past]), "");
}

#[test]
fn a_large_directory_is_listed_whole_and_in_order() {
    let cluster = Cluster::start(ClusterOptions::default());
    let dir = cluster.bucket("vol", "bucket").join("dir");
    fs::create_dir(&dir).unwrap();
    let names: Vec<_> = (0..2500).map(|n| format!("{n:04}")).collect();
    for name in &names {
        fs::write(dir.join(name), "").unwrap();
    }
    fs::create_dir(dir.join("1000x")).unwrap();
    fs::write(dir.join("1000x/in"), "").unwrap();
    let tree = ok(&cluster, &["-ls", "-C", "-R", "/vol/bucket/dir"]);
    let mut expected: Vec<_> = names.iter().map(String::as_str).collect();
    expected.splice(1001..1001, ["1000x", "1000x/in"]);
    let listed: Vec<_> = tree
        .lines()
        .map(|line| &line["/vol/bucket/dir/".len()..])
        .collect();
    assert_eq!(listed, expected);
    let flat = ok(&cluster, &["-ls", "/vol/bucket/dir"]);
    assert!(flat.starts_with("Found 2501 items\n"));
    assert_eq!(flat.lines().count(), 2502);
    let removed = ok(&cluster, &["-rm", "-r", "/vol/bucket/dir/[01]*"]);
    assert_eq!(removed.lines().count(), 2001);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 500);
}

/// Writes the text, as it is and in the compressions that Hadoop knows by the bytes or by the name.
const COMPRESS: &str = "
import bz2, gzip, sys, zlib
text = open('text', 'rb').read()
half = len(text) // 2
put = lambda name, data: open(name, 'wb').write(data)
put('gzip', gzip.compress(text[:half]) + gzip.compress(text[half:]))
put('a.bz2', bz2.compress(text[:half]) + bz2.compress(text[half:]))
put('a.deflate', zlib.compress(text))
put('cut', gzip.compress(text)[:-40])
put('SEQ', b'SEQ' + bytes([6]))
";

#[test]
fn text_is_what_was_compressed() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    let text: String = (0..200_000).map(|n| format!("line {n}\n")).collect();
    fs::write(bucket.join("text"), &text).unwrap();
    let status = std::process::Command::new("python3")
        .args(["-c", COMPRESS])
        .current_dir(&bucket)
        .status()
        .unwrap();
    assert!(status.success());
    for name in ["text", "gzip", "a.bz2", "a.deflate"] {
        let printed = ok(&cluster, &["-text", &format!("/vol/bucket/{name}")]);
        assert!(printed == text, "{name}: {} bytes", printed.len());
    }
    for (name, why) in [
        ("cut", ""),
        ("SEQ", "sequence files"),
        ("none", "No such file"),
    ] {
        let path = format!("/vol/bucket/{name}");
        let error = refused(&cluster, 1, &["-text", &path]);
        assert!(error.contains(why) && error.contains(&path), "{error}");
    }
}

#[test]
fn a_reader_that_has_enough_ends_a_command_without_a_lecture() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    fs::write(bucket.join("large"), vec![7; 8 << 20]).unwrap();
    let mut child = ozone_tests::ozone_fs::command(&cluster)
        .args(["-cat", "/vol/bucket/large"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.starts_with("cat: Unable to write to output stream"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}
