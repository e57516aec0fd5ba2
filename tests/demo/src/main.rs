//! `weir-demo`: Weir at work on a real cluster, in six scenes and under four minutes.
//!
//! As root: two nodes with containers, OpenTelemetry Collectors, two VictoriaLogs, and real records,
//! which are counted at the end. Otherwise: a real control plane whose pods are fake, and a model of
//! the load. Exit code 0 only if every scene worked. Ctrl-C, like any other end, leaves nothing behind.
//!
//! | module | what it is |
//! |---|---|
//! | [`stage`] | the cluster, the operator, the platform |
//! | [`load`] | what is offered to it |
//! | [`scenes`] | what happens, and what has to come of it |
//! | [`view`], [`screen`] | how things stand, as text on a terminal and in a recording |

mod load;
mod scenes;
mod screen;
mod stage;
mod view;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use load::Load;
use parking_lot::Mutex;
use screen::{Screen, Tone};
use stage::Stage;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use view::{Frame, Memory, View};

/// Shows Weir at work on a real cluster.
#[derive(Parser)]
struct Args {
    /// Write what is shown to a file: an asciicast (v2) if its name ends in .cast, else plain text.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Plain lines, also on a terminal.
    #[arg(long)]
    plain: bool,
    /// How much is real; without it, as much as the user may.
    #[arg(long, value_enum)]
    level: Option<Level>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Two nodes that run containers. Needs root.
    Nodes,
    /// A control plane whose pods are fake.
    ControlPlane,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("weir-demo: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(args: &Args) -> Result<bool> {
    let screen = Screen::new(args.plain, args.record.as_deref())?;
    let real = args.level.map_or_else(|| nix::unistd::geteuid().is_root(), |level| level == Level::Nodes);
    tokio::select! {
        done = show(&screen, real) => done,
        _ = tokio::signal::ctrl_c() => {
            screen.say(Tone::Plain, "Interrupted: everything is taken down.");
            Ok(false)
        }
    }
}

async fn show(screen: &Screen, real: bool) -> Result<bool> {
    screen.say(Tone::Title, "Weir: the policy proposes, the host disposes.");
    let stage = Arc::new(Stage::set_up(screen, real).await?);
    let scene = Arc::new(Mutex::new("an ordinary morning".to_owned()));
    let narrator = tokio::spawn(narrate(stage.clone(), screen.clone(), scene.clone()));
    let mut results: Vec<(&str, Result<String>)> = Vec::new();
    for (number, title) in TITLES.iter().enumerate() {
        let heading = format!("Scene {} of {}: {title}", number + 1, TITLES.len());
        screen.say(Tone::Title, &format!("\n{heading}"));
        *scene.lock() = heading;
        let result = match number {
            0 => scenes::surge(&stage, screen).await,
            1 => scenes::swap(&stage, screen).await,
            2 => scenes::broken(&stage, screen).await,
            3 => scenes::blind(&stage, screen).await,
            4 => scenes::calm(&stage, screen).await,
            _ => scenes::count(&stage, screen).await,
        };
        match &result {
            Ok(seen) => screen.say(Tone::Good, &format!("  ✓ {seen}")),
            Err(error) => screen.say(Tone::Bad, &format!("  ✗ {}\n{}", scenes::brief(error), stage.story())),
        }
        results.push((title, result));
    }
    narrator.abort();
    let worked = results.iter().all(|(_, result)| result.is_ok());
    close(screen, &results);
    Ok(worked)
}

const TITLES: [&str; 6] = ["a surge", "another rule, by kubectl apply", "a rule that is broken", "no metrics", "the surge ends", "every record counts"];

/// Draws how things stand once a second, and tells the model how many replicas there are.
async fn narrate(stage: Arc<Stage>, screen: Screen, scene: Arc<Mutex<String>>) {
    let memory = Arc::new(Mutex::new(Memory::default()));
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        seconds.tick().await;
        let (stage, screen, scene, memory) = (stage.clone(), screen.clone(), scene.clone(), memory.clone());
        // Asks replicas over the network and waits for them.
        let drawn = tokio::task::spawn_blocking(move || {
            // What is seen is let go of before anything is asked: watches wait for it.
            let mut view = View::of(&stage.observer.now());
            match &stage.load {
                Load::Modelled(model) => drop(model.ready(view.ready())),
                Load::Sent(_) => view.measure(&mut memory.lock()),
            }
            let scene = scene.lock().clone();
            screen.panel(&view.panel(&Frame { scene: &scene, seconds: screen.seconds(), offered: stage.load.offered() }));
        });
        if drawn.await.is_err() {
            return;
        }
    }
}

fn close(screen: &Screen, results: &[(&str, Result<String>)]) {
    screen.say(Tone::Title, &format!("\nWhat was seen, in {:.0} s", screen.seconds()));
    for (title, result) in results {
        match result {
            Ok(seen) => screen.say(Tone::Good, &format!("  ✓ {title}: {seen}")),
            Err(error) => screen.say(Tone::Bad, &format!("  ✗ {title}: {}", error.root_cause())),
        }
    }
    let next = "\nKeep a cluster and try it yourself:    make cluster    (as root with containers: make cluster LEVEL=nodes)\n\
                Read next:                             docs/policy-authoring.md, docs/operations.md, docs/design.md\n\
                The rules that were swapped:           policies/threshold, policies/examples/surge-guard";
    screen.say(Tone::Plain, next);
}
