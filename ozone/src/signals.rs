//! Waiting to be told to stop, and stopping a mount.

use std::time::Duration;

use ozone_fs::MountedFs;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

/// How long what is not committed may take, before a mount is taken from the programs that use it.
const LAST_COMMIT: Duration = Duration::from_secs(5);
/// How long those programs may take to end, once it is out of the tree.
const LAST_CLOSE: Duration = Duration::from_secs(5);

/// Between attempts to unmount what programs still use.
const RETRY: Duration = Duration::from_millis(500);

/// Hears Ctrl-C and SIGTERM from when it is made; before, they end the process at once.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(crate) fn watch() -> Result<Self, String> {
        let watch = |kind| signal(kind).map_err(|e| format!("cannot watch signals: {e}"));
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
        })
    }

    /// Returns once one of them has come.
    pub(crate) async fn told(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Returns at Ctrl-C or SIGTERM.
pub(crate) async fn stop() -> Result<(), String> {
    Stop::watch()?.told().await;
    Ok(())
}

/// Unmounts once the last program has left. Nobody tells when that is.
async fn last_user(mounted: &MountedFs) {
    while mounted.unmount().await.is_err() {
        // By somebody else it may be unmounted at any time.
        let unmounted = timeout(RETRY, mounted.wait()).await;
        if unmounted.is_ok() {
            return;
        }
    }
}

/// Unmounts. While programs use the mount, says so and waits for them; told to stop again, takes the
/// mount from them, with everything written so far committed; fails if that could not be done.
pub(crate) async fn unmount(mounted: &MountedFs, signals: &mut Stop) -> Result<(), String> {
    let unmounted = async {
        if let Err(error) = mounted.unmount().await {
            eprintln!("ozone: {error}; stopping once more takes it from them");
            last_user(mounted).await;
        }
    };
    tokio::select! {
        () = unmounted => Ok(()),
        () = signals.told() => take_away(mounted).await,
    }
}

/// Takes a mount from the programs that use it, with everything committed that can be; fails if something could not.
pub(crate) async fn take_away(mounted: &MountedFs) -> Result<(), String> {
    let committed = timeout(LAST_COMMIT, mounted.sync()).await.is_ok();
    let path = mounted.path().display();
    match timeout(LAST_CLOSE, mounted.detach()).await {
        Ok(detached) => detached.map_err(|error| error.to_string()),
        Err(_) if committed => {
            eprintln!(
                "ozone: {path} is unmounted, and programs still use what they have open there"
            );
            Ok(())
        }
        Err(_) => Err(format!(
            "{path} is unmounted, and of what was written there without fsync the last could not be committed: it is lost"
        )),
    }
}
