//! `-find`.

use super::error::{FsError, Result};
use super::glob::Pattern;
use super::item::Item;
use super::run::{Run, Step, Walk};

/// One thing that is asked about a file, or done with it.
enum Term {
    /// Its name matches; with lower-case letters for upper-case ones where asked for.
    Name(Pattern, bool),
    /// Print it, with this behind it.
    Print(u8),
}

/// Prints what is below paths and matches.
pub(super) async fn find(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    let mut words = words.into_iter().peekable();
    // Links are shown and not followed.
    while words.next_if(|word| word == "-L" || word == "-H").is_some() {}
    let mut paths = Vec::new();
    while let Some(path) = words.next_if(|word| !word.starts_with('-') || word == "-") {
        paths.push(path);
    }
    let mut terms = parse(words)?;
    if !terms.iter().any(|term| matches!(term, Term::Print(_))) {
        terms.push(Term::Print(b'\n'));
    }
    if paths.is_empty() {
        paths.push(".".to_owned());
    }
    run.each(&paths, async |run, item| below(run, item, &terms).await)
        .await
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Vec<Term>> {
    let mut terms = Vec::new();
    while let Some(word) = words.next() {
        let term = match word.as_str() {
            "-name" | "-iname" => {
                let ignore_case = word == "-iname";
                let Some(pattern) = words.next() else {
                    let text = format!("Not enough arguments: {word} needs a pattern");
                    return Err(FsError::Argument(text));
                };
                let pattern = match ignore_case {
                    true => pattern.to_lowercase(),
                    false => pattern,
                };
                Term::Name(Pattern::parse(&pattern)?, ignore_case)
            }
            "-print" => Term::Print(b'\n'),
            "-print0" => Term::Print(0),
            "-a" | "-and" => continue,
            _ => return Err(FsError::Other(format!("Unexpected argument: {word}"))),
        };
        terms.push(term);
    }
    Ok(terms)
}

async fn below(run: &mut Run<'_>, top: Item, terms: &[Term]) -> Result<()> {
    apply(run, &top, terms).await?;
    if !top.is_directory() {
        return Ok(());
    }
    let mut walk = Walk::default();
    walk.enter(top).await?;
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
        apply(run, &item, terms).await?;
        if item.is_directory()
            && let Err(error) = walk.enter(item).await
        {
            run.tell(error).await?;
        }
    }
}

/// Goes through the terms until one does not hold.
async fn apply(run: &mut Run<'_>, item: &Item, terms: &[Term]) -> Result<()> {
    for term in terms {
        match term {
            Term::Name(pattern, ignore_case) => {
                let fits = match ignore_case {
                    true => pattern.matches(&item.name().to_lowercase()),
                    false => pattern.matches(item.name()),
                };
                if !fits {
                    return Ok(());
                }
            }
            Term::Print(end) => {
                run.bytes(item.text.as_bytes()).await?;
                run.bytes(&[*end]).await?;
            }
        }
    }
    Ok(())
}
