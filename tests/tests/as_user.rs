//! A cluster of a user who is not root: the lines that it ends its summary with work for that user.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use nix::unistd::User;
use ozone_tests::cluster::binary;

/// A user whom every system knows, who owns nothing.
const USER: &str = "nobody";

/// Runs a script in a mount namespace of its own, where everybody may open /dev/fuse, as udev lets them; there as USER
/// in `home`.
fn as_user(home: &Path, script: &str) -> Output {
    let user = User::from_name(USER).unwrap().expect("the user nobody");
    let setup = format!(
        "set -e; mount -t tmpfs -o mode=755 none \"$1\"; mknod -m 666 \"$1/fuse\" c 10 229; \
         mount --bind \"$1/fuse\" /dev/fuse; cd \"$2\"; \
         exec setpriv --reuid {} --regid {} --clear-groups env HOME=\"$2\" bash -c \"$3\"",
        user.uid, user.gid
    );
    let device = home.parent().unwrap().join("device");
    fs::create_dir(&device).unwrap();
    let mut command = Command::new("unshare");
    command.args([
        "-m",
        "--propagation",
        "private",
        "bash",
        "-c",
        &setup,
        "setup",
    ]);
    command.arg(device).arg(home).arg(script);
    command.output().expect("unshare, of util-linux")
}

#[test]
fn a_user_who_starts_a_cluster_makes_the_first_volume_in_its_mount() {
    let scratch = tempfile::tempdir().unwrap();
    let (home, ozone) = (scratch.path().join("home"), scratch.path().join("ozone"));
    fs::set_permissions(scratch.path(), fs::metadata("/usr").unwrap().permissions()).unwrap();
    fs::create_dir(&home).unwrap();
    let user = User::from_name(USER).unwrap().expect("the user nobody");
    chown(&home, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    // Where it was built, that user may not look.
    fs::copy(binary(), &ozone).unwrap();
    let script = format!(
        "mkdir mnt; {} up --auto-ports --datanodes 1 --dir data --mount mnt > said 2>&1 & up=$!
        trap 'kill -9 $up 2>/dev/null || true' EXIT
        for n in $(seq 600); do grep -q ^Ctrl-C said && break; kill -0 $up || break; sleep 0.1; done
        cat said; sed -n '/^Try:/,/^Ctrl-C/{{s/^Try://;/^Ctrl-C/d;p}}' said > lines
        set -e; bash -e lines; stat -c 'root of %U' mnt; stat -c 'file of %U' mnt/vol/bucket/file
        {0} sh --set ozone.om.address=$(sed -n 's/^ *OM *\\([^ ]*\\).*/\\1/p' said) volume info vol
        kill -INT $up; wait $up",
        ozone.display()
    );
    let output = as_user(&home, &script);
    let said = String::from_utf8_lossy(&output.stdout);
    let all = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{all}");
    for words in ["\nhello\n", "root of nobody", "file of nobody"] {
        assert!(said.contains(words), "no {words:?}: {all}");
    }
    assert!(said.contains("\"owner\" : \"nobody\""), "{all}");
    assert_eq!(
        fs::metadata(home.join("data")).unwrap().uid(),
        user.uid.as_raw()
    );
}
