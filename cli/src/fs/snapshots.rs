//! `-createSnapshot`, `-deleteSnapshot`, `-renameSnapshot`.

use ozone_client::ofs::{OfsError, OfsPath, SNAPSHOTS};

use super::error::{FsError, Result, Trouble};
use super::item::Item;
use super::options::{ANY, Format};
use super::run::Run;
use super::system::{Cluster, System};

const FORMAT: Format = Format::new(&[], (0, ANY));

/// Takes a snapshot of a bucket.
pub(super) async fn create(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = FORMAT.parse(words)?.arguments;
    let (dir, name) = match given.as_slice() {
        [] => return Err(wrong("<snapshotDir> is missing.")),
        [dir] => (dir, ""),
        [dir, name] => (dir, name.as_str()),
        _ => return Err(wrong("Too many arguments.")),
    };
    let bucket = directory(run, dir).await?;
    let (cluster, path) = place(&bucket)?;
    let made = cluster.ofs.create_snapshot(&path, name).await;
    let made = cluster.address(&made.map_err(|error| failed(error, &bucket, name))?);
    run.line(&format!("Created snapshot {made}")).await
}

/// Removes a snapshot of a bucket.
pub(super) async fn delete(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = FORMAT.parse(words)?.arguments;
    let [dir, name] = given.as_slice() else {
        return Err(wrong("Incorrect number of arguments."));
    };
    let bucket = directory(run, dir).await?;
    let (cluster, path) = place(&bucket)?;
    let deleted = cluster.ofs.delete_snapshot(&path, name).await;
    deleted.map_err(|error| failed(error, &bucket, name))
}

/// Gives a snapshot of a bucket another name.
pub(super) async fn rename(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = FORMAT.parse(words)?.arguments;
    let [dir, old, new] = given.as_slice() else {
        return Err(wrong("Incorrect number of arguments."));
    };
    let bucket = directory(run, dir).await?;
    let (cluster, path) = place(&bucket)?;
    let renamed = cluster.ofs.rename_snapshot(&path, old, new).await;
    renamed.map_err(|error| failed(error, &bucket, old))
}

fn wrong(text: &str) -> FsError {
    FsError::Argument(text.to_owned())
}

async fn directory(run: &Run<'_>, text: &str) -> Result<Item> {
    let item = run.systems.destination(text).await?;
    item.status()?;
    item.check_directory()?;
    Ok(item)
}

fn place(item: &Item) -> Result<(&Cluster, OfsPath)> {
    let System::Cluster(cluster) = &*item.system else {
        let text = "Snapshots are taken of buckets".to_owned();
        return Err(FsError::Other(text));
    };
    let path = cluster.path(&item.path);
    Ok((
        cluster,
        path.map_err(|error| Trouble::from(error).at(&item.text))?,
    ))
}

/// What went wrong with the snapshot of that name.
fn failed(error: OfsError, bucket: &Item, name: &str) -> FsError {
    let text = format!("{}/{SNAPSHOTS}/{name}", bucket.text);
    Trouble::from(error).at(&text)
}
