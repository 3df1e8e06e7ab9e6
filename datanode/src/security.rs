//! Who a datanode is to others: its certificate from SCM, without which it answers nobody while
//! security is on.

use std::time::Duration;

use ozone_common::config::HostPort;
use ozone_security::enrol::{EnrolError, Enrolment, Keeper};
use ozone_security::identity::Role;
use ozone_security::settings::host_names;
use ozone_security::signer::{Signer, Wanted};
use ozone_security::tls::Transport;
use uuid::Uuid;

use crate::error::StartError;
use crate::identity::record_serial;
use crate::options::{DatanodeOptions, Settings};

/// Pause after no SCM answered.
const PAUSE: Duration = Duration::from_secs(1);

/// What the datanode's connections show and ask for, and what keeps its certificate. With security
/// on this waits until an SCM has issued one, as long as that may take.
pub(crate) async fn enrol(
    options: &DatanodeOptions,
    settings: &Settings,
    uuid: Uuid,
) -> Result<(Transport, Keeper), StartError> {
    loop {
        match enrolment(options, settings, uuid).await?.start().await {
            Ok(started) => return Ok(started),
            Err(error) if error.is_transient() => {
                tracing::warn!(%error, "waiting for an SCM");
                options.clock.sleep(PAUSE).await;
            }
            Err(error) => return Err(StartError::Certificate(error)),
        }
    }
}

async fn enrolment(
    options: &DatanodeOptions,
    settings: &Settings,
    uuid: Uuid,
) -> Result<Enrolment, StartError> {
    let listeners = [settings.client_address, settings.peer_address].map(HostPort::from);
    let looking = ozone_kv::blocking(move || host_names(&listeners)).await;
    let mut hosts = looking.map_err(|_| StartError::Certificate(EnrolError::ShuttingDown))?;
    let named = &settings.host_name;
    if !named.is_empty() && !hosts.contains(named) {
        hosts.insert(0, named.clone());
    }
    let (disk, id_dir) = (options.disk.clone(), settings.id_dir.clone());
    Ok(Enrolment {
        settings: settings.security.clone(),
        wanted: Wanted {
            role: Role::Datanode,
            id: uuid.to_string(),
            hosts,
            valid: None,
        },
        dir: settings.security_dir.clone(),
        signer: Signer {
            scm: settings.security.scm.clone(),
            net: options.net.clone(),
            clock: options.clock.clone(),
            rng: options.rng.clone(),
        },
        record: Box::new(move |serial| {
            record_serial(&*disk, &id_dir, uuid, serial).map_err(|e| e.to_string())
        }),
    })
}
