//! `weir-cluster`: the test cluster on the command line. Says what it does on stderr; stdout is for
//! what a script wants to read.

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use weir_cluster::{Cluster, Image, Level, Options, Part, cache, images, reaper};

/// A real Kubernetes for tests and development, on this machine, in seconds.
///
/// Programs are compiled once from pinned Go modules and kept in $WEIR_CACHE (else
/// $XDG_CACHE_HOME/weir, else ~/.cache/weir). KUBEBUILDER_ASSETS names a folder with etcd,
/// kube-apiserver and kubectl to take instead. Set WEIR_CLUSTER_KEEP=1 to keep a cluster's logs.
#[derive(Parser)]
#[command(name = "weir-cluster", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start a cluster and keep it until Ctrl-C.
    Up {
        #[command(flatten)]
        shape: Shape,
    },
    /// Start a cluster, run a command with KUBECONFIG and WEIR_CLUSTER set, end the cluster.
    Run {
        #[command(flatten)]
        shape: Shape,
        /// The command and its arguments, after `--`.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Compile the programs that are not in the cache yet.
    Build {
        /// All of them; without it and without names, those of a control plane.
        #[arg(long, conflicts_with = "parts")]
        all: bool,
        /// Names of programs, such as kube-apiserver.
        parts: Vec<Part>,
    },
    /// Write container images as tar files and print their paths.
    Images {
        /// Where to.
        #[arg(long, default_value = "images")]
        out: PathBuf,
        #[command(flatten)]
        programs: Programs,
    },
    /// End a cluster that another process started and clean up after it.
    #[command(alias = "reap")]
    Down {
        /// The cluster's folder, as `up` prints it.
        dir: PathBuf,
    },
}

#[derive(Args)]
struct Shape {
    /// `control-plane` plays the nodes (no root needed), `nodes` runs containers (needs root).
    #[arg(long, value_enum, default_value = "control-plane")]
    level: LevelName,
    /// How many nodes, real or played.
    #[arg(long, default_value_t = 1)]
    nodes: u8,
    /// A further argument of the API server; may be given again.
    #[arg(long = "api-server-arg", value_name = "ARG", allow_hyphen_values = true)]
    api_server_args: Vec<String>,
    #[command(flatten)]
    programs: Programs,
}

#[derive(Args)]
struct Programs {
    /// The `weir` program to make the image weir.local/weir:test of.
    #[arg(long, value_name = "PATH")]
    weir: Option<PathBuf>,
    /// The load generator to make the image weir.local/loadgen:test of.
    #[arg(long, value_name = "PATH")]
    loadgen: Option<PathBuf>,
    /// Also the images of the OpenTelemetry Collector, VictoriaLogs and VictoriaMetrics.
    #[arg(long)]
    platform: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum LevelName {
    ControlPlane,
    Nodes,
}

const PLATFORM: [Image; 3] = [Image::Otelcol, Image::VictoriaLogs, Image::VictoriaMetrics];

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match execute(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("weir-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(task: Task) -> Result<ExitCode> {
    match task {
        Task::Up { shape } => {
            let cluster = start(&shape)?;
            explain(&cluster)?;
            runtime()?.block_on(stopped())?;
            eprintln!("weir-cluster: ending the cluster");
        }
        Task::Run { shape, command } => {
            let cluster = start(&shape)?;
            return runtime()?.block_on(run(&cluster, &command));
        }
        Task::Build { all, parts } => {
            let parts = match (all, parts.is_empty()) {
                (true, _) => Part::ALL.to_vec(),
                (false, true) => Part::CONTROL_PLANE.to_vec(),
                (false, false) => parts,
            };
            cache::ensure(&parts)?;
            for part in parts {
                print(&cache::program(part)?)?;
            }
        }
        Task::Images { out, programs } => {
            let mut all = vec![Image::Pause, Image::Busybox];
            all.extend(programs.platform.then_some(PLATFORM).into_iter().flatten());
            for image in all {
                print(&image.build_in(&out)?)?;
            }
            for (name, program) in programs.given() {
                print(&images::from_program(name, program, &out)?)?;
            }
        }
        Task::Down { dir } => reaper::reap(&dir)?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Programs {
    fn given(&self) -> impl Iterator<Item = (&'static str, &PathBuf)> {
        let weir = self.weir.iter().map(|path| (images::WEIR, path));
        weir.chain(self.loadgen.iter().map(|path| (images::LOADGEN, path)))
    }
}

fn start(shape: &Shape) -> Result<Cluster> {
    let mut options = match shape.level {
        LevelName::ControlPlane => Options { fake_nodes: shape.nodes.into(), ..Options::control_plane() },
        LevelName::Nodes => Options::nodes(shape.nodes),
    };
    options.api_server_args.clone_from(&shape.api_server_args);
    if shape.programs.platform {
        options = options.with_images(PLATFORM);
    }
    if options.level == Level::ControlPlane && (shape.programs.platform || shape.programs.given().next().is_some()) {
        bail!("images run on real nodes only: add --level nodes");
    }
    let cluster = Cluster::start(options)?;
    for (name, program) in shape.programs.given() {
        cluster.load_program(name, program)?;
    }
    Ok(cluster)
}

fn explain(cluster: &Cluster) -> Result<()> {
    let kubeconfig = cluster.kubeconfig().display();
    let kubectl = cluster.kubectl();
    let dir = cluster.dir().context("a started cluster has a folder")?.display();
    print(cluster.kubeconfig())?;
    eprintln!(
        "\nThe cluster is up. In another terminal:\n\n    \
         export KUBECONFIG={kubeconfig}\n    \
         {} get nodes\n\n\
         Tests use it when WEIR_CLUSTER={dir} is set. Logs are in {dir}/logs.\n\
         Ctrl-C ends it and leaves nothing behind.",
        kubectl.program().display(),
    );
    Ok(())
}

/// `println!` panics when the reader is gone.
fn print(path: &Path) -> Result<()> {
    writeln!(std::io::stdout(), "{}", path.display()).context("writing to stdout")
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")
}

/// Ctrl-C, `kill`, and the end of the terminal.
struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Stop {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())?, hangup: listen(SignalKind::hangup())? })
    }

    /// Whether the whole group of processes was told (Ctrl-C), or this process alone.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = self.hangup.recv() => true,
            _ = self.terminate.recv() => false,
        }
    }
}

async fn stopped() -> Result<()> {
    Stop::new()?.wait().await;
    Ok(())
}

async fn run(cluster: &Cluster, command: &[OsString]) -> Result<ExitCode> {
    let mut stop = Stop::new()?;
    let (program, args) = command.split_first().context("no command was given")?;
    let dir = cluster.dir().context("a started cluster has a folder")?;
    let mut child = Command::new(program)
        .args(args)
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("WEIR_CLUSTER", dir)
        .env("PATH", path_with_kubectl(cluster)?)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.context("waiting for the command")?,
            told_all = stop.wait() => if !told_all { pass_on(&child) },
        }
    };
    use std::os::unix::process::ExitStatusExt;
    // As a shell reports it.
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn pass_on(child: &Child) {
    use nix::sys::signal::{Signal, kill};
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(nix::unistd::Pid::from_raw(pid), Signal::SIGTERM);
    }
}

fn path_with_kubectl(cluster: &Cluster) -> Result<OsString> {
    let kubectl = cluster.kubectl();
    let mut folders: Vec<_> = kubectl.program().parent().map(PathBuf::from).into_iter().collect();
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    env::join_paths(folders).context("PATH holds a folder that cannot be in it")
}
