//! Observe: scrapes the pods of one processor and asks Prometheus. Touches the network; called by
//! the actor at each tick.

use crate::build::routing::{TABLE_HASH_LABEL, TABLE_VERSION_LABEL};
use crate::build::{INFO_LABEL, PromAuth, Valid, ValidEngine, ValidMetrics, ValidPrometheus};
use crate::context::Context;
use crate::views::PodView;
use crate::watch::chain;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_core::ids::UnixMs;
use weir_core::snapshot::MetricsHealth;
use weir_crds::conditions::reason;
use weir_crds::log_processor::ScrapeScheme;
use weir_crds::{SecretKeyRef, Tls};
use weir_intake::{
    Auth, Intake, IntakeOptions, Mono, Observation, OtelOptions, PodOutcome, PodReport, Profile, PromClient, PromError, PromOptions, QueryReport, Readings,
    Scheme, ScrapeError, ScrapeOptions, ScrapeTarget, TlsOptions,
};

/// Share of the interval that the answers of all pods may take together: the decision must be made
/// within the interval too.
const SHARE_OF_INTERVAL: f64 = 0.8;

/// A processor that has just been taken up is given this long to be measured before its metrics count
/// as missing: a rate needs two answers.
const STARTING: Duration = Duration::from_secs(30);

/// How long credentials from Secrets are used before they are read again.
const CREDENTIALS: Duration = Duration::from_secs(300);

struct Target {
    ip: String,
    target: ScrapeTarget,
    readings: Readings,
}

struct Server {
    client: PromClient,
    interval: Duration,
    answers: Vec<(usize, Result<Option<f64>, PromError>)>,
    asked: Option<Instant>,
    /// Questions in a row of which some got no answer.
    failures: u32,
    made: Instant,
}

impl Server {
    /// How long after a question the next one is asked. After one that failed it is asked again soon, and
    /// then ever later: when an operator starts, thousands of objects ask one server at once, and those
    /// that it did not get to in time must not wait a whole interval each time.
    fn pause(&self, tick: Duration) -> Duration {
        match self.failures.checked_sub(1) {
            Some(before) => self.interval.min(tick.saturating_mul(1 << before.min(16))),
            None => self.interval,
        }
    }
}

/// Measures one processor.
pub(super) struct Measure {
    profile: Arc<Profile>,
    /// Rates and windows.
    pub(super) intake: Intake,
    scrape: Option<Arc<ScrapeOptions>>,
    targets: HashMap<Arc<str>, Target>,
    server: Option<Server>,
    /// Why the server can't be asked.
    server_fault: Option<String>,
    made: Instant,
    /// It could be decided on at least once.
    was_ready: bool,
}

/// The processor's metrics can't be set up: a sentence with what to do.
pub(super) type Fault = String;

impl Measure {
    /// Sets measuring up as the spec says.
    pub(super) async fn new(context: &Context, valid: &Valid) -> Result<Self, Fault> {
        let metrics = &valid.metrics;
        let profile = if matches!(valid.engine, ValidEngine::Collector(_)) {
            let options =
                OtelOptions { queue_unit: metrics.queue_unit, info_labels: [INFO_LABEL, TABLE_VERSION_LABEL, TABLE_HASH_LABEL].map(str::to_owned).into() };
            Profile::otel_collector(&options, &metrics.series)
        } else {
            Profile::custom(&metrics.series)
        };
        let profile = Arc::new(profile.map_err(|error| error.to_string())?);
        let intake = Intake::new(profile.clone(), options(metrics)).map_err(|error| error.to_string())?;
        let scrape = match &metrics.scrape {
            Some(scrape) if profile.scrapes() => {
                let cap = Duration::from_millis(u64::from(metrics.interval_ms)).mul_f64(SHARE_OF_INTERVAL);
                let cap = u32::try_from(cap.as_millis()).unwrap_or(u32::MAX);
                Some(Arc::new(ScrapeOptions {
                    scheme: if scrape.scheme == ScrapeScheme::Https { Scheme::Https } else { Scheme::Http },
                    port: scrape.port,
                    path: scrape.path.clone(),
                    timeout_ms: scrape.timeout_ms.min(cap),
                    tls: tls(context, &valid.owner.namespace, scrape.tls.as_ref()).await?,
                    ..ScrapeOptions::default()
                }))
            }
            _ => None,
        };
        let mut measure = Self { profile, intake, scrape, targets: HashMap::new(), server: None, server_fault: None, made: Instant::now(), was_ready: false };
        measure.connect(context, valid).await;
        Ok(measure)
    }

    async fn connect(&mut self, context: &Context, valid: &Valid) {
        let Some(wanted) = &valid.metrics.prometheus else { return };
        match connect(context, &valid.owner.namespace, wanted, valid.metrics.staleness_ms).await {
            Ok(client) => {
                let interval = Duration::from_millis(u64::from(wanted.interval_ms));
                self.server = Some(Server { client, interval, answers: Vec::new(), asked: None, failures: 0, made: Instant::now() });
                self.server_fault = None;
            }
            Err(fault) => self.server_fault = Some(fault),
        }
    }

    /// Measures once. `pods` are all ready ones.
    #[tracing::instrument(level = "debug", skip_all, fields(pods = pods.len()))]
    pub(super) async fn observe(&mut self, context: &Context, valid: &Valid, now: UnixMs, pods: &[Arc<PodView>]) {
        if self.server.as_ref().is_none_or(|server| server.made.elapsed() > CREDENTIALS) {
            self.connect(context, valid).await;
        }
        let scraped = self.scrape_all(context, pods);
        let mut results = scraped.await;
        self.ask(now, Duration::from_millis(u64::from(valid.metrics.interval_ms))).await;

        let mut reports = Vec::with_capacity(pods.len());
        for pod in pods {
            let outcome = match results.get(&pod.name) {
                Some(Ok(())) => self.targets.get(&pod.name).map_or(PodOutcome::Pending, |target| PodOutcome::Scraped(&target.readings)),
                Some(Err(error)) => PodOutcome::Failed(error),
                None => PodOutcome::Pending,
            };
            reports.push(PodReport { pod: &pod.name, incarnation: pod.incarnation(), ready_since: pod.facts.ready_since.unwrap_or(now), outcome });
        }
        let queries: Vec<QueryReport<'_>> = self
            .server
            .iter()
            .flat_map(|server| &server.answers)
            .map(|(column, answer)| QueryReport { column: *column, outcome: answer.as_ref().map(|value| *value) })
            .collect();
        let pods = if self.scrape.is_some() { reports.as_slice() } else { &[] };
        self.intake.observe(&Observation { now, mono: Mono::since_start(context.start), pods, queries: &queries });
        results.clear();
    }

    async fn scrape_all(&mut self, context: &Context, pods: &[Arc<PodView>]) -> BTreeMap<Arc<str>, Result<(), ScrapeError>> {
        let mut results = BTreeMap::new();
        let Some(options) = self.scrape.clone() else { return results };
        self.targets.retain(|name, target| pods.iter().any(|pod| pod.name == *name && pod.ip.as_deref() == Some(target.ip.as_str())));
        for pod in pods {
            let Some(ip) = &pod.ip else { continue };
            if !self.targets.contains_key(&pod.name) {
                match ScrapeTarget::new(&context.http, ip, &options) {
                    Ok(target) => {
                        self.targets.insert(pod.name.clone(), Target { ip: ip.clone(), target, readings: Readings::default() });
                    }
                    Err(error) => {
                        results.insert(pod.name.clone(), Err(error));
                    }
                }
            }
        }
        let profile = &self.profile;
        let scrapes = self.targets.iter_mut().map(|(name, target)| async move {
            let begun = Instant::now();
            let result = context.scraper.scrape(&target.target, profile, &mut target.readings).await;
            context.metrics.scraped(result.as_ref().err().map_or("ok", ScrapeError::reason), begun.elapsed());
            (name.clone(), result)
        });
        results.extend(futures::future::join_all(scrapes).await);
        results
    }

    async fn ask(&mut self, now: UnixMs, tick: Duration) {
        let Some(server) = &mut self.server else { return };
        // A tick that comes late must not push the next question by a whole tick: half a tick early is in time.
        if server.asked.is_some_and(|asked| asked.elapsed() + tick / 2 < server.pause(tick)) {
            return;
        }
        server.asked = Some(Instant::now());
        let client = &server.client;
        let asked = self.profile.queries().map(|(column, query)| async move { (column, client.instant(query, now).await.map(|answer| answer.value)) });
        server.answers = futures::future::join_all(asked).await;
        let failed = server.answers.iter().any(|(_, answer)| answer.is_err());
        server.failures = if failed { server.failures.saturating_add(1) } else { 0 };
    }

    /// Whether the window may be decided on, given the series that the policy can't do without.
    pub(super) fn health<'a>(&mut self, required: impl Iterator<Item = &'a str>) -> MetricsHealth {
        match self.judge(required) {
            MetricsHealth::Ready => {
                self.was_ready = true;
                MetricsHealth::Ready
            }
            MetricsHealth::NotReady { sentence, .. } if !self.was_ready && (self.made.elapsed() < STARTING || self.intake.pods().next().is_none()) => {
                MetricsHealth::NotReady { reason: reason::STARTING.to_owned(), sentence }
            }
            not_ready => not_ready,
        }
    }

    /// Whether the spec asks for anything to be measured.
    fn measures(&self) -> bool {
        self.scrape.is_some() || self.profile.queries().next().is_some()
    }

    /// Age of the newest answer of a pod or the server; `None`: there is none.
    pub(super) fn staleness(&self) -> Option<Duration> {
        let pods = self.intake.pods().map(|sample| sample.age_ms).filter(|age| *age < u64::MAX).min().map(Duration::from_millis);
        let server = self.server.as_ref().filter(|server| server.answers.iter().any(|(_, answer)| answer.is_ok()));
        let server = server.and_then(|server| server.asked).map(|asked| asked.elapsed());
        pods.into_iter().chain(server).min()
    }

    fn judge<'a>(&self, required: impl Iterator<Item = &'a str>) -> MetricsHealth {
        if let Some(fault) = &self.server_fault {
            return MetricsHealth::NotReady { reason: "PrometheusFailed".to_owned(), sentence: fault.clone() };
        }
        if let weir_intake::MetricsHealth::NotReady { reason: why, sentence } = self.intake.health()
            && self.measures()
        {
            return MetricsHealth::NotReady { reason: why.as_str().to_owned(), sentence: sentence.clone() };
        }
        let missing: Vec<&str> = self.intake.missing_series().collect();
        for name in required {
            let known = self.profile.series().iter().any(|series| &*series.name == name);
            if !known {
                return MetricsHealth::NotReady {
                    reason: "SeriesMissing".to_owned(),
                    sentence: format!("the policy needs the series `{name}`, which this object does not have: add it to spec.metrics.series"),
                };
            }
            if missing.contains(&name) {
                return MetricsHealth::NotReady {
                    reason: "SeriesMissing".to_owned(),
                    sentence: if self.measures() {
                        format!("the policy needs the series `{name}`, which has no current sample")
                    } else {
                        format!(
                            "the policy needs the series `{name}`, and nothing is measured: enable spec.metrics.scrape, or give the series a prometheus query"
                        )
                    },
                };
            }
        }
        MetricsHealth::Ready
    }
}

fn options(metrics: &ValidMetrics) -> IntakeOptions {
    IntakeOptions {
        interval_ms: metrics.interval_ms,
        window_ms: metrics.window_ms,
        staleness_ms: metrics.staleness_ms,
        max_missing_share: metrics.max_missing_share,
        ..IntakeOptions::default()
    }
}

async fn connect(context: &Context, namespace: &str, wanted: &ValidPrometheus, staleness_ms: u32) -> Result<PromClient, Fault> {
    let auth = match &wanted.auth {
        PromAuth::None => Auth::None,
        PromAuth::Bearer(reference) => Auth::Bearer(text(secret(context, namespace, reference).await?)?.trim().to_owned()),
        PromAuth::Basic(reference) => {
            let part = |key: &str| SecretKeyRef { name: reference.name.clone(), key: key.to_owned() };
            let user = text(secret(context, namespace, &part(&reference.username_key)).await?)?;
            let password = text(secret(context, namespace, &part(&reference.password_key)).await?)?;
            Auth::Basic { user, password }
        }
    };
    let options = PromOptions {
        url: wanted.url.clone(),
        auth,
        headers: wanted.headers.clone().into_iter().collect(),
        tls: tls(context, namespace, wanted.tls.as_ref()).await?,
        timeout_ms: wanted.timeout_ms,
        staleness_ms,
        ..PromOptions::default()
    };
    PromClient::new(&context.http, &options).map_err(|error| error.to_string())
}

async fn tls(context: &Context, namespace: &str, wanted: Option<&Tls>) -> Result<TlsOptions, Fault> {
    let Some(wanted) = wanted else { return Ok(TlsOptions::default()) };
    let ca_pem = match &wanted.ca_secret_ref {
        Some(reference) => Some(secret(context, namespace, reference).await?),
        None => None,
    };
    Ok(TlsOptions { ca_pem, insecure_skip_verify: wanted.insecure_skip_verify })
}

async fn secret(context: &Context, namespace: &str, reference: &SecretKeyRef) -> Result<Vec<u8>, Fault> {
    let api: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let found = api.get_opt(&reference.name).await.map_err(|error| format!("Secret {} can't be read: {}", reference.name, chain(&error)))?;
    let found = found.ok_or_else(|| format!("there is no Secret {} in namespace {namespace}: create it", reference.name))?;
    let value = found.data.as_ref().and_then(|data| data.get(&reference.key)).map(|value| value.0.clone());
    value.ok_or_else(|| format!("Secret {} has no key {}", reference.name, reference.key))
}

fn text(bytes: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(bytes).map_err(|_| "a credential in a Secret is not UTF-8 text".to_owned())
}
