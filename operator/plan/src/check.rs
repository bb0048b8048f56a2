//! The second opinion: a plan is compared with the snapshot again, by code that shares nothing with the
//! planner. Only [`Checker::check`] turns a draft into an admitted plan.

use homeostat_knowledge::plan::{Expectation, Undo};
use homeostat_knowledge::policy::{Bounds, PLATFORM_TENANT, ScalingMode, WhenOwned};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::{
    ActionId, ActionState, Admitted, ControllerKind, ControllerRecord, Draft, IncidentState, Origin,
    Parameters, Plan, SignedDuration, Snapshot, Step, Target, TenantPolicy, Timestamp, WorkloadPolicy,
};

/// Most steps of one plan.
pub const MAXIMUM_STEPS: usize = 10;
/// Longest verification window.
pub const MAXIMUM_WINDOW: SignedDuration = SignedDuration::from_hours(1);
/// Longest time that a cordon or a suspension may be planned for.
pub const MAXIMUM_HOLD: SignedDuration = SignedDuration::from_hours(24);
/// Most replicas that the API lets anything have.
pub const MOST_REPLICAS: u64 = 100_000;
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
        if workload.is_none() && !on_nodes(&plan) {
            found.block(format!("workload {} is not under control", plan.workload));
        }
        for (number, step) in (1..).zip(&plan.steps) {
            let mut at = |message: String| found.block(format!("step {number}: {message}"));
            self.place(&plan, step, &mut at);
            terms(step, &mut at);
            bounds(&plan, step, workload.map(|workload| &**workload), &mut at);
            if let Some(tenant) = tenant {
                ownership(&plan, step, tenant, &mut at);
                evidence(step, tenant, now, &mut at);
                match workload {
                    _ if step.target.is_node() => node_target(step, tenant, snapshot, &mut at),
                    Some(workload) => target(step, workload, snapshot, &mut at),
                    None => {}
                }
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
        let ordered = plan.origin == Origin::Schedule;
        let fits = |step: &Step| match &step.parameters {
            Parameters::StartJob { .. } | Parameters::CreateJob { .. } => ordered,
            Parameters::ResizePod { .. } if &*step.target.kind == "CronJob" => ordered,
            // A pod of a run may be given more by its orderer, and by a repair.
            Parameters::ResizePod { .. } if ordered => of_run(step, snapshot),
            _ => !ordered,
        };
        if !plan.steps.iter().all(fits) {
            found.block("runs are ordered by their orderer only, and it does nothing else".to_owned());
        }
        if plan.explanation.iter().all(String::is_empty) {
            found.block("the plan does not say why".to_owned());
        }
        if let Some(undone) = plan.undo_of.as_ref().filter(|undone| !restores(plan, undone, snapshot)) {
            found.block(format!("it is not what takes {undone} back"));
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
        let healed = snapshot
            .incidents
            .get(&plan.incident)
            .filter(|incident| incident.state == IncidentState::Mitigated && incident.handed_over.is_some());
        if let Some(incident) = healed {
            found.block(format!("people have taken over incident {}: what is left is theirs", incident.id));
        }
        // Actions on nodes live in Homeostat's own namespace.
        if self.forbidden(&plan.workload.namespace) && !on_nodes(plan) {
            found.block(format!("{} lies in a namespace that is never touched", plan.workload));
        }
    }

    fn place(&self, plan: &Plan<Draft>, step: &Step, block: &mut impl FnMut(String)) {
        let namespace = &step.target.key.namespace;
        if step.target.is_node() {
            return;
        }
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
    // Names of nodes and pods come from the API server; anything else in their place came from elsewhere.
    if !step.target.key.name.is_empty() && !object_name(&step.target.key.name) {
        block(format!("{:?} is no name of an object", shown(&step.target.key.name)));
    }
    if step.target.uid.as_str().is_empty() || step.target.key.name.is_empty() {
        block("the target has no name or no UID: empty selects nothing".to_owned());
    }
    let Step { verification, .. } = step;
    match &step.parameters {
        Parameters::Notify { message } => {
            if message.is_empty() || message.chars().count() > 1024 {
                block("the message must have 1 to 1024 characters".to_owned());
            }
        }
        // The object itself tells whether it is held or released.
        Parameters::Cordon { until } | Parameters::Suspend { until } => held(step, *until, block),
        Parameters::DriveBounds { bounds, until } => {
            held(step, *until, block);
            if bounds.min > bounds.max || bounds.max > MOST_REPLICAS {
                block(format!("{bounds} are no bounds of an autoscaler"));
            }
        }
        Parameters::Uncordon | Parameters::Resume | Parameters::StartJob { .. } => {}
        // The new Job is the success; which one it is follows from the moment.
        Parameters::CreateJob { slot } => {
            if slot.subsec_nanosecond() != 0 || *slot > step.evidence.taken_at {
                block(format!("{slot} is no whole second up to its evidence"));
            }
        }
        parameters => {
            if verification.expect == Expectation::Nothing {
                block(format!("{} does not say what counts as success", parameters.kind()));
            }
        }
    }
    match &step.parameters {
        Parameters::RollBack { revision } if !object_name(revision) => {
            block(format!("{:?} is no name of a revision", shown(revision)));
        }
        Parameters::ResizePod { container, .. } if !object_name(container) => {
            block(format!("{:?} is no name of a container", shown(container)));
        }
        Parameters::StartJob { parallelism: Some(0), .. } => {
            block("a run with no pod at a time would never end; give one at least".to_owned());
        }
        Parameters::ResizePod { cpu_millis: None, memory_bytes: None, .. } => {
            block("no resources are named: empty selects nothing".to_owned());
        }
        _ => {}
    }
    let tells = matches!(step.parameters, Parameters::Notify { .. });
    if !tells && (verification.within <= SignedDuration::ZERO || verification.within > MAXIMUM_WINDOW) {
        block(format!("the verification window is {:#}, expected up to 1 h", verification.within));
    }
    if step.undo == Undo::Restore && step.before == homeostat_knowledge::Before::default() {
        block("it is to be undone, but nothing says how it was before".to_owned());
    }
}

/// Nothing but the way back from what an action of the same incident did: the guards ask less of that than of news.
fn restores(plan: &Plan<Draft>, undone: &ActionId, snapshot: &Snapshot) -> bool {
    let Some(action) = snapshot.actions.get(undone) else { return false };
    let closed =
        matches!(action.parameters, Parameters::Cordon { .. }) && action.before.cordoned == Some(false);
    let opens = |step: &Step| {
        (&step.parameters, step.undo) == (&Parameters::Uncordon, Undo::None)
            && step.target.uid == action.target.uid
    };
    closed
        && (action.undo, action.state) == (Undo::Restore, ActionState::Verified)
        && (&action.incident, &action.tenant, &action.workload)
            == (&plan.incident, &plan.tenant, &plan.workload)
        && plan.steps.iter().all(opens)
}

/// What is held must end, and soon.
fn held(step: &Step, until: Timestamp, block: &mut impl FnMut(String)) {
    let held = until.duration_since(step.evidence.taken_at);
    if held <= SignedDuration::ZERO || held > MAXIMUM_HOLD {
        block(format!("it would be held for {held:#}, expected up to 24 h"));
    }
}

/// Bounds of an autoscaler are moved by forecast alone, where people say so, and no further than they allow.
fn driven(
    plan: &Plan<Draft>,
    bounds: Bounds,
    workload: Option<&WorkloadPolicy>,
    block: &mut impl FnMut(String),
) {
    let scaling = workload.and_then(|workload| workload.permits.scaling.as_ref());
    let asked = scaling.is_some_and(|scaling| {
        (scaling.mode, scaling.when_owned) == (ScalingMode::Auto, WhenOwned::DriveBounds)
    });
    if plan.origin != Origin::Forecast || !asked {
        block(format!(
            "{} does not ask for bounds by forecast: spec.scaling is not mode Auto with whenOwned DriveBounds",
            plan.workload
        ));
    }
    if workload.and_then(|workload| workload.permits.replicas).is_none_or(|most| bounds.min > most.max) {
        block(format!("a floor of {} is outside of spec.scaling.replicas of {}", bounds.min, plan.workload));
    }
}

/// Sizes: zero is for people, unless a forecast asks for it within bounds that begin at zero.
fn bounds(
    plan: &Plan<Draft>,
    step: &Step,
    workload: Option<&WorkloadPolicy>,
    block: &mut impl FnMut(String),
) {
    if let Parameters::DriveBounds { bounds, .. } = step.parameters {
        driven(plan, bounds, workload, block);
    }
    if let Parameters::CreateJob { .. } = step.parameters {
        from_backlog(plan, step, workload, block);
    }
    if let Parameters::ResizePod { cpu_millis, cpu_limit_millis, memory_bytes, memory_limit_bytes, .. } =
        step.parameters
    {
        let cpu = [cpu_millis, cpu_limit_millis];
        if plan.origin == Origin::Forecast {
            resized(plan, cpu, [memory_bytes, memory_limit_bytes], workload, block);
        }
        if plan.origin == Origin::Schedule && &*step.target.kind == "Pod" {
            resized(plan, cpu, [memory_limit_bytes.or(memory_bytes), None], workload, block);
            if cpu != [None; 2] || memory_bytes <= step.before.memory_bytes {
                block(format!("the run's pod {} is given more memory, and nothing else", step.target.key));
            }
        }
    }
    let (Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas }) = step.parameters else {
        return;
    };
    let bounds = workload.and_then(|workload| workload.permits.replicas);
    let forecast = plan.origin == Origin::Forecast;
    if replicas < 0 || (replicas == 0 && !(forecast && bounds.is_some_and(|bounds| bounds.min == 0))) {
        block(format!("{replicas} replicas: zero is for people"));
    }
    if !forecast {
        return;
    }
    if workload
        .and_then(|workload| workload.permits.scaling.as_ref())
        .is_none_or(|scaling| scaling.mode != ScalingMode::Auto)
    {
        block(format!("{} does not ask for sizes by forecast: spec.scaling.mode is not Auto", plan.workload));
    }
    if !u64::try_from(replicas).is_ok_and(|replicas| bounds.is_some_and(|bounds| bounds.contains(replicas))) {
        block(format!("{replicas} replicas are outside of spec.scaling.replicas of {}", plan.workload));
    }
}

/// Runs beside the schedule are made of `CronJob`s alone, and where people say from how many waiting items on.
fn from_backlog(
    plan: &Plan<Draft>,
    step: &Step,
    workload: Option<&WorkloadPolicy>,
    block: &mut impl FnMut(String),
) {
    let permits = workload.map(|workload| &workload.permits);
    let mode = permits.and_then(|permits| permits.scaling.as_ref()).map(|scaling| scaling.mode);
    let from = permits.and_then(|permits| permits.runs.items).and_then(|items| items.run_from);
    if &*step.target.kind != "CronJob" || mode != Some(ScalingMode::Auto) || from.is_none() {
        block(format!(
            "{} asks for no runs by its backlog: its target is no CronJob, or spec.scaling is not mode Auto with              backlog.runFrom",
            plan.workload
        ));
    }
}

/// The pod is one of a Job.
fn of_run(step: &Step, snapshot: &Snapshot) -> bool {
    let owner = snapshot.pods.get(&step.target.key).and_then(|pod| pod.owner.as_ref());
    owner.is_some_and(|owner| owner.kind == ControllerKind::Job)
}

/// The size of a pod without a fault: only where people ask for sizes, requests and limits within their bounds.
fn resized(
    plan: &Plan<Draft>,
    cpu_millis: [Option<u64>; 2],
    memory_bytes: [Option<u64>; 2],
    workload: Option<&WorkloadPolicy>,
    block: &mut impl FnMut(String),
) {
    let permits = workload.map(|workload| &workload.permits);
    let scaling = permits.and_then(|permits| permits.scaling.as_ref());
    if scaling.is_none_or(|scaling| scaling.mode != ScalingMode::Auto) {
        block(format!("{} does not ask for sizes of its pods: spec.scaling.mode is not Auto", plan.workload));
    }
    let outside = |wanted: [Option<u64>; 2], bounds: Option<Bounds>| {
        wanted.into_iter().flatten().any(|wanted| !bounds.is_some_and(|bounds| bounds.contains(wanted)))
    };
    if outside(cpu_millis, permits.and_then(|permits| permits.cpu_millis))
        || outside(memory_bytes, permits.and_then(|permits| permits.memory_bytes))
    {
        block(format!("the size is outside of spec.scaling.resources of {}", plan.workload));
    }
}

/// A name that an object of Kubernetes can have (RFC 1123 subdomain).
fn object_name(text: &str) -> bool {
    let edge = |letter: Option<char>| {
        letter.is_some_and(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
    };
    text.len() <= 253
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.chars().all(|letter| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '.')
        })
}

/// As it can be printed.
fn shown(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(64).collect()
}

fn ownership(plan: &Plan<Draft>, step: &Step, tenant: &TenantPolicy, block: &mut impl FnMut(String)) {
    for namespace in [&plan.workload.namespace, &step.target.key.namespace] {
        let of_node = step.target.is_node() && namespace.is_empty();
        if !of_node && !tenant.namespaces.contains(namespace) {
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
    match &step.parameters {
        Parameters::ResizePod { .. } if &*step.target.kind == "CronJob" => {
            own(step, workload, snapshot, block);
        }
        Parameters::EvictPod { .. } | Parameters::ResizePod { .. } => pod(step, workload, snapshot, block),
        Parameters::RollingRestart
        | Parameters::ScaleUp { .. }
        | Parameters::ScaleDown { .. }
        | Parameters::CreateJob { .. }
        | Parameters::RollBack { .. } => own(step, workload, snapshot, block),
        Parameters::DriveBounds { bounds, .. } => autoscaler(step, *bounds, workload, snapshot, block),
        Parameters::Suspend { .. }
        | Parameters::Resume
        | Parameters::RetryJob
        | Parameters::StartJob { .. } => {
            run(step, workload, snapshot, block);
        }
        Parameters::Cordon { .. } | Parameters::Uncordon => {
            block(format!("only a node can be cordoned, not a {}", step.target.kind));
        }
        Parameters::Notify { .. } => {}
    }
}

fn pod(step: &Step, workload: &WorkloadPolicy, snapshot: &Snapshot, block: &mut impl FnMut(String)) {
    let wanted = &step.target;
    if &*wanted.kind != "Pod" || &*wanted.api_version != "v1" {
        block(format!("only a pod can be the target of {}, not a {}", step.parameters.kind(), wanted.kind));
        return;
    }
    let Some(pod) = snapshot.pods.get(&wanted.key) else {
        block(format!("pod {} does not exist", wanted.key));
        return;
    };
    if pod.uid != wanted.uid {
        block(format!("pod {} is another one now ({} instead of {})", wanted.key, pod.uid, wanted.uid));
    }
    if pod.deleting {
        block(format!("pod {} is being deleted already", wanted.key));
    }
    if snapshot.workload_of(pod) != Some(&workload.key) {
        block(format!("pod {} does not belong to {}", wanted.key, workload.key));
    }
}

/// What the workload itself targets.
fn own(step: &Step, workload: &WorkloadPolicy, snapshot: &Snapshot, block: &mut impl FnMut(String)) {
    let wanted = &step.target;
    let Some(controller) = snapshot.controllers.get(&workload.target) else {
        block(format!("what {} targets does not exist", workload.key));
        return;
    };
    if !is(controller, wanted) {
        block(format!("{} {} is not what {} targets", wanted.kind, wanted.key, workload.key));
    }
    if let Parameters::ScaleUp { .. } | Parameters::ScaleDown { .. } = step.parameters
        && step.before.replicas != Some(controller.replicas)
    {
        block(format!(
            "{} has {} replicas, the plan stands on {:?}",
            wanted.key, controller.replicas, step.before.replicas
        ));
    }
}

/// What sizes what the workload targets, as the plan says it was; people's floor stays one.
fn autoscaler(
    step: &Step,
    bounds: Bounds,
    workload: &WorkloadPolicy,
    snapshot: &Snapshot,
    block: &mut impl FnMut(String),
) {
    let wanted = &step.target;
    let Some(found) = snapshot.autoscaler_of(workload) else {
        block(match snapshot.rival_scalers(workload) {
            Some(rivals) => format!("{rivals} size {} against each other", workload.key),
            None => format!("no HorizontalPodAutoscaler of people's own sizes {}", workload.key),
        });
        return;
    };
    if (&*wanted.api_version, &*wanted.kind) != ("autoscaling/v2", "HorizontalPodAutoscaler")
        || (&found.key, &found.uid) != (&wanted.key, &wanted.uid)
    {
        block(format!("{} {} is not what sizes {}", wanted.kind, wanted.key, workload.key));
    }
    if step.before.bounds != Some(found.bounds) {
        block(format!("{} has the bounds {}, the plan stands on others", wanted.key, found.bounds));
    }
    let floor = found.drive.as_ref().map_or(found.bounds.min, |drive| drive.before.min.min(found.bounds.min));
    if bounds.min < floor {
        block(format!("people want {} to have at least {floor} replicas", wanted.key));
    }
}

/// What the workload targets, or a Job of it.
fn run(step: &Step, workload: &WorkloadPolicy, snapshot: &Snapshot, block: &mut impl FnMut(String)) {
    let wanted = &step.target;
    let kind = ControllerKind::from_kind(&wanted.kind);
    let key = ControllerKey { kind, object: wanted.key.clone() };
    let Some(found) = snapshot.controllers.get(&key).filter(|found| is(found, wanted)) else {
        block(format!("{} {} does not exist, or is another one now", wanted.kind, wanted.key));
        return;
    };
    let above = found
        .owner
        .as_ref()
        .is_some_and(|owner| owner.kind == workload.target.kind && owner.name == workload.target.object.name);
    if key != workload.target && !(above && wanted.key.namespace == workload.target.object.namespace) {
        block(format!("{} {} does not belong to {}", wanted.kind, wanted.key, workload.key));
    }
}

fn is(controller: &ControllerRecord, wanted: &Target) -> bool {
    Snapshot::controller_target(controller).is_some_and(|own| {
        (&own.api_version, &own.kind, &own.key, &own.uid)
            == (&wanted.api_version, &wanted.kind, &wanted.key, &wanted.uid)
    })
}

/// Every step is about a node.
fn on_nodes(plan: &Plan<Draft>) -> bool {
    !plan.steps.is_empty() && plan.steps.iter().all(|step| step.target.is_node())
}

fn node_target(step: &Step, tenant: &TenantPolicy, snapshot: &Snapshot, block: &mut impl FnMut(String)) {
    let wanted = &step.target;
    if &*tenant.name.0 != PLATFORM_TENANT {
        block(format!("tenant {} may not act on nodes, only {PLATFORM_TENANT} may", tenant.name));
    }
    if !matches!(
        step.parameters,
        Parameters::Cordon { .. } | Parameters::Uncordon | Parameters::Notify { .. }
    ) {
        block(format!("{} is not for nodes", step.parameters.kind()));
    }
    match snapshot.nodes.get(&wanted.key.name) {
        None => block(format!("node {} does not exist", wanted.key)),
        Some(node) if node.uid != wanted.uid => {
            block(format!("node {} is another one now ({} instead of {})", wanted.key, node.uid, wanted.uid));
        }
        Some(node) if node.control_plane => {
            block(format!("node {} belongs to the control plane", wanted.key));
        }
        Some(_) => {}
    }
}

fn remarks(step: &Step, snapshot: &Snapshot, found: &mut Found) {
    if matches!(step.parameters, Parameters::EvictPod { .. })
        && snapshot.pods.get(&step.target.key).is_some_and(|pod| pod.local_data)
    {
        found.objections.push(Objection {
            severity: ObjectionSeverity::Remark,
            message: format!("{} has data of its own that goes with it", step.target.key),
        });
    }
}
