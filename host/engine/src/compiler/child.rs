//! One compilation in a child process, seen from its parent. Touches processes, pipes and the clock.
//! Called by [`crate::compile`]; the other side is [`super::server`].
//!
//! Whatever the child does, the parent takes in no more than the bytes that it allows, waits no longer
//! than it says, and knows afterwards which of the bounds it was.

use super::Program;
use super::server::{Job, OUT_OF_MEMORY, REFUSED, UNUSABLE};
use crate::call::shorten;
use crate::compiled::refused;
use crate::config::EngineConfig;
use crate::error::LoadError;
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// Bytes of standard error that are read; what comes after is thrown away.
const MOST_WORDS: u64 = 4 << 10;

/// Threads of one child at most: each has a function in work, and memory for it.
const MOST_THREADS: u32 = 4;

/// What Rust's standard library prints before it aborts for want of memory.
const ALLOCATION_FAILED: &str = "memory allocation of ";

/// What one child left behind.
struct Left {
    status: ExitStatus,
    code: Vec<u8>,
    words: String,
}

/// Compiles a component in a child process. Dropping the future ends the child.
///
/// # Errors
/// What the compiler says, or which bound ended it.
pub(crate) async fn compile(program: &Program, config: &EngineConfig, component: &[u8]) -> Result<Vec<u8>, LoadError> {
    let child = Command::new(&program.path)
        .args(&program.arguments)
        .args(job(config).arguments())
        .env_clear()
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| LoadError::CompilerKilled(format!("{} can't be started: {error}", program.path.display())))?;
    let ended = tokio::time::timeout(config.compile_timeout, attend(&mut child, component, config.max_compiled_bytes)).await;
    let Ok(ended) = ended else {
        // Waits for its end, so that its place in the queue is not given away before.
        drop(child.kill().await);
        return Err(LoadError::CompileTimedOut { after: config.compile_timeout });
    };
    judge(ended.map_err(|error| LoadError::CompilerKilled(error.to_string()))?, config)
}

fn job(config: &EngineConfig) -> Job {
    let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(MOST_THREADS));
    let threads = if config.parallel_compilation { cores.min(MOST_THREADS) } else { 1 };
    // The clock ends it before; this holds where the parent can't.
    let cpu = config.compile_timeout.saturating_mul(threads);
    Job { memory_bytes: config.compile_memory_bytes, cpu_seconds: cpu.as_secs().saturating_add(1), threads }
}

/// Feeds the child and hears it out.
async fn attend(child: &mut Child, component: &[u8], most: u64) -> std::io::Result<Left> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let fed = async {
        if let Some(mut stdin) = stdin {
            // A child that ends before it has read all says why in another way.
            drop(stdin.write_all(component).await);
        }
    };
    // One byte more than allowed tells that there is more.
    let (code, words, ()) = tokio::join!(heard(stdout, most.saturating_add(1)), heard(stderr, MOST_WORDS), fed);
    let (code, words) = (code?, words?);
    if code.len() as u64 > most {
        // It has more to say, and nobody listens.
        child.start_kill()?;
    }
    Ok(Left { status: child.wait().await?, code, words: String::from_utf8_lossy(&words).trim().to_owned() })
}

/// Reads `most` bytes, and closes the pipe when there are more.
async fn heard(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(most).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// What its end means.
fn judge(left: Left, config: &EngineConfig) -> Result<Vec<u8>, LoadError> {
    let Left { status, code, words } = left;
    if code.len() as u64 > config.max_compiled_bytes {
        return Err(LoadError::TooComplex(format!("its machine code has more than {} bytes", config.max_compiled_bytes)));
    }
    let signal = status.signal().and_then(|signal| Signal::try_from(signal).ok());
    let out_of_memory = || LoadError::CompileOutOfMemory { limit: config.compile_memory_bytes };
    match (status.code(), signal) {
        (Some(0), _) => Ok(code),
        (Some(exit), _) if exit == i32::from(REFUSED) => Err(refused(&words)),
        (Some(exit), _) if exit == i32::from(OUT_OF_MEMORY) => Err(out_of_memory()),
        (Some(exit), _) if exit == i32::from(UNUSABLE) => Err(LoadError::CompilerKilled(shorten(&words, 300))),
        (None, Some(Signal::SIGABRT)) if words.contains(ALLOCATION_FAILED) => Err(out_of_memory()),
        (None, Some(Signal::SIGXCPU)) => Err(LoadError::CompileTimedOut { after: config.compile_timeout }),
        (None, Some(Signal::SIGKILL | Signal::SIGTERM)) => Err(LoadError::CompilerKilled(status.to_string())),
        _ => {
            let words = shorten(&words, 300);
            Err(LoadError::CompilerCrashed(if words.is_empty() { status.to_string() } else { format!("{status}: {words}") }))
        }
    }
}
