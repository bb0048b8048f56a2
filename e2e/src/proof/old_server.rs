//! Decisions on an old picture of the cluster: a second API server on the same etcd stands still, the process under test
//! sees the cluster through it, and the world changes behind it. Nothing may come of what only the old picture shows.
//!
//! A decision is made of cached pictures (pods, controllers, policies) and of uncached reads. Each change here is one that
//! a picture does not show and that an uncached read must find, or the write's condition; where everything is asked of the
//! old server, the uncached reads themselves get no answer. That a Workload or a Tenant is paused is no such change: it is
//! news that reaches the guards through watches alone, and only the kill switch is read anew (docs/testing.md).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homeostat_crds::common::ANNOTATION_DO_NOT_TOUCH_UNTIL;
use homeostat_knowledge::{ActionKind, ObjectKey};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use super::audit::{AuditLog, Entry};
use super::error::ProofError;
use super::faults::{LONGER_THAN_A_CALL, Rules};
use super::kubelet;
use super::objects::{self, SUBJECT};
use super::patients::CONTAINER;
use super::plans;
use super::process::{Process, Victim};
use super::proxy::{Hold, Manners, Proxy, Second};
use super::stage::{HOME, Stage, until};
use super::switch;
use super::under_test::{Config, Patient};
use crate::cluster::{ClusterError, SecondApiServer};
use crate::demo::live::Live;

/// Each step that prepares a trial is done within this time.
const SOON: Duration = Duration::from_mins(2);
/// A change is complete within this time. The second server notices that its etcd is away after half a minute.
const CHANGED: Duration = Duration::from_secs(12);
/// An answer from a watch cache comes within this time, or not at all.
const CACHED: Duration = Duration::from_secs(3);
/// An answer of the kill switch counts for half a second; a process may have asked just before the change.
const ANSWER: Duration = Duration::from_millis(600);
/// So long processes decide on the old picture: several times, as one that was refused is tried again within 4 s.
const OLD: Duration = Duration::from_secs(6);
/// What may act on the old picture does so within this time.
const ACTS: Duration = Duration::from_secs(14);
/// So long processes go on when the picture is new again.
const AFTER: Duration = Duration::from_secs(3);
/// What could not act before does so within this time then.
const ACTS_AFTER: Duration = Duration::from_mins(1);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Replicas of the subject.
const REPLICAS: i32 = 2;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OldServer {
    /// Trials in which the world changed behind the old picture.
    pub trials: usize,
    /// Effects in them, by the audit logs of both API servers.
    pub stale: usize,
    /// Of the trials, those whose process asked for nothing any more: they show nothing.
    pub idle: usize,
    /// Trials in which nothing changed: each must have one effect, on the old picture where that is possible.
    pub controls: usize,
    /// Of those, trials that had it.
    pub acted: usize,
    /// How long it took, seconds.
    pub seconds: f64,
}

impl OldServer {
    /// Nothing came of an old picture, and it could have.
    pub fn holds(&self) -> bool {
        self.stale + self.idle == 0 && self.acted == self.controls
    }

    fn add(&mut self, other: &Self) {
        self.trials += other.trials;
        self.stale += other.stale;
        self.idle += other.idle;
        self.controls += other.controls;
        self.acted += other.acted;
    }
}

/// What the second server serves, and how it stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It serves lists and watches, and its way to etcd is held up: it answers from an old cache.
    CutOff,
    /// It serves lists and watches, and is stopped itself: what its watches told last stays the picture.
    Frozen,
    /// It serves everything, and its way to etcd is held up: the last reads and the writes get no answer.
    Everything,
}

const WAYS: [Way; 3] = [Way::CutOff, Way::Frozen, Way::Everything];

/// What changes behind the old picture, and which read must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Nothing: the picture is old and right.
    Nothing,
    /// A person replaced the sick pod. The picture of the pods is old; dry run and fresh read of the target find none of
    /// that UID.
    Replaced,
    /// The sick pod is ready again. The picture of the pods is old; the fresh read of the target shows it.
    Recovered,
    /// A person asked to leave the Deployment alone. The picture of the controllers is old; the fresh read of the target
    /// carries the annotation.
    HandsOff,
    /// A person released another version, which is well. The picture of the controllers is old; the fresh read of the
    /// target shows another revision than was ill.
    Edited,
    /// The kill switch is engaged. The picture of the policies is old; the switch is read anew.
    Switched,
}

/// Changes of one workload: their trials run side by side.
const ALONGSIDE: [Change; 4] = [Change::Replaced, Change::Recovered, Change::HandsOff, Change::Edited];
/// The change that is everybody's.
const EVERYBODYS: [Change; 1] = [Change::Switched];
const HOLDS: [Hold; 2] = [Hold::Decision, Hold::Claim];

#[derive(Clone, Copy, Debug)]
struct Trial {
    change: Change,
    action: ActionKind,
    /// The world changes while its process is held up here.
    hold: Hold,
}

impl Trial {
    fn of(change: Change, hold: Hold) -> Self {
        let action = match change {
            Change::HandsOff | Change::Edited => ActionKind::RollingRestart,
            Change::Nothing | Change::Replaced | Change::Recovered | Change::Switched => ActionKind::EvictPod,
        };
        Self { change, action, hold }
    }

    fn controls() -> [Self; 2] {
        [ActionKind::EvictPod, ActionKind::RollingRestart].map(|action| Self {
            change: Change::Nothing,
            action,
            hold: Hold::Decision,
        })
    }
}

/// Trials during which the second server stands still once.
#[derive(Debug)]
struct Round {
    way: Way,
    trials: Vec<Trial>,
}

/// All rounds, with so many trials at most; the controls are not counted.
fn rounds(times: usize) -> Vec<Round> {
    let mut left = times;
    let mut rounds = Vec::new();
    for way in WAYS {
        for changes in [ALONGSIDE.as_slice(), EVERYBODYS.as_slice()] {
            let all = changes.iter().flat_map(|change| HOLDS.map(|hold| Trial::of(*change, hold)));
            let mut trials: Vec<Trial> = all.take(left).collect();
            left -= trials.len();
            if trials.is_empty() {
                continue;
            }
            if changes != EVERYBODYS {
                trials.extend(Trial::controls());
            }
            rounds.push(Round { way, trials });
        }
    }
    rounds
}

/// The second server and the ways to it.
struct Server {
    second: SecondApiServer,
    /// All rights.
    client: Client,
    /// Homeostat's own rights.
    homeostat: Client,
}

/// The second server stands still until this is dropped.
struct Still<'a> {
    second: &'a SecondApiServer,
    way: Way,
}

impl<'a> Still<'a> {
    fn begin(second: &'a SecondApiServer, way: Way) -> Result<Self, ClusterError> {
        let still = Self { second, way };
        still.set(true)?;
        Ok(still)
    }

    fn set(&self, held: bool) -> Result<(), ClusterError> {
        match self.way {
            Way::CutOff | Way::Everything => self.second.cut_off(held),
            Way::Frozen => self.second.freeze(held),
        }
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.set(false) {
            tracing::error!(%error, "The second API server does not go on");
        }
    }
}

/// Runs it.
pub async fn run(stage: &Stage, times: usize, live: &Live) -> Result<OldServer, ProofError> {
    let begun = Instant::now();
    let second = SecondApiServer::start(&stage.cluster, &stage.program)?;
    let (client, homeostat) = stage.clients_at(second.address()).await?;
    until("the second API server's readiness", SOON, || async { ready(&client).await.then_some(()) }).await?;
    let mut log = AuditLog::new(&second.audit_log());
    let server = Server { second, client, homeostat };
    let mut found = OldServer::default();
    for (number, round) in rounds(times).iter().enumerate() {
        let outcome = round.run(stage, &server, &mut log, number, live).await;
        // Its processes have ended, whatever became of it.
        if round.trials.iter().any(|trial| trial.change == Change::Switched) {
            switch::set(stage, false).await?;
        }
        found.add(&outcome?);
        live.say(format!("old       {} trials, {} effects on an old picture", found.trials, found.stale));
    }
    found.seconds = begun.elapsed().as_secs_f64();
    Ok(found)
}

async fn ready(client: &Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
    client.request_text(request).await.is_ok_and(|text| text == "ok")
}

impl Round {
    async fn run(
        &self,
        stage: &Stage,
        server: &Server,
        log: &mut AuditLog,
        number: usize,
        live: &Live,
    ) -> Result<OldServer, ProofError> {
        let prepared = self.trials.iter().enumerate().map(|(trial_number, trial)| {
            let place = format!("old-server-{number}-{trial_number}");
            Bed::prepare(stage, server, self.way, *trial, place)
        });
        let mut beds = futures::future::try_join_all(prepared).await?;
        let still = Still::begin(&server.second, self.way)?;
        let changed = beds.iter_mut().map(|bed| bed.change(&server.client, self.way));
        futures::future::try_join_all(changed).await?;
        let everything = self.way == Way::Everything;
        // Where nothing is answered, all that there is to see is that requests are given up.
        let (shortest, longest) =
            if everything { (LONGER_THAN_A_CALL, LONGER_THAN_A_CALL) } else { (OLD, ACTS) };
        watch(&beds, log, shortest, longest).await?;
        let released = Timestamp::now();
        drop(still);
        watch(&beds, log, AFTER, if everything { ACTS_AFTER } else { AFTER }).await?;
        let mut found = OldServer::default();
        let mut ended = Vec::new();
        for bed in beds {
            ended.push(bed.end().await);
        }
        for bed in ended {
            // What an old picture can make happen, it made happen while it was old.
            let latest = if everything { Timestamp::MAX } else { released };
            found.add(&bed.judge(stage, log, self.way, latest, live)?);
            stage.forget(&bed.place).await;
        }
        Ok(found)
    }
}

/// Waits for so long at least, and until all that may act did, but not longer than that.
async fn watch(
    beds: &[Bed<'_>],
    log: &mut AuditLog,
    shortest: Duration,
    longest: Duration,
) -> Result<(), ProofError> {
    let begun = Instant::now();
    loop {
        let mut acted = true;
        for bed in beds.iter().filter(|bed| bed.trial.change == Change::Nothing) {
            acted &= !effects(bed.stage, log, &bed.place, bed.since)?.is_empty();
        }
        let waited = begun.elapsed();
        if waited >= shortest && (acted || waited >= longest) {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Effects of Homeostat in a namespace since then, by the audit logs of both servers. What nobody knows the outcome of
/// counts as one: it was sent.
fn effects(
    stage: &Stage,
    log: &mut AuditLog,
    place: &str,
    since: Timestamp,
) -> Result<Vec<Entry>, ProofError> {
    let here = |entry: &Entry| entry.is_effect() && entry.namespace == place && entry.at >= since;
    let mut all = stage.audited(here)?;
    all.extend(stage.unsure(here)?);
    all.extend(log.read()?.iter().filter(|entry| here(entry)).cloned());
    Ok(all)
}

/// One trial: a workload that is ill and the process that decides on it.
struct Bed<'a> {
    stage: &'a Stage,
    trial: Trial,
    place: String,
    since: Timestamp,
    proxy: Proxy,
    process: Process,
    /// Requests of the action before it was let go.
    before: usize,
}

/// A trial whose process has ended.
struct Ended {
    trial: Trial,
    place: String,
    since: Timestamp,
    /// Requests of actions on the old picture.
    asked: usize,
    files: Vec<PathBuf>,
}

impl<'a> Bed<'a> {
    /// Everything up to the moment when the process has decided and is held up: what it knows, it knows from the second
    /// server.
    async fn prepare(
        stage: &'a Stage,
        server: &Server,
        way: Way,
        trial: Trial,
        place: String,
    ) -> Result<Self, ProofError> {
        stage.namespace(&place).await?;
        for object in objects::of(trial.action) {
            objects::create(&stage.client, Some(&place), &object).await?;
        }
        let pods: Api<Pod> = plans::namespaced(&stage.client, &place);
        well(&pods, SOON).await?;
        let since = Timestamp::now();
        let victim = Arc::new(Victim::default());
        let everything = way == Way::Everything;
        let second = Second { client: server.homeostat.clone(), everything };
        let manners = Manners { second: Some(second), hold: Some(trial.hold), ..Manners::default() };
        let proxy =
            Proxy::start(stage.upstream.clone(), Arc::clone(&victim), Rules::default(), manners).await?;
        for end in ["log", "acknowledged"] {
            let _before = std::fs::remove_file(file(stage, &place, end));
        }
        let patient = Patient {
            action: trial.action,
            tenant: place.clone(),
            workload: ObjectKey::new(place.as_str(), SUBJECT),
            node: None,
            episode: String::new(),
        };
        let config = Config {
            kubeconfig: proxy.kubeconfig(file(stage, &place, "kubeconfig"))?,
            own_namespace: HOME.to_owned(),
            namespaces: vec![place.clone()],
            patients: vec![patient],
            acknowledged: file(stage, &place, "acknowledged"),
        };
        let told = file(stage, &place, "json");
        let mut process = plans::start(stage, victim, &config, &told, file(stage, &place, "log"))?;
        process.keep()?;
        objects::fall_ill(&stage.client, &place, trial.action).await?;
        let what = format!("a decision in {place}");
        until(&what, SOON, || async { proxy.held().then_some(()) }).await?;
        Ok(Self { stage, trial, place, since, proxy, process, before: 0 })
    }

    /// The world changes through the first server; the second one does not know, and the process goes on.
    async fn change(&mut self, second: &Client, way: Way) -> Result<(), ProofError> {
        self.alter().await?;
        if way != Way::Frozen {
            self.shows_the_illness(second).await?;
        }
        if self.trial.change == Change::Switched {
            tokio::time::sleep(ANSWER).await;
        }
        self.before = self.proxy.trace().len();
        self.proxy.let_go();
        Ok(())
    }

    async fn alter(&self) -> Result<(), ProofError> {
        let pods: Api<Pod> = plans::namespaced(&self.stage.client, &self.place);
        let deployments: Api<Deployment> = plans::namespaced(&self.stage.client, &self.place);
        let person = PatchParams { field_manager: Some("kubectl-edit".to_owned()), ..PatchParams::default() };
        match self.trial.change {
            Change::Nothing => Ok(()),
            Change::Replaced => {
                let sick = sick(&pods, &self.place).await?;
                let gone = pods.delete(&sick, &DeleteParams::default()).await;
                gone.map_err(ProofError::api("replace a pod"))?;
                well(&pods, CHANGED).await
            }
            Change::Recovered => {
                let sick = sick(&pods, &self.place).await?;
                let set = kubelet::set(&pods, &sick, &kubelet::ready()).await;
                set.map_err(ProofError::api("let a pod recover"))?;
                well(&pods, CHANGED).await
            }
            Change::HandsOff => {
                let end = (Timestamp::now() + SignedDuration::from_hours(1)).to_string();
                let patch = json!({"metadata": {"annotations": {ANNOTATION_DO_NOT_TOUCH_UNTIL: end}}});
                let patched = deployments.patch(SUBJECT, &person, &Patch::Merge(patch)).await;
                patched.map(drop).map_err(ProofError::api("ask to leave a Deployment alone"))
            }
            Change::Edited => {
                let containers = json!([{"name": CONTAINER, "image": "v2"}]);
                let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
                let patched = deployments.patch(SUBJECT, &person, &Patch::Strategic(patch)).await;
                patched.map(drop).map_err(ProofError::api("release another version"))?;
                // While it is rolled out nothing is restarted in any case.
                until("the rollout of another version", CHANGED, || rolled_out(&deployments)).await?;
                well(&pods, CHANGED).await
            }
            Change::Switched => switch::set(self.stage, true).await,
        }
    }

    /// The second server still tells of a sick pod; otherwise nothing is shown here.
    async fn shows_the_illness(&self, second: &Client) -> Result<(), ProofError> {
        let pods: Api<Pod> = plans::namespaced(second, &self.place);
        let cached = ListParams::default().match_any();
        let what = format!("an answer of the second API server on {}", self.place);
        let listed = tokio::time::timeout(CACHED, pods.list(&cached))
            .await
            .map_err(|_| ProofError::Timeout { what, limit: CACHED })?
            .map_err(ProofError::api("list pods of the old picture"))?;
        if listed.items.iter().any(kubelet::waits) {
            return Ok(());
        }
        let place = &self.place;
        Err(ProofError::Broken(format!("the second API server does not show {place} as it was any more")))
    }

    async fn end(self) -> Ended {
        let Self { stage, trial, place, since, proxy, process, before } = self;
        let asked = proxy.trace().len().saturating_sub(before);
        process.end().await;
        let files = ["log", "acknowledged", "json", "kubeconfig"].map(|end| file(stage, &place, end));
        Ended { trial, place, since, asked, files: files.into() }
    }
}

impl Ended {
    /// What came of it; a control must have acted at `latest`. Its files stay when something is wrong.
    fn judge(
        &self,
        stage: &Stage,
        log: &mut AuditLog,
        way: Way,
        latest: Timestamp,
        live: &Live,
    ) -> Result<OldServer, ProofError> {
        let all = effects(stage, log, &self.place, self.since)?;
        let mut found = OldServer::default();
        let good = if self.trial.change == Change::Nothing {
            found.controls = 1;
            let once = matches!(all.as_slice(), [only] if only.sure && only.at <= latest);
            found.acted = usize::from(once);
            once
        } else {
            found.trials = 1;
            found.stale = all.len();
            found.idle = usize::from(self.asked == 0);
            all.is_empty() && self.asked > 0
        };
        if good {
            for path in &self.files {
                let _done = std::fs::remove_file(path);
            }
            return Ok(found);
        }
        let Self { trial: Trial { change, action, hold }, place, asked, .. } = self;
        live.plain(&format!(
            "            {place}: {way:?}, {change:?}, {action} held at {hold:?}: {asked} requests, {} effects",
            all.len()
        ));
        for Entry { verb, resource, name, at, .. } in &all {
            live.plain(&format!("              {verb} {resource} {name} at {at}"));
        }
        Ok(found)
    }
}

fn file(stage: &Stage, place: &str, end: &str) -> PathBuf {
    stage.out.join(Path::new(place).with_extension(end))
}

/// All pods of the subject serve.
async fn well(pods: &Api<Pod>, limit: Duration) -> Result<(), ProofError> {
    until("pods that serve", limit, || async {
        let all = pods.list(&ListParams::default()).await.ok()?.items;
        (i32::try_from(all.len()) == Ok(REPLICAS) && all.iter().all(kubelet::serves)).then_some(())
    })
    .await
}

/// Name of the pod that is ill.
async fn sick(pods: &Api<Pod>, place: &str) -> Result<String, ProofError> {
    let all = pods.list(&ListParams::default()).await.map_err(ProofError::api("list pods"))?.items;
    let found = all.iter().find(|pod| kubelet::waits(pod)).map(ResourceExt::name_any);
    found.ok_or_else(|| ProofError::Broken(format!("nobody is ill in {place}")))
}

/// The controller has seen the newest version, and all replicas are of it.
async fn rolled_out(deployments: &Api<Deployment>) -> Option<()> {
    let found = deployments.get(SUBJECT).await.ok()?;
    let (wanted, status) = (found.metadata.generation?, found.status?);
    let all = [status.replicas, status.updated_replicas, status.ready_replicas];
    (status.observed_generation? >= wanted && all.iter().all(|count| *count == Some(REPLICAS))).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trials(rounds: &[Round]) -> Vec<Trial> {
        let all = rounds.iter().flat_map(|round| round.trials.iter().copied());
        all.filter(|trial| trial.change != Change::Nothing).collect()
    }

    #[test]
    fn every_change_comes_in_every_way_beside_something_that_must_act() {
        let all = rounds(usize::MAX);
        assert!(trials(&all).len() >= 20, "{}", trials(&all).len());
        for way in WAYS {
            let of = || all.iter().filter(move |round| round.way == way).flat_map(|round| &round.trials);
            for change in ALONGSIDE.iter().chain(&EVERYBODYS) {
                assert!(of().any(|trial| trial.change == *change), "{way:?} {change:?}");
            }
            for action in [ActionKind::EvictPod, ActionKind::RollingRestart] {
                let control = |trial: &Trial| trial.change == Change::Nothing && trial.action == action;
                assert!(of().any(control), "{way:?} {action}");
            }
        }
        // Nobody acts while the kill switch is engaged.
        let engaged = |round: &&Round| round.trials.iter().any(|trial| trial.change == Change::Switched);
        for round in all.iter().filter(engaged) {
            assert!(round.trials.iter().all(|trial| trial.change == Change::Switched), "{round:?}");
        }
    }

    #[test]
    fn fewer_trials_are_so_many() {
        for times in [0, 1, 7, 20] {
            assert_eq!(trials(&rounds(times)).len(), times);
        }
    }

    #[test]
    fn an_effect_silence_and_a_control_that_did_not_act_are_no_proof() {
        let good = OldServer { trials: 3, controls: 2, acted: 2, ..OldServer::default() };
        assert!(good.holds());
        assert!(!OldServer { stale: 1, ..good.clone() }.holds());
        assert!(!OldServer { idle: 1, ..good.clone() }.holds());
        assert!(!OldServer { acted: 1, ..good }.holds());
    }
}
