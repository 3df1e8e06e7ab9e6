//! Who may act for others where it matters while everybody may do everything else: secrets of S3, and snapshots of
//! buckets.

use ozone_common::caller::Caller;
use ozone_common::config::Config;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::{OmRequest, Status};

use crate::error::{OmError, Result};
use crate::leader::Leader;
use crate::namespace;

/// The key that lists administrators of everything.
const OZONE: &str = "ozone.administrators";
/// The key that lists those of S3 alone.
const S3: &str = "ozone.s3.administrators";

/// The administrators: root, the user of the OM's process, and whom the configuration names.
#[derive(Debug, Default)]
pub struct Admins {
    ozone: Vec<String>,
    s3: Vec<String>,
}

impl Admins {
    /// As the configuration says.
    pub fn from_config(config: &Config) -> Self {
        let listed = |key| -> Vec<String> {
            let names = config.get(key).into_iter().flat_map(|list| list.split(','));
            let names = names.map(|name| name.trim().to_owned());
            names.filter(|name| !name.is_empty()).collect()
        };
        let mut ozone = listed(OZONE);
        ozone.push("root".to_owned());
        ozone.push(Caller::of_process().user);
        let s3 = listed(S3);
        Self { ozone, s3 }
    }

    /// Whether the user may do everything.
    fn has(&self, user: &str) -> bool {
        self.ozone.iter().any(|name| name == user)
    }

    /// Whether the user may manage the secrets of others.
    fn has_for_s3(&self, user: &str) -> bool {
        self.has(user) || self.s3.iter().any(|name| name == user)
    }

    /// Refuses who asks for a secret that is another's.
    pub fn check(&self, request: &OmRequest, body: &Body) -> Result<()> {
        let whose = match body {
            Body::GetS3SecretRequest(r) => Some(&r.kerberos_id),
            Body::SetS3SecretRequest(r) => Some(&r.access_id),
            Body::RevokeS3SecretRequest(r) => Some(&r.kerberos_id),
            Body::LookupS3Secret(_) => None,
            _ => return Ok(()),
        };
        let user = user_of(request);
        if whose.is_some_and(|whose| whose == user) || self.has_for_s3(user) {
            return Ok(());
        }
        let message = match whose {
            Some(whose) => format!(
                "Requested accessId '{whose}' doesn't belong to current user '{user}', nor does current user \
                 have Ozone or S3 administrator privilege"
            ),
            None => format!("User '{user}' is not an S3 administrator ({OZONE}, {S3})"),
        };
        Err(OmError::refused(Status::PermissionDenied, message))
    }
}

fn user_of(request: &OmRequest) -> &str {
    let user = request.user_info.as_ref();
    user.map_or("", |user| user.user_name())
}

/// Refuses who changes the snapshots of a bucket that is another's.
pub async fn check_snapshots(request: &OmRequest, body: &Body, leader: &Leader) -> Result<()> {
    let (verb, volume, bucket) = match body {
        Body::CreateSnapshotRequest(r) => ("create", r.volume_name(), r.bucket_name()),
        Body::DeleteSnapshotRequest(r) => ("delete", r.volume_name(), r.bucket_name()),
        Body::RenameSnapshotRequest(r) => ("rename", r.volume_name(), r.bucket_name()),
        _ => return Ok(()),
    };
    let user = user_of(request);
    if leader.admins.has(user) {
        return Ok(());
    }
    let place = (volume.to_owned(), bucket.to_owned());
    let row = leader
        .read(move |rows| namespace::bucket(rows, &place.0, &place.1))
        .await?;
    if row.owner == user {
        return Ok(());
    }
    let message = format!(
        "Only bucket owners and Ozone admins can {verb} snapshots: {volume}/{bucket} is of user '{}', and \
         '{user}' is not in {OZONE}",
        row.owner
    );
    Err(OmError::refused(Status::PermissionDenied, message))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ozone_proto::om::*;

    use super::*;

    #[test]
    fn a_secret_is_for_its_owner_and_for_administrators() {
        let config = Config::from_pairs([("ozone.s3.administrators", "gandalf, elrond")]).unwrap();
        let admins = Admins::from_config(&config);
        let get = Body::GetS3SecretRequest(GetS3SecretRequest {
            kerberos_id: "bilbo".to_owned(),
            ..Default::default()
        });
        let look = Body::LookupS3Secret(LookupS3SecretRequest {
            access_id: "bilbo".to_owned(),
        });
        let check = |user: &str, body| {
            let user_info = Some(UserInfo {
                user_name: Some(user.to_owned()),
                ..Default::default()
            });
            let request = OmRequest {
                user_info,
                ..Default::default()
            };
            admins.check(&request, body).is_ok()
        };
        assert!(check("bilbo", &get) && check("elrond", &get) && check("root", &get));
        assert!(!check("frodo", &get) && !check("", &get));
        assert!(check("gandalf", &look) && !check("bilbo", &look));
    }
}
