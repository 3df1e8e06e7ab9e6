//! A disk that can lose power: ext4 in an image, shut down without its journal being written.
//!
//! `kill -9` leaves the page cache to the kernel, and so proves nothing about fsync. Here whatever
//! was not fsynced is lost, as it is when a machine loses power.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use tempfile::TempDir;

use crate::Cluster;
use crate::shell::run;
use crate::wait::wait_for;

/// Size of an image where nobody asks for another; it takes only what is written.
const IMAGE_BYTES: u64 = 8 << 30;
/// What the kernel counts a disk's writes in.
const SECTOR: u64 = 512;
/// Shut down without writing the journal.
const GOING_FLAGS_NOLOGFLUSH: u32 = 2;

#[allow(unsafe_code, missing_docs)]
mod ioctl {
    // `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)`.
    nix::ioctl_read!(ext4_shutdown, b'X', 125, u32);
}

/// A disk of its own, mounted. Dropping it unmounts and removes it.
pub struct PowerDisk {
    temp: TempDir,
}

impl PowerDisk {
    /// Makes and mounts the disk.
    pub fn new() -> Self {
        Self::sized(IMAGE_BYTES)
    }

    /// Makes and mounts a disk of a size, for what happens when it is full.
    pub fn sized(bytes: u64) -> Self {
        assert_root();
        let temp = tempfile::Builder::new()
            .prefix("ozone-power-")
            .tempdir()
            .expect("a temporary directory");
        let image = temp.path().join("image");
        let file = File::create(&image).expect("an image");
        file.set_len(bytes).expect("the size of the image");
        fs::create_dir(temp.path().join("disk")).expect("a mount point");
        run(temp.path(), "mkfs.ext4", &["-q", "-F", "image"]);
        let disk = Self { temp };
        disk.mount();
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.temp.path().join("disk")
    }

    /// Takes room until only `bytes` are left.
    pub fn leave(&self, bytes: u64) {
        let stat = nix::sys::statvfs::statvfs(&self.path()).expect("the room on the disk");
        let available = stat.blocks_available() * stat.fragment_size();
        self.take(available.saturating_sub(bytes));
    }

    /// Takes room: a file of `bytes`, or of all that is free where there is less. Give it back with
    /// [`Self::free`].
    pub fn take(&self, bytes: u64) {
        let mut file = File::create(self.ballast()).expect("a file that takes room");
        let piece = vec![0x55; 64 << 10];
        for _ in 0..bytes.div_ceil(piece.len() as u64) {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(full) if full.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("taking room: {error}"),
            }
        }
    }

    /// Gives back the room that was taken.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("the file that takes room");
    }

    /// Bytes that have been written to the disk since it got power, as the disk itself counts them.
    pub fn written(&self) -> u64 {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("the table of mounts");
        let path = self.path();
        let line = mounts
            .lines()
            .find(|line| line.split(' ').nth(1) == path.to_str());
        let device = line.and_then(|line| line.strip_prefix("/dev/")?.split(' ').next());
        let device = device.expect("a disk that is mounted");
        let stat = fs::read_to_string(format!("/sys/block/{device}/stat")).expect("its numbers");
        let sectors = stat.split_whitespace().nth(6).expect("sectors written");
        SECTOR * sectors.parse::<u64>().expect("a number")
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Kills the cluster that lives on this disk, takes the power from the disk, and gives it back:
    /// what was not fsynced is gone.
    pub fn power_cut(&self, cluster: &mut Cluster) {
        assert!(
            cluster.dir().starts_with(self.path()),
            "the cluster lives on another disk"
        );
        cluster.kill9();
        self.cut();
    }

    /// Takes the power from the disk and gives it back.
    pub fn cut(&self) {
        self.fail();
        self.mend();
    }

    /// From now on the disk does nothing any more: whoever uses it gets errors.
    pub fn fail(&self) {
        shutdown(&self.path());
    }

    /// Gives back a disk that has failed, with what was fsynced. Nobody may use it.
    pub fn mend(&self) {
        // A child of another test may have a descriptor of it, until it executes its program.
        wait_for(Duration::from_secs(10), || {
            umount2(&self.path(), MntFlags::empty())
                .map_err(|e| format!("unmounting the dead disk: {e}"))
        });
        self.mount();
    }

    fn mount(&self) {
        // Needs root and a loop device: the message of mount(8) says which is missing.
        run(
            self.temp.path(),
            "mount",
            &["-t", "ext4", "-o", "loop", "image", "disk"],
        );
    }
}

impl Default for PowerDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PowerDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.path(), MntFlags::MNT_DETACH);
    }
}

/// Panics where disks cannot be mounted.
pub fn assert_root() {
    assert!(
        nix::unistd::Uid::effective().is_root(),
        "this test mounts disks of its own, which takes root and loop devices: run it as root"
    );
}

/// Stops the filesystem at `path` at once. Nothing that is not on the disk yet gets there any more.
#[allow(unsafe_code)]
fn shutdown(path: &Path) {
    let dir = File::open(path).expect("the root of the disk");
    let mut flags = GOING_FLAGS_NOLOGFLUSH;
    // SAFETY: the descriptor is open, and the kernel reads one u32 behind a pointer that is valid.
    let done = unsafe { ioctl::ext4_shutdown(dir.as_raw_fd(), &raw mut flags) };
    done.expect("EXT4_IOC_SHUTDOWN");
}
