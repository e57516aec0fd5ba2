//! `wasi:cli` of the virtual world: a program without environment, arguments and terminal. Touches the
//! store of one call.

use super::io::{InputStream, OutputStream};
use super::{Interface, Store, ended, pay};
use wasmtime::component::Resource;

/// A terminal to read from. There is none.
pub(super) enum TerminalInput {}
/// A terminal to write to. There is none.
pub(super) enum TerminalOutput {}

pub(super) fn define(into: &mut Interface<'_>, interface: &str, member: &str) -> wasmtime::Result<bool> {
    match (interface, member) {
        ("wasi:cli/environment", "get-environment") => into.func_wrap(member, |mut store: Store<'_>, (): ()| {
            pay(&mut store, 0)?;
            Ok((Vec::<(String, String)>::new(),))
        })?,
        ("wasi:cli/environment", "get-arguments") => into.func_wrap(member, |mut store: Store<'_>, (): ()| {
            pay(&mut store, 0)?;
            Ok((Vec::<String>::new(),))
        })?,
        ("wasi:cli/environment", "initial-cwd") => into.func_wrap(member, |mut store: Store<'_>, (): ()| {
            pay(&mut store, 0)?;
            Ok((None::<String>,))
        })?,
        ("wasi:cli/exit", "exit") => into.func_wrap(member, |mut store: Store<'_>, (status,): (Result<(), ()>,)| {
            pay(&mut store, 0)?;
            exited(if status.is_ok() { 0 } else { 1 })
        })?,
        ("wasi:cli/exit", "exit-with-code") => into.func_wrap(member, |mut store: Store<'_>, (code,): (u8,)| {
            pay(&mut store, 0)?;
            exited(code)
        })?,
        ("wasi:cli/stdin", "get-stdin") => into.func_wrap(member, |mut store: Store<'_>, (): ()| {
            pay(&mut store, 0)?;
            Ok((Resource::<InputStream>::new_own(0),))
        })?,
        ("wasi:cli/stdout", "get-stdout") | ("wasi:cli/stderr", "get-stderr") => into.func_wrap(member, |mut store: Store<'_>, (): ()| {
            pay(&mut store, 0)?;
            Ok((Resource::<OutputStream>::new_own(0),))
        })?,
        ("wasi:cli/terminal-stdin", "get-terminal-stdin") => into.func_wrap(member, |mut store: Store<'_>, (): ()| {
            pay(&mut store, 0)?;
            Ok((None::<Resource<TerminalInput>>,))
        })?,
        ("wasi:cli/terminal-stdout", "get-terminal-stdout") | ("wasi:cli/terminal-stderr", "get-terminal-stderr") => {
            into.func_wrap(member, |mut store: Store<'_>, (): ()| {
                pay(&mut store, 0)?;
                Ok((None::<Resource<TerminalOutput>>,))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// An exit is no answer, whatever its code.
fn exited(code: u8) -> wasmtime::Result<()> {
    ended(format_args!("it exited with code {code} instead of answering"))
}
