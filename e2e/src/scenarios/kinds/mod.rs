//! The kinds of the fault catalogue: those of the demo, and others beside them.

mod container;
mod network;
mod node;
mod release;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::demo::DemoError;
use crate::demo::column::Stage;
use crate::faults::{self, Injected, Planned, Variant, World};
use crate::truth::{At, PodView};

pub use node::{NEIGHBOUR, small_volume};
pub use release::taken_back;

/// Which fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the catalogue says what each does")]
pub enum Kind {
    ProcessKilled,
    KilledAgain,
    Hung,
    Errors,
    ErrorsAndProbes,
    Slow,
    MemoryLeak,
    MemoryJump,
    CpuSpin,
    CpuThrottled,
    FilesExhausted,
    DnsBroken,
    NetworkSlow,
    NetworkDelay,
    PacketLoss,
    Partition,
    ConfigTypo,
    ProviderDown,
    BadRelease,
    BadReleaseAlone,
    ImageMissing,
    ProbeMisconfigured,
    QuotaExhausted,
    DiskFull,
    NoisyNeighbour,
    KubeletStopped,
}

/// How a kind is put on and taken back.
enum Way {
    /// As in the demo.
    Demo(faults::Kind, Option<Variant>),
    Leak {
        mebibytes_per_second: u32,
    },
    Container(container::What),
    Network(network::What),
    /// Late calls from one service to another.
    Delay,
    Release(release::What),
    Quota,
    DiskFull,
    Neighbour,
    Kubelet,
}

impl Kind {
    /// All, in the order of the catalogue.
    pub const ALL: [Self; 26] = [
        Self::ProcessKilled,
        Self::KilledAgain,
        Self::Hung,
        Self::Errors,
        Self::ErrorsAndProbes,
        Self::Slow,
        Self::MemoryLeak,
        Self::MemoryJump,
        Self::CpuSpin,
        Self::CpuThrottled,
        Self::FilesExhausted,
        Self::DnsBroken,
        Self::NetworkSlow,
        Self::NetworkDelay,
        Self::PacketLoss,
        Self::Partition,
        Self::ConfigTypo,
        Self::ProviderDown,
        Self::BadRelease,
        Self::BadReleaseAlone,
        Self::ImageMissing,
        Self::ProbeMisconfigured,
        Self::QuotaExhausted,
        Self::DiskFull,
        Self::NoisyNeighbour,
        Self::KubeletStopped,
    ];

    fn way(self) -> Way {
        use faults::Kind as Demo;
        let demo = |kind| Way::Demo(kind, None);
        match self {
            Self::ProcessKilled => demo(Demo::Kill),
            Self::KilledAgain => demo(Demo::KillAgain),
            Self::Hung => demo(Demo::Hang),
            Self::Errors => Way::Demo(Demo::Errors, Some(Variant::ProbesGood)),
            Self::ErrorsAndProbes => Way::Demo(Demo::Errors, Some(Variant::ProbesFailing)),
            Self::Slow => Way::Demo(Demo::Slow, Some(Variant::ProbesGood)),
            Self::MemoryLeak => Way::Leak { mebibytes_per_second: 12 },
            Self::MemoryJump => Way::Leak { mebibytes_per_second: 200 },
            Self::CpuSpin => Way::Container(container::What::Spin),
            Self::CpuThrottled => Way::Container(container::What::Throttle),
            Self::FilesExhausted => Way::Container(container::What::NoFiles),
            Self::DnsBroken => Way::Network(network::What::NoNames),
            Self::NetworkSlow => Way::Network(network::What::Slow),
            Self::NetworkDelay => Way::Delay,
            Self::PacketLoss => Way::Network(network::What::Loss),
            Self::Partition => Way::Network(network::What::Nothing),
            Self::ConfigTypo => demo(Demo::BadConfig),
            Self::ProviderDown => demo(Demo::ProviderDown),
            Self::BadRelease => Way::Release(release::What::EndsAtStart),
            Self::BadReleaseAlone => Way::Release(release::What::EndsAtStartAlone),
            Self::ImageMissing => Way::Release(release::What::NoImage),
            Self::ProbeMisconfigured => Way::Release(release::What::WrongProbe),
            Self::QuotaExhausted => Way::Quota,
            Self::DiskFull => Way::DiskFull,
            Self::NoisyNeighbour => Way::Neighbour,
            Self::KubeletStopped => Way::Kubelet,
        }
    }

    /// The only service that it can be put on, if it is not any.
    pub fn service(self) -> Option<&'static str> {
        match self.way() {
            Way::Demo(faults::Kind::ProviderDown, _) => Some(crate::demo::application::PROVIDER),
            Way::DiskFull => Some(node::SMALL),
            // It calls others, and they by their names.
            Way::Network(network::What::NoNames) => Some("order"),
            Way::Delay => Some(network::DELAYED),
            _ => None,
        }
    }

    /// Why it cannot be put on where the harness does not own the node, or has no way to its processes; `None`: it can.
    pub fn out_of_reach(self, own_node: bool, signals: bool) -> Option<&'static str> {
        match self.way() {
            Way::Container(_)
            | Way::Network(_)
            | Way::Delay
            | Way::DiskFull
            | Way::Neighbour
            | Way::Kubelet
                if !own_node =>
            {
                Some("act on the node itself")
            }
            Way::Demo(kind, _) if kind.needs_signals() && !signals => Some("signal processes"),
            _ => None,
        }
    }

    /// Callers notice nothing of a release that never gets ready: it is healed when the one before is back.
    pub fn is_taken_back(self) -> bool {
        matches!(self, Self::BadReleaseAlone)
    }

    /// Callers may notice it late, or not at all.
    pub fn takes_time(self) -> bool {
        matches!(self, Self::MemoryLeak | Self::MemoryJump)
    }
}

/// Puts the fault on.
pub async fn inject(stage: &Stage, world: &World, kind: Kind, service: &str) -> Result<Injected, DemoError> {
    let at = match kind.way() {
        Way::Demo(kind, variant) => {
            let announce = |at: At| stage.live.at(at, format!("fault     first kill of {service}"));
            return Ok(faults::inject(world, &planned(kind, variant, service), &announce).await?);
        }
        Way::Leak { mebibytes_per_second } => {
            let pod = world.serving(service).await?;
            let fault = json!({ "kind": "leak", "mebibytesPerSecond": mebibytes_per_second });
            world.switch(&pod, &fault).await?
        }
        Way::Container(what) => container::inject(stage, world, what, service).await?,
        Way::Network(what) => network::inject(stage, world, what, service).await?,
        Way::Delay => network::delay(stage, world, service).await?,
        Way::Release(what) => release::inject(world, what, service).await?,
        Way::Quota => release::exhaust_quota(stage, world, service).await?,
        Way::DiskFull => node::fill(stage)?,
        Way::Neighbour => node::neighbour(stage).await?,
        Way::Kubelet => node::stop_kubelet(stage)?,
    };
    Ok(Injected { at, second: None })
}

/// Whether the fault goes on although callers are well again: it is in a container or a pod's network that has not been
/// replaced. `before` and `now` are the service's pods; a lossy link, which retries hide for a while, would else be found
/// in the middle of the next fault.
pub fn goes_on(kind: Kind, before: &[PodView], now: &[PodView]) -> bool {
    let stayed = |same: fn(&PodView, &PodView) -> bool| {
        now.iter().any(|pod| !pod.deleting && before.iter().any(|old| same(old, pod)))
    };
    match kind.way() {
        Way::Container(_) => stayed(|old, pod| old.running.is_some() && old.running == pod.running),
        Way::Network(_) | Way::Delay => stayed(|old, pod| old.uid == pod.uid),
        _ => false,
    }
}

/// Takes back what is still on. `healed` spares what is well again.
pub async fn restore(
    stage: &Stage,
    world: &World,
    kind: Kind,
    service: &str,
    healed: bool,
) -> Result<(), DemoError> {
    match kind.way() {
        Way::Demo(kind, variant) => {
            return Ok(faults::restore(world, &planned(kind, variant, service), healed).await?);
        }
        Way::Leak { .. } => world.faults_off(service).await?,
        Way::Container(_) | Way::Network(_) if healed => {}
        Way::Container(_) | Way::Network(_) => world.replace_pods(service).await?,
        Way::Delay => {
            // Where the pod was replaced it still sits in what is left of the old one's network.
            world.helper.end().await;
            if !healed {
                world.replace_pods(service).await?;
            }
        }
        Way::Release(_) => release::restore(world, service).await?,
        Way::Quota => {
            release::lift_quota(world).await?;
            // Its ReplicaSet would wait for minutes before it tries again; a new one does not.
            world.roll(service).await?;
        }
        Way::DiskFull => {
            node::empty(stage)?;
            world.replace_pods(service).await?;
        }
        Way::Neighbour => node::remove_neighbour(stage).await?,
        Way::Kubelet => node::start_kubelet(stage)?,
    }
    Ok(())
}

fn planned(kind: faults::Kind, variant: Option<Variant>, service: &str) -> Planned {
    Planned { kind, variant, service: service.to_owned(), pause: std::time::Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::truth::pods::tests::pod;

    #[test]
    fn on_a_cluster_of_ones_own_only_what_needs_the_node_is_out_of_reach() {
        use Kind as K;
        let out =
            |signals| Kind::ALL.into_iter().filter(move |kind| kind.out_of_reach(false, signals).is_some());
        let node = [
            K::CpuSpin,
            K::CpuThrottled,
            K::FilesExhausted,
            K::DnsBroken,
            K::NetworkSlow,
            K::NetworkDelay,
            K::PacketLoss,
            K::Partition,
            K::DiskFull,
            K::NoisyNeighbour,
            K::KubeletStopped,
        ];
        assert_eq!(out(true).collect::<Vec<_>>(), node);
        let signalled = [K::ProcessKilled, K::KilledAgain, K::Hung, K::ConfigTypo];
        assert!(
            signalled.into_iter().all(|kind| kind.out_of_reach(false, false) == Some("signal processes"))
        );
        assert_eq!(out(false).count(), node.len() + signalled.len());
        assert!(Kind::ALL.into_iter().all(|kind| kind.out_of_reach(true, true).is_none()));
    }

    #[test]
    fn a_fault_goes_on_until_what_it_is_in_is_replaced() {
        let before = [pod("a", Some("c-1"), true)];
        let restarted = [pod("a", Some("c-2"), true)];
        let leaving =
            [PodView { deleting: true, ..pod("a", Some("c-1"), true) }, pod("b", Some("c-3"), true)];
        assert!(goes_on(Kind::PacketLoss, &before, &before));
        assert!(goes_on(Kind::PacketLoss, &before, &restarted), "a new container has the old network");
        assert!(!goes_on(Kind::PacketLoss, &before, &leaving));
        assert!(goes_on(Kind::NetworkDelay, &before, &restarted));
        assert!(!goes_on(Kind::NetworkDelay, &before, &leaving));
        assert!(goes_on(Kind::CpuThrottled, &before, &before));
        assert!(!goes_on(Kind::CpuThrottled, &before, &restarted));
        assert!(!goes_on(Kind::ProcessKilled, &before, &before), "it is over at once");
    }
}
