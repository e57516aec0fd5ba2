//! A run: offers load by its profile, hands batches to connections, and accounts for each record.
//! Touches the network through `lane` and the clock. Started by tests in-process and by the
//! binary's `send`.
use crate::backoff::Backoff;
use crate::config::{ConfigError, SenderConfig};
use crate::encode::Encoder;
use crate::lane::{self, Common};
use crate::ledger::Ledger;
use crate::meters::Meters;
use crate::num::{nanos, unix_nanos};
use crate::pacer::{Batch, Now, Pacer, Tick};
use crate::profile::Profile;
use crate::report::{Batches, Records, Report, State, StreamReport};
use crate::streams;
use crate::transport::Transport;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How often due load is turned into batches.
const TICK: Duration = Duration::from_millis(10);

/// Starts runs.
#[derive(Debug)]
pub struct Sender;

impl Sender {
    /// Starts a run in the background of the current tokio runtime. It ends when its duration is
    /// over or [`SenderHandle::stop`] is called; dropping every handle aborts it.
    ///
    /// # Errors
    /// A setting that cannot work. A target that is not there is no error: it is retried.
    pub fn start(config: SenderConfig) -> Result<SenderHandle, ConfigError> {
        config.validate()?;
        let meters = Meters::new();
        let transports = (0..config.connections)
            .map(|client| Transport::new(&config, client, meters.connections.clone()))
            .map(|transport| transport.map(Arc::new))
            .collect::<Result<Vec<_>, _>>()?;
        let abort = CancellationToken::new();
        let common = Arc::new(Common {
            encoder: Encoder::new(&config),
            ledger: Ledger::new(config.streams),
            meters,
            backoff: Backoff { initial: config.retry_initial, longest: config.retry_longest },
            timeout: config.timeout,
            abort: abort.clone(),
        });
        let shared = Arc::new(Shared {
            load: Mutex::new(Load { profile: config.profile.clone(), since: Instant::now() }),
            started: Instant::now(),
            started_unix_ns: unix_nanos(),
            phase: Mutex::new((State::Offering, None)),
            stop: CancellationToken::new(),
            done: CancellationToken::new(),
            names: streams::names(config.streams),
            config,
            common,
        });
        tokio::spawn(run(shared.clone(), transports));
        Ok(SenderHandle { shared, _abort: Arc::new(abort.drop_guard()) })
    }
}

/// A run that is under way, or over. Clones are the same run.
#[derive(Clone)]
pub struct SenderHandle {
    shared: Arc<Shared>,
    _abort: Arc<DropGuard>,
}

impl SenderHandle {
    /// Offers this many records a second from now on, whatever the profile was.
    pub fn set_rate(&self, records_per_second: f64) {
        self.set_profile(Profile::constant(records_per_second.max(0.0)));
    }

    /// Follows another profile from now on, from its beginning.
    pub fn set_profile(&self, profile: Profile) {
        *self.shared.load.lock() = Load { profile, since: Instant::now() };
    }

    /// The account so far. Streams are copied one after the other, so that records that are
    /// acknowledged meanwhile may show in one number and not yet in another; after the end all
    /// agree.
    #[must_use]
    pub fn snapshot(&self) -> Report {
        self.shared.report()
    }

    /// Metrics in the text format of Prometheus.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.shared.common.meters.expose()
    }

    /// Stops offering, sends what is pending for at most the configured drain time, and returns
    /// the final account. May be called more than once.
    pub async fn stop(&self) -> Report {
        self.shared.stop.cancel();
        self.finished().await
    }

    /// Waits for the end of the run without asking for it.
    pub async fn finished(&self) -> Report {
        self.shared.done.cancelled().await;
        self.shared.report()
    }
}

/// The load being followed.
struct Load {
    profile: Profile,
    since: Instant,
}

impl Load {
    fn rate(&self, at: Instant) -> f64 {
        self.profile.rate_at(at.saturating_duration_since(self.since))
    }
}

/// What the handle and the tasks of a run share.
struct Shared {
    config: SenderConfig,
    names: Vec<String>,
    common: Arc<Common>,
    load: Mutex<Load>,
    started: Instant,
    started_unix_ns: u64,
    /// Where the run is, and when it ended.
    phase: Mutex<(State, Option<Instant>)>,
    stop: CancellationToken,
    done: CancellationToken,
}

/// Runs from the first tick to the last acknowledgement.
async fn run(shared: Arc<Shared>, transports: Vec<Arc<Transport>>) {
    let mut lanes = JoinSet::new();
    let mut queues = Vec::new();
    for transport in transports {
        let (sender, receiver) = mpsc::unbounded_channel();
        queues.push(sender);
        let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
        for _ in 0..shared.config.in_flight {
            let (common, queue) = (shared.common.clone(), receiver.clone());
            lanes.spawn(lane::run(common, transport.clone(), queue));
        }
    }
    offer(&shared, queues).await;
    shared.phase.lock().0 = State::Draining;
    let drained = tokio::time::timeout(shared.config.drain, async { while lanes.join_next().await.is_some() {} });
    if drained.await.is_err() {
        shared.common.abort.cancel();
        while lanes.join_next().await.is_some() {}
    }
    *shared.phase.lock() = (State::Finished, Some(Instant::now()));
    shared.done.cancel();
}

/// Turns load into batches until told to stop; the queues close when it returns.
async fn offer(shared: &Shared, queues: Vec<mpsc::UnboundedSender<Batch>>) {
    let config = &shared.config;
    let weights = streams::zipf(config.streams, config.skew);
    let carriers = streams::connections(&weights, config.connections);
    let mut turns = vec![0_usize; config.streams];
    let mut hand_out = |tick: Tick| {
        let common = &shared.common;
        common.meters.shed(tick.shed);
        for batch in tick.batches {
            common.ledger.number(batch.stream, &batch.numbers());
            common.meters.enqueue(batch.count);
            let queue = carrier(&carriers, &mut turns, batch.stream).and_then(|c| queues.get(c));
            if let Some(queue) = queue {
                // The receiver lives as long as the lanes, which outlive this function; after an
                // abort the batch is accounted for as unacknowledged.
                let _ = queue.send(batch);
            }
        }
    };
    let end = config.duration.map(|d| shared.started + d);
    let mut pacer = Pacer::new(&weights, config.batch_size, config.linger, shared.now());
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = shared.started;
    loop {
        let stopped = tokio::select! {
            _ = ticks.tick() => false,
            () = shared.stop.cancelled() => true,
            () = shared.common.abort.cancelled() => true,
        };
        let now = shared.now();
        let until = end.map_or(now.instant, |end| end.min(now.instant));
        let due = shared.due(last, until);
        last = until.max(last);
        hand_out(pacer.tick(now, due, shared.room()));
        if stopped || end.is_some_and(|end| now.instant >= end) {
            hand_out(pacer.finish(now, shared.room()));
            return;
        }
    }
}

/// The connection for the next batch of `stream`: each of its connections in turn.
fn carrier(carriers: &[Vec<usize>], turns: &mut [usize], stream: usize) -> Option<usize> {
    let own = carriers.get(stream)?;
    let turn = turns.get_mut(stream)?;
    *turn = turn.wrapping_add(1);
    own.get(turn.checked_rem(own.len())?).copied()
}

impl Shared {
    fn now(&self) -> Now {
        let instant = Instant::now();
        Now {
            instant,
            // One reading of the wall clock a run: records' times never go backwards.
            unix_ns: self.started_unix_ns + nanos(instant.saturating_duration_since(self.started)),
        }
    }

    /// Records that the profile asks for between two instants. A stall of the machine is caught
    /// up in steps, so that it does not flatten the profile.
    fn due(&self, from: Instant, until: Instant) -> f64 {
        const STEP: Duration = Duration::from_millis(50);
        let load = self.load.lock();
        self.common.meters.target.set(load.rate(until));
        let (mut due, mut at) = (0.0, from);
        while at < until {
            let next = (at + STEP).min(until);
            let span = next.saturating_duration_since(at);
            due += load.rate(at + span / 2) * span.as_secs_f64();
            at = next;
        }
        due
    }

    fn room(&self) -> u64 {
        let pending = self.common.meters.pending();
        self.config.max_pending.saturating_sub(pending)
    }

    fn report(&self) -> Report {
        let meters = &self.common.meters;
        let (state, ended) = *self.phase.lock();
        let load = self.load.lock();
        let now = ended.unwrap_or_else(Instant::now);
        let ledgers = self.common.ledger.copy();
        let (acked, rejected) = (meters.acked.get(), meters.rejected.get());
        let numbered = meters.numbered.get();
        Report {
            run: self.config.run.clone(),
            state,
            started_unix_ms: self.started_unix_ns / 1_000_000,
            elapsed_seconds: now.saturating_duration_since(self.started).as_secs_f64(),
            target_records_per_second: match state {
                State::Offering => load.rate(now),
                State::Draining | State::Finished => 0.0,
            },
            profile: load.profile.to_string(),
            records: Records {
                offered: meters.offered(),
                numbered,
                shed: meters.shed.get(),
                sent: meters.sent.get(),
                acked,
                rejected,
                unacknowledged: numbered.saturating_sub(acked + rejected),
            },
            batches: Batches {
                acked: meters.acked_batches.get(),
                retries: meters.retries.get(),
                refused: meters.refused_batches.get(),
                partial: meters.partial_batches.get(),
                lost: meters.lost_batches.get(),
                rejected: meters.rejected_batches.get(),
                pending: meters.pending(),
                pending_peak: meters.pending_peak.load(Ordering::Relaxed),
                max_pending: self.config.max_pending,
            },
            sent_bytes: meters.sent_bytes.get(),
            connections_opened: meters.connections.get(),
            failures: meters.causes(),
            ack_latency_seconds: meters.ack.latency(),
            request_latency_seconds: meters.request.latency(),
            streams: self.names.iter().zip(ledgers).map(stream).collect(),
        }
    }
}

fn stream((service, ledger): (&String, crate::ledger::StreamLedger)) -> StreamReport {
    StreamReport { service: service.clone(), numbered: ledger.numbered, in_doubt: ledger.in_doubt(), acked: ledger.acked, rejected: ledger.rejected }
}
