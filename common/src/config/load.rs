//! Collects values from their sources, expands variables, and checks the outcome.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::{ConfigError, Source};
use super::{Config, Entry, canonical, keys, known, nearest, values, xml};

/// Prefix of environment variables that set a key.
const ENV_PREFIX: &str = "OZONE-SITE.XML_";
const SITE_FILE: &str = "ozone-site.xml";
/// Names the directory of the site file.
pub(super) const DIR_VARIABLE: &str = "OZONE_CONF_DIR";
const SYSTEM_DIR: &str = "/etc/hadoop";
/// Deepest chain of variables that stand for one another.
const MAX_EXPANSIONS: usize = 20;

/// Where configuration is looked for.
#[derive(Debug, Clone, Default)]
pub struct ConfigSources {
    /// `--conf FILE`: this file, which must exist, instead of the usual places.
    pub conf: Option<PathBuf>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// `--set key=value`, in order.
    pub sets: Vec<String>,
}

impl ConfigSources {
    /// The environment of this process with the given command-line options.
    pub fn of_process(conf: Option<PathBuf>, sets: Vec<String>) -> Self {
        let text = |s: std::ffi::OsString| s.into_string().ok();
        let env = std::env::vars_os()
            .filter_map(|(k, v)| Some((text(k)?, text(v)?)))
            .collect();
        Self { conf, env, sets }
    }

    fn var(&self, name: &str) -> Option<&str> {
        let found = self.env.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|v| !v.is_empty())
    }

    /// The site file: the one asked for, or the first of the usual places that has one.
    fn site_file(&self) -> Result<Option<PathBuf>, ConfigError> {
        if let Some(conf) = &self.conf {
            return Ok(Some(conf.clone()));
        }
        let dir = match self.var(DIR_VARIABLE).map(PathBuf::from) {
            Some(dir) if !dir.is_dir() => return Err(ConfigError::NoDirectory { dir }),
            Some(dir) => dir,
            None => PathBuf::from(SYSTEM_DIR),
        };
        Ok(Some(dir.join(SITE_FILE)).filter(|path| path.exists()))
    }
}

pub(super) fn load(sources: &ConfigSources) -> Result<Config, ConfigError> {
    let mut raw = BTreeMap::new();
    if let Some(path) = sources.site_file()? {
        let properties = xml::read_file(&path)?;
        merge(&mut raw, properties, &Source::File(path))?;
    }
    let env = sources
        .env
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(ENV_PREFIX)?, value)));
    let env = env.map(|(key, value)| (key.to_owned(), unquote(value).to_owned()));
    merge(&mut raw, env.collect(), &Source::Environment)?;
    let sets = sources.sets.iter().map(|text| split_set(text));
    let sets = sets.collect::<Result<Vec<_>, _>>()?;
    merge(&mut raw, sets, &Source::CommandLine)?;
    finish(raw, &sources.env)
}

/// `base` with `pairs` on top.
pub(super) fn overlay(
    base: &Config,
    pairs: Vec<(String, String)>,
    source: &Source,
) -> Result<Config, ConfigError> {
    let mut raw = base.set.clone();
    merge(&mut raw, pairs, source)?;
    finish(raw, &[])
}

/// Puts the values of one source on top of what there is.
fn merge(
    raw: &mut BTreeMap<String, Entry>,
    pairs: Vec<(String, String)>,
    source: &Source,
) -> Result<(), ConfigError> {
    let mut by_alias: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (name, value) in pairs {
        let Some(spec) = keys::spec(&name) else {
            check_known(&name, source)?;
            let source = source.clone();
            raw.insert(name, Entry { value, source });
            continue;
        };
        let key = canonical(spec, &name);
        let seen = by_alias.insert(key.clone(), (name.clone(), value.clone()));
        if let Some((other_name, other)) = seen.filter(|(n, v)| *n != name && *v != value) {
            let alias = if name == key { other_name } else { name };
            return Err(ConfigError::AliasConflict {
                key: spec.name,
                alias,
                value,
                other,
            });
        }
        let source = source.clone();
        raw.insert(key, Entry { value, source });
    }
    Ok(())
}

fn check_known(name: &str, source: &Source) -> Result<(), ConfigError> {
    if known::is_known(name) {
        return Ok(());
    }
    Err(ConfigError::UnknownKey {
        key: name.to_owned(),
        from: source.clone(),
        nearest: nearest::nearest(name),
    })
}

fn finish(raw: BTreeMap<String, Entry>, env: &[(String, String)]) -> Result<Config, ConfigError> {
    let mut set = BTreeMap::new();
    for (key, entry) in &raw {
        let value = expand(&raw, env, key, entry)?;
        if let Some(spec) = keys::spec(key) {
            values::check(spec, key, &value, &entry.source)?;
        }
        let source = entry.source.clone();
        set.insert(key.clone(), Entry { value, source });
    }
    Ok(Config { set })
}

/// Replaces `${key}`, `${env.NAME}` and `${env.NAME:-default}`.
fn expand(
    raw: &BTreeMap<String, Entry>,
    env: &[(String, String)],
    key: &str,
    entry: &Entry,
) -> Result<String, ConfigError> {
    let fail = |reason: String| ConfigError::Expansion {
        key: key.to_owned(),
        value: entry.value.clone(),
        from: entry.source.clone(),
        reason,
    };
    let mut text = entry.value.clone();
    for _ in 0..MAX_EXPANSIONS {
        let Some((before, rest)) = text.split_once("${") else {
            return Ok(text);
        };
        let Some((name, after)) = rest.split_once('}') else {
            return Err(fail("'${' without '}'".to_owned()));
        };
        let value = variable(raw, env, name)
            .ok_or_else(|| fail(format!("${{{name}}} stands for nothing")))?;
        text = format!("{before}{value}{after}");
    }
    Err(fail("it stands for itself".to_owned()))
}

fn variable(raw: &BTreeMap<String, Entry>, env: &[(String, String)], name: &str) -> Option<String> {
    if let Some(name) = name.strip_prefix("env.") {
        let (name, default) = match name.split_once(":-") {
            Some((name, default)) => (name, Some(default.to_owned())),
            None => (name, None),
        };
        let found = env.iter().find(|(key, _)| key == name);
        return found.map(|(_, value)| value.clone()).or(default);
    }
    let spec = keys::spec(name);
    let key = spec.map_or_else(|| name.to_owned(), |spec| canonical(spec, name));
    match raw.get(&key) {
        Some(entry) => Some(entry.value.clone()),
        None => spec?.default.map(str::to_owned),
    }
}

/// Environment files of containers often keep the quotes that a shell would take away.
fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = value
            .strip_prefix(quote)
            .and_then(|v| v.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    value
}

fn split_set(text: &str) -> Result<(String, String), ConfigError> {
    let bad = || ConfigError::BadSet {
        text: text.to_owned(),
    };
    let (key, value) = text.split_once('=').ok_or_else(bad)?;
    if key.trim().is_empty() {
        return Err(bad());
    }
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn site(dir: &std::path::Path, key: &str, value: &str) -> PathBuf {
        let path = dir.join(SITE_FILE);
        let property = format!("<property><name>{key}</name><value>{value}</value></property>");
        std::fs::write(&path, format!("<configuration>{property}</configuration>")).unwrap();
        path
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn the_command_line_beats_the_environment_beats_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let key = "ozone.scm.block.size";
        let mut sources = ConfigSources {
            conf: Some(site(dir.path(), key, "1MB")),
            ..ConfigSources::default()
        };
        let size = |sources: &ConfigSources| Config::load(sources).unwrap().get_size(key).unwrap();
        assert_eq!(size(&sources), 1 << 20);
        sources.env = vec![pair("OZONE-SITE.XML_ozone.scm.block.size", "\"2MB\"")];
        assert_eq!(size(&sources), 2 << 20);
        sources.sets = vec!["ozone.scm.block.size=3MB".to_owned()];
        assert_eq!(size(&sources), 3 << 20);
    }

    #[test]
    fn the_file_is_found_through_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        site(dir.path(), "ozone.s3g.volume.name", "vol");
        let sources = ConfigSources {
            env: vec![pair("OZONE_CONF_DIR", dir.path().to_str().unwrap())],
            ..ConfigSources::default()
        };
        let config = Config::load(&sources).unwrap();
        assert_eq!(config.get("ozone.s3g.volume.name"), Some("vol"));
        let from = config.source("ozone.s3g.volume.name");
        assert_eq!(*from, Source::File(dir.path().join(SITE_FILE)));
    }

    #[test]
    fn an_unknown_key_names_its_file_and_the_nearest_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = site(dir.path(), "ozone.scm.blok.size", "1MB");
        let sources = ConfigSources {
            conf: Some(path.clone()),
            ..ConfigSources::default()
        };
        let text = Config::load(&sources).unwrap_err().to_string();
        assert!(text.contains(&path.display().to_string()), "{text}");
        assert!(
            text.contains("did you mean ozone.scm.block.size?"),
            "{text}"
        );
    }

    #[test]
    fn a_missing_file_that_was_asked_for_is_an_error() {
        let sources = ConfigSources {
            conf: Some(PathBuf::from("/no/such/ozone-site.xml")),
            ..ConfigSources::default()
        };
        assert!(matches!(
            Config::load(&sources),
            Err(ConfigError::Unreadable { .. })
        ));
    }

    #[test]
    fn a_directory_of_the_environment_that_does_not_exist_is_named() {
        let sources = ConfigSources {
            env: vec![pair(DIR_VARIABLE, "/no/such/dir")],
            ..ConfigSources::default()
        };
        let text = Config::load(&sources).unwrap_err().to_string();
        assert!(text.contains("OZONE_CONF_DIR=/no/such/dir"), "{text}");
    }

    #[test]
    fn environment_variables_expand_with_a_default() {
        let sources = ConfigSources {
            env: vec![pair("DATA", "/data")],
            sets: vec![
                "ozone.metadata.dirs=${env.DATA}/meta".to_owned(),
                "ozone.s3g.volume.name=${env.NOPE:-s3v}".to_owned(),
            ],
            conf: None,
        };
        let config = Config::load(&sources).unwrap();
        assert_eq!(config.get("ozone.metadata.dirs"), Some("/data/meta"));
        assert_eq!(config.get("ozone.s3g.volume.name"), Some("s3v"));
    }

    #[test]
    fn a_set_without_a_value_is_refused() {
        for text in ["ozone.acl.enabled", "=true", ""] {
            assert!(split_set(text).is_err(), "{text:?}");
        }
    }
}
