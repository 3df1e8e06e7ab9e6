//! The OM's state machine, driven by its commands, on a real database.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod batch;
mod bucket_links;
mod folding;
mod multipart;
mod numbers;
mod object_store;
mod object_view;
mod objects;
mod other_cluster;
mod requests;
mod scene;
mod snapshots;
mod state;
mod support;
mod wire;
