//! The water utility on a real cluster: tenants whose jobs come every simulated hour, started and sized by Homeostat.
//!
//! It shows that the parts work together. How many tenants a capacity holds, and how that compares, says the simulator
//! (`make fit`): on one node of a shared machine pods start as slowly as the machine is busy.

mod beat;
mod seen;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use tokio::process::Command;
use tokio::time::Instant;

use crate::demo::live::Live;
use crate::demo::platform::{Platform, run};
use crate::demo::{DemoError, Place, build, install};

/// Simulated hours begin on a Friday at midnight; the scenario begins on its evening.
const FIRST_HOUR: u32 = 20;
/// Runs that are still under way at the end have so long.
const LAST: Duration = Duration::from_mins(1);
/// Namespaces are gone by then.
const GONE: Duration = Duration::from_mins(1);

/// What is kept beside the result.
const LOGS: &[(&str, &[&str])] = &[
    ("actions.txt", &["get", "actions", "--all-namespaces", "--output=wide"]),
    ("workloads.yaml", &["get", "workloads,tenants", "--all-namespaces", "--output=yaml"]),
    ("jobs.txt", &["get", "jobs,pods", "--all-namespaces", "--output=wide"]),
];

/// Arguments of `e2e water`.
#[derive(Args, Clone, Debug)]
pub struct WaterArgs {
    /// Tenants
    #[arg(long, default_value_t = 6)]
    pub tenants: u32,
    /// Simulated hours
    #[arg(long, default_value_t = 8)]
    pub hours: u32,
    /// A simulated hour takes so many seconds
    #[arg(long, default_value_t = 30)]
    pub hour_seconds: u32,
    /// CPU of the catalogue is divided by this
    #[arg(long, default_value_t = 10.0)]
    pub divide_cpu: f64,
    /// Memory of the catalogue is divided by this
    #[arg(long, default_value_t = 32.0)]
    pub divide_memory: f64,
    /// Of all chance
    #[arg(long, env = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// Leave tenants and Homeostat as they are at the end
    #[arg(long)]
    pub keep: bool,
    /// Where it runs.
    #[command(flatten)]
    pub place: Place,
}

/// Runs the scenario, prints its table and writes `target/water/result.json`; false when a run was killed for memory
/// after the third of its kind, or none ended.
pub async fn scenario(args: &WaterArgs) -> Result<bool, DemoError> {
    let live = Live::start();
    if args.tenants == 0 || args.hours == 0 || args.hour_seconds < 10 {
        return Err(DemoError::Broken(
            "--tenants and --hours must be at least 1, --hour-seconds at least 10".to_owned(),
        ));
    }
    let out = args.place.root.join("target/water");
    std::fs::create_dir_all(&out).map_err(|source| DemoError::Io {
        action: "create",
        path: out.clone(),
        source,
    })?;
    let homeostat = build::program(&args.place, "homeostat");
    let jobs = build::program(&args.place, "water-dss");
    build::with_water(&args.place, &live).await?;
    let platform = build::platform(&args.place, &live).await?;
    remove(&platform).await?;
    install::uninstall(&platform).await?;
    let image = build::image(&platform, &homeostat, "homeostat", &out).await?;
    let of_jobs = build::image(&platform, &jobs, "water-dss", &out).await?;
    live.say("homeostat installed through its chart, with the rights to start Jobs and size CronJobs");
    install(&platform, args, &image).await?;
    let manifests = manifests(args, &jobs, &of_jobs).await?;
    platform.apply(&manifests).await?;
    live.say(format!(
        "tenants   {} declared: 3 CronJobs and 3 Workloads each, at most 16 lines",
        args.tenants
    ));
    install::warmed_up(&platform).await?;
    let played = play(&platform, args, &live).await;
    if played.is_err() {
        platform.keep(&out, LOGS).await;
    }
    let played = played?;
    platform.keep(&out, LOGS).await;
    let result = table::Summary::of(args, &played);
    live.plain(&result.text());
    let path = out.join("result.json");
    let text = serde_json::to_string_pretty(&result).map_err(|error| DemoError::Broken(error.to_string()))?;
    std::fs::write(&path, text + "\n").map_err(|source| DemoError::Io {
        action: "write",
        path: path.clone(),
        source,
    })?;
    live.say(format!("done      {}", path.display()));
    if !args.keep {
        remove(&platform).await?;
        install::uninstall(&platform).await?;
    }
    Ok(result.passed())
}

async fn install(platform: &Platform, args: &WaterArgs, image: &str) -> Result<(), DemoError> {
    let (repository, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    let mut helm = platform.helm()?;
    helm.args(["upgrade", "--install", "homeostat"])
        .arg(args.place.root.join("charts/homeostat"))
        .args([
            "--namespace",
            install::NAMESPACE,
            "--create-namespace",
            "--wait",
            "--timeout",
            "180s",
            "--values",
        ])
        .arg(args.place.root.join("e2e/water/values.yaml"))
        .args(["--set", &format!("image.repository={repository},image.tag={tag}")]);
    run(helm, None).await?;
    let path = args.place.root.join("e2e/water/control-plane.yaml");
    let plane =
        std::fs::read_to_string(&path).map_err(|source| DemoError::Io { action: "read", path, source })?;
    platform.apply(&plane).await
}

async fn manifests(args: &WaterArgs, program: &PathBuf, image: &str) -> Result<String, DemoError> {
    let mut command = Command::new(program);
    command.args(["manifests", "--beat", "--grows", "--image", image]);
    for (name, value) in [
        ("--tenants", args.tenants.to_string()),
        ("--divide-time", (3_600.0 / f64::from(args.hour_seconds)).to_string()),
        ("--divide-cpu", args.divide_cpu.to_string()),
        ("--divide-memory", args.divide_memory.to_string()),
        ("--seed", args.seed.to_string()),
    ] {
        command.args([name, &value]);
    }
    run(command, None).await
}

async fn play(platform: &Platform, args: &WaterArgs, live: &Live) -> Result<Vec<seen::Run>, DemoError> {
    let client = platform.client();
    let begin = Instant::now();
    let hour = Duration::from_secs(u64::from(args.hour_seconds));
    let mut watched = seen::Watched::default();
    let mut next = 0;
    loop {
        if next < args.hours && begin.elapsed() >= hour * next {
            let made = beat::hour(client, args, FIRST_HOUR + next, next).await?;
            live.say(format!("{} {made} Jobs made, suspended", beat::clock(FIRST_HOUR + next)));
            next += 1;
        }
        watched.look(client, args, live).await?;
        let over = next == args.hours && begin.elapsed() >= hour * args.hours;
        if over && (watched.idle() || begin.elapsed() >= hour * args.hours + LAST) {
            return Ok(watched.runs());
        }
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
}

/// Removes what an earlier run left.
async fn remove(platform: &Platform) -> Result<(), DemoError> {
    let api: Api<Namespace> = Api::all(platform.client().clone());
    let end = Instant::now() + GONE;
    loop {
        let found = api.list(&ListParams::default()).await.map_err(api_error("list namespaces"))?;
        let ours: Vec<String> = found
            .into_iter()
            .filter_map(|namespace| namespace.metadata.name)
            .filter(|name| name.strip_prefix("water-").is_some_and(|number| number.parse::<u32>().is_ok()))
            .collect();
        if ours.is_empty() {
            break;
        }
        for name in &ours {
            match api.delete(name, &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
                Err(error) => return Err(api_error("delete a namespace")(error)),
            }
        }
        if Instant::now() > end {
            return Err(DemoError::Timeout { what: "the removal of tenants".to_owned(), limit: GONE });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut kubectl = platform.kubectl();
    kubectl.args(["delete", "tenants.homeostat.dev", "--all", "--ignore-not-found", "--wait=false"]);
    // Before the first installation there is no such kind.
    let _absent = run(kubectl, None).await;
    Ok(())
}

fn api_error(action: &'static str) -> impl FnOnce(kube::Error) -> DemoError {
    move |source| DemoError::Api { action: action.to_owned(), source: Box::new(source) }
}
