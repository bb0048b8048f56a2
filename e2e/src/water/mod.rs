//! The water utility on a real cluster, from Friday to Monday: each tenant has a queue, a beat on a simulated clock, an API,
//! workers that come from zero and go to zero, and Jobs that Homeostat starts and sizes. One tenant's runs fail on the weekend,
//! one's memory grows, one's jumps once within a second, and a new release goes to a staging tenant first.
//!
//! It shows that the parts work together. How many tenants a capacity holds, and how that compares, says the simulator
//! (`make fit`): on one node of a shared machine pods start as slowly as the machine is busy.

mod jump;
mod seen;
mod staging;
mod table;
mod weekend;
mod workers;

use std::path::Path;
use std::time::{Duration, SystemTime};

use clap::Args;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use tokio::process::Command;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::demo::live::Live;
use crate::demo::platform::{Platform, run};
use crate::demo::{self, DemoError, Place, build, install};
use crate::progress::Progress;
use crate::scale::targets::{self, Targets};
use crate::toolchain::{self, Piece};

/// Namespaces of the tenants begin with it.
pub const PREFIX: &str = "water-";
/// Simulated hours begin on a Friday at midnight; the scenario begins at its noon.
const FIRST_HOUR: u32 = 12;
/// On Sunday at midnight the second release is ready.
const RELEASE_HOUR: u32 = 48;
/// Tenants are declared so long before their clock begins: their queues and beats have to start.
const HEAD_START: Duration = Duration::from_secs(25);
/// How often everything is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Runs that are still under way at the end have so long.
const LAST: Duration = Duration::from_mins(1);
/// Namespaces are gone by then.
const GONE: Duration = Duration::from_mins(2);

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
    #[arg(long, default_value_t = 8)]
    pub tenants: u32,
    /// Simulated hours, from Friday noon on
    #[arg(long, default_value_t = 76)]
    pub hours: u32,
    /// A simulated hour takes so many seconds
    #[arg(long, default_value_t = 18)]
    pub hour_seconds: u32,
    /// CPU of the catalogue is divided by this
    #[arg(long, default_value_t = 4.0)]
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

/// What was seen of everything.
#[derive(Debug, Default)]
struct Played {
    runs: Vec<seen::Run>,
    /// Seconds from the creation of each run's pod until it ran.
    starts: Vec<f64>,
    killed_workers: usize,
    workers: workers::Watched,
    weekend: weekend::Weekend,
    staging: staging::Staging,
}

/// Runs the scenario, prints its tables and writes `target/water/result.json`; false when something is not as it must be.
pub async fn scenario(args: &WaterArgs) -> Result<bool, DemoError> {
    let live = Live::start();
    if args.tenants < 4 || args.hours == 0 || args.hour_seconds < 10 {
        return Err(DemoError::Broken(
            "--tenants must be at least 4, --hours at least 1, --hour-seconds at least 10".to_owned(),
        ));
    }
    let out = args.place.root.join("target/water");
    std::fs::create_dir_all(&out).map_err(DemoError::io("create", &out))?;
    build::with_water(&args.place, &live).await?;
    let platform = build::platform(&args.place, &live).await?;
    let Some(cluster) = platform.own() else {
        let text =
            "Prometheus and the queues are brought up on the test cluster only: run it without CONTEXT";
        return Err(DemoError::Broken(text.to_owned()));
    };
    remove(&platform).await?;
    install::uninstall(&platform).await?;
    let played = whole(&platform, cluster, args, &live, &out).await;
    platform.keep(&out, LOGS).await;
    let result = table::Summary::of(args, played?, table::fixed_machines(&args.place.root));
    live.plain(&result.text());
    demo::write_result(&result, &out.join("result.json"), &live)?;
    if !args.keep {
        remove(&platform).await?;
        install::uninstall(&platform).await?;
    }
    Ok(result.passed())
}

/// Everything between an empty cluster and the last run.
async fn whole(
    platform: &Platform,
    cluster: &Cluster,
    args: &WaterArgs,
    live: &Live,
    out: &Path,
) -> Result<Played, DemoError> {
    cluster.prometheus_up(&targets::prometheus(&targets::path(cluster)))?;
    let _targets = Targets::follow(platform.client().clone(), targets::path(cluster), "api");
    let jobs = build::program(&args.place, "water-dss");
    let homeostat =
        build::image(platform, &build::program(&args.place, "homeostat"), "homeostat", out).await?;
    let image = build::image(platform, &jobs, "water-dss", out).await?;
    let nats = tokio::task::block_in_place(|| toolchain::ensure(Piece::Nats, &Progress::default()))
        .map_err(|error| DemoError::Broken(error.to_string()))?;
    let nats = build::image(platform, &nats.join("nats-server"), "nats-server", out).await?;
    live.say(
        "homeostat installed through its chart, with the rights to start and size Jobs and change replicas",
    );
    install(platform, args, &homeostat).await?;
    let began = SystemTime::now() + HEAD_START;
    for tenant in 0..args.tenants {
        let manifest = manifest(args, &jobs, tenant, (&image, &nats), began).await?;
        let path = out.join(format!("{PREFIX}{tenant}.yaml"));
        std::fs::write(&path, &manifest).map_err(DemoError::io("write", &path))?;
        platform.apply(&manifest).await?;
        live.say(format!(
            "tenant    {PREFIX}{tenant} declared by one file: queue, beat, API, 2 kinds of worker, 1 of Job"
        ));
    }
    install::warmed_up(platform).await?;
    play(platform, args, live, began).await
}

/// The tenant whose runs fail on the weekend; the last one's memory grows, the first one is staging.
fn weekdays_only(args: &WaterArgs) -> u32 {
    args.tenants / 2
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
        .args(["--set-string", &format!("image.repository={repository},image.tag={tag}")]);
    run(helm, None).await?;
    let path = args.place.root.join("e2e/water/control-plane.yaml");
    let plane = std::fs::read_to_string(&path).map_err(DemoError::io("read", &path))?;
    platform.apply(&plane).await
}

/// One tenant as one file.
async fn manifest(
    args: &WaterArgs,
    program: &Path,
    tenant: u32,
    (image, nats): (&str, &str),
    began: SystemTime,
) -> Result<String, DemoError> {
    let mut command = Command::new(program);
    command.args(["manifests", "--grows", "--image", image, "--queue-image", nats]);
    for (name, value) in [
        ("--tenants", args.tenants.to_string()),
        ("--only", tenant.to_string()),
        ("--clock", format!("{:.0}", epoch(began).floor())),
        ("--first-hour", FIRST_HOUR.to_string()),
        ("--hours", args.hours.to_string()),
        ("--weekdays-only", weekdays_only(args).to_string()),
        ("--jumps", jump::TENANT.to_string()),
        ("--jump-hour", jump::HOUR.to_string()),
        ("--divide-time", (3_600.0 / f64::from(args.hour_seconds)).to_string()),
        ("--divide-cpu", args.divide_cpu.to_string()),
        ("--divide-memory", args.divide_memory.to_string()),
        ("--seed", args.seed.to_string()),
    ] {
        command.args([name, &value]);
    }
    run(command, None).await
}

/// Seconds since the epoch.
fn epoch(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A simulated hour as people say it.
fn clock(hour: u32) -> String {
    let day = ["Fri", "Sat", "Sun", "Mon", "Tue", "Wed", "Thu"][(hour / 24 % 7) as usize];
    format!("{day} {:02}:00", hour % 24)
}

async fn play(
    platform: &Platform,
    args: &WaterArgs,
    live: &Live,
    began: SystemTime,
) -> Result<Played, DemoError> {
    let client = platform.client();
    let seconds = f64::from(args.hour_seconds);
    let end = epoch(began) + seconds * f64::from(args.hours);
    let mut watched = seen::Watched::default();
    let mut played = Played { weekend: weekend::Weekend::of(weekdays_only(args)), ..Played::default() };
    let staging = format!("{PREFIX}{}", staging::STAGING);
    let mut said = 0;
    loop {
        let now = epoch(SystemTime::now());
        // Before the first hour this is negative, and becomes 0.
        let passed = ((now - epoch(began)) / seconds) as u32;
        if now >= epoch(began) && passed >= said && passed < args.hours {
            live.say(clock(FIRST_HOUR + passed));
            said = passed + 1;
        }
        watched.look(client, args, live).await?;
        for (tenant, good, at) in watched.ended() {
            played.weekend.ran(&tenant, good, at);
        }
        played.workers.look(client, live).await?;
        played.weekend.look(client, live, now).await?;
        let due = (epoch(began)..end).contains(&now) && FIRST_HOUR + passed >= RELEASE_HOUR;
        played.staging.step(client, args, live, (due, watched.good(&staging, 2), now)).await?;
        if now >= end && (watched.idle() || now >= end + LAST.as_secs_f64()) {
            played.workers.count(client).await;
            played.killed_workers = watched.killed_workers();
            played.starts = watched.starts();
            played.runs = watched.runs();
            return Ok(played);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Removes what an earlier run left.
async fn remove(platform: &Platform) -> Result<(), DemoError> {
    let api: Api<Namespace> = Api::all(platform.client().clone());
    let end = Instant::now() + GONE;
    loop {
        let found = api.list(&ListParams::default()).await.map_err(DemoError::api("list namespaces"))?;
        let ours: Vec<String> = found
            .into_iter()
            .filter_map(|namespace| namespace.metadata.name)
            .filter(|name| name.strip_prefix(PREFIX).is_some_and(|number| number.parse::<u32>().is_ok()))
            .collect();
        if ours.is_empty() {
            break;
        }
        for name in &ours {
            match api.delete(name, &DeleteParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
                Err(error) => return Err(DemoError::api("delete a namespace")(error)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_said_by_day_and_time() {
        assert_eq!((clock(20), clock(26)), ("Fri 20:00".to_owned(), "Sat 02:00".to_owned()));
        assert_eq!(clock(RELEASE_HOUR), "Sun 00:00");
    }
}
