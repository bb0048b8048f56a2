//! Who decides when runs start: one list, all on the same world.

mod earliest;
mod fixed;
mod hpa;
mod keda;
mod ours;

use crate::shapes::Catalogue;
use crate::world::Tag;
use homeostat_scale::jobs::{Outcome, Settings, Size, Usage};

/// A run as the queue's message tells it.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    pub run: u32,
    pub tenant: u32,
    pub kind: usize,
    pub slot_ms: i64,
    pub due_ms: i64,
}

/// What a policy sees.
#[derive(Clone, Copy, Debug)]
pub enum Seen {
    /// A calendar fired.
    Due(Info),
    /// The run's message is in the queue: nothing that it needs is missing, or it is to be tried again.
    Ready(Info),
    Ended {
        info: Info,
        outcome: Outcome,
        ran_ms: i64,
        usage: Usage,
        tag: Tag,
    },
    PodReady(u32),
    Tick,
}

/// What a policy orders.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// A pod for one run.
    Run { run: u32, size: Size },
    /// A pod of its own pool.
    Pool { pool: u32, size: Size },
    /// A run for a ready pod of the pool, which takes so much longer there.
    Assign { pool: u32, run: u32, slower: f64 },
    /// A pod leaves the pool once it is idle.
    Remove { pool: u32 },
}

impl Order {
    /// The order as numbers, for a digest.
    pub fn words(&self) -> [u64; 4] {
        match *self {
            Self::Run { run, size } => [1, u64::from(run), size.millicores, size.mebibytes],
            Self::Pool { pool, size } => [2, u64::from(pool), size.millicores, size.mebibytes],
            Self::Assign { pool, run, slower } => [3, u64::from(pool), u64::from(run), slower.to_bits()],
            Self::Remove { pool } => [4, u64::from(pool), 0, 0],
        }
    }
}

pub trait Policy {
    /// Distance of its looks at the world, for those that poll.
    fn period_ms(&self) -> Option<i64> {
        None
    }
    fn begin(&mut self, _now: i64, _orders: &mut Vec<Order>) {}
    fn decide(&mut self, now: i64, seen: &[Seen], orders: &mut Vec<Order>);
}

/// Every policy that is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// The planner of this crate.
    Homeostat,
    /// Earliest deadline first, free dispatch, no learning.
    Earliest,
    /// One machine of so many vCPU per tenant.
    Fixed(u64),
    /// Horizontal Pod Autoscaler on the CPU of shared workers, at this utilisation.
    HpaCpu(u32),
    /// The same on messages per worker.
    HpaQueue(u32),
    /// KEDA `ScaledJob` with this target of messages per Job and most Jobs per kind.
    Keda(u32, u32),
}

impl Kind {
    /// In the order of the table; those of one name are a sweep, of which the best counts.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Fixed(4), Self::Fixed(2)];
        all.extend((4..=9).map(|tenth| Self::HpaCpu(tenth * 10)));
        all.extend([1, 2, 4, 8].map(Self::HpaQueue));
        for most in [8, 12, 100] {
            all.extend([1, 2, 4].map(|target| Self::Keda(target, most)));
        }
        all.extend([Self::Earliest, Self::Homeostat]);
        all
    }

    pub fn name(self) -> String {
        match self {
            Self::Homeostat => "homeostat".to_owned(),
            Self::Earliest => "earliest-deadline-first".to_owned(),
            Self::Fixed(vcpu) => format!("fixed-{vcpu}-vcpu"),
            Self::HpaCpu(_) | Self::HpaQueue(_) => "hpa".to_owned(),
            Self::Keda(..) => "keda-scaledjob".to_owned(),
        }
    }

    pub fn target(self) -> String {
        match self {
            Self::HpaCpu(target) => format!("CPU {target} %"),
            Self::HpaQueue(target) => format!("{target} messages per worker"),
            Self::Keda(target, most) => format!("{target} messages per Job, at most {most} Jobs"),
            _ => String::new(),
        }
    }

    /// Whether the tenant's always-on part runs inside its machine.
    pub fn always_on_inside(self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    pub fn build(
        self,
        catalogue: &Catalogue,
        capacity: Size,
        tenants: u32,
        settings: Settings,
    ) -> Box<dyn Policy> {
        let left = crate::world::left(catalogue, capacity, tenants);
        match self {
            Self::Homeostat => Box::new(ours::Ours::new(catalogue, left, tenants, settings)),
            Self::Earliest => Box::new(earliest::Earliest::new(catalogue, left)),
            Self::Fixed(vcpu) => Box::new(fixed::Fixed::new(catalogue, capacity, tenants, vcpu)),
            Self::HpaCpu(target) => Box::new(hpa::Hpa::new(catalogue, left, hpa::Target::Cpu(target))),
            Self::HpaQueue(target) => Box::new(hpa::Hpa::new(catalogue, left, hpa::Target::Queue(target))),
            Self::Keda(target, most) => Box::new(keda::Keda::new(catalogue, target, most)),
        }
    }
}

/// What a manifest would ask for: the catalogue's size with a quarter more memory.
fn manifest(catalogue: &Catalogue, kind: usize) -> Size {
    let size = catalogue.kinds[kind].size;
    Size { mebibytes: size.mebibytes * 5 / 4, ..size }
}
