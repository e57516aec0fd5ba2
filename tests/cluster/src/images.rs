//! The images that the tests and the demo run.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cache;
use crate::cluster::find_on_path;
use crate::image::{Entry, build};
use crate::parts::Part;
use crate::process::run;

/// An image made from a part or from busybox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// Holds the namespaces of a pod; in every node from the start.
    Pause,
    /// A shell and the usual small tools; in every node from the start.
    Busybox,
    /// The OpenTelemetry Collector; its arguments begin with `--config=…`.
    Otelcol,
    /// VictoriaLogs.
    VictoriaLogs,
    /// VictoriaMetrics.
    VictoriaMetrics,
}

impl Image {
    /// The name to use in manifests, together with `imagePullPolicy: Never`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pause => "weir.local/pause:test",
            Self::Busybox => "weir.local/busybox:test",
            Self::Otelcol => "weir.local/otelcol:test",
            Self::VictoriaLogs => "weir.local/victorialogs:test",
            Self::VictoriaMetrics => "weir.local/victoriametrics:test",
        }
    }

    /// Writes the image into a folder and returns the path of the tar.
    ///
    /// # Errors
    /// When its program is missing and cannot be had.
    pub fn build_in(self, folder: &Path) -> Result<PathBuf> {
        match self {
            Self::Pause => {
                // As the first process of a pod it has to end at SIGTERM and to reap what is left to it.
                let wait = "trap 'exit 0' TERM INT; while :; do sleep 2147483647 & wait $!; done";
                self.write(folder, &[busybox()?], &["/bin/busybox", "sh", "-c", wait])
            }
            Self::Busybox => {
                let mut entries = vec![busybox()?];
                entries.extend(applets()?);
                self.write(folder, &entries, &["/bin/sh"])
            }
            Self::Otelcol => from_program(self.name(), &cache::program(Part::Otelcol)?, folder),
            Self::VictoriaLogs => from_program(self.name(), &cache::program(Part::VictoriaLogs)?, folder),
            Self::VictoriaMetrics => from_program(self.name(), &cache::program(Part::VictoriaMetrics)?, folder),
        }
    }

    fn write(self, folder: &Path, entries: &[Entry], entrypoint: &[&str]) -> Result<PathBuf> {
        let tar = tar_path(self.name(), folder);
        build(self.name(), entries, entrypoint, &tar)?;
        Ok(tar)
    }
}

/// The image of Weir itself, made by [`from_program`].
pub const WEIR: &str = "weir.local/weir:test";
/// The image of the load generator, made by [`from_program`].
pub const LOADGEN: &str = "weir.local/loadgen:test";

/// An image with one program as its entrypoint, with the libraries that it needs from this machine.
/// Returns the path of the tar.
///
/// # Errors
/// When the program cannot be read or the image not be written.
pub fn from_program(name: &str, program: &Path, folder: &Path) -> Result<PathBuf> {
    let file = program.file_name().context("a program has a name")?;
    let inside = Path::new("/").join(file);
    let tar = tar_path(name, folder);
    let entry = Entry::Program { from: program.to_owned(), to: inside.clone() };
    build(name, &[entry], &[&inside.to_string_lossy()], &tar)?;
    Ok(tar)
}

fn tar_path(name: &str, folder: &Path) -> PathBuf {
    folder.join(format!("{}.tar", name.replace(['/', ':'], "_")))
}

fn busybox_path() -> Result<PathBuf> {
    find_on_path("busybox").context("there is no busybox; install the package busybox-static")
}

fn busybox() -> Result<Entry> {
    Ok(Entry::Program { from: busybox_path()?, to: "/bin/busybox".into() })
}

fn applets() -> Result<Vec<Entry>> {
    let list = run(Command::new(busybox_path()?).arg("--list"))?;
    let link = |applet: &str| Entry::Link { at: Path::new("/bin").join(applet), to: PathBuf::from("/bin/busybox") };
    Ok(list.lines().filter(|applet| *applet != "busybox").map(link).collect())
}
