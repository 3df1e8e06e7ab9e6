//! Patterns in names: `*`, `?`, `[a-c]`, `[^a]`, `{a,b}`, and `\` before what is meant as it is.

use super::error::{FsError, Result};

/// One name's pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// This very character.
    One(char),
    /// Any character.
    Any,
    /// Any run of characters.
    Run,
    /// One of these ranges, or none of them.
    Set {
        ranges: Vec<(char, char)>,
        not: bool,
    },
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::One(one) => *one == c,
            Self::Any => true,
            Self::Run => false,
            Self::Set { ranges, not } => {
                let within = ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
                within != *not
            }
        }
    }
}

impl Pattern {
    /// Reads a pattern without braces.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut tokens = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let token = match c {
                '\\' => Token::One(chars.next().unwrap_or('\\')),
                '?' => Token::Any,
                '*' => Token::Run,
                '[' => set(&mut chars).ok_or_else(|| illegal(text, "unclosed ["))?,
                c => Token::One(c),
            };
            tokens.push(token);
        }
        Ok(Self { tokens })
    }

    /// Whether a name is as the pattern says.
    pub(super) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut at, mut token) = (0, 0);
        // Where to go on when what was tried does not fit: after the last run, one character further.
        let mut retry = None;
        while at < name.len() {
            match self.tokens.get(token) {
                Some(Token::Run) => {
                    retry = Some((at, token));
                    token += 1;
                }
                Some(other) if other.takes(name[at]) => {
                    at += 1;
                    token += 1;
                }
                _ => {
                    let Some((from, run)) = retry else {
                        return false;
                    };
                    (at, token) = (from + 1, run + 1);
                    retry = Some((from + 1, run));
                }
            }
        }
        self.tokens[token..].iter().all(|rest| *rest == Token::Run)
    }
}

fn illegal(text: &str, why: &str) -> FsError {
    FsError::Other(format!("Illegal file pattern: {why} in {text}"))
}

/// The characters up to `]`.
fn set(chars: &mut std::str::Chars<'_>) -> Option<Token> {
    let mut members = Vec::new();
    let mut not = false;
    loop {
        match chars.next()? {
            '^' | '!' if members.is_empty() && !not => not = true,
            ']' if !members.is_empty() => break,
            '\\' => members.push((chars.next()?, true)),
            c => members.push((c, false)),
        }
    }
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < members.len() {
        let (from, _) = members[at];
        match (members.get(at + 1), members.get(at + 2)) {
            (Some(('-', false)), Some((to, _))) => {
                ranges.push((from, *to));
                at += 3;
            }
            _ => {
                ranges.push((from, from));
                at += 1;
            }
        }
    }
    Some(Token::Set { ranges, not })
}

/// Whether the text has a pattern in it.
pub(super) fn is_pattern(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '*' | '?' | '[' | '{' => return true,
            _ => {}
        }
    }
    false
}

/// The text without the backslashes that take the meaning from what follows them.
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.push(chars.next().unwrap_or('\\')),
            c => plain.push(c),
        }
    }
    plain
}

/// Every text that `{a,b}` stands for; braces may be nested.
pub(super) fn braces(text: &str) -> Result<Vec<String>> {
    let Some((start, end, commas)) = first_braces(text)? else {
        return Ok(vec![text.to_owned()]);
    };
    let mut all = Vec::new();
    let mut from = start + 1;
    for to in commas.into_iter().chain([end]) {
        let one = [&text[..start], &text[from..to], &text[end + 1..]].concat();
        all.append(&mut braces(&one)?);
        from = to + 1;
    }
    Ok(all)
}

/// The first braces, and the commas right inside them.
fn first_braces(text: &str) -> Result<Option<(usize, usize, Vec<usize>)>> {
    let (mut depth, mut start, mut commas) = (0_u32, 0, Vec::new());
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '{' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            ',' if depth == 1 => commas.push(at),
            '}' if depth == 1 => return Ok(Some((start, at, commas))),
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    match depth {
        0 => Ok(None),
        _ => Err(illegal(text, "unclosed {")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fits(pattern: &str, name: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(name)
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name) in [
            ("*", ""),
            ("*", ".hidden"),
            ("a*c", "abbc"),
            ("a*b*c", "aXbYbZc"),
            ("?b", "äb"),
            ("[a-c]x", "bx"),
            ("[^a-c]x", "dx"),
            ("[!a]", "b"),
            ("[]a]", "]"),
            ("[a-]", "-"),
            ("\\*", "*"),
            ("part-*", "part-0001"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a*c", "abcd"),
            ("?", ""),
            ("[a-c]", "d"),
            ("[^a]", "a"),
            ("\\*", "x"),
            ("a", "ab"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
        assert!(Pattern::parse("[a").is_err());
    }

    #[test]
    fn braces_stand_for_several_texts() {
        assert_eq!(braces("/a").unwrap(), ["/a"]);
        assert_eq!(braces("/{a,b/c}/d").unwrap(), ["/a/d", "/b/c/d"]);
        assert_eq!(braces("{a,{b,c}}x").unwrap(), ["ax", "bx", "cx"]);
        assert_eq!(braces("{a,}").unwrap(), ["a", ""]);
        assert_eq!(braces("\\{a,b\\}").unwrap(), ["\\{a,b\\}"]);
        assert!(braces("{a").is_err());
    }

    #[test]
    fn a_backslash_takes_the_meaning_away() {
        assert!(is_pattern("a*") && is_pattern("{a}") && is_pattern("[a]"));
        assert!(!is_pattern("a\\*b") && !is_pattern("a]b"));
        assert_eq!(unescape("a\\*b\\\\"), "a*b\\");
    }
}
