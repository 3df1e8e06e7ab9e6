//! `-du`, `-df`, `-count`: how much there is.

use ozone_client::ofs::ContentSummary;

use super::error::{FsError, Result, Trouble};
use super::item::Item;
use super::options::{ANY, Format};
use super::run::{Run, Step, Walk};
use super::system::System;
use super::words::size;
use crate::error::CliError;

const DU: Format = Format::new(&["h", "s", "v", "x"], (0, ANY));
const DF: Format = Format::new(&["h"], (0, ANY));
const COUNT: Format = Format::new(&["q", "h", "v", "x", "u", "e", "s"], (1, ANY));

/// Rows whose columns are as wide as their widest text.
struct Table {
    rows: Vec<Vec<String>>,
    /// Whether columns but the first are pushed to the right.
    right: bool,
}

impl Table {
    async fn print(&self, run: &mut Run<'_>) -> Result<()> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |at: usize| {
            let widths = self.rows.iter().map(|row| row[at].chars().count());
            widths.max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(at, (text, width))| match (at, self.right) {
                (1.., true) => format!("{text:>width$}"),
                (at, false) if at + 1 == columns => text.clone(),
                _ => format!("{text:<width$}"),
            });
            run.line(&cells.collect::<Vec<_>>().join("  ")).await?;
        }
        Ok(())
    }
}

async fn summary(item: &Item) -> Result<ContentSummary> {
    let sum = item.system.summary(&item.path).await;
    sum.map_err(|trouble| trouble.at(&item.text))
}

/// Prints how much files and directories take. What is in snapshots is not counted.
pub(super) async fn du(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = DU.parse(words)?;
    let (human, whole) = (given.has("h"), given.has("s"));
    let mut table = Table {
        rows: Vec::new(),
        right: false,
    };
    if given.has("v") {
        let head = [
            "SIZE",
            "DISK_SPACE_CONSUMED_WITH_ALL_REPLICAS",
            "FULL_PATH_NAME",
        ];
        table.rows.push(head.map(str::to_owned).to_vec());
    }
    let arguments = or_here(given.arguments);
    let rows = &mut table.rows;
    run.each(&arguments, async |run, item| {
        let items = match item.is_directory() && !whole {
            true => entries(item).await?,
            false => vec![item],
        };
        for item in items {
            match summary(&item).await {
                Ok(sum) => {
                    let [length, consumed] = [sum.length, sum.consumed].map(|n| size(n, human));
                    rows.push(vec![length, consumed, item.text]);
                }
                Err(error) => run.tell(error).await?,
            }
        }
        Ok(())
    })
    .await?;
    table.print(run).await
}

fn or_here(arguments: Vec<String>) -> Vec<String> {
    match arguments.is_empty() {
        true => vec![".".to_owned()],
        false => arguments,
    }
}

async fn entries(dir: Item) -> Result<Vec<Item>> {
    let mut walk = Walk::default();
    walk.enter(dir).await?;
    let mut entries = Vec::new();
    while let Some(Step::Entry(entry)) = walk.next().await? {
        entries.push(entry);
    }
    Ok(entries)
}

/// Prints the sizes of filesystems.
pub(super) async fn df(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = DF.parse(words)?;
    let human = given.has("h");
    let head = ["Filesystem", "Size", "Used", "Available", "Use%"];
    let mut table = Table {
        rows: vec![head.map(str::to_owned).to_vec()],
        right: true,
    };
    let arguments = match given.arguments.is_empty() {
        true => vec!["/".to_owned()],
        false => given.arguments,
    };
    let rows = &mut table.rows;
    run.each(&arguments, async |_, item| {
        let System::Cluster(cluster) = &*item.system else {
            let text = "-df shows clusters, not this machine".to_owned();
            return Err(FsError::Other(text));
        };
        let namespace = cluster.ofs.client().namespace();
        let sizes = namespace.stat_fs(ozone_client::namespace::ROOT).await;
        let sizes = sizes.map_err(CliError::from)?;
        let percent = match sizes.capacity {
            0 => 0,
            all => (u128::from(sizes.used) * 200 + u128::from(all)) / (2 * u128::from(all)),
        };
        let mut row = vec![cluster.uri.clone()];
        row.extend([sizes.capacity, sizes.used, sizes.available].map(|n| size(n, human)));
        row.push(format!("{percent}%"));
        rows.push(row);
        Ok(())
    })
    .await?;
    match table.rows.len() {
        1 => Ok(()),
        _ => table.print(run).await,
    }
}

/// Prints how many directories, files and bytes there are.
pub(super) async fn count(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = COUNT.parse(words)?;
    let (human, only_quotas) = (given.has("h"), given.has("u"));
    let quotas = given.has("q") || only_quotas;
    if given.has("v") {
        let mut head = String::new();
        if quotas {
            let names = ["QUOTA", "REM_QUOTA", "SPACE_QUOTA", "REM_SPACE_QUOTA"];
            head.push_str(&quota_columns(names.map(str::to_owned)));
        }
        if !only_quotas {
            let names = ["DIR_COUNT", "FILE_COUNT", "CONTENT_SIZE"];
            head.push_str(&columns(names.map(str::to_owned)));
        }
        run.line(&format!("{head}PATHNAME")).await?;
    }
    run.each(&given.arguments, async |run, item| {
        let sum = summary(&item).await?;
        let mut line = String::new();
        if quotas {
            line.push_str(&quota_columns(quota_of(&item, &sum, human).await?));
        }
        if !only_quotas {
            let numbers = [sum.directories, sum.files, sum.length];
            line.push_str(&columns(numbers.map(|n| size(n, human))));
        }
        run.line(&format!("{line}{}", item.text)).await
    })
    .await
}

fn columns([directories, files, length]: [String; 3]) -> String {
    format!("{directories:>12} {files:>12} {length:>18} ")
}

fn quota_columns([names, names_left, space, space_left]: [String; 4]) -> String {
    format!("{names:>12} {names_left:>15} {space:>15} {space_left:>15} ")
}

/// The quotas of a volume or a bucket, and what is left of them.
async fn quota_of(item: &Item, sum: &ContentSummary, human: bool) -> Result<[String; 4]> {
    let (mut names, mut space) = (-1_i64, -1_i64);
    if let System::Cluster(cluster) = &*item.system {
        let failed = |error| Trouble::Ofs(error).at(&item.text);
        let path = cluster.path(&item.path).map_err(failed)?;
        let objects = cluster.ofs.client().objects();
        match path.level() {
            ozone_client::ofs::Level::Volume => {
                let info = objects.info_volume(path.volume()).await;
                let info = info.map_err(CliError::from)?;
                names = info.quota_in_namespace();
                space = info.quota_in_bytes().cast_signed();
            }
            ozone_client::ofs::Level::Bucket => {
                let info = objects.info_bucket(path.volume(), path.bucket()).await;
                let info = info.map_err(CliError::from)?;
                (names, space) = (info.quota_in_namespace(), info.quota_in_bytes());
            }
            _ => {}
        }
    }
    let [names, names_left] = quota(names, sum.directories + sum.files, human);
    let [space, space_left] = quota(space, sum.consumed, human);
    Ok([names, names_left, space, space_left])
}

fn quota(quota: i64, used: u64, human: bool) -> [String; 2] {
    match u64::try_from(quota) {
        Ok(quota) if quota > 0 => [size(quota, human), size(quota.saturating_sub(used), human)],
        _ => ["none".to_owned(), "inf".to_owned()],
    }
}
