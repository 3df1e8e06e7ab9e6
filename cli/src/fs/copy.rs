//! `-put`, `-get`, `-cp`, `-moveFromLocal`, `-mv`: from one place to another.
//!
//! A file appears under its name when all of it is there, so no other name is needed meanwhile, which is
//! what `-d` asks for in Hadoop.

use ozone_client::ofs::Times;

use super::error::{FsError, Result};
use super::item::Item;
use super::options::{ANY, Format};
use super::run::{Run, Step, Walk};
use super::system::Source;

const PUT: Format = Format {
    flags: &["f", "p", "l", "d"],
    values: &["t", "q"],
    arguments: (1, ANY),
};
const GET: Format = Format {
    flags: &["f", "p", "crc", "ignoreCrc"],
    values: &["t", "q"],
    arguments: (1, ANY),
};
const CP: Format = Format {
    flags: &["f", "p", "d"],
    values: &["t", "q"],
    arguments: (2, ANY),
};
const MV: Format = Format::new(&[], (2, ANY));

/// A copy of one or several things.
struct Copy {
    to: Item,
    overwrite: bool,
    /// Whether times, owner and mode come along.
    keep: bool,
    /// Whether what was copied is removed, and directories that are there are left alone.
    moving: bool,
}

/// Stores local files.
pub(super) async fn put(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    from_local(run, words, false).await
}

/// Stores local files and removes them here.
pub(super) async fn move_from_local(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    from_local(run, words, true).await
}

async fn from_local(run: &mut Run<'_>, words: Vec<String>, moving: bool) -> Result<()> {
    let mut given = PUT.parse(words)?;
    let to = last_or_here(&mut given.arguments);
    let copy = Copy {
        to: run.systems.destination(&to).await?,
        overwrite: given.has("f"),
        keep: given.has("p"),
        moving,
    };
    if let [only] = given.arguments.as_slice()
        && only == "-"
        && !moving
    {
        let target = copy.target_of("-");
        return copy.write(Box::pin(tokio::io::stdin()), &target).await;
    }
    let mut items = Vec::new();
    for text in &given.arguments {
        items.push(run.systems.local(text).await?);
    }
    copy.all(run, items).await
}

/// Fetches files to this machine.
pub(super) async fn get(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let mut given = GET.parse(words)?;
    let to = last_or_here(&mut given.arguments);
    let copy = Copy {
        to: run.systems.local(&to).await?,
        overwrite: given.has("f"),
        keep: given.has("p"),
        moving: false,
    };
    let items = run.expand(&given.arguments).await?;
    copy.all(run, items).await
}

/// Hadoop does not do it either.
pub(super) fn move_to_local() -> Result<()> {
    let text = "Option '-moveToLocal' is not implemented yet.";
    Err(FsError::Other(text.to_owned()))
}

/// Copies.
pub(super) async fn cp(run: &mut Run<'_>, mut words: Vec<String>) -> Result<()> {
    let keep = take_keep(&mut words);
    let mut given = CP.parse(words)?;
    let to = last_or_here(&mut given.arguments);
    let copy = Copy {
        to: run.systems.destination(&to).await?,
        overwrite: given.has("f"),
        keep: keep || given.has("p"),
        moving: false,
    };
    let items = run.expand(&given.arguments).await?;
    copy.all(run, items).await
}

/// Gives things other names.
pub(super) async fn mv(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let mut given = MV.parse(words)?;
    let to = last_or_here(&mut given.arguments);
    let copy = Copy {
        to: run.systems.destination(&to).await?,
        overwrite: false,
        keep: false,
        moving: true,
    };
    let items = run.expand(&given.arguments).await?;
    copy.check(items.len()).await?;
    for item in items {
        if let Err(error) = copy.rename(&item).await {
            run.tell(error).await?;
        }
    }
    Ok(())
}

/// The last argument, or without a second one the directory where paths start.
fn last_or_here(arguments: &mut Vec<String>) -> String {
    match arguments.len() {
        0 | 1 => ".".to_owned(),
        _ => arguments.pop().unwrap_or_default(),
    }
}

/// Takes `-ptopax`, which may name what is to be kept, out of the options.
fn take_keep(words: &mut Vec<String>) -> bool {
    let is_keep = |word: &String| {
        let what = word.strip_prefix("-p");
        what.is_some_and(|what| !what.is_empty() && what.chars().all(|c| "topax".contains(c)))
    };
    let options = words.iter().take_while(|word| word.starts_with('-'));
    let Some(at) = options.clone().position(is_keep) else {
        return false;
    };
    words.remove(at);
    true
}

impl Copy {
    /// Whether so many things can go there at all.
    async fn check(&self, count: usize) -> Result<()> {
        let to = &self.to;
        if count > 1 {
            to.status()?;
            return to.check_directory();
        }
        match to.exists() {
            true if !to.is_directory() && !self.overwrite => Err(FsError::exists(&to.text)),
            false if !to.parent_exists().await? => Err(to.missing_in_full()),
            _ => Ok(()),
        }
    }

    async fn all(&self, run: &mut Run<'_>, items: Vec<Item>) -> Result<()> {
        self.check(items.len()).await?;
        for item in items {
            let done = match item.exists() {
                true => self.one(run, item).await,
                false => Err(item.missing()),
            };
            if let Err(error) = done {
                run.tell(error).await?;
            }
        }
        Ok(())
    }

    /// Where something of that name goes.
    fn target_of(&self, name: &str) -> Item {
        match self.to.is_directory() || self.to.looks_like_directory() {
            true => self.to.child(name, None),
            false => self.to.clone(),
        }
    }

    async fn one(&self, run: &mut Run<'_>, from: Item) -> Result<()> {
        let target = self.target_of(from.name());
        if !from.is_directory() {
            return self.file(&from, &target).await;
        }
        check_apart(&from, &target)?;
        let mut walk = Walk::default();
        let mut targets = vec![self.directory(target).await?];
        walk.enter(from).await?;
        loop {
            let step = match walk.next().await {
                Ok(None) => return Ok(()),
                Ok(Some(step)) => step,
                Err(error) => {
                    targets.pop();
                    run.tell(error).await?;
                    continue;
                }
            };
            if let Err(error) = self.step(step, &mut walk, &mut targets).await {
                run.tell(error).await?;
            }
        }
    }

    async fn step(&self, step: Step, walk: &mut Walk, targets: &mut Vec<Item>) -> Result<()> {
        match step {
            Step::Entry(item) => {
                let Some(dir) = targets.last() else {
                    return Ok(());
                };
                let target = dir.child(item.name(), None);
                if !item.is_directory() {
                    return self.file(&item, &target).await;
                }
                let target = self.directory(target).await?;
                walk.enter(item).await?;
                targets.push(target);
                Ok(())
            }
            Step::Leave(dir) => match targets.pop() {
                Some(target) => self.finish(&dir, &target).await,
                None => Ok(()),
            },
        }
    }

    /// The directory that a directory is copied to, made if it is missing.
    async fn directory(&self, mut target: Item) -> Result<Item> {
        target.refresh().await?;
        if target.exists() {
            target.check_directory()?;
            return match self.moving {
                true => Err(FsError::exists(&target.text)),
                false => Ok(target),
            };
        }
        let made = target.system.mkdirs(&target.path).await;
        made.map_err(|trouble| trouble.at(&target.text))?;
        Ok(target)
    }

    async fn file(&self, from: &Item, target: &Item) -> Result<()> {
        let source = from.system.read(&from.path, 0).await;
        let source = source.map_err(|trouble| trouble.at(&from.text))?;
        self.write(source, target).await?;
        self.finish(from, target).await
    }

    async fn write(&self, source: Source, target: &Item) -> Result<()> {
        let system = &target.system;
        match system.write(&target.path, source, self.overwrite).await {
            Ok(()) => Ok(()),
            // A file does not take the place of a directory, whatever was asked for.
            Err(trouble) if trouble.is_taken() => Err(FsError::exists(&target.text)),
            Err(trouble) => Err(trouble.at(&target.text)),
        }
    }

    /// What is left to do when all of it is there.
    async fn finish(&self, from: &Item, target: &Item) -> Result<()> {
        if self.keep {
            self.keep_attributes(from, target).await?;
        }
        if !self.moving {
            return Ok(());
        }
        let removed = from.system.delete(&from.path, false).await;
        removed.map_err(|trouble| trouble.at(&from.text))
    }

    async fn keep_attributes(&self, from: &Item, target: &Item) -> Result<()> {
        let (status, system, path) = (from.status()?, &target.system, &target.path);
        let times = Times {
            modified_ms: Some(status.modified_ms),
            accessed_ms: Some(status.accessed_ms),
        };
        let (owner, group) = (status.owner.clone(), status.group.clone());
        let failed = |trouble: super::error::Trouble| trouble.at(&target.text);
        let owned = system.set_owner(path, Some(owner), Some(group)).await;
        owned.map_err(failed)?;
        let set = system.set_permission(path, status.mode).await;
        set.map_err(failed)?;
        system.set_times(path, times).await.map_err(failed)
    }

    async fn rename(&self, from: &Item) -> Result<()> {
        from.status()?;
        let mut target = self.target_of(from.name());
        check_apart(from, &target)?;
        if !from.same_system(&target) {
            let what = "Does not match target filesystem";
            return Err(FsError::path(&from.text, what));
        }
        target.refresh().await?;
        if target.exists() {
            return Err(FsError::exists(&target.text));
        }
        let renamed = from.system.rename(&from.path, &target.path).await;
        renamed.map_err(|trouble| trouble.at(&from.text))
    }
}

/// Refuses to put a directory into itself.
fn check_apart(from: &Item, target: &Item) -> Result<()> {
    if !from.is_directory() || !from.same_system(target) {
        return Ok(());
    }
    let what = if from.path == target.path {
        "are identical"
    } else if target.path.starts_with(&format!("{}/", from.path)) {
        "is a subdirectory of itself"
    } else {
        return Ok(());
    };
    let shown = match what {
        "are identical" => target.full(),
        _ => target.text.clone(),
    };
    Err(FsError::Other(format!(
        "`{}' to `{shown}': {what}",
        from.text
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_kept_may_be_named() {
        let taken = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned).collect();
            (take_keep(&mut words), words.join(" "))
        };
        assert_eq!(taken("-f -ptopa a b"), (true, "-f a b".to_owned()));
        assert_eq!(taken("-p a b"), (false, "-p a b".to_owned()));
        assert_eq!(taken("a -ptop"), (false, "a -ptop".to_owned()));
    }
}
