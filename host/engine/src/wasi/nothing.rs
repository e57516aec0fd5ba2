//! `wasi:filesystem` and `wasi:sockets` of the virtual world, in which there are no files and no
//! network. Touches nothing.
//!
//! No folder is handed out and no socket made, so no component ever holds a handle of these kinds, and
//! what needs one can't be called. What can be, answers the way an empty machine would. Values are
//! dynamic here: they are few and rare, and the types of these interfaces are many.

use super::{Interface, Store, ended, pay};
use wasmtime::component::{Resource, Val};

/// A file, a folder, a listing of one. There is none.
pub(super) enum File {}
/// A socket, or what comes out of one. There is none.
pub(super) enum Socket {}
/// The network, which leads nowhere.
pub(super) enum Network {}

pub(super) fn define(into: &mut Interface<'_>, interface: &str, member: &str) -> wasmtime::Result<bool> {
    let named = format!("{interface}#{member}");
    match (interface, member) {
        ("wasi:sockets/instance-network", "instance-network") => into.func_wrap(member, |mut store: Store<'_>, (): ()| {
            pay(&mut store, 0)?;
            Ok((Resource::<Network>::new_own(0),))
        })?,
        ("wasi:filesystem/preopens", "get-directories") => answer(into, member, || Val::List(Vec::new()))?,
        ("wasi:filesystem/types", "filesystem-error-code") | ("wasi:sockets/network", "network-error-code") => answer(into, member, || Val::Option(None))?,
        ("wasi:sockets/tcp-create-socket", "create-tcp-socket") | ("wasi:sockets/udp-create-socket", "create-udp-socket") => {
            answer(into, member, || failed("not-supported"))?;
        }
        ("wasi:sockets/ip-name-lookup", "resolve-addresses") => answer(into, member, || failed("permanent-resolver-failure"))?,
        ("wasi:filesystem/types" | "wasi:sockets/tcp" | "wasi:sockets/udp" | "wasi:sockets/ip-name-lookup", _) => {
            into.func_new(member, move |mut store, _, _, _| {
                pay(&mut store, 0)?;
                ended(format_args!("it called {named}, which the virtual world has nothing for"))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn failed(code: &str) -> Val {
    Val::Result(Err(Some(Box::new(Val::Enum(code.to_owned())))))
}

fn answer(into: &mut Interface<'_>, member: &str, value: impl Fn() -> Val + Send + Sync + 'static) -> wasmtime::Result<()> {
    into.func_new(member, move |mut store: Store<'_>, _, params, results| {
        pay(&mut store, 0)?;
        // A handle that was lent has to be given back.
        for param in params {
            if let Val::Resource(lent) = param {
                lent.resource_drop(&mut store)?;
            }
        }
        if let Some(result) = results.first_mut() {
            *result = value();
        }
        Ok(())
    })
}
