//! `-chmod`, `-chown`, `-chgrp`, `-setrep`.

use super::error::{FsError, Result, Trouble};
use super::item::Item;
use super::options::{ANY, Format};
use super::run::{Run, Step, Walk};

const CHANGE: Format = Format::new(&["R"], (2, ANY));
const SETREP: Format = Format::new(&["R", "w"], (2, ANY));

/// A change of the permission bits.
#[derive(Debug, PartialEq, Eq)]
enum Mode {
    /// To these.
    Octal(u32),
    /// One step after the other.
    Steps(Vec<ModeStep>),
}

#[derive(Debug, PartialEq, Eq)]
struct ModeStep {
    /// The bits of those whom it is about.
    who: u32,
    operator: char,
    /// The bits, for everybody.
    what: u32,
    /// `X`: execution as well, where somebody may execute already and of directories.
    execute_if: bool,
}

/// Changes modes.
pub(super) async fn chmod(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    // `-rwx` is a mode, not an option.
    let (options, words) = split_options(words);
    let mut given = CHANGE.parse([options, vec!["--".to_owned()], words].concat())?;
    let text = given.arguments.remove(0);
    let wrong = || format!("chmod : mode '{text}' does not match the expected pattern.");
    let mode = parse_mode(&text).ok_or_else(|| FsError::Argument(wrong()))?;
    let recursive = given.has("R");
    let change = async |item: &Item| {
        let status = item.status()?;
        let new = mode.apply(status.mode, status.is_directory());
        if new == status.mode {
            return Ok(());
        }
        let set = item.system.set_permission(&item.path, new).await;
        set.map_err(|trouble| failed("permissions", item, &trouble))
    };
    every(run, &given.arguments, recursive, change).await
}

fn split_options(mut words: Vec<String>) -> (Vec<String>, Vec<String>) {
    let at = words.iter().position(|word| word != "-R");
    let rest = words.split_off(at.unwrap_or(words.len()));
    (words, rest)
}

/// Changes owners, and groups behind a colon.
pub(super) async fn chown(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = CHANGE.parse(words)?;
    let text = given.arguments[0].clone();
    let (owner, group) = match text.split_once(':') {
        Some((owner, group)) => (owner.to_owned(), group.to_owned()),
        None => (text.clone(), String::new()),
    };
    if !is_name(&owner) || !is_name(&group) || (owner.is_empty() && group.is_empty()) {
        let text = format!("'{text}' does not match expected pattern for [owner][:group].");
        return Err(FsError::Argument(text));
    }
    change_owner(run, &given.arguments[1..], given.has("R"), (owner, group)).await
}

/// Changes groups.
pub(super) async fn chgrp(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = CHANGE.parse(words)?;
    let group = given.arguments[0].clone();
    if group.is_empty() || !is_name(&group) {
        let text = format!("'{group}' does not match expected pattern for group");
        return Err(FsError::Argument(text));
    }
    let names = (String::new(), group);
    change_owner(run, &given.arguments[1..], given.has("R"), names).await
}

async fn change_owner(
    run: &mut Run<'_>,
    arguments: &[String],
    recursive: bool,
    (owner, group): (String, String),
) -> Result<()> {
    let some = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
    let (owner, group) = (some(&owner), some(&group));
    let change = async |item: &Item| {
        let status = item.status()?;
        let same = |new: &Option<String>, old: &String| new.as_ref().is_none_or(|new| new == old);
        if same(&owner, &status.owner) && same(&group, &status.group) {
            return Ok(());
        }
        let set = item
            .system
            .set_owner(&item.path, owner.clone(), group.clone());
        let set = set.await;
        set.map_err(|trouble| failed("ownership", item, &trouble))
    };
    every(run, arguments, recursive, change).await
}

fn is_name(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_alphanumeric() || "-_./@$ ".contains(c))
}

fn failed(what: &str, item: &Item, trouble: &Trouble) -> FsError {
    FsError::Other(format!("changing {what} of '{}': {trouble}", item.text))
}

/// Ozone replicates a file as it was written.
pub(super) async fn setrep(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let given = SETREP.parse(words)?;
    match given.arguments[0].parse::<i64>() {
        Ok(1..) => {}
        Ok(_) => {
            let text = "replication must be >= 1".to_owned();
            return Err(FsError::Argument(text));
        }
        Err(_) => {
            let text = "Illegal replication, a positive integer expected".to_owned();
            return Err(FsError::Argument(text));
        }
    }
    run.each(&given.arguments[1..], async |_, item| {
        let text = format!("Could not set replication for: {}", item.text);
        Err(FsError::Other(text))
    })
    .await
}

/// Does something with each argument, and with everything below it where asked to.
async fn every(
    run: &mut Run<'_>,
    arguments: &[String],
    recursive: bool,
    change: impl AsyncFn(&Item) -> Result<()>,
) -> Result<()> {
    run.each(arguments, async |run, item| {
        change(&item).await?;
        if !recursive || !item.is_directory() {
            return Ok(());
        }
        let mut walk = Walk::default();
        walk.enter(item).await?;
        loop {
            let item = match walk.next().await {
                Ok(None) => return Ok(()),
                Ok(Some(Step::Leave(_))) => continue,
                Ok(Some(Step::Entry(item))) => item,
                Err(error) => {
                    run.tell(error).await?;
                    continue;
                }
            };
            if let Err(error) = change(&item).await {
                run.tell(error).await?;
            }
            if item.is_directory()
                && let Err(error) = walk.enter(item).await
            {
                run.tell(error).await?;
            }
        }
    })
    .await
}

impl Mode {
    fn apply(&self, old: u32, directory: bool) -> u32 {
        let steps = match self {
            Self::Octal(mode) => return *mode,
            Self::Steps(steps) => steps,
        };
        steps.iter().fold(old, |mode, step| {
            let execute = match step.execute_if && (directory || mode & 0o111 != 0) {
                true => 0o111,
                false => 0,
            };
            let bits = (step.what | execute) & step.who;
            match step.operator {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => (mode & !step.who) | bits,
            }
        })
    }
}

/// `755`, `1777`, `u+x,go-w`, `a=r`.
fn parse_mode(text: &str) -> Option<Mode> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if matches!(digits.len(), 3 | 4) && digits.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        let mode = u32::from_str_radix(digits, 8).ok()?;
        return Some(Mode::Octal(mode)).filter(|_| mode <= 0o1777);
    }
    let steps = text.split(',').map(parse_step);
    Some(Mode::Steps(steps.collect::<Option<Vec<_>>>()?))
}

fn parse_step(text: &str) -> Option<ModeStep> {
    let at = text.find(['+', '-', '='])?;
    let (who, rest) = text.split_at(at);
    let mut chars = rest.chars();
    let operator = chars.next()?;
    let mut step = ModeStep {
        who: if who.is_empty() { 0o1777 } else { 0 },
        operator,
        what: 0,
        execute_if: false,
    };
    for c in who.chars() {
        step.who |= match c {
            'u' => 0o700,
            'g' => 0o070,
            'o' => 0o1007,
            'a' => 0o1777,
            _ => return None,
        };
    }
    for c in chars {
        match c {
            'r' => step.what |= 0o444,
            'w' => step.what |= 0o222,
            'x' => step.what |= 0o111,
            't' => step.what |= 0o1000,
            'X' => step.execute_if = true,
            _ => return None,
        }
    }
    Some(step).filter(|step| step.what != 0 || step.execute_if || operator == '=')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_or_said_in_letters() {
        let apply = |text: &str, old, dir| parse_mode(text).unwrap().apply(old, dir);
        for (text, old, expected) in [
            ("755", 0o644, 0o755),
            ("1777", 0o644, 0o1777),
            ("u+x", 0o644, 0o744),
            ("go-r", 0o644, 0o600),
            ("a=r", 0o755, 0o444),
            ("u=rwx,go=", 0o644, 0o700),
            ("+w", 0o444, 0o666),
            ("+t", 0o755, 0o1755),
            ("a+X", 0o644, 0o644),
            ("a+X", 0o744, 0o755),
        ] {
            assert_eq!(apply(text, old, false), expected, "{text}");
        }
        assert_eq!(apply("a+X", 0o644, true), 0o755);
        for text in ["", "8", "77777", "u", "u+", "z+x", "u+q", "u+x,"] {
            assert_eq!(parse_mode(text), None, "{text}");
        }
    }

    #[test]
    fn a_mode_that_takes_away_is_no_option() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let (options, rest) = split_options(words("-R -w /a"));
        assert_eq!((options, rest), (words("-R"), words("-w /a")));
    }
}
