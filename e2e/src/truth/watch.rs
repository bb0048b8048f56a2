//! Gathers the history of one column: watches of pods, Incidents and Actions, and the attempts in
//! the pods' logs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use homeostat_crds::v1alpha1::{Action, Incident};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::action::ActionView;
use super::at::At;
use super::attempt::History;
use super::follow::Follower;
use super::incident::{CauseView, Delivery, Incidents};
use super::pods::{PodView, Pods};

/// What has been seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// Attempts.
    pub history: History,
    /// Versions of incidents.
    pub incidents: Incidents,
    /// Latest versions of actions.
    pub actions: Vec<ActionView>,
    /// Pods.
    pub pods: Pods,
    /// How long processes needed before they could be called.
    pub starts: Vec<Start>,
}

/// A process that began to serve.
#[derive(Clone, Debug)]
pub struct Start {
    /// When that was read.
    pub at: At,
    /// Of which service.
    pub service: String,
    /// Since the process began.
    pub milliseconds: f64,
    /// What it had come to.
    pub reached: Reached,
}

/// How far a process is that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It accepts connections, in a new pod.
    Listening,
    /// The first connection came, in a pod that was there before: its callers were waiting.
    CalledInPlace,
    /// The first connection came, in a new pod: nobody calls that before Kubernetes has seen it ready.
    CalledAnew,
}

/// Why watching could not begin.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The file of attempts cannot be created.
    #[error("cannot write {}: {source}; the ground truth would be incomplete", path.display())]
    Record {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// A line that tells people what the watch saw, e.g. an incident that opened.
pub type Tell = Arc<dyn Fn(String) + Send + Sync>;

/// Watches one column until it is stopped.
#[derive(Clone)]
pub struct Observer {
    seen: Arc<Mutex<Seen>>,
    changed: Arc<Notify>,
    stop: CancellationToken,
    tasks: TaskTracker,
    tell: Tell,
}

impl Observer {
    /// Follows the pods of `namespaces` and writes their attempts to `file`. With
    /// `homeostat` it watches Incidents and Actions as well.
    pub fn start(
        client: &Client,
        namespaces: &[&str],
        file: &Path,
        homeostat: bool,
        tell: Tell,
    ) -> Result<Self, WatchError> {
        let observer = Self {
            seen: Arc::default(),
            changed: Arc::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            tell,
        };
        let follower = Follower::create(file, observer.clone())
            .map_err(|source| WatchError::Record { path: file.to_owned(), source })?;
        for namespace in namespaces {
            let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
            let (observer, follower) = (observer.clone(), follower.clone());
            let mut listed = BTreeSet::new();
            let of_namespace = (*namespace).to_owned();
            observer.clone().spawn("pods", api.clone(), move |event| match event {
                Event::Init => listed.clear(),
                Event::InitApply(pod) | Event::Apply(pod) => {
                    let Some(view) = PodView::of(&pod) else { return };
                    listed.insert(view.uid.clone());
                    observer.lock().pods.put(view.clone());
                    follower.follow(&api, &view);
                }
                Event::InitDone => {
                    let mut seen = observer.lock();
                    let others: Vec<String> = seen
                        .pods
                        .alive()
                        .filter(|pod| pod.namespace != of_namespace)
                        .map(|pod| pod.uid.clone())
                        .collect();
                    let keep = listed.iter().cloned().chain(others).collect();
                    seen.pods.retain(&keep);
                }
                Event::Delete(pod) => {
                    if let Some(uid) = pod.uid() {
                        observer.lock().pods.remove(&uid);
                    }
                }
            });
        }
        if homeostat {
            let incidents = observer.clone();
            observer.spawn("incidents", Api::<Incident>::all(client.clone()), move |event| {
                if let Event::InitApply(incident) | Event::Apply(incident) = event {
                    incidents.incident(&incident);
                }
            });
            let actions = observer.clone();
            observer.spawn("actions", Api::<Action>::all(client.clone()), move |event| {
                if let Event::InitApply(action) | Event::Apply(action) = event {
                    actions.action(&action);
                }
            });
        }
        Ok(observer)
    }

    /// What has been seen so far.
    pub fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next change, at most `limit`.
    pub async fn changed(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.changed.notified()).await;
    }

    /// Ends when the observer is stopped.
    pub(super) fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a task that ends with the observer.
    pub(super) fn task(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Tells waiting tasks that something changed.
    pub(super) fn notify(&self) {
        self.changed.notify_waiters();
    }

    /// Stops watching; what was seen stays.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn spawn<K>(&self, what: &'static str, api: Api<K>, mut handle: impl FnMut(Event<K>) + Send + 'static)
    where
        K: kube::Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    {
        let observer = self.clone();
        self.task(async move {
            let config = watcher::Config::default().any_semantic();
            let mut events = watcher(api, config).boxed();
            loop {
                match events.try_next().await {
                    Ok(Some(event)) => {
                        handle(event);
                        observer.notify();
                    }
                    Ok(None) => return,
                    Err(error) => {
                        tracing::debug!(what, error = %error, "watch interrupted");
                        tokio::time::sleep(Duration::from_millis(500)).await;
                    }
                }
            }
        });
    }

    fn incident(&self, incident: &Incident) {
        let status = incident.status.clone().unwrap_or_default();
        let state = status.state.map_or_else(String::new, |state| format!("{state:?}"));
        let delivery = Delivery {
            at: At::now(),
            uid: incident.uid().unwrap_or_default(),
            name: incident.name_any(),
            causes: status
                .causes
                .iter()
                .map(|cause| CauseView {
                    entity: cause.entity.kind.clone(),
                    name: cause.entity.name.clone(),
                    kind: cause.kind.clone(),
                })
                .collect(),
            reopened: u32::try_from(status.reopen_count).unwrap_or(0),
            handed_over: status.handover.is_some() || state == "HandedOver",
            state,
            findings: status
                .findings
                .iter()
                .map(|finding| format!("{} on {}/{}", finding.kind, finding.entity.kind, finding.entity.name))
                .collect(),
        };
        let mut seen = self.lock();
        let before = seen.incidents.deliveries.iter().rev().find(|old| old.uid == delivery.uid).cloned();
        let lines =
            found(&delivery, before.as_ref()).chain(told(&delivery, before.as_ref())).collect::<Vec<_>>();
        seen.incidents.deliveries.push(delivery);
        drop(seen);
        for line in lines {
            (self.tell)(line);
        }
    }

    fn action(&self, action: &Action) {
        let status = action.status.clone().unwrap_or_default();
        let target = &action.spec.target;
        let mut seen = self.lock();
        let service = match target.kind.as_str() {
            "Pod" => seen.pods.service_of(&target.name).map(str::to_owned),
            _ => Some(target.name.clone()),
        };
        let uid = action.uid().unwrap_or_default();
        let known = seen.actions.iter().position(|old| old.uid == uid);
        let before = known.and_then(|index| seen.actions.get(index)).cloned();
        let sent = status.instants.as_ref().and_then(|i| i.sent);
        let view = ActionView {
            uid,
            name: action.name_any(),
            action: format!("{:?}", action.spec.action),
            incident: action.spec.serves().to_owned(),
            target: format!("{}/{}", target.kind, target.name),
            service: service.or_else(|| before.as_ref().and_then(|old| old.service.clone())),
            state: status.state.map_or_else(String::new, |state| format!("{state:?}")),
            seen: before.as_ref().map_or_else(At::now, |old| old.seen),
            sent: sent.map(|at| At::from_timestamp(at.timestamp())),
        };
        let changed =
            before.as_ref().is_none_or(|old| old.state != view.state) && TOLD.contains(&view.state.as_str());
        let why = status.message.unwrap_or_default();
        let line = changed.then(|| {
            format!(
                "action    {} {}: {}{}{why}",
                view.action,
                view.target,
                view.state,
                if why.is_empty() { "" } else { ", " }
            )
        });
        match known.and_then(|index| seen.actions.get_mut(index)) {
            Some(old) => *old = view,
            None => seen.actions.push(view),
        }
        drop(seen);
        if let Some(line) = line {
            (self.tell)(line);
        }
    }
}

/// What people want to read of an incident's new version; most versions say nothing new to them.
fn told(now: &Delivery, before: Option<&Delivery>) -> Option<String> {
    let top = now.causes.first();
    let before_top = before.and_then(|old| old.causes.first());
    let cause = top.map_or_else(|| "no cause yet".to_owned(), CauseView::text);
    let text = if before.is_some_and(|old| old.reopened < now.reopened) {
        format!("reopened: {cause}")
    } else if before_top.is_none() && top.is_some() {
        format!("opened: {cause}")
    } else if top.map(|cause| &cause.name) != before_top.map(|cause| &cause.name) {
        format!("now says: {cause}")
    } else if now.handed_over && before.is_none_or(|old| !old.handed_over) {
        "handed over to people".to_owned()
    } else if now.state == "Resolved" && before.is_none_or(|old| old.state != now.state) {
        "resolved".to_owned()
    } else {
        return None;
    };
    Some(format!("incident  {} {text}", now.name))
}

/// Findings that are new in this version. Those of a reopened incident are told again.
fn found<'a>(now: &'a Delivery, before: Option<&'a Delivery>) -> impl Iterator<Item = String> + 'a {
    let known = before.filter(|old| old.reopened == now.reopened).map_or(&[][..], |old| &old.findings[..]);
    let new = now.findings.iter().filter(move |finding| !known.contains(finding));
    new.map(|finding| format!("finding   {finding}"))
}

/// States of an action that people want to read about.
const TOLD: [&str; 8] =
    ["AwaitingApproval", "Refused", "Sent", "Verified", "Undone", "Failed", "Cancelled", "HandedOver"];

#[cfg(test)]
mod tests {
    use super::*;

    fn version(state: &str, causes: &[&str], reopened: u32, handed_over: bool) -> Delivery {
        let cause =
            |name: &&str| CauseView { entity: "Workload".into(), name: (*name).into(), kind: "Hung".into() };
        Delivery {
            at: At(0),
            uid: "u".into(),
            name: "i".into(),
            causes: causes.iter().map(cause).collect(),
            reopened,
            handed_over,
            state: state.into(),
            findings: causes.iter().map(|name| format!("Hung on Workload/{name}")).collect(),
        }
    }

    #[test]
    fn people_read_of_openings_other_causes_hand_over_and_the_end() {
        let empty = version("Open", &[], 0, false);
        let open = version("Open", &["order"], 0, false);
        let acting = version("Acting", &["order"], 0, false);
        let other = version("Acting", &["kitchen"], 0, false);
        let over = version("HandedOver", &["kitchen"], 0, true);
        assert_eq!(told(&empty, None), None);
        assert_eq!(told(&open, Some(&empty)).unwrap(), "incident  i opened: Workload/order (Hung)");
        assert_eq!(told(&open, None), told(&open, Some(&empty)));
        assert_eq!(told(&acting, Some(&open)), None);
        assert_eq!(told(&other, Some(&acting)).unwrap(), "incident  i now says: Workload/kitchen (Hung)");
        assert_eq!(told(&over, Some(&other)).unwrap(), "incident  i handed over to people");
        assert_eq!(told(&over, Some(&over)), None);
        let resolved = version("Resolved", &["order"], 0, false);
        assert_eq!(told(&resolved, Some(&acting)).unwrap(), "incident  i resolved");
        let again = version("Open", &["order"], 1, false);
        assert_eq!(told(&again, Some(&resolved)).unwrap(), "incident  i reopened: Workload/order (Hung)");
    }

    #[test]
    fn each_finding_is_told_once_and_again_when_the_incident_is_reopened() {
        let lines = |now: &Delivery, before| found(now, before).collect::<Vec<_>>();
        let open = version("Open", &["order"], 0, false);
        let more = version("Open", &["order", "kitchen"], 0, false);
        assert_eq!(lines(&open, None), ["finding   Hung on Workload/order"]);
        assert_eq!(lines(&more, Some(&open)), ["finding   Hung on Workload/kitchen"]);
        assert!(lines(&more, Some(&more)).is_empty());
        let again = version("Open", &["order"], 1, false);
        assert_eq!(lines(&again, Some(&more)), lines(&open, None));
    }
}
