//! Words and numbers of the files, checked while they are read, so that a wrong one is told with its place.

use homeostat_knowledge::records::PodPhase;
use homeostat_knowledge::{ActionKind, ActionState, ControllerKind, FindingKind, IncidentState};
use serde::de::{Deserialize, Deserializer, Error};

/// Largest number of seconds that is accepted: about three years.
const LONGEST: f64 = 1e8;
/// Most workloads, or nodes, of one situation.
const MOST_OBJECTS: u32 = 10_000;

/// What `cause` may begin with.
pub const CAUSES: [&str; 5] = ["pod", "workload", "node", "external", "source"];

/// The state of an incident by its name.
pub fn incident_state(name: &str) -> Option<IncidentState> {
    use IncidentState::{Acting, HandedOver, Mitigated, Open, Resolved};
    [Open, Acting, Mitigated, Resolved, HandedOver].into_iter().find(|state| format!("{state:?}") == name)
}

/// The state of an action by its name.
pub fn action_state(name: &str) -> Option<ActionState> {
    ActionState::ALL.into_iter().find(|state| format!("{state:?}") == name)
}

/// What sizes a workload by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autoscaler {
    /// A `HorizontalPodAutoscaler`.
    Horizontal,
    /// A `ScaledObject` of KEDA.
    Keda,
    /// A `VerticalPodAutoscaler`.
    Vertical,
}

/// The autoscaler of that name, long or short; `None`: it is another tool.
pub fn autoscaler(tool: &str) -> Option<Autoscaler> {
    let tool = tool.to_ascii_lowercase();
    let named = |names: [&str; 2]| names.iter().any(|name| tool.split(' ').any(|word| word == *name));
    if named(["hpa", "horizontalpodautoscaler"]) {
        Some(Autoscaler::Horizontal)
    } else if named(["keda", "scaledobject"]) {
        Some(Autoscaler::Keda)
    } else if named(["vpa", "verticalpodautoscaler"]) {
        Some(Autoscaler::Vertical)
    } else {
        None
    }
}

/// The phase of a pod by its name.
pub fn phase(name: &str) -> Option<PodPhase> {
    use PodPhase::{Failed, Pending, Running, Succeeded, Unknown};
    [Pending, Running, Succeeded, Failed, Unknown].into_iter().find(|phase| format!("{phase:?}") == name)
}

/// A word that `known` accepts.
fn word<'de, D: Deserializer<'de>>(
    deserializer: D,
    what: &str,
    known: impl Fn(&str) -> bool,
) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if known(&text) { Ok(text) } else { Err(D::Error::custom(format!("no {what} is called {text:?}"))) }
}

pub(crate) fn read_finding<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    word(deserializer, "finding", |text| FindingKind::from_name(text).is_some())
}

pub(crate) fn read_some_finding<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        Some(text) if FindingKind::from_name(&text).is_none() => {
            Err(D::Error::custom(format!("no finding is called {text:?}")))
        }
        found => Ok(found),
    }
}

pub(crate) fn read_incident_state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    word(deserializer, "incident state", |text| incident_state(text).is_some())
}

/// An action that an incident may have, one step at a time: what a forecast or a schedule asks for is none, nor is a sequence.
pub(crate) fn read_past_action<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    use ActionKind::{CreateJob, Drain, DriveBounds, StartJob};
    word(deserializer, "action of an incident", |text| {
        let other = |kind| matches!(kind, Drain | DriveBounds | StartJob | CreateJob);
        ActionKind::from_name(text).is_some_and(|kind| !other(kind))
    })
}

pub(crate) fn read_action_state<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    word(deserializer, "action state", |text| action_state(text).is_some())
}

pub(crate) fn read_controller<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    word(deserializer, "controller", |text| {
        text == "Other" || ControllerKind::from_kind(text) != ControllerKind::Other
    })
}

pub(crate) fn read_phase<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    word(deserializer, "pod phase", |text| phase(text).is_some())
}

pub(crate) fn read_cause<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    word(deserializer, "cause", |text| {
        text.split_once(' ').is_some_and(|(sort, name)| CAUSES.contains(&sort) && !name.trim().is_empty())
    })
}

/// Null is as good as nothing.
pub(crate) fn read_or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Objects of which the world is made: each is held in memory.
pub(crate) fn read_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let count = u32::deserialize(deserializer)?;
    if count <= MOST_OBJECTS {
        return Ok(count);
    }
    Err(D::Error::custom(format!("{count} is out of range: expected 0 to {MOST_OBJECTS}")))
}

pub(crate) fn read_replicas<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    let replicas = i32::deserialize(deserializer)?;
    if replicas >= 0 {
        return Ok(replicas);
    }
    Err(D::Error::custom(format!("{replicas} replicas are out of range: expected 0 or more")))
}

fn in_range<E: Error>(seconds: f64) -> Result<f64, E> {
    if (-3600.0..=LONGEST).contains(&seconds) {
        return Ok(seconds);
    }
    Err(E::custom(format!("{seconds} s is out of range: expected -3600 to {LONGEST:.0}")))
}

pub(crate) fn read_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    in_range(f64::deserialize(deserializer)?)
}

pub(crate) fn read_some_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Option::<f64>::deserialize(deserializer)?.map(in_range).transpose()
}
