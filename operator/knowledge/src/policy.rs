//! What people allow, after validation. Nobody past the border reads the raw resources.

mod allowance;
mod container;
mod control;
mod hysteresis;
mod runs;
mod signal;
mod step;

pub use allowance::Allowance;
pub use control::{
    BreakerLatch, ControlPolicy, KillSwitch, PrometheusPolicy, ProtectedPolicy, RESET_BREAKER, SecretKey,
};
pub use hysteresis::Hysteresis;
pub use runs::{BACKLOG, RunItems, RunRules};
pub use signal::{Across, ExternalPolicy, HEARTBEAT, HeartbeatPolicy, Measures, MetricPolicy, SignalPolicy};
pub use step::ReplicaStep;

use crate::action::ActionKind;
use crate::entity::{Name, TenantName, WorkloadKey};
use crate::ids::Uid;
use crate::records::{Amounts, ControllerKey};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The reserved tenant that actions on nodes belong to. It owns Homeostat's own namespace and nothing else.
pub const PLATFORM_TENANT: &str = "platform";

/// How far automation may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// L0: findings and incidents only.
    Observe,
    /// L1: say what would be done, with a dry run. The default.
    #[default]
    Recommend,
    /// L2: act after a person approved.
    Approve,
    /// L3: act alone where it is reversible and small.
    ActBounded,
    /// L4: also what is large or cannot be undone.
    ActFull,
}

impl Level {
    /// The name as written in resources.
    pub fn name(self) -> &'static str {
        match self {
            Self::Observe => "Observe",
            Self::Recommend => "Recommend",
            Self::Approve => "Approve",
            Self::ActBounded => "ActBounded",
            Self::ActFull => "ActFull",
        }
    }
}

/// Limits that the guards compare with. `Default` is what ships.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardLimits {
    /// Actions under way per workload.
    pub in_flight_per_workload: u32,
    /// Actions under way per tenant.
    pub in_flight_per_tenant: u32,
    /// Effects per workload and hour.
    pub per_workload_hour: u32,
    /// Effects per tenant and hour.
    pub per_tenant_hour: u32,
    /// Share of the tenant's workloads acted on per 10 minutes, percent; at least one is always allowed.
    pub percent_per_10_minutes: u32,
    /// Share of a tenant's workloads with root causes at once that stops everything, percent.
    pub storm_percent: u32,
    /// Calm time before a storm is over.
    pub storm_calm: SignedDuration,
    /// Wait after an action that helped.
    pub cooldown_success: SignedDuration,
    /// Wait after an action that did not help; doubles with each failure.
    pub cooldown_failure: SignedDuration,
    /// Longest wait.
    pub cooldown_maximum: SignedDuration,
    /// Failed verifications of one workload in 24 h that open its breaker.
    pub breaker_workload_failures: u32,
    /// Share of the tenant's last 20 actions that failed and opens its breaker, percent.
    pub breaker_tenant_percent: u32,
    /// Longest age of evidence at the moment of the effect.
    pub evidence_maximum_age: SignedDuration,
    /// How long a finding must have lasted before it is acted on.
    #[serde(default)]
    pub hysteresis: Hysteresis,
    /// How far one change of replicas may go that a repair asks for.
    #[serde(default)]
    pub replica_step: ReplicaStep,
    /// What sizes by forecast are limited by, instead of the budgets and cool-downs above.
    #[serde(default)]
    pub scaling: ScalingLimits,
}

/// Limits of changes of size that a forecast asks for. They count apart from repairs: scaling is frequent. `Default` is
/// what ships.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScalingLimits {
    /// Changes under way per tenant.
    pub in_flight_per_tenant: u32,
    /// Changes per workload and hour.
    pub per_workload_hour: u32,
    /// Changes per tenant and hour.
    pub per_tenant_hour: u32,
    /// Wait after a change before fewer replicas are asked for. More are never waited for.
    pub cooldown_down: SignedDuration,
    /// Wait after a way down that hurt, before fewer replicas are asked for again; doubles each time within a day.
    pub cooldown_hurt: SignedDuration,
    /// Most that one change adds, percent of what is there; four replicas are always allowed.
    pub increase_percent: u32,
    /// Most that one change takes away, percent of what is there; one replica is always allowed.
    pub decrease_percent: u32,
}

impl Default for ScalingLimits {
    fn default() -> Self {
        Self {
            in_flight_per_tenant: 20,
            per_workload_hour: 40,
            per_tenant_hour: 600,
            cooldown_down: SignedDuration::from_secs(60),
            cooldown_hurt: SignedDuration::from_hours(1),
            increase_percent: 100,
            decrease_percent: 50,
        }
    }
}

impl ScalingLimits {
    /// Replicas that may be added to so many in one change: the share, and at least four.
    pub fn most_up(&self, replicas: u32) -> u32 {
        share(replicas, self.increase_percent).max(4)
    }

    /// Replicas that may be taken from so many in one change: the share, and at least one.
    pub fn most_down(&self, replicas: u32) -> u32 {
        share(replicas, self.decrease_percent).max(1)
    }
}

fn share(replicas: u32, percent: u32) -> u32 {
    u32::try_from(u64::from(replicas) * u64::from(percent) / 100).unwrap_or(u32::MAX)
}

impl Default for GuardLimits {
    fn default() -> Self {
        Self {
            in_flight_per_workload: 1,
            in_flight_per_tenant: 5,
            per_workload_hour: 3,
            per_tenant_hour: 20,
            percent_per_10_minutes: 5,
            storm_percent: 20,
            storm_calm: SignedDuration::from_mins(10),
            cooldown_success: SignedDuration::from_mins(15),
            cooldown_failure: SignedDuration::from_hours(1),
            cooldown_maximum: SignedDuration::from_hours(24),
            breaker_workload_failures: 2,
            breaker_tenant_percent: 20,
            // Long enough for a slow dry run, short enough that a healed pod is not evicted.
            evidence_maximum_age: SignedDuration::from_secs(10),
            hysteresis: Hysteresis::default(),
            replica_step: ReplicaStep::default(),
            scaling: ScalingLimits::default(),
        }
    }
}

/// What capacity and a time without service cost, in millionths of the currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prices {
    /// ISO 4217 code.
    pub currency: Name,
    /// One core for one hour.
    pub core_hour: Option<u32>,
    /// One GiB of memory for one hour.
    pub gibibyte_hour: Option<u32>,
    /// One hour without service.
    #[serde(default)]
    pub downtime_hour: Option<u64>,
}

/// Hours of a month on average.
const MONTH_HOURS: f64 = 730.0;

impl Prices {
    /// What so much costs in a month, in words such as `58.40 EUR a month`; `None` when what is asked for has no price.
    pub fn month(&self, cores: f64, gibibytes: f64) -> Option<String> {
        let cost = |price: Option<u32>, amount: f64| match price {
            Some(price) => Some(f64::from(price) / 1e6 * amount),
            None => (amount <= 0.0).then_some(0.0),
        };
        let hour = cost(self.core_hour, cores)? + cost(self.gibibyte_hour, gibibytes)?;
        Some(format!("{:.2} {} a month", hour * MONTH_HOURS, self.currency))
    }

    /// What so many seconds without service cost; `None` without a price.
    pub fn downtime(&self, seconds: f64) -> Option<f64> {
        self.downtime_hour.map(|price| price as f64 / 1e6 * seconds / 3_600.0)
    }
}

/// A validated `Tenant`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TenantPolicy {
    /// Name.
    pub name: TenantName,
    /// UID.
    pub uid: Uid,
    /// `metadata.generation`.
    pub generation: i64,
    /// Namespaces that it owns.
    pub namespaces: BTreeSet<Name>,
    /// Level per action; what is not listed is [`Level::Recommend`].
    pub levels: BTreeMap<ActionKind, Level>,
    /// Guard limits, defaults filled in.
    pub limits: GuardLimits,
    /// Age of evidence that its people ask for, where they do; what counts is in the limits.
    #[serde(default)]
    pub own_evidence_age: Option<SignedDuration>,
    /// Calm time after a storm that its people ask for, where they do; what counts is in the limits.
    #[serde(default)]
    pub own_storm_calm: Option<SignedDuration>,
    /// Verification window.
    pub verification: SignedDuration,
    /// Times without any effect.
    pub freezes: Vec<Freeze>,
    /// People who may approve: `(kind, name)`, e.g. `("Group", "sre")`.
    pub approvers: Vec<(Name, Name)>,
    /// People who are told when no approver answers.
    #[serde(default)]
    pub owners: Vec<(Name, Name)>,
    /// How long after its evidence an action may be approved.
    #[serde(default = "fifteen_minutes")]
    pub approval_timeout: SignedDuration,
    /// Actions whose level was lowered after they failed, until a person restores it.
    #[serde(default)]
    pub caps: BTreeMap<ActionKind, LevelCap>,
    /// When a person last restored lowered levels; failures before it do not count.
    #[serde(default)]
    pub levels_restored: Option<Timestamp>,
    /// Most that its pods may ask for together: up to it runs are started, and services and workers get more replicas.
    #[serde(default)]
    pub quota: Option<Amounts>,
    /// What capacity costs it.
    #[serde(default)]
    pub prices: Option<Prices>,
    /// How long incidents and actions that are over stay in the API server.
    #[serde(default = "a_week")]
    pub closed_kept: SignedDuration,
    /// Automation is switched off for this tenant.
    pub paused: bool,
    /// Annotation "do not touch until".
    #[serde(default)]
    pub do_not_touch_until: Option<Timestamp>,
}

impl TenantPolicy {
    /// What the definition says where people say nothing: everything is recommended only, with the shipped limits.
    pub fn new(name: TenantName, uid: Uid, namespaces: impl IntoIterator<Item = Name>) -> Self {
        Self {
            name,
            uid,
            generation: 1,
            namespaces: namespaces.into_iter().collect(),
            levels: BTreeMap::new(),
            limits: GuardLimits::default(),
            own_evidence_age: None,
            own_storm_calm: None,
            verification: SignedDuration::from_secs(30),
            freezes: Vec::new(),
            approvers: Vec::new(),
            owners: Vec::new(),
            approval_timeout: fifteen_minutes(),
            caps: BTreeMap::new(),
            levels_restored: None,
            quota: None,
            prices: None,
            closed_kept: a_week(),
            paused: false,
            do_not_touch_until: None,
        }
    }

    /// Did a person stop automation for this tenant, with or without an end, as of `now`?
    pub fn paused_at(&self, now: Timestamp) -> bool {
        self.paused || self.do_not_touch_until.is_some_and(|until| now < until)
    }

    /// Level in effect for one action: what people set, under what it was lowered to.
    pub fn level(&self, action: ActionKind) -> Level {
        let set = self.level_set(action);
        self.caps.get(&action).map_or(set, |cap| set.min(cap.level))
    }

    /// The level that people set for one action.
    pub fn level_set(&self, action: ActionKind) -> Level {
        self.levels.get(&action).copied().unwrap_or_default()
    }
}

fn fifteen_minutes() -> SignedDuration {
    SignedDuration::from_mins(15)
}

fn a_week() -> SignedDuration {
    SignedDuration::from_hours(7 * 24)
}

/// A level that was lowered because actions of this kind failed. Only a person raises it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelCap {
    /// No higher than this.
    pub level: Level,
    /// End of the failure that lowered it.
    pub since: Timestamp,
    /// Why, in words and numbers.
    pub reason: Name,
}

/// A recurring time without any effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// For people.
    pub name: Name,
    /// Cron expression of its beginning (five fields).
    pub schedule: Name,
    /// IANA time zone.
    pub time_zone: Name,
    /// How long it lasts.
    pub duration: SignedDuration,
}

/// What a workload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Archetype {
    /// Answers calls.
    Service,
    /// Takes work from a queue.
    Worker,
    /// Runs to completion.
    Batch,
    /// Runs at the edge with long silences.
    Edge,
}

/// A validated `Workload`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadPolicy {
    /// The `Workload` object.
    pub key: WorkloadKey,
    /// Its UID.
    pub uid: Uid,
    /// `metadata.generation`.
    pub generation: i64,
    /// What it targets.
    pub target: ControllerKey,
    /// What the target is, where its kind is [`ControllerKind::Other`](crate::ControllerKind::Other).
    #[serde(default)]
    pub target_api: Option<Box<crate::records::ApiKind>>,
    /// What it is.
    pub archetype: Archetype,
    /// Higher is more important, 0 to 1000.
    pub criticality: i32,
    /// Share of good answers that is promised, 0 to 1.
    pub availability: Option<f64>,
    /// Latency that is promised.
    pub latency: Option<LatencyObjective>,
    /// Extra signals by PromQL.
    pub signals: Vec<SignalPolicy>,
    /// A sign of life that must come regularly.
    #[serde(default)]
    pub heartbeat: Option<HeartbeatPolicy>,
    /// Addresses or workload names that it says it needs.
    pub dependencies: Vec<Name>,
    /// Playbooks that may be used; empty means all.
    pub playbooks: BTreeSet<Name>,
    /// People switched automation off for it.
    pub paused: bool,
    /// Annotation "do not touch until".
    pub do_not_touch_until: Option<Timestamp>,
    /// Restarts without success before people must take over.
    pub maximum_useless_restarts: u32,
    /// Replace the pod in a quiet minute after a crash, so that the kubelet's back-off is forgotten.
    pub surge_after_crash: bool,
    /// What actions need to be told explicitly; nothing by default.
    pub permits: Permits,
}

impl WorkloadPolicy {
    /// The first signal that measures this.
    pub fn measuring(&self, measures: Measures) -> Option<&SignalPolicy> {
        self.signals.iter().find(|signal| signal.measures == measures)
    }

    /// What the definition says where people say nothing: a service without objectives, and no permits.
    pub fn new(key: WorkloadKey, uid: Uid, target: ControllerKey) -> Self {
        Self {
            key,
            uid,
            generation: 1,
            target,
            target_api: None,
            archetype: Archetype::Service,
            criticality: 500,
            availability: None,
            latency: None,
            signals: Vec::new(),
            heartbeat: None,
            dependencies: Vec::new(),
            playbooks: BTreeSet::new(),
            paused: false,
            do_not_touch_until: None,
            maximum_useless_restarts: 2,
            surge_after_crash: true,
            permits: Permits::default(),
        }
    }

    /// People let the bounds of the autoscaler that sizes it be moved, without being asked each time.
    pub fn drives_bounds(&self) -> bool {
        self.permits.scaling.as_ref().is_some_and(|scaling| {
            scaling.mode == ScalingMode::Auto && scaling.when_owned == WhenOwned::DriveBounds
        })
    }
}

/// What a Workload permits beyond the ordinary. `Default` permits nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Permits {
    /// What is not done unless people say so.
    pub allow: BTreeSet<Allowance>,
    /// Running it twice does no harm: a failed Job may be run again.
    pub repeatable: bool,
    /// Replicas between which it may be scaled; without them it is not scaled.
    pub replicas: Option<Bounds>,
    /// CPU request of a container, in thousandths of a core, between which it may be resized.
    pub cpu_millis: Option<Bounds>,
    /// Memory of a container, in bytes, between which it may be resized.
    pub memory_bytes: Option<Bounds>,
    /// The container of a pod that these bounds and the signals of CPU and memory are about; `None`: the only one.
    #[serde(default)]
    pub container: Option<Name>,
    /// What is done with a forecast of its load; without it nothing is forecast.
    pub scaling: Option<ScalingPolicy>,
    /// When its runs must have ended, for what runs to completion.
    #[serde(default)]
    pub runs: RunRules,
}

/// Sizing ahead of the load.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScalingPolicy {
    /// What is done with a forecast.
    pub mode: ScalingMode,
    /// Size when the signals are gone for long; without it the last safe size stays.
    pub fallback: Option<Fallback>,
    /// What is done when an autoscaler scales the same object.
    #[serde(default)]
    pub when_owned: WhenOwned,
    /// Replica-minutes that a minute of violation is worth, where the Workload says so.
    #[serde(default)]
    pub price: Option<u32>,
    /// Loads that count beside the requests, each named as one of the workload's signals.
    #[serde(default)]
    pub loads: Vec<LoadPolicy>,
    /// Sizes that are known beforehand.
    #[serde(default)]
    pub calendar: Vec<CalendarEntry>,
    /// Days, in the time zone of its schedule, on which no run of a `CronJob` is expected; in order, each once.
    #[serde(default)]
    pub exceptions: Vec<Date>,
}

/// What is done when an autoscaler scales the same object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WhenOwned {
    /// Leave it alone and say who owns it.
    #[default]
    Refuse,
    /// Move the bounds of the autoscaler.
    DriveBounds,
}

/// A load that is read from a signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadPolicy {
    /// Name of the signal.
    pub signal: Name,
    /// How much of it one replica carries; above 0.
    pub per_replica: f64,
    /// It is a backlog whose items must be done in time.
    #[serde(default)]
    pub due: Option<DuePolicy>,
}

/// Items that must be done in time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DuePolicy {
    /// Seconds that one replica needs for one of them; above 0.
    pub seconds_per_item: f64,
    /// Each must be done so long after it came.
    pub within: SignedDuration,
}

/// A time in which at least so many replicas are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalendarEntry {
    /// For people.
    pub name: Name,
    /// Cron expression of its beginning (five fields).
    pub schedule: Name,
    /// IANA time zone.
    pub time_zone: Name,
    /// How long it lasts.
    pub duration: SignedDuration,
    /// At least so many replicas.
    pub replicas: u32,
    /// Days on which it does not count, as `2026-12-25`.
    pub exceptions: Vec<Name>,
}

/// What is done with a forecast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScalingMode {
    /// Note what would have been done.
    Observe,
    /// Say what should be done.
    #[default]
    Recommend,
    /// Do it, through the same guards as every action.
    Auto,
}

/// Size when the signals are gone for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fallback {
    /// Signals are gone for this long.
    pub after: SignedDuration,
    /// Then so many replicas, at least one.
    pub replicas: u32,
}

/// Least and most, both allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bounds {
    /// Least.
    pub min: u64,
    /// Most.
    pub max: u64,
}

impl Bounds {
    /// `true` for values within.
    pub fn contains(self, value: u64) -> bool {
        (self.min..=self.max).contains(&value)
    }
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} to {}", self.min, self.max)
    }
}

/// A latency objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyObjective {
    /// Quantile, 0 to 1.
    pub quantile: f64,
    /// Limit in seconds.
    pub seconds: f64,
}
