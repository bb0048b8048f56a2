//! What an event of the API server's audit log (`audit.k8s.io/v1`) says, as far as the record can be set beside it.

use homeostat_knowledge::ActionKind;
use homeostat_knowledge::runs::MADE;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use std::fmt;

/// From this status code on the API server does not say that nothing came of a request.
const ABANDONED: u16 = 499;
/// Verbs that change something.
const CHANGES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
/// The anchors of the record itself.
const ANCHORS: &str = "homeostat-audit";
/// What Homeostat writes of itself, which is no effect: group, and resource with its subresource. Of a `ConfigMap` only the
/// anchors of the record.
const OWN: [(&str, &str); 16] = [
    ("homeostat.dev", "actions"),
    ("homeostat.dev", "actions/status"),
    ("homeostat.dev", "incidents"),
    ("homeostat.dev", "incidents/status"),
    ("homeostat.dev", "forecasts"),
    ("homeostat.dev", "forecasts/status"),
    ("homeostat.dev", "tenants/status"),
    ("homeostat.dev", "workloads/status"),
    ("homeostat.dev", "playbooks/status"),
    ("homeostat.dev", "controlplanes/status"),
    ("homeostat.dev", "reports/status"),
    ("coordination.k8s.io", "leases"),
    ("events.k8s.io", "events"),
    ("", "events"),
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("", "configmaps"),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    verb: String,
    #[serde(rename = "requestURI", default)]
    uri: String,
    user: User,
    object_ref: Option<ObjectRef>,
    response_status: Option<Code>,
    request_received_timestamp: Timestamp,
    stage_timestamp: Timestamp,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize)]
struct Code {
    #[serde(default)]
    code: u16,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    api_group: String,
}

/// An event.
#[derive(Debug)]
pub(super) struct Event {
    /// When it was written.
    pub at: Timestamp,
    /// It is about a request of the one who was asked for.
    pub ours: bool,
    /// The end of a request of theirs that was to change something.
    pub write: Option<Write>,
}

impl Event {
    /// Reads a line; `None` when it is no event.
    pub fn read(line: &str, user: &str) -> Option<Self> {
        let wire: Wire = serde_json::from_str(line).ok()?;
        let (at, ours) = (wire.stage_timestamp, wire.user.username == user);
        let done = matches!(wire.stage.as_str(), "ResponseComplete" | "Panic");
        let changes = ours && done && CHANGES.contains(&wire.verb.as_str());
        Some(Self { at, ours, write: changes.then(|| Write::of(wire)) })
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was carried out.
    Taken,
    /// It was not, with this status code.
    Refused(u16),
    /// Whoever asked was gone before the answer, or the API server failed: it may have been carried out.
    Unsure,
}

/// A request that was to change something.
#[derive(Debug)]
pub(super) struct Write {
    /// The API server's name of it.
    pub id: String,
    /// `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    /// When it arrived.
    pub at: Timestamp,
    /// What came of it.
    pub answer: Answer,
    /// It was only tried.
    pub dry_run: bool,
}

impl Write {
    fn of(wire: Wire) -> Self {
        let ObjectRef { resource, subresource, namespace, name, api_group } =
            wire.object_ref.unwrap_or_default();
        let answer = match wire.response_status.map_or(0, |status| status.code) {
            200..300 => Answer::Taken,
            code @ 1..ABANDONED => Answer::Refused(code),
            _ => Answer::Unsure,
        };
        Self {
            id: wire.audit_id,
            verb: wire.verb,
            group: api_group,
            resource,
            subresource,
            namespace,
            name,
            at: wire.request_received_timestamp,
            answer,
            dry_run: wire.uri.contains("dryRun="),
        }
    }

    /// The resource as people write it, when this is a write of Homeostat about itself.
    pub fn own(&self) -> Option<String> {
        let anchors = self.resource != "configmaps" || self.name == ANCHORS;
        let resource = self.with_subresource();
        let own = anchors && OWN.contains(&(self.group.as_str(), resource.as_str()));
        own.then(|| self.kind())
    }

    fn with_subresource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    fn kind(&self) -> String {
        let resource = self.with_subresource();
        if self.group.is_empty() { resource } else { format!("{resource} ({})", self.group) }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        let Self { verb, namespace, name, at, id, .. } = self;
        write!(out, "{verb} {} {namespace}{slash}{name} at {at}, request {id}", self.kind())
    }
}

/// What an entry of the record asked the API server for.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// The action; `None` lets go of what one held.
    action: Option<ActionKind>,
    group: String,
    kind: String,
    namespace: String,
    name: String,
}

impl Expected {
    /// By the facts about an action; `None` when they do not name its object, or a kind that this version does not know.
    pub fn of_action(facts: &Value) -> Option<Self> {
        let action = ActionKind::from_name(facts["kind"].as_str()?)?;
        let target = &facts["target"];
        let text = |field: &str| target[field].as_str().map(str::to_owned);
        let version = text("apiVersion")?;
        let group = version.split_once('/').map_or("", |(group, _)| group).to_owned();
        Some(Self {
            action: Some(action),
            group,
            kind: text("kind")?,
            namespace: text("namespace").unwrap_or_default(),
            name: text("name")?,
        })
    }

    /// By an object that was held, as `Kind namespace/name`.
    pub fn of_release(object: &str) -> Option<Self> {
        let (kind, key) = object.split_once(' ')?;
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        let group = match kind {
            "Job" | "CronJob" => "batch",
            "HorizontalPodAutoscaler" => "autoscaling",
            _ => "",
        };
        let (kind, namespace, name) = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        Some(Self { action: None, group: group.to_owned(), kind, namespace, name })
    }

    /// This request is what was asked for.
    pub fn fits(&self, write: &Write) -> bool {
        use ActionKind as A;
        let to = |verb: &str, subresource: &str| {
            write.verb == verb && write.subresource == subresource && self.is(write)
        };
        match self.action {
            None
            | Some(
                A::DriveBounds
                | A::RollingRestart
                | A::RollBack
                | A::Cordon
                | A::Uncordon
                | A::Suspend
                | A::Resume,
            ) => to("patch", ""),
            Some(A::EvictPod) => to("create", "eviction"),
            Some(A::ScaleUp | A::ScaleDown) => to("patch", "scale"),
            Some(A::RetryJob) => self.repeats(write),
            Some(A::StartJob) => to("patch", "") || self.repeats(write),
            Some(A::CreateJob) => self.kind == "CronJob" && self.creates(write, MADE),
            Some(A::ResizePod) => to("patch", if self.kind == "CronJob" { "" } else { "resize" }),
            // The one is done as actions of other kinds, the other asks for nothing.
            Some(A::Drain | A::Notify) => false,
        }
    }

    /// The request is about this object.
    fn is(&self, write: &Write) -> bool {
        self.group == write.group
            && self.namespace == write.namespace
            && self.name == write.name
            // Of other kinds the plural is not known.
            && plural(&self.kind).is_none_or(|plural| plural == write.resource)
    }

    /// The request makes a Job that repeats this one.
    fn repeats(&self, write: &Write) -> bool {
        self.creates(write, "retry")
    }

    /// The request makes a Job whose name begins with that of this object, shortened, before such a mark.
    fn creates(&self, write: &Write, mark: &str) -> bool {
        let base = write.name.rsplit_once(&format!("-{mark}-")).map(|(base, _)| base);
        (write.verb.as_str(), write.resource.as_str(), write.subresource.as_str()) == ("create", "jobs", "")
            && self.group == write.group
            && self.namespace == write.namespace
            && base.is_some_and(|base| !base.is_empty() && self.name.starts_with(base))
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.action.map_or("release", ActionKind::name);
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(out, "{what} of {} {}{slash}{}", self.kind, self.namespace, self.name)
    }
}

fn plural(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "Pod" => "pods",
        "Node" => "nodes",
        "Deployment" => "deployments",
        "StatefulSet" => "statefulsets",
        "DaemonSet" => "daemonsets",
        "Job" => "jobs",
        "CronJob" => "cronjobs",
        "HorizontalPodAutoscaler" => "horizontalpodautoscalers",
        _ => return None,
    })
}
