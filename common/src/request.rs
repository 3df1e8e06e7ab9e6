//! The id that follows one operation, from the face where it began through every process that works
//! on it: in the logs, `request_id` of the span of each.
//!
//! A face begins an operation with [`begin`]; a server goes on with the id that came with a message
//! ([`proceed`]); whoever sends a message on behalf of it asks for [`current_id`]. A task that is
//! started for the operation and outlives the call is given the id with [`carry`].

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use tracing::Instrument;

tokio::task_local! {
    static CURRENT: Arc<str>;
}

/// Tells the processes of a cluster apart.
static PROCESS: LazyLock<String> =
    LazyLock::new(|| uuid::Uuid::new_v4().simple().to_string()[..8].to_owned());
static LAST: AtomicU64 = AtomicU64::new(0);

/// An operation begins: everything that is logged and sent within carries a new id.
pub fn begin<F: Future>(op: &'static str, work: F) -> impl Future<Output = F::Output> {
    let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    within(op, format!("{}-{number}", *PROCESS).into(), work)
}

/// An operation that began elsewhere goes on here. Without an id it is a new one.
pub async fn proceed<F: Future>(op: &'static str, id: Option<&str>, work: F) -> F::Output {
    match id.filter(|id| !id.is_empty()) {
        Some(id) => within(op, id.into(), work).await,
        None => begin(op, work).await,
    }
}

/// The operation that this task works on.
pub fn current_id() -> Option<String> {
    CURRENT.try_with(|id| id.to_string()).ok()
}

/// The same operation in a task of its own.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let id = CURRENT.try_with(Arc::clone).ok();
    let work = work.in_current_span();
    async move {
        match id {
            Some(id) => CURRENT.scope(id, work).await,
            None => work.await,
        }
    }
}

fn within<F: Future>(op: &'static str, id: Arc<str>, work: F) -> impl Future<Output = F::Output> {
    let span = crate::telemetry::request_span(op, &id);
    // Kilobytes, which the wrappers would move about.
    CURRENT.scope(id, Box::pin(work).instrument(span))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_operation_keeps_its_id_over_messages_and_tasks() {
        assert_eq!(current_id(), None);
        let id = begin("put", async { current_id().unwrap() }).await;
        let other = begin("put", async { current_id().unwrap() }).await;
        assert_ne!(id, other);
        let there = proceed("PutBlock", Some(&id), async {
            let plain = tokio::spawn(async { current_id() });
            let carried = tokio::spawn(carry(async { current_id() }));
            (plain.await.unwrap(), carried.await.unwrap())
        });
        assert_eq!(there.await, (None, Some(id)));
        assert!(
            proceed("PutBlock", None, async { current_id() })
                .await
                .is_some()
        );
    }
}
