//! Java properties files: `key=value` lines with escapes, under a comment with the time.

use std::collections::BTreeMap;

use time::OffsetDateTime;
use time::macros::format_description;

/// Java properties: a comment with the time, then one escaped `key=value` per line.
pub(crate) fn print(written_ms: u64, properties: &BTreeMap<String, String>) -> String {
    let seconds = i64::try_from(written_ms / 1000).unwrap_or(0);
    let when = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let format = format_description!(
        "[weekday repr:short] [month repr:short] [day] [hour]:[minute]:[second] UTC [year]"
    );
    let when = when.format(format).unwrap_or_default();
    let mut text = format!("#{when}\n");
    for (key, value) in properties {
        escape(&mut text, key, true);
        text.push('=');
        escape(&mut text, value, false);
        text.push('\n');
    }
    text
}

fn escape(out: &mut String, text: &str, is_key: bool) {
    for (index, c) in text.chars().enumerate() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' | '=' | ':' | '#' | '!' => out.extend(['\\', c]),
            ' ' if is_key || index == 0 => out.push_str("\\ "),
            ' '..='~' => out.push(c),
            c => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
        }
    }
}

/// The pairs of a file; comments are skipped, continued lines joined, escapes resolved.
pub(crate) fn parse(text: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        // A line that ends in an odd number of backslashes goes on in the next.
        while (line.len() - line.trim_end_matches('\\').len()) % 2 == 1 {
            line.pop();
            let Some(more) = lines.next() else { break };
            line.push_str(more.trim_start());
        }
        let (key, value) = split(&line);
        all.insert(unescape(key), unescape(value));
    }
    all
}

/// Splits at the first `=`, `:` or space that no backslash precedes.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' | ':' | ' ' | '\t' => {
                let value = line[at..].trim_start();
                let value = value.strip_prefix(['=', ':']).unwrap_or(value);
                return (&line[..at], value.trim_start());
            }
            _ => {}
        }
    }
    (line, "")
}

fn unescape(text: &str) -> String {
    let mut units = Vec::with_capacity(text.len());
    let mut buffer = [0; 2];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    units.push(u16::from_str_radix(&digits, 16).unwrap_or(0xfffd));
                    continue;
                }
                Some(other) => other,
                None => break,
            },
            c => c,
        };
        units.extend_from_slice(c.encode_utf16(&mut buffer));
    }
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_pairs_parse_back_whatever_they_hold() {
        let odd = [
            " lead",
            "a=b",
            "c:d",
            "#e",
            "tab\t",
            "line\n",
            "back\\",
            "ä€😀",
            "",
        ];
        let pairs = odd.map(|text| (format!("k{text}"), text.to_owned()));
        let pairs = BTreeMap::from(pairs);
        assert_eq!(parse(&print(0, &pairs)), pairs);
    }

    #[test]
    fn javas_other_forms_are_understood() {
        let text = "! comment\n\n  a : 1\nb 2\nc=\\u00e4\\\n   x\\\\\nd\n";
        let want = [("a", "1"), ("b", "2"), ("c", "äx\\"), ("d", "")];
        let want = want.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(parse(text), BTreeMap::from(want));
    }
}
