//! Who turns a component into machine code: this process, or a child process that can be stopped.
//! Touches nothing itself; chosen in [`crate::config::EngineConfig`], asked by [`crate::compile`].
//!
//! A compiler that works on what somebody else wrote may take minutes or gigabytes, or may crash. A
//! thread can't be ended and shares its memory with all others; a process can, and does not. So the
//! operator starts its own program once more for each component: bytes go in by standard input, machine
//! code comes back by standard output, and nothing else connects the two.

pub(crate) mod child;
pub mod server;

use std::ffi::OsString;
use std::path::PathBuf;

/// Who compiles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compiler {
    /// This process, on a thread for blocking work. For command lines and tests: a compilation can't be
    /// ended, and its memory is not bounded.
    #[default]
    InProcess,
    /// A child process for each component, within [`crate::config::EngineConfig::compile_timeout`] and
    /// [`crate::config::EngineConfig::compile_memory_bytes`]. The system ends it together with the thread
    /// that started it, so loads have to be awaited on threads that stay, as those of a runtime do.
    Child(Program),
}

/// A program that calls [`server::serve`] with the arguments of [`server::Job::arguments`], which it is
/// given after its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its file. `/proc/self/exe` is the running program itself, also when its file was replaced since.
    pub path: PathBuf,
    /// Arguments before those of the job: the name of a subcommand.
    pub arguments: Vec<OsString>,
    /// All of its environment.
    pub environment: Vec<(OsString, OsString)>,
}

impl Program {
    /// Weir's own program: `weir compile-module`.
    ///
    /// Its allocator (mimalloc) takes a gibibyte of address space at its start, before the child can set a
    /// limit, and the C library another 64 MiB for each thread, whether they are used or not. Without both,
    /// what counts against the limit is what the compiler takes.
    #[must_use]
    pub fn weir(path: impl Into<PathBuf>) -> Self {
        let environment = [("MIMALLOC_DISALLOW_ARENA_ALLOC", "1"), ("MALLOC_ARENA_MAX", "1")];
        Self { path: path.into(), arguments: vec!["compile-module".into()], environment: environment.map(|(name, value)| (name.into(), value.into())).into() }
    }
}
