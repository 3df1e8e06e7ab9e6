//! Typed values: what a key's text means.

use std::path::PathBuf;
use std::time::Duration;

use super::error::{ConfigError, Source};
use super::keys::{self, KeySpec, Kind};
use super::{Config, HostPort};
use crate::units::{parse_duration, parse_size};

/// Whether a key can have this value.
pub(super) fn check(
    spec: &KeySpec,
    key: &str,
    value: &str,
    source: &Source,
) -> Result<(), ConfigError> {
    let bad = |expected: &str| Err(ConfigError::bad_value(key, value, source, expected));
    match spec.kind {
        Kind::Text | Kind::List => Ok(()),
        Kind::Size => match parse_size(value) {
            Ok(0) if spec.above_zero => bad(&above_zero("a size", spec)),
            Ok(_) => Ok(()),
            Err(error) => Err(ConfigError::unit(key, source, &error)),
        },
        Kind::Duration => match parse_duration(value) {
            Ok(Duration::ZERO) if spec.above_zero => bad(&above_zero("a duration", spec)),
            Ok(_) => Ok(()),
            Err(error) => Err(ConfigError::unit(key, source, &error)),
        },
        Kind::Int => match value.trim().parse::<u64>() {
            Ok(0) if spec.above_zero => bad(&above_zero("a whole number", spec)),
            Ok(_) => Ok(()),
            Err(_) => bad("a whole number, 0 or more"),
        },
        Kind::Fraction if parse_fraction(value).is_none() => bad("a number between 0 and 1"),
        Kind::Bool if value.trim().parse::<bool>().is_err() => bad("true or false"),
        Kind::Address(port) if HostPort::parse_with(value, port).is_err() => {
            bad("host:port, such as 127.0.0.1:9862")
        }
        Kind::Dirs if parse_dirs(value).is_none() => {
            bad("absolute directories, separated by commas, such as /var/lib/ozone")
        }
        Kind::Choice(words) if !words.contains(&value.trim()) => {
            bad(&format!("one of {}", words.join(", ")))
        }
        _ => Ok(()),
    }
}

fn above_zero(what: &str, spec: &KeySpec) -> String {
    let default = spec.default.unwrap_or_default();
    format!("{what} above 0, such as {default}")
}

impl Config {
    /// The text of a key that is set or has a default.
    pub fn get_str(&self, key: &str) -> Result<&str, ConfigError> {
        let spec = registered(key)?;
        self.get(key).ok_or_else(|| ConfigError::Missing {
            keys: vec![key.to_owned()],
            example: spec.doc.to_owned(),
        })
    }

    /// Comma-separated texts, without empty ones.
    pub fn get_list(&self, key: &str) -> Result<Vec<String>, ConfigError> {
        Ok(split(self.get_str(key)?).map(str::to_owned).collect())
    }

    /// A size, in bytes.
    pub fn get_size(&self, key: &str) -> Result<u64, ConfigError> {
        parse_size(self.get_str(key)?)
            .map_err(|error| ConfigError::unit(key, self.source(key), &error))
    }

    /// A duration.
    pub fn get_duration(&self, key: &str) -> Result<Duration, ConfigError> {
        parse_duration(self.get_str(key)?)
            .map_err(|error| ConfigError::unit(key, self.source(key), &error))
    }

    /// A whole number.
    pub fn get_int(&self, key: &str) -> Result<u64, ConfigError> {
        let value = self.get_str(key)?;
        let parsed = value.trim().parse();
        parsed.map_err(|_| self.bad(key, value, "a whole number, 0 or more"))
    }

    /// A TCP port.
    pub fn get_port(&self, key: &str) -> Result<u16, ConfigError> {
        let value = self.get_str(key)?;
        let parsed = value.trim().parse();
        parsed.map_err(|_| self.bad(key, value, "a port, 0 to 65535"))
    }

    /// A share between 0 and 1.
    pub fn get_fraction(&self, key: &str) -> Result<f64, ConfigError> {
        let value = self.get_str(key)?;
        parse_fraction(value).ok_or_else(|| self.bad(key, value, "a number between 0 and 1"))
    }

    /// A switch.
    pub fn get_bool(&self, key: &str) -> Result<bool, ConfigError> {
        let value = self.get_str(key)?;
        let parsed = value.trim().parse();
        parsed.map_err(|_| self.bad(key, value, "true or false"))
    }

    /// An address; a bare host takes the key's port.
    pub fn get_address(&self, key: &str) -> Result<HostPort, ConfigError> {
        let value = self.get_str(key)?;
        let port = match registered(key)?.kind {
            Kind::Address(port) => port,
            _ => 0,
        };
        HostPort::parse_with(value, port)
            .map_err(|_| self.bad(key, value, "host:port, such as 127.0.0.1:9862"))
    }

    /// Directories, from the key or from the first of its fallbacks that is set. Storage type
    /// prefixes such as `[SSD]` are taken off.
    pub fn get_dirs(&self, key: &str) -> Result<Vec<PathBuf>, ConfigError> {
        Ok(self.find_dirs(key)?.1)
    }

    /// Makes the directories of these keys, fallbacks included, or says which key names one that
    /// cannot be used. Blocks.
    pub fn make_dirs(&self, keys: &[impl AsRef<str>]) -> Result<(), ConfigError> {
        for key in keys {
            let (key, dirs) = self.find_dirs(key.as_ref())?;
            for dir in dirs {
                if let Err(source) = std::fs::create_dir_all(&dir) {
                    return Err(ConfigError::Unusable { key, dir, source });
                }
            }
        }
        Ok(())
    }

    /// The directories of a key, and the key that names them.
    fn find_dirs(&self, key: &str) -> Result<(String, Vec<PathBuf>), ConfigError> {
        let mut asked = Vec::new();
        let mut below: Vec<&str> = Vec::new();
        let (mut name, mut spec) = (key.to_owned(), registered(key)?);
        loop {
            asked.push(name.clone());
            if let Some(value) = self.get(&name).filter(|value| !value.trim().is_empty()) {
                let dirs = parse_dirs(value)
                    .ok_or_else(|| self.bad(&name, value, "absolute directories"))?;
                let place = |dir: PathBuf| below.iter().rev().fold(dir, |dir, sub| dir.join(sub));
                return Ok((name, dirs.into_iter().map(place).collect()));
            }
            let Some(fallback) = spec.fallback else {
                return Err(ConfigError::Missing {
                    keys: asked,
                    example: "set one to a directory on this machine, such as /var/lib/ozone"
                        .to_owned(),
                });
            };
            if !fallback.below.is_empty() {
                below.push(fallback.below);
            }
            (name, spec) = (fallback.key.to_owned(), registered(fallback.key)?);
        }
    }

    /// The one directory of a key, or the first of several; fallbacks as for [`Self::get_dirs`].
    pub fn get_dir(&self, key: &str) -> Result<PathBuf, ConfigError> {
        // get_dirs gives at least one.
        let dirs = self.get_dirs(key)?;
        dirs.into_iter().next().ok_or_else(|| ConfigError::Missing {
            keys: vec![key.to_owned()],
            example: "set it to a directory on this machine".to_owned(),
        })
    }

    fn bad(&self, key: &str, value: &str, expected: &str) -> ConfigError {
        ConfigError::bad_value(key, value, self.source(key), expected)
    }
}

fn registered(key: &str) -> Result<&'static KeySpec, ConfigError> {
    keys::spec(key).ok_or_else(|| ConfigError::NotRegistered {
        key: key.to_owned(),
    })
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

fn parse_fraction(text: &str) -> Option<f64> {
    let value: f64 = text.trim().parse().ok()?;
    (0.0..=1.0).contains(&value).then_some(value)
}

/// Absolute directories, at least one.
fn parse_dirs(text: &str) -> Option<Vec<PathBuf>> {
    let dirs: Vec<PathBuf> = split(text)
        .map(|part| match part.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or(part, |(_, path)| path),
            None => part,
        })
        .map(|path| PathBuf::from(path.strip_prefix("file://").unwrap_or(path)))
        .collect();
    (!dirs.is_empty() && dirs.iter().all(|dir| dir.is_absolute())).then_some(dirs)
}
