//! Objects by S3: small ones by one client and by many, a large one in parts, and a listing; on the gateway, on the
//! raw disk with the same promises, and on MinIO where its binary is given.
//!
//! The places take turns in each round, so that whatever else the machine does hits all of them. All stores are
//! asked by the same client.

mod connection;
mod minio;
mod raw;
mod store;
mod table;

use std::fs;
use std::path::Path;

use nix::unistd::syncfs;
use ozone_tests::content;
use ozone_tests::s3::S3;
use ozone_tests::{Cluster, ClusterOptions};

use self::minio::Minio;
use self::raw::Raw;
use self::store::Store;
use self::table::Table;
use crate::args::{RunArgs, Sizes};
use crate::error::{BenchError, Result, io_error};
use crate::measure::timed;

/// Bytes of a small object.
const SMALL: usize = 4 << 10;
/// Bytes of a part.
pub(crate) const PART: usize = 16 << 20;
/// Clients of the rows with many.
const MANY: usize = 16;

/// How much is stored.
pub(crate) struct Amounts {
    /// Small objects of many clients, which are listed, too.
    objects: usize,
    /// MiB of the large object.
    mib: u64,
}

impl Amounts {
    /// Parts of the large object.
    pub(crate) fn parts(&self) -> usize {
        let parts = (self.mib << 20).div_ceil(PART as u64);
        usize::try_from(parts).unwrap_or(usize::MAX)
    }
}

/// Where objects are kept.
pub(crate) trait Place {
    fn name(&self) -> &'static str;

    /// Puts so many small objects.
    fn put(&self, prefix: &str, count: usize, clients: usize) -> Result<()>;

    /// Gets those that were put.
    fn get(&self, prefix: &str, count: usize, clients: usize) -> Result<()>;

    /// Lists them with their sizes; how many there are.
    fn list(&self, prefix: &str) -> Result<usize>;

    fn put_large(&self, amounts: &Amounts) -> Result<()>;

    fn get_large(&self, amounts: &Amounts) -> Result<()>;
}

/// Prints the table, with all data in `dir`.
pub(crate) fn run(dir: &Path, args: &RunArgs, sizes: &Sizes) -> Result<()> {
    let amounts = Amounts {
        objects: sizes.objects,
        mib: sizes.file_mib,
    };
    let cluster = Cluster::start(ClusterOptions {
        datanodes: args.datanodes(),
        replication: Some(args.replication.name()),
        dir: Some(dir.join("cluster")),
        ..ClusterOptions::default()
    });
    let minio = args.minio.as_deref();
    let minio = minio.map(|binary| Minio::start(binary, &dir.join("minio")));
    let minio = minio.transpose()?;
    let (small, part) = (content::bytes(1, SMALL), content::bytes(2, PART));
    let gateway = Store::new("ozone", S3::of(&cluster, "bench"), &small, &part)?;
    let mut places: Vec<Box<dyn Place>> = vec![
        Box::new(Raw::new(dir.join("raw"), &small, &part)?),
        Box::new(gateway),
    ];
    if let Some(minio) = &minio {
        let store = Store::new("minio", minio.s3.clone(), &small, &part)?;
        places.push(Box::new(store));
    }
    let mut table = Table::new(places.iter().map(|place| place.name()).collect());
    for round in 1..=sizes.rounds {
        eprintln!("S3, round {round} of {}", sizes.rounds);
        for (at, place) in places.iter().enumerate() {
            settle(dir)?;
            measure(place.as_ref(), &amounts, round, &mut |row, amount, work| {
                let ((), time) = timed(work)?;
                table.record(row, at, amount / time.as_secs_f64());
                Ok(())
            })?;
        }
    }
    println!("{table}");
    Ok(())
}

/// Lets the disk finish what was left to it.
fn settle(dir: &Path) -> Result<()> {
    let opened = fs::File::open(dir).map_err(io_error("open", dir))?;
    syncfs(opened).map_err(|e| io_error("sync", dir)(e.into()))
}

/// Takes the name of a row, how much its work is, and the work.
type Step<'a> = dyn FnMut(&'static str, f64, &dyn Fn() -> Result<()>) -> Result<()> + 'a;

/// Runs all workloads once. Rounds put objects of their own; the large one is replaced.
fn measure(place: &dyn Place, amounts: &Amounts, round: usize, step: &mut Step<'_>) -> Result<()> {
    let (one, many) = (format!("one-{round}"), format!("many-{round}"));
    let (count, few) = (amounts.objects, amounts.objects / 8);
    step("PUT 4 KiB, 1 client      /s", few as f64, &|| {
        place.put(&one, few, 1)
    })?;
    step("PUT 4 KiB, 16 clients    /s", count as f64, &|| {
        place.put(&many, count, MANY)
    })?;
    step("GET 4 KiB, 1 client      /s", few as f64, &|| {
        place.get(&one, few, 1)
    })?;
    step("GET 4 KiB, 16 clients    /s", count as f64, &|| {
        place.get(&many, count, MANY)
    })?;
    step(
        "LIST with sizes       keys/s",
        count as f64,
        &|| match place.list(&many)? {
            found if found == count => Ok(()),
            found => Err(BenchError::S3 {
                endpoint: place.name().to_owned(),
                problem: format!("{found} keys are listed instead of {count}"),
            }),
        },
    )?;
    let mib = (amounts.parts() * PART / (1 << 20)) as f64;
    step("multipart PUT         MiB/s", mib, &|| {
        place.put_large(amounts)
    })?;
    step("large GET             MiB/s", mib, &|| {
        place.get_large(amounts)
    })
}
