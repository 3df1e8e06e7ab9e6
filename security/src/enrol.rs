//! How a server comes by its certificate, and keeps it.
//!
//! The first one is asked for with a bundle that an operator made (`ozone admin cert join`); every
//! further one with the one before. The private key never leaves the machine. While security is off
//! certificates are asked for all the same, so that directories look as they should, but they prove
//! nothing ([`crate::ca::Standing`]) and are replaced once security is on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ozone_common::worker::{Next, WorkError, Worker};
use ozone_rpc::channel::ClientIdentity;
use tokio_util::sync::CancellationToken;

use crate::ca::Standing;
use crate::chain::serial;
use crate::credentials::{CredentialError, Credentials, Owner};
use crate::identity::Subject;
use crate::live::Live;
use crate::settings::{JOIN_FILE, SecuritySettings};
use crate::signer::{SignError, Signer, Wanted};
use crate::tls::{Transport, client_config};

/// Longest time between two looks at a certificate's end.
const LONGEST_LOOK: Duration = Duration::from_secs(24 * 3600);
/// Of a certificate's life, the last third is for renewing it, if the grace is longer than that.
const RENEWAL_SHARE: u32 = 3;

/// Why a server has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// Security is on and there is nothing to prove with that this server belongs to the cluster.
    #[error(
        "security is on (ozone.security.enabled), {} holds no certificate that is good for it, and \
         {JOIN_FILE} is not set: set it to a file that `ozone admin cert join` made on an SCM's \
         host", dir.display()
    )]
    NoProof {
        /// Where the certificate should be.
        dir: PathBuf,
    },
    /// SCM issued none.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Files are no good.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// SCM answered with the certificate of another root than the one that this server trusts.
    #[error("SCM issued a certificate that does not lead to the root that {proof} leads to")]
    OtherRoot {
        /// What was shown to SCM.
        proof: String,
    },
    /// The serial number could not be written down.
    #[error("recording the certificate's serial number: {0}")]
    Record(String),
    /// The process is ending.
    #[error("the process is shutting down")]
    ShuttingDown,
}

impl EnrolError {
    /// Whether the same may work later, without anybody doing anything here.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Sign(SignError::NoAnswer(_)))
    }
}

/// Writes a certificate's serial number down, where the server keeps its identity. Blocks.
pub type Record = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// One server's way to its certificates.
pub struct Enrolment {
    /// What the configuration says.
    pub settings: SecuritySettings,
    /// Who the server is.
    pub wanted: Wanted,
    /// Holds `keys` and `certs`.
    pub dir: PathBuf,
    /// The way to SCM.
    pub signer: Signer,
    /// Called with each new certificate's serial number.
    pub record: Record,
}

impl Enrolment {
    /// What the server's connections show and ask for, and what keeps its certificate: the worker is
    /// to be started. With security on this returns once there is a certificate.
    pub async fn start(self) -> Result<(Transport, Keeper), EnrolError> {
        let enrolment = Arc::new(self);
        if !enrolment.settings.tls {
            let live = None;
            return Ok((Transport::plaintext(), Keeper { enrolment, live }));
        }
        let live = Live::new(enrolment.obtain().await?)?;
        let transport = Transport::tls(&live)?;
        let live = Some(live);
        Ok((transport, Keeper { enrolment, live }))
    }

    /// The certificate on disk, or a new one.
    pub async fn obtain(self: &Arc<Self>) -> Result<Credentials, EnrolError> {
        match self.on_disk().await? {
            Some(found) => Ok(found),
            None => self.renew(None).await,
        }
    }

    /// What can be shown to SCM now: the certificate on disk, or else the join bundle.
    pub async fn identity(self: &Arc<Self>) -> Result<ClientIdentity, EnrolError> {
        if !self.settings.tls {
            return Ok(ClientIdentity::Plaintext);
        }
        let live = match self.on_disk().await? {
            Some(found) => Live::new(found)?,
            None => self.join().await?,
        };
        Ok(ClientIdentity::Tls(client_config(&live)?))
    }

    /// What is on disk, if it can be used.
    async fn on_disk(self: &Arc<Self>) -> Result<Option<Credentials>, EnrolError> {
        let enrolment = self.clone();
        let found = blocking(move || Ok(Credentials::load(&enrolment.dir)?)).await?;
        match found {
            Some(found) if self.is_usable(&found)? => Ok(Some(found)),
            _ => Ok(None),
        }
    }

    fn is_usable(&self, found: &Credentials) -> Result<bool, EnrolError> {
        let owner = Subject::of_certificate(found.certificate());
        let own =
            owner.is_some_and(|owner| owner.role == self.wanted.role && owner.id == self.wanted.id);
        let worth = !self.settings.tls || found.standing()? == Standing::Proven;
        let now_ms = self.signer.clock.wall_ms();
        Ok(own && worth && found.expires_ms()? > now_ms)
    }

    /// Gets a new key and certificate, on the strength of `current` or of the join bundle, and writes
    /// them to disk.
    async fn renew(
        self: &Arc<Self>,
        current: Option<&Arc<Live>>,
    ) -> Result<Credentials, EnrolError> {
        let proof = match (self.settings.tls, current) {
            (false, _) => None,
            (true, Some(live)) if self.is_usable(&live.credentials())? => Some(live.clone()),
            (true, _) => Some(self.join().await?),
        };
        let identity = match &proof {
            Some(live) => ClientIdentity::Tls(client_config(live)?),
            None => ClientIdentity::Plaintext,
        };
        let issued = self.signer.sign(&self.wanted, identity).await?;
        if let Some(proof) = proof.map(|proof| proof.credentials())
            && issued.root() != proof.root()
        {
            let proof = format!("{proof:?}");
            return Err(EnrolError::OtherRoot { proof });
        }
        let enrolment = self.clone();
        blocking(move || {
            issued.save(&enrolment.dir, Owner::Other)?;
            let serial = serial(issued.certificate())?;
            (enrolment.record)(&serial).map_err(EnrolError::Record)?;
            tracing::info!(serial, dir = %enrolment.dir.display(), "new certificate");
            Ok(issued)
        })
        .await
    }

    /// The bundle of the operator.
    async fn join(&self) -> Result<Arc<Live>, EnrolError> {
        let path = self.settings.join.clone();
        let path = path.ok_or_else(|| EnrolError::NoProof {
            dir: self.dir.clone(),
        })?;
        blocking(move || Ok(Live::new(Credentials::load_bundle(&path)?)?)).await
    }
}

/// How long until `current` is to be renewed, and at most until that should be looked at again.
pub fn renewal_due(
    current: &Credentials,
    grace: Duration,
    now_ms: u64,
) -> Result<Duration, CredentialError> {
    let grace = grace.min(current.lifetime()? / RENEWAL_SHARE);
    let end = Duration::from_millis(current.expires_ms()?);
    let now = Duration::from_millis(now_ms);
    let due = end.saturating_sub(grace).saturating_sub(now);
    Ok(due.min(LONGEST_LOOK))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EnrolError> + Send + 'static,
) -> Result<T, EnrolError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(EnrolError::ShuttingDown))
}

/// Renews a server's certificate in time, and gets it where there is none yet.
pub struct Keeper {
    enrolment: Arc<Enrolment>,
    live: Option<Arc<Live>>,
}

impl Keeper {
    async fn current(&self) -> Result<Option<Arc<Credentials>>, EnrolError> {
        match &self.live {
            Some(live) => Ok(Some(live.credentials())),
            None => Ok(self.enrolment.on_disk().await?.map(Arc::new)),
        }
    }
}

#[async_trait]
impl Worker for Keeper {
    fn name(&self) -> String {
        "certificate".to_owned()
    }

    async fn work(&mut self, gate: &CancellationToken) -> Result<Next, WorkError> {
        if let Some(current) = self.current().await? {
            let Enrolment {
                settings, signer, ..
            } = &*self.enrolment;
            let due = renewal_due(&current, settings.renew_grace, signer.clock.wall_ms())?;
            if !due.is_zero() {
                return Ok(Next::After(due));
            }
        }
        let renewed = tokio::select! {
            // SCM may take long to answer, or be gone.
            () = gate.cancelled() => return Ok(Next::Done),
            renewed = self.enrolment.renew(self.live.as_ref()) => renewed?,
        };
        if let Some(live) = &self.live {
            live.replace(renewed)?;
        }
        Ok(Next::Now)
    }
}
