//! `ozone sh key delete`: for good, or into the trash where that is on.

use std::time::Duration;

use ozone_client::Client;
use ozone_client::objects::KeyName;
use ozone_client::ofs::{Moved, Ofs, OfsError, OfsPath, Trash};
use ozone_common::trash;

use super::Target;
use crate::address::Address;
use crate::error::{CliError, Result};
use crate::output::print_line;
use crate::shell::Shell;

pub(super) async fn run(target: Target, shell: &Shell<'_>) -> Result<()> {
    let address = Address::parse(&target.uri)?;
    let key = address.key()?;
    let client = shell.client(&address).await?;
    if let Some(keep) = trash::keep(shell.config())?
        && let Some(path) = file_of(client, key).await
    {
        let moved = throw_away(client, &path, keep).await?;
        return print_line(&format!("Key moved inside Trash: /{}", moved.key())).await;
    }
    Ok(client.objects().delete_key(key).await?)
}

/// The path of a key that the trash is for: a file in a bucket that is a tree.
async fn file_of(client: &Client, key: KeyName<'_>) -> Option<OfsPath> {
    let path = OfsPath::in_bucket(key.volume, key.bucket, key.key).ok()?;
    let found = Ofs::new(client.clone(), false).status(&path).await.ok()?;
    (!found.is_directory()).then_some(path)
}

async fn throw_away(client: &Client, path: &OfsPath, keep: Duration) -> Result<OfsPath> {
    let trash = Trash {
        user: client.caller().user.clone(),
        keep,
    };
    let ofs = Ofs::new(client.clone(), false);
    let kept = |reason: String| CliError::NotInTrash {
        key: path.key(),
        reason,
    };
    match trash.take(&ofs, path).await {
        Ok(Moved::To(moved)) => Ok(moved),
        Ok(Moved::InTrash | Moved::ContainsTrash) => {
            Err(kept("Use fs command to delete key from Trash".to_owned()))
        }
        Err(OfsError::Client(error)) => Err(error.into()),
        Err(error) => Err(kept(error.to_string())),
    }
}
