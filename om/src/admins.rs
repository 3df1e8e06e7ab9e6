//! Who may act for others where it matters while everybody may do everything else: secrets of S3.

use ozone_common::caller::Caller;
use ozone_common::config::Config;
use ozone_proto::om::om_request::Body;
use ozone_proto::om::{OmRequest, Status};

use crate::error::{OmError, Result};

/// Keys that list administrators.
const KEYS: [&str; 2] = ["ozone.administrators", "ozone.s3.administrators"];

/// The administrators of S3: root, the user of the OM's process, and whom the configuration names.
#[derive(Debug, Default)]
pub struct Admins {
    names: Vec<String>,
}

impl Admins {
    /// As the configuration says.
    pub fn from_config(config: &Config) -> Self {
        let listed = KEYS.iter().filter_map(|key| config.get(key));
        let listed = listed.flat_map(|list| list.split(','));
        let mut names: Vec<String> = listed.map(|name| name.trim().to_owned()).collect();
        names.retain(|name| !name.is_empty());
        names.push("root".to_owned());
        names.push(Caller::of_process().user);
        Self { names }
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
        let user = request.user_info.as_ref();
        let user = user.map_or("", |user| user.user_name());
        if whose.is_some_and(|whose| whose == user) || self.names.iter().any(|name| name == user) {
            return Ok(());
        }
        let message = match whose {
            Some(whose) => format!(
                "Requested accessId '{whose}' doesn't belong to current user '{user}', nor does current user \
                 have Ozone or S3 administrator privilege"
            ),
            None => format!(
                "User '{user}' is not an S3 administrator ({})",
                KEYS.join(", ")
            ),
        };
        Err(OmError::refused(Status::PermissionDenied, message))
    }
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
