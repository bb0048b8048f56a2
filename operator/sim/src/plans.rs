//! Perturbation plans: every action that changes something, at each of 74 points, from three states of the world; and what
//! did not help, at each of the points that are requests of its undo.
//!
//! The points are 8 durable steps of an action's life with 3 ways to crash, 8 requests with 5 ways to fail, 5 reads
//! that may be stale and 5 inputs that may miss an event. After each, the world must come to the same end as without
//! the disturbance (the idea is Sieve's: compare with the undisturbed run), and the invariants must have held.

use crate::defects::Defect;
use crate::faults::{At, Fault, Hook, Meddle, Request, What};
use crate::objects::OWN_NAMESPACE;
use crate::oracle::{self, EndState};
use crate::run::{Lives, Script, arm, overdue, simulate, spread, stays_at_rest};
use crate::server::Stream;
use crate::situations::{self, Situation};
use crate::world::{Person, World};
use homeostat_knowledge::policy::PLATFORM_TENANT;
use homeostat_knowledge::{ActionKind, Level, SignedDuration, WorkloadKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Durable steps of an action's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The illness is in the cache.
    Seen,
    /// A plan was made; the kill switch is asked.
    Decided,
    /// The budget is taken; the dry run is asked.
    Reserved,
    /// Nothing but the intent is missing: the approval was read, or, where none is needed, the object was created.
    Approved,
    /// The intent is stored.
    Intent,
    /// The effect is sent.
    Sent,
    /// The acknowledgement is stored.
    Acknowledged,
    /// The verification is stored.
    Verified,
}

/// Ways to crash at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Crash {
    /// Before it.
    Before,
    /// It is done, and the process dies before it knows.
    ReplyLost,
    /// Right after it.
    After,
}

impl Crash {
    fn what(self) -> What {
        match self {
            Self::Before => What::CrashBefore,
            Self::ReplyLost => What::CrashReplyLost,
            Self::After => What::CrashAfter,
        }
    }
}

/// One point of perturbation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// No disturbance.
    None,
    /// A crash.
    Crash(Step, Crash),
    /// A request fails, in the way of this number in [`FAULTS`].
    Fault(Request, usize),
    /// A cached input is old at the moment of the decision, while the world has moved on.
    Stale(Stream),
    /// The uncached read is answered by an API server that has not heard the newest.
    StaleRead,
    /// An input misses an event.
    Missed(Stream),
}

const STEPS: [Step; 8] = [
    Step::Seen,
    Step::Decided,
    Step::Reserved,
    Step::Approved,
    Step::Intent,
    Step::Sent,
    Step::Acknowledged,
    Step::Verified,
];
const CRASHES: [Crash; 3] = [Crash::Before, Crash::ReplyLost, Crash::After];
const REQUESTS: [Request; 8] = [
    Request::KillSwitch,
    Request::DryRun,
    Request::Create,
    Request::Intent,
    Request::Claim,
    Request::FreshRead,
    Request::Effect,
    Request::Acknowledge,
];
/// The five ways in which a request fails.
pub const FAULTS: [What; 5] =
    [What::TooManyRequests, What::ServerError, What::Unavailable, What::TimeoutDone, What::TimeoutLost];
/// Cached inputs that may be old; the fifth stale read is the uncached one.
const STALE: [Stream; 4] = [Stream::Pods, Stream::Controllers, Stream::Policies, Stream::Actions];

/// States of the world that an action may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Start {
    /// Automation acts alone, nothing else happens.
    Alone,
    /// A person must approve.
    Approved,
    /// Another workload falls ill while the action is under way, and another writer touches the target all the time.
    Busy,
    /// Nothing that is done helps, so it is taken back, and the disturbance strikes the undo's own requests.
    TakenBack,
}

/// The three that every action meets.
pub const STARTS: [Start; 3] = [Start::Alone, Start::Approved, Start::Busy];

/// Actions that are taken back when they do not help. Of what is held (a cordon, a suspension, bounds) it is asked only
/// whether it is there, which nothing here keeps it from.
pub const TAKEN_BACK: [ActionKind; 3] = [ActionKind::ScaleUp, ActionKind::ScaleDown, ActionKind::ResizePod];

/// One plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plan {
    /// The action.
    pub action: ActionKind,
    /// The state of the world.
    pub start: Start,
    /// The disturbance.
    pub point: Point,
}

impl std::fmt::Display for Plan {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{:?}/", self.action, self.start)?;
        match self.point {
            Point::None => write!(formatter, "Undisturbed"),
            Point::Crash(step, crash) => write!(formatter, "Crash-{step:?}-{crash:?}"),
            Point::Fault(request, fault) => match FAULTS.get(fault) {
                Some(what) => write!(formatter, "Fault-{request:?}-{what:?}"),
                None => write!(formatter, "Fault-{request:?}"),
            },
            Point::Stale(stream) => write!(formatter, "Stale-{stream:?}"),
            Point::StaleRead => write!(formatter, "Stale-FreshRead"),
            Point::Missed(stream) => write!(formatter, "Missed-{stream:?}"),
        }
    }
}

/// The 74 points.
pub fn points() -> Vec<Point> {
    let crashes = STEPS.into_iter().flat_map(|step| CRASHES.map(|crash| Point::Crash(step, crash)));
    let faults = REQUESTS
        .into_iter()
        .flat_map(|request| (0..FAULTS.len()).map(move |fault| Point::Fault(request, fault)));
    let stale = STALE.into_iter().map(Point::Stale).chain([Point::StaleRead]);
    let missed = Stream::ALL.into_iter().map(Point::Missed);
    crashes.chain(faults).chain(stale).chain(missed).collect()
}

/// Plans that share their undisturbed runs: those of one action from one state of the world.
pub fn groups() -> Vec<Vec<Plan>> {
    let mut groups: Vec<Vec<Plan>> = Vec::new();
    for plan in all() {
        match groups.last_mut().filter(|group| {
            group.first().is_some_and(|first| (first.action, first.start) == (plan.action, plan.start))
        }) {
            Some(group) => group.push(plan),
            None => groups.push(vec![plan]),
        }
    }
    groups
}

/// Runs every plan, in order.
pub fn run_all() -> std::io::Result<Vec<(Plan, Outcome)>> {
    let results = spread(&groups(), |group| {
        let mut baselines = Baselines::default();
        let outcomes = group.iter().map(|plan| Ok((*plan, run(*plan, None, &mut baselines)?)));
        outcomes.collect::<std::io::Result<Vec<_>>>()
    });
    Ok(results.into_iter().collect::<std::io::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// Every plan.
pub fn all() -> Vec<Plan> {
    let mut plans = Vec::new();
    for situation in situations::ALL {
        for start in STARTS {
            for point in points() {
                plans.push(Plan { action: situation.kind(), start, point });
            }
        }
    }
    for action in TAKEN_BACK {
        let requests =
            points().into_iter().filter(|point| matches!(point, Point::Crash(..) | Point::Fault(..)));
        plans.extend(requests.map(|point| Plan { action, start: Start::TakenBack, point }));
    }
    plans
}

/// The tenant that acts in this situation.
fn tenant(situation: &dyn Situation) -> &'static str {
    if situation.targets().is_some() { TENANT } else { PLATFORM_TENANT }
}

/// What is ill: a workload, or a node, which goes by its name in the platform tenant's namespace.
fn patient(situation: &dyn Situation) -> WorkloadKey {
    match situation.targets() {
        Some(_) => WorkloadKey::new(TENANT, "order"),
        None => WorkloadKey::new(OWN_NAMESPACE, "node-p"),
    }
}

/// A person lets nobody touch the patient, or lets automation go on. A node has no policy of its own.
fn pause(situation: &dyn Situation, paused: bool) -> Meddle {
    match (situation.targets(), paused) {
        (None, paused) => Meddle::PauseTenant(PLATFORM_TENANT, paused),
        (Some(_), true) => Meddle::Pause(patient(situation)),
        (Some(_), false) => Meddle::Unpause(patient(situation)),
    }
}

const TENANT: &str = "shop";
/// The illness begins when the process is warm.
const ILL: Duration = Duration::from_secs(4);
/// An action that is open when a fault strikes ends within this time.
const END: SignedDuration = SignedDuration::from_secs(60);

fn neighbour() -> WorkloadKey {
    WorkloadKey::new(TENANT, "basket")
}

/// How a plan ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Everything that did not hold; empty when the plan passed.
    pub failures: Vec<String>,
    /// The end state.
    pub end: EndState,
    /// What happened, line by line.
    pub trace: Vec<String>,
}

/// Undisturbed runs, made once for each world and each thing that others do in it.
#[derive(Default)]
pub struct Baselines {
    ends: BTreeMap<(ActionKind, Start, Vec<String>), EndState>,
}

impl Baselines {
    fn of(&mut self, plan: Plan) -> std::io::Result<EndState> {
        let meddling = meddling(plan);
        let key = (plan.action, plan.start, meddling.iter().map(|one| format!("{one:?}")).collect());
        if let Some(end) = self.ends.get(&key) {
            return Ok(end.clone());
        }
        let outcome = execute(plan, meddling, Vec::new(), None)?;
        self.ends.insert(key, outcome.end.clone());
        Ok(outcome.end)
    }
}

/// Runs one plan and compares its end with the undisturbed one.
pub fn run(plan: Plan, defect: Option<Defect>, baselines: &mut Baselines) -> std::io::Result<Outcome> {
    let expected = baselines.of(plan)?;
    let mut faults = meddling(plan);
    faults.extend(disturbance(plan));
    let mut outcome = execute(plan, faults, missing(plan.point), defect)?;
    if outcome.end != expected {
        outcome.failures.push(format!("end state: {:?}, undisturbed {expected:?}", outcome.end));
    }
    Ok(outcome)
}

/// Runs the action from this state of the world with other faults than those of a plan.
pub fn with_faults(action: ActionKind, start: Start, faults: Vec<Fault>) -> std::io::Result<Outcome> {
    execute(Plan { action, start, point: Point::None }, faults, Vec::new(), None)
}

/// What others do in this plan, in the undisturbed run too.
fn meddling(plan: Plan) -> Vec<Fault> {
    let Some(situation) = situations::of(plan.action) else { return Vec::new() };
    if plan.start == Start::TakenBack {
        // It gets well when its undo is under way, so that nothing new is done.
        let back = |meddle| Fault::nth(Request::Claim, 2, What::Meanwhile(meddle));
        let patient = patient(situation);
        return vec![back(Meddle::Stubborn(patient.clone(), false)), back(Meddle::Recover(patient))];
    }
    let at_claim = |meddle| Fault::nth(Request::Claim, 1, What::Meanwhile(meddle));
    match plan.point {
        Point::Stale(Stream::Pods | Stream::Controllers) | Point::StaleRead => {
            vec![at_claim(Meddle::Remember), at_claim(Meddle::SomebodyElse(patient(situation)))]
        }
        Point::Stale(Stream::Policies) => vec![at_claim(pause(situation, true))],
        Point::None
        | Point::Crash(..)
        | Point::Fault(..)
        | Point::Stale(Stream::Actions | Stream::Telemetry)
        | Point::Missed(_) => Vec::new(),
    }
}

/// The disturbance itself.
fn disturbance(plan: Plan) -> Vec<Fault> {
    let Some(situation) = situations::of(plan.action) else { return Vec::new() };
    if plan.start == Start::TakenBack {
        return of_undo(plan.point).into_iter().collect();
    }
    let approved = plan.start == Start::Approved || situation.needs_approval();
    match plan.point {
        Point::None | Point::Missed(Stream::Telemetry) => Vec::new(),
        Point::Crash(step, crash) => {
            let what = crash.what();
            let (request, nth) = match step {
                Step::Seen => {
                    let hook = match crash {
                        Crash::Before => Hook::BeforeSeen,
                        Crash::ReplyLost => Hook::Seen,
                        Crash::After => Hook::Decided,
                    };
                    return vec![Fault { at: At::Hook(hook), what: What::CrashBefore }];
                }
                Step::Decided => (Request::KillSwitch, 1),
                Step::Reserved => (Request::DryRun, 1),
                Step::Approved if approved => (Request::ReadAction, 1),
                Step::Approved => (Request::Create, 1),
                Step::Intent => (Request::Intent, 1),
                Step::Sent => (Request::Effect, 1),
                Step::Acknowledged => (Request::Acknowledge, 1),
                Step::Verified => (Request::Close, 1),
            };
            vec![Fault::nth(request, nth, what)]
        }
        Point::Fault(request, fault) => {
            // Of the kill switch the reading before the effect, the last one in an undisturbed life.
            let nth = match request {
                Request::KillSwitch if approved => 3,
                Request::KillSwitch => 2,
                _ => 1,
            };
            FAULTS.get(fault).map(|what| Fault::nth(request, nth, what.clone())).into_iter().collect()
        }
        Point::Stale(stream) => {
            // Policies are news that nobody reads again before an effect, but for the kill switch: they must arrive
            // within two seconds. Of everything else a cache may be old for as long as it likes.
            let millis = if stream == Stream::Policies { 1_500 } else { 8_000 };
            vec![Fault::nth(Request::Claim, 1, What::Meanwhile(Meddle::Freeze(stream, millis)))]
        }
        Point::StaleRead => vec![Fault::nth(Request::FreshRead, 1, What::Stale)],
        Point::Missed(stream) => {
            let mut faults = vec![Fault::nth(Request::Effect, 1, What::Meanwhile(Meddle::Miss(stream)))];
            // An effect may have no event of its own in this stream.
            let stir = What::Meanwhile(Meddle::Stir(stream));
            faults.push(Fault::nth(Request::Watch, 1, stir));
            if stream == Stream::Policies {
                let touch = Meddle::PauseTenant(tenant(situation), false);
                faults.push(Fault::nth(Request::Effect, 1, What::Meanwhile(touch)));
            }
            faults
        }
    }
}

/// The disturbance of an undo: the requests of the action that it takes back come first, one of each kind but for the kill
/// switch, which is read twice.
fn of_undo(point: Point) -> Option<Fault> {
    match point {
        Point::Crash(step, crash) => {
            let (request, nth) = match step {
                // Whether the undo was begun before is its first request.
                Step::Seen => (Request::ReadAction, 1),
                Step::Decided => (Request::KillSwitch, 3),
                Step::Reserved => (Request::DryRun, 2),
                Step::Approved => (Request::Create, 2),
                Step::Intent => (Request::Intent, 2),
                Step::Sent => (Request::Effect, 2),
                Step::Acknowledged => (Request::Acknowledge, 2),
                // The undo ends before what it takes back.
                Step::Verified => (Request::Close, 1),
            };
            Some(Fault::nth(request, nth, crash.what()))
        }
        Point::Fault(request, fault) => {
            let nth = if request == Request::KillSwitch { 3 } else { 2 };
            FAULTS.get(fault).map(|what| Fault::nth(request, nth, what.clone()))
        }
        Point::None | Point::Stale(_) | Point::StaleRead | Point::Missed(_) => None,
    }
}

/// What is missed before the action begins.
fn missing(point: Point) -> Script {
    if point == Point::Missed(Stream::Telemetry) {
        vec![(ILL, Meddle::Miss(Stream::Telemetry))]
    } else {
        Vec::new()
    }
}

fn world(situation: &'static dyn Situation, start: Start) -> (Arc<World>, Script) {
    let level = if start == Start::Approved { Level::Approve } else { Level::ActFull };
    let patient = patient(situation);
    let world = World::new(&[(TENANT, level), (PLATFORM_TENANT, level)]);
    world.crowd(TENANT, 18);
    world.add(&patient, situation);
    world.add(&neighbour(), situations::CRASHING);
    let asked = start == Start::Approved || situation.needs_approval();
    world.lock().person = if asked { Person::Approves } else { Person::Away };
    let mut script = vec![(ILL, Meddle::FallIll(patient.clone()))];
    if start == Start::TakenBack {
        script.insert(0, (ILL, Meddle::Stubborn(patient.clone(), true)));
    }
    if start == Start::Busy {
        arm(&world, vec![Fault::nth(Request::Effect, 1, What::Meanwhile(Meddle::Touch(patient.clone())))]);
        script.push((ILL + Duration::from_millis(900), Meddle::FallIll(neighbour())));
        for touch in 0..8 {
            script.push((ILL + Duration::from_millis(1_000 + 700 * touch), Meddle::Touch(patient.clone())));
        }
    }
    (world, script)
}

fn execute(
    plan: Plan,
    faults: Vec<Fault>,
    before: Script,
    defect: Option<Defect>,
) -> std::io::Result<Outcome> {
    simulate(async move {
        let Some(situation) = situations::of(plan.action) else {
            return Outcome {
                failures: vec![format!("no situation for {}", plan.action)],
                end: oracle::end_state(&World::new(&[]).lock()),
                trace: Vec::new(),
            };
        };
        let (world, mut script) = world(situation, plan.start);
        if plan.point == Point::Stale(Stream::Policies) {
            script.push((ILL + Duration::from_secs(7), pause(situation, false)));
        }
        arm(&world, faults);
        let mut lives = Lives::begin(&world, defect);
        lives.follow(&before).await;
        lives.follow(&script).await;
        let mut failures = Vec::new();
        // What is taken back was verified in vain before.
        let most = if plan.start == Start::TakenBack { 150 } else { 90 };
        if !lives.rest(Duration::from_secs(most)).await {
            failures.push("ESR: the world did not come to rest".to_owned());
        }
        let ill = crate::world::base() + SignedDuration::try_from(ILL).unwrap_or_default();
        failures.extend(overdue(&world, ill, END));
        failures.extend(stays_at_rest(&world, &mut lives).await);
        failures.extend(lives.breaches());
        let inner = world.lock();
        failures.extend(oracle::violations(&inner));
        if !inner.faults.is_empty() || inner.watches.misses.values().any(|left| *left > 0) {
            failures.push(format!("the disturbance never happened: {:?}", inner.faults));
        }
        Outcome { failures, end: oracle::end_state(&inner), trace: inner.trace.clone() }
    })
}
