//! `wasi:clocks` and `wasi:random` of the virtual world. Touches the store of one call.

use super::io::Pollable;
use super::{Interface, Store, ended, pay, world};
use wasmtime::component::{ComponentType, Lower, Resource};

/// Random bytes that one call gives; a program asks for some dozens.
const MAX_RANDOM: u64 = 64 << 10;

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

impl Datetime {
    fn of(nanoseconds: u64) -> Self {
        Self { seconds: nanoseconds / 1_000_000_000, nanoseconds: u32::try_from(nanoseconds % 1_000_000_000).unwrap_or(0) }
    }
}

pub(super) fn define(into: &mut Interface<'_>, interface: &str, member: &str) -> wasmtime::Result<bool> {
    match (interface, member) {
        ("wasi:clocks/wall-clock", "now") => into.func_wrap(member, |mut store: Store<'_>, (): ()| {
            pay(&mut store, 0)?;
            Ok((Datetime::of(world(&mut store)?.wall()),))
        })?,
        ("wasi:clocks/wall-clock", "resolution") => into.func_wrap(member, |mut store: Store<'_>, (): ()| {
            pay(&mut store, 0)?;
            Ok((Datetime::of(1_000_000),))
        })?,
        ("wasi:clocks/monotonic-clock", "now") => into.func_wrap(member, |mut store: Store<'_>, (): ()| {
            pay(&mut store, 0)?;
            Ok((world(&mut store)?.monotonic(),))
        })?,
        ("wasi:clocks/monotonic-clock", "resolution") => into.func_wrap(member, |mut store: Store<'_>, (): ()| {
            pay(&mut store, 0)?;
            Ok((1_000_u64,))
        })?,
        ("wasi:clocks/monotonic-clock", "subscribe-instant") => into.func_wrap(member, |mut store: Store<'_>, (when,): (u64,)| {
            pay(&mut store, 0)?;
            Ok((Resource::<Pollable>::new_own(world(&mut store)?.timer_at(when)),))
        })?,
        ("wasi:clocks/monotonic-clock", "subscribe-duration") => into.func_wrap(member, |mut store: Store<'_>, (duration,): (u64,)| {
            pay(&mut store, 0)?;
            Ok((Resource::<Pollable>::new_own(world(&mut store)?.timer_after(duration)),))
        })?,
        ("wasi:random/random", "get-random-u64") | ("wasi:random/insecure", "get-insecure-random-u64") => {
            into.func_wrap(member, |mut store: Store<'_>, (): ()| {
                pay(&mut store, 0)?;
                Ok((world(&mut store)?.random(),))
            })?;
        }
        ("wasi:random/random", "get-random-bytes") | ("wasi:random/insecure", "get-insecure-random-bytes") => {
            into.func_wrap(member, |mut store: Store<'_>, (length,): (u64,)| {
                pay(&mut store, length)?;
                match usize::try_from(length) {
                    Ok(bytes) if length <= MAX_RANDOM => {
                        let mut bytes = vec![0_u8; bytes];
                        world(&mut store)?.fill(&mut bytes);
                        Ok((bytes,))
                    }
                    _ => ended(format_args!("it asked for {length} random bytes at once, {MAX_RANDOM} is the most")),
                }
            })?;
        }
        ("wasi:random/insecure-seed", "insecure-seed") => into.func_wrap(member, |mut store: Store<'_>, (): ()| {
            pay(&mut store, 0)?;
            let world = world(&mut store)?;
            Ok(((world.random(), world.random()),))
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}
