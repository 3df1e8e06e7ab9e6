//! A writer that replaces and removes whole files, as editors and package managers do: written
//! beside the old one, fsynced, renamed over it, and the directory fsynced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::{Content, Written};

/// Names that are replaced and removed.
const NAMES: u32 = 4;
/// Ending of a file that is not renamed yet.
const NEW: &str = ".new";

/// What the names of one directory stand for.
pub(crate) struct Replaces {
    dir: PathBuf,
    acked: usize,
    /// The acknowledged content of each name; `None` when it was removed.
    names: BTreeMap<String, Option<Content>>,
    /// What was not acknowledged: a name, and what it was to become.
    begun: Option<(String, Option<Content>)>,
}

impl Replaces {
    /// Replaces and removes until the cluster is gone.
    pub(crate) fn run(dir: &Path, seed: u64, acks: &Sender<()>) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut replaces = Self {
            dir: dir.to_owned(),
            acked: 0,
            names: BTreeMap::new(),
            begun: None,
        };
        // Fails when the cluster ended before.
        if fs::create_dir(dir).is_err() {
            return replaces;
        }
        loop {
            let name = format!("name-{}", rng.random_range(0..NAMES));
            let content = rng.random_bool(0.75).then(|| Content::random(&mut rng));
            if replaces.change(name, content).is_err() {
                return replaces;
            }
            acks.send(()).expect("the test listens");
        }
    }

    fn change(&mut self, name: String, content: Option<Content>) -> io::Result<()> {
        let path = self.dir.join(&name);
        self.begun = Some((name.clone(), content));
        match content {
            Some(content) => {
                let new = self.dir.join(format!("{name}{NEW}"));
                let mut file = File::create_new(&new)?;
                file.write_all(&content.bytes())?;
                file.sync_all()?;
                fs::rename(new, path)?;
            }
            None => match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            },
        }
        File::open(&self.dir)?.sync_all()?;
        self.begun = None;
        self.names.insert(name, content);
        self.acked += 1;
        Ok(())
    }

    /// What a name may stand for now.
    fn allowed(&self, name: &str) -> Vec<Option<Content>> {
        let acked = self.names.get(name).copied().flatten();
        let begun = self.begun.iter().filter(|(begun, _)| begun == name);
        std::iter::once(acked)
            .chain(begun.map(|(_, content)| *content))
            .collect()
    }

    /// A file that was not renamed is the one that was being written, or a first part of it.
    fn check_new(&self, name: &str, found: &[u8]) {
        let begun = self.begun.as_ref().filter(|(begun, _)| begun == name);
        let content = begun.and_then(|(_, content)| *content);
        let at = self.dir.join(name);
        let content = content.unwrap_or_else(|| panic!("{}{NEW} was renamed", at.display()));
        assert!(
            content.bytes().starts_with(found),
            "{}{NEW}: {} bytes that are no first part of what was written",
            at.display(),
            found.len()
        );
    }
}

impl Written for Replaces {
    fn acked(&self) -> usize {
        self.acked
    }

    /// Every name has its acknowledged content or the next, whole.
    fn check(&self) {
        if self.acked == 0 && !self.dir.exists() {
            return;
        }
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&self.dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let content = fs::read(entry.path()).unwrap();
            match name.strip_suffix(NEW) {
                Some(name) => self.check_new(name, &content),
                None => drop(found.insert(name, content)),
            }
        }
        for name in (0..NAMES).map(|n| format!("name-{n}")) {
            let content = found.remove(&name);
            let allowed = self.allowed(&name);
            let fits = |allowed: &Option<Content>| allowed.map(|c| c.bytes()) == content;
            assert!(
                allowed.iter().any(fits),
                "{}: {:?} bytes, which are none of {allowed:?}",
                self.dir.join(&name).display(),
                content.map(|content| content.len())
            );
        }
        let others: Vec<_> = found.into_keys().collect();
        assert!(others.is_empty(), "names that nobody made: {others:?}");
    }
}
