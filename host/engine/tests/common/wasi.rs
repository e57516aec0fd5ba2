//! Policies that import WASI 0.2, made in the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test file uses a part of this")]

use super::{Guest, WIT, candidate, engine};
use bytes::Bytes;
use std::sync::{Arc, OnceLock};
use weir_engine::{Candidate, LoadError, Policy, Wasi};

/// The interfaces, shortened to what tests use. In the order in which they refer to each other.
const PACKAGES: [&str; 6] = [
    "package wasi:io@0.2.0;
    interface error { resource error { to-debug-string: func() -> string; } }
    interface poll {
      resource pollable { ready: func() -> bool; block: func(); }
      poll: func(in: list<borrow<pollable>>) -> list<u32>;
    }
    interface streams {
      use error.{error};
      use poll.{pollable};
      variant stream-error { last-operation-failed(error), closed }
      resource input-stream { read: func(len: u64) -> result<list<u8>, stream-error>; skip: func(len: u64) -> result<u64, stream-error>; subscribe: func() -> pollable; }
      resource output-stream {
        check-write: func() -> result<u64, stream-error>;
        write: func(contents: list<u8>) -> result<_, stream-error>;
        blocking-write-and-flush: func(contents: list<u8>) -> result<_, stream-error>;
        flush: func() -> result<_, stream-error>;
        subscribe: func() -> pollable;
        write-zeroes: func(len: u64) -> result<_, stream-error>;
        splice: func(src: borrow<input-stream>, len: u64) -> result<u64, stream-error>;
      }
    }",
    "package wasi:clocks@0.2.0;
    interface monotonic-clock {
      use wasi:io/poll@0.2.0.{pollable};
      now: func() -> u64; resolution: func() -> u64;
      subscribe-instant: func(when: u64) -> pollable;
      subscribe-duration: func(when: u64) -> pollable;
    }
    interface wall-clock { record datetime { seconds: u64, nanoseconds: u32 } now: func() -> datetime; resolution: func() -> datetime; }
    interface timezone { utc-offset: func() -> s32; }",
    "package wasi:random@0.2.0;
    interface random { get-random-bytes: func(len: u64) -> list<u8>; get-random-u64: func() -> u64; }
    interface insecure { get-insecure-random-u64: func() -> u64; }
    interface insecure-seed { insecure-seed: func() -> tuple<u64, u64>; }",
    "package wasi:filesystem@0.2.0;
    interface types {
      enum error-code { access, unsupported }
      resource descriptor { sync: func() -> result<_, error-code>; open-at: func(path: string) -> result<descriptor, error-code>; }
    }
    interface preopens { use types.{descriptor}; get-directories: func() -> list<tuple<descriptor, string>>; }",
    "package wasi:sockets@0.2.0;
    interface network {
      enum error-code { unknown, access-denied, not-supported, permanent-resolver-failure }
      enum ip-address-family { ipv4, ipv6 }
      resource network;
    }
    interface instance-network { use network.{network}; instance-network: func() -> network; }
    interface tcp { resource tcp-socket { is-listening: func() -> bool; } }
    interface tcp-create-socket {
      use network.{error-code, ip-address-family};
      use tcp.{tcp-socket};
      create-tcp-socket: func(address-family: ip-address-family) -> result<tcp-socket, error-code>;
    }
    interface ip-name-lookup {
      use network.{network, error-code};
      resource resolve-address-stream { }
      resolve-addresses: func(network: borrow<network>, name: string) -> result<resolve-address-stream, error-code>;
    }",
    "package wasi:cli@0.2.0;
    interface environment { get-environment: func() -> list<tuple<string, string>>; get-arguments: func() -> list<string>; initial-cwd: func() -> option<string>; get-secret: func() -> string; }
    interface exit { exit: func(status: result); exit-with-code: func(status-code: u8); }
    interface stdin { use wasi:io/streams@0.2.0.{input-stream}; get-stdin: func() -> input-stream; }
    interface stdout { use wasi:io/streams@0.2.0.{output-stream}; get-stdout: func() -> output-stream; }
    interface stderr { use wasi:io/streams@0.2.0.{output-stream}; get-stderr: func() -> output-stream; }
    interface terminal-output { resource terminal-output; }
    interface terminal-stdout { use terminal-output.{terminal-output}; get-terminal-stdout: func() -> option<terminal-output>; }",
];

const WORLD: &str = "package weir:tests;
    world wasi-policy {
      import wasi:io/poll@0.2.0; import wasi:io/streams@0.2.0; import wasi:io/error@0.2.0;
      import wasi:clocks/wall-clock@0.2.0; import wasi:clocks/monotonic-clock@0.2.0; import wasi:clocks/timezone@0.2.0;
      import wasi:random/random@0.2.0; import wasi:random/insecure@0.2.0; import wasi:random/insecure-seed@0.2.0;
      import wasi:filesystem/types@0.2.0; import wasi:filesystem/preopens@0.2.0;
      import wasi:sockets/instance-network@0.2.0; import wasi:sockets/tcp-create-socket@0.2.0; import wasi:sockets/tcp@0.2.0; import wasi:sockets/ip-name-lookup@0.2.0;
      import wasi:cli/environment@0.2.0; import wasi:cli/exit@0.2.0; import wasi:cli/stdin@0.2.0; import wasi:cli/stdout@0.2.0; import wasi:cli/stderr@0.2.0; import wasi:cli/terminal-stdout@0.2.0;
      export weir:policy/describe@0.1.0; export weir:policy/scaling@0.1.0;
    }";

/// Imports of a core module: `$name` = interface without `wasi:` and version, function, type.
pub(crate) const IMPORTS: [(&str, &str, &str, &str); 36] = [
    ("wall", "clocks/wall-clock", "now", "(param i32)"),
    ("mono", "clocks/monotonic-clock", "now", "(result i64)"),
    ("after", "clocks/monotonic-clock", "subscribe-duration", "(param i64) (result i32)"),
    ("at", "clocks/monotonic-clock", "subscribe-instant", "(param i64) (result i32)"),
    ("offset", "clocks/timezone", "utc-offset", "(result i32)"),
    ("random", "random/random", "get-random-u64", "(result i64)"),
    ("bytes", "random/random", "get-random-bytes", "(param i64 i32)"),
    ("insecure", "random/insecure", "get-insecure-random-u64", "(result i64)"),
    ("seed", "random/insecure-seed", "insecure-seed", "(param i32)"),
    ("poll", "io/poll", "poll", "(param i32 i32 i32)"),
    ("block", "io/poll", "[method]pollable.block", "(param i32)"),
    ("ready", "io/poll", "[method]pollable.ready", "(param i32) (result i32)"),
    ("drop", "io/poll", "[resource-drop]pollable", "(param i32)"),
    ("read", "io/streams", "[method]input-stream.read", "(param i32 i64 i32)"),
    ("skip", "io/streams", "[method]input-stream.skip", "(param i32 i64 i32)"),
    ("hear", "io/streams", "[method]input-stream.subscribe", "(param i32) (result i32)"),
    ("permit", "io/streams", "[method]output-stream.check-write", "(param i32 i32)"),
    ("write", "io/streams", "[method]output-stream.write", "(param i32 i32 i32 i32)"),
    ("print", "io/streams", "[method]output-stream.blocking-write-and-flush", "(param i32 i32 i32 i32)"),
    ("flush", "io/streams", "[method]output-stream.flush", "(param i32 i32)"),
    ("wake", "io/streams", "[method]output-stream.subscribe", "(param i32) (result i32)"),
    ("zeroes", "io/streams", "[method]output-stream.write-zeroes", "(param i32 i64 i32)"),
    ("splice", "io/streams", "[method]output-stream.splice", "(param i32 i32 i64 i32)"),
    ("environment", "cli/environment", "get-environment", "(param i32)"),
    ("arguments", "cli/environment", "get-arguments", "(param i32)"),
    ("cwd", "cli/environment", "initial-cwd", "(param i32)"),
    ("secret", "cli/environment", "get-secret", "(param i32)"),
    ("exit", "cli/exit", "exit", "(param i32)"),
    ("code", "cli/exit", "exit-with-code", "(param i32)"),
    ("stdin", "cli/stdin", "get-stdin", "(result i32)"),
    ("stdout", "cli/stdout", "get-stdout", "(result i32)"),
    ("stderr", "cli/stderr", "get-stderr", "(result i32)"),
    ("terminal", "cli/terminal-stdout", "get-terminal-stdout", "(param i32)"),
    ("folders", "filesystem/preopens", "get-directories", "(param i32)"),
    ("network", "sockets/instance-network", "instance-network", "(result i32)"),
    ("socket", "sockets/tcp-create-socket", "create-tcp-socket", "(param i32 i32)"),
];
/// More of them, which need a handle first.
pub(crate) const MORE: [(&str, &str, &str, &str); 2] = [
    ("open", "filesystem/types", "[method]descriptor.open-at", "(param i32 i32 i32 i32)"),
    ("lookup", "sockets/ip-name-lookup", "resolve-addresses", "(param i32 i32 i32 i32)"),
];

/// The component of a guest whose functions call those imports that they name as `$name`.
pub(crate) fn component(guest: &Guest) -> Bytes {
    let text = guest.wat();
    let called = |name: &str| text.contains(&format!("(call ${name} ")) || text.contains(&format!("(call ${name})"));
    let imports: String = IMPORTS
        .iter()
        .chain(&MORE)
        .filter(|(name, ..)| called(name))
        .map(|(name, interface, function, ty)| format!("(import \"wasi:{interface}@0.2.0\" \"{function}\" (func ${name} {ty}))\n"))
        .collect();
    from_module(&text.replacen("(module", &format!("(module {imports}"), 1))
}

/// The component of a core module in text for the world of a policy with WASI.
pub(crate) fn from_module(wat: &str) -> Bytes {
    from_binary(wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"))).unwrap()
}

/// The component of a core module for the world of a policy with WASI; none when it does not fit.
pub(crate) fn from_binary(mut module: Vec<u8>) -> Option<Bytes> {
    let (resolve, world) = world();
    wit_component::embed_component_metadata(&mut module, resolve, *world, wit_component::StringEncoding::UTF8, false).ok()?;
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.module(&module).ok()?;
    Some(encoder.encode().ok()?.into())
}

fn world() -> &'static (wit_parser::Resolve, wit_parser::WorldId) {
    static PARSED: OnceLock<(wit_parser::Resolve, wit_parser::WorldId)> = OnceLock::new();
    PARSED.get_or_init(|| {
        let mut resolve = wit_parser::Resolve::default();
        resolve.push_str("policy.wit", WIT).unwrap();
        for package in PACKAGES {
            resolve.push_str("wasi.wit", package).unwrap();
        }
        let package = resolve.push_str("world.wit", WORLD).unwrap();
        let world = resolve.select_world(&[package], Some("wasi-policy")).unwrap();
        (resolve, world)
    })
}

/// The same with its WASI granted.
pub(crate) fn granted(bytes: &Bytes) -> Candidate {
    Candidate { wasi: Wasi::Deterministic, ..candidate(bytes) }
}

/// Loads with WASI granted.
pub(crate) fn load(bytes: &Bytes) -> Result<Arc<Policy>, LoadError> {
    engine().load_blocking(&granted(bytes), &[]).result
}

/// A loaded policy that decides by `body`.
pub(crate) fn deciding(body: &str) -> Arc<Policy> {
    load(&component(&Guest::deciding(body))).unwrap()
}
