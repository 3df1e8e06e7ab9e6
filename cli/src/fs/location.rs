//! Where a path leads: `scheme://authority/path`, of which the first two may be missing.

/// A path as a user writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Location {
    /// `ofs`, `o3fs` or `file`.
    pub scheme: Option<String>,
    /// Which of them.
    pub authority: Option<String>,
    /// The rest, as it was written.
    pub path: String,
}

impl Location {
    /// Takes a path apart. Only a colon before the first slash ends a scheme; nothing else is special.
    pub(super) fn parse(text: &str) -> Self {
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if !scheme.is_empty() && !scheme.contains('/') => {
                (Some(scheme.to_owned()), rest)
            }
            _ => (None, text),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) if !rest.is_empty() => {
                let end = rest.find('/').unwrap_or(rest.len());
                (&rest[..end], &rest[end..])
            }
            _ => ("", rest),
        };
        Self {
            scheme,
            authority: Some(authority.to_owned()).filter(|authority| !authority.is_empty()),
            path: path.to_owned(),
        }
    }

    /// Whether it starts at the root of its filesystem.
    pub(super) fn is_absolute(&self) -> bool {
        self.path.starts_with('/') || (self.scheme.is_some() && self.path.is_empty())
    }

    /// Everything before the path.
    pub(super) fn prefix(&self) -> String {
        match (&self.scheme, &self.authority) {
            (Some(scheme), Some(authority)) => format!("{scheme}://{authority}"),
            (Some(scheme), None) => format!("{scheme}:"),
            (None, Some(authority)) => format!("//{authority}"),
            (None, None) => String::new(),
        }
    }
}

/// The path with one slash between names, none at the end, and `.` and `..` resolved. A path that is not absolute
/// starts in `home`.
pub(super) fn normal(path: &str, home: &str) -> String {
    let from = if path.starts_with('/') { "" } else { home };
    let mut names: Vec<&str> = Vec::new();
    for name in from.split('/').chain(path.split('/')) {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

/// The last name of a normal path; empty for the root.
pub(super) fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// What a normal path is in; none for the root.
pub(super) fn parent_of(path: &str) -> Option<&str> {
    match path.rsplit_once('/')? {
        ("", "") => None,
        ("", _) => Some("/"),
        (parent, _) => Some(parent),
    }
}

/// A name in a normal path.
pub(super) fn join(path: &str, name: &str) -> String {
    match path {
        "/" => format!("/{name}"),
        path => format!("{path}/{name}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Option<String>, Option<String>, String) {
        let Location {
            scheme,
            authority,
            path,
        } = Location::parse(text);
        (scheme, authority, path)
    }

    #[test]
    fn scheme_and_authority_may_be_missing() {
        let some = |text: &str| Some(text.to_owned());
        let path = |text: &str| text.to_owned();
        assert_eq!(
            parts("ofs://om:9862/vol/b"),
            (some("ofs"), some("om:9862"), path("/vol/b"))
        );
        assert_eq!(parts("ofs://om"), (some("ofs"), some("om"), path("")));
        assert_eq!(parts("ofs:///vol"), (some("ofs"), None, path("/vol")));
        assert_eq!(parts("file:/x"), (some("file"), None, path("/x")));
        assert_eq!(parts("/vol/a:b"), (None, None, path("/vol/a:b")));
        assert_eq!(parts("a/b:c"), (None, None, path("a/b:c")));
        for text in ["ofs://om:9862", "ofs:", "//om", ""] {
            assert_eq!(Location::parse(text).prefix(), text);
        }
        assert!(Location::parse("ofs://om").is_absolute());
        assert!(!Location::parse("x").is_absolute());
    }

    #[test]
    fn paths_are_brought_into_one_form() {
        assert_eq!(normal("//a//b/./c/../d/", ""), "/a/b/d");
        assert_eq!(normal("x/../y", "/user/me"), "/user/me/y");
        assert_eq!(normal(".", "/user/me"), "/user/me");
        assert_eq!(normal("..", "/"), "/");
        assert_eq!((name_of("/a/b"), name_of("/")), ("b", ""));
        assert_eq!(parent_of("/a/b"), Some("/a"));
        assert_eq!(parent_of("/a"), Some("/"));
        assert_eq!(parent_of("/"), None);
        assert_eq!(
            (join("/", "a"), join("/a", "b")),
            ("/a".into(), "/a/b".into())
        );
    }
}
