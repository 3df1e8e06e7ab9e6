//! `-appendToFile`, `-getmerge`: several files become one.

use bytes::BytesMut;
use futures::StreamExt;
use ozone_client::ofs::{Kind, OfsError};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::error::{FsError, Result, Trouble};
use super::item::Item;
use super::options::{ANY, Format};
use super::run::{Run, Step, Walk};
use super::system::{Source, System};

const APPEND: Format = Format::new(&["n"], (1, ANY));
const GETMERGE: Format = Format::new(&["nl", "skip-empty-file"], (2, ANY));
/// Bytes read at a time.
const BUFFER: usize = 1 << 20;

/// Adds local files, or standard input, to the end of a file, which is made if it is missing.
pub(super) async fn append(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let mut given = APPEND.parse(words)?;
    let to = match given.arguments.pop() {
        Some(to) if !given.arguments.is_empty() => to,
        _ => return Err(FsError::Other("missing destination argument".to_owned())),
    };
    let to = run.systems.destination(&to).await?;
    let mut sources: Vec<(String, Source)> = Vec::new();
    for text in &given.arguments {
        if text == "-" && given.arguments.len() > 1 {
            let text = "stdin (-) must be the sole input argument when present";
            return Err(FsError::Other(text.to_owned()));
        }
        let source: Source = match text.as_str() {
            "-" => Box::pin(tokio::io::stdin()),
            text => {
                let from = run.systems.local(text).await?;
                from.status()?;
                let source = from.system.read(&from.path, 0).await;
                source.map_err(|trouble| trouble.at(text))?
            }
        };
        sources.push((text.clone(), source));
    }
    if !to.exists() {
        if !to.parent_exists().await? {
            return Err(to.missing_in_full());
        }
        let made = to
            .system
            .write(&to.path, Box::pin(tokio::io::empty()), false);
        made.await.map_err(|trouble| trouble.at(&to.text))?;
    }
    match &*to.system {
        System::Cluster(cluster) => {
            let failed = |error: OfsError| Trouble::from(error).at(&to.text);
            let path = cluster.path(&to.path).map_err(failed)?;
            let mut file = cluster.ofs.append(&path).await.map_err(failed)?;
            for (text, mut source) in sources {
                while let Some(data) = next(&text, &mut source).await? {
                    file.write(data.freeze()).await.map_err(failed)?;
                }
            }
            file.close().await.map_err(failed)
        }
        System::Local => append_local(&to, sources).await,
    }
}

async fn next(text: &str, source: &mut Source) -> Result<Option<BytesMut>> {
    let mut data = BytesMut::with_capacity(BUFFER);
    let got = source.read_buf(&mut data).await;
    let got = got.map_err(|error| FsError::path(text, error.to_string()))?;
    Ok(Some(data).filter(|_| got > 0))
}

async fn append_local(to: &Item, sources: Vec<(String, Source)>) -> Result<()> {
    let failed = |error: std::io::Error| Trouble::from(error).at(&to.text);
    let mut file = tokio::fs::OpenOptions::new()
        .write(true)
        .open(&to.path)
        .await
        .map_err(failed)?;
    file.seek(std::io::SeekFrom::End(0)).await.map_err(failed)?;
    for (text, mut source) in sources {
        while let Some(data) = next(&text, &mut source).await? {
            file.write_all(&data).await.map_err(failed)?;
        }
    }
    file.flush().await.map_err(failed)
}

/// Fetches files into one local file, those of a directory in the order of their names.
pub(super) async fn getmerge(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let mut given = GETMERGE.parse(words)?;
    let to = given.arguments.pop().unwrap_or_default();
    let to = run.systems.local(&to).await?;
    let mut files: Vec<Item> = Vec::new();
    run.each(&given.arguments, async |_, item| {
        let mut found = files_of(item).await?;
        files.append(&mut found);
        Ok(())
    })
    .await?;
    if run.failed() {
        return Ok(());
    }
    if given.has("skip-empty-file") {
        files.retain(|file| file.status.as_ref().is_some_and(|status| status.length > 0));
    }
    let newline = given.has("nl");
    let parts = futures::stream::iter(files).then(move |file| part(file, newline));
    let whole = tokio_util::io::StreamReader::new(Box::pin(parts.flat_map(|part| part)));
    let written = to.system.write(&to.path, Box::pin(whole), true).await;
    written.map_err(|trouble| trouble.at(&to.text))
}

/// The file, or the files in the directory.
async fn files_of(item: Item) -> Result<Vec<Item>> {
    if !item.is_directory() {
        return Ok(vec![item]);
    }
    let mut walk = Walk::default();
    walk.enter(item).await?;
    let mut files = Vec::new();
    while let Some(Step::Entry(entry)) = walk.next().await? {
        let kind = entry.status.as_ref().map(|status| status.kind);
        if kind == Some(Kind::File) {
            files.push(entry);
        }
    }
    Ok(files)
}

type Part = futures::stream::BoxStream<'static, std::io::Result<bytes::Bytes>>;

/// The bytes of a file, and a line break behind them.
async fn part(file: Item, newline: bool) -> Part {
    let source = match file.system.read(&file.path, 0).await {
        Ok(source) => source,
        Err(trouble) => {
            let error = std::io::Error::other(trouble.at(&file.text).to_string());
            return futures::stream::once(async { Err(error) }).boxed();
        }
    };
    let bytes = tokio_util::io::ReaderStream::with_capacity(source, BUFFER);
    let end = newline.then(|| Ok(bytes::Bytes::from_static(b"\n")));
    bytes.chain(futures::stream::iter(end)).boxed()
}
