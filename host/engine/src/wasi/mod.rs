//! The virtual world that a policy with `spec.wasi: Deterministic` sees: WASI 0.2 with no outside.
//! Touches nothing but the store of one call. Linked to a component at load, off the decision path,
//! by [`crate::compiled`].
//!
//! | interfaces | what they are here |
//! |---|---|
//! | `wasi:clocks` | the wall clock stands at the `now` of the decision; the monotonic clock begins there, moves 1 µs at each reading and jumps to the end of each sleep |
//! | `wasi:random` | one generator (ChaCha8), seeded by the digest of the input |
//! | `wasi:io` | a poll or a sleep returns at once; reading ends at once |
//! | `wasi:cli` | no environment, no arguments, no terminal; standard output and error are kept, bounded; an exit fails the call |
//! | `wasi:filesystem` | no folder is there to begin with, so no file can be named |
//! | `wasi:sockets` | none can be made |
//!
//! Written by hand and not taken from a library: a host for WASI exists to reach the outside, and what
//! is wanted here is that there is none. So no file, clock, socket or source of randomness of the
//! machine is in reach of this module at all. Every call of it costs fuel, more for more bytes, so a
//! storm of calls ends like an endless loop; none of them waits, and what they keep is bounded.

mod cli;
mod clocks;
mod io;
mod nothing;
mod output;
mod world;

pub(crate) use world::World;

use crate::call::Data;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceType};
use wasmtime::{StoreContextMut, Trap};

/// What becomes of a component's WASI imports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wasi {
    /// A component that imports anything is refused.
    #[default]
    Deny,
    /// WASI 0.2 is a virtual world, in which the same input gives the same answer.
    Deterministic,
}

/// Fuel of one call of the host, about as many nanoseconds as it takes.
const CALL: u64 = 400;

/// Handles that one call may hold at a time; a program needs a dozen.
pub(crate) const MAX_HANDLES: usize = 4096;

/// The interfaces of the virtual world.
const INTERFACES: [&str; 27] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

type Store<'a> = StoreContextMut<'a, Data>;
type Interface<'a> = LinkerInstance<'a, Data>;

/// Whether an import of that name is of the virtual world: one of its interfaces, in a release of 0.2.
pub(crate) fn provides(import: &str) -> bool {
    interface(import).is_some()
}

/// The interface without its version, when the virtual world has it.
fn interface(import: &str) -> Option<&str> {
    let (interface, version) = import.split_once('@')?;
    let patch = version.strip_prefix("0.2.")?;
    (INTERFACES.contains(&interface) && !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit())).then_some(interface)
}

/// Puts what a component imports of the virtual world into `linker`. Returns the names of functions
/// that an interface of that name does not have.
pub(crate) fn link(linker: &mut Linker<Data>, engine: &wasmtime::Engine, component: &Component) -> wasmtime::Result<Vec<String>> {
    let mut unknown = Vec::new();
    let ty = component.component_type();
    for (import, item) in ty.imports(engine) {
        let (Some(interface), ComponentItem::ComponentInstance(ty)) = (interface(import), item.ty) else { continue };
        let mut into = linker.instance(import)?;
        for (member, item) in ty.exports(engine) {
            let defined = match item.ty {
                ComponentItem::Resource(_) => resource(&mut into, member)?,
                ComponentItem::ComponentFunc(_) => {
                    io::define(&mut into, interface, member)?
                        || clocks::define(&mut into, interface, member)?
                        || cli::define(&mut into, interface, member)?
                        || nothing::define(&mut into, interface, member)?
                }
                _ => true,
            };
            if !defined {
                unknown.push(format!("{import}#{member}"));
            }
        }
    }
    Ok(unknown)
}

/// Types of handles; each name stands for one resource in all of WASI 0.2.
fn resource(into: &mut Interface<'_>, name: &str) -> wasmtime::Result<bool> {
    let forget = |mut store: Store<'_>, _| pay(&mut store, 0);
    match name {
        "pollable" => into.resource(name, ResourceType::host::<io::Pollable>(), |mut store, rep| {
            pay(&mut store, 0)?;
            world(&mut store)?.drop_timer(rep);
            Ok(())
        })?,
        "input-stream" => into.resource(name, ResourceType::host::<io::InputStream>(), forget)?,
        "output-stream" => into.resource(name, ResourceType::host::<io::OutputStream>(), forget)?,
        "error" => into.resource(name, ResourceType::host::<io::StreamFault>(), forget)?,
        "network" => into.resource(name, ResourceType::host::<nothing::Network>(), forget)?,
        "terminal-input" => into.resource(name, ResourceType::host::<cli::TerminalInput>(), forget)?,
        "terminal-output" => into.resource(name, ResourceType::host::<cli::TerminalOutput>(), forget)?,
        // Nothing of these ever exists.
        "descriptor" | "directory-entry-stream" => into.resource(name, ResourceType::host::<nothing::File>(), forget)?,
        "tcp-socket" | "udp-socket" | "incoming-datagram-stream" | "outgoing-datagram-stream" | "resolve-address-stream" => {
            into.resource(name, ResourceType::host::<nothing::Socket>(), forget)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The world of this call.
fn world<'a>(store: &'a mut Store<'_>) -> wasmtime::Result<&'a mut World> {
    store.data_mut().world.as_deref_mut().ok_or_else(|| wasmtime::Error::msg("the call has no virtual world"))
}

/// Takes the fuel of one call of the host that moves `bytes` bytes.
fn pay(store: &mut Store<'_>, bytes: u64) -> wasmtime::Result<()> {
    let left = store.get_fuel()?.checked_sub(CALL.saturating_add(bytes));
    store.set_fuel(left.unwrap_or(0))?;
    if left.is_some() { Ok(()) } else { Err(Trap::OutOfFuel.into()) }
}

/// The policy did what ends its call.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Ended(pub(crate) String);

fn ended<R>(why: impl std::fmt::Display) -> wasmtime::Result<R> {
    Err(wasmtime::Error::new(Ended(why.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_releases_of_zero_two_are_taken_and_nothing_else_is() {
        for name in ["wasi:cli/stdout@0.2.0", "wasi:io/poll@0.2.12", "wasi:sockets/udp-create-socket@0.2.3"] {
            assert!(provides(name), "{name}");
        }
        for name in [
            "wasi:cli/stdout",
            "wasi:cli/stdout@0.3.0",
            "wasi:cli/stdout@0.2.0-rc-2023-11-10",
            "wasi:cli/stdout@0.2.",
            "wasi:http/types@0.2.0",
            "wasi:clocks/timezone@0.2.0",
            "other:cli/stdout@0.2.0",
        ] {
            assert!(!provides(name), "{name}");
        }
    }
}
