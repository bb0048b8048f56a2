//! Real clusters on this machine: side by side, broken in the middle, and gone without a trace.
#![allow(clippy::disallowed_methods, reason = "what happens on a real machine is measured with its clocks")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

#[path = "bounds/mod.rs"]
mod bounds;
#[path = "kueue/mod.rs"]
mod kueue;
#[path = "model/mod.rs"]
mod model;
#[path = "scalable/mod.rs"]
mod scalable;
#[path = "sizes/mod.rs"]
mod sizes;

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use homeostat_e2e::cluster::control::Request;
use homeostat_e2e::cluster::state::{SupervisorState, read_json};
use homeostat_e2e::cluster::{Cluster, ClusterError, Layout, Options, cgroup};
use homeostat_e2e::image::{self, ImageSpec};
use homeostat_e2e::proof;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Service};
use kube::api::{Api, ListParams, PostParams};
use kube::runtime::wait::await_condition;
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Mutex;

/// Two cores do not carry three clusters: one test after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

const LIMIT: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_run_side_by_side_and_leave_nothing() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let names = ["test-one", "test-two"];
    for name in names {
        Cluster::remove(name).unwrap();
    }
    let before = Host::look();

    let options = Options::default();
    let (one, two) = tokio::join!(Cluster::up(names[0], &options), Cluster::up(names[1], &options));
    let (one, two) = (one.unwrap(), two.unwrap());
    let _kept = [one.keep_on_panic(), two.keep_on_panic()];
    let spaces = [&one, &two].map(|cluster| fs::metadata(cluster.netns_path().unwrap()).unwrap().ino());
    assert_ne!(spaces[0], spaces[1], "both clusters are in one network namespace");
    assert!(!spaces.contains(&before.network), "a cluster is in the host's network namespace");

    let (pod_one, pod_two) = tokio::join!(run_pod(&one), run_pod(&two));
    for cluster in [&one, &two] {
        let client = cluster.client().await.unwrap();
        let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await.unwrap();
        let nodes: Vec<_> = nodes.items.into_iter().filter_map(|node| node.metadata.name).collect();
        assert_eq!(nodes, [cluster.layout().node_name()]);
        let pods = Api::<Pod>::default_namespaced(client).list(&ListParams::default()).await.unwrap();
        assert_eq!(pods.items.len(), 1, "a cluster sees pods that are not its own");
    }

    // A process killed from outside is restarted by its own kubelet; the other cluster does not notice.
    let pid_one = one.pid_of_container(&uid(&pod_one), "main").await.unwrap();
    let pid_two = two.pid_of_container(&uid(&pod_two), "main").await.unwrap();
    assert!(
        matches!(one.kill(pid_two, Signal::SIGKILL), Err(ClusterError::System { .. })),
        "a foreign process"
    );
    one.kill(pid_one, Signal::SIGKILL).unwrap();
    wait_for_pod(&one, "a restart", |pod| restarts(pod) == 1).await;
    assert_eq!(two.pid_of_container(&uid(&pod_two), "main").await.unwrap(), pid_two);

    // Inside, the cluster's own address answers; outside, nothing does.
    let inside = one.exec("ip").unwrap().args(["-o", "address"]).output().await.unwrap();
    assert!(String::from_utf8_lossy(&inside.stdout).contains("10.244.0.1/24"));

    let logs = std::env::temp_dir().join(format!("homeostat-logs-{}", std::process::id()));
    one.collect_logs(&logs).await.unwrap();
    for file in ["components/kubelet.log", "components/audit.log", "events.txt", "objects.yaml"] {
        assert!(logs.join(file).is_file(), "{file} was not collected");
    }
    fs::remove_dir_all(&logs).unwrap();

    let layouts = [one.layout().clone(), two.layout().clone()];
    one.down().unwrap();
    assert!(two.client().await.unwrap().apiserver_version().await.is_ok(), "the other cluster went down too");
    two.down().unwrap();
    for layout in &layouts {
        nothing_left(layout, &spaces);
    }
    assert_eq!(Host::look(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_leaves_is_cleaned_up() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let name = "test-crash";
    Cluster::remove(name).unwrap();
    let before = Host::look();
    let layout = Layout::new(name).unwrap();

    // `up` is killed while the components start.
    let mut up = Command::new(env!("CARGO_BIN_EXE_e2e"))
        .args(["cluster", "up", "--name", name])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait("the first components", || layout.log_of("kube-apiserver").exists()).await;
    up.kill().unwrap();
    up.wait().unwrap();
    assert!(!cgroup::pids(&layout.cgroup()).unwrap().is_empty(), "there is nothing to clean up");
    assert!(matches!(Cluster::attach(name), Err(ClusterError::NotRunning { .. })));

    // The next `up` works, with a pod.
    let cluster = Cluster::up(name, &Options::default()).await.unwrap();
    let _kept = cluster.keep_on_panic();
    let space = fs::metadata(cluster.netns_path().unwrap()).unwrap().ino();
    run_pod(&cluster).await;

    // The supervisor is killed: the kernel ends everything inside, containers included.
    let supervisor: SupervisorState = read_json(&layout.supervisor_file()).unwrap().unwrap();
    assert!(supervisor.outer.signal(Signal::SIGKILL));
    wait("the end of every process", || cgroup::pids(&layout.cgroup()).unwrap().is_empty()).await;
    assert!(matches!(Cluster::attach(name), Err(ClusterError::NotRunning { .. })));

    cluster.down().unwrap();
    nothing_left(&layout, &[space]);
    assert_eq!(Host::look(), before);
    // Removing what is not there is no error.
    Cluster::remove(name).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn services_names_and_tools_work() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let name = "test-tools";
    Cluster::remove(name).unwrap();
    let cluster = Cluster::up(name, &Options::default()).await.unwrap();
    let _kept = cluster.keep_on_panic();

    // An image of a program of this machine, a pod of it, a Service in front, reached from the host.
    let reference = "homeostat.dev/web:v1";
    let tar = cluster.layout().data().join("web.tar");
    let spec = ImageSpec::program(reference, &cluster.tools().coredns.join("coredns")).unwrap();
    image::build(&spec, &tar).unwrap();
    cluster.load_image(&tar).await.unwrap();
    let client = cluster.client().await.unwrap();
    let config =
        object(&json!({"metadata": {"name": "web"}, "data": {"Corefile": ".:5300 {\n ready :8181\n}\n"}}));
    Api::<ConfigMap>::default_namespaced(client.clone())
        .create(&PostParams::default(), &config)
        .await
        .unwrap();
    let pod = object(&json!({
        "metadata": {"name": "idle", "labels": {"app": "web"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "config", "configMap": {"name": "web"}}],
            "containers": [{
                "name": "main", "image": reference, "imagePullPolicy": "Never",
                "args": ["-conf", "/config/Corefile"],
                "volumeMounts": [{"name": "config", "mountPath": "/config"}],
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
            }],
        },
    }));
    Api::<Pod>::default_namespaced(client.clone()).create(&PostParams::default(), &pod).await.unwrap();
    wait_for_pod(&cluster, "a Ready web server", ready).await;
    let service = object(&json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8181}]},
    }));
    let services = Api::<Service>::default_namespaced(client);
    let service: Service = services.create(&PostParams::default(), &service).await.unwrap();
    let address: Ipv4Addr = service.spec.unwrap().cluster_ip.unwrap().parse().unwrap();
    let outside = cluster.forward(SocketAddr::from((address, 80))).unwrap();
    get(&format!("http://{outside}/ready"), |text| text == "OK").await;
    for name in ["web", "web.default.svc.cluster.local"] {
        let found = cluster.exec("getent").unwrap().args(["hosts", name]).output().await.unwrap();
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        assert!(found.starts_with(&address.to_string()), "{name} is {found:?}");
    }

    let config = "scrape_configs: [{job_name: self, scrape_interval: 1s, \
                  static_configs: [{targets: ['10.244.0.1:9090']}]}]";
    let prometheus = cluster.prometheus_up(config).unwrap();
    get(&format!("http://{}/api/v1/query?query=up", prometheus.outside), |text| text.contains(",\"1\"]"))
        .await;
    assert!(cluster.helm().unwrap().arg("list").output().await.unwrap().status.success());

    // The API server goes away for a while and comes back with what it knew.
    let control = cluster.control();
    control.ask(&Request::Stop("kube-apiserver".into())).unwrap();
    assert!(cluster.client().await.unwrap().apiserver_version().await.is_err());
    control.ask(&Request::Resume("kube-apiserver".into())).unwrap();
    let end = Instant::now() + LIMIT;
    while services.get("web").await.is_err() {
        assert!(Instant::now() < end, "the API server did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    cluster.down().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_around_its_effect_each_action_but_the_starts_of_runs_has_it_once() {
    let _turn = ONE_AT_A_TIME.lock().await;
    let name = "test-proof";
    Cluster::remove(name).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let failed = proof::slice(name, root, env!("CARGO_BIN_EXE_e2e").into()).await.unwrap();
    assert_eq!(failed, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_api_server_answers_generated_requests_as_a_real_one() {
    let _turn = ONE_AT_A_TIME.lock().await;
    Box::pin(model::answers_generated_requests_as_a_real_one("test-model")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_kueue_what_is_queued_is_left_to_it_and_the_rest_is_ordered() {
    let _turn = ONE_AT_A_TIME.lock().await;
    Box::pin(kueue::leaves_queued_jobs_and_orders_the_others("test-kueue")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_of_an_autoscaler_are_driven_and_given_back_within_the_envelope() {
    let _turn = ONE_AT_A_TIME.lock().await;
    Box::pin(bounds::are_driven_and_given_back_within_the_envelope("test-bounds")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_else_has_a_scale_subresource_is_followed_and_scaled_within_the_envelope() {
    let _turn = ONE_AT_A_TIME.lock().await;
    Box::pin(scalable::kinds_of_others_are_followed_and_scaled("test-scalable")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_limits_of_one_container_change_in_place_and_back() {
    let _turn = ONE_AT_A_TIME.lock().await;
    Box::pin(sizes::of_one_container_change_in_place_and_back("test-sizes")).await;
}

/// Waits until `url` answers as wanted.
async fn get(url: &str, wanted: fn(&str) -> bool) {
    let end = Instant::now() + LIMIT;
    loop {
        let answer = match reqwest::get(url).await {
            Ok(response) => response.text().await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if answer.as_deref().is_ok_and(wanted) {
            return;
        }
        assert!(Instant::now() < end, "{url} answers {answer:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn object<T: DeserializeOwned>(value: &serde_json::Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// What a cluster must not change on the host.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    network: u64,
    links: BTreeSet<String>,
    mounts: usize,
    sysctls: Vec<String>,
}

impl Host {
    fn look() -> Self {
        let links = Command::new("ip").args(["-o", "link"]).output().unwrap();
        let name = |line: &str| line.split(": ").nth(1).unwrap_or_default().to_owned();
        let sysctls = ["vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward"];
        Self {
            network: fs::metadata("/proc/self/ns/net").unwrap().ino(),
            links: String::from_utf8_lossy(&links.stdout).lines().map(name).collect(),
            mounts: fs::read_to_string("/proc/self/mounts").unwrap().lines().count(),
            sysctls: sysctls
                .map(|name| fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap())
                .to_vec(),
        }
    }
}

fn nothing_left(layout: &Layout, network_namespaces: &[u64]) {
    assert_eq!(cgroup::folders(&layout.cgroup()).unwrap(), Vec::<std::path::PathBuf>::new());
    assert!(!layout.dir().exists() && !layout.lock_file().exists());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&layout.dir().display().to_string()), "{mounts}");
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(space) = fs::metadata(entry.path().join("ns/net")) else { continue };
        assert!(!network_namespaces.contains(&space.ino()), "{} is still there", entry.path().display());
    }
}

/// A pod of the pause image, Ready.
async fn run_pod(cluster: &Cluster) -> Pod {
    let pod = object(&json!({
        "metadata": {"name": "idle"},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{
            "name": "main", "image": "homeostat.dev/pause:v1", "imagePullPolicy": "Never",
            "resources": {"limits": {"memory": "32Mi", "cpu": "100m"}},
        }]},
    }));
    let pods: Api<Pod> = Api::default_namespaced(cluster.client().await.unwrap());
    pods.create(&PostParams::default(), &pod).await.unwrap();
    wait_for_pod(cluster, "a Ready pod", ready).await
}

async fn wait_for_pod(cluster: &Cluster, what: &str, condition: fn(&Pod) -> bool) -> Pod {
    let pods: Api<Pod> = Api::default_namespaced(cluster.client().await.unwrap());
    let reached = await_condition(pods, "idle", move |pod: Option<&Pod>| pod.is_some_and(condition));
    let in_time = tokio::time::timeout(LIMIT, reached).await;
    let Ok(pod) = in_time else { panic!("{what} on {} did not come within {LIMIT:?}", cluster.name()) };
    pod.unwrap().unwrap()
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.and_then(|all| all.first()).map_or(0, |one| one.restart_count)
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap()
}

async fn wait(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "{what} did not come within {} s", LIMIT.as_secs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
