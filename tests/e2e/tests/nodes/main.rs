//! Real nodes, real collectors, real stores, and the operator as pods with the rights that
//! `deploy/kustomize` gives it. Needs root. One test runs at a time.
//!
//! | module | what must hold |
//! |---|---|
//! | [`surge`] | a surge is answered within seconds |
//! | [`records`] | no record is lost through scale-up, swap, outage and scale-down |
//! | [`config`] | a bad configuration never costs a replica |
//! | [`partitions`] | no record is lost when partitions move and tables change |
//! | [`silence`] | metrics that can't be trusted hold |
//! | [`health`] | what is wrong with pods stands in a condition |
//! | [`rights`] | nothing is forbidden to the operator that it needs |
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod config;
mod health;
mod partitions;
mod records;
mod rights;
mod setting;
mod silence;
mod surge;
