//! The load that is expected for a workload, and the size that it asks for.

use crate::entity::{Name, TenantName, WorkloadKey};
use crate::ids::{IncidentId, Uid};
use crate::policy::{BACKLOG, ScalingMode};
use crate::records::{AutoscalerRecord, ControllerKey};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The signal that workloads are sized by: answered requests per second.
pub const REQUESTS: &str = "requests";
/// The signal that is forecast for its limit only: the most memory that one pod uses.
pub const MEMORY: &str = "memory";

/// The signal of how long the next run of a Job or `CronJob` takes, in seconds; what was learnt of runs is kept beside it.
pub const RUNS: &str = "runs";

/// The signal that is forecast of `spec.scaling.backlog`: the items that come in a minute where the work of one is declared, else
/// the most that wait.
pub const WAITING: &str = "backlog";

/// Before the name of a load, where a signal is forecast that `spec.scaling.loads` names: people may call theirs as they like,
/// and no name of theirs holds a dot.
const LOAD: &str = "load.";

/// The signal of a forecast for this load of `spec.scaling.loads`, or for the backlog.
pub fn load_signal(load: &str) -> Name {
    if load == BACKLOG { Name::from(WAITING) } else { Name::from(format!("{LOAD}{load}")) }
}

/// The load that a forecast is of, one of `spec.scaling.loads` or the backlog; `None` for every other forecast.
pub fn load_of(signal: &str) -> Option<&str> {
    if signal == WAITING { Some(BACKLOG) } else { signal.strip_prefix(LOAD) }
}

/// What stands in the place of an incident where a forecast asks for a size: one for each workload, never the name of an
/// incident (namespaces hold no dot).
pub fn occasion(workload: &WorkloadKey) -> IncidentId {
    IncidentId::new(format!("{}.{}", workload.namespace, workload.name))
}

/// A forecast for one workload, as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForecastRecord {
    /// Whose load it is.
    pub workload: WorkloadKey,
    /// Its UID: the forecast goes with it.
    pub workload_uid: Uid,
    /// Its tenant, when known.
    pub tenant: Option<TenantName>,
    /// What is forecast: [`REQUESTS`], [`MEMORY`], a load (see [`load_signal`]), or the name of a signal that measures a
    /// volume, a quota or ephemeral storage; [`RUNS`]: the seconds that the next run takes.
    pub signal: Name,
    /// What is done with it.
    pub mode: ScalingMode,
    /// Ready replicas now.
    pub replicas: u32,
    /// What is expected.
    pub outlook: Outlook,
    /// The size that follows.
    pub size: SizeAdvice,
    /// What a restart must not forget, as it is written.
    pub memory: Option<String>,
}

/// The size that a workload should have, as decided last. All numbers are finite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SizeAdvice {
    /// When it was decided.
    pub decided: Timestamp,
    /// Load of one replica at which its objective was met.
    pub per_replica: Option<f64>,
    /// Replicas within the bounds; `None` when nothing can be said yet.
    pub wanted: Option<u32>,
    /// What is to be done about it.
    pub effect: SizeEffect,
    /// Why so many, or why nothing can be said and what to change.
    pub why: String,
    /// What is in the way, in order and each once: `why` in words that programs may compare.
    #[serde(default)]
    pub troubles: Vec<SizeTrouble>,
    /// What was done about it last, or what keeps it from being done.
    pub done: Option<String>,
    /// What each of its pods should ask for; `None` where people give no bounds for it, or nothing measures it.
    #[serde(default)]
    pub pod: Option<Box<PodAdvice>>,
    /// Items of its backlog that will be done after their deadline, the latest of them.
    #[serde(default)]
    pub late: Option<LateItems>,
}

/// Items of a backlog that will be done after their deadline, although as many replicas as may be work on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateItems {
    /// When they should be done.
    pub due: Timestamp,
    /// By how much they are late.
    pub by: SignedDuration,
    /// Replicas beyond the most that may be, with which all would be in time; 0: no number is enough.
    pub more: u32,
}

impl SizeAdvice {
    /// What there is stays, and nothing is said of it.
    #[must_use]
    pub fn keep(decided: Timestamp) -> Self {
        Self {
            decided,
            per_replica: None,
            wanted: None,
            effect: SizeEffect::Keep,
            why: String::new(),
            troubles: Vec::new(),
            done: None,
            pod: None,
            late: None,
        }
    }
}

/// What each pod of a workload should ask for, by what the busiest one was seen to use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodAdvice {
    /// CPU, in thousandths of a core; `None` when nothing can be said.
    pub cpu: Option<Need>,
    /// Memory, in bytes; `None` when nothing can be said.
    pub memory: Option<Need>,
    /// Why so much, or why nothing can be said and what to change.
    pub why: String,
    /// What was done about it last, or what keeps it from being done.
    pub done: Option<String>,
}

/// How much of one resource a pod should ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// Its request, within the bounds that people set.
    pub request: u64,
    /// What the busiest pod uses now; no request goes below.
    pub used: u64,
    /// Enough is known for asking for less.
    pub falls: bool,
}

impl Need {
    /// Whether a change from `before` to `wanted` leads to what is needed, and no further.
    pub fn leads(self, before: u64, wanted: u64) -> bool {
        if wanted > before {
            wanted <= self.request
        } else {
            wanted < before && self.falls && wanted >= self.request.max(self.used)
        }
    }
}

/// What keeps a size from being decided, from being decided on everything that should count, or from being enough.
/// What people have to change comes first, what time may heal last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SizeTrouble {
    /// More workloads are scaled than are looked at.
    TooMany,
    /// `spec.scaling.replicas` is not set.
    NoBounds,
    /// The bounds or another setting cannot work.
    InvalidSetting,
    /// What the Workload targets is not there.
    TargetNotFound,
    /// Several autoscalers size it against each other.
    ScaledTwice,
    /// Somebody else sizes it.
    ScaledByOther,
    /// A calendar entry cannot be used.
    CalendarNotUsable,
    /// More replicas would ask for more than the quota of the tenant leaves.
    QuotaReached,
    /// With the most replicas, or with any number, items of the backlog are done after their deadline.
    DeadlineNotKept,
    /// The value of a signal is no load.
    SignalNotUsable,
    /// A signal is not seen.
    SignalNotSeen,
    /// A series of a signal is not seen any more.
    SeriesNotSeen,
    /// Requests were seen before, and are not any more.
    RequestsNotSeen,
    /// No load of any kind was seen yet.
    NothingSeen,
    /// What one replica carries is not learnt yet.
    CapacityNotKnown,
}

impl SizeTrouble {
    /// Every one.
    pub const ALL: [Self; 15] = [
        Self::TooMany,
        Self::NoBounds,
        Self::InvalidSetting,
        Self::TargetNotFound,
        Self::ScaledTwice,
        Self::ScaledByOther,
        Self::CalendarNotUsable,
        Self::QuotaReached,
        Self::DeadlineNotKept,
        Self::SignalNotUsable,
        Self::SignalNotSeen,
        Self::SeriesNotSeen,
        Self::RequestsNotSeen,
        Self::NothingSeen,
        Self::CapacityNotKnown,
    ];

    /// Nothing is wrong: it is too early to tell.
    pub fn is_early(self) -> bool {
        matches!(self, Self::NothingSeen | Self::CapacityNotKnown)
    }
}

/// What is to be done about a size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SizeEffect {
    /// Nothing: it is as it should be, or nothing is known.
    #[default]
    Keep,
    /// Nothing: somebody else owns the size.
    Refuse,
    /// Note it, as the mode says.
    Note,
    /// Recommend it, as the mode says.
    Recommend,
    /// Set the replicas.
    Scale,
    /// Set the bounds of the autoscaler that owns the size.
    DriveBounds {
        /// Its `minReplicas`.
        min: u32,
        /// Its `maxReplicas`.
        max: u32,
    },
}

/// What else scales the same object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scaler {
    /// A `HorizontalPodAutoscaler` of people's own.
    Hpa(Box<AutoscalerRecord>),
    /// A KEDA `ScaledObject`, which owns an autoscaler.
    Keda {
        /// Its name.
        name: Name,
    },
    /// A `VerticalPodAutoscaler` that changes pods by itself: its `updateMode` is not `Off`.
    Vpa {
        /// Its name.
        name: Name,
    },
    /// Two or more of the above, by kind and name: they work against each other, and none of them is the owner.
    Several(Vec<Scaler>),
}

impl Scaler {
    /// Each of several, or this one.
    pub fn each(&self) -> &[Self] {
        match self {
            Self::Several(all) => all,
            one => std::slice::from_ref(one),
        }
    }

    /// The `VerticalPodAutoscaler`, also where it is one of several.
    pub fn vertical(&self) -> Option<&Name> {
        self.each().iter().find_map(|one| match one {
            Self::Vpa { name } => Some(name),
            Self::Hpa(_) | Self::Keda { .. } | Self::Several(_) => None,
        })
    }

    /// By what they scale, in order of kind and name. Of two with one name the later counts: it was read later.
    pub fn by_target(found: impl IntoIterator<Item = (ControllerKey, Self)>) -> Scalers {
        let mut named: BTreeMap<ControllerKey, BTreeMap<String, Self>> = BTreeMap::new();
        for (target, scaler) in found {
            named.entry(target).or_default().insert(scaler.to_string(), scaler);
        }
        let one_or_several =
            |mut all: Vec<Self>| if all.len() == 1 { all.remove(0) } else { Self::Several(all) };
        named.into_iter().map(|(target, all)| (target, one_or_several(all.into_values().collect()))).collect()
    }
}

impl std::fmt::Display for Scaler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hpa(found) => write!(formatter, "HorizontalPodAutoscaler {}", found.key.name),
            Self::Keda { name } => write!(formatter, "ScaledObject {name} of KEDA"),
            Self::Vpa { name } => write!(formatter, "VerticalPodAutoscaler {name}"),
            Self::Several(all) => {
                let names: Vec<String> = all.iter().map(ToString::to_string).collect();
                formatter.write_str(&names.join(" and "))
            }
        }
    }
}

/// What scales each target by itself.
pub type Scalers = BTreeMap<ControllerKey, Scaler>;

/// What is expected of one series. All numbers are finite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outlook {
    /// When it was made.
    pub made: Timestamp,
    /// How far it looks ahead.
    pub horizon_seconds: u32,
    /// The load of the last step; `None` when it was not seen.
    pub now: Option<f64>,
    /// Whether the back-test beat the naive forecasts.
    pub skill: ForecastSkill,
    /// The model with the largest weight.
    pub model: Option<Name>,
    /// Why this model, or why there is no forecast and what to do.
    pub reason: String,
    /// Back-tested error as a share of the seasonal naive forecast's.
    pub error: Option<f64>,
    /// Highest median and 90th percentile of a single step within the horizon.
    pub peak: Option<Peak>,
    /// Expected load, earliest first; empty without a forecast. Of [`RUNS`] the next run at its slot.
    pub points: Vec<ForecastPoint>,
    /// When models are compared again at the latest.
    pub next_choice: Option<Timestamp>,
    /// When the load grows beyond what the most replicas carry; only where a trend was proven.
    pub limit: Option<LoadLimit>,
}

impl Outlook {
    /// Nothing is expected, because too little was seen.
    #[must_use]
    pub fn nothing(made: Timestamp, horizon_seconds: u32) -> Self {
        Self {
            made,
            horizon_seconds,
            now: None,
            skill: ForecastSkill::Unknown,
            model: None,
            reason: String::new(),
            error: None,
            peak: None,
            points: Vec::new(),
            next_choice: None,
            limit: None,
        }
    }

    /// Lowest 10th percentile of its points; `None` without a forecast.
    pub fn low(&self) -> Option<f64> {
        self.points.iter().map(|point| point.p10).reduce(f64::min)
    }
}

/// Whether a forecast is better than the naive ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ForecastSkill {
    /// The back-test beat them.
    Proven,
    /// It did not: nothing should act on the forecast.
    Absent,
    /// Too little was seen to tell.
    Unknown,
}

impl ForecastSkill {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Proven, Self::Absent, Self::Unknown];

    /// The name as used in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Absent => "absent",
            Self::Unknown => "unknown",
        }
    }
}

/// Highest values of single steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// Of the medians.
    pub p50: f64,
    /// Of the 90th percentiles.
    pub p90: f64,
}

/// Means over some minutes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForecastPoint {
    /// From when on.
    pub at: Timestamp,
    /// 10th percentile.
    pub p10: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
}

/// When a load is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadLimit {
    /// The load that the most replicas carry, or the limit of the memory, the volume or the quota.
    pub load: f64,
    /// Seconds that are too early in nine of ten cases.
    pub p10_seconds: Option<f64>,
    /// Seconds, median.
    pub p50_seconds: f64,
    /// Why, in words and numbers.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ControllerKind, ObjectKey};

    #[test]
    fn who_scales_one_target_is_one_or_several_by_name() {
        let target = |name: &str| ControllerKey {
            kind: ControllerKind::Deployment,
            object: ObjectKey::new("shop", name),
        };
        let keda = |name: &str| Scaler::Keda { name: Name::from(name) };
        let fit = Scaler::Vpa { name: Name::from("fit") };
        let found = [
            (target("web"), fit.clone()),
            (target("jobs"), keda("queue")),
            (target("web"), keda("rush")),
            (target("jobs"), keda("queue")),
        ];
        let scalers = Scaler::by_target(found);
        assert_eq!(scalers.get(&target("jobs")), Some(&keda("queue")), "the same one twice is one");
        let both = scalers.get(&target("web")).unwrap();
        assert_eq!(both.to_string(), "ScaledObject rush of KEDA and VerticalPodAutoscaler fit");
        assert_eq!((both.each(), both.vertical()), (&[keda("rush"), fit][..], Some(&Name::from("fit"))));
        assert_eq!((keda("queue").each().len(), keda("queue").vertical()), (1, None));
    }
}
