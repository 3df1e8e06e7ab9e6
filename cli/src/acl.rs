//! Access control entries as JSON.

use ozone_client::wire::om::OzoneAclInfo;
use serde::Serialize;

/// The rights, each at the place of its bit.
const RIGHTS: [&str; 9] = [
    "READ",
    "WRITE",
    "CREATE",
    "LIST",
    "DELETE",
    "READ_ACL",
    "WRITE_ACL",
    "ALL",
    "NONE",
];

/// One entry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AclView {
    r#type: &'static str,
    name: String,
    acl_scope: &'static str,
    acl_list: Vec<&'static str>,
}

impl From<OzoneAclInfo> for AclView {
    fn from(acl: OzoneAclInfo) -> Self {
        let has = |bit: usize| {
            let byte = acl.rights.get(bit / 8).copied().unwrap_or_default();
            byte >> (bit % 8) & 1 == 1
        };
        let rights = RIGHTS.iter().enumerate();
        Self {
            r#type: acl.r#type().as_str_name(),
            acl_scope: acl.acl_scope().as_str_name(),
            acl_list: rights
                .filter(|(bit, _)| has(*bit))
                .map(|(_, right)| *right)
                .collect(),
            name: acl.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use ozone_client::wire::om::ozone_acl_info::{OzoneAclScope, OzoneAclType};

    use super::*;

    #[test]
    fn rights_are_listed_in_one_order() {
        let acl = OzoneAclInfo {
            r#type: OzoneAclType::Group.into(),
            name: "staff".to_owned(),
            rights: vec![0b0110_0011, 1].into(),
            acl_scope: OzoneAclScope::Default.into(),
        };
        let view = AclView::from(acl);
        assert_eq!((view.r#type, view.acl_scope), ("GROUP", "DEFAULT"));
        assert_eq!(
            view.acl_list,
            ["READ", "WRITE", "READ_ACL", "WRITE_ACL", "NONE"]
        );
    }
}
