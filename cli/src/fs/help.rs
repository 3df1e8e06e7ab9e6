//! What is printed about the commands themselves.

use super::commands::{COMMANDS, Command, find};
use super::error::{FsError, Result};
use super::run::Run;

const PREFIX: &str = "Usage: ozone fs [generic options]";
/// Columns of a description.
const WIDTH: usize = 80;
const GENERIC: &str = "
Generic options supported are:
-conf <configuration file>        specify an application configuration file
-D <property=value>               define a value for a given property
-fs <ofs://host:port>             specify default filesystem URL to use, overrides 'fs.defaultFS' property from configurations.

The general command line syntax is:
command [genericOptions] [commandOptions]
";

/// The usage of all commands.
pub(super) fn all() -> String {
    let lines = COMMANDS
        .iter()
        .map(|command| format!("\t[{}]\n", line(command)));
    format!("{PREFIX}\n{}{GENERIC}", lines.collect::<String>())
}

/// What is said to a command line that makes no sense.
pub(super) fn senseless(word: &str, error: &FsError) -> String {
    let mut text = String::new();
    for line in error.to_string().lines() {
        text.push_str(&format!("{word}: {line}\n"));
    }
    let known = word.strip_prefix('-').and_then(find);
    if !word.starts_with('-') && find(word).is_some() {
        text.push_str(&format!(
            "Did you mean -{word}?  This command begins with a dash.\n"
        ));
    }
    text.push_str(&all());
    if let Some(command) = known {
        text.push_str(&format!("\n{PREFIX} {}\n", line(command)));
    }
    text
}

/// Prints the usage of some commands, or of all.
pub(super) async fn usage(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    if words.is_empty() {
        return run.bytes(all().as_bytes()).await;
    }
    for word in words {
        let text = format!("{PREFIX} {}", line(named(&word)?));
        run.line(&text).await?;
    }
    Ok(())
}

/// Prints what some commands do, or all.
pub(super) async fn help(run: &mut Run<'_>, words: Vec<String>) -> Result<()> {
    if words.is_empty() {
        run.bytes(all().as_bytes()).await?;
        for command in COMMANDS {
            run.bytes(format!("\n{}", described(command)).as_bytes())
                .await?;
        }
        return Ok(());
    }
    for word in words {
        run.bytes(described(named(&word)?).as_bytes()).await?;
    }
    Ok(())
}

fn named(word: &str) -> Result<&'static Command> {
    let found = find(word.strip_prefix('-').unwrap_or(word));
    found.ok_or_else(|| FsError::Argument(format!("`{word}': Unknown command")))
}

fn line(command: &Command) -> String {
    match command.usage {
        "" => format!("-{}", command.name),
        usage => format!("-{} {usage}", command.name),
    }
}

fn described(command: &Command) -> String {
    let mut lines = vec![format!("{} :", line(command)), String::from(" ")];
    for word in command.about.split(' ') {
        let last = lines.len() - 1;
        match lines[last].len() + 1 + word.len() > WIDTH {
            true => lines.push(format!("  {word}")),
            false => {
                lines[last].push(' ');
                lines[last].push_str(word);
            }
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_fit_into_a_terminal() {
        for command in COMMANDS {
            let text = described(command);
            let body = text.lines().skip(1);
            for line in body {
                assert!(line.len() <= WIDTH && line.starts_with("  "), "{line}");
            }
        }
    }

    #[test]
    fn a_senseless_line_is_answered_with_what_would_make_sense() {
        let error = FsError::Argument("Illegal option -z".to_owned());
        let text = senseless("-ls", &error);
        assert!(text.starts_with("-ls: Illegal option -z\nUsage: ozone fs [generic options]\n"));
        let last = text.lines().last().unwrap();
        assert!(
            last.starts_with("Usage: ozone fs [generic options] -ls [-C]"),
            "{last}"
        );
        let error = FsError::Argument("Unknown command".to_owned());
        assert!(senseless("ls", &error).contains("Did you mean -ls?"));
    }
}
