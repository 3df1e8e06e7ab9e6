//! `-cat`, `-head`, `-tail`, `-checksum`: what is in a file.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::error::{FsError, Result};
use super::item::Item;
use super::options::{ANY, Format};
use super::run::Run;
use super::system::{Source, System};

pub(super) const CAT: Format = Format::new(&["ignoreCrc"], (1, ANY));
const HEAD: Format = Format::new(&[], (1, 1));
const TAIL: Format = Format {
    flags: &["f"],
    values: &["s"],
    arguments: (1, 1),
};
const CHECKSUM: Format = Format::new(&["v"], (1, ANY));
/// Bytes that `-head` and `-tail` print.
const ENDS: u64 = 1024;
/// How often `-tail -f` looks for more.
const LOOK: Duration = Duration::from_secs(5);

/// Prints files.
pub(super) async fn cat(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = CAT.parse(words)?;
    let work = async |run: &mut Run<'_>, item: Item| {
        item.check_no_directory()?;
        let source = read(&item, 0).await?;
        print(run, source, &item).await
    };
    run.each(&given.arguments, work).await
}

/// Prints the first kilobyte of a file.
pub(super) async fn head(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = HEAD.parse(words)?;
    let work = async |run: &mut Run<'_>, item: Item| {
        item.check_no_directory()?;
        let source = read(&item, 0).await?;
        print(run, Box::pin(source.take(ENDS)), &item).await
    };
    run.each(&given.arguments, work).await
}

/// Prints the last kilobyte of a file, and with `-f` what is added to it.
pub(super) async fn tail(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = TAIL.parse(words)?;
    let follow = given.has("f");
    let pause = match given.value("s") {
        None => LOOK,
        Some(ms) => match ms.parse() {
            Ok(ms) => Duration::from_millis(ms),
            Err(_) => return Err(FsError::Argument(format!("For input string: \"{ms}\""))),
        },
    };
    let work = async |run: &mut Run<'_>, mut item: Item| {
        item.check_no_directory()?;
        let mut at = item.status()?.length.saturating_sub(ENDS);
        loop {
            let end = item.status()?.length;
            if end > at {
                let source = read(&item, at).await?;
                print(run, Box::pin(source.take(end - at)), &item).await?;
            }
            if !follow {
                return Ok(());
            }
            at = end;
            tokio::time::sleep(pause).await;
            item.refresh().await?;
            // It was cut: what is new is at its end.
            at = at.min(item.status()?.length);
        }
    };
    run.each(&given.arguments, work).await
}

/// Prints the checksums of files.
pub(super) async fn checksum(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = CHECKSUM.parse(words)?;
    let verbose = given.has("v");
    let work = async |run: &mut Run<'_>, item: Item| {
        item.check_no_directory()?;
        let System::Cluster(cluster) = &*item.system else {
            return run.line(&format!("{}\tNONE\t", item.text)).await;
        };
        let failed =
            |error: ozone_client::ofs::OfsError| super::error::Trouble::from(error).at(&item.text);
        let path = cluster.path(&item.path).map_err(failed)?;
        let sum = cluster.ofs.checksum(&path).await.map_err(failed)?;
        let hex: String = sum.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let block = match verbose {
            true => format!("\tBlockSize={}", item.status()?.block_size),
            false => String::new(),
        };
        run.line(&format!("{}\t{}\t{hex}{block}", item.text, sum.algorithm))
            .await
    };
    run.each(&given.arguments, work).await
}

pub(super) async fn read(item: &Item, offset: u64) -> Result<Source> {
    let source = item.system.read(&item.path, offset).await;
    source.map_err(|trouble| trouble.at(&item.text))
}

/// Prints everything, a few buffers in memory at a time.
pub(super) async fn print(run: &mut Run<'_>, mut source: Source, item: &Item) -> Result<()> {
    run.flush().await?;
    let mut out = tokio::io::stdout();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let got = source.read(&mut buffer).await;
        let got = got.map_err(|error| FsError::path(&item.text, error.to_string()))?;
        if got == 0 {
            return out.flush().await.map_err(FsError::Output);
        }
        let printed = out.write_all(&buffer[..got]).await;
        printed.map_err(FsError::Output)?;
    }
}
