//! The Ozone Manager: the namespace of volumes, buckets, keys, directories and files.
//!
//! A request travels [`service`] -> [`runner`] -> the log -> [`state_machine`] -> one file of
//! [`ops`], or, when it only looks, [`runner`] -> [`reads`]. What is stored where is in [`tables`].

pub mod admins;
pub mod apply;
pub mod background;
pub mod block_refs;
pub mod block_writer;
pub mod blocks;
pub mod cluster;
mod differences;
pub mod error;
pub mod etag;
pub mod extents;
pub mod file_map;
pub mod fold_batch;
pub mod fold_queue;
mod founder;
mod group;
pub mod key_info;
pub mod key_path;
pub mod layout;
pub mod leader;
pub mod leases;
pub mod limits;
pub mod links;
mod listeners;
mod look_back;
pub mod namespace;
pub mod opens;
pub mod ops;
pub mod orphans;
pub mod reads;
pub mod removals;
pub mod replies;
pub mod room;
pub mod rows;
pub mod runner;
pub mod saved_metrics;
pub mod security;
pub mod server;
pub mod service;
pub mod services;
mod settings;
pub mod snapshots;
pub mod state_machine;
pub mod store;
pub mod tables;
pub mod tokens;
pub mod touched;
pub mod unlink;

pub use error::{OmError, Result};
pub use server::{OmOptions, OmServer};
