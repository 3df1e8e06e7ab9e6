//! openraft's own tests of a log and a state machine, run on ours.

use bytes::Bytes;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use parking_lot::Mutex;

use super::*;
use crate::apply::Adapter;
use crate::snapshot::SnapshotDir;
use crate::{ApplyBatch, StateMachine, StateMachineError};

/// Keeps nothing but its position.
#[derive(Default)]
struct Positions(Mutex<Option<Vec<u8>>>);

impl StateMachine for Positions {
    fn load(&self) -> Result<Option<Vec<u8>>, StateMachineError> {
        Ok(self.0.lock().clone())
    }

    fn apply(&self, batch: ApplyBatch<'_>) -> Result<Vec<Bytes>, StateMachineError> {
        *self.0.lock() = Some(batch.position.to_vec());
        Ok(vec![Bytes::new(); batch.commands.len()])
    }

    fn flush(&self) -> Result<(), StateMachineError> {
        Ok(())
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), StateMachineError> {
        Ok(std::fs::write(
            dir.join("position"),
            self.0.lock().clone().unwrap_or_default(),
        )?)
    }

    fn restore(&self, dir: &Path) -> Result<(), StateMachineError> {
        *self.0.lock() = Some(std::fs::read(dir.join("position"))?);
        Ok(())
    }
}

struct Builder;

impl StoreBuilder<Types, LogStore, Adapter, Bench> for Builder {
    async fn build(&self) -> Result<(Bench, LogStore, Adapter), StorageError<Types>> {
        let bench = Bench::real();
        let log = bench.open().unwrap();
        let copies = SnapshotDir::open(bench.disk.clone(), bench.dir.join("../snapshot")).unwrap();
        let adapter = Adapter::start(Arc::new(Positions::default()), copies, "suite")
            .await
            .unwrap();
        Ok((bench, log, adapter))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_of_openraft_passes() {
    Suite::test_all(Builder).await.unwrap();
}
