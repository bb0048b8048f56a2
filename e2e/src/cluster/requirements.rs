//! What the test cluster needs from the machine besides its pieces.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::cgroup;
use super::error::ClusterError;

/// What must be true, in the order in which it is told.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Whether the caller is root.
    pub root: bool,
    /// Programs that were looked for and not found, with their packages.
    pub missing_programs: Vec<(&'static str, &'static str)>,
    /// Controllers that no cgroup hierarchy offers.
    pub missing_controllers: Vec<&'static str>,
    /// Whether the kernel has overlay mounts.
    pub overlay: bool,
    /// Whether the kernel has network, PID and mount namespaces.
    pub namespaces: bool,
}

impl Machine {
    /// This machine.
    pub fn look() -> Result<Self, ClusterError> {
        let programs =
            [("ip", "iproute2"), ("nsenter", "util-linux"), ("mount", "mount"), ("ldd", "libc-bin")];
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<_> =
            std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
        let here = |name: &str| folders.iter().any(|dir| dir.join(name).is_file());
        if !has_overlay() {
            // Where it is a module, the first use loads it; whether that worked is asked below.
            let _ = Command::new("modprobe").arg("overlay").output();
        }
        Ok(Self {
            root: nix::unistd::geteuid().is_root(),
            missing_programs: programs.into_iter().filter(|(name, _)| !here(name)).collect(),
            missing_controllers: cgroup::missing_controllers()?,
            overlay: has_overlay(),
            namespaces: ["net", "pid", "mnt"]
                .iter()
                .all(|name| Path::new("/proc/self/ns").join(name).exists()),
        })
    }

    /// The first thing that is missing, with both ways out.
    pub fn check(&self) -> Result<(), ClusterError> {
        let missing = |piece: &str, why: &str, remedy: &str| {
            Err(ClusterError::Missing { piece: piece.into(), why: why.into(), remedy: remedy.into() })
        };
        if !self.root {
            return missing(
                "root rights",
                "the cluster makes namespaces, cgroups and mounts",
                "run it with sudo",
            );
        }
        if let Some((program, package)) = self.missing_programs.first() {
            let remedy = format!("install the package {package}");
            return missing(program, "the node is wired with it", &remedy);
        }
        if !self.namespaces {
            return missing(
                "namespaces in the kernel",
                "the cluster is isolated by them",
                "boot another kernel",
            );
        }
        if !self.missing_controllers.is_empty() {
            let piece = format!("the cgroup controllers {}", self.missing_controllers.join(", "));
            let remedy = "enable them on the kernel's command line or mount them below /sys/fs/cgroup";
            return missing(&piece, "pods' limits are enforced by them", remedy);
        }
        if !self.overlay {
            return missing(
                "overlay mounts in the kernel",
                "images are unpacked on them",
                "run `modprobe overlay`",
            );
        }
        Ok(())
    }
}

fn has_overlay() -> bool {
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    filesystems.lines().any(|line| line.trim_end().ends_with("overlay"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Machine {
        Machine {
            root: true,
            missing_programs: Vec::new(),
            missing_controllers: Vec::new(),
            overlay: true,
            namespaces: true,
        }
    }

    #[test]
    fn each_missing_thing_is_named_with_both_ways_out() {
        let cases = [
            (Machine { root: false, ..good() }, "root", "sudo"),
            (Machine { missing_programs: vec![("ip", "iproute2")], ..good() }, "ip", "iproute2"),
            (Machine { missing_controllers: vec!["memory"], ..good() }, "memory", "command line"),
            (Machine { overlay: false, ..good() }, "overlay", "modprobe"),
            (Machine { namespaces: false, ..good() }, "namespaces", "kernel"),
        ];
        assert!(good().check().is_ok());
        for (machine, piece, remedy) in cases {
            let text = machine.check().unwrap_err().to_string();
            assert!(text.contains(piece) && text.contains(remedy) && text.contains("CONTEXT=name"), "{text}");
        }
    }
}
