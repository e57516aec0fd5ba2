//! Which of several operators may act: an election on a `coordination.k8s.io` Lease. Touches the
//! network and the monotonic clock; the main function starts it, whoever writes asks
//! [`Leadership::is_leader`] first.
//!
//! What it promises with the default [`Timing`]:
//! - **a killed leader is replaced 2 s after its last renewal**, a leader that released the Lease
//!   within one round trip, because candidates watch the Lease;
//! - **two never lead at one time**, as long as no clock runs a third faster than another: a leader
//!   that could not renew for 1.5 s stops by its own clock, before anybody else may start. The answer
//!   of [`Leadership::is_leader`] has its end built in, so it turns false in time even when the task
//!   that renews hangs. What it can't stop is a request that is already on its way: writes are
//!   idempotent (server-side apply) and come from a level, not from an edge, so the next leader
//!   arrives at the same state;
//! - **an API server that is away costs the leadership, nothing else**: the election goes on trying.
//!
//! Why not a crate: kube-lease-manager 0.13 and kube-leader-election 0.44 compare `renewTime` with
//! their own wall clock, so a clock that is off by the lease duration makes two leaders or none, and
//! they poll, so a release is noticed late. The rules are in [`election`], the requests in
//! [`candidate`], what others hold here.

mod candidate;
pub mod election;

use super::metrics::Metrics;
use candidate::Candidate;
use election::{InvalidTiming, Timing};
use kube::Client;
use rand::RngExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

/// Forever, in microseconds.
const ALWAYS: u64 = u64::MAX;

/// Which Lease, and as whom.
#[derive(Clone, Debug)]
pub struct LeaderOptions {
    /// Namespace of the Lease: the operator's own.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// A name that no other process has, see [`identity`].
    pub identity: String,
    /// How fast, and how sure.
    pub timing: Timing,
}

/// A name for this process: `pod`, and a random part that a restarted container does not share.
#[must_use]
pub fn identity(pod: &str) -> String {
    format!("{pod}_{:016x}", rand::rng().random::<u64>())
}

/// What the task and the handles share.
#[derive(Debug)]
struct Shared {
    start: Instant,
    /// Microseconds since `start` until which this process leads.
    until: AtomicU64,
    leads: watch::Sender<bool>,
    /// How often the holder had changed when this process last became it.
    term: AtomicI32,
    release: CancellationToken,
    ended: CancellationToken,
}

impl Shared {
    fn new(until: u64) -> Arc<Self> {
        let leads = watch::Sender::new(until == ALWAYS);
        Arc::new(Self {
            start: Instant::now(),
            until: AtomicU64::new(until),
            leads,
            term: AtomicI32::new(0),
            release: CancellationToken::new(),
            ended: CancellationToken::new(),
        })
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Ends the election with its last handle.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A handle on the election. When the last one is dropped without [`Leadership::release`], the
/// election ends as if the process had died: others wait for the lease duration.
#[derive(Clone, Debug)]
pub struct Leadership {
    shared: Arc<Shared>,
    _task: Option<Arc<Task>>,
}

impl Leadership {
    /// Leadership without an election, for an operator that runs once.
    #[must_use]
    pub fn always() -> Self {
        let shared = Shared::new(ALWAYS);
        shared.ended.cancel();
        Self { shared, _task: None }
    }

    /// True while this process may act. One atomic read and one look at the clock.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        micros(self.shared.now()) < self.shared.until.load(Ordering::Acquire)
    }

    /// Counts the changes of holders up to this leadership: two of the same number are one that was
    /// interrupted, and nobody else led in between.
    #[must_use]
    pub fn term(&self) -> i32 {
        self.shared.term.load(Ordering::Acquire)
    }

    /// Follows the leadership. A change to `true` comes after [`Leadership::is_leader`] says so.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.shared.leads.subscribe()
    }

    /// Ends when this process leads; never after a release.
    pub async fn wait_for_leadership(&self) {
        self.wait_for(true).await;
    }

    /// Ends when this process does not lead.
    pub async fn wait_for_loss(&self) {
        self.wait_for(false).await;
    }

    async fn wait_for(&self, wanted: bool) {
        // The sender lives as long as `self`.
        let _ = self.subscribe().wait_for(|leads| *leads == wanted).await;
    }

    /// Stops leading and empties the Lease, so that another takes over at once. To be called when
    /// nothing acts any more. Takes at most 3 s; where the API server can't be reached others wait
    /// for the lease duration.
    pub async fn release(&self) {
        self.shared.release.cancel();
        self.shared.ended.cancelled().await;
        self.shared.until.store(0, Ordering::Release);
        self.shared.leads.send_replace(false);
    }
}

/// Takes part in the election from now on.
///
/// # Errors
/// The durations don't fit together.
pub fn start(client: Client, options: LeaderOptions, metrics: Arc<Metrics>) -> Result<Leadership, InvalidTiming> {
    let lease_seconds = options.timing.check()?;
    let shared = Shared::new(0);
    let announced = Announced { shared: shared.clone(), metrics, identity: options.identity.clone(), _ended: shared.ended.clone().drop_guard() };
    let candidate = Candidate::new(client, announced, options, lease_seconds);
    let task = tokio::spawn(candidate.run());
    Ok(Leadership { shared, _task: Some(Arc::new(Task(task))) })
}

/// What the task has told the handles. Dropped with the task, in whichever way that ends.
struct Announced {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    identity: String,
    _ended: DropGuard,
}

impl Announced {
    fn tell(&self, until: Option<Duration>, term: i32) {
        if until.is_some() {
            self.shared.term.store(term, Ordering::Release);
        }
        self.shared.until.store(until.map_or(0, micros), Ordering::Release);
        let leads = until.is_some();
        let changed = self.shared.leads.send_if_modified(|led| std::mem::replace(led, leads) != leads);
        if changed {
            self.metrics.leading(leads);
            info!(identity = self.identity, leads, "leadership changed");
        }
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.tell(None, 0);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(ALWAYS)
}

#[cfg(test)]
#[path = "leader_tests.rs"]
mod tests;
