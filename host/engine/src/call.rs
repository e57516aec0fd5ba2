//! One call of a component: a fresh store, a fresh instance, every limit set, and a failure that says
//! which limit it was. Touches the Wasm engine and, through the deadline, the clock.
//! Called by [`crate::policy`] for `decide` and at load for `describe`.

use crate::admission::Admission;
use crate::compiled::Compiled;
use crate::config::Limits;
use crate::meter::{Denied, Meter};
use crate::ticker::{TICK, Ticker};
use crate::wasi::{self, World};
use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance, Lift, Lower};
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};
use weir_core::scaling::{Failure, FailureKind};

/// How long a call waits for a free instance: no call outlasts its deadline, so this passes only
/// when the machine stands still.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many deadlines may pass on the clock while a call waits for a processor.
const WAITING: u32 = 10;

/// Bytes that the host copies from a guest for one function that the guest calls while it starts.
const STARTING_BYTES: usize = 64 << 10;

/// What the store of one call holds.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) meter: Meter,
    /// There only for a component that imports WASI.
    pub(crate) world: Option<Box<World>>,
}

/// What every call of one engine shares.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) ticker: Ticker,
    pub(crate) admission: Admission,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Called<R> {
    pub(crate) result: Result<R, Failure>,
    pub(crate) fuel: u64,
    pub(crate) output: String,
}

/// What is called: the engine, the code, and the world around it.
#[derive(Debug)]
pub(crate) struct Callee<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) compiled: &'a Compiled,
    pub(crate) world: Option<Box<World>>,
}

/// Calls `export` in a fresh instance. `allowance` bounds the bytes that the host takes to hold the
/// result: Wasmtime charges each text and each list against it *before* it allocates, also when a
/// thousand records point at one and the same text.
pub(crate) fn call<P, R>(at: Callee<'_>, export: &ComponentExportIndex, params: P, limits: &Limits, allowance: u64) -> Called<R>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    in_instance(at, limits, |store, instance| {
        store.set_hostcall_fuel(usize::try_from(allowance).unwrap_or(usize::MAX));
        instance.get_typed_func::<P, R>(&mut *store, export)?.call(store, params)
    })
}

/// Makes a fresh instance under all limits and does something with it.
pub(crate) fn in_instance<R>(at: Callee<'_>, limits: &Limits, use_it: impl FnOnce(&mut Store<Data>, &Instance) -> wasmtime::Result<R>) -> Called<R> {
    let Callee { runtime, compiled, world } = at;
    let Some(_place) = runtime.admission.enter(PATIENCE) else {
        let message = format!("no instance became free within {} s", PATIENCE.as_secs());
        return Called { result: Err(Failure { kind: FailureKind::Host, message }), fuel: 0, output: String::new() };
    };
    let _ticking = runtime.ticker.tick();
    let mut store = Store::new(&runtime.engine, Data { meter: Meter::new(limits), world });
    store.limiter(|data| &mut data.meter);
    store.set_max_component_handles(wasi::MAX_HANDLES);
    store.set_hostcall_fuel(STARTING_BYTES);
    watch_deadline(&mut store, limits.deadline);
    let result = store.set_fuel(limits.fuel).and_then(|()| {
        let instance = compiled.pre.instantiate(&mut store)?;
        use_it(&mut store, &instance)
    });
    let left = store.get_fuel().unwrap_or(0);
    let result = result.map_err(|error| failure(&error, &store, limits));
    let output = store.data().world.as_ref().map(|world| world.output.text()).unwrap_or_default();
    Called { result, fuel: limits.fuel.saturating_sub(left), output }
}

/// Ends the call when it has computed for as long as its deadline, or when ten times that have passed
/// on the clock. The epoch only says when to look: a thread that had to wait for a processor has not
/// computed, and its policy is not to blame.
///
/// Asking for processor time is a system call, so it is first asked for at the second tick, which all
/// but hostile calls never see; what was computed before counts as one tick.
pub(crate) fn watch_deadline(store: &mut Store<Data>, deadline: Duration) {
    let begun = Instant::now();
    let at_most = deadline.saturating_mul(WAITING);
    let mut computed_before = None;
    store.set_epoch_deadline(2);
    store.epoch_deadline_callback(move |_| {
        let (elapsed, now) = (begun.elapsed(), thread_time());
        let before = *computed_before.get_or_insert_with(|| now.saturating_sub(TICK));
        let left = deadline.saturating_sub(now.saturating_sub(before)).min(at_most.saturating_sub(elapsed));
        Ok(if left.is_zero() { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(ticks(left)) })
    });
}

/// Processor time that this thread has used. Where the system cannot tell, no call ever seems to have computed,
/// and only the bound on the clock remains.
#[must_use]
pub fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn ticks(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX).max(1)
}

pub(crate) fn failure(error: &wasmtime::Error, store: &Store<Data>, limits: &Limits) -> Failure {
    let (kind, mut message) = classify(error, &store.data().meter, limits, store.hostcall_fuel());
    // What a program says before it gives up is the best account of why.
    let wrote = store.data().world.as_ref().map(|world| world.output.words()).unwrap_or_default();
    if !wrote.trim().is_empty() {
        message = format!("{}; it wrote: {}", shorten(&message, 400), wrote.trim());
    }
    Failure { kind, message: shorten(&message, 1024) }
}

fn classify(error: &wasmtime::Error, meter: &Meter, limits: &Limits, allowance: usize) -> (FailureKind, String) {
    let trap = error.downcast_ref::<Trap>().copied();
    match (meter.denied(), trap) {
        (Some(Denied::Memory(wanted)), _) => (
            FailureKind::MemoryLimit,
            format!("wanted {wanted} bytes of memory where limits.memory allows {}, and then failed: {}", limits.memory_bytes, cause(error)),
        ),
        (Some(Denied::Table(wanted)), _) => (
            FailureKind::MemoryLimit,
            format!("wanted {wanted} table elements where limits.tableElements allows {}, and then failed: {}", limits.table_elements, cause(error)),
        ),
        (None, Some(Trap::OutOfFuel)) => (FailureKind::FuelExhausted, format!("used up its {} units of fuel{}", limits.fuel, place(error))),
        (None, Some(Trap::Interrupt)) => {
            (FailureKind::DeadlineExceeded, format!("computed for longer than its deadline of {} ms{}", limits.deadline.as_millis(), place(error)))
        }
        (None, Some(trap)) => (FailureKind::Trap, format!("{trap}{}", place(error))),
        (None, None) => match error.downcast_ref::<wasi::Ended>() {
            Some(ended) => (FailureKind::Trap, format!("{ended}{}", place(error))),
            None => classify_text(error, allowance),
        },
    }
}

/// Errors that Wasmtime has no public type for are told apart by their text; tests hold each text.
fn classify_text(error: &wasmtime::Error, allowance: usize) -> (FailureKind, String) {
    let text = cause(error);
    // Frames of the guest: it went wrong while it ran, not when its result was read.
    let running = error.downcast_ref::<WasmBacktrace>().is_some_and(|trace| !trace.frames().is_empty());
    if running {
        (FailureKind::Trap, format!("{text}{}", place(error)))
    } else if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        (FailureKind::Host, format!("no free instance in the pool: {text}"))
    } else if text.contains("fuel allocated for hostcalls has been exhausted") {
        (FailureKind::ResultTooLarge, format!("the result would take more than the {allowance} bytes that it may take in the host"))
    } else if text.contains("resource limit exceeded") {
        (FailureKind::MemoryLimit, text)
    } else if text.contains("realloc return") {
        (FailureKind::Trap, format!("its allocator is broken: {text}"))
    } else if text.contains("type mismatch") || text.contains("failed to allocate") || text.contains("mmap") {
        (FailureKind::Host, text)
    } else {
        (FailureKind::InvalidProposal, format!("the result cannot be read: {text}"))
    }
}

/// The innermost error, without the backtrace.
fn cause(error: &wasmtime::Error) -> String {
    error.downcast_ref::<Trap>().map_or_else(|| error.root_cause().to_string(), ToString::to_string)
}

/// Where it happened, as far as the component carries names.
fn place(error: &wasmtime::Error) -> String {
    let names = error.downcast_ref::<WasmBacktrace>().map(|trace| {
        let frames = trace.frames().iter().filter_map(|frame| frame.func_name()).take(3);
        frames.map(|name| shorten(name, 80)).collect::<Vec<_>>().join(", called by ")
    });
    names.filter(|names| !names.is_empty()).map_or_else(String::new, |names| format!(" in {names}"))
}

/// At most `most` bytes of `text`, cut between two characters.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let kept: String = text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= most).map(|(_, c)| c).collect();
    format!("{kept}…")
}

/// A failure as one sentence.
pub(crate) fn sentence(failure: &Failure) -> String {
    format!("{}: {}", failure.kind.as_str(), failure.message)
}
