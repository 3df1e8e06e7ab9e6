//! A state machine for tests: a map in memory that reaches its file only by a flush, so that a kill
//! takes it back to the last flush and the log has to bring the rest again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ozone_raft::{ApplyBatch, StateMachine, StateMachineError};

#[derive(Default, Clone)]
struct State {
    position: Vec<u8>,
    values: BTreeMap<String, String>,
}

pub(crate) struct MapMachine {
    file: PathBuf,
    state: Mutex<State>,
    dead: AtomicBool,
    pub(crate) restores: AtomicU64,
}

impl State {
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = (self.position.len() as u64).to_le_bytes().to_vec();
        out.extend_from_slice(&self.position);
        for (key, value) in &self.values {
            out.extend_from_slice(format!("{key}={value}\n").as_bytes());
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let (len, rest) = bytes.split_at(8);
        let (position, text) = rest.split_at(u64::from_le_bytes(len.try_into().unwrap()) as usize);
        let lines = std::str::from_utf8(text).unwrap().lines();
        let values = lines.map(|line| line.split_once('=').unwrap());
        Self {
            position: position.to_vec(),
            values: values.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        }
    }
}

impl MapMachine {
    pub(crate) fn open(dir: &Path) -> Arc<Self> {
        fs::create_dir_all(dir).unwrap();
        let file = dir.join("map");
        let state = fs::read(&file)
            .map(|bytes| State::from_bytes(&bytes))
            .unwrap_or_default();
        Arc::new(Self {
            file,
            state: Mutex::new(state),
            dead: AtomicBool::new(false),
            restores: AtomicU64::new(0),
        })
    }

    pub(crate) fn get(&self, key: &str) -> Option<String> {
        self.state.lock().unwrap().values.get(key).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().unwrap().values.len()
    }

    /// Nothing reaches the file any more.
    pub(crate) fn kill(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    fn save(&self, path: &Path) -> Result<(), StateMachineError> {
        if self.dead.load(Ordering::SeqCst) {
            return Err(StateMachineError::new("killed"));
        }
        let tmp = path.with_extension("tmp");
        fs::write(&tmp, self.state.lock().unwrap().to_bytes())?;
        Ok(fs::rename(&tmp, path)?)
    }
}

impl StateMachine for MapMachine {
    fn load(&self) -> Result<Option<Vec<u8>>, StateMachineError> {
        let position = self.state.lock().unwrap().position.clone();
        Ok(Some(position).filter(|position| !position.is_empty()))
    }

    /// A command `key=value` sets and answers with the value before.
    fn apply(&self, batch: ApplyBatch<'_>) -> Result<Vec<Bytes>, StateMachineError> {
        let mut state = self.state.lock().unwrap();
        let replies = batch.commands.iter().map(|command| {
            let text = std::str::from_utf8(&command.data).unwrap();
            let (key, value) = text.split_once('=').unwrap();
            let before = state.values.insert(key.to_owned(), value.to_owned());
            Bytes::from(before.unwrap_or_default())
        });
        let replies = replies.collect();
        state.position = batch.position.to_vec();
        Ok(replies)
    }

    fn flush(&self) -> Result<(), StateMachineError> {
        self.save(&self.file)
    }

    fn checkpoint(&self, dir: &Path) -> Result<(), StateMachineError> {
        let inner = dir.join("part");
        fs::create_dir(&inner)?;
        self.save(&inner.join("map"))
    }

    fn restore(&self, dir: &Path) -> Result<(), StateMachineError> {
        let state = State::from_bytes(&fs::read(dir.join("part").join("map"))?);
        *self.state.lock().unwrap() = state;
        self.restores.fetch_add(1, Ordering::SeqCst);
        self.save(&self.file)
    }
}
