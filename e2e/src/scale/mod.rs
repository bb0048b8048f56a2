//! Homeostat beside a real `HorizontalPodAutoscaler` with metrics-server, on one node at the same time: the same service,
//! the same load, two lines. It shows what reacting costs on a real node, where starts and measurements take the time that
//! they take; what a history brings is measured in virtual time (`make scale-compare`).

pub mod load;
pub mod manifests;
pub mod seen;
pub mod shape;
mod table;
pub mod targets;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use homeostat_crds::v1alpha1::{Action, Forecast};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use tokio::process::Child;
use tokio::time::Instant;

use crate::cluster::Cluster;
use crate::demo::live::Live;
use crate::demo::platform::{Platform, run};
use crate::demo::{self, DemoError, Place, build, install};
use load::Seen;
use seen::{Row, Size};
use shape::Shape;
use targets::Targets;

/// Namespace that the HPA scales in, and Homeostat.
pub const NAMESPACES: [&str; 2] = ["plans-hpa", "plans-homeostat"];
/// Of what a replica answers at most, this share counts as what it carries: above it, waiting times grow without bound.
const CARRIED: f64 = 0.9;
/// Callers who find out what a replica answers at most, and for how long they ask.
const CALLERS: (u32, u64) = (4, 15);
/// Anything that is waited for has come by then.
const SOON: Duration = Duration::from_mins(3);
/// After the last request is sent, answers have come by then.
const ANSWERS: Duration = Duration::from_secs(15);

/// What is kept beside the result.
const LOGS: &[(&str, &[&str])] = &[
    ("node-objects.yaml", &["get", "hpa,actions,forecasts,workloads", "--all-namespaces", "--output=yaml"]),
    ("node-events.txt", &["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"]),
];

/// Arguments of `e2e scale`.
#[derive(Args, Clone, Debug)]
pub struct ScaleArgs {
    /// Target of the HPA, percent of the CPU that a replica asks for
    #[arg(long, default_value_t = 60)]
    pub target: u32,
    /// Of all chance
    #[arg(long, env = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// Leave both services and Homeostat as they are at the end
    #[arg(long)]
    pub keep: bool,
    /// Where it runs.
    #[command(flatten)]
    pub place: Place,
}

/// Runs both, prints their lines and writes `target/scale/node.json`.
pub async fn scenario(args: &ScaleArgs) -> Result<(), DemoError> {
    let live = Live::start();
    if !(10..=100).contains(&args.target) {
        return Err(DemoError::Broken(format!("--target is {}, it must be 10 to 100 percent", args.target)));
    }
    let out = args.place.root.join("target/scale");
    std::fs::create_dir_all(&out).map_err(DemoError::io("create", &out))?;
    build::with_water(&args.place, &live).await?;
    let platform = build::platform(&args.place, &live).await?;
    let Some(cluster) = platform.own() else {
        let text =
            "metrics-server and Prometheus are brought up on the test cluster only: run it without CONTEXT";
        return Err(DemoError::Broken(text.to_owned()));
    };
    remove(&platform).await?;
    install::uninstall(&platform).await?;
    live.say("metrics   metrics-server and Prometheus");
    cluster.metrics_server_up().await?;
    cluster.prometheus_up(&targets::prometheus(&targets::path(cluster)))?;
    let _targets = Targets::follow(platform.client().clone(), targets::path(cluster), manifests::NAME);
    let homeostat =
        build::image(&platform, &build::program(&args.place, "homeostat"), "homeostat", &out).await?;
    let image = build::image(&platform, &build::program(&args.place, "water-dss"), "water-dss", &out).await?;
    let played = play(args, &platform, cluster, &live, &homeostat, &image).await;
    platform.keep(&out, LOGS).await;
    let summary = played?;
    live.plain(&summary.text());
    demo::write_result(&summary, &out.join("node.json"), &live)?;
    if !args.keep {
        remove(&platform).await?;
        install::uninstall(&platform).await?;
    }
    Ok(())
}

async fn play(
    args: &ScaleArgs,
    platform: &Platform,
    cluster: &Cluster,
    live: &Live,
    homeostat: &str,
    image: &str,
) -> Result<table::Summary, DemoError> {
    let client = platform.client();
    let program = crate::program::path().map_err(DemoError::io("find", Path::new("this program")))?;
    live.say("install   Homeostat through its chart, with the rights to change replicas; the service twice");
    helm(platform, args, homeostat).await?;
    for namespace in NAMESPACES {
        platform.apply(&manifests::service(namespace, image)).await?;
    }
    let mut targets = Vec::new();
    for namespace in NAMESPACES {
        until(&format!("a ready replica in {namespace}"), async || {
            size(client, namespace).await.ok().filter(|size| size.ready >= 1)
        })
        .await?;
        targets.push(target(client, namespace).await?);
    }
    let asked =
        ["--callers".to_owned(), CALLERS.0.to_string(), "--seconds".to_owned(), CALLERS.1.to_string()];
    let most = answers(callers(cluster, &program, &targets[0], args.seed, &asked)?).await?;
    let saturated_at = (most.requests - most.failed) as f64 / most.seconds.max(1.0);
    let per_replica = CARRIED * saturated_at;
    if per_replica < 1.0 {
        return Err(DemoError::Broken(format!(
            "one replica answers {saturated_at:.2} requests a second: the machine has no room for this"
        )));
    }
    live.say(format!(
        "measured  one replica answers {saturated_at:.1} requests/s and carries {per_replica:.1}"
    ));
    platform.apply(&manifests::hpa(NAMESPACES[0], args.target)).await?;
    platform.apply(&manifests::homeostat(NAMESPACES[1], per_replica)).await?;
    until("a measurement that the HPA can use", async || hpa_measures(client).await.then_some(())).await?;
    until("a first decision of Homeostat's", async || wanted(client).await).await?;
    live.say("load      begins, the same on both");

    let shape = Shape::default();
    let loads = shape.replicas_worth();
    let rates: Vec<String> = loads.iter().map(|load| format!("{:.2}", load * per_replica)).collect();
    let rates = ["--rates".to_owned(), rates.join(",")];
    let mut children = Vec::new();
    for target in &targets {
        children.push(callers(cluster, &program, target, args.seed, &rates)?);
    }
    let sizes = watch(client, live, &loads).await?;
    let mut rows = Vec::new();
    let names = [format!("HPA, {} % CPU", args.target), "Homeostat, Auto".to_owned()];
    for ((name, sizes), child) in names.iter().zip(sizes).zip(children) {
        let seen = tokio::time::timeout(ANSWERS, answers(child))
            .await
            .map_err(|_| DemoError::Timeout { what: "the load generator".to_owned(), limit: ANSWERS })??;
        rows.push(Row::of(name, &loads, sizes, &shape.parts(), seen));
    }
    Ok(table::Summary {
        saturated_at,
        per_replica,
        target_percent: args.target,
        skill: skill(client).await,
        actions: actions(client).await?,
        loads,
        rows,
    })
}

async fn helm(platform: &Platform, args: &ScaleArgs, image: &str) -> Result<(), DemoError> {
    let (repository, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    let mut helm = platform.helm()?;
    helm.args(["upgrade", "--install", "homeostat"])
        .arg(args.place.root.join("charts/homeostat"))
        .args(["--namespace", install::NAMESPACE, "--create-namespace", "--wait", "--timeout", "180s"])
        .arg("--values")
        .arg(args.place.root.join("e2e/scale/values.yaml"))
        .args(["--set-string", &format!("image.repository={repository},image.tag={tag}")]);
    run(helm, None).await?;
    let path = args.place.root.join("e2e/scale/control-plane.yaml");
    let plane = std::fs::read_to_string(&path).map_err(DemoError::io("read", &path))?;
    platform.apply(&plane).await
}

/// Address of the Service.
pub async fn target(client: &Client, namespace: &str) -> Result<String, DemoError> {
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let service = services.get(manifests::NAME).await.map_err(DemoError::api("read the Service"))?;
    let address = service.spec.and_then(|spec| spec.cluster_ip).and_then(|text| text.parse::<IpAddr>().ok());
    address.map(|address| format!("http://{}", SocketAddr::new(address, manifests::PORT))).ok_or_else(|| {
        DemoError::Broken(format!("Service {} of {namespace} has no address", manifests::NAME))
    })
}

/// Starts callers of a service inside the cluster's network: `program` is `e2e`.
pub fn callers(
    cluster: &Cluster,
    program: &Path,
    target: &str,
    seed: u64,
    arguments: &[String],
) -> Result<Child, DemoError> {
    let mut command = cluster.exec(&program.to_string_lossy())?;
    command.args(["scale-load", "--target", target, "--seed", &seed.to_string()]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    command.spawn().map_err(DemoError::io("run", program))
}

/// What callers saw, once they have ended.
pub async fn answers(child: Child) -> Result<Seen, DemoError> {
    let output = child.wait_with_output().await.map_err(DemoError::io("wait for", Path::new("the load")))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| DemoError::Broken(format!("the load generator did not end well: {error}")))
}

/// Size of the Deployment in a namespace.
pub async fn size(client: &Client, namespace: &str) -> Result<Size, DemoError> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let found = deployments.get(manifests::NAME).await.map_err(DemoError::api("read a Deployment"))?;
    Ok(Size::of(&found))
}

/// Looks at both once a second for as long as the load lasts.
async fn watch(client: &Client, live: &Live, loads: &[f64]) -> Result<[Vec<Size>; 2], DemoError> {
    let (begin, mut sizes) = (Instant::now(), [Vec::new(), Vec::new()]);
    for (second, load) in loads.iter().enumerate() {
        tokio::time::sleep_until(begin + Duration::from_secs(second as u64)).await;
        let (one, other) = tokio::join!(size(client, NAMESPACES[0]), size(client, NAMESPACES[1]));
        for (sizes, now) in sizes.iter_mut().zip([one?, other?]) {
            sizes.push(now);
        }
        if second % 15 == 0 {
            let said = |sizes: &Vec<Size>| {
                sizes.last().map_or_else(String::new, |size| format!("{} of {}", size.ready, size.wanted))
            };
            live.say(format!(
                "load {load:4.1}  HPA {:>8} ready   Homeostat {:>8} ready",
                said(&sizes[0]),
                said(&sizes[1])
            ));
        }
    }
    tokio::time::sleep_until(begin + Duration::from_secs(loads.len() as u64)).await;
    Ok(sizes)
}

async fn hpa_measures(client: &Client) -> bool {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), NAMESPACES[0]);
    let Ok(hpa) = api.get(manifests::NAME).await else { return false };
    let conditions = hpa.status.and_then(|status| status.conditions).unwrap_or_default();
    conditions.iter().any(|one| one.type_ == "ScalingActive" && one.status == "True")
}

async fn forecast(client: &Client) -> Option<Forecast> {
    let api: Api<Forecast> = Api::namespaced(client.clone(), NAMESPACES[1]);
    let all = api.list(&ListParams::default()).await.ok()?.items;
    // Each named load has a Forecast of its own; the size stands on that of the workload.
    let sized = |one: &Forecast| one.status.as_ref().is_some_and(|status| status.scaling.is_some());
    all.into_iter().find(sized)
}

async fn wanted(client: &Client) -> Option<i64> {
    forecast(client).await?.status?.scaling?.wanted.map(i64::from)
}

async fn skill(client: &Client) -> String {
    let skill = forecast(client).await.and_then(|forecast| forecast.status?.skill);
    skill.map_or_else(|| "not known".to_owned(), |skill| format!("{skill:?}"))
}

/// What Homeostat did, oldest first.
async fn actions(client: &Client) -> Result<Vec<String>, DemoError> {
    let api: Api<Action> = Api::namespaced(client.clone(), NAMESPACES[1]);
    let found = api.list(&ListParams::default()).await.map_err(DemoError::api("list Actions"))?;
    let mut all: Vec<Action> = found.items;
    all.sort_by_key(ResourceExt::creation_timestamp);
    let words = |action: &Action| {
        let state = action.status.as_ref().and_then(|status| status.state);
        let state = state.map_or_else(|| "new".to_owned(), |state| format!("{state:?}"));
        format!("{:?} {}: {state}", action.spec.action, action.name_any())
    };
    Ok(all.iter().map(words).collect())
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> Result<T, DemoError> {
    let end = Instant::now() + SOON;
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if Instant::now() > end {
            return Err(DemoError::Timeout { what: what.to_owned(), limit: SOON });
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Removes what an earlier run left.
async fn remove(platform: &Platform) -> Result<(), DemoError> {
    let api: Api<Namespace> = Api::all(platform.client().clone());
    for name in NAMESPACES {
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(error) => return Err(DemoError::api("delete a namespace")(error)),
        }
    }
    for name in NAMESPACES {
        until(&format!("the removal of namespace {name}"), async || {
            api.get_opt(name).await.is_ok_and(|found| found.is_none()).then_some(())
        })
        .await?;
    }
    let mut kubectl = platform.kubectl();
    kubectl.args(["delete", "tenants.homeostat.dev", NAMESPACES[1], "--ignore-not-found", "--wait=false"]);
    // Before the first installation there is no such kind.
    let _absent = run(kubectl, None).await;
    Ok(())
}
