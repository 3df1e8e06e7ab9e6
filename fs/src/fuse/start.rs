//! Where requests begin: on the thread that takes them from the kernel. Most are answered from memory, and to
//! change threads would cost more than they do.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};

use ozone_common::request;
use tokio::runtime::Handle;

/// Works here until there is something to wait for, and from there on in a task. A panic is that of one
/// request, which is answered with EIO when its reply is dropped, and not the end of this thread.
pub(super) fn start(
    runtime: &Handle,
    op: &'static str,
    work: impl Future<Output = ()> + Send + 'static,
) {
    let mut work = Box::pin(request::begin(op, work));
    let _runtime = runtime.enter();
    let mut context = Context::from_waker(Waker::noop());
    // What has panicked is dropped, and not polled again.
    let first = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut context)));
    match first {
        Ok(Poll::Ready(())) => {}
        Ok(Poll::Pending) => drop(runtime.spawn(work)),
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().copied();
            let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            tracing::error!(
                op,
                panic = said,
                "a request panicked and is answered with an I/O error"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Reply(mpsc::Sender<()>);

    impl Drop for Reply {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    #[tokio::test]
    async fn a_request_that_panics_gives_up_its_reply_and_leaves_the_thread_alone() {
        let (answer, answered) = mpsc::channel();
        let reply = Reply(answer);
        start(&Handle::current(), "test", async move {
            let _reply = reply;
            panic!("a fault");
        });
        assert!(answered.try_recv().is_ok());
    }
}
