//! Runs of Jobs and `CronJob`s with `spec.scaling`: seen, ordered, started through the ledger.
//!
//! The owner (a `CronJob`, or a person) makes each Job suspended; [`homeostat_scale::jobs::Planner`] says whose turn it
//! is, and a start is a plan like any other: checked, guarded, stored, read back. Where automation may not act (mode, level,
//! pause), a second planner of the same kind says what would be started, and nothing else happens.
//!
//! | file | question |
//! |---|---|
//! | [`declared`] | what does a Workload ask for its runs, and what is wrong with it |
//! | [`seen`] | how is each Job, how did it end, what did it use |
//! | [`known`] | what is remembered of each workload |
//! | [`declare`] | which workloads does the planner take, and why not the others |
//! | [`largest`] | what can one pod have at most |
//! | [`slots`] | which Jobs will be made next |
//! | [`standing`] | what do other pods take of the quotas of tenants |
//! | [`parts`] | with how many pods at once does a run begin |
//! | [`backlog`] | what became of runs that were made because work waits, and the plan that makes the next one |
//! | [`places`] | where in its start window does a run begin |
//! | [`desk`] | what must the planner be told, and what does it say |
//! | [`kept`] | what does a restart, or another leader, find again |
//! | [`orders`] | the plan that starts a run or sizes the next ones |
//! | [`in_place`] | which pods of runs lack memory, and the plan that gives it to them |
//! | [`report`] | what people read: conditions and reasons |
//!
//! Pure: snapshot, time and ids come in. What was learnt is kept in the statuses of `Forecast` objects; Jobs that ended
//! since then and are still there (`successfulJobsHistoryLimit`) teach after a restart.

pub mod backlog;
pub mod declare;
pub mod declared;
pub mod desk;
pub mod in_place;
pub mod kept;
pub mod known;
pub mod largest;
pub mod orders;
pub mod parts;
pub mod places;
pub mod report;
pub mod seen;
pub mod slots;
pub mod standing;

use backlog::{At, Made, Making};
use declared::{Asked, Queues, asked, capacity};
use desk::{Desk, Look, Start};
use homeostat_execute::guards::{Mode, frozen, mode};
use homeostat_knowledge::plan::Draft;
use homeostat_knowledge::policy::{KillSwitch, ScalingMode};
use homeostat_knowledge::{
    ActionKind, IdSource, Plan, RunsReport, SignedDuration, Snapshot, TenantName, Timestamp, WorkloadKey,
};
use in_place::InPlace;
use kept::{Keep, Keeper, RunsMemory};
use known::Known;
use largest::Largest;
use orders::Sizing;
use parts::Backlogs;
use places::Places;
use seen::{Jobs, Seen};
use standing::Standing;
use std::collections::{BTreeMap, BTreeSet};

/// Jobs are looked at so often; a start waits this long at most.
const EVERY: SignedDuration = SignedDuration::from_millis(200);
/// An order that shows no effect is given again after this long, then after twice as long, and so on.
const AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// Longest time between two orders for one Job.
const AGAIN_AT_MOST: SignedDuration = SignedDuration::from_mins(5);

/// What is to be done and said.
#[derive(Debug, Default)]
pub struct Ordered {
    /// Plans to check and carry out.
    pub plans: Vec<Plan<Draft>>,
    /// How the runs of each workload do; those that are missing are ordered no more.
    pub reports: BTreeMap<WorkloadKey, RunsReport>,
    /// What is to be kept over a restart; `None` when that was told a moment ago.
    pub keep: Option<Keep>,
}

/// Orders runs. One per process; only the leader's orders are carried out.
#[derive(Default)]
pub struct RunOrder {
    acting: Desk,
    watching: Desk,
    known: Known,
    queues: Queues,
    places: Places,
    sizing: Sizing,
    in_place: InPlace,
    backlogs: Backlogs,
    making: Making,
    standing: Standing,
    keeper: Keeper,
    looked: Option<Timestamp>,
    /// Why the checker did not admit the last plan of a workload.
    objections: BTreeMap<WorkloadKey, String>,
}

impl RunOrder {
    /// Knows what was kept, and nothing else yet.
    pub fn new(kept: RunsMemory) -> Self {
        Self { known: Known::new(kept), ..Self::default() }
    }

    /// Begins anew with what was kept; what found no room before still counts.
    pub fn recall(&mut self, kept: RunsMemory) {
        let dropped = self.known.dropped;
        *self = Self::new(kept);
        self.known.dropped = dropped;
    }

    /// Workloads of which what runs taught found no room while their target was away, since the start.
    pub fn dropped(&self) -> u64 {
        self.known.dropped
    }

    /// Looks at all Jobs. `None` when it was done a moment ago.
    pub fn step(&mut self, snapshot: &Snapshot, now: Timestamp, ids: &mut dyn IdSource) -> Option<Ordered> {
        if self.looked.is_some_and(|last| now.duration_since(last) < EVERY && now >= last) {
            return None;
        }
        self.looked = Some(now);
        let mut asked = asked(snapshot, &mut self.queues, now);
        if asked.is_empty() && self.acting.is_empty() && self.watching.is_empty() {
            let keep = self.keeper.due(now).then(Keep::default);
            return Some(Ordered { keep, ..Ordered::default() });
        }
        self.places.give(&mut asked);
        let largest = Largest::of(snapshot);
        self.sizing.bound(&mut asked, &largest, snapshot);
        let jobs = Jobs::of(snapshot, &asked);
        if self.known.misses(&asked) {
            self.acting.remember(&mut self.known);
            self.watching.remember(&mut self.known);
        }
        self.known.keep(&asked, |key| snapshot.workloads.contains_key(key), &jobs);
        let waits = self.backlogs.read(snapshot, &asked, now);
        self.known.watch(&jobs, &waits);
        let declared = |key: &WorkloadKey| snapshot.workloads.contains_key(key);
        self.making.meet(&asked, declared, &jobs, &self.known, now);
        let standing = self.standing.look(snapshot, &asked, &jobs, now);
        let (held, frozen) = (held(snapshot), frozen_tenants(&asked, snapshot, now));
        let (mut acting, mut watching) = (BTreeMap::new(), BTreeMap::new());
        for (key, one) in std::mem::take(&mut asked) {
            let free = held.is_none() && !frozen.contains_key(&one.tenant);
            let acts = free && one.problem.is_none() && acts(&one, snapshot, now);
            if acts {
                acting.insert(key, one)
            } else {
                watching.insert(key, one)
            };
        }
        let all = capacity(snapshot, &jobs);
        if self.acting.outdated(&acting) || self.watching.outdated(&watching) {
            // A workload that moves to the other desk takes along what was learnt.
            self.acting.remember(&mut self.known);
            self.watching.remember(&mut self.known);
        }
        let (sizing, objections) = (&self.sizing, &self.objections);
        let least = |asked: &Asked, job: &Seen| sizing.least(asked, job, snapshot);
        let refused = |workload: &WorkloadKey, job: &Seen, since: Timestamp| {
            objections.contains_key(workload) || orders::in_vain(job, since, snapshot)
        };
        let look = Look {
            jobs: &jobs,
            waits: &waits,
            capacity: all,
            standing,
            largest: &largest,
            least: &least,
            refused: &refused,
        };
        let starts = self.acting.step(&acting, &look, &mut self.known, now);
        // What is only said is refused by nobody.
        let look = Look { refused: &|_, _, _| false, ..look };
        let said = self.watching.step(&watching, &look, &mut self.known, now);
        let mut plans = Vec::new();
        for start in &starts {
            plans.extend(self.order(start, &acting, &jobs, snapshot, now, ids));
        }
        plans.extend(self.sizing.templates(&acting, &self.acting, snapshot, now, ids));
        plans.extend(self.in_place.plans(&acting, (&self.acting, &jobs), snapshot, now, ids));
        let mut made = Made::default();
        // Without capacity nothing is known of slots either.
        if all.is_some() {
            let desks = [
                At { desk: &self.acting, asked: &acting, acts: true },
                At { desk: &self.watching, asked: &watching, acts: false },
            ];
            let look = backlog::Look { jobs: &jobs, waits: &waits, snapshot, now };
            made = self.making.step(&desks, &look, &mut self.known, ids);
        }
        plans.append(&mut made.plans);
        let mut reports = report::of(&self.acting, &acting, &[], None);
        let (because, refused) = (held.as_deref(), orders::refused(snapshot));
        reports.extend(report::of(&self.watching, &watching, &said, because));
        for (key, report) in &mut reports {
            let asked = acting.get(key).or_else(|| watching.get(key));
            if let Some(name) = asked.and_then(|asked| orders::sized_by(asked, snapshot)) {
                let left = format!(
                    "; VerticalPodAutoscaler {name} sizes them, Homeostat when its updateMode is Off"
                );
                report.said.push_str(&left);
            }
            if let Some(said) = self.in_place.said(key) {
                report.said.extend(["; ", said.as_str()]);
            }
            let objection = self.objections.get(key).map(|text| format!("a run cannot be started: {text}"));
            let window = asked.filter(|asked| asked.mode == ScalingMode::Auto);
            let window = window.and_then(|asked| frozen.get(&asked.tenant).cloned());
            let problem = report.problem.take().or(objection).or(window);
            report.problem = problem.or_else(|| refused.get(key).cloned());
            if let Some(said) = made.said.get(key) {
                report.said.extend(["; ", said.text.as_str()]);
                let tells = said.held && asked.is_some_and(|asked| asked.mode == ScalingMode::Auto);
                report.problem = report.problem.take().or_else(|| tells.then(|| said.text.clone()));
            }
        }
        self.objections.retain(|key, _| reports.contains_key(key));
        let keep = self.keeper.due(now).then(|| {
            self.acting.remember(&mut self.known);
            self.watching.remember(&mut self.known);
            let desks = [(&self.acting, &acting), (&self.watching, &watching)];
            let mut keep = kept::keep(&self.known, &jobs, desks, (snapshot, now), kept::MOST);
            for record in &mut keep.records {
                if let Some(said) = self.in_place.said(&record.workload) {
                    record.outlook.reason.extend(["; ", said.as_str()]);
                }
            }
            keep
        });
        Some(Ordered { plans, reports, keep })
    }

    /// Takes note of what the checker said of a workload's plan; `None` when it was admitted. Returns whether that is news.
    pub fn checked(&mut self, workload: &WorkloadKey, objection: Option<&str>) -> bool {
        match objection {
            None => self.objections.remove(workload).is_some(),
            Some(text) if self.objections.get(workload).is_some_and(|known| known == text) => false,
            Some(text) => {
                self.objections.insert(workload.clone(), text.to_owned());
                true
            }
        }
    }

    fn order(
        &mut self,
        start: &Start,
        acting: &BTreeMap<WorkloadKey, Asked>,
        jobs: &Jobs,
        snapshot: &Snapshot,
        now: Timestamp,
        ids: &mut dyn IdSource,
    ) -> Option<Plan<Draft>> {
        let asked = acting.get(&start.workload)?;
        let job = jobs.get(&start.job)?;
        self.sizing.start(start, asked, job, snapshot, now, ids)
    }
}

/// Why nothing at all is started now.
fn held(snapshot: &Snapshot) -> Option<String> {
    match &snapshot.control.kill_switch {
        KillSwitch::Off => snapshot.halted.as_ref().map(|breach| format!("an invariant is broken: {breach}")),
        KillSwitch::Engaged { reason, .. } => Some(format!("the kill switch is engaged: {reason}")),
        KillSwitch::Unreadable => Some("the kill switch cannot be read".to_owned()),
    }
}

/// Tenants of which no run is started before a freeze window closes, and why. What cannot start must not hold room either.
fn frozen_tenants(
    asked: &BTreeMap<WorkloadKey, Asked>,
    snapshot: &Snapshot,
    now: Timestamp,
) -> BTreeMap<TenantName, String> {
    let tenants: BTreeSet<&TenantName> = asked.values().map(|one| &one.tenant).collect();
    let why = |name: &TenantName| match frozen(&snapshot.tenants.get(name)?.freezes, now) {
        Ok(open) => open.map(|open| {
            format!(
                "no run is started before the freeze window {} closes at {}",
                open.freeze.name, open.until
            )
        }),
        Err(error) => Some(error.to_string()),
    };
    tenants.into_iter().filter_map(|name| Some((name.clone(), why(name)?))).collect()
}

/// Mode and level say that runs are started, and no person has paused it.
fn acts(asked: &Asked, snapshot: &Snapshot, now: Timestamp) -> bool {
    let Some(tenant) = snapshot.tenants.get(&asked.tenant) else { return false };
    asked.mode == ScalingMode::Auto
        && !asked.paused
        && !tenant.paused_at(now)
        && mode(ActionKind::StartJob, tenant, &snapshot.control) == Mode::Act
}

/// When an order that showed no effect is given again.
fn again(first: Timestamp, tries: u32) -> Timestamp {
    let wait = AGAIN.checked_mul(1 << tries.min(6)).unwrap_or(AGAIN_AT_MOST).min(AGAIN_AT_MOST);
    first.checked_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
