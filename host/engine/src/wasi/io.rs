//! `wasi:io` of the virtual world: streams that lead to the record of the call or nowhere, and polls
//! that never wait. Touches the store of one call.

use super::{Interface, Store, ended, pay, world};
use wasmtime::component::{ComponentType, Lower, Resource, WasmList};

/// A thing to wait for: always ready, or a timer of [`super::World`].
pub(super) enum Pollable {}
/// Standard input, which is at its end.
pub(super) enum InputStream {}
/// Standard output or standard error.
pub(super) enum OutputStream {}
/// Why a stream failed. None ever does, so none of these is ever made.
pub(super) enum StreamFault {}

/// Bytes that a stream takes at once.
const PERMIT: u64 = 64 << 10;

#[derive(ComponentType, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code, reason = "a case of the interface that never happens here")]
    LastOperationFailed(Resource<StreamFault>),
    #[component(name = "closed")]
    Closed,
}

type Input = Resource<InputStream>;
type Output = Resource<OutputStream>;

pub(super) fn define(into: &mut Interface<'_>, interface: &str, member: &str) -> wasmtime::Result<bool> {
    match (interface, member) {
        ("wasi:io/error", "[method]error.to-debug-string") => into.func_wrap(member, |mut store: Store<'_>, (_,): (Resource<StreamFault>,)| {
            pay(&mut store, 0)?;
            Ok((String::new(),))
        })?,
        ("wasi:io/poll", "poll") => into.func_wrap(member, |mut store: Store<'_>, (pollables,): (Vec<Resource<Pollable>>,)| {
            pay(&mut store, (pollables.len() as u64).saturating_mul(32))?;
            if pollables.is_empty() {
                return ended("it polled nothing, which would wait forever");
            }
            let pollables: Vec<u32> = pollables.iter().map(Resource::rep).collect();
            Ok((world(&mut store)?.poll(&pollables),))
        })?,
        ("wasi:io/poll", "[method]pollable.ready") => into.func_wrap(member, |mut store: Store<'_>, (pollable,): (Resource<Pollable>,)| {
            pay(&mut store, 0)?;
            Ok((world(&mut store)?.is_ready(pollable.rep()),))
        })?,
        ("wasi:io/poll", "[method]pollable.block") => into.func_wrap(member, |mut store: Store<'_>, (pollable,): (Resource<Pollable>,)| {
            pay(&mut store, 0)?;
            world(&mut store)?.poll(&[pollable.rep()]);
            Ok(())
        })?,
        ("wasi:io/streams", member) => return stream(into, member),
        _ => return Ok(false),
    }
    Ok(true)
}

fn stream(into: &mut Interface<'_>, member: &str) -> wasmtime::Result<bool> {
    match member {
        "[method]input-stream.read" | "[method]input-stream.blocking-read" => into.func_wrap(member, |mut store: Store<'_>, (_, _): (Input, u64)| {
            pay(&mut store, 0)?;
            Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
        })?,
        "[method]input-stream.skip" | "[method]input-stream.blocking-skip" => into.func_wrap(member, |mut store: Store<'_>, (_, _): (Input, u64)| {
            pay(&mut store, 0)?;
            Ok((Err::<u64, _>(StreamError::Closed),))
        })?,
        "[method]input-stream.subscribe" => into.func_wrap(member, |mut store: Store<'_>, (_,): (Input,)| ready(&mut store))?,
        "[method]output-stream.subscribe" => into.func_wrap(member, |mut store: Store<'_>, (_,): (Output,)| ready(&mut store))?,
        "[method]output-stream.check-write" => into.func_wrap(member, |mut store: Store<'_>, (_,): (Output,)| {
            pay(&mut store, 0)?;
            Ok((Ok::<_, StreamError>(PERMIT),))
        })?,
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            into.func_wrap(member, |mut store: Store<'_>, (_, bytes): (Output, WasmList<u8>)| {
                pay(&mut store, bytes.len() as u64)?;
                // At most what the store's bound on copies lets through, and paid for.
                let bytes = bytes.as_le_slice(&store).to_vec();
                world(&mut store)?.output.write(&bytes);
                Ok((Ok::<_, StreamError>(()),))
            })?;
        }
        "[method]output-stream.write-zeroes" | "[method]output-stream.blocking-write-zeroes-and-flush" => {
            into.func_wrap(member, |mut store: Store<'_>, (_, length): (Output, u64)| {
                pay(&mut store, length)?;
                world(&mut store)?.output.write(&vec![0; usize::try_from(length.min(PERMIT)).unwrap_or(0)]);
                Ok((Ok::<_, StreamError>(()),))
            })?;
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => into.func_wrap(member, |mut store: Store<'_>, (_,): (Output,)| {
            pay(&mut store, 0)?;
            Ok((Ok::<_, StreamError>(()),))
        })?,
        "[method]output-stream.splice" | "[method]output-stream.blocking-splice" => {
            into.func_wrap(member, |mut store: Store<'_>, (_, _, _): (Output, Input, u64)| {
                pay(&mut store, 0)?;
                Ok((Err::<u64, _>(StreamError::Closed),))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn ready(store: &mut Store<'_>) -> wasmtime::Result<(Resource<Pollable>,)> {
    pay(store, 0)?;
    Ok((Resource::new_own(world(store)?.ready()),))
}
