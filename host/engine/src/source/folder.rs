//! A component in a mounted folder, watched. Touches files under the operator's folder for policies
//! and the clock. The operator has one for each WasmPolicy with `source.file`.
//!
//! Kubernetes changes a mounted volume by exchanging the link `..data`, so the file itself never
//! tells: the folder is watched, and besides looked at twice a second, which also covers volumes that
//! give no notice. What is found is reported once it has stood still for a moment, so that a file
//! half-written is not; and a file that disappears is reported, while whoever listens keeps what runs.

use super::SourceError;
use super::locate::{self, Fingerprint};
use crate::inspect::is_whole;
use crate::unpack::unpack;
use crate::verify::detached;
use bytes::Bytes;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use weir_core::ids::Digest;

/// How often a folder is looked at without notice.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long something must stand still before it is reported.
const SETTLE: Duration = Duration::from_millis(100);

/// How long notices are gathered before one look answers all of them.
const BURST: Duration = Duration::from_millis(20);

/// How long something that is no whole component must stand still: a slow copy ends within this time,
/// and what is still broken then is reported as broken.
const SETTLE_BROKEN: Duration = Duration::from_secs(2);

/// What to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderConfig {
    /// The operator's folder for policies (`--policy-dir`). Nothing outside it is ever read.
    pub root: PathBuf,
    /// The file, relative to the root or absolute inside it; or a folder that holds exactly one
    /// component (`.wasm`, `.wasm.gz`, `.wasm.zst`).
    pub path: PathBuf,
    /// Bytes that the file may have.
    pub max_bytes: u64,
}

/// What was found last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FolderEvent {
    /// Nothing was looked at yet.
    #[default]
    Pending,
    /// A file, as it stands there.
    Bytes {
        /// Its bytes, perhaps compressed.
        bytes: Bytes,
        /// Their digest, compressed or not.
        shipped: Digest,
        /// Contents of the file beside it with `.sig` at its end.
        signature: Option<Bytes>,
    },
    /// No file, or one that cannot be read or is refused.
    Failed(SourceError),
}

/// A watched file. Dropping it ends the watch.
#[derive(Debug)]
pub struct FolderSource {
    events: watch::Receiver<FolderEvent>,
    task: tokio::task::JoinHandle<()>,
}

impl FolderSource {
    /// Begins to watch. Must be called inside a tokio runtime. A file that is missing or refused is an
    /// event and not an error, because it may come or be mended.
    ///
    /// # Errors
    /// [`SourceError::OutsideRoot`] when the path itself, as written, leaves the root.
    pub fn watch(config: FolderConfig) -> Result<Self, SourceError> {
        let asked = locate::inside(&config.root, &config.path)?;
        let (sender, events) = watch::channel(FolderEvent::Pending);
        let task = tokio::spawn(run(config, asked, sender));
        Ok(Self { events, task })
    }

    /// The newest event, and a wake-up at each change.
    #[must_use]
    pub fn events(&self) -> watch::Receiver<FolderEvent> {
        self.events.clone()
    }
}

impl Drop for FolderSource {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(config: FolderConfig, asked: PathBuf, events: watch::Sender<FolderEvent>) {
    let noticed = Arc::new(Notify::new());
    let mut notices = Notices::new(Arc::clone(&noticed), asked);
    let config = Arc::new(config);
    let mut settling = Settling::default();
    loop {
        notices.renew();
        let looking = Arc::clone(&config);
        let known = settling.known();
        let Ok(found) = tokio::task::spawn_blocking(move || look(&looking, known.as_ref())).await else { return };
        let now = Instant::now();
        if let Some(event) = settling.step(found, now) {
            events.send_if_modified(|last| {
                let differs = *last != event;
                if differs {
                    *last = event;
                }
                differs
            });
        }
        if events.is_closed() {
            return;
        }
        let wait = settling.wait(now);
        // A notice only makes the next look come sooner; a burst of them makes one look.
        if tokio::time::timeout(wait, noticed.notified()).await.is_ok() {
            tokio::time::sleep(BURST).await;
        }
    }
}

/// What one look finds.
#[derive(Clone, Debug)]
enum Found {
    /// The file that was reported, unchanged.
    Same,
    File {
        fingerprint: Fingerprint,
        bytes: Bytes,
        signature: Option<Bytes>,
        whole: bool,
    },
    /// It changed while it was read.
    Moving,
    Failed(SourceError),
}

fn look(config: &FolderConfig, known: Option<&Fingerprint>) -> Found {
    let fingerprint = match locate::locate(&config.root, &config.path) {
        Ok(fingerprint) if Some(&fingerprint) == known => return Found::Same,
        Ok(fingerprint) => fingerprint,
        Err(error) => return Found::Failed(error),
    };
    match (locate::read(&config.root, &fingerprint.module, config.max_bytes), signature(config, &fingerprint)) {
        (Ok(Some(bytes)), Some(signature)) => {
            let bytes = Bytes::from(bytes);
            let whole = unpack(&bytes, config.max_bytes).is_ok_and(|component| is_whole(&component));
            Found::File { fingerprint, bytes, signature, whole }
        }
        (Ok(_), _) => Found::Moving,
        (Err(error), _) => Found::Failed(error),
    }
}

/// The signature beside the module; none when it changes at this moment. One that can't be read is an
/// empty one, which no rules accept.
#[allow(clippy::option_option, reason = "no signature, and a signature in motion, are two things")]
fn signature(config: &FolderConfig, fingerprint: &Fingerprint) -> Option<Option<Bytes>> {
    let Some(stamp) = &fingerprint.signature else { return Some(None) };
    match locate::read(&config.root, stamp, detached::MOST_BYTES as u64) {
        Ok(Some(bytes)) => Some(Some(bytes.into())),
        Ok(None) => None,
        Err(error) => {
            tracing::warn!(%error, "the signature beside a policy can't be read");
            Some(Some(Bytes::new()))
        }
    }
}

/// Decides when what was found has stood still for long enough. Pure: the time is an argument.
#[derive(Debug, Default)]
struct Settling {
    reported: Option<Fingerprint>,
    /// What was seen last and is not reported yet, and since when.
    seen: Option<(Seen, Instant)>,
    failed: Option<SourceError>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    File { fingerprint: Fingerprint, digest: Digest, whole: bool },
    Moving,
    Failed(SourceError),
}

impl Settling {
    fn known(&self) -> Option<Fingerprint> {
        if self.failed.is_some() || self.seen.is_some() { None } else { self.reported.clone() }
    }

    fn wait(&self, now: Instant) -> Duration {
        match &self.seen {
            Some((seen, since)) => (*since + need(seen)).saturating_duration_since(now).min(LOOK_EVERY),
            None => LOOK_EVERY,
        }
    }

    fn step(&mut self, found: Found, now: Instant) -> Option<FolderEvent> {
        let (seen, read) = match found {
            Found::Same => {
                self.seen = None;
                return None;
            }
            Found::Failed(error) if self.failed.as_ref() == Some(&error) => {
                self.seen = None;
                return None;
            }
            Found::File { fingerprint, bytes, signature, whole } => (Seen::File { fingerprint, digest: Digest::of(&bytes), whole }, Some((bytes, signature))),
            Found::Moving => (Seen::Moving, None),
            Found::Failed(error) => (Seen::Failed(error), None),
        };
        match &self.seen {
            Some((before, since)) if *before == seen && now.duration_since(*since) >= need(&seen) => {}
            Some((before, _)) if *before == seen => return None,
            _ => {
                self.seen = Some((seen, now));
                return None;
            }
        }
        self.report(seen, read)
    }

    fn report(&mut self, seen: Seen, read: Option<(Bytes, Option<Bytes>)>) -> Option<FolderEvent> {
        match (seen, read) {
            (Seen::File { fingerprint, digest, .. }, Some((bytes, signature))) => {
                (self.reported, self.failed, self.seen) = (Some(fingerprint), None, None);
                Some(FolderEvent::Bytes { bytes, shipped: digest, signature })
            }
            (Seen::Failed(error), _) => {
                (self.failed, self.seen) = (Some(error.clone()), None);
                Some(FolderEvent::Failed(error))
            }
            _ => None,
        }
    }
}

const fn need(seen: &Seen) -> Duration {
    match seen {
        Seen::File { whole: true, .. } | Seen::Failed(_) => SETTLE,
        Seen::File { whole: false, .. } | Seen::Moving => SETTLE_BROKEN,
    }
}

/// Whether a notice is one of a change. That a file was opened is none: looking does that itself.
fn is_change(event: &notify::Result<notify::Event>) -> bool {
    use notify::event::{AccessKind, AccessMode, EventKind};
    match event {
        Ok(event) => !matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)),
        Err(_) => true,
    }
}

/// Notices of changes from the system, for the folder that the asked path lies in and for the path
/// itself in case it is a folder. Without them (no inotify instance left, a network volume) looking
/// twice a second still finds everything.
struct Notices {
    noticed: Arc<Notify>,
    folders: Vec<PathBuf>,
    watched: Vec<Option<(u64, u64)>>,
    watcher: Option<RecommendedWatcher>,
}

impl Notices {
    fn new(noticed: Arc<Notify>, asked: PathBuf) -> Self {
        let folders = asked.parent().map(Path::to_owned).into_iter().chain([asked.clone()]).collect();
        Self { noticed, folders, watched: Vec::new(), watcher: None }
    }

    /// Watches anew when a folder came, went, or is another one than before.
    fn renew(&mut self) {
        let identity = |folder: &PathBuf| folder.metadata().ok().filter(std::fs::Metadata::is_dir).map(|found| (found.dev(), found.ino()));
        let now: Vec<_> = self.folders.iter().map(identity).collect();
        if now == self.watched {
            return;
        }
        let noticed = Arc::clone(&self.noticed);
        self.watcher = notify::recommended_watcher(move |event| {
            if is_change(&event) {
                noticed.notify_one();
            }
        })
        .ok();
        if let Some(watcher) = &mut self.watcher {
            for folder in self.folders.iter().filter(|folder| folder.is_dir()) {
                // Without a watch the folder is still looked at.
                drop(watcher.watch(folder, RecursiveMode::NonRecursive));
            }
        }
        self.watched = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// One look at a real file, with the time as the test says.
    fn file(root: &Path, known: Option<&Fingerprint>) -> Found {
        look(&FolderConfig { root: root.to_owned(), path: PathBuf::from("f.wasm"), max_bytes: 100 }, known)
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn what_stands_still_is_reported_once_and_what_moves_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let (mut settling, begun) = (Settling::default(), Instant::now());
        let whole = wat::parse_str("(component)").unwrap();
        fs::write(temp.path().join("f.wasm"), &whole).unwrap();
        assert_eq!(settling.step(file(temp.path(), None), begun), None);
        assert!(settling.wait(begun) == SETTLE);
        assert_eq!(settling.step(file(temp.path(), None), begun + ms(99)), None);
        let event = settling.step(file(temp.path(), None), begun + ms(100));
        assert!(matches!(event, Some(FolderEvent::Bytes { bytes, .. }) if bytes == whole));
        assert!(matches!(file(temp.path(), settling.known().as_ref()), Found::Same));
        // Half of it, then other bytes: the clock starts again at each change.
        fs::write(temp.path().join("f.wasm"), &whole[..5]).unwrap();
        assert_eq!(settling.step(file(temp.path(), None), begun + ms(1000)), None);
        assert_eq!(settling.step(file(temp.path(), None), begun + ms(2000)), None, "broken things need longer");
        fs::write(temp.path().join("f.wasm"), [whole.as_slice(), b"\0\x02\x01a"].concat()).unwrap();
        assert_eq!(settling.step(file(temp.path(), None), begun + ms(3500)), None);
        assert!(settling.step(file(temp.path(), None), begun + ms(3600)).is_some());
    }

    #[test]
    fn a_file_that_is_gone_for_a_blink_is_not_missing() {
        let temp = tempfile::tempdir().unwrap();
        let (mut settling, begun) = (Settling::default(), Instant::now());
        let missing = file(temp.path(), None);
        assert_eq!(settling.step(missing.clone(), begun), None);
        fs::write(temp.path().join("f.wasm"), wat::parse_str("(component)").unwrap()).unwrap();
        assert_eq!(settling.step(file(temp.path(), None), begun + ms(50)), None);
        assert!(matches!(settling.step(file(temp.path(), None), begun + ms(150)), Some(FolderEvent::Bytes { .. })));
        assert_eq!(settling.step(missing.clone(), begun + ms(200)), None);
        assert!(matches!(settling.step(missing, begun + ms(300)), Some(FolderEvent::Failed(SourceError::Missing { .. }))));
    }

    #[test]
    fn looking_at_a_file_is_no_notice_of_a_change() {
        use notify::event::{AccessKind, AccessMode, DataChange, Event, EventKind, ModifyKind};
        let event = |kind| Ok(Event::new(kind));
        assert!(!is_change(&event(EventKind::Access(AccessKind::Open(AccessMode::Any)))));
        assert!(!is_change(&event(EventKind::Access(AccessKind::Close(AccessMode::Read)))));
        assert!(is_change(&event(EventKind::Access(AccessKind::Close(AccessMode::Write)))));
        assert!(is_change(&event(EventKind::Modify(ModifyKind::Data(DataChange::Any)))));
    }
}
