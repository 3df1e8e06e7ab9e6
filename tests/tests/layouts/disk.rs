//! What is in a directory of a server.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ozone_tests::corrupt::find;

/// A properties file.
pub(crate) fn properties(file: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

pub(crate) fn assert_keys(properties: &BTreeMap<String, String>, keys: &[&str]) {
    for key in keys {
        let value = properties.get(*key);
        assert!(
            value.is_some_and(|v| !v.is_empty()),
            "no {key}: {properties:?}"
        );
    }
}

/// Gives a property of a file another value; gives the old one.
pub(crate) fn replace(file: &Path, key: &str, value: &str) -> String {
    let text = fs::read_to_string(file).unwrap();
    let old = properties(file)[key].clone();
    let changed = text.replace(&format!("{key}={old}"), &format!("{key}={value}"));
    fs::write(file, changed).unwrap();
    old
}

pub(crate) fn assert_dirs(base: &Path, dirs: &[&str]) {
    for dir in dirs {
        assert!(
            base.join(dir).is_dir(),
            "no directory {dir} in {}",
            base.display()
        );
    }
}

pub(crate) fn assert_files(base: &Path, files: &[&str]) {
    for file in files {
        let length = fs::metadata(base.join(file)).map(|found| found.len());
        let length = length.unwrap_or_else(|e| panic!("{file} in {}: {e}", base.display()));
        assert!(length > 0, "{file} in {} is empty", base.display());
    }
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap().permissions().mode() & 0o777
}

pub(crate) fn assert_database(dir: &Path) {
    assert_files(dir, &["CURRENT", "IDENTITY"]);
    let is_manifest = |path: &Path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("MANIFEST-")
    };
    assert!(
        !find(dir, &is_manifest).is_empty(),
        "no manifest in {}",
        dir.display()
    );
}

/// The directory of the only Raft group in `storage`.
pub(crate) fn group(storage: &Path) -> PathBuf {
    let groups: Vec<_> = fs::read_dir(storage)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(groups.len(), 1, "{groups:?}");
    let name = groups[0].file_name().unwrap().to_str().unwrap();
    let parts: Vec<_> = name.split('-').map(str::len).collect();
    assert_eq!(parts, [8, 4, 4, 4, 12], "{name} is no UUID");
    groups[0].clone()
}

pub(crate) fn assert_raft_log(group: &Path) {
    assert_dirs(group, &["current", "snapshot"]);
    assert_files(&group.join("current"), &["raft-meta", "raft-meta.conf"]);
    let is_open = |path: &Path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("log_inprogress_")
    };
    assert_eq!(
        find(&group.join("current"), &is_open).len(),
        1,
        "{}",
        group.display()
    );
}

/// The certificate of the authority that certifies servers.
pub(crate) fn sub_authority(scm: &Path) -> PathBuf {
    let certificates = scm.join("sub-ca/certs");
    let mut own = find(&certificates, &|path| {
        let name = path.file_stem().unwrap().to_string_lossy();
        name.parse::<u64>().is_ok()
    });
    assert_eq!(
        own.len(),
        1,
        "one certificate with its serial number for a name: {own:?}"
    );
    own.remove(0)
}

pub(crate) fn assert_authority(scm: &Path) {
    assert_files(
        &scm.join("ca"),
        &[
            "certs/certificate.crt",
            "keys/private.pem",
            "keys/public.pem",
        ],
    );
    let sub = scm.join("sub-ca");
    assert_files(
        &sub,
        &["certs/CA-1.crt", "keys/private.pem", "keys/public.pem"],
    );
    let root = fs::read_to_string(scm.join("ca/certs/certificate.crt")).unwrap();
    assert!(root.starts_with("-----BEGIN CERTIFICATE-----"), "{root}");
    assert_eq!(
        fs::read_to_string(sub.join("certs/CA-1.crt")).unwrap(),
        root
    );
    assert_ne!(fs::read_to_string(sub_authority(scm)).unwrap(), root);
    for authority in ["ca", "sub-ca"] {
        let keys = scm.join(authority).join("keys");
        assert_eq!(mode(&keys.join("private.pem")), 0o600, "{}", keys.display());
        let private = fs::read_to_string(keys.join("private.pem")).unwrap();
        assert!(
            private.starts_with("-----BEGIN PRIVATE KEY-----"),
            "{}",
            keys.display()
        );
    }
    let key = |authority: &str| fs::read(scm.join(authority).join("keys/private.pem")).unwrap();
    assert_ne!(key("ca"), key("sub-ca"));
}
