//! Mounting and unmounting: from a client and an empty directory to a filesystem, and back without
//! losing what was written.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, umount2};
use nix::unistd::Uid;
use ozone_client::Client;
use tokio::sync::watch;

use crate::errno::FsError;
use crate::fuse::Fuse;
use crate::fuse::apart::Apart;
use crate::fuse::kernel::Kernel;
use crate::guard::Guard;
use crate::mountpoint;
use crate::options::MountOptions;
use crate::vfs::{Vfs, VfsOptions};

/// Why a mount or an unmount was not done.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// There is nothing at the path.
    #[error("mount point {} does not exist: create the directory first", .0.display())]
    Missing(PathBuf),
    /// There is something else than a directory.
    #[error("mount point {} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// The directory holds files, which the mount would hide.
    #[error("mount point {} is not empty (it holds {name:?}): use an empty directory, or -o nonempty to hide what is there", path.display())]
    NotEmpty {
        /// The mount point.
        path: PathBuf,
        /// Something in it.
        name: String,
    },
    /// A filesystem is mounted there already.
    #[error("a filesystem of type {kind} is already mounted at {}: unmount it first (umount {})", path.display(), path.display())]
    Mounted {
        /// The mount point.
        path: PathBuf,
        /// Type of the filesystem.
        kind: String,
    },
    /// The process behind a mount there has died.
    #[error("a dead mount is left at {}: remove it with 'umount -l {}'", .0.display(), .0.display())]
    Dead(PathBuf),
    /// Whoever serves what is mounted there is stuck, or what is left of it is.
    #[error(
        "mount point {} does not answer: if the process behind what is mounted there is stuck, 'umount -f {}' ends it, \
         with what was not committed",
        .0.display(), .0.display()
    )]
    Silent(PathBuf),
    /// The mount is gone, and not everything was committed before.
    #[error("{} is unmounted, and something that was written there could not be committed: it is lost", .0.display())]
    Lost(PathBuf),
    /// The path cannot be looked at.
    #[error("mount point {}: {error}", path.display())]
    Unreadable {
        /// The mount point.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The kernel has no FUSE.
    #[error(
        "/dev/fuse does not exist: load the kernel's fuse module (modprobe fuse), or pass the device into the container (--device /dev/fuse)"
    )]
    NoFuse,
    /// This process may not open the kernel's FUSE.
    #[error(
        "/dev/fuse may not be opened: {0}: allow it to this user (chmod 666 /dev/fuse, as is usual), or \
         run the container with --device /dev/fuse --cap-add SYS_ADMIN"
    )]
    FuseForbidden(io::Error),
    /// The user may not mount.
    #[error("no permission to mount at {}: {reason}", path.display())]
    Permission {
        /// The mount point.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// The kernel refused.
    #[error("cannot mount at {}: {error}", path.display())]
    Kernel {
        /// The mount point.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// An option of `-o` that does not exist or has a bad value.
    #[error("mount option {option:?} is not understood: expected {expected}")]
    Option {
        /// As given.
        option: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Programs have files open or a working directory on the mount.
    #[error("{} is in use: end the programs that use it ('fuser -vm {}' lists them)", .0.display(), .0.display())]
    InUse(PathBuf),
    /// The cluster could not be asked.
    #[error("cannot open a session with the cluster: {0}")]
    Cluster(#[from] FsError),
}

/// A mounted filesystem. Dropping it leaves the mount as it is.
pub struct MountedFs {
    path: PathBuf,
    vfs: Arc<Vfs>,
    /// Set when the mount is gone: whether everything was committed.
    ended: watch::Receiver<Option<bool>>,
}

/// How long the kernel may take to say what a mount point is.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether `mountpoint` can be mounted on, before there is anything to mount.
pub async fn check(mountpoint: &Path, options: &MountOptions) -> Result<PathBuf, MountError> {
    let (path, nonempty) = (mountpoint.to_owned(), options.nonempty);
    let looked = blocking(move || {
        let path = mountpoint::check(&path, nonempty)?;
        check_fuse()?;
        Ok(path)
    });
    let looked = tokio::time::timeout(PATIENCE, looked).await;
    looked.unwrap_or_else(|_| Err(MountError::Silent(mountpoint.to_owned())))
}

/// Mounts the namespace that `client` reaches at `mountpoint`.
pub async fn mount(
    client: Client,
    mountpoint: &Path,
    options: MountOptions,
) -> Result<MountedFs, MountError> {
    let path = check(mountpoint, &options).await?;
    let vfs = Vfs::start(client, vfs_options(&path, &options)).await?;
    let fuse = Fuse::new(vfs.clone());
    let guard = options.guard.clone();
    let (session, apart) = match start(path.clone(), options, fuse).await {
        Ok(started) => started,
        Err(error) => {
            vfs.shutdown().await;
            return Err(error);
        }
    };
    let device = apart.device();
    let notifier = session.notifier();
    vfs.set_kernel(Arc::new(Kernel { notifier, apart }));
    let guard = match guard {
        Some(program) => start_guard(program, device).await,
        None => None,
    };
    let (sender, ended) = watch::channel(None);
    tokio::spawn(supervise((session, guard), vfs.clone(), sender));
    tracing::info!(mountpoint = %path.display(), "mounted");
    Ok(MountedFs { path, vfs, ended })
}

/// Without a guard a mount does all that it does, until it is killed.
async fn start_guard(program: PathBuf, device: io::Result<OwnedFd>) -> Option<Guard> {
    let started = move || {
        let guard = device.and_then(|device| Guard::start(&program, device));
        let warn = |error: &io::Error| {
            tracing::warn!(%error, program = %program.display(), "nobody guards the mount: a kill may leave it");
        };
        guard.inspect_err(warn).ok()
    };
    tokio::task::spawn_blocking(started).await.ok().flatten()
}

fn vfs_options(path: &Path, options: &MountOptions) -> VfsOptions {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let description = format!(
        "mount {} on {} (pid {})",
        path.display(),
        host.display(),
        std::process::id()
    );
    VfsOptions {
        description,
        dirty_limit: options.dirty_limit,
        ttl: options.ttl,
        pass_through: !options.verify_always,
    }
}

/// Looks whether this process gets at the kernel's FUSE.
fn check_fuse() -> Result<(), MountError> {
    let path = || PathBuf::from("/dev/fuse");
    match OpenOptions::new().read(true).write(true).open(path()) {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => Err(MountError::NoFuse),
            Some(libc::EACCES | libc::EPERM) => Err(MountError::FuseForbidden(error)),
            _ => Err(MountError::Unreadable {
                path: path(),
                error,
            }),
        },
    }
}

/// Mounts and starts to take requests.
async fn start(
    path: PathBuf,
    options: MountOptions,
    fuse: Fuse,
) -> Result<(BackgroundSession, Apart), MountError> {
    blocking(move || {
        let session = Session::new(fuse, &path, &config(&options)).and_then(|session| {
            let apart = Apart::start(&session)?;
            Ok((session.spawn()?, apart))
        });
        let session = session.map_err(|error| refused(&path, error))?;
        if let Err(error) = mountpoint::set_read_ahead(&path, options.read_ahead) {
            tracing::warn!(%error, "the kernel reads ahead as it does by default: sequential reads are slower");
        }
        Ok(session)
    })
    .await
}

fn config(options: &MountOptions) -> Config {
    let pick = |condition, yes, no| if condition { yes } else { no };
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(options.source.clone()),
        // The type shows as fuse.ozone. (`Subtype` of fuser 0.18 does not reach the kernel.)
        MountOption::CUSTOM("subtype=ozone".to_owned()),
        MountOption::DefaultPermissions,
        // Reading leaves the time of access as it is.
        MountOption::NoAtime,
        pick(options.read_only, MountOption::RO, MountOption::RW),
        pick(options.noexec, MountOption::NoExec, MountOption::Exec),
        pick(options.nosuid, MountOption::NoSuid, MountOption::Suid),
        pick(options.nodev, MountOption::NoDev, MountOption::Dev),
    ];
    config.acl = if options.allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    config.n_threads = Some(options.threads);
    config.clone_fd = true;
    config
}

fn refused(path: &Path, error: io::Error) -> MountError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound if !Uid::effective().is_root() => MountError::Permission {
            path,
            reason: "users other than root need the program fusermount3 (package fuse3)".to_owned(),
        },
        io::ErrorKind::PermissionDenied => MountError::Permission {
            path,
            reason: error.to_string(),
        },
        _ => MountError::Kernel { path, error },
    }
}

/// Waits for the end of the mount, however it comes, and commits what is left.
async fn supervise(
    (session, guard): (BackgroundSession, Option<Guard>),
    vfs: Arc<Vfs>,
    ended: watch::Sender<Option<bool>>,
) {
    let joined = tokio::task::spawn_blocking(move || {
        let ended = session.join();
        guard.into_iter().for_each(Guard::end);
        ended
    });
    let joined = joined.await;
    match joined {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "the mount ended with an error"),
        Err(error) => tracing::error!(%error, "the thread of the mount ended with a panic"),
    }
    let whole = vfs.shutdown().await;
    ended.send_replace(Some(whole));
}

impl MountedFs {
    /// The absolute path of the mount point.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Commits everything and unmounts. Fails with [`MountError::InUse`], and stays mounted, while
    /// programs use the mount; and as [`MountedFs::wait`].
    pub async fn unmount(&self) -> Result<(), MountError> {
        if self.ended.borrow().is_none() {
            self.sync().await;
        }
        self.leave_tree(MntFlags::empty()).await
    }

    /// Takes the mount out of the tree, even while programs use it: files that they have open go on working until
    /// they are closed. Returns when the last is, as [`MountedFs::wait`].
    pub async fn detach(&self) -> Result<(), MountError> {
        self.leave_tree(MntFlags::MNT_DETACH).await
    }

    /// Commits everything; false if something could not be. It goes on when nobody waits for it any more: of what is
    /// committed in part, the next who commits would believe that it was committed whole.
    pub async fn sync(&self) -> bool {
        let vfs = self.vfs.clone();
        // Without an outcome it ends with the runtime only.
        let synced = tokio::spawn(async move { vfs.sync().await }).await;
        synced.unwrap_or(false)
    }

    async fn leave_tree(&self, flags: MntFlags) -> Result<(), MountError> {
        if self.ended.borrow().is_none() {
            let path = self.path.clone();
            blocking(move || umount(&path, flags)).await?;
        }
        self.wait().await
    }

    /// Waits until the mount is gone, by [`MountedFs::unmount`] or by umount(8), and everything is
    /// committed. Fails with [`MountError::Lost`] if something could not be, since the mount was told to end.
    pub async fn wait(&self) -> Result<(), MountError> {
        let mut ended = self.ended.clone();
        // An error means that the task behind it is gone, and so is the mount.
        let whole = ended.wait_for(Option::is_some).await.map(|ended| *ended);
        match whole {
            Ok(Some(true)) => Ok(()),
            _ => Err(MountError::Lost(self.path.clone())),
        }
    }
}

fn umount(path: &Path, flags: MntFlags) -> Result<(), MountError> {
    match umount2(path, flags) {
        // Somebody was faster.
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(Errno::EBUSY) => Err(MountError::InUse(path.to_owned())),
        Err(Errno::EPERM) => umount_as_user(path, flags),
        Err(errno) => Err(MountError::Kernel {
            path: path.to_owned(),
            error: errno.into(),
        }),
    }
}

/// Users other than root unmount with the program that mounted for them.
fn umount_as_user(path: &Path, flags: MntFlags) -> Result<(), MountError> {
    let mut command = std::process::Command::new("fusermount3");
    command.arg("-u");
    if flags.contains(MntFlags::MNT_DETACH) {
        command.arg("-z");
    }
    let output = command.arg("--").arg(path).output();
    let output = output.map_err(|error| MountError::Kernel {
        path: path.to_owned(),
        error,
    })?;
    let text = String::from_utf8_lossy(&output.stderr);
    let gone = || matches!(mountpoint::mounted_at(path), Ok(None));
    match output.status.success() {
        true => Ok(()),
        // Somebody was faster.
        false if gone() => Ok(()),
        false if text.contains("busy") => Err(MountError::InUse(path.to_owned())),
        false => Err(MountError::Permission {
            path: path.to_owned(),
            reason: text.trim().to_owned(),
        }),
    }
}

/// Runs what may block on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MountError> + Send + 'static,
) -> Result<T, MountError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| {
            let error = io::Error::other(panic.to_string());
            Err(MountError::Kernel {
                path: PathBuf::new(),
                error,
            })
        })
}
