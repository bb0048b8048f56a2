//! Faults from outside: one file per kind, each with its exact time, and how it is taken back.

pub mod bad_config;
pub mod errors;
pub mod hang;
pub mod helper;
pub mod kill;
pub mod kill_again;
pub mod leak;
pub mod provider_down;
pub mod schedule;
pub mod signals;
pub mod slow;
pub mod world;

use std::fmt;
use std::time::Duration;

use crate::truth::At;
pub use world::{FaultError, World};

/// The fault kinds, numbered as in the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The process is killed.
    Kill,
    /// It is killed again as soon as it serves again, so that the kubelet backs off.
    KillAgain,
    /// It is stopped (SIGSTOP): accepts connections and answers nothing.
    Hang,
    /// Business paths answer 500.
    Errors,
    /// Answers come 2 s late.
    Slow,
    /// Memory grows up to the limit.
    Leak,
    /// Its `ConfigMap` is broken and the process killed: it ends at every start.
    BadConfig,
    /// The payment provider is gone; the application's own services are healthy.
    ProviderDown,
}

impl Kind {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Kill,
        Self::KillAgain,
        Self::Hang,
        Self::Errors,
        Self::Slow,
        Self::Leak,
        Self::BadConfig,
        Self::ProviderDown,
    ];

    /// 1 to 8.
    pub fn number(self) -> u8 {
        match self {
            Self::Kill => 1,
            Self::KillAgain => 2,
            Self::Hang => 3,
            Self::Errors => 4,
            Self::Slow => 5,
            Self::Leak => 6,
            Self::BadConfig => 7,
            Self::ProviderDown => 8,
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Kill => "process killed",
            Self::KillAgain => "killed again after its restart",
            Self::Hang => "hung (SIGSTOP)",
            Self::Errors => "answers 500",
            Self::Slow => "2 s slower",
            Self::Leak => "memory leak",
            Self::BadConfig => "broken ConfigMap",
            Self::ProviderDown => "payment provider down",
        }
    }

    /// Faults of which some leave the probes good and some do not.
    pub fn has_variants(self) -> bool {
        matches!(self, Self::Errors | Self::Slow)
    }

    /// Somebody other than a person can heal it.
    pub fn can_be_healed(self) -> bool {
        !matches!(self, Self::BadConfig | Self::ProviderDown)
    }

    /// So many effects of Homeostat can be useful; what comes after them did not help or was not needed. One repair heals;
    /// a pod that backs off or grows may be followed up once; a broken configuration is handed over after two restarts; and
    /// nothing that is broken with the provider can be restarted by anybody.
    pub fn useful_effects(self) -> usize {
        match self {
            Self::Kill | Self::Hang | Self::Errors | Self::Slow => 1,
            Self::KillAgain | Self::Leak | Self::BadConfig => 2,
            Self::ProviderDown => 0,
        }
    }

    /// It needs signals to processes on the node.
    pub fn needs_signals(self) -> bool {
        matches!(self, Self::Kill | Self::KillAgain | Self::Hang | Self::BadConfig)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number(), self.words())
    }
}

/// Whether the probes see errors and slowness too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Variant {
    /// Probe paths answer as if all were well.
    ProbesGood,
    /// Probe paths suffer too.
    ProbesFailing,
}

impl Variant {
    /// As in the result.
    pub fn name(self) -> &'static str {
        match self {
            Self::ProbesGood => "probesGood",
            Self::ProbesFailing => "probesFailing",
        }
    }
}

/// One fault to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Which.
    pub kind: Kind,
    /// Which variant, for kinds that have some.
    pub variant: Option<Variant>,
    /// What is broken: a service, or the provider.
    pub service: String,
    /// Pause before it, once everything is calm.
    pub pause: Duration,
}

/// A fault that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    /// When.
    pub at: At,
    /// When the second kill came.
    pub second: Option<At>,
}

impl Injected {
    fn at(at: At) -> Self {
        Self { at, second: None }
    }
}

/// Does it. Returns when the fault is on and its time is known. `announce` is called with the time of
/// a first kill, before the wait for the second.
pub async fn inject(
    world: &World,
    fault: &Planned,
    announce: &(dyn Fn(At) + Sync),
) -> Result<Injected, FaultError> {
    let service = fault.service.as_str();
    let probes = fault.variant == Some(Variant::ProbesFailing);
    match fault.kind {
        Kind::Kill => kill::inject(world, service).await,
        Kind::KillAgain => kill_again::inject(world, service, announce).await,
        Kind::Hang => hang::inject(world, service).await,
        Kind::Errors => errors::inject(world, service, probes).await,
        Kind::Slow => slow::inject(world, service, probes).await,
        Kind::Leak => leak::inject(world, service).await,
        Kind::BadConfig => bad_config::inject(world, service).await,
        Kind::ProviderDown => provider_down::inject(world, service).await,
    }
}

/// Takes back what the fault changed, wherever it is still on. `healed` spares what is well again.
pub async fn restore(world: &World, fault: &Planned, healed: bool) -> Result<(), FaultError> {
    let service = fault.service.as_str();
    match fault.kind {
        Kind::Kill | Kind::KillAgain => Ok(()),
        Kind::Hang => hang::restore(world, service).await,
        Kind::Errors | Kind::Slow | Kind::Leak => world.faults_off(service).await,
        Kind::BadConfig => bad_config::restore(world, service).await,
        Kind::ProviderDown => return provider_down::restore(world, service).await,
    }?;
    if healed {
        return Ok(());
    }
    world.replace_pods(service).await
}
