//! Numbers of calls.
//!
//! A call keeps its (client id, call id) over all its retries, so that the server can answer a
//! retry with its first answer. The client says which is the lowest call it still waits for: the
//! server may forget the answers below.

use std::collections::BTreeSet;
use std::sync::Arc;

use ozone_common::ids::{CallId, ClientId};
use ozone_common::rng::Rng;
use parking_lot::Mutex;

/// Gives out the call ids of one client.
#[derive(Debug)]
pub struct CallIds {
    client: ClientId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next: u64,
    pending: BTreeSet<u64>,
}

impl CallIds {
    /// A new client, with an id of its own; its first call is 1.
    pub fn new(rng: &dyn Rng) -> Arc<Self> {
        Arc::new(Self {
            client: ClientId(rng.uuid()),
            state: Mutex::new(State {
                next: 1,
                pending: BTreeSet::new(),
            }),
        })
    }

    /// The client.
    pub fn client(&self) -> ClientId {
        self.client
    }

    /// Begins a call. It counts as pending until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> Call {
        let mut state = self.state.lock();
        let id = state.next;
        state.next += 1;
        state.pending.insert(id);
        Call {
            ids: self.clone(),
            id,
        }
    }

    /// The lowest call that is pending; the next to come if none is.
    pub fn lowest_pending(&self) -> CallId {
        let state = self.state.lock();
        CallId(state.pending.first().copied().unwrap_or(state.next))
    }
}

/// A call under way.
#[derive(Debug)]
pub struct Call {
    ids: Arc<CallIds>,
    id: u64,
}

impl Call {
    /// Its client.
    pub fn client(&self) -> ClientId {
        self.ids.client
    }

    /// Its number.
    pub fn id(&self) -> CallId {
        CallId(self.id)
    }

    /// The lowest call of the client that is still pending, at most this one.
    pub fn lowest_pending(&self) -> CallId {
        self.ids.lowest_pending()
    }

    /// An id for logs: unique, the same over retries, readable.
    pub fn request_id(&self) -> String {
        let client = self.ids.client.0.simple().to_string();
        format!("{}-{}", &client[..8], self.id)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.ids.state.lock().pending.remove(&self.id);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::rng::SeededRng;

    use super::*;

    #[test]
    fn the_lowest_pending_call_never_passes_one_that_is_waited_for() {
        let ids = CallIds::new(&SeededRng::new(1));
        assert_eq!(ids.lowest_pending(), CallId(1));
        let first = ids.begin();
        let second = ids.begin();
        assert_eq!((first.id(), second.id()), (CallId(1), CallId(2)));
        assert_eq!(second.lowest_pending(), CallId(1));
        drop(first);
        assert_eq!(second.lowest_pending(), CallId(2));
        drop(second);
        assert_eq!(ids.lowest_pending(), CallId(3));
        assert_eq!(ids.begin().id(), CallId(3));
    }
}
