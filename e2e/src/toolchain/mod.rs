//! The pieces of a real Kubernetes on this machine: found, unpacked from the distribution's packages, or
//! built from public Go modules. Everything is kept in a cache outside the clone, with versions in the
//! path; nothing is installed into the system and no service is started.

mod debian;
mod files;
mod go;
mod path;
mod table;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use table::Piece;
use table::Source;

use crate::progress::Progress;

/// Why a piece could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// No source of a piece works here.
    #[error(
        "this machine lacks {piece}, which the test cluster needs: {reasons}. \
         Either {remedy}, or use a cluster of your own with CONTEXT=name (a context of your kubeconfig)"
    )]
    Nowhere {
        /// The piece.
        piece: Piece,
        /// Why each source failed.
        reasons: String,
        /// How to get it.
        remedy: &'static str,
    },
    /// A program could not be run.
    #[error("cannot run `{command}`: {source}")]
    Run {
        /// The command line.
        command: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A program ended badly.
    #[error("`{command}` failed: {output}")]
    Failed {
        /// The command line.
        command: String,
        /// The end of its output.
        output: String,
    },
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// The attempted operation.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// There is no place for the cache.
    #[error("no cache folder: set HOMEOSTAT_CACHE, XDG_CACHE_HOME or HOME")]
    NoCache,
}

impl ToolchainError {
    fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { action, path, source }
    }
}

/// The folders of the pieces that a cluster runs on. Each holds the piece's programs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tools {
    /// etcd, the Kubernetes components and kubectl.
    pub kubernetes: PathBuf,
    /// containerd, its shim and ctr.
    pub containerd: PathBuf,
    /// 1 or 2: decides the format of its configuration.
    pub containerd_major: u32,
    /// runc.
    pub runc: PathBuf,
    /// The CNI plugins.
    pub cni: PathBuf,
    /// iptables, iptables-save and iptables-restore.
    pub iptables: PathBuf,
    /// `CoreDNS`.
    pub coredns: PathBuf,
    /// The pause program.
    pub pause: PathBuf,
}

impl Tools {
    /// Finds or makes every piece, slow builds beside quick downloads.
    pub fn ensure(progress: &Progress) -> Result<Self, ToolchainError> {
        let (built, unpacked) = std::thread::scope(|scope| {
            let builds =
                scope.spawn(|| ensure_all(&[Piece::Kubernetes, Piece::CoreDns, Piece::Pause], progress));
            let unpacked =
                ensure_all(&[Piece::Containerd, Piece::Runc, Piece::CniPlugins, Piece::Iptables], progress);
            (builds.join(), unpacked)
        });
        let built = match built {
            Ok(result) => result?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let [kubernetes, coredns, pause] = built;
        let [containerd, runc, cni, iptables] = unpacked?;
        let containerd_major = path::containerd_major(&containerd)?;
        Ok(Self { kubernetes, containerd, containerd_major, runc, cni, iptables, coredns, pause })
    }

    /// Every folder of a piece.
    pub fn folders(&self) -> Vec<PathBuf> {
        [
            &self.kubernetes,
            &self.containerd,
            &self.runc,
            &self.cni,
            &self.iptables,
            &self.coredns,
            &self.pause,
        ]
        .into_iter()
        .cloned()
        .collect()
    }

    /// The value of `PATH` with which components find each other, before the system's own folders.
    pub fn search_path(&self) -> String {
        let own = [&self.kubernetes, &self.containerd, &self.runc, &self.iptables];
        let mut path: Vec<String> = own.iter().map(|dir| dir.display().to_string()).collect();
        path.push("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        path.join(":")
    }
}

fn ensure_all<const N: usize>(
    pieces: &[Piece; N],
    progress: &Progress,
) -> Result<[PathBuf; N], ToolchainError> {
    let mut folders: [PathBuf; N] = std::array::from_fn(|_| PathBuf::new());
    for (folder, piece) in folders.iter_mut().zip(pieces) {
        *folder = ensure(*piece, progress)?;
    }
    Ok(folders)
}

/// The folder with the programs of `piece`, which is found, unpacked or built if it is not there yet.
pub fn ensure(piece: Piece, progress: &Progress) -> Result<PathBuf, ToolchainError> {
    let cache = cache_dir()?;
    if let Some(found) = cached(piece, &cache)? {
        return Ok(found);
    }
    fs::create_dir_all(cache.join(".partial")).map_err(ToolchainError::file("create", &cache))?;
    // Two processes that want the same piece: the second finds what the first made.
    let lock_path = cache.join(format!(".{piece}.lock"));
    let lock = File::create(&lock_path).map_err(ToolchainError::file("create", &lock_path))?;
    lock.lock().map_err(ToolchainError::file("lock", &lock_path))?;
    if let Some(found) = cached(piece, &cache)? {
        return Ok(found);
    }

    let mut reasons = Vec::new();
    for source in piece.sources() {
        let started = Instant::now();
        let result = match source {
            Source::OnPath(wanted) => path::find(wanted),
            Source::Debian(package) => debian::unpack(package, &cache, progress),
            Source::Go(module) => go::build(module, &cache, progress),
            Source::Files(wanted) => files::fetch(wanted, &cache, progress),
        };
        match result {
            Ok(folder) => {
                progress.done(&format!("{piece} from {}", folder.display()), started.elapsed());
                return Ok(folder);
            }
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(ToolchainError::Nowhere { piece, reasons: reasons.join("; "), remedy: piece.remedy() })
}

/// What an earlier run left in the cache; sources are asked in their order.
fn cached(piece: Piece, cache: &Path) -> Result<Option<PathBuf>, ToolchainError> {
    for source in piece.sources() {
        let found = match source {
            Source::OnPath(wanted) => path::find(wanted).ok(),
            Source::Debian(package) => debian::cached(package, cache),
            Source::Go(module) => go::cached(module, cache)?,
            Source::Files(wanted) => files::cached(wanted, cache),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// `$HOMEOSTAT_CACHE`, `$XDG_CACHE_HOME/homeostat` or `~/.cache/homeostat`.
pub fn cache_dir() -> Result<PathBuf, ToolchainError> {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    var("HOMEOSTAT_CACHE")
        .or_else(|| var("XDG_CACHE_HOME").map(|dir| dir.join("homeostat")))
        .or_else(|| var("HOME").map(|dir| dir.join(".cache/homeostat")))
        .ok_or(ToolchainError::NoCache)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_pieces_come_before_the_systems() {
        let tools = Tools { kubernetes: "/k".into(), iptables: "/i".into(), ..Tools::default() };
        let path = tools.search_path();
        assert!(path.find("/k:").unwrap() < path.find("/usr/bin").unwrap());
        assert!(path.find("/i:").unwrap() < path.find("/usr/sbin").unwrap());
    }
}
