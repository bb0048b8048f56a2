//! What the kill switch leaves half done, and the `kubectl` command that mends each: while it is engaged, or cannot be
//! read, nothing of this is ended, taken back or released by Homeostat. Pure.

use crate::action::{ActionKind, ActionRecord, ActionState, Parameters};
use crate::entity::ObjectKey;
use crate::forecast::Scaler;
use crate::guard::{GuardName, GuardReport};
use crate::ids::{ActionId, Uid};
use crate::policy::{Bounds, KillSwitch};
use crate::records::{AutoscalerRecord, ControllerKind, ControllerRecord, NodeRecord};
use crate::runs::made_name;
use crate::snapshot::Snapshot;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One change that is left as it is, and what a person can do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HalfDone {
    /// The action that did it, or that holds it.
    pub action: String,
    /// What sort of action.
    pub kind: ActionKind,
    /// Kind, namespace and name of the object that it changed.
    pub target: String,
    /// How far it came.
    pub stands: Stands,
    /// What the command does, or why nothing has to be mended.
    pub advice: String,
    /// The command. It names absolute values: where the change never came, it changes nothing.
    pub command: String,
    /// The command changes something; others only look.
    pub mends: bool,
}

/// How far a change came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Stands {
    /// It may have been sent; nobody knows yet.
    Claimed,
    /// It was sent.
    Sent,
    /// It is there, and whether it helps is not known yet, or it waits to be taken back.
    Verifying,
    /// It did not help, and the kill switch kept it from being taken back until that was given up.
    NotTakenBack,
    /// It is held, and nothing releases it meanwhile.
    Held,
}

impl Stands {
    /// The name as written in resources.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claimed => "Claimed",
            Self::Sent => "Sent",
            Self::Verifying => "Verifying",
            Self::NotTakenBack => "NotTakenBack",
            Self::Held => "Held",
        }
    }
}

/// What a person can do: the sentence, the command, and whether it changes something.
struct Mend(String, String, bool);

impl Mend {
    fn by(advice: impl Into<String>, command: String) -> Self {
        Self(advice.into(), command, true)
    }

    fn look(advice: impl Into<String>, command: String) -> Self {
        Self(advice.into(), command, false)
    }
}

/// What is half done while the kill switch is engaged or cannot be read, first what has to be mended; empty while it is off.
pub fn half_done(snapshot: &Snapshot) -> Vec<HalfDone> {
    if snapshot.control.kill_switch == KillSwitch::Off {
        return Vec::new();
    }
    let stopped = undos_stopped(snapshot);
    let left = snapshot.actions.values();
    let left = left.filter_map(|action| Some((stands(action, snapshot, &stopped)?, action)));
    let left: Vec<(Stands, &Arc<ActionRecord>)> = left.collect();
    let mut all: Vec<HalfDone> =
        left.iter().map(|(stands, action)| of_action(*stands, action, snapshot)).collect();
    // What an action under way is about is listed once, by that action.
    let listed: BTreeSet<&Uid> = left.iter().map(|(_, action)| &action.target.uid).collect();
    let nodes = snapshot.nodes.values().filter(|node| !listed.contains(&node.uid));
    all.extend(nodes.filter_map(|node| held_node(node)));
    let runs = snapshot.controllers.values().filter(|run| !listed.contains(&run.uid));
    all.extend(runs.filter_map(|run| held_run(run)));
    all.extend(autoscalers(snapshot).filter(|one| !listed.contains(&one.uid)).filter_map(held_bounds));
    all.sort_by(|a, b| (!a.mends, &a.target, &a.action).cmp(&(!b.mends, &b.target, &b.action)));
    all
}

/// How far an action came that is not over, or that could not be taken back; `None` for all others. An undo is not listed
/// beside the action that it takes back, which stays open meanwhile and knows how it was before.
fn stands(action: &ActionRecord, snapshot: &Snapshot, stopped: &BTreeSet<&ActionId>) -> Option<Stands> {
    if action.undo_of.as_ref().is_some_and(|undone| snapshot.actions.contains_key(undone)) {
        return None;
    }
    match action.state {
        ActionState::Claimed => Some(Stands::Claimed),
        ActionState::Sent => Some(Stands::Sent),
        ActionState::Verifying => Some(Stands::Verifying),
        ActionState::Failed => stopped.contains(&action.id).then_some(Stands::NotTakenBack),
        ActionState::Proposed
        | ActionState::AwaitingApproval
        | ActionState::Admitted
        | ActionState::Refused
        | ActionState::Verified
        | ActionState::Undone
        | ActionState::Cancelled
        | ActionState::HandedOver => None,
    }
}

/// Actions whose undo was refused by the kill switch for good: it waited for an hour, or that of a drain, which does not wait.
fn undos_stopped(snapshot: &Snapshot) -> BTreeSet<&ActionId> {
    let stopped = |undo: &&Arc<ActionRecord>| {
        let by_switch = |guard: &GuardReport| guard.name == GuardName::KillSwitch && !guard.result.permits();
        undo.state == ActionState::Refused && undo.guards.iter().any(by_switch)
    };
    snapshot.actions.values().filter(stopped).filter_map(|undo| undo.undo_of.as_ref()).collect()
}

fn of_action(stands: Stands, action: &ActionRecord, snapshot: &Snapshot) -> HalfDone {
    let Mend(advice, command, mends) = mend(action, snapshot);
    let target = format!("{} {}", action.target.kind, action.target.key);
    HalfDone { action: action.id.to_string(), kind: action.kind(), target, stands, advice, command, mends }
}

/// What mends each kind of action, from how its target was before.
fn mend(action: &ActionRecord, snapshot: &Snapshot) -> Mend {
    match &action.parameters {
        Parameters::ScaleUp { .. } | Parameters::ScaleDown { .. } => size(action),
        Parameters::DriveBounds { .. } => bounds(action, snapshot),
        Parameters::EvictPod { .. } => pods(action, snapshot),
        Parameters::RollingRestart => rollout(action),
        Parameters::RollBack { .. } => release(action),
        Parameters::Cordon { .. } if action.before.cordoned == Some(true) => closed_before(action),
        Parameters::Cordon { .. } => open_node("lets new pods on the node again", &action.target.key.name),
        Parameters::Uncordon => open_node("ends the cordon that was being released", &action.target.key.name),
        Parameters::Suspend { .. } if action.before.suspended == Some(true) => {
            Mend::look("nothing to mend: it was suspended before", get(action))
        }
        Parameters::Suspend { .. } => go_on("lets it start pods again", &object(action), &action.target.key),
        Parameters::Resume => {
            go_on("ends the suspension that was being released", &object(action), &action.target.key)
        }
        Parameters::RetryJob => Mend::look(
            "nothing to mend: the new Job beside it runs to its end",
            kubectl(&action.target.key, "get jobs"),
        ),
        Parameters::StartJob { .. } => Mend::look(
            "nothing to mend: a run that began goes on by itself",
            kubectl(&action.target.key, "get jobs"),
        ),
        Parameters::CreateJob { slot } => Mend::by(
            "takes the new Job away where it was made: it is suspended, and nothing starts it meanwhile",
            kubectl(
                &action.target.key,
                &format!("delete job {} --ignore-not-found", word(&made_name(&action.target, *slot))),
            ),
        ),
        Parameters::ResizePod { .. } => resources(action),
        Parameters::Notify { .. } => Mend::look(
            "nothing to mend: people were only told",
            format!("kubectl -n {} get incident {}", word(&action.namespace), word(action.incident.as_str())),
        ),
    }
}

fn size(action: &ActionRecord) -> Mend {
    match action.before.replicas {
        Some(replicas) => Mend::by(
            format!("gives it the {replicas} replicas back that it had"),
            kubectl(&action.target.key, &format!("scale {} --replicas={replicas}", object(action))),
        ),
        None => Mend::look("how many replicas it had is not known; set as many as it needs", get(action)),
    }
}

fn bounds(action: &ActionRecord, snapshot: &Snapshot) -> Mend {
    let key = &action.target.key;
    // What is held already knows people's own bounds; the action knows only those that it found.
    let held = autoscalers(snapshot).find(|one| one.uid == action.target.uid && one.drive.is_some());
    match held.map(AutoscalerRecord::peoples).or(action.before.bounds) {
        Some(own) => give_back(key, own),
        None => Mend::look("which bounds it had is not known; set those that it needs", get(action)),
    }
}

fn give_back(key: &ObjectKey, own: Bounds) -> Mend {
    let patch = json!({ "spec": { "minReplicas": own.min, "maxReplicas": own.max } });
    Mend::by(
        format!("gives people’s own bounds back, {own} replicas"),
        kubectl(key, &patch_of(&format!("horizontalpodautoscaler/{}", word(&key.name)), &patch)),
    )
}

fn pods(action: &ActionRecord, snapshot: &Snapshot) -> Mend {
    let labels = snapshot.controller_of(&action.workload).map(|controller| {
        let labels: Vec<String> =
            controller.template_labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        labels.join(",")
    });
    // A long list of labels hides the command more than it helps.
    let labels = labels.filter(|labels| !labels.is_empty() && labels.len() <= 256);
    let which = labels.map_or_else(String::new, |labels| format!(" -l {}", word(&labels)));
    Mend::look(
        "nothing to mend: its controller makes a new pod",
        kubectl(&action.target.key, &format!("get pods{which}")),
    )
}

fn rollout(action: &ActionRecord) -> Mend {
    Mend::look(
        "nothing to mend: its controller ends the rollout",
        kubectl(&action.target.key, &format!("rollout status {}", object(action))),
    )
}

fn release(action: &ActionRecord) -> Mend {
    let revision = action.before.revision.as_deref().unwrap_or_default();
    let number = !revision.is_empty() && revision.bytes().all(|byte| byte.is_ascii_digit());
    if number {
        return Mend::by(
            format!("brings the release back that it had, revision {revision}"),
            kubectl(&action.target.key, &format!("rollout undo {} --to-revision={revision}", object(action))),
        );
    }
    // Of a StatefulSet and a DaemonSet the name of the revision is known, and kubectl wants its number.
    let had = if revision.is_empty() { "is not known".to_owned() } else { format!("was {revision}") };
    Mend::look(
        format!(
            "the revision that it had {had}: find its number N, then kubectl rollout undo --to-revision=N"
        ),
        kubectl(&action.target.key, &format!("rollout history {}", object(action))),
    )
}

fn closed_before(action: &ActionRecord) -> Mend {
    Mend::look(
        "nothing to mend: the node was closed before",
        format!("kubectl get node {}", word(&action.target.key.name)),
    )
}

fn open_node(advice: &str, name: &str) -> Mend {
    Mend::by(advice, format!("kubectl uncordon {}", word(name)))
}

fn go_on(advice: &str, object: &str, key: &ObjectKey) -> Mend {
    Mend::by(advice, kubectl(key, &patch_of(object, &json!({ "spec": { "suspend": false } }))))
}

/// Only what the action changed, as it was.
fn resources(action: &ActionRecord) -> Mend {
    let Parameters::ResizePod { container, cpu_millis, cpu_limit_millis, memory_bytes, memory_limit_bytes } =
        &action.parameters
    else {
        return Mend::look("nothing to mend", get(action));
    };
    let of_runs = ControllerKind::from_kind(&action.target.kind) == ControllerKind::CronJob;
    let before = &action.before;
    let (mut requests, mut limits) = (Map::new(), Map::new());
    if let Some(cpu) = cpu_millis.and(before.cpu_millis) {
        requests.insert("cpu".to_owned(), json!(format!("{cpu}m")));
    }
    if let Some(memory) = memory_bytes.and(before.memory_bytes) {
        requests.insert("memory".to_owned(), json!(memory.to_string()));
    }
    if let Some(cpu) = cpu_limit_millis.and(before.cpu_limit_millis) {
        limits.insert("cpu".to_owned(), json!(format!("{cpu}m")));
    }
    // The limit of a template was set to the request.
    let limit = match memory_limit_bytes {
        Some(_) => before.memory_limit_bytes,
        None => memory_bytes.and(before.memory_bytes).filter(|_| of_runs),
    };
    if let Some(limit) = limit {
        limits.insert("memory".to_owned(), json!(limit.to_string()));
    }
    if requests.is_empty() && limits.is_empty() {
        return Mend::look("what it asked for before is not known; set what it needs", get(action));
    }
    let mut resources = json!({ "requests": requests });
    if !limits.is_empty() {
        resources["limits"] = Value::Object(limits);
    }
    let pod = json!({ "spec": { "containers": [{ "name": &**container, "resources": resources }] } });
    let target = object(action);
    let (what, patch) = if of_runs {
        (target, json!({ "spec": { "jobTemplate": { "spec": { "template": pod } } } }))
    } else {
        (format!("{target} --subresource=resize"), pod)
    };
    let patch = quoted(&patch.to_string());
    Mend::by(
        "gives the container back what it had",
        kubectl(&action.target.key, &format!("patch {what} -p {patch}")),
    )
}

fn held_node(node: &NodeRecord) -> Option<HalfDone> {
    let hold = node.hold.as_ref().filter(|_| node.cordoned)?;
    let mend = open_node("lets new pods on the node again", &node.name);
    Some(held(&hold.by, ActionKind::Cordon, format!("Node {}", node.name), mend))
}

fn held_run(run: &ControllerRecord) -> Option<HalfDone> {
    let hold = run.hold.as_ref().filter(|_| run.paused)?;
    let (api, kind) = run.key.kind.api()?;
    let key = &run.key.object;
    let mend = go_on("lets it start pods again", &object_of(api, kind, &key.name), key);
    Some(held(&hold.by, ActionKind::Suspend, format!("{kind} {key}"), mend))
}

fn held_bounds(found: &AutoscalerRecord) -> Option<HalfDone> {
    let drive = found.drive.as_ref()?;
    let target = format!("HorizontalPodAutoscaler {}", found.key);
    Some(held(&drive.hold.by, ActionKind::DriveBounds, target, give_back(&found.key, found.peoples())))
}

fn held(by: &str, kind: ActionKind, target: String, Mend(advice, command, mends): Mend) -> HalfDone {
    HalfDone { action: by.to_owned(), kind, target, stands: Stands::Held, advice, command, mends }
}

fn autoscalers(snapshot: &Snapshot) -> impl Iterator<Item = &AutoscalerRecord> {
    snapshot.scalers.values().flat_map(Scaler::each).filter_map(|one| match one {
        Scaler::Hpa(found) => Some(&**found),
        Scaler::Keda { .. } | Scaler::Vpa { .. } | Scaler::Several(_) => None,
    })
}

fn kubectl(key: &ObjectKey, command: &str) -> String {
    format!("kubectl -n {} {command}", word(&key.namespace))
}

fn get(action: &ActionRecord) -> String {
    kubectl(&action.target.key, &format!("get {} -o yaml", object(action)))
}

fn patch_of(object: &str, patch: &Value) -> String {
    format!("patch {object} --type=merge -p {}", quoted(&patch.to_string()))
}

/// The target as kubectl takes it, `deployment/web`.
fn object(action: &ActionRecord) -> String {
    object_of(&action.target.api_version, &action.target.kind, &action.target.key.name)
}

/// Kinds of Kubernetes itself by their name alone, others with version and group: another group may have that name too.
fn object_of(api_version: &str, kind: &str, name: &str) -> String {
    let kind = kind.to_lowercase();
    let kind = match api_version.split_once('/') {
        Some((group, version)) if group.contains('.') => format!("{kind}.{version}.{group}"),
        _ => kind,
    };
    format!("{}/{}", word(&kind), word(name))
}

/// A word of a shell command. Names of objects need no quotes; what does gets them, so that nothing in it is run.
fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/=,:".contains(&byte);
    if !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain) {
        return text.to_owned();
    }
    quoted(text)
}

/// In single quotes a POSIX shell takes every character as it is, but the quote itself.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
#[path = "half_done_tests.rs"]
mod tests;
