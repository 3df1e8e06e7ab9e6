//! A writer that appends records to a file and fsyncs each.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::{Content, Written};

/// What one file was given.
pub(crate) struct Appends {
    path: PathBuf,
    /// In order. Those behind `acked` were begun, the last of them in part perhaps.
    records: Vec<Content>,
    acked: usize,
}

impl Appends {
    /// Appends until the cluster is gone.
    pub(crate) fn run(path: &Path, seed: u64, acks: &Sender<()>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut appends = Self {
            path: path.to_owned(),
            records: Vec::new(),
            acked: 0,
        };
        // Fails when the cluster ended before the first record.
        let Ok(mut output) = File::create_new(path) else {
            return appends;
        };
        loop {
            let record = Content::random(&mut rng);
            appends.records.push(record);
            let written = output.write_all(&record.bytes());
            if written.and_then(|()| output.sync_data()).is_err() {
                return appends;
            }
            appends.acked += 1;
            acks.send(()).expect("the test listens");
        }
    }
}

impl Written for Appends {
    fn acked(&self) -> usize {
        self.acked
    }

    /// Every acknowledged byte is there, and behind them nothing but what came next.
    fn check(&self) {
        let path = self.path.display();
        let whole: Vec<u8> = self
            .records
            .iter()
            .flat_map(|record| record.bytes())
            .collect();
        let acked: usize = self.records[..self.acked].iter().map(|r| r.len).sum();
        let found = match fs::read(&self.path) {
            Ok(found) => found,
            Err(e) => {
                assert_eq!(acked, 0, "{path}: {e}");
                return;
            }
        };
        let len = found.len();
        assert!(
            len >= acked,
            "{path}: {acked} bytes were acknowledged, {len} are left"
        );
        assert!(
            len <= whole.len(),
            "{path}: {} bytes were written, {len} are there",
            whole.len()
        );
        let differs = whole.iter().zip(&found).position(|(a, b)| a != b);
        assert_eq!(
            differs, None,
            "{path}: first byte that differs; {acked} were acknowledged, {len} are there"
        );
    }
}
