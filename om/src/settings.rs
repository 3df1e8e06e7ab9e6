//! What the configuration says to an OM, where that is more than a value.

use ozone_common::config::Config;
use ozone_proto::hdds::{ReplicationFactor, ReplicationType};
use ozone_proto::namespace::Replication;

use crate::error::{OmError, Result};
use crate::server::start;
use crate::snapshots;

/// Refuses a configuration that asks for what this version does not do, where not doing it would be
/// dangerous.
pub fn check_config(config: &Config) -> Result<()> {
    let key = "ozone.acl.enabled";
    match config.get_bool(key).map_err(start)? {
        true => Err(OmError::Start(format!(
            "{}: {key} is true, and access control lists are not enforced by this version: everybody \
             could do everything. Set it to false",
            config.source(key)
        ))),
        false => Ok(()),
    }
}

/// How data is kept where bucket and key say nothing.
pub(crate) fn default_replication(config: &Config) -> Result<Replication> {
    let text = config
        .get_str("ozone.server.default.replication")
        .map_err(start)?;
    let factor = match text {
        "1" | "ONE" => ReplicationFactor::One,
        "3" | "THREE" => ReplicationFactor::Three,
        other => {
            let message = format!(
                "ozone.server.default.replication is {other:?}: ONE or THREE would be right"
            );
            return Err(OmError::Start(message));
        }
    };
    Ok(Replication {
        r#type: ReplicationType::Ratis.into(),
        factor: factor.into(),
    })
}

/// A number that has to fit into `T`.
pub(crate) fn number<T: TryFrom<u64>>(config: &Config, key: &str) -> Result<T> {
    let value = config.get_int(key).map_err(start)?;
    T::try_from(value).map_err(|_| {
        let source = config.source(key);
        OmError::Start(format!(
            "{source}: {key} is {value}: a smaller number would be right"
        ))
    })
}

/// What may be done with snapshots.
pub(crate) fn snapshot_settings(config: &Config) -> Result<snapshots::Settings> {
    let switch = |key| config.get_bool(key).map_err(start);
    Ok(snapshots::Settings {
        enabled: switch("ozone.filesystem.snapshot.enabled")?,
        limit: number(config, "ozone.om.fs.snapshot.max.limit")?,
        rename_allowed: switch("ozone.om.snapshot.rename.allowed")?,
        diff_page: number(config, "ozone.om.snapshot.diff.max.page.size")?,
    })
}
