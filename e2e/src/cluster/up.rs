//! Starting a cluster: files, namespaces, components in the order in which they need each other.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use super::components::Components;
use super::control::Control;
use super::error::ClusterError;
use super::layout::{API, DNS_READY, ETCD, Layout, PAUSE_IMAGE};
use super::state::{Phase, ProcessId, State, SupervisorState, read_json, write_json};
use super::{Cluster, Options, cgroup, config, down, namespace, pki, sysctl};
use crate::image::{self, Content, ImageFile, ImageSpec};
use crate::progress::Progress;
use crate::toolchain::Tools;

const LIMIT: Duration = Duration::from_mins(1);

/// Starts everything; the caller holds the lock and has removed what was there before.
pub(super) async fn start(
    layout: &Layout,
    tools: &Tools,
    options: &Options,
    progress: &Progress,
) -> Result<Cluster, ClusterError> {
    let clock = Steps { progress, last: Instant::now() };
    let mut clock = clock;
    sysctl::remember(layout)?;
    let mut state = State {
        name: layout.name().to_owned(),
        phase: Phase::Starting,
        cgroup: layout.cgroup(),
        api_port: 0,
        tools: tools.clone(),
    };
    write_json(&layout.state_file(), &state)?;
    prepare(layout, tools)?;
    clock.done("certificates and configuration");

    cgroup::create(&state.cgroup)?;
    let control = supervise(layout, options).await?;
    clock.done("namespaces");

    let masquerade_all = !namespace::bridged_packets_are_filtered();
    let components = Components::new(layout, tools, options.durable, masquerade_all);
    let node = !options.control_plane_only;
    control.start(components.etcd())?;
    if node {
        control.start(components.containerd())?;
    }
    control.wait_tcp(ETCD, LIMIT)?;
    control.start(components.apiserver())?;
    let port = control.forward(API, 0)?;
    state.api_port = port;
    write_json(&layout.state_file(), &state)?;
    write_kubeconfig(layout, "admin", &format!("https://127.0.0.1:{port}"), &layout.kubeconfig())?;
    let cluster = Cluster::new(layout.clone(), state.clone());
    if node {
        pause_image(&cluster).await?;
    }
    clock.done(if node { "etcd and containerd" } else { "etcd" });

    let client = cluster.client().await?;
    api_ready(layout, &client).await?;
    clock.done("API server");

    control.start(components.controller_manager(node))?;
    if node {
        control.start(components.scheduler())?;
        control.start(components.kubelet())?;
        control.start(components.proxy())?;
        allow_dns(&cluster, &client).await?;
        control.start(components.dns())?;
        node_ready(layout, &client).await?;
        control.wait_tcp(DNS_READY, LIMIT)?;
        clock.done("node, scheduler, controllers, proxy and DNS");
    }

    state.phase = Phase::Ready;
    write_json(&layout.state_file(), &state)?;
    Ok(Cluster::new(layout.clone(), state))
}

struct Steps<'a> {
    progress: &'a Progress,
    last: Instant,
}

impl Steps<'_> {
    fn done(&mut self, what: &str) {
        self.progress.done(what, self.last.elapsed());
        self.last = Instant::now();
    }
}

/// Certificates, kubeconfigs and configuration files.
fn prepare(layout: &Layout, tools: &Tools) -> Result<(), ClusterError> {
    for folder in layout.folders() {
        fs::create_dir_all(&folder).map_err(ClusterError::file("create", &folder))?;
    }
    pki::create(layout)?;
    for identity in pki::CLIENTS.iter().filter(|identity| !identity.file.starts_with("apiserver")) {
        let target = layout.component_kubeconfig(identity.file);
        write_kubeconfig(layout, identity.file, &format!("https://{API}"), &target)?;
    }
    let dir = layout.config();
    let put = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).map_err(ClusterError::file("write", &path))
    };
    let pretty = |value: &Value| format!("{value:#}\n");
    put("kubelet.json", &pretty(&config::kubelet(layout)))?;
    put("containerd.toml", &config::containerd(layout, tools))?;
    put("cni/10-bridge.conflist", &pretty(&config::cni()))?;
    put("Corefile", &config::corefile(layout))?;
    put("audit-policy.json", &pretty(&config::audit_policy()))?;
    put("resolv.conf", &config::resolv_conf())?;
    let path = layout.resolv_conf_of_exec();
    fs::write(&path, config::resolv_conf_of_exec()).map_err(ClusterError::file("write", &path))
}

fn write_kubeconfig(
    layout: &Layout,
    identity: &str,
    server: &str,
    target: &Path,
) -> Result<(), ClusterError> {
    use std::os::unix::fs::PermissionsExt;
    let pki = layout.pki();
    let read = |name: String| {
        let path = pki.join(name);
        fs::read(&path).map_err(ClusterError::file("read", &path))
    };
    let value = config::kubeconfig(
        layout.name(),
        server,
        &read("ca.crt".into())?,
        &read(format!("{identity}.crt"))?,
        &read(format!("{identity}.key"))?,
    );
    fs::write(target, format!("{value:#}\n")).map_err(ClusterError::file("write", target))?;
    fs::set_permissions(target, fs::Permissions::from_mode(0o600))
        .map_err(ClusterError::file("protect", target))
}

/// Starts the supervisor and waits until it answers.
async fn supervise(layout: &Layout, options: &Options) -> Result<Control, ClusterError> {
    let program = match &options.program {
        Some(program) => program.clone(),
        None => own_program()?,
    };
    let log_path = layout.log_of("supervisor");
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .map_err(ClusterError::file("open", &log_path))?;
    let errors = log.try_clone().map_err(ClusterError::file("open", &log_path))?;
    let mut child = Command::new(&program)
        .args(["cluster", "supervise", "--name", layout.name()])
        .env("HOMEOSTAT_STATE", layout.root())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(ClusterError::system(format!("run {}", program.display())))?;
    let end = Instant::now() + LIMIT;
    // On a busy disk the socket can be there before the process is on record.
    while !(layout.control_socket().exists() && supervised(layout)?) {
        let ended = child.try_wait().map_err(ClusterError::system("look at the supervisor"))?;
        if ended.is_some() || Instant::now() > end {
            return Err(ClusterError::Supervisor {
                name: layout.name().to_owned(),
                message: format!("it did not start: {}", tail(&log_path)),
            });
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Its end is nobody's concern but `down`'s; a thread keeps it from staying as a zombie.
    std::thread::spawn(move || child.wait());
    Ok(Control::new(layout))
}

/// The `e2e` program: this one, or the one beside a test program.
fn own_program() -> Result<PathBuf, ClusterError> {
    let me = crate::program::path().map_err(ClusterError::system("find this program"))?;
    let candidates = me.ancestors().take(3).map(|dir| dir.join("e2e"));
    let own = me.file_name().is_some_and(|name| name == "e2e").then(|| me.clone());
    own.into_iter().chain(candidates).find(|path| path.is_file()).ok_or_else(|| ClusterError::Missing {
        piece: "the program `e2e`".into(),
        why: "it supervises the cluster".into(),
        remedy: "run `cargo build -p homeostat-e2e`".into(),
    })
}

/// The last lines of a log.
pub(super) fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}

async fn pause_image(cluster: &Cluster) -> Result<(), ClusterError> {
    let program = cluster.tools().pause.join("pause");
    let spec = ImageSpec {
        files: vec![ImageFile {
            path: "/pause".into(),
            content: Content::Path(program.clone()),
            mode: 0o755,
        }],
        base: false,
        ..ImageSpec::program(PAUSE_IMAGE, &program)?
    };
    let tar = cluster.layout().data().join("pause.tar");
    image::build(&spec, &tar)?;
    let socket = cluster.layout().containerd_socket();
    poll(cluster.layout(), "containerd", "containerd's socket", || async { socket.exists() }).await?;
    cluster.load_image(&tar).await
}

async fn api_ready(layout: &Layout, client: &kube::Client) -> Result<(), ClusterError> {
    poll(layout, "kube-apiserver", "the API server's readiness", || async {
        let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
        client.request_text(request).await.is_ok_and(|text| text == "ok")
    })
    .await
}

/// Waits for a condition that `component` brings about; the end of the supervisor ends the wait.
async fn poll<F: Future<Output = bool>>(
    layout: &Layout,
    component: &str,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> Result<(), ClusterError> {
    let end = Instant::now() + LIMIT;
    while !condition().await {
        if Instant::now() > end {
            let detail = format!(": {}", tail(&layout.log_of(component)));
            return Err(ClusterError::Timeout { what: what.to_owned(), limit: LIMIT, detail });
        }
        if !supervised(layout)? {
            return Err(ended(layout));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn supervised(layout: &Layout) -> Result<bool, ClusterError> {
    let supervisor = read_json::<SupervisorState>(&layout.supervisor_file())?;
    Ok(supervisor.and_then(|both| both.inner).is_some_and(|inner: ProcessId| inner.is_alive()))
}

fn ended(layout: &Layout) -> ClusterError {
    let message = format!("it ended while the cluster started: {}", tail(&layout.log_of("supervisor")));
    ClusterError::Supervisor { name: layout.name().to_owned(), message }
}

/// The rights of the DNS server, which runs outside of any pod under its own name.
async fn allow_dns(cluster: &Cluster, client: &kube::Client) -> Result<(), ClusterError> {
    let role: ClusterRole = object(
        cluster,
        json!({
            "metadata": {"name": "system:coredns"},
            "rules": [
                {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            ],
        }),
    )?;
    let binding: ClusterRoleBinding = object(
        cluster,
        json!({
            "metadata": {"name": "system:coredns"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}],
        }),
    )?;
    let params = PostParams::default();
    Api::all(client.clone())
        .create(&params, &role)
        .await
        .map_err(cluster.api_error("create a cluster role"))?;
    Api::all(client.clone())
        .create(&params, &binding)
        .await
        .map_err(cluster.api_error("create a cluster role binding"))?;
    Ok(())
}

fn object<T: serde::de::DeserializeOwned>(cluster: &Cluster, value: Value) -> Result<T, ClusterError> {
    serde_json::from_value(value).map_err(|source| ClusterError::Json {
        path: cluster.layout().dir().join("built-in objects"),
        source,
    })
}

/// The node is Ready and new pods find their service account.
async fn node_ready(layout: &Layout, client: &kube::Client) -> Result<(), ClusterError> {
    let ready = |node: Option<&Node>| {
        let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
    };
    let there = |account: Option<&ServiceAccount>| account.is_some();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let name = layout.node_name();
    let both = async {
        tokio::try_join!(
            await_condition(Api::<Node>::all(client.clone()), &name, ready),
            await_condition(accounts, "default", there),
        )
    };
    let timeout =
        |detail: String| ClusterError::Timeout { what: "a Ready node".into(), limit: LIMIT, detail };
    let gone = async {
        while supervised(layout).unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        result = both => result.map(drop).map_err(|error| timeout(format!(": {error}"))),
        () = gone => Err(ended(layout)),
        () = tokio::time::sleep(LIMIT) => Err(timeout(format!(": {}", tail(&layout.log_of("kubelet"))))),
    }
}

/// Holds the lock of one cluster's name while it is started or removed.
pub(super) fn lock(layout: &Layout) -> Result<File, ClusterError> {
    use std::os::unix::fs::MetadataExt;
    let path = layout.lock_file();
    loop {
        fs::create_dir_all(layout.root()).map_err(ClusterError::file("create", layout.root()))?;
        let file = File::create(&path).map_err(ClusterError::file("create", &path))?;
        file.lock().map_err(ClusterError::file("lock", &path))?;
        // `down` removes the file while it holds the lock: whoever waited then locks a new one.
        let mine = file.metadata().map_err(ClusterError::file("look at", &path))?.ino();
        if fs::metadata(&path).is_ok_and(|there| there.ino() == mine) {
            return Ok(file);
        }
    }
}

/// Removes the lock's file and, if no other cluster uses it, the folder of all states.
pub(super) fn forget(layout: &Layout, lock: File) -> Result<(), ClusterError> {
    let path = layout.lock_file();
    fs::remove_file(&path).map_err(ClusterError::file("remove", &path))?;
    drop(lock);
    // Not empty: other clusters are there.
    let _ = fs::remove_dir(layout.root());
    Ok(())
}

/// Whether a cluster of this layout is up and its supervisor answers.
pub(super) fn running(layout: &Layout) -> Result<Option<State>, ClusterError> {
    let Ok(Some(state)) = read_json::<State>(&layout.state_file()) else { return Ok(None) };
    let answers = supervised(layout)? && Control::new(layout).status().is_ok();
    Ok((answers && state.phase == Phase::Ready).then_some(state))
}

/// Removes what an earlier start left.
pub(super) fn clean(layout: &Layout) -> Result<(), ClusterError> {
    down::remove(layout)?;
    let dir = layout.dir();
    fs::create_dir_all(&dir).map_err(ClusterError::file("create", &dir))
}
