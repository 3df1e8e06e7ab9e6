//! The thread that a state machine lives on.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use parking_lot::Mutex;
use tokio::sync::oneshot;

type Task = Box<dyn FnOnce() + Send>;

/// Runs calls one after the other; ends when dropped.
pub(super) struct MachineThread {
    tasks: Mutex<Sender<Task>>,
}

impl MachineThread {
    pub(super) fn start(name: &str) -> io::Result<Self> {
        let (tasks, queue): (Sender<Task>, Receiver<Task>) = channel();
        thread::Builder::new()
            .name(format!("apply-{name}"))
            .spawn(move || {
                for task in queue {
                    task();
                }
            })?;
        Ok(Self {
            tasks: Mutex::new(tasks),
        })
    }

    /// Runs `call` on the thread. Fails when the thread is gone, which takes a panic of the machine.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (done, waiting) = oneshot::channel();
        let task = Box::new(move || {
            let _ = done.send(call());
        });
        let gone = || io::Error::other("the thread of the state machine is gone");
        self.tasks.lock().send(task).map_err(|_| gone())?;
        waiting.await.map_err(|_| gone())
    }
}
