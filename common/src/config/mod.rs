//! Configuration: `ozone-site.xml`, the environment and `--set`, over built-in defaults.
//!
//! Later sources win: defaults, the site file, `OZONE-SITE.XML_<key>=value` in the environment,
//! `--set key=value`. Everything is checked when it is loaded: a key that nobody knows, a value that
//! its key cannot have and a variable that stands for nothing are errors that name their place.
//! Keys that are set and have no effect here are told in one warning.

mod address;
mod error;
mod ha;
pub mod keys;
pub mod known;
mod load;
mod nearest;
mod values;
mod xml;

use std::collections::BTreeMap;

pub use address::{AddressError, HostPort, UnsafeListener, check_listener, listener_hint};
pub use error::{ConfigError, Source};
pub use ha::{ServiceNode, om_nodes, scm_addresses, scm_nodes};
pub use keys::{KEYS, KeySpec, Kind};
pub use load::ConfigSources;

/// One value that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    value: String,
    source: Source,
}

/// A checked configuration. Cheap to read, never changes.
#[derive(Debug, Clone, Default)]
pub struct Config {
    set: BTreeMap<String, Entry>,
}

impl Config {
    /// Loads and checks everything that `sources` names.
    pub fn load(sources: &ConfigSources) -> Result<Self, ConfigError> {
        load::load(sources)
    }

    /// Defaults, with these values on top.
    pub fn from_pairs<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, ConfigError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        Self::default().with(pairs)
    }

    /// The same configuration with these values on top.
    pub fn with<K, V>(&self, pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, ConfigError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let pairs = pairs.into_iter().map(|(k, v)| (k.into(), v.into()));
        load::overlay(self, pairs.collect(), &Source::CommandLine)
    }

    /// One sentence about all keys that were set and change nothing here: those that only Ozone needs,
    /// and those that this version does not heed.
    pub fn warning(&self) -> Option<String> {
        let idle = |(key, entry): &(&String, &Entry)| match keys::spec(key) {
            Some(spec) => {
                !spec.has_effect && entry.value.trim() != spec.default.unwrap_or_default()
            }
            None => true,
        };
        let idle = self.set.iter().filter(idle);
        let named: Vec<_> = idle
            .map(|(key, entry)| format!("{key} ({})", entry.source))
            .collect();
        match named.is_empty() {
            true => None,
            false => Some(format!(
                "accepted, and without effect: {}",
                named.join(", ")
            )),
        }
    }

    /// The value of a key by any of its names, or its default. None for a key that has neither.
    /// A per-node name (`key.<service>.<node>`) stands for itself alone.
    pub fn get(&self, key: &str) -> Option<&str> {
        let Some(spec) = keys::spec(key) else {
            return self.set.get(key).map(|entry| entry.value.as_str());
        };
        let name = canonical(spec, key);
        match self.set.get(name.as_str()) {
            Some(entry) => Some(&entry.value),
            None if name == spec.name => spec.default,
            None => None,
        }
    }

    /// Where the value of a key comes from.
    pub fn source(&self, key: &str) -> &Source {
        let name = keys::spec(key).map_or_else(|| key.to_owned(), |spec| canonical(spec, key));
        self.set
            .get(name.as_str())
            .map_or(&Source::Default, |entry| &entry.source)
    }

    /// Whether anything sets the key.
    pub fn is_set(&self, key: &str) -> bool {
        !matches!(self.source(key), Source::Default)
    }

    /// Every key that has a value, set or by default, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let defaults = KEYS
            .iter()
            .filter_map(|spec| Some((spec.name, spec.default?)));
        let set = self.set.iter().map(|(k, e)| (k.as_str(), e.value.as_str()));
        let all: BTreeMap<&str, &str> = defaults.chain(set).collect();
        all.into_iter()
    }

    /// The most specific name of `key` that is set: `key.<service>.<node>`, `key.<service>`, or
    /// else `key`.
    pub fn node_key(&self, key: &str, service: Option<&str>, node: Option<&str>) -> String {
        let Some(service) = service else {
            return key.to_owned();
        };
        let by_service = format!("{key}.{service}");
        let by_node = node.map(|node| format!("{by_service}.{node}"));
        by_node
            .into_iter()
            .chain([by_service])
            .find(|name| self.is_set(name))
            .unwrap_or_else(|| key.to_owned())
    }
}

/// A key's own name for whichever of its names was used, with its node suffix.
fn canonical(spec: &KeySpec, used: &str) -> String {
    let alias = spec
        .aliases
        .iter()
        .find(|alias| used == **alias || used.starts_with(&format!("{alias}.")));
    match alias {
        Some(alias) => format!("{}{}", spec.name, &used[alias.len()..]),
        None => used.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn every_default_is_a_value_that_its_key_can_have() {
        for spec in KEYS {
            if let Some(default) = spec.default {
                values::check(spec, spec.name, default, &Source::Default).unwrap();
            }
            assert!(!spec.doc.is_empty(), "{}", spec.name);
            if let Some(fallback) = spec.fallback {
                assert!(keys::spec(fallback.key).is_some(), "{}", spec.name);
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = KEYS
            .iter()
            .flat_map(|s| s.aliases.iter().chain([&s.name]))
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn defaults_are_merged_and_what_is_set_wins() {
        let config = Config::from_pairs([("ozone.scm.block.size", "64MB")]).unwrap();
        assert_eq!(config.get_size("ozone.scm.block.size").unwrap(), 64 << 20);
        assert_eq!(
            config.get_size("ozone.scm.container.size").unwrap(),
            5 << 30
        );
        let all: BTreeMap<_, _> = config.iter().collect();
        assert_eq!(all["ozone.scm.block.size"], "64MB");
        assert_eq!(all["ozone.scm.container.size"], "5GB");
    }

    #[test]
    fn an_alias_sets_the_key() {
        let config = Config::from_pairs([("ozone.metadata.dir", "/m")]).unwrap();
        assert_eq!(config.get("ozone.metadata.dirs"), Some("/m"));
        assert_eq!(config.get("ozone.metadata.dir"), Some("/m"));
        let clash = [("ozone.metadata.dir", "/m"), ("ozone.metadata.dirs", "/n")];
        assert!(matches!(
            Config::from_pairs(clash),
            Err(ConfigError::AliasConflict { .. })
        ));
    }

    #[test]
    fn directories_fall_back_as_documented() {
        let config = Config::from_pairs([("ozone.metadata.dirs", "/m")]).unwrap();
        let dir = |config: &Config, key| config.get_dir(key).unwrap();
        assert_eq!(dir(&config, "ozone.om.db.dirs"), PathBuf::from("/m"));
        assert_eq!(
            dir(&config, "ozone.om.ratis.storage.dir"),
            PathBuf::from("/m/ratis")
        );
        assert_eq!(
            dir(&config, "ozone.scm.ratis.storage.dir"),
            PathBuf::from("/m/scm-ha")
        );
        assert_eq!(dir(&config, "hdds.scm.ca.location"), PathBuf::from("/m"));
        let config = config.with([("hdds.scm.metadata.dirs", "/s")]).unwrap();
        assert_eq!(dir(&config, "hdds.scm.ca.location"), PathBuf::from("/s"));
        let config = config.with([("hdds.scm.ca.location", "/ca")]).unwrap();
        assert_eq!(dir(&config, "hdds.scm.ca.location"), PathBuf::from("/ca"));
    }

    #[test]
    fn a_directory_that_nothing_names_is_an_error_that_lists_the_chain() {
        let error = Config::default()
            .get_dir("hdds.scm.ca.location")
            .unwrap_err();
        let text = error.to_string();
        for key in [
            "hdds.scm.ca.location",
            "hdds.scm.metadata.dirs",
            "ozone.metadata.dirs",
        ] {
            assert!(text.contains(key), "{text}");
        }
    }

    #[test]
    fn disks_take_a_storage_type_prefix() {
        let config = Config::from_pairs([("hdds.datanode.dir", "[SSD]/a, /b")]).unwrap();
        let want = [PathBuf::from("/a"), PathBuf::from("/b")];
        assert_eq!(config.get_dirs("hdds.datanode.dir").unwrap(), want);
    }

    #[test]
    fn per_node_keys_fall_back_to_the_service_and_then_to_the_plain_key() {
        let config = Config::from_pairs([
            ("ozone.om.address.s1.om1", "h1:1"),
            ("ozone.om.address.s1", "h0:1"),
        ])
        .unwrap();
        let name = |node| config.node_key("ozone.om.address", Some("s1"), Some(node));
        assert_eq!(
            config.get_address(&name("om1")).unwrap().to_string(),
            "h1:1"
        );
        assert_eq!(
            config.get_address(&name("om2")).unwrap().to_string(),
            "h0:1"
        );
        let other = config.node_key("ozone.om.address", Some("s2"), Some("om1"));
        assert_eq!(
            config.get_address(&other).unwrap(),
            HostPort::new("127.0.0.1", 9862)
        );
    }

    #[test]
    fn bad_values_say_what_would_be_right() {
        let cases = [
            ("ozone.scm.block.size", "big", "256MB"),
            ("hdds.heartbeat.interval", "3 parsecs", "30s"),
            ("ozone.acl.enabled", "yes", "true or false"),
            ("ozone.om.ratis.port", "-1", "whole number"),
            ("ozone.om.address", "a b", "host:port"),
            ("ozone.metadata.dirs", "relative/path", "absolute"),
            (
                "ozone.default.bucket.layout",
                "FSO",
                "FILE_SYSTEM_OPTIMIZED",
            ),
            ("hdds.scm.safemode.threshold.pct", "2", "between 0 and 1"),
        ];
        for (key, value, right) in cases {
            let text = Config::from_pairs([(key, value)]).unwrap_err().to_string();
            assert!(text.contains(right) && text.contains(key), "{text}");
        }
    }

    #[test]
    fn nothing_is_refused_where_it_makes_no_sense_and_what_would_be_right_is_said() {
        for (key, value, right) in [
            ("ozone.scm.block.size", "0", "256MB"),
            ("ozone.scm.chunk.size", "0KB", "4MB"),
            ("ozone.client.write.timeout", "0ms", "30s"),
            ("ozone.client.read.timeout", "0s", "30s"),
            ("hdds.heartbeat.interval", "0s", "3s"),
            ("ozone.om.snapshot.diff.max.page.size", "0", "5000"),
        ] {
            let text = Config::from_pairs([(key, value)]).unwrap_err().to_string();
            assert!(text.contains(key) && text.contains(right), "{text}");
            assert!(text.contains("above 0"), "{text}");
        }
        for (key, value) in [
            ("ozone.om.ratis.port", "0"),
            ("hdds.datanode.volume.min.free.space", "0"),
            ("ozone.om.freed.block.grace", "0s"),
        ] {
            Config::from_pairs([(key, value)]).unwrap();
        }
    }

    #[test]
    fn unknown_keys_are_errors_and_known_ones_warnings() {
        let error = Config::from_pairs([("ozone.om.adress", "h")]).unwrap_err();
        assert!(error.to_string().contains("ozone.om.address"), "{error}");
        let config = Config::from_pairs([("ozone.recon.http-address", "h:1")]).unwrap();
        let warning = config.warning().unwrap();
        assert!(warning.contains("ozone.recon.http-address"), "{warning}");
        assert_eq!(config.get("ozone.recon.http-address"), Some("h:1"));
    }

    #[test]
    fn one_warning_names_every_key_that_changes_nothing() {
        let quiet = Config::from_pairs([
            ("ozone.om.address", "h:1"),
            ("ozone.client.checksum.type", "CRC32C"),
        ]);
        assert_eq!(quiet.unwrap().warning(), None);
        let config = Config::from_pairs([
            ("ozone.client.checksum.type", "MD5"),
            ("ozone.recon.db.dir", "/r"),
            ("ozone.om.address", "h:1"),
        ]);
        let warning = config.unwrap().warning().unwrap();
        assert!(warning.contains("ozone.client.checksum.type (command line)"));
        assert!(warning.contains("ozone.recon.db.dir"), "{warning}");
        assert!(!warning.contains("ozone.om.address"), "{warning}");
    }

    #[test]
    fn variables_stand_for_other_keys() {
        let config = Config::from_pairs([
            ("ozone.metadata.dirs", "/m"),
            ("ozone.om.db.dirs", "${ozone.metadata.dirs}/om"),
        ])
        .unwrap();
        assert_eq!(config.get("ozone.om.db.dirs"), Some("/m/om"));
        let later = config.with([("ozone.metadata.dirs", "/n")]).unwrap();
        assert_eq!(later.get("ozone.metadata.dirs"), Some("/n"));
        for bad in ["${no.such.key}/x", "${ozone.om.db.dirs}"] {
            let pairs = [("ozone.om.db.dirs", bad)];
            assert!(matches!(
                Config::from_pairs(pairs),
                Err(ConfigError::Expansion { .. })
            ));
        }
    }
}
