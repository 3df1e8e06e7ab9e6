//! `-text`: what is in a file, decompressed where it is compressed.

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder, ZlibDecoder};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::error::{FsError, Result};
use super::item::Item;
use super::run::Run;
use super::show::{CAT, print, read};
use super::system::Source;

/// Bytes that are read at a time of what is decompressed.
const BUFFER: usize = 1 << 16;
/// How files begin that Hadoop's tools turn into text.
const GZIP: &[u8] = &[0x1f, 0x8b];
const SEQUENCE: &[u8] = b"SEQ";
const AVRO: &[u8] = b"Obj";

/// Prints files as text.
pub(super) async fn text(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = CAT.parse(words)?;
    let work = async |run: &mut Run<'_>, item: Item| {
        item.check_no_directory()?;
        let source = decoded(read(&item, 0).await?, &item).await?;
        print(run, source, &item).await
    };
    run.each(&given.arguments, work).await
}

/// As Hadoop decides: by the first bytes, and where these say nothing by the end of the name.
async fn decoded(source: Source, item: &Item) -> Result<Source> {
    let mut source = BufReader::with_capacity(BUFFER, source);
    let begin = source.fill_buf().await;
    let begin = begin.map_err(|error| FsError::path(&item.text, error.to_string()))?;
    let refused = |what: &str| {
        let why = format!("{what} are not turned into text here; -cat prints their bytes");
        Err(FsError::path(&item.text, why))
    };
    if begin.starts_with(GZIP) {
        let mut decoder = GzipDecoder::new(source);
        decoder.multiple_members(true);
        return Ok(Box::pin(decoder));
    }
    if begin.starts_with(SEQUENCE) {
        return refused("sequence files");
    }
    if begin.starts_with(AVRO) {
        return refused("Avro files");
    }
    let ending = item.text.rsplit_once('.').map_or("", |(_, ending)| ending);
    match ending {
        "bz2" => {
            let mut decoder = BzDecoder::new(source);
            decoder.multiple_members(true);
            Ok(Box::pin(decoder))
        }
        "deflate" => Ok(Box::pin(ZlibDecoder::new(source))),
        "zst" | "lz4" | "snappy" => refused("files of this compression"),
        _ => Ok(Box::pin(source)),
    }
}
