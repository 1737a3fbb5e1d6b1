//! The gate: what strangers do not get, and how nodes that admit each other begin to talk.

mod admission;
mod bookkeeping;
mod late;
mod strangers;

#[path = "../support/mod.rs"]
mod support;
