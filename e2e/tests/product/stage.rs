//! What all scenarios share: the cluster, Homeostat by its chart, the application under load.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use homeostat_crds::v1alpha1::{ControlPlane, Workload};
use homeostat_crds::{ConditionType, conditions};
use homeostat_e2e::cluster::{Cluster, Layout, Options};
use homeostat_e2e::demo::install::{LABEL, NAMESPACE};
use homeostat_e2e::demo::live::Live;
use homeostat_e2e::demo::mode::Column;
use homeostat_e2e::demo::platform::{Platform, run};
use homeostat_e2e::demo::{application, build};
use homeostat_e2e::faults::World;
use homeostat_e2e::load::LoadArgs;
use homeostat_e2e::load::process::LoadProcess;
use homeostat_e2e::truth::{At, Observer, PodView, Span};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::{installing, seen};

/// Workloads that scenarios add begin so.
pub const EXTRA: &str = "extra-";
/// Name of the release, of the Deployment and of the Service.
pub const RELEASE: &str = "homeostat";
/// Long enough for everything that takes seconds, on a busy machine too.
pub const SOON: Duration = Duration::from_secs(90);

/// No failed attempt for so long is calm.
const QUIET: Span = Span::from_secs(3);
/// Lines of logs need this long to arrive.
const ARRIVAL: Span = Span::from_millis(500);
/// Requests per second; debug builds carry more, the machine has other work.
const RATE: u32 = 30;
/// All but those for slowness and errors: on a busy machine both happen by themselves.
const PLAYBOOKS: [&str; 8] = [
    "crash",
    "crash-again-backs-off",
    "crash-loop",
    "dependency-down",
    "hung-process",
    "no-data",
    "not-ready",
    "unreachable",
];

/// The shared cluster and what is on it.
pub struct Stage {
    /// Lines for people.
    pub live: Live,
    /// The cluster.
    pub platform: Platform,
    /// Its API server.
    pub client: Client,
    root: PathBuf,
    out: PathBuf,
    programs: PathBuf,
    image: OnceCell<String>,
    application: OnceCell<Application>,
    /// UID of the pod that the application's telemetry goes to.
    receiver: Mutex<Option<String>>,
}

struct Application {
    world: World,
    load: LoadProcess,
}

impl Stage {
    /// Starts a cluster of this process's own. What earlier runs left that were killed is removed.
    pub async fn up() -> Self {
        let name = format!("product-{}", std::process::id());
        remove_orphans(&Layout::new(&name).unwrap());
        let program = PathBuf::from(env!("CARGO_BIN_EXE_e2e"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
        let out = root.join("target/e2e").join(&name);
        std::fs::create_dir_all(&out).unwrap();
        let programs = program.parent().unwrap().to_owned();
        let options = Options { program: Some(program), ..Options::default() };
        let cluster = Cluster::up(&name, &options).await.unwrap();
        let client = cluster.client().await.unwrap();
        let platform = Platform::Own { cluster: Box::new(cluster), client: client.clone() };
        let (image, application) = (OnceCell::new(), OnceCell::new());
        let (live, receiver) = (Live::start(), Mutex::default());
        Self { live, platform, client, root, out, programs, image, application, receiver }
    }

    /// Removes everything.
    pub async fn down(self) {
        let cluster = self.cluster().clone();
        if let Some(Application { world, load }) = self.application.into_inner() {
            let _ = load.stop().await;
            world.observer.stop().await;
        }
        cluster.down().unwrap();
        // Only files of ground truth and images; what explains failures is beside them.
        let _ = std::fs::remove_dir_all(&self.out);
    }

    /// Keeps what explains a failure below `target/e2e`.
    pub async fn keep(&self, scenario: &str) {
        let folder = self.root.join("target/e2e").join(format!("product-{scenario}"));
        let _ = std::fs::remove_dir_all(&folder);
        if let Err(error) = self.cluster().collect_logs(&folder).await {
            println!("logs could not be kept: {error}");
        }
        let kinds = "incidents,actions,workloads,tenants,controlplanes";
        let mut command = self.platform.kubectl();
        command.args(["get", kinds, "--all-namespaces", "--request-timeout=5s", "--output=yaml"]);
        let text = run(command, None).await.unwrap_or_else(|error| error.to_string());
        let _ = std::fs::write(folder.join("homeostat.yaml"), text);
        println!("logs are kept in {}", folder.display());
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        self.platform.own().unwrap()
    }

    /// A file of the repository.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.root.join(path)).unwrap()
    }

    /// A path in the repository.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// Runs kubectl.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = self.platform.kubectl();
        command.args(arguments);
        run(command, None).await.unwrap()
    }

    /// Runs the chart's `helm upgrade --install` with the debug image and waits until all is ready.
    pub async fn helm_upgrade(&self, release: &str, namespace: &str, settings: &[&str]) {
        let image = self.image().await;
        let (repository, tag) = image.rsplit_once(':').unwrap();
        let mut helm = self.platform.helm().unwrap();
        helm.args(["upgrade", "--install", release]).arg(self.path("charts/homeostat"));
        helm.args(["--namespace", namespace, "--create-namespace", "--wait", "--timeout", "90s"]);
        helm.args(["--set", &format!("image.repository={repository},image.tag={tag}")]);
        for setting in settings {
            helm.args(["--set", setting]);
        }
        run(helm, None).await.unwrap();
    }

    async fn image(&self) -> &str {
        self.image.get_or_init(|| self.load("homeostat")).await
    }

    /// Makes an image of a debug binary and brings it to the cluster.
    pub async fn load(&self, name: &str) -> String {
        let program = self.program(name).await;
        // Most of a debug binary is symbols. Without `strip` it is only slower.
        let small = self.out.join(name);
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(&small).arg(&program);
        let program = if run(strip, None).await.is_ok() { small } else { program };
        build::image(&self.platform, &program, name, &self.out).await.unwrap()
    }

    /// A debug binary. `make test` has built the whole workspace and says so by `E2E`; otherwise cargo looks whether
    /// it is up to date.
    async fn program(&self, name: &str) -> PathBuf {
        let program = self.programs.join(name);
        if std::env::var_os("E2E").is_none() || !program.is_file() {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["build", "--quiet", "--package", name]).current_dir(&self.root);
            run(cargo, None).await.unwrap();
        }
        program
    }

    /// Homeostat is installed, the application runs under load, everything is as in the demo and calm.
    pub async fn ready(&self) {
        installing::remove_second(self).await;
        self.installed().await;
        let application = self.application().await;
        self.defaults().await;
        for service in application::SERVICES {
            for pod in application.world.running(service) {
                // Never stopped, or gone by now: both fine.
                let _ = application.world.signal(&pod, Signal::SIGCONT).await;
            }
            application.world.faults_off(service).await.unwrap();
        }
        self.warm().await;
        let receiver = self.homeostat().await.and_then(|pod| pod.uid());
        let before = std::mem::replace(&mut *self.receiver.lock().unwrap(), receiver.clone());
        if before.is_some() && before != receiver {
            let all: Vec<&str> = application::SERVICES.into_iter().chain([application::GATEWAY]).collect();
            self.fresh(&all).await;
        }
        self.calm().await;
    }

    /// Replaces the services' pods by rollouts. Whoever was just connecting to a pod of Homeostat when that went away
    /// has the kernel send its first packet there for two minutes; a new process begins anew.
    pub async fn fresh(&self, services: &[&str]) {
        for service in services {
            self.world().roll(service).await.unwrap();
        }
        until("new pods of the application", SOON, async || {
            application::incomplete(&self.client).await.ok()?.is_empty().then_some(())
        })
        .await;
    }

    /// Homeostat is installed by its chart.
    pub async fn installed(&self) {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        if deployments.get_opt(RELEASE).await.unwrap().is_none() {
            self.helm_upgrade(RELEASE, NAMESPACE, &[]).await;
        }
    }

    /// The settings that scenarios start from: everything may be done, limits are wide, the warm-up is short.
    async fn defaults(&self) {
        let control = json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "ControlPlane", "metadata": {"name": "default"},
            "spec": {
                "killSwitch": {"engaged": false}, "warmUpSeconds": 5, "storm": {"calmSeconds": 1},
                "ceilings": {
                    "level": "ActBounded", "actionsPerHour": 1000, "stormPercent": 100,
                    "cooldown": {"afterSuccessSeconds": 0, "afterFailureSeconds": 0},
                    "breaker": {"workloadFailuresPerDay": 1000, "percentOfLastTwenty": 100},
                },
                "breaker": {"failedVerificationsPer15Minutes": 100},
            },
        });
        let files = ["e2e/demo/tenant.yaml", "examples/food-delivery/manifests/workloads.yaml"];
        let [tenant, workloads] = files.map(|file| self.read(file));
        self.platform.apply(&format!("{control}\n---\n{tenant}\n---\n{workloads}")).await.unwrap();
        let api = self.workloads();
        for workload in api.list(&ListParams::default()).await.unwrap() {
            let name = workload.name_any();
            if name.starts_with(EXTRA) {
                api.delete(&name, &DeleteParams::default()).await.unwrap();
            } else {
                self.patch(&api, &name, &json!({"spec": {"paused": false, "playbooks": PLAYBOOKS}})).await;
            }
        }
    }

    /// Workloads of the application.
    pub fn workloads(&self) -> Api<Workload> {
        Api::namespaced(self.client.clone(), application::NAMESPACE)
    }

    /// Merges a change into an object.
    pub async fn patch<K>(&self, api: &Api<K>, name: &str, change: &Value)
    where
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }

    /// The one `ControlPlane`.
    pub async fn control_plane(&self) -> ControlPlane {
        Api::all(self.client.clone()).get("default").await.unwrap()
    }

    /// Waits until a condition of the `ControlPlane` is True or is not.
    pub async fn control_says(&self, condition: ConditionType, wanted: bool) {
        until(&format!("{condition} of the ControlPlane being {wanted}"), SOON, async || {
            let status = self.control_plane().await.status.unwrap_or_default();
            (conditions::is_true(&status.conditions, condition) == wanted).then_some(())
        })
        .await;
    }

    /// Waits until a leader has finished its warm-up. A status that a former leader wrote does not count.
    pub async fn warm(&self) {
        until("a warm leader", SOON, async || {
            let pod = self.homeostat().await?;
            let status = self.control_plane().await.status?;
            let warm = conditions::is_true(&status.conditions, ConditionType::WarmedUp);
            (warm && status.leader.is_some_and(|leader| leader.contains(&pod.name_any()))).then_some(())
        })
        .await;
    }

    /// Homeostat's ready pod.
    pub async fn homeostat(&self) -> Option<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let all = pods.list(&ListParams::default().labels(LABEL)).await.ok()?;
        all.items.into_iter().find(|pod| {
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
            let ready =
                conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
            ready && pod.metadata.deletion_timestamp.is_none()
        })
    }

    async fn application(&self) -> &Application {
        self.application
            .get_or_init(async || {
                self.platform.apply(&self.read("e2e/demo/collector.yaml")).await.unwrap();
                let program = self.program("food-delivery").await;
                let image = self.load("food-delivery").await;
                application::deploy(
                    &self.platform,
                    Column::Homeostat,
                    &program,
                    &image,
                    application::Telemetry::default(),
                )
                .await
                .unwrap();
                let teller = self.live.clone();
                let namespaces = [application::NAMESPACE, application::OUTSIDE];
                let attempts = self.out.join("attempts.log");
                let tell = Arc::new(move |line| teller.say(line));
                let observer = Observer::start(&self.client, &namespaces, &attempts, true, tell).unwrap();
                let gateway = application::gateway(&self.client).await.unwrap();
                let args = LoadArgs {
                    target: format!("http://{gateway}").parse().unwrap(),
                    out: self.out.join("requests.log"),
                    users: 20,
                    rate: RATE,
                    orders: 55,
                    seconds: 3600,
                    seed: 1,
                };
                let command = self.cluster().exec(env!("CARGO_BIN_EXE_e2e")).unwrap();
                let load = LoadProcess::start(command, &args).unwrap();
                let signals = self.platform.signals();
                let world = World::new(self.client.clone(), observer, signals, application::namespaces());
                Application { world, load }
            })
            .await
    }

    /// The application as fault injectors see it.
    pub fn world(&self) -> &World {
        &self.application.get().unwrap().world
    }

    /// Waits until no call fails, every rollout is complete and no incident is open.
    pub async fn calm(&self) {
        let begin = At::now();
        until("calm", Duration::from_mins(2), async || {
            let now = At::now();
            let (last_failure, recent) = {
                let seen = self.world().observer.lock();
                (seen.history.last_failure(begin), seen.history.count(now - QUIET, now).0)
            };
            let calm =
                now - ARRIVAL > last_failure.unwrap_or(begin).max(begin) + QUIET && recent > u64::from(RATE);
            let rolled = calm && application::incomplete(&self.client).await.ok()?.is_empty();
            (rolled && seen::incidents(self).await.iter().all(seen::is_calm)).then_some(())
        })
        .await;
    }

    /// Sends a signal to the process of the service's pod and returns the pod.
    pub async fn signal(&self, service: &str, signal: Signal) -> PodView {
        let pod = self.world().serving(service).await.unwrap();
        self.world().signal(&pod, signal).await.unwrap();
        self.live.say(format!("fault     {signal} to {}", pod.name));
        pod
    }

    /// Lets a stopped process go on.
    pub async fn wake(&self, pod: &PodView) {
        self.world().signal(pod, Signal::SIGCONT).await.unwrap();
        self.live.say(format!("restored  {}", pod.name));
    }

    /// The pod is there, in its first run, and nobody deletes it.
    pub async fn is_untouched(&self, pod: &PodView) -> bool {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let now = api.get_opt(&pod.name).await.unwrap().and_then(|pod| PodView::of(&pod));
        now.is_some_and(|now| now.uid == pod.uid && now.restarts == pod.restarts && !now.deleting)
    }
}

/// Waits until `look` finds something.
pub async fn until<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not come within {} s", limit.as_secs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Clusters of test processes that are gone.
fn remove_orphans(layout: &Layout) {
    for entry in std::fs::read_dir(layout.root()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(Ok(pid)) = name.strip_prefix("product-").map(str::parse::<u32>) else { continue };
        if !Path::new(&format!("/proc/{pid}")).exists() {
            let _ = Cluster::remove(&name);
        }
    }
}
