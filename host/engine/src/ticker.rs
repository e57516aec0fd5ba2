//! The clock of deadlines: a thread that advances the engine's epoch every millisecond while calls
//! run, and sleeps when none did for a while, so that an idle operator costs nothing.
//!
//! Touches the clock and one thread. Started by [`crate::engine`], woken by [`crate::call`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Length of one tick.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// After this time without a call the thread sleeps until the next one.
const IDLE: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
struct Shared {
    running: AtomicU32,
    called: AtomicBool,
    asleep: AtomicBool,
    ended: AtomicBool,
}

/// A running ticker; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

/// Keeps the epoch advancing until it is dropped.
#[derive(Debug)]
pub(crate) struct Ticking<'a>(&'a Shared);

impl Ticker {
    pub(crate) fn start(engine: &wasmtime::Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let engine = engine.weak();
        let seen = Arc::clone(&shared);
        let handle = thread::Builder::new().name("weir-deadlines".to_owned()).spawn(move || run(&seen, &engine))?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// Says that a call begins: the epoch advances as long as the answer lives.
    pub(crate) fn tick(&self) -> Ticking<'_> {
        // SeqCst pairs with the order in `run`: either the thread sees the call before it parks, or
        // this sees `asleep` and unparks it.
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        self.shared.called.store(true, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Ticking(&self.shared)
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn run(shared: &Shared, engine: &wasmtime::EngineWeak) {
    let mut last_call = Instant::now();
    while !shared.ended.load(Ordering::SeqCst) {
        if shared.called.swap(false, Ordering::SeqCst) || shared.running.load(Ordering::SeqCst) > 0 {
            last_call = Instant::now();
        } else if last_call.elapsed() > IDLE {
            shared.asleep.store(true, Ordering::SeqCst);
            while !shared.called.load(Ordering::SeqCst) && !shared.ended.load(Ordering::SeqCst) {
                thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
            continue;
        }
        thread::sleep(TICK);
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => return,
        }
    }
}
