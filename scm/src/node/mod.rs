//! Datanodes: who may join ([`admission`]), who is alive ([`health`]), what each reports and is
//! told ([`registry`], [`commands`]). All but the identity is soft state, rebuilt from reports.

pub(crate) mod admission;
pub(crate) mod commands;
pub(crate) mod health;
pub(crate) mod registry;
mod space;

pub(crate) use commands::{CommandKey, NodeCommand};
pub(crate) use health::Health;
pub(crate) use registry::{NodeView, Nodes, Registration};
