//! Plans: every action of [`ACTIONS`], disturbed at one of its requests. Each must come to the same end, with as many
//! effects, as when nothing disturbs it (the idea is Sieve's).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use homeostat_cluster::people::People;
use homeostat_crds::MicroTime;
use homeostat_crds::v1alpha1::Action;
use homeostat_crds::v1alpha1::action::{ActionState, Approval, Decision};
use homeostat_knowledge::{ActionKind, ObjectKey};
use jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use serde::Serialize;
use tokio::time::Instant;

use super::audit::{self, Entry, Match};
use super::error::ProofError;
use super::faults::{Fault, Rule, Rules};
use super::objects::{self, EndState, SUBJECT};
use super::process::{Process, Victim};
use super::proxy::{Manners, Proxy};
use super::request::Request;
use super::stage::{HOME, Stage, node_name};
use super::under_test::{Config, Patient};

/// Every action that changes something, but those of [`STARTS_OF_RUNS`].
pub const ACTIONS: [ActionKind; 12] = [
    ActionKind::EvictPod,
    ActionKind::RollingRestart,
    ActionKind::ScaleUp,
    ActionKind::ScaleDown,
    ActionKind::DriveBounds,
    ActionKind::RollBack,
    ActionKind::Suspend,
    ActionKind::Resume,
    ActionKind::RetryJob,
    ActionKind::ResizePod,
    ActionKind::Cordon,
    ActionKind::Uncordon,
];

/// Without plans here: the schedule of runs asks for them and nobody is ill, so the stand-in of the planner cannot provoke
/// them. The simulator disturbs them as all others.
pub const STARTS_OF_RUNS: [ActionKind; 2] = [ActionKind::StartJob, ActionKind::CreateJob];

/// Everything has ended within this time after the last disturbance.
const END: Duration = Duration::from_mins(5);
/// Nothing may change any more for so long.
const REST: Duration = Duration::from_millis(1_200);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Plans that wait, with their numbers.
type Queue = Arc<Mutex<VecDeque<(usize, Plan)>>>;

/// One plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Plan {
    /// The action.
    pub action: ActionKind,
    /// The disturbance; `None` for the undisturbed run that the others are compared with.
    pub rule: Option<Rule>,
}

impl std::fmt::Display for Plan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.rule {
            None => write!(formatter, "{}/Undisturbed", self.action),
            Some(rule) => write!(formatter, "{}/{:?}-{:?}", self.action, rule.request, rule.fault),
        }
    }
}

/// Requests of an undisturbed life at which the process can be killed.
const CRASH_AT: [Request; 10] = [
    Request::KillSwitch,
    Request::DryRun,
    Request::Create,
    Request::Intent,
    Request::Claim,
    Request::FreshRead,
    Request::Effect,
    Request::Acknowledge,
    Request::Verify,
    Request::Close,
];
const CRASHES: [Fault; 3] = [Fault::CrashBefore, Fault::CrashReplyLost, Fault::CrashAfter];

/// The disturbances of one action.
pub fn rules(action: ActionKind) -> Vec<Rule> {
    let first = |request, fault| Rule { request, nth: 1, fault };
    let mut rules: Vec<Rule> =
        CRASH_AT.into_iter().flat_map(|request| CRASHES.map(|fault| first(request, fault))).collect();
    for request in [Request::Create, Request::Claim, Request::Effect] {
        for fault in [
            Fault::Cut,
            Fault::ReplyLost,
            Fault::HangsDone,
            Fault::HangsLost,
            Fault::TooMany,
            Fault::ServerError,
            Fault::Unavailable,
            Fault::Conflict,
            Fault::Slow,
        ] {
            rules.push(first(request, fault));
        }
    }
    for request in [Request::KillSwitch, Request::DryRun, Request::FreshRead, Request::Acknowledge] {
        for fault in [Fault::Cut, Fault::TooMany, Fault::Unavailable, Fault::ReplyLost] {
            rules.push(first(request, fault));
        }
    }
    for request in [Request::Create, Request::Claim, Request::Effect, Request::Acknowledge] {
        rules.push(first(request, Fault::WatchesCut));
    }
    rules.push(first(Request::Effect, Fault::CrashThenStaleLists));
    rules.push(first(Request::Acknowledge, Fault::CrashThenStaleLists));
    if action == ActionKind::DriveBounds {
        // The first read of the autoscaler is the dry run's: what people had is noted in the same write.
        for rule in rules.iter_mut().filter(|rule| rule.request == Request::FreshRead) {
            rule.nth = 2;
        }
    }
    if action == ActionKind::RollBack {
        // A person must be asked; the first state that is stored says so.
        rules.extend(CRASHES.map(|fault| first(Request::Ask, fault)));
    }
    rules
}

/// All plans, those of one action together; the undisturbed ones are not among them.
pub fn all() -> Vec<Plan> {
    let of = |action| rules(action).into_iter().map(move |rule| Plan { action, rule: Some(rule) });
    ACTIONS.into_iter().flat_map(of).collect()
}

/// A few plans of each of [`ACTIONS`]: the crash just before the effect, and that which loses its reply.
pub fn slice() -> Vec<Plan> {
    let kept = |plan: &Plan| {
        matches!(
            plan.rule.map(|rule| (rule.request, rule.fault)),
            Some((Request::Effect, Fault::CrashReplyLost | Fault::CrashBefore))
        )
    };
    all().into_iter().filter(kept).collect()
}

/// How one plan ended.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Its name.
    pub plan: String,
    /// Everything that did not hold; empty when it passed.
    pub failures: Vec<String>,
    /// Processes that it took.
    pub lives: u32,
    /// Effects by the API server's audit log.
    pub effects: usize,
    /// The end state.
    pub end: EndState,
    /// How it took, seconds.
    pub seconds: f64,
    /// Match of the audit log with the actions.
    #[serde(skip)]
    pub audit: Match,
    /// Requests of the action, in their order.
    pub trace: Vec<String>,
}

impl Outcome {
    fn broken(plan: Plan, error: &ProofError) -> Self {
        Self {
            plan: plan.to_string(),
            failures: vec![format!("could not be carried out: {error}")],
            lives: 0,
            effects: 0,
            end: EndState::default(),
            seconds: 0.0,
            audit: Match::default(),
            trace: Vec::new(),
        }
    }
}

/// Runs all plans, `lanes` at once; plans of nodes one after the other, because only one node may be acted on.
pub async fn run_all(stage: &Stage, plans: Vec<Plan>, lanes: usize, told: impl Fn(&Outcome)) -> Vec<Outcome> {
    let mut actions: Vec<ActionKind> = plans.iter().map(|plan| plan.action).collect();
    actions.dedup();
    let undisturbed = actions.into_iter().map(|action| Plan { action, rule: None });
    let baselines = Mutex::default();
    let mut outcomes = Vec::new();
    // The undisturbed runs first: the others are compared with them.
    for round in [undisturbed.collect::<Vec<_>>(), plans] {
        let (nodes, others): (Vec<_>, Vec<_>) =
            round.into_iter().enumerate().partition(|(_, plan)| of_node(plan.action));
        let mut queues = vec![Arc::new(Mutex::new(VecDeque::from(nodes)))];
        let shared = Arc::new(Mutex::new(VecDeque::from(others)));
        queues.extend((0..lanes.max(1)).map(|_| Arc::clone(&shared)));
        let lanes = queues.iter().map(|queue| lane(stage, queue, &baselines, &told));
        let mut finished = futures::future::join_all(lanes).await.concat();
        finished.sort_by_key(|(number, _)| *number);
        outcomes.extend(finished.into_iter().map(|(_, outcome)| outcome));
    }
    outcomes
}

/// Takes plans from a queue until it is empty.
async fn lane(
    stage: &Stage,
    queue: &Queue,
    baselines: &Mutex<BTreeMap<ActionKind, (EndState, usize)>>,
    told: &impl Fn(&Outcome),
) -> Vec<(usize, Outcome)> {
    let mut done = Vec::new();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((number, plan)) = next else { return done };
        let mut outcome = match run(stage, plan, number).await {
            Ok(outcome) => outcome,
            // One plan that could not be carried out says nothing about the others.
            Err(error) => Outcome::broken(plan, &error),
        };
        compare(plan, &mut outcome, baselines);
        told(&outcome);
        done.push((number, outcome));
    }
}

fn compare(plan: Plan, outcome: &mut Outcome, baselines: &Mutex<BTreeMap<ActionKind, (EndState, usize)>>) {
    let mut baselines = baselines.lock().unwrap_or_else(PoisonError::into_inner);
    if plan.rule.is_none() {
        baselines.insert(plan.action, (outcome.end.clone(), outcome.effects));
        return;
    }
    let Some((end, effects)) = baselines.get(&plan.action) else { return };
    if outcome.end != *end {
        outcome.failures.push(format!("end state {:?}, undisturbed {end:?}", outcome.end));
    }
    if outcome.effects != *effects {
        outcome.failures.push(format!("{} effects, undisturbed {effects}", outcome.effects));
    }
}

fn of_node(action: ActionKind) -> bool {
    matches!(action, ActionKind::Cordon | ActionKind::Uncordon)
}

/// Where a plan takes place.
struct Place {
    namespace: String,
    node: Option<String>,
}

impl Place {
    fn of(plan: Plan, number: usize) -> Self {
        let kind = plan.action.name().to_ascii_lowercase();
        if of_node(plan.action) {
            // Always the same one: of several only one may be acted on within ten minutes.
            return Self { namespace: HOME.to_owned(), node: Some(node_name(0)) };
        }
        let what = if plan.rule.is_some() { "plan" } else { "base" };
        Self { namespace: format!("{what}-{number}-{kind}"), node: None }
    }

    async fn prepare(&self, stage: &Stage, action: ActionKind) -> Result<(), ProofError> {
        let client = &stage.client;
        if let Some(node) = &self.node {
            objects::node_recovers(client, node).await?;
            return objects::node_falls_ill(client, node, action).await;
        }
        stage.namespace(&self.namespace).await?;
        for object in objects::of(action) {
            objects::create(client, Some(&self.namespace), &object).await?;
        }
        super::stage::until("a workload that is well", END, || async {
            let end = objects::end_state(client, &self.namespace, action).await.ok()?;
            let well = end.replicas.0 == 0 || usize::try_from(end.replicas.0) == Ok(end.replicas.1);
            well.then_some(())
        })
        .await?;
        objects::fall_ill(client, &self.namespace, action).await
    }

    async fn end(&self, stage: &Stage, action: ActionKind) -> kube::Result<EndState> {
        match &self.node {
            Some(node) => objects::node_end(&stage.client, node, action).await,
            None => objects::end_state(&stage.client, &self.namespace, action).await,
        }
    }

    /// Actions about this place. A node is used by several plans: only what is newer than `since` counts.
    async fn actions(&self, stage: &Stage, since: Timestamp) -> Result<Vec<Action>, ProofError> {
        let api: Api<Action> = Api::namespaced(stage.client.clone(), &self.namespace);
        let all = api.list(&ListParams::default()).await.map_err(ProofError::api("list actions"))?.items;
        let about = |action: &Action| match &self.node {
            Some(node) => action.spec.target.name == *node && taken(action) >= since,
            None => true,
        };
        Ok(all.into_iter().filter(about).collect())
    }

    /// Requests about this place since then that were carried out, and those of which nobody can say it.
    fn audited(
        &self,
        stage: &Stage,
        since: Timestamp,
        actions: &[Action],
    ) -> Result<(Vec<Entry>, Vec<Entry>), ProofError> {
        let names: BTreeSet<String> = actions.iter().map(ResourceExt::name_any).collect();
        let here = |entry: &Entry| {
            entry.at >= since
                && match &self.node {
                    Some(node) if entry.is_effect() => entry.name == *node,
                    Some(_) => names.contains(&entry.name),
                    None => entry.namespace == self.namespace,
                }
        };
        Ok((stage.audited(here)?, stage.unsure(here)?))
    }
}

fn taken(action: &Action) -> Timestamp {
    action.spec.evidence.taken_at.timestamp()
}

/// Runs one plan.
pub async fn run(stage: &Stage, plan: Plan, number: usize) -> Result<Outcome, ProofError> {
    let begun = Instant::now();
    let place = Place::of(plan, number);
    place.prepare(stage, plan.action).await?;
    let since = Timestamp::now();
    let victim = Arc::new(Victim::default());
    let rules = Rules::new(plan.rule.into_iter().collect());
    let proxy = Proxy::start(stage.upstream.clone(), Arc::clone(&victim), rules, Manners::default()).await?;
    let label = plan.to_string().replace('/', "-");
    let file = |end: &str| stage.out.join(format!("{label}.{end}"));
    for end in ["log", "acknowledged"] {
        let _before = std::fs::remove_file(file(end));
    }
    let patient = Patient {
        action: plan.action,
        tenant: if place.node.is_some() { "platform".to_owned() } else { place.namespace.clone() },
        workload: ObjectKey::new(place.namespace.as_str(), place.node.as_deref().unwrap_or(SUBJECT)),
        node: place.node.clone(),
        episode: label.to_ascii_lowercase(),
    };
    let config = Config {
        kubeconfig: proxy.kubeconfig(file("kubeconfig"))?,
        own_namespace: HOME.to_owned(),
        namespaces: vec![place.namespace.clone()],
        patients: vec![patient],
        acknowledged: file("acknowledged"),
    };
    let mut process = start(stage, victim, &config, &file("json"), file("log"))?;
    let people = People::new(stage.client.clone());
    let mut rested: Option<Instant> = None;
    let mut failures = Vec::new();
    let last = begun + END;
    let (actions, end) = loop {
        process.keep()?;
        let actions = place.actions(stage, since).await?;
        approve(&people, &actions).await?;
        let open = actions.iter().filter(|action| !audit::ended(action)).count();
        let done = actions
            .iter()
            .any(|action| action.status.as_ref().and_then(|status| status.instants.as_ref()?.sent).is_some());
        let end = place.end(stage, plan.action).await.map_err(ProofError::api("read the end state"))?;
        if open == 0 && done && !end.ill {
            let since = *rested.get_or_insert_with(Instant::now);
            if since.elapsed() >= REST {
                break (actions, end);
            }
        } else {
            rested = None;
        }
        if Instant::now() > last {
            failures.push(format!("not at its end after {} s: {open} open, done {done}", END.as_secs()));
            break (actions, end);
        }
        tokio::time::sleep(LOOK).await;
    };
    let lives = process.lives;
    process.end().await;
    if plan.rule.is_some() && proxy.struck() == 0 {
        failures.push("the disturbance did not happen".to_owned());
    }
    if plan.rule.is_some_and(|rule| rule.fault.kills()) && lives < 2 {
        failures.push("the process was not killed".to_owned());
    }
    let (mut entries, unsure) = place.audited(stage, since, &actions)?;
    entries.extend(audit::came_after_all(&unsure, &entries, &actions));
    let of = |entries: &[Entry]| entries.iter().filter(|entry| entry.is_effect()).count();
    // The end state is compared as well, so a request whose process was killed while it was answered is what led there.
    let effects = match of(&entries) {
        0 => of(&unsure).min(1),
        count => count,
    };
    let notes = audit::notes(&config.acknowledged)?;
    let found = audit::compare(&entries.iter().collect::<Vec<_>>(), &actions, &notes);
    failures.extend(found.mismatches.iter().map(|text| format!("audit: {text}")));
    let outcome = Outcome {
        plan: plan.to_string(),
        lives,
        effects,
        end,
        seconds: begun.elapsed().as_secs_f64(),
        audit: found,
        trace: proxy.trace(),
        failures,
    };
    match &place.node {
        Some(node) => objects::node_recovers(&stage.client, node).await?,
        None => stage.forget(&place.namespace).await,
    }
    if outcome.failures.is_empty() {
        for end in ["log", "acknowledged", "json", "kubeconfig"] {
            let _done = std::fs::remove_file(file(end));
        }
    }
    Ok(outcome)
}

/// A process under test with this configuration, not started yet.
pub fn start(
    stage: &Stage,
    victim: Arc<Victim>,
    config: &Config,
    file: &Path,
    log: std::path::PathBuf,
) -> Result<Process, ProofError> {
    let text = serde_json::to_vec(config).map_err(|error| ProofError::Broken(error.to_string()))?;
    std::fs::write(file, text).map_err(ProofError::io("write", file))?;
    let (program, file) = (stage.program.clone(), file.to_owned());
    Ok(Process::new(victim, log, move || {
        let mut command = std::process::Command::new(&program);
        command.arg("proof-process").arg("--file").arg(&file);
        command
    }))
}

/// A person approves what waits for one.
async fn approve(people: &People, actions: &[Action]) -> Result<(), ProofError> {
    for action in actions {
        if audit::state(action) != Some(ActionState::AwaitingApproval) || action.spec.approval.is_some() {
            continue;
        }
        let approval = Approval {
            decision: Decision::Approve,
            approved_by: people.whoami().await?,
            evidence_id: action.spec.evidence.id.clone(),
            digest: action.spec.digest.clone(),
            at: Some(MicroTime::new(Timestamp::now())),
            reason: Some("the proof's person".to_owned()),
        };
        let key = ObjectKey::new(action.namespace().unwrap_or_default(), action.name_any());
        if let Err(error) = people.decide(&key, &action.uid().unwrap_or_default(), &approval).await {
            // The action may have moved on meanwhile.
            tracing::debug!(%error, "not approved");
        }
    }
    Ok(())
}

/// Deployments and pods of a namespace, for others of this module.
pub fn namespaced<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_that_changes_something_has_plans_but_the_starts_of_runs() {
        let all = homeostat_execute::actions::ALL.iter();
        let changing: BTreeSet<_> = all.filter(|spec| spec.changes_state()).map(|spec| spec.kind()).collect();
        let known: BTreeSet<_> = ACTIONS.into_iter().chain(STARTS_OF_RUNS).collect();
        assert_eq!(changing, known, "an action without plans is not proved here: add it, or say why not");
    }

    #[test]
    fn there_are_enough_plans_and_each_has_a_name_of_its_own() {
        let plans = all();
        assert!(plans.len() >= 250, "{}", plans.len());
        let names: BTreeSet<String> = plans.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), plans.len());
        for action in ACTIONS {
            assert!(plans.iter().filter(|plan| plan.action == action).count() >= 25, "{action}");
            assert!(slice().iter().any(|plan| plan.action == action), "{action}");
        }
    }
}
