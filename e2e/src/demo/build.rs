//! Programs, images and the cluster: what must be there before the first column.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use clap::ValueEnum;
use kube::Client;
use kube::config::KubeConfigOptions;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::live::Live;
use super::platform::{Platform, run};
use super::{DemoError, Place};
use crate::cluster::{Cluster, ClusterError, Options};
use crate::image::{self, ImageSpec};
use crate::progress::Progress;
use crate::toolchain::{self, Piece, Tools};

/// Cargo profile of the programs under test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Profile {
    /// Optimised, as users run it.
    #[default]
    Release,
    /// Quick to build.
    Dev,
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "debug",
        }
    }
}

/// Programs under test.
pub struct Built {
    /// The sample application.
    pub application: PathBuf,
    /// Homeostat, when its column is shown.
    pub homeostat: Option<PathBuf>,
}

/// Where cargo puts a program.
pub fn program(place: &Place, name: &str) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| place.root.join("target"), PathBuf::from);
    target.join(place.profile.folder()).join(name)
}

/// Builds the programs, saying how far it is.
pub async fn programs(place: &Place, live: &Live, homeostat: bool) -> Result<Built, DemoError> {
    let mut packages = vec!["food-delivery"];
    if homeostat {
        packages.push("homeostat");
    }
    let built = Built {
        application: program(place, "food-delivery"),
        homeostat: homeostat.then(|| program(place, "homeostat")),
    };
    if place.no_build {
        for path in std::iter::once(&built.application).chain(&built.homeostat) {
            std::fs::metadata(path).map_err(DemoError::io("use", path))?;
        }
        return Ok(built);
    }
    compile(place, live, &packages).await?;
    Ok(built)
}

/// Builds the water utility's programs and Homeostat. One after the other: built together with others Homeostat's own
/// dependencies would get other features, and be built again for each command.
pub async fn with_water(place: &Place, live: &Live) -> Result<(), DemoError> {
    if place.no_build {
        return Ok(());
    }
    compile(place, live, &["food-delivery", "homeostat"]).await?;
    compile(place, live, &["water-dss"]).await
}

async fn compile(place: &Place, live: &Live, packages: &[&str]) -> Result<(), DemoError> {
    live.say(format!("build     {} ({})", packages.join(" and "), place.profile.folder()));
    let began = Instant::now();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build").current_dir(&place.root);
    if place.profile == Profile::Release {
        cargo.arg("--release");
    }
    for package in packages {
        cargo.args(["--package", package]);
    }
    cargo.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = cargo.spawn().map_err(DemoError::io("run", Path::new("cargo")))?;
    let mut last = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let mut lines = BufReader::new(stderr).lines();
        let (mut compiled, mut told) = (0, Instant::now());
        while let Ok(Some(line)) = lines.next_line().await {
            compiled += usize::from(line.trim_start().starts_with("Compiling"));
            if told.elapsed().as_secs() >= 5 && compiled > 0 {
                told = Instant::now();
                live.say(format!("build     {compiled} crates, {:.0} s", began.elapsed().as_secs_f64()));
            }
            last.push(line);
            if last.len() > 40 {
                last.remove(0);
            }
        }
    }
    let status = child.wait().await.map_err(DemoError::io("wait for", Path::new("cargo")))?;
    if !status.success() {
        return Err(DemoError::Command { command: "cargo build".to_owned(), output: last.join("\n") });
    }
    live.say(format!("build     done in {:.0} s", began.elapsed().as_secs_f64()));
    Ok(())
}

/// What the test cluster is made of, and helm, while the programs are compiled: Go needs minutes for it once.
pub async fn pieces(place: &Place) -> Result<(), DemoError> {
    if place.context.is_some() {
        return Ok(());
    }
    let ensure = || {
        let progress = Progress::default();
        Tools::ensure(&progress).and_then(|_tools| toolchain::ensure(Piece::Helm, &progress))
    };
    match tokio::task::spawn_blocking(ensure).await {
        Ok(found) => Ok(found.map(drop).map_err(ClusterError::from)?),
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// The cluster, started if need be.
pub async fn platform(place: &Place, live: &Live) -> Result<Platform, DemoError> {
    let Some(context) = &place.context else {
        live.say(format!("cluster   starting `{}` (or using the one that runs)", place.name));
        let cluster = Cluster::up(&place.name, &Options::default()).await?;
        let client = cluster.client().await?;
        return Ok(Platform::Own { cluster: Box::new(cluster), client });
    };
    needed(&[("kubectl", "kubernetes")]).await?;
    tokio::task::block_in_place(|| toolchain::ensure(Piece::Helm, &Progress::default()))
        .map_err(ClusterError::from)?;
    // Already installed by an earlier call: the first one stays.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let unusable = |reason: String| DemoError::Context { context: context.clone(), reason };
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let config =
        kube::Config::from_kubeconfig(&options).await.map_err(|error| unusable(error.to_string()))?;
    let client = Client::try_from(config).map_err(|error| unusable(error.to_string()))?;
    client.apiserver_version().await.map_err(|error| unusable(error.to_string()))?;
    let mut platform = Platform::Context {
        name: context.clone(),
        client: client.clone(),
        registry: place.registry.clone(),
        helper: false,
    };
    match signals_helper(place, &platform).await {
        Ok(()) => {
            if let Platform::Context { helper, .. } = &mut platform {
                *helper = true;
            }
        }
        Err(error) => live.say(format!("cluster   no helper for signals: {error}")),
    }
    Ok(platform)
}

/// Programs that a cluster of the user's own is worked on with, and the pieces that hold them; asked for before anything is put there.
async fn needed(programs: &[(&str, &str)]) -> Result<(), DemoError> {
    for (program, piece) in programs {
        let mut command = tokio::process::Command::new(program);
        command.arg("--help").stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        if command.status().await.is_err() {
            return Err(DemoError::Broken(format!(
                "{program} is not on the PATH: install it, or build it with `cargo run --package homeostat-e2e -- piece {piece}` \
                 and put the folder that this prints on the PATH"
            )));
        }
    }
    Ok(())
}

/// A privileged pod per node that can signal processes, where the user's cluster allows it.
async fn signals_helper(place: &Place, platform: &Platform) -> Result<(), DemoError> {
    let own = crate::program::path().map_err(DemoError::io("find", Path::new("this program")))?;
    let out = place.root.join("target/demo");
    std::fs::create_dir_all(&out).map_err(DemoError::io("create", &out))?;
    let image = self::image(platform, &own, "e2e", &out).await?;
    let path = place.root.join("e2e/demo/injector.yaml");
    let manifest = std::fs::read_to_string(&path).map_err(DemoError::io("read", &path))?;
    platform.apply(&manifest.replace("IMAGE", &image)).await?;
    let mut rollout = platform.kubectl();
    let namespace = crate::faults::signals::HELPER_NAMESPACE;
    rollout.args(["--namespace", namespace, "rollout", "status", "daemonset/signals", "--timeout=60s"]);
    run(rollout, None).await.map(drop)
}

/// Makes an image of one program and brings it to the cluster; returns its name there. The tag is its
/// content, so that an older image of the same name is never used.
pub async fn image(platform: &Platform, program: &Path, name: &str, out: &Path) -> Result<String, DemoError> {
    let tar = out.join(format!("{name}.tar"));
    let spec = |reference: &str| {
        let mut spec = ImageSpec::program(reference, program)?;
        // The program may be a copy under another name.
        let path = format!("/{name}");
        for file in &mut spec.files {
            file.path.clone_from(&path);
        }
        spec.entrypoint = vec![path];
        Ok::<_, DemoError>(spec)
    };
    let digest = image::build(&spec(&format!("homeostat.dev/{name}:new"))?, &tar)?;
    let tag: String = digest.rsplit(':').next().unwrap_or_default().chars().take(12).collect();
    let reference = format!("homeostat.dev/{name}:{tag}");
    image::build(&spec(&reference)?, &tar)?;
    platform.load_image(&reference, &tar).await
}

/// Takes away what a run left on a cluster of the user's own, apart from Homeostat's definitions.
pub async fn tidy(platform: &Platform) -> Result<(), DemoError> {
    if platform.own().is_some() {
        return Ok(());
    }
    let mut kubectl = platform.kubectl();
    let namespace = crate::faults::signals::HELPER_NAMESPACE;
    kubectl.args(["delete", "namespace", namespace, "--ignore-not-found", "--wait=false"]);
    run(kubectl, None).await.map(drop)
}
