//! The S3 gateway: buckets and keys of one volume under Amazon's protocol. It keeps nothing of its own; any number
//! of them may run.
//!
//! A request travels [`server`] -> [`front`] (what is refused before anything is read) -> `s3s`, which verifies the
//! signature with the secret that [`auth`] gives it -> [`understood`] (what is refused of a request that is signed) ->
//! `s3s` again, which takes it apart -> [`gateway`], whose handlers get to the cluster only as the user who has signed.
//! GET and HEAD of a key are taken apart by [`read`].

mod asked;
mod attributes;
mod auth;
mod body;
mod buckets;
mod chunks;
mod conditions;
mod content;
mod copy;
mod documents;
mod error;
mod front;
mod gateway;
mod list;
mod multipart;
mod names;
mod objects;
mod promises;
mod read;
mod region;
mod server;
mod tagging;
mod told;
mod understood;
mod whole;

pub use server::{S3Error, S3Server};
