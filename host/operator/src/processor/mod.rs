//! One actor per LogProcessor. Each step of a decision is a module of its own:
//!
//! | module | step | may touch |
//! |---|---|---|
//! | [`measure`] | observe | network: scrapes pods, asks Prometheus |
//! | [`freeze`] | snapshot | nothing |
//! | [`actor`] | | its loop and its state |
//! | [`choose`] | decide | nothing: who is asked |
//! | [`ask`] | decide | the policy, and threads |
//! | [`state`] | decide | nothing: what policies remember |
//! | [`decide`] | | the tick: all steps in order |
//! | [`drain`] | plan | network: labels pods that leave |
//! | [`crate::ensure`], [`adopt`], [`rollout`] | apply | network: writes what differs |
//! | [`routing`] | | the routing table that it names |
//! | [`status`] | record | network: status and Events |
//!
//! [`crate::manager`] starts and stops the actors.

pub mod actor;
mod adopt;
mod ask;
mod choose;
mod decide;
mod drain;
mod facts;
mod freeze;
mod measure;
mod rollout;
mod routing;
mod state;
mod status;
