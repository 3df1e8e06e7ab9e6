//! One cluster for many tests of one file: it lives as long as any of them uses it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::{Cluster, ClusterOptions};

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

/// A bucket of its own in the shared cluster.
pub struct Bucket {
    path: PathBuf,
    name: String,
    cluster: Arc<Cluster>,
}

impl Bucket {
    /// Makes the bucket `name`, in a cluster that runs already where one does.
    pub fn new(name: &str) -> Self {
        let cluster = shared();
        let path = cluster.bucket("shared", name);
        Self {
            path,
            name: name.to_owned(),
            cluster,
        }
    }

    /// A bucket of which the mount has just begun to make use, and one that it has to itself: what it makes
    /// there, it makes in memory.
    pub fn both(name: &str) -> impl Iterator<Item = Self> {
        let name = name.to_owned();
        [false, true].into_iter().map(move |alone| {
            let bucket = Self::new(&format!("{name}-{}", if alone { "alone" } else { "new" }));
            if alone {
                bucket.cluster.alone(&bucket.path);
            }
            bucket
        })
    }

    /// A second bucket of the same volume.
    pub fn sibling(&self) -> PathBuf {
        self.cluster
            .bucket("shared", &format!("{}-sibling", self.name))
    }

    /// The cluster that it is in.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// `volume/bucket`.
    pub fn address(&self) -> String {
        format!("shared/{}", self.name)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn shared() -> Arc<Cluster> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = shared.upgrade() {
        return cluster;
    }
    let cluster = Arc::new(Cluster::start(ClusterOptions::default()));
    *shared = Arc::downgrade(&cluster);
    cluster
}
