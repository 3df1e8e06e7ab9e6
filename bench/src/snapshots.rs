//! What a snapshot costs: of a bucket of a hundred names, and of one of many, while others write.
//!
//! The time is the OM's own, from the request to the answer, so that the start of the command line is not
//! in it. The ratio says whether it grows with the bucket, which it should not.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use ozone_tests::{Cluster, ClusterOptions};

use crate::args::RunArgs;
use crate::error::{BenchError, Result, io_error};

/// Names in the small bucket.
const FEW: usize = 100;
/// Names in one directory of the large one.
const FANOUT: usize = 1000;
/// Snapshots taken of each.
const SNAPSHOTS: usize = 10;
/// Clients that write meanwhile.
const WRITERS: usize = 8;

/// Runs on a cluster of its own in `dir`, with `many` names in the large bucket.
pub(crate) fn run(dir: &Path, args: &RunArgs, many: usize) -> Result<()> {
    let cluster = Cluster::start(ClusterOptions {
        datanodes: args.datanodes(),
        replication: Some(args.replication.name()),
        dir: Some(dir.join("cluster")),
        ..ClusterOptions::default()
    });
    let load = cluster.bucket("vol", "load");
    fill(&cluster, &cluster.bucket("vol", "few"), FEW)?;
    let started = Instant::now();
    fill(&cluster, &cluster.bucket("vol", "many"), many)?;
    println!(
        "{many} names made in {:.0} s",
        started.elapsed().as_secs_f64()
    );
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let measured = thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (dir, stop, written) = (load.join(writer.to_string()), &stop, &written);
            scope.spawn(move || write(&dir, stop, written));
        }
        let measured = measure(&cluster);
        stop.store(true, Ordering::Relaxed);
        measured
    });
    let (few, many_ms) = measured?;
    println!("snapshots, {SNAPSHOTS} of each bucket, while {WRITERS} clients write\n");
    println!("  names      ms for one");
    println!("  {FEW:<9}  {few:.1}");
    println!(
        "  {many:<9}  {many_ms:.1}   {:.2} of the small one",
        many_ms / few
    );
    println!(
        "  files written meanwhile: {}\n",
        written.load(Ordering::Relaxed)
    );
    Ok(())
}

/// Makes names in a bucket that the mount has to itself, so that they need not be asked for one by one.
fn fill(cluster: &Cluster, bucket: &Path, names: usize) -> Result<()> {
    cluster.alone(bucket);
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        loop {
            let first = next.fetch_add(FANOUT, Ordering::Relaxed);
            if first >= names {
                return Ok(());
            }
            fill_dir(bucket, first..names.min(first + FANOUT))?;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| BenchError::Panicked)?)
    })
}

fn fill_dir(bucket: &Path, names: Range<usize>) -> Result<()> {
    let dir = bucket.join(names.start.to_string());
    fs::create_dir(&dir).map_err(io_error("create", &dir))?;
    for n in names {
        let file = dir.join(n.to_string());
        fs::File::create(&file).map_err(io_error("create", &file))?;
    }
    Ok(())
}

/// Small files, until told to stop.
fn write(dir: &Path, stop: &AtomicBool, written: &AtomicU64) {
    let mut made = fs::create_dir(dir);
    for n in 0.. {
        if stop.load(Ordering::Relaxed) || made.is_err() {
            return;
        }
        made = fs::write(dir.join(n.to_string()), [0; 4096]);
        written.fetch_add(1, Ordering::Relaxed);
    }
}

/// Milliseconds for a snapshot of the small bucket and of the large one, in turns.
fn measure(cluster: &Cluster) -> Result<(f64, f64)> {
    let (mut few, mut many) = (0.0, 0.0);
    for n in 0..SNAPSHOTS {
        few += take(cluster, "vol/few", n)?;
        many += take(cluster, "vol/many", n)?;
    }
    let count = SNAPSHOTS as f64;
    Ok((few / count, many / count))
}

fn take(cluster: &Cluster, bucket: &str, n: usize) -> Result<f64> {
    let before = cluster.om_seconds("CreateSnapshot");
    let output = cluster.ozone(&["sh", "snapshot", "create", bucket, &format!("snap{n}")]);
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BenchError::Program(text));
    }
    Ok((cluster.om_seconds("CreateSnapshot") - before) * 1000.0)
}
