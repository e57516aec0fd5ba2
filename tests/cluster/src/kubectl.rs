//! Running kubectl against a cluster.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// kubectl with its kubeconfig and, when set, a namespace.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    namespace: Option<String>,
}

impl Kubectl {
    /// A kubectl for one cluster, in the kubeconfig's own namespace.
    pub fn new(program: impl Into<PathBuf>, kubeconfig: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), kubeconfig: kubeconfig.into(), namespace: None }
    }

    /// The same kubectl with `--namespace`.
    #[must_use]
    pub fn in_namespace(&self, namespace: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), ..self.clone() }
    }

    /// The path of the program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A command to add arguments to and to run in any way.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        if let Some(folder) = self.kubeconfig.parent() {
            // The default is below HOME, where it would outlive the cluster.
            command.arg("--cache-dir").arg(folder.join("kubectl-cache"));
        }
        if let Some(namespace) = &self.namespace {
            command.arg("--namespace").arg(namespace);
        }
        command
    }

    /// Runs kubectl to its end and returns what it wrote to stdout.
    ///
    /// # Errors
    /// When it fails; the message holds the arguments and what it wrote to stderr.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<String> {
        self.run_with_input(args, None)
    }

    /// Like [`run`](Self::run) with `-o json`, parsed.
    ///
    /// # Errors
    /// When it fails or answers something else than JSON.
    pub fn json<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Value> {
        let mut with_output: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        with_output.extend(["-o".into(), "json".into()]);
        let text = self.run(with_output)?;
        serde_json::from_str(&text).context("kubectl answered something else than JSON")
    }

    /// Applies manifests (YAML or JSON) server-side.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        self.run_with_input(["apply", "--server-side", "-f", "-"], Some(manifests))
    }

    fn run_with_input<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>, input: Option<&str>) -> Result<String> {
        let mut command = self.command();
        command.args(args);
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {}", self.program.display()))?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            // kubectl may end before it has read all; then its own message is the one to show.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().context("waiting for kubectl")?;
        if !output.status.success() {
            let args: Vec<_> = command.get_args().skip(4).map(OsStr::to_string_lossy).collect();
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("kubectl {} failed: {}", args.join(" "), stderr.trim());
        }
        String::from_utf8(output.stdout).context("kubectl wrote something else than UTF-8")
    }
}
