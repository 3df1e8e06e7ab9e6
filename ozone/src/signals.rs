//! Waiting to be told to stop, and stopping a mount.

use std::time::Duration;

use ozone_fs::{MountError, MountedFs};
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
async fn last_user(mounted: &MountedFs) -> Result<(), MountError> {
    loop {
        // By somebody else it may be unmounted at any time.
        if let Ok(ended) = timeout(RETRY, mounted.wait()).await {
            return ended;
        }
        match mounted.unmount().await {
            Err(error) if !matches!(error, MountError::Lost(_)) => {}
            ended => return ended,
        }
    }
}

/// Unmounts. While programs use the mount, says so and waits for them; told to stop again, takes the
/// mount from them, with everything written so far committed; fails if that could not be done.
pub(crate) async fn unmount(mounted: &MountedFs, signals: &mut Stop) -> Result<(), String> {
    let unmounted = async {
        match mounted.unmount().await {
            Err(error) if !matches!(error, MountError::Lost(_)) => {
                eprintln!("ozone: {error}; stopping once more takes it from them");
                last_user(mounted).await
            }
            ended => ended,
        }
    };
    tokio::select! {
        ended = unmounted => ended.map_err(|error| error.to_string()),
        () = signals.told() => take_away(mounted).await,
    }
}

/// Takes a mount from the programs that use it, with everything committed that can be; fails if something could not.
pub(crate) async fn take_away(mounted: &MountedFs) -> Result<(), String> {
    // Whether that was done in time is of no matter once the last program has gone: it is done again then.
    let _ = timeout(LAST_COMMIT, mounted.sync()).await;
    if let Ok(ended) = timeout(LAST_CLOSE, mounted.detach()).await {
        return ended.map_err(|error| error.to_string());
    }
    // With what they have written since.
    let committed = timeout(LAST_COMMIT, mounted.sync()).await.unwrap_or(false);
    let path = mounted.path();
    match committed {
        true => {
            eprintln!(
                "ozone: {} is unmounted; programs may still have files of it open, and are not waited for",
                path.display()
            );
            Ok(())
        }
        false => Err(MountError::Lost(path.to_owned()).to_string()),
    }
}
