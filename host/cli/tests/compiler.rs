//! Compiling in a child process, with the program itself as the child, and with stand-ins that misbehave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use weir_core::ids::ObjectRef;
use weir_engine::compiler::server::Job;
use weir_engine::source::builtin::builtin;
use weir_engine::{CacheConfig, Candidate, CompiledFrom, Compiler, Engine, EngineConfig, Limits, LoadError, Loading, Program, Wasi};

const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// Longest wait for what has to happen.
const PATIENCE: Duration = Duration::from_secs(60);

fn engine(config: EngineConfig) -> Engine {
    let compiler = match config.compiler {
        Compiler::InProcess => Compiler::Child(Program::weir(WEIR)),
        stand_in => stand_in,
    };
    Engine::new(EngineConfig { concurrent_instances: 1, compiler, ..config }).unwrap()
}

/// A program that does what the script says, in place of the compiler.
fn stand_in(script: &str) -> Compiler {
    Compiler::Child(Program { path: "/bin/sh".into(), arguments: ["-c", script].map(Into::into).into(), environment: Vec::new() })
}

/// A policy with one more module inside that nothing uses; it has to be compiled all the same.
fn policy(namespace: &str, module: &str) -> Candidate {
    let module = wat::parse_str(format!("(module {module})")).unwrap();
    let mut bytes = builtin("threshold").unwrap().to_vec();
    // Section 1 of a component: a module, after its length in LEB128.
    bytes.push(1);
    let mut length = module.len();
    while length >= 128 {
        bytes.push(u8::try_from(length % 128).unwrap() | 128);
        length /= 128;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend(module);
    Candidate {
        object: ObjectRef::new(namespace, "policy"),
        kind: weir_engine::PolicyKind::Scaling,
        bytes: Bytes::from(bytes),
        digest: None,
        params: serde_json::Value::Null,
        limits: Limits::default(),
        wasi: Wasi::Deny,
    }
}

/// A policy that takes the compiler minutes: forty functions with twenty thousand branches to one place each,
/// none of which is refused for itself.
fn slow(namespace: &str) -> Candidate {
    let function = format!("(func {})", "i32.const 0 br_if 0 ".repeat(20_000));
    policy(namespace, &function.repeat(40))
}

/// One that takes it a moment.
fn quick(namespace: &str) -> Candidate {
    policy(namespace, "")
}

fn refused(loading: Loading) -> LoadError {
    loading.result.expect_err("it has to be refused")
}

/// Waits until something is so.
async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The compiler that was given so many bytes of memory, by which tests tell theirs from those of others.
fn child(memory_bytes: u64) -> Option<Pid> {
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.split(|byte| *byte == 0).any(|word| word == memory_bytes.to_string().as_bytes()))
    };
    processes.into_iter().find(is_ours).map(Pid::from_raw)
}

#[tokio::test]
async fn its_code_is_that_of_this_process_and_is_kept_on_disk() {
    let temp = tempfile::tempdir().unwrap();
    let cache = Some(CacheConfig { folder: temp.path().join("compiled"), max_bytes: 64 << 20 });
    let loading = engine(EngineConfig { cache: cache.clone(), ..EngineConfig::default() }).load(&quick("a"), &[]).await;
    loading.result.unwrap();
    assert_eq!(loading.stages.compiled, CompiledFrom::Compiler);
    let here = Engine::new(EngineConfig { concurrent_instances: 1, cache, ..EngineConfig::default() }).unwrap();
    let loading = here.load(&quick("a"), &[]).await;
    loading.result.unwrap();
    assert_eq!(loading.stages.compiled, CompiledFrom::Disk, "an engine that compiles itself takes it for its own");
}

#[tokio::test]
async fn what_takes_minutes_is_ended_and_the_next_one_is_compiled() {
    const MARK: u64 = (700 << 20) + 4;
    let engine =
        engine(EngineConfig { concurrent_compilations: 1, compile_memory_bytes: MARK, compile_timeout: Duration::from_secs(10), ..EngineConfig::default() });
    let (slow, quick) = (slow("a"), quick("b"));
    let after_it = async {
        until("a compilation", || child(MARK)).await;
        engine.load(&quick, &[]).await
    };
    let (slow, quick) = tokio::join!(engine.load(&slow, &[]), after_it);
    quick.result.unwrap();
    let error = refused(slow);
    assert_eq!(error.reason(), "CompileTimedOut");
    assert!(error.to_string().contains("longer than 10 s") && error.to_string().contains("--compile-timeout"), "{error}");
}

#[tokio::test]
async fn another_one_is_compiled_meanwhile_and_who_waits_no_more_ends_his() {
    const MARK: u64 = (700 << 20) + 1;
    let engine =
        engine(EngineConfig { concurrent_compilations: 2, compile_memory_bytes: MARK, compile_timeout: Duration::from_secs(600), ..EngineConfig::default() });
    let slow = tokio::spawn({
        let engine = engine.clone();
        async move { engine.load(&slow("a"), &[]).await.result.map(drop) }
    });
    let pid = until("a compilation", || child(MARK)).await;
    engine.load(&quick("b"), &[]).await.result.unwrap();
    assert!(!slow.is_finished());
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let environment: BTreeSet<&str> = environment.split_terminator('\0').collect();
    assert_eq!(environment, ["MALLOC_ARENA_MAX=1", "MIMALLOC_DISALLOW_ARENA_ALLOC=1"].into(), "nothing of the parent's");
    slow.abort();
    until("the end of the child", || child(MARK).is_none().then_some(())).await;
}

#[tokio::test]
async fn a_compiler_that_somebody_ends_is_said_to_be_tried_again() {
    const MARK: u64 = (700 << 20) + 2;
    let engine = engine(EngineConfig { compile_memory_bytes: MARK, compile_timeout: Duration::from_secs(600), ..EngineConfig::default() });
    let slow = slow("a");
    let killed = async { kill(until("a compilation", || child(MARK)).await, Signal::SIGKILL).unwrap() };
    let (loading, ()) = tokio::join!(engine.load(&slow, &[]), killed);
    let error = refused(loading);
    assert!(error.may_pass() && error.reason() == "CompilerKilled" && error.to_string().contains("SIGKILL"), "{error}");
}

#[tokio::test]
async fn memory_is_bounded_for_each_and_what_needs_little_of_it_passes() {
    let engine = engine(EngineConfig { compile_memory_bytes: 160 << 20, ..EngineConfig::default() });
    // Each call gives a thousand values, and all of them stay.
    let results = "i32 ".repeat(1_000);
    let bomb = format!("(func $many (result {results}) unreachable) (func (export \"f\") {} unreachable)", "call $many ".repeat(1_000));
    let error = refused(engine.load(&policy("a", &bomb), &[]).await);
    assert_eq!(error.reason(), "CompileOutOfMemory", "{error}");
    assert!(error.to_string().contains("160 MiB") && error.to_string().contains("--compile-memory"), "{error}");
    engine.load(&quick("a"), &[]).await.result.unwrap();
}

#[tokio::test]
async fn each_end_of_a_child_has_a_name() {
    for (script, reason, words) in [
        ("cat >/dev/null; printf garbage", "CompilerCrashed", "can't be used"),
        ("exit 0", "CompilerCrashed", "can't be used"),
        ("head -c 5000 /dev/zero", "TooComplex", "more than 4096 bytes"),
        ("cat /dev/zero", "TooComplex", "more than 4096 bytes"),
        ("echo 'it is bad' >&2; exit 2", "CompileFailed", "it is bad"),
        ("echo 'tables exceeds the limit' >&2; exit 2", "TooComplex", "exceeds the limit"),
        ("echo 'no limits here' >&2; exit 4", "CompilerKilled", "no limits here"),
        ("exit 3", "CompileOutOfMemory", "1280 MiB"),
        ("echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$", "CompileOutOfMemory", "1280 MiB"),
        ("echo 'an assertion' >&2; kill -ABRT $$", "CompilerCrashed", "an assertion"),
        ("kill -SEGV $$", "CompilerCrashed", "SIGSEGV"),
        ("kill -XCPU $$", "CompileTimedOut", "--compile-timeout"),
        ("kill -KILL $$", "CompilerKilled", "SIGKILL"),
        ("yes nonsense >&2; exit 7", "CompilerCrashed", "exit status: 7"),
    ] {
        let engine = engine(EngineConfig { compiler: stand_in(script), max_compiled_bytes: 4096, ..EngineConfig::default() });
        let error = refused(engine.load(&quick("a"), &[]).await);
        assert!(error.reason() == reason && error.to_string().contains(words), "{script}: {} {error}", error.reason());
        assert!(error.to_string().len() < 1_000, "{script}: {error}");
    }
    let compiler = Compiler::Child(Program { path: "/no/such/program".into(), arguments: Vec::new(), environment: Vec::new() });
    let error = refused(engine(EngineConfig { compiler, ..EngineConfig::default() }).load(&quick("a"), &[]).await);
    assert!(error.may_pass() && error.to_string().contains("/no/such/program can't be started"), "{error}");
}

#[tokio::test]
async fn a_child_that_says_nothing_and_does_not_end_is_ended() {
    let engine = engine(EngineConfig { compiler: stand_in("exec sleep 600"), compile_timeout: Duration::from_millis(50), ..EngineConfig::default() });
    assert_eq!(refused(engine.load(&quick("a"), &[]).await).reason(), "CompileTimedOut");
}

#[tokio::test]
async fn it_keeps_nothing_that_it_does_not_need_and_ends_with_its_parent() {
    let job = Job { memory_bytes: (700 << 20) + 3, cpu_seconds: 600, threads: 1 };
    // A parent that has one file more open. The child waits for a component as long as this test holds the pipe.
    let script = "exec 5</dev/null; exec 6<&0; \"$0\" compile-module \"$@\" <&6 >/dev/null & echo $!; wait";
    let mut parent = Command::new("/bin/sh").args(["-c", script, WEIR]).args(job.arguments()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let proc = format!("/proc/{}", line.trim());
    let score = || fs::read_to_string(format!("{proc}/oom_score_adj")).ok().filter(|score| score.trim() == "1000");
    until("its first choice for the kernel", score).await;
    let names = || fs::read_dir(format!("{proc}/fd")).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap()).collect::<BTreeSet<_>>();
    until("no descriptor but three", || (names() == ["0", "1", "2"].map(str::to_owned).into()).then_some(())).await;
    // Each limit is on a line of its own: name, soft, hard, unit (proc_pid_limits(5)).
    let limits =
        until("its limits", || fs::read_to_string(format!("{proc}/limits")).ok().filter(|limits| !limits.contains("Max address space         unlimited")))
            .await;
    for (name, soft, hard) in [("Max cpu time", "600", "601"), ("Max file size", "0", "0"), ("Max core file size", "0", "0"), ("Max open files", "16", "16")] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line[name.len()..].split_whitespace().take(2).collect::<Vec<_>>(), [soft, hard], "{line}");
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("the end of the child", || child(job.memory_bytes).is_none().then_some(())).await;
}
