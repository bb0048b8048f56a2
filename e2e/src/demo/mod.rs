//! The demo: a real cluster, a real application under load, real faults, Homeostat beside plain
//! Kubernetes, and the figures of the comparison.

pub mod application;
pub mod build;
pub mod column;
pub mod figures;
pub mod install;
pub mod live;
pub mod meter;
pub mod mode;
pub mod platform;
pub mod quiet;
pub mod replay;
pub mod report;
pub mod tables;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rand::Rng;
use serde::Serialize;

use crate::cluster::{Cluster, ClusterError};
use crate::faults::FaultError;
use crate::load::LoadError;
use crate::result::{self, FaultResult, RunResult, Usage};
use crate::truth::watch::WatchError;
use build::{Built, Profile};
use column::{ColumnRun, Stage};
use install::Files;
use live::Live;
use mode::{Choice, Column, Mode};

/// Why a demo ended.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The test cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A fault.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The load generator.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The watches.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// An image.
    #[error(transparent)]
    Image(#[from] crate::image::ImageError),
    /// The API server refused.
    #[error("the API server refused to {action}: {source}")]
    Api {
        /// What was asked.
        action: String,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// The kubeconfig has no such context.
    #[error(
        "context {context} of the kubeconfig cannot be used: {reason}; `kubectl config get-contexts` lists what there is"
    )]
    Context {
        /// The context.
        context: String,
        /// Why.
        reason: String,
    },
    /// A file or program.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A program ended badly.
    #[error("`{command}` failed: {output}")]
    Command {
        /// The command line.
        command: String,
        /// Its error output.
        output: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not come to an end within {} s; logs are in target/demo/logs", limit.as_secs())]
    Timeout {
        /// What.
        what: String,
        /// How long it was awaited.
        limit: Duration,
    },
    /// The run cannot go on.
    #[error("{0}")]
    Broken(String),
}

impl DemoError {
    pub(crate) fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Api { action, source: Box::new(source) }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// Writes the result of a scenario as JSON, and says where.
pub(crate) fn write_result(result: &impl Serialize, path: &Path, live: &Live) -> Result<(), DemoError> {
    let text = serde_json::to_string_pretty(result).map_err(|error| DemoError::Broken(error.to_string()))?;
    std::fs::write(path, text + "\n").map_err(DemoError::io("write", path))?;
    live.say(format!("done      {}", path.display()));
    Ok(())
}

/// Arguments of `e2e demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// What is run.
    #[command(flatten)]
    pub choice: Choice,
    /// Repeats order, services and pauses of an earlier run
    #[arg(long, env = "SEED")]
    pub seed: Option<u64>,
    /// Where it runs.
    #[command(flatten)]
    pub place: Place,
}

/// Where a demo runs and with which programs.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The test cluster's name
    #[arg(long, default_value = "homeostat", env = "HOMEOSTAT_CLUSTER")]
    pub name: String,
    /// Run on this context of the kubeconfig instead of the test cluster
    #[arg(long)]
    pub context: Option<String>,
    /// Where the nodes of that context pull images from; without it they are loaded with kind
    #[arg(long)]
    pub registry: Option<String>,
    /// Cargo profile of the programs under test
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    pub profile: Profile,
    /// Settings of the application's OpenTelemetry SDK: `stock` leaves them as they come
    #[arg(long, value_enum, default_value_t = application::Telemetry::Tuned)]
    pub telemetry: application::Telemetry,
    /// Use programs that were built before
    #[arg(long)]
    pub no_build: bool,
    /// Root of the clone
    #[arg(long, default_value = ".", hide = true)]
    pub root: PathBuf,
}

/// Runs the demo; returns once the report is written.
pub async fn run(args: &DemoArgs) -> Result<(), DemoError> {
    let live = Live::start();
    let mode = args.choice.mode();
    let columns = args.choice.columns();
    let seed = args.seed.unwrap_or_else(|| rand::rng().random_range(1..1_000_000));
    live.plain(&format!("Demo of Homeostat. Seed {seed} (SEED={seed} repeats order, services and pauses)."));
    let stage = prepare(&args.place, &live, seed, columns.contains(&Column::Homeostat)).await?;
    if stage.homeostat_image.is_some() {
        live.plain(
            "\nHomeostat may do here what these two resources say, and no more (defaults in the comments):\n",
        );
        for text in [stage.files.tenant()?, stage.files.control_plane()?] {
            live.plain(&text);
        }
    }
    let mut runs = Vec::new();
    for column in columns {
        let mut plan = args.choice.plan(column, seed);
        let signals = stage.platform.signals();
        if !signals.available() {
            plan.retain(|timed| !timed.fault.kind.needs_signals());
            live.say(
                "column    faults 1, 2, 3 and 7 are left out: this cluster gives no way to its processes",
            );
        }
        live.say(format!("column    {}: {}", column.title(), mode::summary(&plan)));
        match column::run(&stage, column, &plan, args.choice.duration()).await {
            Ok(run) => runs.push(run),
            Err(error) => {
                keep_logs(&stage).await;
                return Err(error);
            }
        }
    }
    conclude(&stage, mode, &runs, args).await?;
    application::remove(&stage.platform).await?;
    build::tidy(&stage.platform).await
}

/// Cluster, programs and images.
pub(crate) async fn prepare(
    place: &Place,
    live: &Live,
    seed: u64,
    homeostat: bool,
) -> Result<Stage, DemoError> {
    let out = place.root.join("target/demo");
    std::fs::create_dir_all(&out).map_err(DemoError::io("create", &out))?;
    // What cannot work here is said before anything is compiled.
    let users = match &place.context {
        Some(_) => Some(build::platform(place, live).await?),
        None => Cluster::possible().map(|()| None)?,
    };
    let (Built { application, homeostat: program }, ()) =
        tokio::try_join!(build::programs(place, live, homeostat), build::pieces(place))?;
    let platform = match users {
        Some(platform) => platform,
        None => build::platform(place, live).await?,
    };
    live.say("images    made from the programs, without Docker");
    let application_image = build::image(&platform, &application, "food-delivery", &out).await?;
    let homeostat_image = match &program {
        Some(program) => Some(build::image(&platform, program, "homeostat", &out).await?),
        None => None,
    };
    let files = Files::of(&place.root);
    Ok(Stage {
        platform,
        files,
        program: application,
        application_image,
        homeostat_image,
        telemetry: place.telemetry,
        live: live.clone(),
        out,
        seed,
    })
}

pub(crate) async fn keep_logs(stage: &Stage) {
    let folder = stage.out.join("logs");
    let Some(cluster) = stage.platform.own() else {
        let files: [(&str, &[&str]); 2] = [
            ("events.txt", &["get", "events", "--all-namespaces", "--output=wide"]),
            (
                "objects.yaml",
                &["get", "pods,deployments,incidents,actions", "--all-namespaces", "--output=yaml"],
            ),
        ];
        if std::fs::create_dir_all(&folder).is_ok() {
            stage.platform.keep(&folder, &files).await;
            stage.live.say(format!("logs      of Homeostat, events and objects are in {}", folder.display()));
        }
        return;
    };
    match cluster.collect_logs(&folder).await {
        Ok(()) => {
            stage.live.say(format!("logs      of components, pods and objects are in {}", folder.display()));
        }
        Err(error) => stage.live.say(format!("logs      could not be kept: {error}")),
    }
}

/// Tables, report, result and the list of figures.
async fn conclude(stage: &Stage, mode: Mode, runs: &[ColumnRun], args: &DemoArgs) -> Result<(), DemoError> {
    let live = &stage.live;
    let result = result_of(runs, stage.seed);
    let rows = tables::rows(runs);
    let mut text = tables::all(&rows, runs, &result);
    if let Some(recording) = runs.iter().find_map(|run| run.guards.as_ref()) {
        let told = replay::told(recording, &build::program(&args.place, "homeostat")).await;
        // Writing to a String cannot fail.
        writeln!(text, "\n{told}").unwrap_or_default();
    }
    let figures = figures::check(mode, runs, &rows, &result);
    live.plain(&format!("{text}{}", figures::text(&figures)));
    let path = stage.out.join("result.json");
    result::write(&path, &result).map_err(DemoError::io("write", &path))?;
    let page = stage.out.join("report.html");
    let input = report::Input {
        runs,
        result: &result,
        rows: &rows,
        figures: &figures,
        text: &text,
        lines: &live.lines(),
        begin: live.begin(),
    };
    std::fs::write(&page, report::html(&input)).map_err(DemoError::io("write", &page))?;
    let short = stage.out.join("report.md");
    std::fs::write(&short, report::markdown(&input)).map_err(DemoError::io("write", &short))?;
    live.say(format!("done      {}, {} and {}", page.display(), short.display(), path.display()));
    if stage.platform.own().is_some() {
        live.plain(&format!(
            "The cluster stays up: `make cluster-down NAME={}` removes it.",
            args.place.name
        ));
    }
    Ok(())
}

/// What goes into `result.json`.
fn result_of(runs: &[ColumnRun], seed: u64) -> RunResult {
    let faults = runs.iter().flat_map(|run| {
        run.records
            .iter()
            .zip(&run.judged.faults)
            .map(|(record, judged)| FaultResult::new(run.column, record, judged))
    });
    let own = runs.iter().find(|run| run.column == Column::Homeostat);
    RunResult {
        faults: faults.collect(),
        requests: runs.iter().map(|run| (run.column, run.requests)).collect(),
        quiet_incidents: own.map_or(0, |run| run.judged.quiet_incidents as u64),
        homeostat: own.map_or_else(Usage::default, |run| Usage {
            rss_peak_bytes: run.measured.rss_peak_bytes,
            cpu_mean_cores: run.measured.cpu_mean_cores,
        }),
        seed,
    }
}
