//! What `-o` says, in the words that mount(8) users know.

use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::Uid;

use crate::mount::MountError;

/// How a namespace is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOptions {
    /// What `/proc/mounts` shows as the source.
    pub source: String,
    /// `ro`: nothing can be changed through the mount.
    pub read_only: bool,
    /// `noexec`.
    pub noexec: bool,
    /// `nosuid`: suid and sgid bits give nothing.
    pub nosuid: bool,
    /// `nodev`: device files cannot be opened.
    pub nodev: bool,
    /// `allow_other`: users other than the one who mounts get in. Modes and owners are checked
    /// either way. Default for root.
    pub allow_other: bool,
    /// `nonempty`: the mount point may hold files, which the mount hides.
    pub nonempty: bool,
    /// `ttl_ms=N`: how long the kernel may believe names and attributes that no lease covers. With 0
    /// (default) every change by other clients is seen at once.
    pub ttl: Duration,
    /// `threads=N`: threads that take requests from the kernel.
    pub threads: usize,
    /// `dirty_mb=N`: most MiB of written data that are not committed; writers wait beyond it.
    pub dirty_limit: usize,
    /// `read_ahead_mb=N`: how far the kernel reads ahead, MiB.
    pub read_ahead: usize,
    /// `verify=always`: every read is verified. Otherwise (`verify=once`, the default) a file that its datanode,
    /// on this machine, has verified as a whole is read by the kernel alone.
    pub verify_always: bool,
    /// The program that guards the mount ([`crate::guard`]); without one, a kill of this process at the wrong moment
    /// leaves it.
    pub guard: Option<PathBuf>,
}

impl Default for MountOptions {
    fn default() -> Self {
        let root = Uid::effective().is_root();
        Self {
            source: "ozone".to_owned(),
            read_only: false,
            noexec: false,
            nosuid: !root,
            nodev: !root,
            allow_other: root,
            nonempty: false,
            ttl: Duration::ZERO,
            threads: 4,
            dirty_limit: 32 << 20,
            read_ahead: 4 << 20,
            verify_always: false,
            guard: None,
        }
    }
}

impl MountOptions {
    /// Takes a list of options as `-o` has it, separated by commas. What only mount(8), fstab(5) or
    /// systemd act on is passed over.
    pub fn apply(&mut self, list: &str) -> Result<(), MountError> {
        list.split(',')
            .map(str::trim)
            .filter(|option| !option.is_empty())
            .try_for_each(|option| self.apply_one(option))
    }

    fn apply_one(&mut self, option: &str) -> Result<(), MountError> {
        let (name, value) = option
            .split_once('=')
            .map_or((option, None), |(name, value)| (name, Some(value)));
        match (name, value) {
            ("ro", None) => self.read_only = true,
            ("rw", None) => self.read_only = false,
            ("exec", None) => self.noexec = false,
            ("noexec", None) => self.noexec = true,
            ("suid", None) => self.nosuid = false,
            ("nosuid", None) => self.nosuid = true,
            ("dev", None) => self.nodev = false,
            ("nodev", None) => self.nodev = true,
            ("allow_other", None) => self.allow_other = true,
            ("noallow_other", None) => self.allow_other = false,
            ("nonempty", None) => self.nonempty = true,
            ("ttl_ms", Some(value)) => self.ttl = Duration::from_millis(number(option, value)?),
            ("threads", Some(value)) => self.threads = at_least_one(option, value)?,
            ("dirty_mb", Some(value)) => self.dirty_limit = mebibytes(option, value)?,
            ("read_ahead_mb", Some(value)) => self.read_ahead = mebibytes(option, value)?,
            ("verify", Some("always")) => self.verify_always = true,
            ("verify", Some("once")) => self.verify_always = false,
            (name, _) if passed_over(name) => {}
            _ => {
                return Err(MountError::Option {
                    option: option.to_owned(),
                    expected: KNOWN,
                });
            }
        }
        Ok(())
    }
}

const KNOWN: &str = "ro, rw, exec, noexec, suid, nosuid, dev, nodev, allow_other, noallow_other, nonempty, \
                     ttl_ms=N, threads=N, dirty_mb=N, read_ahead_mb=N, verify=always or verify=once";

/// Options for others than the filesystem, and those that every mount of this kind has.
fn passed_over(name: &str) -> bool {
    const NAMES: [&str; 17] = [
        "defaults",
        "auto",
        "noauto",
        "user",
        "users",
        "nouser",
        "owner",
        "_netdev",
        "nofail",
        "async",
        "atime",
        "noatime",
        "relatime",
        "norelatime",
        "nodiratime",
        "default_permissions",
        "comment",
    ];
    NAMES.contains(&name) || name.starts_with("x-") || name.starts_with("X-")
}

fn number<T: std::str::FromStr>(option: &str, value: &str) -> Result<T, MountError> {
    value.parse().map_err(|_| MountError::Option {
        option: option.to_owned(),
        expected: "a whole number behind '='",
    })
}

fn at_least_one(option: &str, value: &str) -> Result<usize, MountError> {
    match number(option, value)? {
        0 => Err(MountError::Option {
            option: option.to_owned(),
            expected: "1 or more behind '='",
        }),
        number => Ok(number),
    }
}

fn mebibytes(option: &str, value: &str) -> Result<usize, MountError> {
    at_least_one(option, value)?
        .checked_mul(1 << 20)
        .ok_or_else(|| MountError::Option {
            option: option.to_owned(),
            expected: "fewer MiB than the machine has",
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn parsed(list: &str) -> MountOptions {
        let mut options = MountOptions::default();
        options.apply(list).unwrap();
        options
    }

    #[test]
    fn the_words_of_mount_are_understood() {
        let options = parsed("ro,noexec,nosuid,nodev,nonempty,allow_other");
        assert!(options.read_only && options.noexec && options.nosuid && options.nodev);
        assert!(options.nonempty && options.allow_other);
        let options = parsed("ttl_ms=500, threads=2,dirty_mb=64,read_ahead_mb=1,ro,rw");
        assert_eq!(options.ttl, Duration::from_millis(500));
        assert_eq!(
            (options.threads, options.dirty_limit, options.read_ahead),
            (2, 64 << 20, 1 << 20)
        );
        assert!(!options.read_only);
        assert!(parsed("verify=always").verify_always);
        assert!(!parsed("verify=always,verify=once").verify_always);
    }

    #[test]
    fn what_is_for_others_is_passed_over() {
        assert_eq!(
            parsed("defaults,_netdev,nofail,x-systemd.automount,noatime"),
            MountOptions::default()
        );
        assert_eq!(parsed(""), MountOptions::default());
    }

    #[test]
    fn an_unknown_or_bad_option_is_named() {
        for list in [
            "colour=red",
            "ttl_ms",
            "ttl_ms=soon",
            "threads=0",
            "dirty_mb=-1",
            "ro=1",
            "verify=never",
        ] {
            let error = MountOptions::default().apply(list).unwrap_err().to_string();
            assert!(error.contains(list), "{list}: {error}");
        }
    }
}
