//! Work on files that nobody waits for: preparing segments, removing purged ones.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use parking_lot::Mutex;

type Task = Box<dyn FnOnce() + Send>;

/// A thread that runs tasks one after the other, until dropped.
#[derive(Debug)]
pub(super) struct Housekeeper {
    tasks: Mutex<Sender<Task>>,
}

impl Housekeeper {
    pub(super) fn start() -> std::io::Result<Self> {
        let (tasks, queue): (Sender<Task>, Receiver<Task>) = channel();
        thread::Builder::new()
            .name("raft-files".into())
            .spawn(move || {
                for task in queue {
                    task();
                }
            })?;
        Ok(Self {
            tasks: Mutex::new(tasks),
        })
    }

    pub(super) fn run(&self, task: impl FnOnce() + Send + 'static) {
        // The thread lives as long as the sender.
        let _ = self.tasks.lock().send(Box::new(task));
    }
}
