//! The process that holds a cluster together. Its outer half creates the namespaces; its inner half is
//! the first process of the cluster's PID namespace, starts every component and is told what to do
//! over a socket. When it ends, the kernel ends everything inside, containers included.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

use super::cgroup;
use super::components::Component;
use super::control::{ComponentStatus, Request, Response};
use super::error::ClusterError;
use super::forward::Outside;
use super::layout::Layout;
use super::namespace;
use super::state::State;
use super::state::{ProcessId, SupervisorState, read_json, write_json};

const MOST_RESTARTS: u32 = 5;
/// The outer half writes a file within this time.
const RECORDED: Duration = Duration::from_secs(30);

/// The outer half: creates the namespaces and waits for the inner half. Call it before any thread starts.
pub fn outer(name: &str) -> Result<(), ClusterError> {
    let layout = Layout::new(name)?;
    // A new session: the end of the terminal or of `up` is not the cluster's end.
    let _ = setsid();
    let me = std::process::id() as i32;
    let Some(outer) = ProcessId::of(me) else {
        return Err(ClusterError::NotRunning { name: name.to_owned() });
    };
    write_json(&layout.supervisor_file(), &SupervisorState { outer: outer.clone(), inner: None })?;
    let Some(state) = read_json::<State>(&layout.state_file())? else {
        return Err(ClusterError::NotRunning { name: name.to_owned() });
    };
    cgroup::join(&state.cgroup)?;
    let host = File::open("/proc/self/ns/net").map_err(ClusterError::system("open the network namespace"))?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID)
        .map_err(ClusterError::system("create namespaces"))?;
    let program = crate::program::path().map_err(ClusterError::system("find this program"))?;
    let mut child = Command::new(program)
        .args(["cluster", "supervise-inner", "--name", name])
        .stdin(Stdio::from(host))
        .spawn()
        .map_err(ClusterError::system("start the supervisor"))?;
    let inner = ProcessId::of(child.id() as i32);
    write_json(&layout.supervisor_file(), &SupervisorState { outer, inner })?;
    let status = child.wait().map_err(ClusterError::system("wait for the supervisor"))?;
    eprintln!("the cluster's first process ended: {status}");
    Ok(())
}

/// The inner half, with the host's network namespace as standard input.
pub fn inner(name: &str) -> Result<(), ClusterError> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(ClusterError::system("follow the outer half"))?;
    let layout = Layout::new(name)?;
    let Some(state) = read_json::<State>(&layout.state_file())? else {
        return Err(ClusterError::NotRunning { name: name.to_owned() });
    };
    let host = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(ClusterError::system("keep the host's network namespace"))?;
    let program = crate::program::path().map_err(ClusterError::system("find this program"))?;
    recorded(&layout)?;
    let mut keep = vec![layout.dir(), program];
    keep.extend(state.tools.folders());
    namespace::mount_own(&layout, &keep)?;
    namespace::wire_network()?;

    let socket = layout.control_socket();
    let partial = socket.with_extension("partial");
    let listener = UnixListener::bind(&partial).map_err(ClusterError::file("listen at", &partial))?;
    let supervisor = Arc::new(Supervisor { children: Mutex::default(), outside: Outside::start(host) });
    let reaper = Arc::clone(&supervisor);
    thread::spawn(move || reaper.reap());
    // Visible only when it answers.
    fs::rename(&partial, &socket).map_err(ClusterError::file("listen at", &socket))?;
    for stream in listener.incoming().flatten() {
        let supervisor = Arc::clone(&supervisor);
        thread::spawn(move || {
            if let Err(error) = supervisor.serve(&stream) {
                eprintln!("a request was not answered: {error}");
            }
        });
    }
    Ok(())
}

/// Waits until the outer half has this process on record: it looks it up in `/proc`, and both share the mounts in which
/// `/proc` becomes that of the new namespace, where the number is another one.
fn recorded(layout: &Layout) -> Result<(), ClusterError> {
    let end = Instant::now() + RECORDED;
    while read_json::<SupervisorState>(&layout.supervisor_file())?.is_none_or(|both| both.inner.is_none()) {
        if Instant::now() > end {
            let what = "the supervisor's own record".to_owned();
            return Err(ClusterError::Timeout { what, limit: RECORDED, detail: String::new() });
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

struct Supervisor {
    children: Mutex<BTreeMap<String, Child>>,
    outside: Outside,
}

struct Child {
    component: Component,
    pid: Option<i32>,
    wanted: bool,
    restarts: u32,
    last_exit: Option<String>,
}

impl Supervisor {
    fn children(&self) -> MutexGuard<'_, BTreeMap<String, Child>> {
        // A panic elsewhere leaves the map as it is; the cluster can still be looked at and ended.
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(self: &Arc<Self>, stream: &UnixStream) -> std::io::Result<()> {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let response = match serde_json::from_str(&line) {
            Ok(request) => self.answer(request).unwrap_or_else(Response::Failed),
            Err(error) => Response::Failed(format!("not a request: {error}")),
        };
        let mut text = serde_json::to_string(&response)?;
        text.push('\n');
        let mut writer = stream;
        writer.write_all(text.as_bytes())
    }

    fn answer(self: &Arc<Self>, request: Request) -> Result<Response, String> {
        match request {
            Request::Status => Ok(Response::Status(self.status())),
            Request::Start(component) => {
                self.stop(&component.name)?;
                self.start(*component, 0, None).map(|()| Response::Done)
            }
            Request::Resume(name) => {
                let component = match self.children().get(&name) {
                    None => return Err(format!("there is no component `{name}`")),
                    Some(child) if child.pid.is_some() => return Ok(Response::Done),
                    Some(child) => child.component.clone(),
                };
                self.start(component, 0, None).map(|()| Response::Done)
            }
            Request::Stop(name) => self.stop(&name).map(|()| Response::Done),
            Request::WaitTcp { to, milliseconds } => wait_tcp(to, Duration::from_millis(milliseconds)),
            Request::Forward { to, port } => match self.outside.forward(to, port) {
                Ok(port) => Ok(Response::Port(port)),
                Err(error) => Err(format!("cannot forward 127.0.0.1:{port} to {to}: {error}")),
            },
        }
    }

    fn start(&self, component: Component, restarts: u32, last_exit: Option<String>) -> Result<(), String> {
        let name = component.name.clone();
        let failed = |error: &dyn std::fmt::Display| format!("cannot start {name}: {error}");
        if !component.program.is_file() {
            return Err(failed(&format_args!("there is no {}", component.program.display())));
        }
        let log =
            OpenOptions::new().create(true).append(true).open(&component.log).map_err(|e| failed(&e))?;
        let errors = log.try_clone().map_err(|e| failed(&e))?;
        // The lock is held over the start, so that the reaper meets no child that is not in the map.
        let mut children = self.children();
        let spawned = Command::new(&component.program)
            .args(&component.args)
            .env_clear()
            .envs(&component.env)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|e| failed(&e))?;
        let pid = Some(spawned.id() as i32);
        children.insert(name, Child { component, pid, wanted: true, restarts, last_exit });
        Ok(())
    }

    fn stop(&self, name: &str) -> Result<(), String> {
        let mut children = self.children();
        let Some(child) = children.get_mut(name) else { return Ok(()) };
        child.wanted = false;
        if let Some(pid) = child.pid {
            kill(Pid::from_raw(pid), Signal::SIGKILL)
                .map_err(|error| format!("cannot stop {name}: {error}"))?;
        }
        drop(children);
        let end = Instant::now() + Duration::from_secs(10);
        while self.children().get(name).is_some_and(|child| child.pid.is_some()) {
            if Instant::now() > end {
                return Err(format!("{name} did not end within 10 s"));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Collects every ended process: components, and the orphans that the first process inherits.
    fn reap(self: &Arc<Self>) {
        loop {
            match waitpid(None, None) {
                Ok(WaitStatus::Exited(pid, code)) => self.ended(pid, format!("exit code {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => self.ended(pid, signal.to_string()),
                Ok(_) | Err(Errno::EINTR) => {}
                // No child yet; there is no way to wait for the first one.
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    fn ended(self: &Arc<Self>, pid: Pid, how: String) {
        let mut children = self.children();
        let Some(child) = children.values_mut().find(|child| child.pid == Some(pid.as_raw())) else { return };
        eprintln!("{} ended: {how}", child.component.name);
        child.pid = None;
        child.last_exit = Some(how.clone());
        if !child.wanted || child.restarts >= MOST_RESTARTS {
            return;
        }
        let (component, restarts) = (child.component.clone(), child.restarts + 1);
        let supervisor = Arc::clone(self);
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(1));
            let still_wanted = supervisor
                .children()
                .get(&component.name)
                .is_some_and(|child| child.wanted && child.pid.is_none());
            if still_wanted && let Err(error) = supervisor.start(component, restarts, Some(how)) {
                eprintln!("{error}");
            }
        });
    }

    fn status(&self) -> Vec<ComponentStatus> {
        let children = self.children();
        let status = |(name, child): (&String, &Child)| ComponentStatus {
            name: name.clone(),
            pid: child.pid,
            restarts: child.restarts,
            last_exit: child.last_exit.clone(),
            rss_bytes: child.pid.map_or(0, rss_bytes),
        };
        children.iter().map(status).collect()
    }
}

/// Resident memory by `/proc/PID/status`, in bytes.
fn rss_bytes(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn wait_tcp(to: SocketAddr, limit: Duration) -> Result<Response, String> {
    let end = Instant::now() + limit;
    loop {
        match TcpStream::connect_timeout(&to, Duration::from_millis(500)) {
            Ok(_) => return Ok(Response::Done),
            Err(error) if Instant::now() > end => {
                return Err(format!("{to} took no connection within {} s: {error}", limit.as_secs()));
            }
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}
