//! What the kubelet says of a pod, as findings: crashes and their kind, back-off, images, placement, readiness.

use crate::setup::{self, Said};
use homeostat_knowledge::kubelet::{NO_IMAGE, OUT_OF_MEMORY};
use homeostat_knowledge::records::{ControllerKey, EventRecord, JobEnd, Termination};
use homeostat_knowledge::runs::first_tries;
use homeostat_knowledge::{
    ContainerState, ControllerKind, ControllerRecord, Evidence, FindingKind, Name, ObjectKey, PodRecord,
    SignedDuration, Snapshot, Timestamp, Uid,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The kubelet forgets its restart back-off after ten minutes of health.
pub const BACK_OFF_MEMORY: SignedDuration = SignedDuration::from_mins(10);
/// A container that ends by itself within this time "fails at start".
const START_SECONDS: f64 = 10.0;
/// Ready for so long before a crash finding is over: a crash at start is "ready" for a moment without probes.
const READY_HOLD: SignedDuration = SignedDuration::from_millis(1_500);
/// Not ready for so long, without a crash, before it is a finding.
const NOT_READY_AFTER: SignedDuration = SignedDuration::from_secs(30);
/// Unschedulable for so long before it is a finding: the scheduler often needs a second try.
const UNSCHEDULABLE_AFTER: SignedDuration = SignedDuration::from_secs(10);

/// One unexpected end of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Crash {
    /// When we saw it.
    pub seen: Timestamp,
    /// When it happened: the kubelet's time, which has whole seconds, but never after `seen`.
    pub at: Timestamp,
    /// Kubelet's reason.
    pub reason: String,
    /// Exit code.
    pub exit_code: i32,
    /// How long the container had run, in seconds, when known.
    pub ran_seconds: Option<f64>,
    /// Failed by itself right after its start.
    pub at_start: bool,
}

/// Memory of one pod.
#[derive(Clone, Debug)]
pub struct PodMemory {
    /// Namespace and name.
    pub key: ObjectKey,
    /// UID; a pod of the same name later starts anew.
    pub uid: Uid,
    counted: u32,
    /// Unexpected ends that we saw, oldest first, bounded at 8.
    pub crashes: Vec<Crash>,
    ready_since: Option<Timestamp>,
    not_ready_since: Option<Timestamp>,
    setup_since: Option<Timestamp>,
    said: Option<Said>,
    /// For a pod of a Job: a later run ended well.
    made_good: bool,
    /// The present finding, if any: kind, since, evidence.
    pub finding: Option<(FindingKind, Timestamp, Vec<Evidence>)>,
}

/// Memories of all pods of controlled workloads, by UID.
#[derive(Debug, Default)]
pub struct Pods {
    memories: BTreeMap<Uid, PodMemory>,
}

impl Pods {
    /// Takes the newest record of a pod of a controlled workload.
    pub fn observe(&mut self, pod: &PodRecord, now: Timestamp) {
        let first_sight = !self.memories.contains_key(&pod.uid);
        let memory = self.memories.entry(pod.uid.clone()).or_insert_with(|| PodMemory {
            key: pod.key.clone(),
            uid: pod.uid.clone(),
            counted: 0,
            crashes: Vec::new(),
            ready_since: None,
            not_ready_since: Some(now),
            setup_since: None,
            said: None,
            made_good: false,
            finding: None,
        });
        if pod.ready {
            memory.ready_since.get_or_insert(now);
            memory.not_ready_since = None;
        } else {
            memory.ready_since = None;
            memory.not_ready_since.get_or_insert(now);
        }
        if pod.setup.is_some() {
            memory.setup_since.get_or_insert(now);
        } else {
            memory.setup_since = None;
            memory.said = None;
        }
        let ended: u32 = pod
            .containers
            .iter()
            .map(|container| container.restarts + u32::from(is_down(&container.state)))
            .sum();
        // What happened before we looked is not an event, unless the container is down right now.
        let down = pod.containers.iter().any(|container| is_down(&container.state));
        if first_sight {
            memory.counted = ended.saturating_sub(u32::from(down));
        }
        if ended > memory.counted {
            memory.counted = ended;
            if !pod.deleting
                && let Some(end) = last_end(pod)
                && !planned(pod, end)
            {
                memory.crash(end, now);
                // That it was not ready in between was not seen: it is ready anew.
                if pod.ready {
                    memory.ready_since = Some(now);
                }
            }
        }
        memory.classify(pod, now);
    }

    /// Takes what an Event says of a pod whose containers are not made.
    pub fn hear(&mut self, event: &EventRecord) {
        let memory = event.uid.as_ref().and_then(|uid| self.memories.get_mut(uid));
        if let Some(memory) = memory.filter(|memory| memory.setup_since.is_some())
            && let Some(said) = setup::said(event)
        {
            memory.said = Some(said);
        }
    }

    /// Re-judges by time alone (holds, time limits), and forgets pods that are gone.
    pub fn tick(&mut self, snapshot: &Snapshot, now: Timestamp) {
        // Looked up at most once a tick, and only while a pod of a Job has a finding.
        let mut good = None;
        self.memories.retain(|uid, memory| match snapshot.pods.get(&memory.key) {
            Some(pod) if pod.uid == *uid => {
                if memory.finding.is_some()
                    && !memory.made_good
                    && let Some((end, job)) = memory.crashes.last().zip(job_of(snapshot, pod))
                {
                    let good = good.get_or_insert_with(|| last_good_ends(snapshot));
                    let ends = [Some(&job.uid), job.owner.as_ref().map(|owner| &owner.uid)];
                    let space = &job.key.object.namespace;
                    let mut ends = ends.into_iter().flatten().filter_map(|uid| good.get(&(space, uid)));
                    memory.made_good = ends.any(|at| *at > end.at);
                }
                memory.classify(pod, now);
                true
            }
            _ => false,
        });
    }

    /// Whether this pod was seen before.
    pub fn knows(&self, uid: &Uid) -> bool {
        self.memories.contains_key(uid)
    }

    /// Pods with a finding: their keys, and kind, since when, evidence.
    pub fn findings(&self) -> impl Iterator<Item = (&ObjectKey, &(FindingKind, Timestamp, Vec<Evidence>))> {
        self.memories.values().filter_map(|memory| Some((&memory.key, memory.finding.as_ref()?)))
    }

    /// Present finding of a pod.
    pub fn finding(&self, uid: &Uid) -> Option<&(FindingKind, Timestamp, Vec<Evidence>)> {
        self.memories.get(uid)?.finding.as_ref()
    }

    /// Memory of a pod.
    pub fn memory(&self, uid: &Uid) -> Option<&PodMemory> {
        self.memories.get(uid)
    }
}

fn is_down(state: &ContainerState) -> bool {
    match state {
        ContainerState::Terminated(_) => true,
        ContainerState::Waiting { reason } => &**reason == "CrashLoopBackOff",
        ContainerState::Running { .. } => false,
    }
}

fn last_end(pod: &PodRecord) -> Option<&Termination> {
    let of = |container: &'_ homeostat_knowledge::ContainerRecord| -> Option<Termination> {
        match &container.state {
            ContainerState::Terminated(end) => Some(end.clone()),
            _ => container.last_termination.clone(),
        }
    };
    // The container that ended last speaks for the pod.
    let index = pod
        .containers
        .iter()
        .enumerate()
        .filter_map(|(index, container)| of(container).map(|end| (end.finished, index)))
        .max()?
        .1;
    match &pod.containers[index].state {
        ContainerState::Terminated(end) => Some(end),
        _ => pod.containers[index].last_termination.as_ref(),
    }
}

/// The pod is one try of a run.
fn of_run(pod: &PodRecord) -> bool {
    pod.owner.as_ref().is_some_and(|owner| owner.kind == ControllerKind::Job)
}

/// Jobs end; that is their purpose. A clean exit of one is no crash.
fn planned(pod: &PodRecord, end: &Termination) -> bool {
    end.exit_code == 0 && of_run(pod)
}

impl PodMemory {
    fn crash(&mut self, end: &Termination, now: Timestamp) {
        let ran_seconds = match (end.started, end.finished) {
            (Some(started), Some(finished)) => Some(finished.duration_since(started).as_secs_f64().max(0.0)),
            _ => None,
        };
        let killed = matches!(end.exit_code, 137 | 143);
        let crash = Crash {
            seen: now,
            at: end.finished.map_or(now, |finished| finished.min(now)),
            reason: end.reason.to_string(),
            exit_code: end.exit_code,
            ran_seconds,
            at_start: !killed && ran_seconds.is_some_and(|seconds| seconds <= START_SECONDS),
        };
        if self.crashes.len() >= 8 {
            self.crashes.remove(0);
        }
        self.crashes.push(crash);
    }

    /// Whether the kubelet will wait before it starts the container again: it ended before within its memory.
    pub fn backs_off(&self, now: Timestamp) -> bool {
        let recent =
            self.crashes.iter().filter(|crash| now.duration_since(crash.seen) <= BACK_OFF_MEMORY).count();
        recent >= 2
    }

    fn classify(&mut self, pod: &PodRecord, now: Timestamp) {
        if pod.deleting || self.made_good {
            self.finding = None;
            return;
        }
        // A process that cannot be made does not crash; what it did before is not the reason any more.
        let setup = self.setup(pod, now);
        if let Some((kind, evidence)) = setup.clone().filter(|_| setup::cannot_be_made(pod)) {
            self.finding = Some((kind, self.setup_since.unwrap_or(now), evidence));
            return;
        }
        let ready_held = self.ready_since.is_some_and(|since| now.duration_since(since) >= READY_HOLD);
        let crashed = self.crashes.last().filter(|crash| {
            // Over once the pod was ready for a while after the crash.
            !(ready_held && self.ready_since.is_some_and(|since| since >= crash.at) && !any_down(pod))
        });
        if let Some(crash) = crashed.cloned() {
            let kind = if of_run(pod) {
                // Its Job decides what follows, not the kubelet alone: what failed is a try of a run.
                if crash.reason == OUT_OF_MEMORY { FindingKind::OutOfMemory } else { FindingKind::JobFailed }
            } else if crash.at_start {
                FindingKind::CrashLoop
            } else if self.backs_off(now) || waiting(pod, &["CrashLoopBackOff"]).is_some() {
                FindingKind::BackingOff
            } else if crash.reason == OUT_OF_MEMORY {
                FindingKind::OutOfMemory
            } else {
                FindingKind::Crashed
            };
            let mut evidence = vec![Evidence::new(
                "container ended",
                format!("{} with exit code {}{}", crash.reason, crash.exit_code, ran(crash.ran_seconds)),
            )];
            if let Some(run) = pod.owner.as_ref().filter(|_| of_run(pod)) {
                evidence.push(Evidence::new("run", run.name.to_string()));
            }
            if self.crashes.len() > 1 {
                evidence.push(Evidence::new("ends of this pod's containers", self.crashes.len().to_string()));
            }
            if let Some(reason) = waiting(pod, &["CrashLoopBackOff"]) {
                evidence.push(Evidence::new("kubelet", format!("waits ({reason})")));
            }
            // A later kind of the same trouble keeps its beginning.
            let since = match &self.finding {
                Some((_, since, _)) => *since,
                None => crash.at,
            };
            self.finding = Some((kind, since, evidence));
            return;
        }
        if let Some(reason) = waiting(pod, &NO_IMAGE) {
            let since = self.finding.as_ref().map_or(now, |(_, since, _)| *since);
            self.finding =
                Some((FindingKind::ImagePullFailed, since, vec![Evidence::new("kubelet", reason)]));
            return;
        }
        let waited = |since: Option<Timestamp>, limit: SignedDuration| {
            since.filter(|since| now.duration_since(*since) >= limit)
        };
        if let Some(message) = &pod.unschedulable {
            self.finding = waited(self.not_ready_since, UNSCHEDULABLE_AFTER).map(|since| {
                (FindingKind::Unschedulable, since, vec![Evidence::new("scheduler", message.to_string())])
            });
            return;
        }
        if let Some((kind, evidence)) = setup {
            self.finding = Some((kind, self.setup_since.unwrap_or(now), evidence));
            return;
        }
        let running = pod.phase == homeostat_knowledge::records::PodPhase::Running;
        self.finding = match waited(self.not_ready_since, NOT_READY_AFTER) {
            Some(since) if running => Some((
                FindingKind::NotReady,
                since,
                vec![Evidence::new(
                    "readiness",
                    format!("not ready for {:.0} s", now.duration_since(since).as_secs_f64()),
                )],
            )),
            _ => None,
        };
    }
}

impl PodMemory {
    /// What its containers wait for, once they waited for long enough.
    fn setup(&self, pod: &PodRecord, now: Timestamp) -> Option<(FindingKind, Vec<Evidence>)> {
        let since = self.setup_since?;
        setup::judge(pod.setup.as_ref()?, self.said.as_ref(), now.duration_since(since))
    }
}

/// The Job that made a pod. Such a pod never gets ready again: what it failed at is over when its Job, a repeat of that, or
/// another run of the same owner ended well since.
fn job_of<'a>(snapshot: &'a Snapshot, pod: &PodRecord) -> Option<&'a Arc<ControllerRecord>> {
    let owner = pod.owner.as_ref().filter(|_| of_run(pod))?;
    let object = ObjectKey::new(pod.key.namespace.clone(), owner.name.clone());
    snapshot.controllers.get(&ControllerKey { kind: ControllerKind::Job, object })
}

/// When the last run that ended well did: of each Job and its repeats, and of each owner of Jobs.
fn last_good_ends(snapshot: &Snapshot) -> BTreeMap<(&Name, &Uid), Timestamp> {
    let firsts = first_tries(snapshot);
    let mut ends = BTreeMap::new();
    for run in snapshot.controllers.values().filter(|run| run.finished == Some(JobEnd::Complete)) {
        let Some(at) = run.run.completed else { continue };
        let owner = run.owner.as_ref().map(|owner| &owner.uid);
        for uid in [Some(&run.uid), owner, firsts.get(&run.uid).copied()].into_iter().flatten() {
            let last: &mut Timestamp = ends.entry((&run.key.object.namespace, uid)).or_insert(at);
            *last = at.max(*last);
        }
    }
    ends
}

fn any_down(pod: &PodRecord) -> bool {
    pod.containers.iter().any(|container| is_down(&container.state))
}

fn waiting(pod: &PodRecord, reasons: &[&str]) -> Option<String> {
    pod.containers.iter().find_map(|container| match &container.state {
        ContainerState::Waiting { reason } if reasons.contains(&&**reason) => Some(reason.to_string()),
        _ => None,
    })
}

fn ran(seconds: Option<f64>) -> String {
    seconds.map_or_else(String::new, |seconds| format!(" after {seconds:.0} s"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
mod tests {
    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn put(snapshot: &mut Snapshot, job: &str, completed: Option<i64>) {
        let record: ControllerRecord = serde_json::from_value(json!({
            "key": {"kind": "Job", "object": {"namespace": "water", "name": job}},
            "uid": job, "resource_version": "1", "generation": 1, "observed_generation": 1,
            "replicas": 1, "current": 1, "ready": 0, "updated": 1, "revision": null, "surges": false, "paused": false,
            "template_labels": {}, "gitops_owner": null, "work": null, "hold": null, "do_not_touch": null,
            "owner": {"kind": "CronJob", "name": "plan", "uid": "plan"},
            "finished": if completed.is_some() { "Complete" } else { "Failed" },
            "run": {"started": at(90), "completed": completed.map(at), "deadline": null},
        }))
        .unwrap();
        snapshot.commit(&ObjectChange::Controller(Change::Applied(Arc::new(record))), at(0));
    }

    #[test]
    fn what_a_run_failed_at_is_over_when_a_later_run_of_the_same_owner_ends_well() {
        let pod: PodRecord = serde_json::from_value(json!({
            "key": {"namespace": "water", "name": "plan-1-x"}, "uid": "x", "resource_version": "1", "node": "one",
            "ip": null, "phase": "Failed", "owner": {"kind": "Job", "name": "plan-1", "uid": "plan-1"},
            "deleting": false, "ready": false, "unschedulable": null, "created": at(90), "template_hash": null,
            "local_data": false,
            "containers": [{
                "name": "run", "ready": false, "restarts": 0, "last_termination": null, "cpu_request": null,
                "memory": {"request": null, "limit": null},
                "state": {"Terminated": {
                    "reason": "OOMKilled", "exit_code": 137, "started": at(90), "finished": at(100), "used": {},
                }},
            }],
        }))
        .unwrap();
        let (mut pods, mut snapshot) = (Pods::default(), Snapshot::default());
        snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod.clone()))), at(0));
        put(&mut snapshot, "plan-0", Some(95));
        put(&mut snapshot, "plan-1", None);
        pods.observe(&pod, at(101));
        pods.tick(&snapshot, at(102));
        let kind = |pods: &Pods| pods.findings().next().map(|(_, (kind, _, _))| *kind);
        assert_eq!(kind(&pods), Some(FindingKind::OutOfMemory), "an earlier run says nothing of it");
        put(&mut snapshot, "plan-1-again", Some(110));
        pods.tick(&snapshot, at(111));
        assert_eq!(kind(&pods), None);
        pods.observe(&pod, at(112));
        assert_eq!(kind(&pods), None, "seeing the dead pod again does not bring it back");
    }

    /// A pod of `owner` whose container ended in this way after two seconds, and waits to be started again.
    fn ended(owner: &str, reason: &str, exit_code: i32) -> PodRecord {
        let end = json!({"reason": reason, "exit_code": exit_code, "started": at(98), "finished": at(100), "used": {}});
        serde_json::from_value(json!({
            "key": {"namespace": "water", "name": "plan-1-x"}, "uid": "x", "resource_version": "1", "node": "one",
            "ip": null, "phase": "Running", "owner": {"kind": owner, "name": "plan-1", "uid": "plan-1"},
            "deleting": false, "ready": false, "unschedulable": null, "created": at(90), "template_hash": null,
            "local_data": false,
            "containers": [{
                "name": "run", "ready": false, "restarts": 3, "last_termination": end, "cpu_request": null,
                "memory": {"request": null, "limit": null}, "state": {"Waiting": {"reason": "CrashLoopBackOff"}},
            }],
        }))
        .unwrap()
    }

    /// A pod that is ready after so many restarts, the last one in second 100.
    fn ready(restarts: u32) -> PodRecord {
        let mut pod = ended("ReplicaSet", "Error", 137);
        pod.ready = true;
        let container = &mut pod.containers[0];
        (container.ready, container.restarts) = (true, restarts);
        container.state = ContainerState::Running { since: at(100) };
        pod
    }

    #[test]
    fn a_crash_of_which_only_the_restart_is_seen_is_over_once_the_pod_stays_ready() {
        let mut pods = Pods::default();
        let kind = |pods: &Pods| pods.findings().next().map(|(_, (kind, _, _))| *kind);
        pods.observe(&ready(3), at(50));
        assert_eq!(kind(&pods), None, "what was before is no event");
        pods.observe(&ready(4), at(101));
        assert_eq!(kind(&pods), Some(FindingKind::Crashed));
        pods.observe(&ready(4), at(102));
        assert_eq!(kind(&pods), Some(FindingKind::Crashed), "it was ready only for a moment");
        pods.observe(&ready(4), at(103));
        assert_eq!(kind(&pods), None);
    }

    #[test]
    fn a_try_of_a_run_that_ends_with_an_error_is_a_failed_run_and_no_crash_loop() {
        for (owner, reason, exit_code, expected) in [
            ("Job", "Error", 1, FindingKind::JobFailed),
            ("Job", "Error", 137, FindingKind::JobFailed),
            ("Job", "OOMKilled", 137, FindingKind::OutOfMemory),
            ("ReplicaSet", "Error", 1, FindingKind::CrashLoop),
            ("ReplicaSet", "Error", 137, FindingKind::BackingOff),
        ] {
            let mut pods = Pods::default();
            pods.observe(&ended(owner, reason, exit_code), at(101));
            let (_, (kind, since, evidence)) = pods.findings().next().unwrap();
            assert_eq!((*kind, *since), (expected, at(100)), "{owner} {reason} {exit_code}");
            let lines: Vec<String> = evidence.iter().map(ToString::to_string).collect();
            assert!(lines[0].contains(&format!("exit code {exit_code}")), "{lines:?}");
            assert_eq!(lines.iter().any(|line| line.contains("plan-1")), owner == "Job", "{lines:?}");
        }
    }
}
