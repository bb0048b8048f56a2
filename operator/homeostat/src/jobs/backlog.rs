//! Runs that are made of a `CronJob` because work waits: what became of them, and the plan that makes the next one. Whether
//! one is made is decided in [`homeostat_scale::jobs::backlog`].
//!
//! A new Job is suspended and has its turn like one that a person made. What became of such runs is read off their Jobs, by
//! the mark that says which action made them, and kept with what runs taught.

use super::again;
use super::declared::Asked;
use super::desk::Desk;
use super::known::Known;
use super::orders::{actions_of, evidence, plan};
use super::parts::AllWaits;
use super::seen::{Jobs, Phase, Seen};
use homeostat_execute::actions::under_way;
use homeostat_execute::guards::{Mode, mode};
use homeostat_knowledge::plan::{Draft, Expectation, Undo};
use homeostat_knowledge::records::ControllerKey;
use homeostat_knowledge::runs::{made_name, occasion};
use homeostat_knowledge::{
    ActionKind, Before, ControllerKind, IdSource, ObjectKey, Parameters, Plan, SignedDuration, Snapshot,
    Step, Target, Timestamp, Uid, Verification, WorkloadKey,
};
use homeostat_scale::jobs::Outcome;
use homeostat_scale::jobs::backlog::{Asks, Decision, Past, decide};
use homeostat_scale::jobs::kueue::Orderer;
use std::collections::{BTreeMap, BTreeSet};

/// The new Job must be seen by then.
const MADE_WITHIN: SignedDuration = SignedDuration::from_secs(30);

/// What is seen at one moment.
pub struct Look<'a> {
    /// All Jobs.
    pub jobs: &'a Jobs,
    /// What waits for runs.
    pub waits: &'a AllWaits,
    /// The cluster.
    pub snapshot: &'a Snapshot,
    /// When.
    pub now: Timestamp,
}

/// The workloads at one desk, and whether they are acted for there.
pub struct At<'a> {
    /// The desk.
    pub desk: &'a Desk,
    /// Workloads that are asked for there.
    pub asked: &'a BTreeMap<WorkloadKey, Asked>,
    /// Mode, level and pauses let runs be started.
    pub acts: bool,
}

/// What people should know of runs from a backlog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// In words.
    pub text: String,
    /// Work waits and no run is made, or nobody knows whether it does.
    pub held: bool,
}

/// Plans, and what is said of each workload that asks for runs by its backlog.
#[derive(Debug, Default)]
pub struct Made {
    /// At most one for each workload.
    pub plans: Vec<Plan<Draft>>,
    /// Those that ask for it.
    pub said: BTreeMap<WorkloadKey, Said>,
}

/// What is known of the runs that are made from backlogs.
#[derive(Debug, Default)]
pub struct Making {
    workloads: BTreeMap<WorkloadKey, One>,
}

#[derive(Debug)]
struct One {
    /// The run that was made last and is not over.
    run: Option<Run>,
    /// Last tries of runs that are over and count, as long as their Jobs are there.
    counted: BTreeSet<Uid>,
    /// The next run, as long as nothing of it is seen.
    order: Option<Order>,
    /// No run waited or was under way since then, as far as this process knows.
    free_since: Timestamp,
}

#[derive(Debug)]
struct Run {
    /// Its last try.
    job: Uid,
    key: ControllerKey,
    /// Items that waited when it began.
    waited: Option<f64>,
    /// It was let go.
    began: bool,
    /// Its last try that was seen failed.
    failed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Order {
    /// The moment that its name follows from; it stays while the order is given again.
    slot: Timestamp,
    at: Timestamp,
    tries: u32,
}

/// Items from which on a workload asks for a run.
fn run_from(asked: &Asked) -> Option<u32> {
    asked.policy.permits.runs.items.and_then(|items| items.run_from)
}

/// Jobs of the workloads that ask for runs by their backlog.
#[derive(Default)]
struct Tries<'a> {
    /// Those that were made by actions, oldest first.
    made: BTreeMap<&'a WorkloadKey, Vec<(Timestamp, &'a Uid)>>,
    /// The repeat of each.
    repeats: BTreeMap<&'a Uid, &'a Uid>,
}

impl<'a> Tries<'a> {
    fn of(jobs: &'a Jobs, workloads: &BTreeMap<WorkloadKey, One>) -> Self {
        let mut tries = Self::default();
        for (uid, seen) in jobs.by_uid().filter(|(_, seen)| workloads.contains_key(&seen.workload)) {
            if let Some(before) = &seen.retry_of {
                tries.repeats.insert(before, uid);
            } else if seen.record.work.as_ref().is_some_and(|work| work.made_by.is_some()) {
                tries.made.entry(&seen.workload).or_default().push((seen.slot, uid));
            }
        }
        tries.made.values_mut().for_each(|made| made.sort_unstable());
        tries
    }

    /// The last try of the run of a Job, which may be gone.
    fn last(&self, job: &Uid) -> Uid {
        let mut last = job;
        // Annotations that people write could lead round for ever.
        for _ in 0..self.repeats.len() {
            let Some(&next) = self.repeats.get(last) else { break };
            last = next;
        }
        last.clone()
    }

    /// Last tries of all runs that were made, and of the one that is followed, oldest first.
    fn runs(&self, workload: &WorkloadKey, followed: Option<&Uid>) -> Vec<Uid> {
        let made = self.made.get(workload).into_iter().flatten();
        let mut runs: Vec<Uid> = made.map(|(_, uid)| self.last(uid)).collect();
        if let Some(job) = followed.map(|job| self.last(job)).filter(|job| !runs.contains(job)) {
            runs.push(job);
        }
        runs
    }
}

impl Making {
    /// Takes note of new workloads, before anything more is learnt of their Jobs: what is over and taught something before
    /// this process began is in what was kept. Forgets those that ask for no runs by their backlog any more.
    pub fn meet(
        &mut self,
        asked: &BTreeMap<WorkloadKey, Asked>,
        declared: impl Fn(&WorkloadKey) -> bool,
        jobs: &Jobs,
        known: &Known,
        now: Timestamp,
    ) {
        self.workloads.retain(|key, _| match asked.get(key) {
            Some(one) => run_from(one).is_some(),
            None => declared(key),
        });
        let new =
            |key: &WorkloadKey, one: &Asked| run_from(one).is_some() && !self.workloads.contains_key(key);
        let mut met: BTreeMap<WorkloadKey, BTreeSet<Uid>> = asked
            .iter()
            .filter(|(key, one)| new(key, one))
            .map(|(key, _)| (key.clone(), BTreeSet::new()))
            .collect();
        if met.is_empty() {
            return;
        }
        for (uid, seen) in jobs.by_uid() {
            if let Some(counted) = met.get_mut(&seen.workload)
                && matches!(seen.phase, Phase::Ended(_))
                && known.has_taught(uid)
            {
                counted.insert(uid.clone());
            }
        }
        let one = |counted| One { run: None, counted, order: None, free_since: now };
        self.workloads.extend(met.into_iter().map(|(key, counted)| (key, one(counted))));
    }

    /// Looks at the runs that were made, and makes the next ones.
    pub fn step(
        &mut self,
        desks: &[At<'_>],
        look: &Look<'_>,
        known: &mut Known,
        ids: &mut dyn IdSource,
    ) -> Made {
        let mut all = Made::default();
        if self.workloads.is_empty() {
            return all;
        }
        let tries = Tries::of(look.jobs, &self.workloads);
        for at in desks {
            for (key, asked) in at.asked {
                let (Some(one), Some(from)) = (self.workloads.get_mut(key), run_from(asked)) else {
                    continue;
                };
                if let Orderer::Kueue { queue, .. } = &asked.orderer {
                    let text =
                        format!("no run is made from the backlog: they are left to queue {queue} of Kueue");
                    all.said.insert(key.clone(), Said { text, held: false });
                    continue;
                }
                let mut past = known.past(key);
                one.follow(key, &tries, at.desk.counts(key) != (0, 0), &mut past, look);
                let decision = one.decide(key, asked, from, at.desk, &mut past, look);
                known.note_past(key, past);
                let Some(decision) = decision else { continue };
                let said = match decision {
                    Decision::Make(why) if !at.acts => {
                        Said { text: format!("would make a run: {why}"), held: false }
                    }
                    Decision::Make(why) if !may_make(asked, look.snapshot) => {
                        let text =
                            format!("would make a run: {why}; the level of CreateJob does not allow it");
                        Said { text, held: false }
                    }
                    Decision::Make(why) => {
                        all.plans.extend(one.order(key, asked, &why, look, ids));
                        Said { text: format!("a run is made: {why}"), held: false }
                    }
                    Decision::Rest(text) => Said { text, held: false },
                    Decision::Held(text) => Said { text, held: true },
                };
                all.said.insert(key.clone(), said);
            }
        }
        all
    }
}

impl One {
    /// Takes note of what became of the runs that were made; `waits` says that the planner still has a run of the workload.
    fn follow(
        &mut self,
        key: &WorkloadKey,
        tries: &Tries<'_>,
        waits: bool,
        past: &mut Past,
        look: &Look<'_>,
    ) {
        let (jobs, now) = (look.jobs, look.now);
        self.counted.retain(|uid| jobs.contains(uid));
        let runs = tries.runs(key, self.run.as_ref().map(|run| &run.job));
        let newest = runs.iter().rfind(|uid| jobs.contains(uid)).cloned();
        for last in &runs {
            let Some(seen) = jobs.get(last).filter(|_| !self.counted.contains(last)) else { continue };
            let is_newest = newest.as_ref() == Some(last);
            let followed = self.run.as_ref().is_some_and(|run| tries.last(&run.job) == *last);
            if is_newest {
                self.take_up(last, seen, followed, past, look);
            }
            let waited = self.run.as_ref().filter(|_| followed || is_newest).and_then(|run| run.waited);
            match seen.phase {
                Phase::Ended(Outcome::Succeeded) => {
                    past.ended_well(waited, seen.record.run.completed.map_or(now, |at| at.min(now)));
                }
                // The next try may come, as long as there is no newer run.
                Phase::Ended(_) if !is_newest || !waits => past.gave_up(now),
                Phase::Ended(_) | Phase::Waiting | Phase::Running => {
                    if let Some(run) = self.run.as_mut().filter(|_| followed || is_newest) {
                        run.failed = matches!(seen.phase, Phase::Ended(_));
                    }
                    continue;
                }
            }
            self.counted.insert(last.clone());
            self.run = self.run.take().filter(|_| !(followed || is_newest));
        }
        let gone = |run: &Run| {
            let there = look.snapshot.controllers.get(&run.key).is_some_and(|job| job.uid == run.job);
            !there && !jobs.contains(&tries.last(&run.job))
        };
        match self.run.take() {
            // Whoever deletes one that waits wants no other one at once; and what failed is cleared away before its next try.
            Some(run) if gone(&run) && (run.failed || !run.began) => past.gave_up(now),
            // It may have ended and been cleared away between two looks (`ttlSecondsAfterFinished`).
            Some(run) if gone(&run) => past.ended_well(run.waited, now),
            run => self.run = run,
        }
    }

    /// The newest run is followed from its first Job to its last try.
    fn take_up(&mut self, last: &Uid, seen: &Seen, followed: bool, past: &mut Past, look: &Look<'_>) {
        if !followed {
            past.made();
            self.run = None;
        }
        let now = look.waits.get(&seen.workload).and_then(|waits| waits.all());
        let before = self.run.take();
        let began = seen.phase != Phase::Waiting || before.as_ref().is_some_and(|run| run.began);
        let waited = if began { before.and_then(|run| run.waited) } else { now };
        self.run =
            Some(Run { job: last.clone(), key: seen.record.key.clone(), waited, began, failed: false });
    }

    /// Whether the next run is made; `None` while its runs are not ordered.
    fn decide(
        &mut self,
        key: &WorkloadKey,
        asked: &Asked,
        from: u32,
        desk: &Desk,
        past: &mut Past,
        look: &Look<'_>,
    ) -> Option<Decision> {
        let now = look.now;
        let cron = look.snapshot.controllers.get(&asked.policy.target)?;
        let busy = desk.counts(key) != (0, 0) || under_way(look.snapshot, cron).is_some();
        // A clock that went back must not make a long wait of a short one.
        self.free_since = if busy { now } else { self.free_since.min(now) };
        let waits = look.waits.get(key).copied().unwrap_or_default();
        past.seen(waits.all(), now);
        let target = Snapshot::controller_target(cron)?;
        if busy
            || self
                .order
                .is_some_and(|order| look.snapshot.controllers.contains_key(&job(&target, order.slot)))
        {
            self.order = None;
        }
        if !desk.orders(key) {
            return None;
        }
        let asks = Asks {
            from,
            items: waits.items,
            missing: waits.missing,
            suspended: cron.paused,
            busy,
            free_since: self.free_since,
            announced: desk.first_slot(key),
            deadline: asked.policy.permits.runs.deadline,
        };
        let decision = decide(&asks, past, now);
        if !matches!(decision, Decision::Make(_)) {
            self.order = None;
        }
        Some(decision)
    }

    /// The plan that makes the next run; later and later where nothing of it is seen.
    fn order(
        &mut self,
        key: &WorkloadKey,
        asked: &Asked,
        why: &str,
        look: &Look<'_>,
        ids: &mut dyn IdSource,
    ) -> Option<Plan<Draft>> {
        let (snapshot, now) = (look.snapshot, look.now);
        let target = Snapshot::controller_target(snapshot.controllers.get(&asked.policy.target)?)?;
        let occasion = occasion(&target);
        let mut earlier = actions_of(snapshot, &occasion);
        if earlier.any(|action| action.kind() == ActionKind::CreateJob && !action.state.ended()) {
            return None;
        }
        let slot = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let order = self.order.get_or_insert(Order { slot, at: now, tries: 0 });
        if order.tries > 0 && now < again(order.at, order.tries - 1) {
            return None;
        }
        order.at = now;
        order.tries = order.tries.saturating_add(1);
        let step = Step {
            target,
            parameters: Parameters::CreateJob { slot: order.slot },
            before: Before::default(),
            // The new Job itself is what was asked for.
            verification: Verification { within: MADE_WITHIN, expect: Expectation::Nothing },
            undo: Undo::None,
            evidence: evidence(ids, now, why),
        };
        Some(plan(asked, key, step, snapshot, why, ids))
    }
}

/// The Job that is made of a `CronJob` by a decision of that moment.
fn job(cron: &Target, slot: Timestamp) -> ControllerKey {
    let object = ObjectKey { namespace: cron.key.namespace.clone(), name: made_name(cron, slot) };
    ControllerKey { kind: ControllerKind::Job, object }
}

/// The level lets runs be made.
fn may_make(asked: &Asked, snapshot: &Snapshot) -> bool {
    let tenant = snapshot.tenants.get(&asked.tenant);
    tenant.is_some_and(|tenant| mode(ActionKind::CreateJob, tenant, &snapshot.control) == Mode::Act)
}
