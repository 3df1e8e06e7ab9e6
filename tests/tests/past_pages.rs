//! What is written through a handle that only writes goes past the kernel's pages: who reads the file beside it, in
//! whatever way, sees each write at once, as on a local disk.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ozone_tests::content::{bytes, number, rng};
use ozone_tests::shared::Bucket;
use ozone_tests::shell::run;
use ozone_tests::wait::wait_for;
use ozone_tests::{Cluster, ClusterOptions};
use rand::Rng;
use rand::rngs::StdRng;

const PAGE: usize = 4096;
/// Longest that anything may take that has to happen.
const LIMIT: Duration = Duration::from_secs(30);

fn write_only(path: &Path) -> File {
    OpenOptions::new().write(true).open(path).unwrap()
}

/// Says that it is over, however it ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_write_is_read_at_once_though_others_bring_in_pages_all_the_time() {
    const PAGES: u64 = 8;
    let bucket = Bucket::new("racing");
    let path = bucket.at("f");
    fs::write(&path, vec![0; PAGES as usize * PAGE]).unwrap();
    let (writer, reader, done) = (
        write_only(&path),
        File::open(&path).unwrap(),
        AtomicBool::new(false),
    );
    std::thread::scope(|scope| {
        let _over = Over(&done);
        for _ in 0..2 {
            scope.spawn(|| {
                let mut page = [0; PAGE];
                for n in (0..PAGES)
                    .cycle()
                    .take_while(|_| !done.load(Ordering::Relaxed))
                {
                    // It may be closed again when the write is taken.
                    let other = File::open(&path).unwrap();
                    other.read_exact_at(&mut page, n * PAGE as u64).unwrap();
                }
            });
        }
        for round in 1..number("WRITES", 3000) as u64 {
            let (at, mut page) = (round % PAGES * PAGE as u64, [0; PAGE]);
            writer.write_all_at(&[round as u8; PAGE], at).unwrap();
            reader.read_exact_at(&mut page, at).unwrap();
            let stale = page.iter().position(|byte| *byte != round as u8);
            assert_eq!(stale, None, "write {round}");
        }
    });
}

#[test]
fn a_mapping_shows_what_is_written_past_it() {
    let bucket = Bucket::new("mapped");
    fs::write(bucket.at("f"), [0; 3 * PAGE]).unwrap();
    let script = "import mmap, os, sys\n\
        file = os.open(sys.argv[1], os.O_WRONLY)\n\
        shown = mmap.mmap(os.open(sys.argv[1], os.O_RDONLY), 0, prot=mmap.PROT_READ)\n\
        for n in range(1000):\n\
        \x20   at, text = n * 7 % 12000, b'%04d' % n\n\
        \x20   before = shown[at:at + 4]\n\
        \x20   os.pwrite(file, text, at)\n\
        \x20   assert shown[at:at + 4] == text, (n, before, shown[at:at + 4])\n";
    let path = bucket.at("f");
    run(
        path.parent().unwrap(),
        "python3",
        &["-c", script, path.to_str().unwrap()],
    );
}

/// A file of the mount and one of the local disk, to which the same is done.
struct Twins {
    rng: StdRng,
    paths: [PathBuf; 2],
    writers: [File; 2],
    readers: [File; 2],
    reads: bool,
}

/// Files that are nobody's.
fn nobody() -> [File; 2] {
    [0, 1].map(|_| File::open("/dev/null").unwrap())
}

impl Twins {
    fn new(paths: [PathBuf; 2], reads: bool) -> Self {
        let writers = paths.each_ref().map(|path| File::create(path).unwrap());
        let readers = match reads {
            true => paths.each_ref().map(|path| File::open(path).unwrap()),
            false => nobody(),
        };
        let rng = rng();
        Self {
            rng,
            paths,
            writers,
            readers,
            reads,
        }
    }

    fn write(&mut self, files: &[File; 2]) {
        let longest = [8, 5000, 70_000, 400_000][self.rng.random_range(0..4)];
        let content = bytes(self.rng.random(), self.rng.random_range(1..longest));
        let at = [0, self.rng.random_range(0..300_000)][self.rng.random_range(0..2)];
        for file in files {
            file.write_all_at(&content, at).unwrap();
        }
    }

    fn write_past(&mut self) {
        let files = self
            .writers
            .each_ref()
            .map(|file| file.try_clone().unwrap());
        self.write(&files);
        // A descriptor is closed with it, and the other one stays.
    }

    fn write_into(&mut self) {
        let both = |path| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .unwrap()
        };
        self.write(&self.paths.each_ref().map(both));
    }

    fn cut(&mut self) {
        let length = self.rng.random_range(0..600_000);
        for path in &self.paths {
            write_only(path).set_len(length).unwrap();
        }
    }

    fn reopen(&mut self, cut: bool) {
        // Nobody else has it open then, but for the readers.
        self.writers = nobody();
        let open = |path| {
            OpenOptions::new()
                .write(true)
                .truncate(cut)
                .open(path)
                .unwrap()
        };
        self.writers = self.paths.each_ref().map(open);
    }

    fn forget_readers(&mut self) {
        self.readers = self.paths.each_ref().map(|path| File::open(path).unwrap());
    }

    fn step(&mut self) {
        match self.rng.random_range(0..20) {
            0..8 => self.write_past(),
            8..10 => self.write_into(),
            10 => self.cut(),
            11 => self.reopen(true),
            12 => self.reopen(false),
            13 if self.reads => self.forget_readers(),
            14..17 => same(self.paths.each_ref().map(|path| fs::read(path).unwrap())),
            _ => same(self.readers.each_ref().map(|file| {
                let mut all = vec![0; 1 << 20];
                let length = file.read_at(&mut all, 0).unwrap();
                all.truncate(length);
                all
            })),
        }
    }
}

fn same([got, expected]: [Vec<u8>; 2]) {
    let differs = got.iter().zip(&expected).position(|(a, b)| a != b);
    assert_eq!((got.len(), differs), (expected.len(), None));
}

#[test]
fn random_writes_past_and_into_pages_do_what_they_do_to_a_local_file() {
    for bucket in Bucket::both("past") {
        let local = tempfile::tempdir().unwrap();
        for file in 0..4 {
            let name = format!("f{file}");
            // Without a reader, the kernel is given pages when a descriptor is closed.
            let reads = file % 2 == 0;
            let mut twins = Twins::new([bucket.at(&name), local.path().join(&name)], reads);
            for _ in 0..number("STEPS", 250) {
                twins.step();
            }
            same(twins.paths.each_ref().map(|path| fs::read(path).unwrap()));
        }
    }
}

#[test]
fn a_small_file_that_was_just_written_is_read_without_a_call() {
    let cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    let reads = || {
        cluster.metric(
            "ozone_fs_request_seconds_count",
            &["op=\"read\"".to_owned()],
        )
    };
    // Unless the machine stands still for a second, or another test starts a program meanwhile, which holds
    // the file open for a moment.
    let mut rounds = 0..;
    wait_for(LIMIT, || {
        let dir = bucket.join(rounds.next().unwrap().to_string());
        fs::create_dir(&dir).unwrap();
        let before = reads();
        for length in [1, 100, PAGE, 3 * PAGE + 1, 500_000] {
            let (path, content) = (dir.join(length.to_string()), bytes(length as u64, length));
            fs::write(&path, &content).unwrap();
            same([fs::read(&path).unwrap(), content]);
        }
        match reads() - before {
            0 => Ok(()),
            more => Err(format!("{more} reads of five files")),
        }
    });
}

#[test]
fn a_single_write_that_asks_for_it_is_durable_when_it_returns() {
    let mut cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "bucket");
    cluster.alone(&bucket);
    let script = "import os, sys\n\
        file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n\
        os.pwritev(file, [b'durable'], 0, os.RWF_DSYNC)\n\
        print('written', flush=True)\n\
        sys.stdin.read()\n";
    let path = bucket.join("f");
    let mut program = std::process::Command::new("python3")
        .args(["-c", script, path.to_str().unwrap()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut output = std::io::BufReader::new(program.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut said).unwrap();
    assert_eq!(said, "written\n");
    // The program still has it open: nothing but the write can have made it durable.
    cluster.kill9();
    drop(program.stdin.take());
    program.wait().unwrap();
    cluster.restart();
    assert_eq!(fs::read(&path).unwrap(), b"durable");
}
