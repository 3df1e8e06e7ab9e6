//! How keys are replicated: the options that say it, and the JSON that shows it.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, ValueEnum};
use ozone_client::proto::Replication;
use ozone_client::wire::hdds::{ReplicationFactor, ReplicationType};
use ozone_common::config::Config;
use serde::Serialize;

use crate::error::{CliError, Result};

/// Kinds of replication that a command may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    #[value(name = "RATIS")]
    Ratis,
    #[value(name = "EC")]
    Ec,
}

/// Names a kind that there is not in Ozone's words.
#[derive(Debug, Clone)]
struct KindParser;

impl TypedValueParser for KindParser {
    type Value = Kind;

    fn parse_ref(
        &self,
        command: &Command,
        _: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Kind, clap::Error> {
        let value = value.to_string_lossy();
        let kind = Kind::from_str(&value, true);
        kind.map_err(|_| {
            let text = unknown_kind(&value, "option '--type'");
            command.clone().error(ErrorKind::InvalidValue, text)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = Kind::value_variants().iter();
        Some(Box::new(values.filter_map(Kind::to_possible_value)))
    }
}

fn unknown_kind(value: &str, place: &str) -> String {
    format!("Invalid value '{value}' for {place}. Supported values are: RATIS, EC.")
}

/// How the keys of a command are to be replicated.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ReplicationOptions {
    /// Kind of replication
    #[arg(
        short = 't',
        long = "type",
        visible_alias = "replication-type",
        ignore_case = true,
        value_parser = KindParser
    )]
    kind: Option<Kind>,
    /// How many replicas: ONE or THREE
    #[arg(short, long, value_name = "REPLICATION")]
    replication: Option<String>,
}

impl ReplicationOptions {
    /// For commands where `-t` says something else.
    pub(crate) fn of_replicas(replication: Option<String>) -> Self {
        Self {
            kind: None,
            replication,
        }
    }

    /// What the command line says; none when it says nothing.
    pub(crate) fn explicit(&self) -> Result<Option<Replication>> {
        if self.kind.is_none() && self.replication.is_none() {
            return Ok(None);
        }
        let kind = self.kind.unwrap_or(Kind::Ratis);
        replication(kind, self.replication.as_deref().unwrap_or("THREE")).map(Some)
    }

    /// What the command line says, or else `ozone.replication` and `ozone.replication.type`.
    pub(crate) fn or_configured(&self, config: &Config) -> Result<Option<Replication>> {
        if let Some(explicit) = self.explicit()? {
            return Ok(Some(explicit));
        }
        let value = |key| config.get_str(key).map(|v| (!v.is_empty()).then_some(v));
        let configured = Self {
            kind: value("ozone.replication.type")?
                .map(|kind| {
                    let unknown = |_| unknown_kind(kind, "ozone.replication.type");
                    Kind::from_str(kind, true).map_err(unknown)
                })
                .transpose()
                .map_err(CliError::Argument)?,
            replication: value("ozone.replication")?.map(str::to_owned),
        };
        configured.explicit()
    }
}

fn replication(kind: Kind, replicas: &str) -> Result<Replication> {
    let unfit = |why: &str| CliError::Argument(format!("Invalid replication {replicas}: {why}"));
    if kind != Kind::Ratis {
        return Err(unfit("only RATIS with ONE or THREE replicas is served"));
    }
    let factor = match replicas.to_ascii_uppercase().as_str() {
        "ONE" | "1" => ReplicationFactor::One,
        "THREE" | "3" => ReplicationFactor::Three,
        _ => return Err(unfit("RATIS has ONE or THREE replicas")),
    };
    Ok(Replication {
        r#type: ReplicationType::Ratis.into(),
        factor: factor.into(),
    })
}

/// `replicationConfig` of a bucket or key.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReplicationView {
    replication_factor: &'static str,
    required_nodes: i32,
    minimum_nodes: i32,
    replication_type: &'static str,
}

impl ReplicationView {
    pub(crate) fn new(kind: ReplicationType, factor: ReplicationFactor) -> Self {
        Self {
            replication_factor: factor.as_str_name(),
            required_nodes: factor.into(),
            minimum_nodes: 1,
            replication_type: kind.as_str_name(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(kind: Option<Kind>, replication: Option<&str>) -> ReplicationOptions {
        let replication = replication.map(str::to_owned);
        ReplicationOptions { kind, replication }
    }

    fn factor(options: &ReplicationOptions, config: &Config) -> Option<ReplicationFactor> {
        let replication = options.or_configured(config).unwrap();
        replication.map(|r| r.factor())
    }

    #[test]
    fn the_command_line_wins_over_the_configuration() {
        let plain = Config::default();
        let one = Config::from_pairs([("ozone.replication", "ONE")]).unwrap();
        let (three, none) = (options(None, Some("3")), options(None, None));
        assert_eq!(factor(&three, &one), Some(ReplicationFactor::Three));
        assert_eq!(factor(&none, &one), Some(ReplicationFactor::One));
        assert_eq!(factor(&none, &plain), None);
        let kind_only = options(Some(Kind::Ratis), None);
        assert_eq!(factor(&kind_only, &plain), Some(ReplicationFactor::Three));
    }

    #[test]
    fn replication_that_is_not_served_is_refused() {
        assert!(options(None, Some("TWO")).explicit().is_err());
        let config = Config::from_pairs([("ozone.replication.type", "STANDALONE")]).unwrap();
        let error = options(None, None).or_configured(&config).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("Invalid value 'STANDALONE'"), "{error}");
        let ec = options(Some(Kind::Ec), Some("rs-3-2-1024k"));
        let error = ec.explicit().unwrap_err().to_string();
        assert!(error.contains("rs-3-2-1024k"), "{error}");
    }

    #[test]
    fn three_replicas_need_three_nodes() {
        let view = ReplicationView::new(ReplicationType::Ratis, ReplicationFactor::Three);
        let text = serde_json::to_string(&view).unwrap();
        assert_eq!(
            text,
            "{\"replicationFactor\":\"THREE\",\"requiredNodes\":3,\"minimumNodes\":1,\
             \"replicationType\":\"RATIS\"}"
        );
    }
}
