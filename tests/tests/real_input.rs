//! Source trees as people have them: cloned, copied, unpacked and built on the mount, and the same
//! to the last byte after everything was killed.
//! `FILES=10000` makes a soak of it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ozone_tests::content::number;
use ozone_tests::shell::run;
use ozone_tests::sources;
use ozone_tests::{Cluster, ClusterOptions};

/// Commits of the repository.
const COMMITS: usize = 200;
/// A crate that this workspace depends on, with tests of its own and without dependencies.
const BUILT: &str = "heck-";
/// Crates that are copied and unpacked as they are.
const COPIED: &str = "tokio-1";
const PACKED: &str = "clap_builder-";

/// The directory with the sources of the crates that this workspace depends on.
fn registry() -> PathBuf {
    sources::registry().expect("sources of crates: run cargo fetch")
}

/// The sources of the crate whose directory starts with `prefix`.
fn sources_of(registry: &Path, prefix: &str) -> PathBuf {
    let all = fs::read_dir(registry).unwrap();
    let found = all
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with(prefix))
        .map(|entry| entry.path())
        .min();
    found.unwrap_or_else(|| panic!("no {prefix} in {}: run cargo fetch", registry.display()))
}

/// Paths of `count` files, relative to `root`. Not those that make git change other files.
fn some_files(root: &Path, count: usize) -> Vec<PathBuf> {
    let list = "find . -type f ! -name .gitattributes | LC_ALL=C sort";
    let list = run(root, "sh", &["-c", list]);
    let files: Vec<PathBuf> = list.lines().take(count).map(PathBuf::from).collect();
    assert_eq!(
        files.len(),
        count,
        "too few files in {}: run cargo fetch, or pass a smaller FILES",
        root.display()
    );
    files
}

fn git(dir: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
    // What it adds is what it gives back, whatever the sources say about ends of lines.
    let plain = ["-c", "gc.auto=0", "-c", "core.autocrlf=false"];
    run(dir, "git", &[&identity[..], &plain, args].concat())
}

/// A repository of `count` files of the registry, some of them in each commit.
fn make_repository(repository: &Path, registry: &Path, count: usize) {
    fs::create_dir(repository).unwrap();
    git(repository, &["init", "-q"]);
    let files = some_files(registry, count);
    for (n, files) in files.chunks(count.div_ceil(COMMITS)).enumerate() {
        for file in files {
            let to = repository.join(file);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(registry.join(file), to).unwrap();
        }
        // Crates come with files that say what git should ignore.
        git(repository, &["add", "--force", "."]);
        let message = format!("part {n}");
        git(repository, &["commit", "-q", "-m", &message]);
    }
}

/// Builds the crate in `dir` and runs its tests, all on the mount.
fn build(dir: &Path) -> String {
    let cargo = env!("CARGO");
    let arguments = ["test", "--offline", "--lib", "--target-dir", "target"];
    run(dir, cargo, &arguments)
}

/// Checksums of all files, with their paths.
fn checksums(root: &Path) -> String {
    let command = "find . -name .git -prune -o -type f -print0 | LC_ALL=C sort -z | \
                   xargs -0 sha256sum";
    run(root, "sh", &["-c", command])
}

/// Makes everything below `root` durable, which none of these programs does.
fn fsync_all(root: &Path) {
    for entry in fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            fsync_all(&entry.path());
        } else if kind.is_file() {
            File::open(entry.path()).unwrap().sync_all().unwrap();
        }
    }
    File::open(root).unwrap().sync_all().unwrap();
}

/// A tree on the mount, and what it has to be equal to.
struct Tree {
    mounted: PathBuf,
    local: PathBuf,
}

impl Tree {
    fn check(&self) {
        let [mounted, local] = [&self.mounted, &self.local].map(|path| path.to_str().unwrap());
        let options = ["-r", "--no-dereference", "--exclude=.git"];
        run(
            &self.mounted,
            "diff",
            &[&options[..], &[local, mounted]].concat(),
        );
        assert!(
            checksums(&self.mounted) == checksums(&self.local),
            "{mounted} has other checksums than {local}"
        );
    }
}

fn check(trees: &[Tree], clone: &Path) {
    trees.iter().for_each(Tree::check);
    git(clone, &["fsck", "--strict", "--full"]);
    assert_eq!(git(clone, &["status", "--porcelain"]), "");
}

/// Puts real trees into `bucket`: a clone, a copy, an archive's content, and a build.
fn fill(bucket: &Path, local: &Path, registry: &Path) -> Vec<Tree> {
    let tree = |name: &str, local: PathBuf| Tree {
        mounted: bucket.join(name),
        local,
    };
    let repository = local.join("repository");
    make_repository(&repository, registry, number("FILES", 1_500));
    let from = repository.to_str().unwrap();
    git(bucket, &["clone", "-q", "--no-local", from, "clone"]);
    let copied = sources_of(registry, COPIED);
    run(bucket, "cp", &["-a", copied.to_str().unwrap(), "copy"]);
    let packed = sources_of(registry, PACKED);
    let archive = local.join("packed.tar");
    let archive = archive.to_str().unwrap();
    run(&packed, "tar", &["cf", archive, "."]);
    fs::create_dir(bucket.join("unpacked")).unwrap();
    run(&bucket.join("unpacked"), "tar", &["xf", archive]);
    let built = sources_of(registry, BUILT);
    let sources = built.to_str().unwrap();
    run(bucket, "cp", &["-a", sources, "built"]);
    run(bucket, "diff", &["-r", sources, "built"]);
    build(&bucket.join("built"));
    let of_built = local.join("built");
    run(bucket, "cp", &["-a", "built", of_built.to_str().unwrap()]);
    vec![
        tree("clone", repository),
        tree("copy", copied),
        tree("unpacked", packed),
        tree("built", of_built),
    ]
}

#[test]
fn source_trees_are_the_same_after_a_kill() {
    let registry = registry();
    let mut cluster = Cluster::start(ClusterOptions::default());
    let bucket = cluster.bucket("vol", "real");
    let local = cluster.scratch().join("local");
    fs::create_dir(&local).unwrap();
    let trees = fill(&bucket, &local, &registry);
    let clone = bucket.join("clone");
    check(&trees, &clone);
    let head = git(&clone, &["rev-parse", "HEAD"]);
    fsync_all(&bucket);
    cluster.kill9();
    cluster.restart();
    check(&trees, &clone);
    assert_eq!(git(&clone, &["rev-parse", "HEAD"]), head);
    let commits = git(&clone, &["rev-list", "--count", "HEAD"]);
    assert_eq!(
        commits,
        git(&trees[0].local, &["rev-list", "--count", "HEAD"])
    );
    assert!(
        build(&bucket.join("built")).contains("test result: ok"),
        "its tests did not pass"
    );
}
