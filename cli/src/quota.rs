//! Quotas of new volumes and buckets.

use ozone_common::units::parse_size;

use crate::error::{CliError, Result};

/// How much a volume or bucket may hold.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct QuotaOptions {
    /// The most bytes that it may hold, such as 10GB
    #[arg(long = "space-quota", visible_alias = "quota", value_name = "SIZE")]
    space: Option<String>,
    /// The most buckets (in a volume) or keys (in a bucket) that it may hold
    #[arg(long = "namespace-quota", value_name = "COUNT")]
    namespace: Option<String>,
}

impl QuotaOptions {
    /// In bytes.
    pub(crate) fn space(&self) -> Result<Option<i64>> {
        quota("space", self.space.as_deref(), |text| parse_size(text).ok())
    }

    /// In names.
    pub(crate) fn namespace(&self) -> Result<Option<i64>> {
        let parse = |text: &str| text.parse().ok();
        quota("namespace", self.namespace.as_deref(), parse)
    }
}

fn quota(
    kind: &str,
    text: Option<&str>,
    parse: impl Fn(&str) -> Option<u64>,
) -> Result<Option<i64>> {
    let Some(text) = text else {
        return Ok(None);
    };
    let unit = match kind {
        "space" => ", with a unit such as MB, GB or TB",
        _ => "",
    };
    match parse(text).and_then(|value| i64::try_from(value).ok()) {
        Some(value) if value > 0 => Ok(Some(value)),
        // Ozone has words of its own for numbers that are no quota.
        _ if text.parse::<i64>().is_ok() => Err(CliError::Argument(format!(
            "Invalid values for {kind} quota: {text}"
        ))),
        _ => Err(CliError::Argument(format!(
            "{text} is invalid: a {kind} quota is a whole number above 0{unit}"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn options(space: &str, namespace: &str) -> QuotaOptions {
        QuotaOptions {
            space: Some(space.to_owned()),
            namespace: Some(namespace.to_owned()),
        }
    }

    #[test]
    fn space_has_units_and_names_are_counted() {
        let quotas = options("10GB", "100");
        assert_eq!(quotas.space().unwrap(), Some(10 << 30));
        assert_eq!(quotas.namespace().unwrap(), Some(100));
        assert_eq!(QuotaOptions::default().space().unwrap(), None);
    }

    #[test]
    fn a_quota_is_a_positive_number() {
        for text in ["0", "-1"] {
            let quotas = options(text, text);
            let error = quotas.space().unwrap_err().to_string();
            assert_eq!(error, format!("Invalid values for space quota: {text}"));
            let error = quotas.namespace().unwrap_err().to_string();
            assert_eq!(error, format!("Invalid values for namespace quota: {text}"));
        }
        for text in ["ten", "1.5GB", "1.5", ""] {
            let quotas = options(text, text);
            let wanted = format!("{text} is invalid");
            let error = quotas.space().unwrap_err().to_string();
            assert!(error.starts_with(&wanted), "{error}");
            let error = quotas.namespace().unwrap_err().to_string();
            assert!(error.starts_with(&wanted), "{error}");
        }
    }
}
