//! Whether the SCM that the configuration names is that of the OM's own cluster. A block of another
//! cluster must never be taken into a file, and its blocks must never be deleted: so nothing is asked
//! of SCM before it has told which cluster it is of.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::version_file::{FILE_NAME, VersionFile};
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_proto::hdds::block::GetScmInfoResponseProto;
use tokio_util::sync::CancellationToken;

use crate::blocks::Blocks;
use crate::error::{OmError, Result};
use crate::layout::SCM_PROPERTY;
use crate::leader::Leader;

/// How long a start waits for SCM's answer: reads need none of it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The cluster of an OM, as its VERSION file says, and what SCM says to that.
pub struct Cluster {
    file: PathBuf,
    cluster_id: String,
    /// None where several SCMs may answer.
    scm_id: Option<String>,
    scm: Vec<String>,
    /// What SCM has told: that it is of this cluster, or what differs.
    verdict: OnceLock<Result<(), String>>,
    is_foreign: CancellationToken,
}

impl Cluster {
    /// The cluster of `version`, read from `dir`, with an SCM at one of `scm`.
    pub fn new(dir: &Path, version: &VersionFile, scm: Vec<String>) -> Self {
        let scm_id = version.extra.get(SCM_PROPERTY).cloned();
        Self {
            file: dir.join(FILE_NAME),
            cluster_id: version.cluster_id.clone(),
            scm_id: scm_id.filter(|_| scm.len() == 1),
            scm,
            verdict: OnceLock::new(),
            is_foreign: CancellationToken::new(),
        }
    }

    /// What is known: none while SCM has not answered.
    pub fn known(&self) -> Option<Result<()>> {
        Some(self.verdict.get()?.clone().map_err(OmError::Start))
    }

    /// Takes in what SCM has answered.
    pub fn judge(&self, info: &GetScmInfoResponseProto) -> Result<()> {
        let verdict = || self.difference(info).map_or(Ok(()), Err);
        let verdict = self.verdict.get_or_init(verdict);
        if verdict.is_err() {
            self.is_foreign.cancel();
        }
        verdict.clone().map_err(OmError::Start)
    }

    fn difference(&self, info: &GetScmInfoResponseProto) -> Option<String> {
        let (property, own, told) = match &self.scm_id {
            _ if self.cluster_id != info.cluster_id => {
                ("clusterID", &self.cluster_id, &info.cluster_id)
            }
            Some(own) if *own != info.scm_id => (SCM_PROPERTY, own, &info.scm_id),
            _ => return None,
        };
        Some(format!(
            "{}: {property} is {own}, but the SCM at {} has {told}: set \
             ozone.scm.block.client.address to the SCM of this OM's cluster, or mount this cluster's \
             disks",
            self.file.display(),
            self.scm.join(", ")
        ))
    }

    /// Returns once SCM has turned out to be of another cluster, with what differs.
    pub async fn foreign(&self) -> OmError {
        self.is_foreign.cancelled().await;
        match self.known() {
            Some(Err(why)) => why,
            // It is known before it is told.
            _ => std::future::pending().await,
        }
    }
}

/// Asks SCM at the start of an OM; an SCM that cannot be reached is [asked on](ClusterWatch).
pub(crate) async fn ask_at_start(blocks: &Blocks) -> Result<()> {
    match tokio::time::timeout(PATIENCE, blocks.check_cluster()).await {
        Ok(Err(foreign @ OmError::Start(_))) => Err(foreign),
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("SCM does not answer: until it does, no block is written or deleted");
            Ok(())
        }
    }
}

/// Asks SCM which cluster it is of until it answers.
pub(crate) struct ClusterWatch(pub(crate) Arc<Leader>);

#[async_trait]
impl Worker for ClusterWatch {
    fn name(&self) -> String {
        "cluster".to_owned()
    }

    async fn work(&mut self, gate: &CancellationToken) -> Result<Next, WorkError> {
        let asked = tokio::select! {
            () = gate.cancelled() => return Ok(Next::Done),
            asked = self.0.blocks.check_cluster() => asked,
        };
        match asked {
            Ok(()) => Ok(Next::Done),
            Err(foreign @ OmError::Start(_)) => {
                tracing::error!(%foreign, "SCM is of another cluster");
                Ok(Next::Done)
            }
            Err(silent) => Err(silent.into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_common::version_file::NodeType;

    use super::*;

    fn cluster(scms: usize) -> Cluster {
        let version = VersionFile {
            node_type: NodeType::Om,
            cluster_id: "CID-own".to_owned(),
            uuid: uuid::Uuid::nil(),
            c_time: 0,
            layout_version: 1,
            extra: [(SCM_PROPERTY.to_owned(), "scm-own".to_owned())].into(),
        };
        let scm = (0..scms).map(|n| format!("scm{n}:1")).collect();
        Cluster::new(Path::new("/om/current"), &version, scm)
    }

    fn told(cluster: &str, scm: &str) -> GetScmInfoResponseProto {
        GetScmInfoResponseProto {
            cluster_id: cluster.to_owned(),
            scm_id: scm.to_owned(),
            ..Default::default()
        }
    }

    #[tokio::test]
    async fn an_scm_of_another_cluster_is_refused_with_both_ids() {
        let own = cluster(1);
        assert!(own.known().is_none());
        let text = own.judge(&told("CID-other", "scm-own")).unwrap_err();
        let text = text.to_string();
        for words in ["/om/current/VERSION", "CID-own", "CID-other", "scm0:1"] {
            assert!(text.contains(words), "{text}");
        }
        assert_eq!(own.foreign().await.to_string(), text);
        let text = cluster(1).judge(&told("CID-own", "scm-new")).unwrap_err();
        let text = text.to_string();
        for words in ["scmUuid", "scm-own", "scm-new"] {
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn each_scm_of_several_may_answer_for_the_cluster() {
        let own = cluster(1);
        own.judge(&told("CID-own", "scm-own")).unwrap();
        assert!(matches!(own.known(), Some(Ok(()))));
        cluster(3).judge(&told("CID-own", "scm-2")).unwrap();
        assert!(cluster(3).judge(&told("CID-other", "scm-2")).is_err());
    }
}
