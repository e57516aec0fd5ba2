//! The terminal: lines that stay, and below them a panel that is drawn anew every second. Without a
//! terminal the panel becomes one line a second. What is shown can be recorded.

use parking_lot::Mutex;
use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Width of a recorded terminal.
const WIDTH: usize = 118;

/// What is true now, once for a terminal and once for a log.
pub(crate) struct Panel {
    /// For a terminal: some lines.
    pub(crate) lines: Vec<String>,
    /// For a log: one line.
    pub(crate) line: String,
}

/// How a line that stays looks on a terminal.
#[derive(Clone, Copy)]
pub(crate) enum Tone {
    /// A scene begins.
    Title,
    /// What happens, in plain words.
    Plain,
    /// It worked.
    Good,
    /// It did not.
    Bad,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Title => "\x1b[1;36m",
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Bad => "\x1b[31m",
        }
    }
}

struct Inner {
    terminal: bool,
    drawn: usize,
    record: Option<Record>,
    started: Instant,
}

enum Record {
    /// asciicast v2, what a terminal shows.
    Cast(File),
    /// What a log shows.
    Text(File),
}

/// The terminal. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Screen(Arc<Mutex<Inner>>);

impl Screen {
    /// stdout, and a recording: an asciicast when the file is named `.cast`, else a plain transcript.
    ///
    /// # Errors
    /// The file can't be written.
    pub(crate) fn new(plain: bool, record: Option<&Path>) -> std::io::Result<Self> {
        let terminal = !plain && std::io::stdout().is_terminal();
        let record = match record {
            None => None,
            Some(path) if path.extension().is_some_and(|extension| extension == "cast") => {
                let mut file = File::create(path)?;
                writeln!(file, "{}", serde_json::json!({ "version": 2, "width": WIDTH, "height": 40, "title": "weir demo" }))?;
                Some(Record::Cast(file))
            }
            Some(path) => Some(Record::Text(File::create(path)?)),
        };
        Ok(Self(Arc::new(Mutex::new(Inner { terminal, drawn: 0, record, started: Instant::now() }))))
    }

    /// Adds lines that stay.
    pub(crate) fn say(&self, tone: Tone, text: &str) {
        let mut inner = self.0.lock();
        let erase = inner.erase();
        let colour = tone.code();
        let mut shown = erase;
        for line in text.lines() {
            shown.push_str(&if colour.is_empty() { format!("{line}\n") } else { format!("{colour}{line}\x1b[0m\n") });
        }
        inner.drawn = 0;
        inner.show(&shown, text);
    }

    /// Says how things stand.
    pub(crate) fn panel(&self, panel: &Panel) {
        let mut inner = self.0.lock();
        let mut shown = inner.erase();
        for line in &panel.lines {
            let cut: String = line.chars().take(WIDTH - 1).collect();
            shown.push_str(&cut);
            shown.push('\n');
        }
        inner.drawn = panel.lines.len();
        inner.show(&shown, &panel.line);
    }

    /// Seconds since the beginning.
    #[must_use]
    pub(crate) fn seconds(&self) -> f64 {
        self.0.lock().started.elapsed().as_secs_f64()
    }
}

impl Inner {
    /// Takes the last panel off.
    fn erase(&self) -> String {
        if self.drawn == 0 { String::new() } else { format!("\x1b[{}A\x1b[J", self.drawn) }
    }

    fn show(&mut self, terminal: &str, log: &str) {
        let mut out = std::io::stdout().lock();
        // A reader that went away is no reason to stop: the exit code still counts.
        let _ = if self.terminal { write!(out, "{terminal}") } else { writeln!(out, "{log}") };
        let _ = out.flush();
        let _ = match &mut self.record {
            Some(Record::Cast(file)) => {
                let frame = serde_json::json!([self.started.elapsed().as_secs_f64(), "o", terminal.replace('\n', "\r\n")]);
                writeln!(file, "{frame}")
            }
            Some(Record::Text(file)) => writeln!(file, "{log}"),
            None => Ok(()),
        };
    }
}
