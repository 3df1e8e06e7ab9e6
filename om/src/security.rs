//! Who the OM is to others, and on whose behalf it lets them ask.

use ozone_common::config::om_nodes;
use ozone_common::version_file::VersionFile;
use ozone_proto::om::{OmRequest, Status};
use ozone_security::enrol::Enrolment;
use ozone_security::identity::{Role, Subject};
use ozone_security::settings::{SecuritySettings, host_names};
use ozone_security::signer::{Signer, Wanted};
use uuid::Uuid;

use crate::error::{OmError, Result};
use crate::layout::Layout;
use crate::server::OmOptions;

/// The property of the VERSION file that holds the number of the OM's certificate.
const SERIAL_PROPERTY: &str = "omCertSerialId";
/// Who may ask on behalf of others: a mount serves every user of its machine.
const SUPERUSER: &str = "root";

fn start(error: impl std::fmt::Display) -> OmError {
    OmError::Start(error.to_string())
}

/// The way of the OM with this id to its certificates. Asks the resolver: blocks.
pub fn enrolment(options: &OmOptions, layout: &Layout, id: Uuid) -> Result<Enrolment> {
    let settings = SecuritySettings::from_config(&options.config).map_err(start)?;
    let own = om_nodes(&options.config).map_err(start)?;
    let listeners: Vec<_> = own
        .into_iter()
        .flat_map(|node| [node.address, node.ratis])
        .collect();
    let (disk, version) = (options.disk.clone(), layout.current());
    Ok(Enrolment {
        wanted: Wanted {
            role: Role::Om,
            id: id.to_string(),
            hosts: host_names(&listeners),
            valid: None,
        },
        dir: layout.security(),
        signer: Signer {
            scm: settings.scm.clone(),
            net: options.net.clone(),
            clock: options.clock.clone(),
            rng: options.rng.clone(),
        },
        record: Box::new(move |serial| {
            VersionFile::set_extra(&*disk, &version, SERIAL_PROPERTY, serial)
                .map_err(|e| e.to_string())
        }),
        settings,
    })
}

/// Refuses a request in the name of somebody else than the caller has proved to be. A caller of no
/// name came over a plaintext listener.
pub fn check_user(caller: Option<&Subject>, request: &OmRequest) -> Result<()> {
    let claimed = request
        .user_info
        .as_ref()
        .map_or("", |user| user.user_name());
    if claimed.is_empty() {
        let message = "the request does not say in whose name it is made";
        return Err(OmError::refused(Status::PermissionDenied, message));
    }
    let Some(caller) = caller.filter(|caller| caller.id != SUPERUSER) else {
        return Ok(());
    };
    let uid = request.context.as_ref().and_then(|context| context.uid);
    if claimed == caller.id && uid != Some(0) {
        return Ok(());
    }
    let uid = uid.map_or_else(String::new, |uid| format!(" (uid {uid})"));
    Err(OmError::refused(
        Status::PermissionDenied,
        format!("{caller} may not ask as user {claimed}{uid}: only {SUPERUSER} may ask for others"),
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use ozone_proto::om::{CallContext, UserInfo};

    use super::*;

    fn request(user: &str, uid: u32) -> OmRequest {
        OmRequest {
            user_info: Some(UserInfo {
                user_name: Some(user.to_owned()),
                ..UserInfo::default()
            }),
            context: Some(CallContext {
                uid: Some(uid),
                ..CallContext::default()
            }),
            ..OmRequest::default()
        }
    }

    fn caller(user: &str) -> Subject {
        Subject {
            role: Role::Client,
            host: "h".to_owned(),
            id: user.to_owned(),
            cluster_id: "CID-1".to_owned(),
        }
    }

    #[test]
    fn a_user_asks_as_nobody_else_and_root_for_everybody() {
        let bilbo = caller("bilbo");
        check_user(Some(&bilbo), &request("bilbo", 1000)).unwrap();
        for (user, uid) in [("frodo", 1000), ("root", 0), ("bilbo", 0), ("", 1000)] {
            let refused = check_user(Some(&bilbo), &request(user, uid)).unwrap_err();
            assert_eq!(refused.status(), Status::PermissionDenied, "{user}");
        }
        check_user(Some(&caller("root")), &request("bilbo", 1000)).unwrap();
        check_user(None, &request("bilbo", 1000)).unwrap();
        check_user(None, &request("", 1000)).unwrap_err();
        check_user(None, &OmRequest::default()).unwrap_err();
    }
}
