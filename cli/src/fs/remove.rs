//! `-rm`, `-rmdir`, `-expunge`: away with it, or into the trash.

use std::sync::Arc;
use std::time::Duration;

use ozone_client::ofs::{Level, Moved, OfsError, OfsPath, Trash};
use ozone_common::trash;

use super::error::{FsError, Result, Trouble};
use super::item::Item;
use super::options::{ANY, Format};
use super::run::Run;
use super::system::{Cluster, System};
use crate::error::CliError;

const RM: Format = Format::new(&["f", "r", "R", "skipTrash", "safely"], (1, ANY));
const RMDIR: Format = Format::new(&["-ignore-fail-on-non-empty"], (1, ANY));
const EXPUNGE: Format = Format {
    flags: &["immediate"],
    values: &["fs"],
    arguments: (0, 0),
};

/// Removes files, and with `-r` directories.
pub(super) async fn rm(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = RM.parse(words)?;
    let (recursive, forced) = (given.has("r") || given.has("R"), given.has("f"));
    let keep = trash::keep(run.systems.config()).map_err(CliError::from)?;
    let trash = keep.filter(|_| !given.has("skipTrash"));
    let mut items = Vec::new();
    for text in &given.arguments {
        match run.systems.expand(text).await {
            Ok(found) if found.is_empty() && !forced => run.tell(FsError::missing(text)).await?,
            Ok(mut found) => items.append(&mut found),
            Err(error) => run.tell(error).await?,
        }
    }
    for item in items {
        if !item.exists() && forced {
            continue;
        }
        let skip_trash = given.has("skipTrash");
        let removed = match refuse_whole(&item, skip_trash) {
            Ok(()) => remove(run, &item, recursive, trash).await,
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            run.tell(error).await?;
        }
    }
    Ok(())
}

/// Volumes and buckets do not go by mistake.
fn refuse_whole(item: &Item, skip_trash: bool) -> Result<()> {
    let System::Cluster(cluster) = &*item.system else {
        return Ok(());
    };
    if skip_trash || !item.is_directory() {
        return Ok(());
    }
    let path = path_of(cluster, item)?;
    match path.level() {
        Level::Volume | Level::Bucket => Err(contains_trash(item)),
        _ => Ok(()),
    }
}

fn contains_trash(item: &Item) -> FsError {
    FsError::Other(format!(
        "Cannot move \"{}\" to the trash, as it contains the trash. Consider using -skipTrash option",
        item.full()
    ))
}

fn path_of(cluster: &Cluster, item: &Item) -> Result<OfsPath> {
    let path = cluster.path(&item.path);
    path.map_err(|error| Trouble::from(error).at(&item.text))
}

async fn remove(
    run: &mut Run<'_>,
    item: &Item,
    recursive: bool,
    trash: Option<Duration>,
) -> Result<()> {
    item.status()?;
    if !recursive {
        item.check_no_directory()?;
    }
    if let (Some(keep), System::Cluster(cluster)) = (trash, &*item.system)
        && let Some(moved) = throw_away(cluster, item, keep).await?
    {
        let to = cluster.address(&moved);
        return run
            .say(&format!("Moved: '{}' to trash at: {to}", item.full()))
            .await;
    }
    let removed = item.system.delete(&item.path, recursive).await;
    removed.map_err(|trouble| trouble.at(&item.text))?;
    run.line(&format!("Deleted {}", item.text)).await
}

/// Moves something into the trash; where it is then, unless it was there before.
async fn throw_away(cluster: &Cluster, item: &Item, keep: Duration) -> Result<Option<OfsPath>> {
    let path = path_of(cluster, item)?;
    match trash_of(cluster, keep).take(&cluster.ofs, &path).await {
        Ok(Moved::To(path)) => Ok(Some(path)),
        Ok(Moved::InTrash) => Ok(None),
        Ok(Moved::ContainsTrash) => Err(contains_trash(item)),
        Err(error @ OfsError::NotFound) => Err(Trouble::from(error).at(&item.text)),
        Err(error) => {
            let text = Trouble::from(error).at(&item.text);
            let text = format!("{text}. Consider using -skipTrash option");
            Err(FsError::Other(text))
        }
    }
}

fn trash_of(cluster: &Cluster, keep: Duration) -> Trash {
    Trash {
        user: cluster.ofs.client().caller().user.clone(),
        keep,
    }
}

/// Removes empty directories.
pub(super) async fn rmdir(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = RMDIR.parse(words)?;
    let lenient = given.has("-ignore-fail-on-non-empty");
    let work = async |_: &mut Run<'_>, item: Item| {
        item.check_directory()?;
        match item.system.delete(&item.path, false).await {
            Err(trouble) if trouble.is_full() && lenient => Ok(()),
            done => done.map_err(|trouble| trouble.at(&item.text)),
        }
    };
    run.each(&given.arguments, work).await
}

/// Gives the trash of this user the time as its name, in every bucket, and removes what was named so long
/// enough ago; with `-immediate`, all of it.
pub(super) async fn expunge(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = EXPUNGE.parse(words)?;
    let all = given.has("immediate");
    let keep = trash::keep(run.systems.config()).map_err(CliError::from)?;
    let keep = keep.unwrap_or_default();
    let root = match given.value("fs") {
        Some(text) => run.systems.item(text).await?,
        None => run.systems.item("/").await?,
    };
    let System::Cluster(cluster) = &*root.system else {
        return Ok(());
    };
    let trash = trash_of(cluster, keep);
    for bucket in buckets(&root.system, &path_of(cluster, &root)?).await? {
        match empty(run, cluster, &trash, &bucket, all).await {
            // Object stores have no trash.
            Ok(()) | Err(FsError::Layout(_)) => {}
            Err(trouble) => run.tell(trouble).await?,
        }
    }
    Ok(())
}

async fn empty(
    run: &mut Run<'_>,
    cluster: &Cluster,
    trash: &Trash,
    bucket: &OfsPath,
    all: bool,
) -> Result<()> {
    let failed = |error: OfsError| Trouble::from(error).at(&cluster.address(bucket));
    let removed = trash.expunge(&cluster.ofs, bucket, all).await;
    for path in removed.map_err(failed)? {
        let path = cluster.address(&path);
        run.say(&format!("Deleted trash checkpoint: {path}"))
            .await?;
    }
    let made = trash.checkpoint(&cluster.ofs, bucket).await;
    if let Some(path) = made.map_err(failed)? {
        let path = cluster.address(&path);
        run.say(&format!("Created trash checkpoint: {path}"))
            .await?;
    }
    Ok(())
}

/// The buckets that there are from `path` down, or the one that it is in.
async fn buckets(system: &Arc<System>, path: &OfsPath) -> Result<Vec<OfsPath>> {
    let System::Cluster(cluster) = &**system else {
        return Ok(Vec::new());
    };
    let mut level = vec![path.clone()];
    while level.first().is_some_and(is_above_buckets) {
        let mut next = Vec::new();
        for dir in level {
            let failed = |error: OfsError| Trouble::from(error).at(&cluster.address(&dir));
            let mut listing = cluster.ofs.list(&dir).await.map_err(failed)?;
            loop {
                let page = listing.next_page().await.map_err(failed)?;
                if page.is_empty() {
                    break;
                }
                next.extend(page.iter().map(|entry| dir.child(&entry.name)));
            }
        }
        level = next;
    }
    Ok(level.iter().map(OfsPath::bucket_path).collect())
}

fn is_above_buckets(path: &OfsPath) -> bool {
    matches!(path.level(), Level::Root | Level::Volume)
}
