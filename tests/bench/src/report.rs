//! The table: what was measured beside what was promised. Writes to stdout; progress goes to stderr.

use crate::machine;
use std::io::Write as _;

/// One promise of `docs/design.md` and whether it was kept.
struct Promise {
    text: String,
    kept: bool,
}

struct Row {
    what: String,
    measured: String,
    promise: Option<Promise>,
}

/// Rows and remarks, in the order in which they were added.
pub(crate) struct Report {
    machine: String,
    rows: Vec<Row>,
    remarks: Vec<String>,
}

impl Report {
    /// An empty one, made before anything is measured.
    pub(crate) fn new() -> Self {
        Self { machine: machine::describe(), rows: Vec::new(), remarks: Vec::new() }
    }

    /// A figure that nothing was promised about.
    pub(crate) fn note(&mut self, what: impl Into<String>, measured: impl Into<String>) {
        self.add(Row { what: what.into(), measured: measured.into(), promise: None });
    }

    /// A figure against its promise.
    pub(crate) fn promise(&mut self, what: impl Into<String>, measured: impl Into<String>, promised: impl Into<String>, kept: bool) {
        self.add(Row { what: what.into(), measured: measured.into(), promise: Some(Promise { text: promised.into(), kept }) });
    }

    /// A sentence below the table: how something was measured.
    pub(crate) fn remark(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.remarks.contains(&text) {
            self.remarks.push(text);
        }
    }

    fn add(&mut self, row: Row) {
        let verdict = row.promise.as_ref().map_or("", Promise::verdict);
        progress(&format!("{}: {} {verdict}", row.what, row.measured));
        self.rows.push(row);
    }

    /// Prints the table as Markdown.
    pub(crate) fn print(&self) {
        let mut text = format!("{}\n\n| what | measured | promised | |\n|---|---|---|---|\n", self.machine);
        for Row { what, measured, promise } in &self.rows {
            let (promised, verdict) = promise.as_ref().map_or(("", ""), |promise| (promise.text.as_str(), promise.verdict()));
            text.push_str(&format!("| {what} | {measured} | {promised} | {verdict} |\n"));
        }
        if !self.remarks.is_empty() {
            text.push_str("\nHow it was measured:\n");
            for remark in &self.remarks {
                text.push_str(&format!("- {remark}\n"));
            }
        }
        // A reader that is gone is no fault.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
}

impl Promise {
    fn verdict(&self) -> &'static str {
        if self.kept { "met" } else { "**MISSED**" }
    }
}

/// Says on stderr how far things are.
pub(crate) fn progress(text: &str) {
    eprintln!("weir-bench: {text}");
}
