//! Addresses: `[o3://[host[:port] | service]/]volume/bucket/key`.
//!
//! `?`, `#` and `%` are ordinary characters, a leading slash changes nothing, and neither does one
//! after a volume or a bucket.

use ozone_client::objects::KeyName;
use ozone_common::config::{Config, HostPort};

use crate::error::{CliError, Result};

const SCHEME: &str = "o3";
/// Where an OM listens, unless an address says otherwise.
const OM_PORT: u16 = 9862;

const SERVICE_IDS: &str = "ozone.om.service.ids";
const CHOSEN_SERVICE: &str = "ozone.om.internal.service.id";
const OM_ADDRESS: &str = "ozone.om.address";

/// What a user typed, taken apart. Parts that were not there are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Address {
    /// `host`, `host:port` or the id of an OM service.
    server: String,
    volume: String,
    bucket: String,
    key: String,
}

impl Address {
    /// Takes an address apart.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (server, path) = split_server(text)?;
        let path = path.strip_prefix('/').unwrap_or(path);
        let mut parts = path.splitn(3, '/').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        Ok(Self {
            server: server.to_owned(),
            volume: part(),
            bucket: part(),
            key: part(),
        })
    }

    /// Checks that the address names nothing but a cluster.
    pub(crate) fn check_root(&self) -> Result<()> {
        if self.volume.is_empty() && self.bucket.is_empty() && self.key.is_empty() {
            return Ok(());
        }
        Err(CliError::Address(
            "Invalid URI. Volume/bucket/key elements should not been used",
        ))
    }

    /// The volume, when the address names one and nothing inside it.
    pub(crate) fn volume(&self) -> Result<&str> {
        if self.volume.is_empty() {
            return Err(CliError::Address("Volume name is required"));
        }
        if !self.bucket.is_empty() || !self.key.is_empty() {
            return Err(CliError::Address(
                "Invalid volume name. Delimiters (/) not allowed in volume name",
            ));
        }
        Ok(&self.volume)
    }

    /// The volume and the bucket, when the address names both and nothing inside.
    pub(crate) fn bucket(&self) -> Result<(&str, &str)> {
        if !self.key.is_empty() {
            return Err(CliError::Address(
                "Invalid bucket name. Delimiters (/) not allowed in bucket name",
            ));
        }
        if self.volume.is_empty() {
            return Err(CliError::Address("Volume name is required"));
        }
        if self.bucket.is_empty() {
            return Err(CliError::Address("Bucket name is required."));
        }
        Ok((&self.volume, &self.bucket))
    }

    /// The volume, and the bucket if there is one.
    pub(crate) fn volume_or_bucket(&self) -> Result<(&str, Option<&str>)> {
        if self.bucket.is_empty() {
            return Ok((self.volume()?, None));
        }
        let (volume, bucket) = self.bucket()?;
        Ok((volume, Some(bucket)))
    }

    /// The volume, the bucket if there is one, and what begins the names of all keys in the snapshot
    /// that the address names as `volume/bucket/.snapshot/name`; else nothing.
    pub(crate) fn listable(&self) -> Result<(&str, Option<&str>, String)> {
        let rest = self.key.trim_end_matches('/');
        let snapshot = rest.strip_prefix(".snapshot/");
        if let Some(name) = snapshot.filter(|name| !name.is_empty() && !name.contains('/')) {
            let within = format!(".snapshot/{name}/");
            return Ok((&self.volume, Some(&self.bucket), within));
        }
        let (volume, bucket) = self.volume_or_bucket()?;
        Ok((volume, bucket, String::new()))
    }

    /// The key.
    pub(crate) fn key(&self) -> Result<KeyName<'_>> {
        if self.key.is_empty() {
            return Err(CliError::Address("Key name is missing."));
        }
        if self.volume.is_empty() {
            return Err(CliError::Address("Volume name is missing"));
        }
        if self.bucket.is_empty() {
            return Err(CliError::Address("Bucket name is missing"));
        }
        Ok(KeyName {
            volume: &self.volume,
            bucket: &self.bucket,
            key: &self.key,
        })
    }

    /// A key of the bucket that the address names.
    pub(crate) fn key_in_bucket<'a>(&'a self, key: &'a str) -> Result<KeyName<'a>> {
        let (volume, bucket) = self.bucket()?;
        Ok(KeyName {
            volume,
            bucket,
            key,
        })
    }

    /// The configuration to reach the cluster that the address names.
    pub(crate) fn apply_to(&self, config: &Config) -> Result<Config> {
        config_for(&self.server, config)
    }
}

/// The configuration to reach `server`: a host, a host and a port, or an OM service; the configured cluster when
/// empty.
pub(crate) fn config_for(server: &str, config: &Config) -> Result<Config> {
    let services = config.get_list(SERVICE_IDS)?;
    if server.is_empty() {
        let unclear = services.len() > 1 && config.get_str(CHOSEN_SERVICE)?.is_empty();
        return match unclear {
            false => Ok(config.clone()),
            true => Err(CliError::Address(
                "Service ID or host name must not be omitted when multiple \
                 ozone.om.service.ids is defined.",
            )),
        };
    }
    let host = HostPort::parse_with(server, OM_PORT)?;
    if !services.contains(&host.host) {
        let server = host.to_string();
        let pairs = [
            (SERVICE_IDS, ""),
            (CHOSEN_SERVICE, ""),
            (OM_ADDRESS, &server),
        ];
        return Ok(config.with(pairs)?);
    }
    if host.host != server {
        return Err(CliError::ServiceWithPort { service: host.host });
    }
    Ok(config.with([(CHOSEN_SERVICE, &host.host)])?)
}

/// The server and the path; a scheme ends at a colon before the first slash.
fn split_server(text: &str) -> Result<(&str, &str)> {
    let (scheme, rest) = match text.split_once(':') {
        Some((scheme, rest)) if !scheme.contains('/') => (scheme, rest),
        _ => return Ok(("", text)),
    };
    if scheme != SCHEME {
        let scheme = scheme.to_owned();
        return Err(CliError::Scheme { scheme });
    }
    let Some(rest) = rest.strip_prefix("//") else {
        return Ok(("", rest));
    };
    Ok(rest.split_once('/').unwrap_or((rest, "")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ozone_common::config::om_nodes;

    use super::*;

    fn parts(text: &str) -> [String; 4] {
        let address = Address::parse(text).unwrap();
        [address.server, address.volume, address.bucket, address.key]
    }

    fn refusal<T: std::fmt::Debug>(outcome: Result<T>) -> String {
        outcome.unwrap_err().to_string()
    }

    fn oms(text: &str, config: &Config) -> Result<Vec<String>> {
        let config = Address::parse(text)?.apply_to(config)?;
        let nodes = om_nodes(&config)?;
        Ok(nodes.iter().map(|node| node.address.to_string()).collect())
    }

    fn two_services() -> Config {
        Config::from_pairs([
            ("ozone.om.service.ids", "s1,s2"),
            ("ozone.om.nodes.s1", "a"),
            ("ozone.om.address.s1.a", "h1"),
            ("ozone.om.nodes.s2", "a"),
            ("ozone.om.address.s2.a", "h2"),
        ])
        .unwrap()
    }

    #[test]
    fn scheme_host_and_leading_slash_may_be_left_out() {
        let whole = ["", "vol", "bucket", "a/b/c"];
        for text in [
            "vol/bucket/a/b/c",
            "/vol/bucket/a/b/c",
            "o3:///vol/bucket/a/b/c",
            "o3:/vol/bucket/a/b/c",
        ] {
            assert_eq!(parts(text), whole, "{text}");
        }
        assert_eq!(parts("o3://om:9862/vol"), ["om:9862", "vol", "", ""]);
        assert_eq!(parts("o3://om"), ["om", "", "", ""]);
        assert_eq!(parts("/"), ["", "", "", ""]);
    }

    #[test]
    fn special_characters_belong_to_the_key() {
        let key = "a?b#c%20d:e//f/";
        assert_eq!(parts(&format!("vol/bucket/{key}"))[3], key);
    }

    #[test]
    fn a_slash_after_a_volume_or_bucket_changes_nothing() {
        assert_eq!(
            Address::parse("o3://om/vol/").unwrap().volume().unwrap(),
            "vol"
        );
        let bucket = Address::parse("/vol/bucket/").unwrap();
        assert_eq!(bucket.bucket().unwrap(), ("vol", "bucket"));
    }

    #[test]
    fn other_schemes_are_refused() {
        for text in ["ofs://om/vol/bucket", "s3://vol/bucket/key", "hdfs:/x"] {
            assert!(
                refusal(Address::parse(text)).starts_with("Invalid URI"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_missing_or_too_much_is_said_as_ozone_says_it() {
        let parse = |text| Address::parse(text).unwrap();
        assert_eq!(refusal(parse("/").volume()), "Volume name is required");
        assert_eq!(refusal(parse("vol").bucket()), "Bucket name is required.");
        assert_eq!(refusal(parse("vol/bucket").key()), "Key name is missing.");
        assert_eq!(
            refusal(parse("vol/bucket/key").bucket()),
            "Invalid bucket name. Delimiters (/) not allowed in bucket name"
        );
        assert_eq!(
            refusal(parse("vol").check_root()),
            "Invalid URI. Volume/bucket/key elements should not been used"
        );
        assert!(parse("vol/bucket").volume().is_err());
        assert!(parse("vol//key").key().is_err());
    }

    #[test]
    fn a_host_stands_in_for_the_configured_om() {
        let config = Config::from_pairs([("ozone.om.address", "om:1")]).unwrap();
        assert_eq!(oms("vol", &config).unwrap(), ["om:1"]);
        assert_eq!(oms("o3:///vol", &config).unwrap(), ["om:1"]);
        assert_eq!(oms("o3://other/vol", &config).unwrap(), ["other:9862"]);
        assert_eq!(oms("o3://other:7/vol", &config).unwrap(), ["other:7"]);
        assert_eq!(oms("o3://h9/vol", &two_services()).unwrap(), ["h9:9862"]);
        assert!(oms("o3://h:x/vol", &config).is_err());
    }

    #[test]
    fn a_service_is_named_where_there_are_several() {
        let config = two_services();
        assert_eq!(oms("o3://s2/vol", &config).unwrap(), ["h2:9862"]);
        let unclear = refusal(oms("vol", &config));
        assert_eq!(
            unclear,
            "Service ID or host name must not be omitted when multiple \
             ozone.om.service.ids is defined."
        );
        assert!(refusal(oms("o3://s1:9862/vol", &config)).contains("port"));
    }
}
