//! Kubernetes Events: what happened, for `kubectl describe` and `kubectl get events`. On change only.

#![allow(
    clippy::disallowed_methods,
    reason = "how long the API server is waited for; nothing about the cluster is decided by it"
)]

use crate::client::call;
use crate::elector::Leadership;
use crate::error::ClusterError;
use homeostat_crds::clip;
use homeostat_execute::asking::{Patience, step_of};
use homeostat_knowledge::records::Release;
use homeostat_knowledge::{ActionRecord, ActionState, Incident, Name};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// `reportingController` of our Events.
pub const CONTROLLER: &str = "homeostat.dev/homeostat";

/// Characters that the API server takes as a note.
const NOTE_LIMIT: usize = 1_024;
/// Facts that may wait to be published; more are dropped and counted.
const QUEUE: usize = 256;
/// A fact that was told within this time is not told again.
const REPEAT: Duration = Duration::from_mins(10);
/// Facts that are remembered for that.
const REMEMBERED: usize = 512;

macro_rules! reasons {
    ($($(#[doc = $text:literal])+ $name:ident: $action:literal, $warning:literal;)+) => {
        /// Why an Event is published. The only reasons there are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventReason {
            $($(#[doc = $text])+ $name,)+
        }

        impl EventReason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word in the Event's `reason`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// The word in the Event's `action`: what we did.
            pub fn action(self) -> &'static str {
                match self { $(Self::$name => $action,)+ }
            }

            /// `Warning` instead of `Normal`: something that should not happen.
            pub fn warning(self) -> bool {
                match self { $(Self::$name => $warning,)+ }
            }

            /// When it is published.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($text,)+).trim_ascii(),)+ }
            }
        }
    };
}
reasons! {
    /// A fault was recognised; the note names the most likely cause.
    IncidentOpened: "Detect", true;
    /// A fault that had been mitigated came back.
    IncidentReopened: "Detect", true;
    /// The workload is back inside its objective and is being watched.
    IncidentMitigated: "Observe", false;
    /// The verification window passed without the fault coming back.
    IncidentResolved: "Observe", false;
    /// People have to take over; the note says why.
    HandedOver: "HandOver", true;
    /// An action would be done if the level allowed it.
    ActionProposed: "Plan", false;
    /// An action waits for the approval of a person.
    ApprovalNeeded: "Plan", false;
    /// Nobody answered an action that waits for approval; the note says who is asked, and until when.
    ApprovalOverdue: "Plan", true;
    /// The API server took the effect of an action.
    ActionSent: "Act", false;
    /// An action helped.
    ActionVerified: "Verify", false;
    /// An action did not help or could not be done.
    ActionFailed: "Verify", true;
    /// A guard refused an action; the note names the guard and what to do.
    ActionRefused: "Guard", false;
    /// The situation changed before the effect of an action; nothing was done.
    ActionCancelled: "Guard", false;
    /// An action did not help and was taken back.
    ActionUndone: "Undo", true;
    /// What an action held was let go before Homeostat is removed; the note names the action and the request.
    HoldReleased: "Release", false;
}

/// The table of reasons for the documentation, as Markdown.
pub fn documentation() -> String {
    let row = |reason: &EventReason| {
        let type_ = if reason.warning() { "Warning" } else { "Normal" };
        format!("| `{}` | {type_} | `{}` | {} |\n", reason.name(), reason.action(), reason.meaning())
    };
    let head = "| Reason | Type | Action | Published when |\n|---|---|---|---|\n".to_owned();
    head + &EventReason::ALL.iter().map(row).collect::<String>()
}

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fact {
    /// Why.
    pub reason: EventReason,
    /// What it is about; the Event lives in its namespace.
    pub regarding: Reference,
    /// The incident or action behind it.
    pub related: Option<Reference>,
    /// For people; cut at 1024 characters.
    pub note: String,
}

/// An object by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// `apiVersion`.
    pub api_version: Name,
    /// Kind.
    pub kind: Name,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: Name,
    /// Name.
    pub name: Name,
    /// UID, when it is known.
    pub uid: Option<Name>,
}

impl Reference {
    fn ours(kind: &str, namespace: &Name, name: &Name) -> Self {
        Self {
            api_version: Name::from("homeostat.dev/v1alpha1"),
            kind: Name::from(kind),
            namespace: namespace.clone(),
            name: name.clone(),
            uid: None,
        }
    }

    fn wire(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some(self.api_version.to_string()),
            kind: Some(self.kind.to_string()),
            namespace: (!self.namespace.is_empty()).then(|| self.namespace.to_string()),
            name: Some(self.name.to_string()),
            uid: self.uid.as_ref().map(ToString::to_string),
            ..ObjectReference::default()
        }
    }
}

impl Fact {
    /// A fact about an incident: told of its workload where there is one, else of the incident itself.
    pub fn of_incident(reason: EventReason, incident: &Incident, note: impl Into<String>) -> Self {
        let itself = Reference::ours("Incident", &incident.namespace, &incident.id.0);
        let workload =
            incident.workload.as_ref().map(|key| Reference::ours("Workload", &key.namespace, &key.name));
        Self {
            reason,
            regarding: workload.clone().unwrap_or_else(|| itself.clone()),
            related: workload.map(|_| itself),
            note: note.into(),
        }
    }

    /// What an action's present state is worth telling: told of the object that it changes.
    pub fn of_action(record: &ActionRecord) -> Option<Self> {
        let reason = match record.state {
            ActionState::Proposed => EventReason::ActionProposed,
            ActionState::AwaitingApproval if step_of(&record.message) > Patience::Asked => {
                EventReason::ApprovalOverdue
            }
            ActionState::AwaitingApproval => EventReason::ApprovalNeeded,
            ActionState::Sent => EventReason::ActionSent,
            ActionState::Verified => EventReason::ActionVerified,
            ActionState::Failed => EventReason::ActionFailed,
            ActionState::Refused => EventReason::ActionRefused,
            ActionState::Cancelled => EventReason::ActionCancelled,
            ActionState::Undone => EventReason::ActionUndone,
            ActionState::HandedOver => EventReason::HandedOver,
            ActionState::Admitted | ActionState::Claimed | ActionState::Verifying => return None,
        };
        let target = &record.target;
        Some(Self {
            reason,
            regarding: Reference {
                api_version: target.api_version.clone(),
                kind: target.kind.clone(),
                // Events about cluster-scoped objects live in the namespace of the action.
                namespace: if target.key.namespace.is_empty() {
                    record.namespace.clone()
                } else {
                    target.key.namespace.clone()
                },
                name: target.key.name.clone(),
                uid: Some(target.uid.0.clone()),
            },
            related: Some(Reference::ours("Action", &record.namespace, &record.id.0)),
            note: format!("{}: {}", record.kind(), record.message),
        })
    }

    /// That something is not held any more: told of it. `None` for what is no object that can be held.
    pub fn of_release(release: &Release) -> Option<Self> {
        let (kind, key) = release.object.split_once(' ')?;
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        let api_version = match kind {
            "Node" => "v1",
            "Job" | "CronJob" => "batch/v1",
            "HorizontalPodAutoscaler" => "autoscaling/v2",
            _ => return None,
        };
        Some(Self {
            reason: EventReason::HoldReleased,
            regarding: Reference {
                api_version: Name::from(api_version),
                kind: Name::from(kind),
                namespace: Name::from(namespace),
                name: Name::from(name),
                uid: Some(release.uid.0.clone()),
            },
            related: None,
            note: release.note(),
        })
    }

    fn event(&self) -> Event {
        Event {
            type_: if self.reason.warning() { EventType::Warning } else { EventType::Normal },
            reason: self.reason.name().to_owned(),
            note: Some(clip(&self.note, NOTE_LIMIT)),
            action: self.reason.action().to_owned(),
            secondary: self.related.as_ref().map(Reference::wire),
        }
    }
}

/// Publishes these facts at once, for a program that ends then. The first one that is not taken is the last: such a program
/// does not wait for each of many.
///
/// # Errors
/// What the API server answered, or that it did not answer in time.
pub async fn publish(client: Client, instance: &str, facts: &[Fact]) -> Result<(), ClusterError> {
    let recorder = Recorder::new(client, reporter(instance));
    for fact in facts {
        let what = Name::from(format!("{} of {}", fact.reason.name(), fact.regarding.name));
        let (event, regarding) = (fact.event(), fact.regarding.wire());
        call("publish", &what, recorder.publish(&event, &regarding)).await?;
    }
    Ok(())
}

fn reporter(instance: &str) -> Reporter {
    Reporter { controller: CONTROLLER.to_owned(), instance: Some(instance.to_owned()) }
}

/// Takes facts without waiting. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventRecorder {
    sender: mpsc::Sender<Fact>,
    dropped: Arc<AtomicU64>,
}

/// Publishes the facts that [`EventRecorder`] took.
pub struct EventPublisher {
    recorder: Recorder,
    receiver: mpsc::Receiver<Fact>,
    told: VecDeque<(u64, Instant)>,
}

/// A recorder, and the publisher that must be run for it. `instance` is the replica's name.
pub fn recorder(client: Client, instance: impl Into<String>) -> (EventRecorder, EventPublisher) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let recorder = Recorder::new(client, reporter(&instance.into()));
    let publisher = EventPublisher { recorder, receiver, told: VecDeque::new() };
    (EventRecorder { sender, dropped: Arc::default() }, publisher)
}

impl EventRecorder {
    /// Has a fact published soon. Facts are a courtesy: when too many wait, this one is dropped and counted.
    pub fn tell(&self, fact: Fact) {
        if self.sender.try_send(fact).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Facts dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl EventPublisher {
    /// Publishes until `shutdown` or until every recorder is gone. Facts of a replica that does not lead are not
    /// published: the leader tells the same.
    pub async fn run(mut self, leadership: Leadership, shutdown: CancellationToken) {
        let mut failing = false;
        loop {
            let fact = tokio::select! {
                () = shutdown.cancelled() => return,
                fact = self.receiver.recv() => match fact {
                    Some(fact) => fact,
                    None => return,
                },
            };
            if !leadership.leads() || !self.is_news(&fact) {
                continue;
            }
            let (event, regarding) = (fact.event(), fact.regarding.wire());
            let published =
                tokio::time::timeout(crate::client::CALL_LIMIT, self.recorder.publish(&event, &regarding))
                    .await;
            let failed = !matches!(published, Ok(Ok(())));
            if failed && !failing {
                let reason = fact.reason.name();
                tracing::warn!(reason, error = ?published.map(Result::err), "Event not published");
            }
            failing = failed;
        }
    }

    fn is_news(&mut self, fact: &Fact) -> bool {
        let mut hasher = DefaultHasher::new();
        fact.hash(&mut hasher);
        let (digest, now) = (hasher.finish(), Instant::now());
        while self.told.front().is_some_and(|(_, at)| now.duration_since(*at) >= REPEAT)
            || self.told.len() >= REMEMBERED
        {
            self.told.pop_front();
        }
        let news = self.told.iter().all(|(told, _)| *told != digest);
        if news {
            self.told.push_back((digest, now));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::eviction;

    #[test]
    fn every_reason_is_documented_and_a_word() {
        let table = documentation();
        for reason in EventReason::ALL {
            let name = reason.name();
            assert!(
                name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(char::is_alphanumeric)
            );
            assert!(table.contains(&format!("| `{name}` |")), "{name}");
            assert!(reason.meaning().ends_with('.'), "{name}");
        }
        assert_eq!(table.lines().count(), EventReason::ALL.len() + 2);
    }

    #[test]
    fn an_action_tells_what_people_should_know_and_no_more() {
        let mut record = eviction();
        assert_eq!(Fact::of_action(&record), None, "an intent alone is no news");
        record.state = ActionState::Sent;
        let fact = Fact::of_action(&record).unwrap();
        assert_eq!((fact.reason, &*fact.regarding.kind), (EventReason::ActionSent, "Pod"));
        assert_eq!(fact.related.unwrap().name, record.id.0);
        assert!(fact.note.starts_with("EvictPod: "));
    }
}
