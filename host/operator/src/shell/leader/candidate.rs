//! The requests of an election: reads, watches and writes the Lease as [`Election`] says. Touches the
//! network and the monotonic clock; [`super::start`] runs one as a task.

use super::election::{Action, Election, Record};
use super::{Announced, LeaderOptions};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::runtime::utils::Backoff;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use rand::RngExt;
use std::time::{Duration, Instant};
use tracing::warn;

/// Longest time that a release may take.
const RELEASE: Duration = Duration::from_secs(3);

/// What came of a request.
enum Answer {
    Claimed { sent: Duration, lease: Box<Lease> },
    Found(Box<Lease>),
    Absent,
    Outrun,
    Failed(String),
}

type Attempt = BoxFuture<'static, Answer>;

/// The task of one candidate.
pub(super) struct Candidate {
    api: Api<Lease>,
    election: Election,
    announced: Announced,
    /// The newest Lease, of which a write keeps all that is not the election's.
    seen: Option<Lease>,
    complained: bool,
    lease_seconds: i32,
    options: LeaderOptions,
}

impl Candidate {
    pub(super) fn new(client: Client, announced: Announced, options: LeaderOptions, lease_seconds: i32) -> Self {
        let election = Election::new(options.identity.clone(), options.timing);
        Self { api: Api::namespaced(client, &options.namespace), election, announced, seen: None, complained: false, lease_seconds, options }
    }

    /// Takes part until a release, then gives the Lease back.
    pub(super) async fn run(mut self) {
        let mut watched = watched(&self.api, &self.options);
        let mut attempt: Option<Attempt> = None;
        let release = self.announced.shared.release.clone();
        loop {
            let now = self.now();
            let until = self.election.leads_until(now);
            self.announced.tell(until, self.election.transitions());
            let mut wake = until.unwrap_or(Duration::MAX);
            if attempt.is_none() {
                match self.election.next(now) {
                    Action::Wait(due) => wake = wake.min(due),
                    action => attempt = Some(self.attempt(action)),
                }
            }
            tokio::select! {
                biased;
                () = release.cancelled() => break,
                () = sleep_until(self.announced.shared.start, wake) => {}
                answer = pending(&mut attempt) => {
                    attempt = None;
                    self.take(answer);
                }
                Some(lease) = watched.next() => match lease {
                    Some(lease) => self.see(lease),
                    None => self.miss(),
                },
            }
        }
        // What is under way may still make or renew the Lease, which has to be known to be given back.
        if let Some(attempt) = attempt
            && let Ok(answer) = tokio::time::timeout(RELEASE, attempt).await
        {
            self.take(answer);
        }
        self.give_back().await;
    }

    fn now(&self) -> Duration {
        self.announced.shared.now()
    }

    fn see(&mut self, lease: Lease) {
        let (record, version) = (record(&lease), lease.metadata.resource_version.clone().unwrap_or_default());
        self.election.seen(self.now(), record, version.clone());
        if self.election.version() == Some(&version) {
            self.seen = Some(lease);
        }
    }

    fn miss(&mut self) {
        self.seen = None;
        self.election.absent();
    }

    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Claimed { sent, lease } => {
                let (record, version) = (record(&lease), lease.metadata.resource_version.clone().unwrap_or_default());
                self.election.claimed(sent, self.now(), record, version);
                self.seen = Some(*lease);
                self.complained = false;
            }
            Answer::Found(lease) => self.see(*lease),
            Answer::Absent => self.miss(),
            Answer::Outrun => self.election.outrun(),
            Answer::Failed(error) => {
                // A fifth of the renew interval, and some chance so that candidates don't step in time.
                let pause = self.options.timing.renew.mul_f64(rand::rng().random_range(0.2..0.5));
                self.election.failed(self.now(), pause);
                if !std::mem::replace(&mut self.complained, true) {
                    warn!(lease = self.options.name, error, "the Lease can't be reached, trying on");
                }
            }
        }
    }

    /// The Lease with `holder` in it.
    fn lease(&self, holder: &str, seconds: i32) -> Lease {
        let now = MicroTime(Timestamp::now());
        let mut lease = self.seen.clone().unwrap_or_default();
        lease.metadata.name = Some(self.options.name.clone());
        lease.metadata.labels.get_or_insert_with(|| [("app.kubernetes.io/managed-by".to_owned(), "weir".to_owned())].into());
        lease.metadata.resource_version = self.election.version().map(str::to_owned);
        lease.metadata.managed_fields = None;
        let spec = lease.spec.get_or_insert_default();
        let stays = self.election.holds() && !holder.is_empty();
        spec.acquire_time = spec.acquire_time.take().filter(|_| stays).or_else(|| Some(now.clone()));
        spec.renew_time = Some(now);
        spec.holder_identity = Some(holder.to_owned());
        spec.lease_duration_seconds = Some(seconds);
        spec.lease_transitions = Some(self.election.transitions());
        lease
    }

    /// Starts a request. It is given up early enough for another one before the deadline.
    fn attempt(&self, action: Action) -> Attempt {
        let (api, name, sent) = (self.api.clone(), self.options.name.clone(), self.now());
        let lease = match action {
            Action::Read | Action::Wait(_) => None,
            Action::Create | Action::Claim => Some(self.lease(&self.options.identity, self.lease_seconds)),
        };
        let limit = self.options.timing.deadline.mul_f64(0.67);
        async move {
            let request = async {
                match (action, lease) {
                    (Action::Create, Some(lease)) => {
                        api.create(&PostParams::default(), &lease).await.map(|lease| Answer::Claimed { sent, lease: Box::new(lease) })
                    }
                    (Action::Claim, Some(lease)) => {
                        api.replace(&name, &PostParams::default(), &lease).await.map(|lease| Answer::Claimed { sent, lease: Box::new(lease) })
                    }
                    _ => api.get_opt(&name).await.map(|lease| lease.map_or(Answer::Absent, |lease| Answer::Found(Box::new(lease)))),
                }
            };
            match tokio::time::timeout(limit, request).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) && action != Action::Read => Answer::Outrun,
                Ok(Err(error)) => Answer::Failed(error.to_string()),
                Err(_) => Answer::Failed(format!("no answer within {limit:?}")),
            }
        }
        .boxed()
    }

    /// Stops leading, then empties the Lease if it is ours.
    async fn give_back(mut self) {
        let now = self.now();
        self.election.resign(now);
        self.announced.tell(None, 0);
        let released = tokio::time::timeout(RELEASE, async {
            while self.election.holds() {
                let lease = self.lease("", 1);
                match self.api.replace(&self.options.name, &PostParams::default(), &lease).await {
                    Ok(_) => return Ok(()),
                    // A renewal that was under way arrived first.
                    Err(kube::Error::Api(status)) if status.code == 409 => match self.api.get_opt(&self.options.name).await? {
                        Some(lease) => self.see(lease),
                        None => return Ok(()),
                    },
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        match released.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(lease = self.options.name, %error, "the Lease was not released, others wait until it expires"),
            Err(_) => warn!(lease = self.options.name, "the Lease was not released in time, others wait until it expires"),
        }
    }
}

/// The Lease at every change, `None` when it does not exist. Errors are tried again without an end;
/// while the watch is away, the conflict of a claim that comes too late does its work.
fn watched(api: &Api<Lease>, options: &LeaderOptions) -> impl Stream<Item = Option<Lease>> + Send + Unpin + use<> {
    watcher::watch_object(api.clone(), &options.name).backoff(Soon).filter_map(|event| std::future::ready(event.ok())).boxed()
}

/// A pause that does not grow: two operators are no burden, and a release has to be seen.
struct Soon;

impl Iterator for Soon {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(Duration::from_millis(rand::rng().random_range(200..400)))
    }
}

impl Backoff for Soon {
    fn reset(&mut self) {}
}

/// What stands in `lease`.
pub(super) fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        lease: Duration::from_secs(spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0)),
        renewed: spec.renew_time.map_or(0, |time| time.0.as_microsecond()),
        transitions: spec.lease_transitions.unwrap_or(0),
    }
}

async fn sleep_until(start: Instant, at: Duration) {
    match start.checked_add(at) {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

async fn pending(attempt: &mut Option<Attempt>) -> Answer {
    match attempt {
        Some(attempt) => attempt.await,
        None => std::future::pending().await,
    }
}
