//! `weir policy keygen|sign|push|pull`: from a built module to what `spec.source` and `spec.verification`
//! read. Touches files and registries; called by [`crate::policy`].

mod key;
mod pull;
mod push;
mod registry;
mod sign;

pub(crate) use pull::{PullArgs, pull};
pub(crate) use push::{PushArgs, push};
pub(crate) use sign::{KeygenArgs, SignArgs, keygen, sign};
