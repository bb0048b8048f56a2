//! Inside the cluster's own mount, network and PID namespaces: what they show and how they are wired.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};

use super::error::ClusterError;
use super::layout::{BRIDGE, Layout, NODE_IP};

/// Gives the cluster its own `/proc`, `/run`, `/var/lib` and `/var/log`, so that the fixed paths of
/// kubelet, containerd and the CNI plugins are its own and vanish with it.
///
/// `keep`: files and folders that must stay visible if they lie below a replaced folder.
pub fn mount_own(layout: &Layout, keep: &[PathBuf]) -> Result<(), ClusterError> {
    // Nothing mounted here reaches the host; inside, mounts propagate as the kubelet expects.
    change("/", MsFlags::MS_REC | MsFlags::MS_SLAVE)?;
    change("/", MsFlags::MS_REC | MsFlags::MS_SHARED)?;
    let none: Option<&str> = None;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none)
        .map_err(ClusterError::system("mount /proc"))?;
    mount(Some("run"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
        .map_err(ClusterError::system("mount /run"))?;

    for (folder, own) in [("/var/lib", layout.var_lib()), ("/var/log", layout.var_log())] {
        for path in keep {
            let Ok(rest) = path.strip_prefix(folder) else { continue };
            let target = own.join(rest);
            if path.is_dir() {
                fs::create_dir_all(&target).map_err(ClusterError::file("create", &target))?;
            } else {
                let parent = target.parent().unwrap_or(&own);
                fs::create_dir_all(parent).map_err(ClusterError::file("create", parent))?;
                fs::write(&target, "").map_err(ClusterError::file("create", &target))?;
            }
            bind(path, &target)?;
        }
        bind(&own, Path::new(folder))?;
    }
    Ok(())
}

fn change(path: &str, flags: MsFlags) -> Result<(), ClusterError> {
    let none: Option<&str> = None;
    mount(none, path, none, flags, none)
        .map_err(ClusterError::system(format!("change the mount propagation of {path}")))
}

fn bind(from: &Path, to: &Path) -> Result<(), ClusterError> {
    let none: Option<&str> = None;
    mount(Some(from), to, none, MsFlags::MS_BIND | MsFlags::MS_REC, none)
        .map_err(ClusterError::system(format!("mount {} on {}", from.display(), to.display())))
}

/// The commands for `ip -batch` that wire the network namespace.
fn wiring() -> String {
    // The bridge's own address stays the same when pods come and go, so that neighbours stay valid.
    format!(
        "link set lo up\n\
         link add {BRIDGE} address 02:42:0a:f4:00:01 type bridge\n\
         address add {NODE_IP}/24 dev {BRIDGE}\n\
         link set {BRIDGE} up\n\
         route add default dev {BRIDGE}\n"
    )
}

/// Loopback, the bridge, a default route and forwarding.
pub fn wire_network() -> Result<(), ClusterError> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ClusterError::system("run `ip`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(wiring().as_bytes()).map_err(ClusterError::system("write to `ip`"))?;
    }
    let output = child.wait_with_output().map_err(ClusterError::system("wait for `ip`"))?;
    if !output.status.success() {
        return Err(ClusterError::Command {
            command: "ip -batch".into(),
            status: output.status.to_string(),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    let forward = Path::new("/proc/sys/net/ipv4/ip_forward");
    fs::write(forward, "1").map_err(ClusterError::file("write", forward))?;
    if bridged_packets_are_filtered() {
        let path = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
        fs::write(path, "1").map_err(ClusterError::file("write", path))?;
    }
    Ok(())
}

/// Whether the kernel shows bridged packets to the firewall, as Services on one bridge need.
pub fn bridged_packets_are_filtered() -> bool {
    Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables").exists()
}
