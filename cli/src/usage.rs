//! Wrong values of options end as every other wrong command line does: with the usage.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, Error};

/// Parses as `P` does, and adds the command's usage to what it refuses.
#[derive(Debug, Clone)]
pub(crate) struct WithUsage<P>(pub(crate) P);

impl<P: TypedValueParser> TypedValueParser for WithUsage<P> {
    type Value = P::Value;

    fn parse_ref(
        &self,
        command: &Command,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, Error> {
        self.0.parse_ref(command, arg, value).map_err(|mut error| {
            let usage = command.clone().render_usage();
            error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}
