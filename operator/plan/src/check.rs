//! The second opinion: a plan is compared with the snapshot again, by code that shares nothing with the
//! planner. Only [`Checker::check`] turns a draft into an admitted plan.

use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::{
    Admitted, Draft, IncidentState, Parameters, Plan, SignedDuration, Snapshot, Step, TenantPolicy,
    Timestamp, WorkloadPolicy,
};

/// Most steps of one plan.
pub const MAXIMUM_STEPS: usize = 10;
/// Longest verification window.
pub const MAXIMUM_WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// Namespaces that nothing is ever done in, whatever a tenant says.
pub const SYSTEM_NAMESPACES: [&str; 4] =
    ["kube-system", "kube-public", "kube-node-lease", "homeostat-system"];

/// How heavy an objection weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectionSeverity {
    /// Worth knowing; joins the plan's explanation.
    Remark,
    /// The plan must not be carried out.
    Blocking,
}

/// Something that is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// How heavy it weighs.
    pub severity: ObjectionSeverity,
    /// What is wrong, with the object named.
    pub message: String,
}

/// Checks plans. `Default` knows the usual system namespaces only.
#[derive(Clone, Debug, Default)]
pub struct Checker {
    own_namespace: Option<String>,
}

/// Checks a plan without knowing the own namespace; see [`Checker::check`].
pub fn check(
    plan: Plan<Draft>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<Plan<Admitted>, Vec<Objection>> {
    Checker::default().check(plan, snapshot, now)
}

impl Checker {
    /// A checker that also refuses everything in the namespace that Homeostat itself runs in.
    pub fn new(own_namespace: impl Into<String>) -> Self {
        Self { own_namespace: Some(own_namespace.into()) }
    }

    /// Admits a plan, or returns every objection to it, blocking ones first.
    pub fn check(
        &self,
        mut plan: Plan<Draft>,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<Plan<Admitted>, Vec<Objection>> {
        let mut found = Found::default();
        self.frame(&plan, snapshot, &mut found);
        let tenant = snapshot.tenants.get(&plan.tenant);
        if tenant.is_none() {
            found.block(format!("tenant {} does not exist", plan.tenant));
        }
        let workload = snapshot.workloads.get(&plan.workload);
        if workload.is_none() {
            found.block(format!("workload {} is not under control", plan.workload));
        }
        for (number, step) in (1..).zip(&plan.steps) {
            let mut at = |message: String| found.block(format!("step {number}: {message}"));
            self.place(&plan, step, &mut at);
            terms(step, &mut at);
            if let (Some(tenant), Some(workload)) = (tenant, workload) {
                ownership(&plan, step, tenant, &mut at);
                evidence(step, tenant, now, &mut at);
                target(step, workload, snapshot, &mut at);
            }
            remarks(step, snapshot, &mut found);
        }
        let mut objections = found.objections;
        if objections.iter().any(|objection| objection.severity == ObjectionSeverity::Blocking) {
            objections.sort_by_key(|objection| std::cmp::Reverse(objection.severity));
            return Err(objections);
        }
        plan.explanation.extend(objections.into_iter().map(|objection| objection.message));
        Ok(plan.admit())
    }

    /// Everything that is not about one step.
    fn frame(&self, plan: &Plan<Draft>, snapshot: &Snapshot, found: &mut Found) {
        if plan.epoch > snapshot.generation {
            found.block(format!(
                "the plan was made from generation {}, but the world is at {}: it is not from this world",
                plan.epoch, snapshot.generation
            ));
        }
        if plan.steps.is_empty() || plan.steps.len() > MAXIMUM_STEPS {
            found.block(format!("the plan has {} steps, expected 1 to {MAXIMUM_STEPS}", plan.steps.len()));
        }
        if plan.explanation.iter().all(String::is_empty) {
            found.block("the plan does not say why".to_owned());
        }
        for (index, step) in plan.steps.iter().enumerate() {
            if plan.steps[..index].iter().any(|other| other.target.uid == step.target.uid) {
                found.block(format!("{} is the target of two steps", step.target.key));
            }
        }
        if let Some(incident) = snapshot.incidents.get(&plan.incident)
            && matches!(incident.state, IncidentState::HandedOver | IncidentState::Resolved)
        {
            found.block(format!(
                "incident {} is {:?}: nothing may be done for it",
                incident.id, incident.state
            ));
        }
        if self.forbidden(&plan.workload.namespace) {
            found.block(format!("{} lies in a namespace that is never touched", plan.workload));
        }
    }

    fn place(&self, plan: &Plan<Draft>, step: &Step, block: &mut impl FnMut(String)) {
        let namespace = &step.target.key.namespace;
        if namespace.is_empty() {
            block(format!("{} is not in a namespace", step.target.key));
        }
        if self.forbidden(namespace) {
            block(format!("{} lies in a namespace that is never touched", step.target.key));
        }
        if *namespace != plan.workload.namespace {
            block(format!("{} lies outside of the namespace of {}", step.target.key, plan.workload));
        }
    }

    fn forbidden(&self, namespace: &str) -> bool {
        SYSTEM_NAMESPACES.contains(&namespace) || self.own_namespace.as_deref() == Some(namespace)
    }
}

#[derive(Default)]
struct Found {
    objections: Vec<Objection>,
}

impl Found {
    fn block(&mut self, message: String) {
        self.objections.push(Objection { severity: ObjectionSeverity::Blocking, message });
    }
}

/// Values, verification and undo, from the step alone.
fn terms(step: &Step, block: &mut impl FnMut(String)) {
    if step.target.uid.as_str().is_empty() || step.target.key.name.is_empty() {
        block("the target has no name or no UID: empty selects nothing".to_owned());
    }
    let Step { verification, .. } = step;
    match &step.parameters {
        // Both are absolute: "this UID goes", "the template carries this action's id".
        Parameters::EvictPod | Parameters::RollingRestart => {
            if verification.expect == Expectation::Nothing {
                block(format!("{} does not say what counts as success", step.parameters.kind()));
            }
            if verification.within <= SignedDuration::ZERO || verification.within > MAXIMUM_WINDOW {
                block(format!("the verification window is {:#}, expected up to 1 h", verification.within));
            }
        }
        Parameters::Notify { message } => {
            if message.is_empty() || message.chars().count() > 1024 {
                block("the message must have 1 to 1024 characters".to_owned());
            }
        }
    }
    if step.undo == Undo::Restore && step.before == homeostat_knowledge::Before::default() {
        block("it is to be undone, but nothing says how it was before".to_owned());
    }
}

fn ownership(plan: &Plan<Draft>, step: &Step, tenant: &TenantPolicy, block: &mut impl FnMut(String)) {
    for namespace in [&plan.workload.namespace, &step.target.key.namespace] {
        if !tenant.namespaces.contains(namespace) {
            block(format!("namespace {namespace} does not belong to tenant {}", tenant.name));
        }
    }
}

fn evidence(step: &Step, tenant: &TenantPolicy, now: Timestamp, block: &mut impl FnMut(String)) {
    if step.evidence.id.as_str().is_empty() {
        block("it stands on no evidence".to_owned());
    }
    let age = now.duration_since(step.evidence.taken_at);
    if age < SignedDuration::ZERO {
        block(format!("its evidence is from the future ({})", step.evidence.taken_at));
    }
    let limit = tenant.limits.evidence_maximum_age;
    if age > limit {
        block(format!("its evidence is {age:#} old, at most {limit:#} count"));
    }
}

/// The target exists with that UID and is the workload's.
fn target(step: &Step, workload: &WorkloadPolicy, snapshot: &Snapshot, block: &mut impl FnMut(String)) {
    let wanted = &step.target;
    match &step.parameters {
        Parameters::EvictPod => {
            if &*wanted.kind != "Pod" || &*wanted.api_version != "v1" {
                block(format!("only a pod can be evicted, not a {}", wanted.kind));
                return;
            }
            let Some(pod) = snapshot.pods.get(&wanted.key) else {
                block(format!("pod {} does not exist", wanted.key));
                return;
            };
            if pod.uid != wanted.uid {
                block(format!(
                    "pod {} is another one now ({} instead of {})",
                    wanted.key, pod.uid, wanted.uid
                ));
            }
            if pod.deleting {
                block(format!("pod {} is being deleted already", wanted.key));
            }
            if snapshot.workload_of(pod) != Some(&workload.key) {
                block(format!("pod {} does not belong to {}", wanted.key, workload.key));
            }
        }
        Parameters::RollingRestart => {
            let Some(controller) = snapshot.controllers.get(&workload.target) else {
                block(format!("what {} targets does not exist", workload.key));
                return;
            };
            if Snapshot::controller_target(controller).is_none_or(|own| {
                (&own.api_version, &own.kind, &own.key, &own.uid)
                    != (&wanted.api_version, &wanted.kind, &wanted.key, &wanted.uid)
            }) {
                block(format!("{} {} is not what {} targets", wanted.kind, wanted.key, workload.key));
            }
        }
        Parameters::Notify { .. } => {}
    }
}

fn remarks(step: &Step, snapshot: &Snapshot, found: &mut Found) {
    if step.parameters == Parameters::EvictPod
        && snapshot.pods.get(&step.target.key).is_some_and(|pod| pod.local_data)
    {
        found.objections.push(Objection {
            severity: ObjectionSeverity::Remark,
            message: format!("{} has data of its own that goes with it", step.target.key),
        });
    }
}
