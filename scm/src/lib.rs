//! The Storage Container Manager: the block space of the cluster.
//!
//! SCM knows which datanodes, pipelines and containers exist, hands out blocks, sees to it that
//! blocks that nobody refers to are deleted and lost replicas made anew, and keeps the keys and
//! certificates with which the cluster's servers trust one another. It never sees a name of the
//! namespace, and no data.
//!
//! What must not be lost is replicated: [`ops`] are the changes, [`state_machine`] applies them to
//! [`model`] and [`tables`]. What datanodes report is soft state ([`node`], [`pipeline::reports`],
//! [`container::replicas`]), rebuilt after a start while [`safemode`] lasts. Decisions are pure
//! functions ([`pipeline::create`], [`pipeline::transition`], [`container::transition`],
//! [`replication`], [`deleted_blocks::progress`], [`block::choose`]); the [`coordinator`] and a few
//! workers carry them out.
//!
//! [`init`] formats the directories, [`ScmServer::start`] runs an SCM in this process.
#![allow(rustdoc::private_intra_doc_links)]

mod authority;
mod block;
mod container;
mod coordinator;
mod deleted_blocks;
mod error;
mod issue;
mod layout;
mod listeners;
mod log;
mod members;
mod model;
mod node;
mod ops;
mod pipeline;
mod replication;
mod reports;
mod rows;
mod safemode;
mod scm;
mod server;
mod service;
mod settings;
mod state_machine;
mod tables;
mod transport;

pub use error::{ScmError, StartError};
pub use issue::{CertificateFor, issue};
pub use layout::{Cluster, Identity, LAYOUT_VERSION, Layout};
pub use server::{Addresses, ScmOptions, ScmServer, bootstrap, init};
