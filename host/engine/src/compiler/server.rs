//! The child process that compiles one component. Touches standard input, output and error, the limits
//! of its own process, and the compiler. Started by [`super::child`] through a subcommand of the program.
//!
//! It gives up what it does not need before it reads the first byte: descriptors, files, processor time,
//! memory, and a life beyond its parent's. What it prints on standard error is for a person.

use crate::config::EngineConfig;
use crate::runtime;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{SysconfVar, close, sysconf};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::ExitCode;

/// The compiler has refused the component; standard error says why.
pub(crate) const REFUSED: u8 = 2;
/// There was not enough memory.
pub(crate) const OUT_OF_MEMORY: u8 = 3;
/// The child could not do what it is there for: bad arguments, limits that can't be set, broken pipes.
pub(crate) const UNUSABLE: u8 = 4;

/// Files that it may have open: its three, and what the standard library reads to count processors.
const OPEN_FILES: u64 = 16;

/// What one compilation may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Bytes of address space beyond what the program has when it starts.
    pub memory_bytes: u64,
    /// Seconds of processor time, all threads together.
    pub cpu_seconds: u64,
    /// Threads that compile, each with a function of its own.
    pub threads: u32,
}

impl Job {
    /// As options of a command line: `--memory-bytes N --cpu-seconds N --threads N`.
    #[must_use]
    pub fn arguments(&self) -> [OsString; 6] {
        let option = |name: &str, value: String| [OsString::from(name), OsString::from(value)];
        let [memory, memory_bytes] = option("--memory-bytes", self.memory_bytes.to_string());
        let [cpu, cpu_seconds] = option("--cpu-seconds", self.cpu_seconds.to_string());
        let [threads, number] = option("--threads", self.threads.to_string());
        [memory, memory_bytes, cpu, cpu_seconds, threads, number]
    }
}

/// Why there is no machine code.
enum Failed {
    Refused(wasmtime::Error),
    Unusable(&'static str, std::io::Error),
}

/// Compiles the component on standard input, and writes its machine code to standard output. The exit
/// code says what came of it: 0 for machine code, 2 where the compiler refuses the component, 3 where
/// memory was not enough, 4 where this process is not as it should be. Of a panic it is 101, and
/// an allocation that fails aborts.
#[must_use]
pub fn serve(job: &Job) -> ExitCode {
    // What a person needs is the message; place and hint of the default hook are for the source.
    std::panic::set_hook(Box::new(|info| eprintln!("{}", info.payload_as_str().unwrap_or("it panicked"))));
    match compile(job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Refused(error)) => {
            eprintln!("{error:#}");
            ExitCode::from(if is_out_of_memory(&error) { OUT_OF_MEMORY } else { REFUSED })
        }
        Err(Failed::Unusable(what, error)) => {
            eprintln!("{what}: {error}");
            ExitCode::from(UNUSABLE)
        }
    }
}

fn compile(job: &Job) -> Result<(), Failed> {
    confine(job).map_err(|error| Failed::Unusable("the limits of the compiler can't be set", error))?;
    let mut component = Vec::new();
    std::io::stdin().lock().read_to_end(&mut component).map_err(|error| Failed::Unusable("the component can't be read", error))?;
    let threads = usize::try_from(job.threads).unwrap_or(1).max(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    pool.map_err(|error| Failed::Unusable("the threads of the compiler can't be started", std::io::Error::other(error)))?;
    let config = EngineConfig { parallel_compilation: threads > 1, ..EngineConfig::default() };
    let engine = wasmtime::Engine::new(&runtime::compile_only(&config));
    let engine = engine.map_err(|error| Failed::Unusable("the compiler can't be set up", std::io::Error::other(format!("{error:#}"))))?;
    let code = engine.precompile_component(&component).map_err(Failed::Refused)?;
    let mut out = std::io::stdout().lock();
    out.write_all(&code).and_then(|()| out.flush()).map_err(|error| Failed::Unusable("the machine code can't be handed over", error))
}

/// Gives up what compiling does not need.
fn confine(job: &Job) -> std::io::Result<()> {
    // A parent that ended before this line can't be noticed; then no more bytes come, and nobody reads.
    set_pdeathsig(Signal::SIGKILL)?;
    close_inherited()?;
    // Where the pod's memory is used up, this process is what the kernel ends, not the operator. It may
    // be set higher than before by everybody; where it can't, the kernel chooses by size.
    drop(std::fs::write("/proc/self/oom_score_adj", "1000"));
    limit(Resource::RLIMIT_CORE, 0, 0)?;
    limit(Resource::RLIMIT_FSIZE, 0, 0)?;
    limit(Resource::RLIMIT_NOFILE, OPEN_FILES, OPEN_FILES)?;
    // SIGXCPU at the first, which tells what happened; SIGKILL at the second.
    limit(Resource::RLIMIT_CPU, job.cpu_seconds, job.cpu_seconds.saturating_add(1))?;
    let memory = address_space()?.saturating_add(job.memory_bytes);
    limit(Resource::RLIMIT_AS, memory, memory)
}

/// Sets a limit, or leaves it where it is lower already.
fn limit(resource: Resource, soft: u64, hard: u64) -> std::io::Result<()> {
    let (_, most) = getrlimit(resource)?;
    setrlimit(resource, soft.min(most), hard.min(most))?;
    Ok(())
}

/// Closes what the parent's own parent left open to it.
fn close_inherited() -> std::io::Result<()> {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for descriptor in open.into_iter().filter(|descriptor| *descriptor > 2) {
        // The folder's own is among them, and closed already.
        let _ = close(descriptor);
    }
    Ok(())
}

/// Bytes of address space that this process has now (the first number of proc_pid_statm(5), in pages).
fn address_space() -> std::io::Result<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').next().and_then(|pages| pages.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    let page = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|bytes| u64::try_from(bytes).ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok(pages.saturating_mul(page))
}

fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    error.is::<wasmtime::OutOfMemory>()
        || error.chain().any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::OutOfMemory))
}
