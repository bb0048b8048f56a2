//! One planner and the Jobs that it was told of.

mod found;
mod held;
mod room;
mod shared;
mod turns;

use super::declare::{Declared, declare};
use super::declared::Asked;
use super::known::Known;
use super::largest::Largest;
use super::parts::AllWaits;
use super::seen::{Jobs, Phase, Seen};
use super::slots::{Change, Slots};
use homeostat_knowledge::{SignedDuration, Timestamp, Uid, WorkloadKey};
use homeostat_scale::jobs::kueue::Orderer;
use homeostat_scale::jobs::learned::{JobHistory, Times};
use homeostat_scale::jobs::overload::{Expected, Overload, Quota, overload};
use homeostat_scale::jobs::parts::Parts;
use homeostat_scale::jobs::{Event, JobId, Outcome, Planner, PlannerError, Run, Size};
use std::collections::{BTreeMap, BTreeSet};

/// A Job that needs another one of its slot waits this long for that to be made.
const COMPANY: SignedDuration = SignedDuration::from_secs(2);
/// The end of a Job waits this long for what its pods say of it.
const LAST_WORDS: SignedDuration = SignedDuration::from_secs(2);
/// What will be late is worked out so often.
const LOOK_AHEAD: SignedDuration = SignedDuration::from_secs(5);
/// Runs that are laid out for that at most: the most urgent ones.
const LAID_OUT: usize = 2_000;
/// Slots that begin so soon are laid out too: what capacity there is says little of later ones.
const ANNOUNCED: SignedDuration = SignedDuration::from_hours(24);

/// What is seen at one moment.
pub struct Look<'a> {
    /// All Jobs.
    pub jobs: &'a Jobs,
    /// What waits for runs.
    pub waits: &'a AllWaits,
    /// What there is for all ordered runs; nothing starts while it is not known.
    pub capacity: Option<Size>,
    /// What pods that are no runs take of the quotas of tenants, by their names.
    pub standing: &'a BTreeMap<String, Size>,
    /// What one pod can have at most.
    pub largest: &'a Largest,
    /// What a Job that waits asks for at least, whatever its run is planned with; of one pod, where their number is chosen.
    pub least: &'a dyn Fn(&Asked, &Seen) -> Size,
    /// Whether the last order to start a Job was refused, as is told since then.
    pub refused: &'a dyn Fn(&WorkloadKey, &Seen, Timestamp) -> bool,
}

/// A run that is to start, now or still: nothing of it was seen yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Whose.
    pub workload: WorkloadKey,
    /// The Job that waits, or that failed.
    pub job: Uid,
    /// What it is planned with.
    pub size: Size,
    /// Where its number of pods at once is chosen for it: which, and whether it is to be set.
    pub pods: Option<(u32, bool)>,
    /// Why now, and why so much.
    pub why: String,
    /// Runs whose memory was seen.
    pub seen: usize,
    /// How often it was ordered before.
    pub tries: u32,
}

/// What the planner knows of a run.
#[derive(Clone, Debug)]
enum Told {
    /// Nothing yet; the Job was first seen then.
    Nothing(Timestamp),
    /// It waits, for its first or a further try.
    Due,
    /// It is its turn; ordered then, so often.
    Turn { size: Size, why: String, at: Timestamp, tries: u32 },
    /// A queue of Kueue lets it go.
    Left(Size),
    /// It runs.
    Running(Size),
    /// It is over; what its pods say is waited for since then.
    Ending(Size, Timestamp),
}

#[derive(Clone, Debug)]
struct Live {
    workload: WorkloadKey,
    job: Uid,
    told: Told,
    /// Its pods at once and why, as of its turn; where they are chosen for each run.
    parts: Option<Parts>,
    /// How often its turn was taken back, as its orders were refused.
    put_off: u32,
    /// Pods of it that found no node for long, and what is still held for the others.
    stuck: Option<(usize, Size)>,
}

impl Live {
    fn new(seen: &Seen, job: &Uid, told: Told) -> Self {
        Self { workload: seen.workload.clone(), job: job.clone(), told, parts: None, put_off: 0, stuck: None }
    }
}

/// One planner with its runs.
#[derive(Default)]
pub struct Desk {
    planner: Option<Planner>,
    /// What Workloads asked for when the planner was made.
    told: BTreeMap<WorkloadKey, Asked>,
    /// Those that it took, and why it did not take the others.
    declared: BTreeMap<WorkloadKey, JobId>,
    refused: BTreeMap<WorkloadKey, String>,
    /// Those of them that had no room at all then.
    without_room: BTreeSet<WorkloadKey>,
    /// Why no node has room for a pod of theirs, and all whose runs are held, with the reason.
    without_node: BTreeMap<WorkloadKey, String>,
    held: BTreeMap<WorkloadKey, String>,
    /// What calendars will bring; the planner knows all of it.
    slots: Slots,
    runs: BTreeMap<Run, Live>,
    /// Run of each Job that was seen.
    assigned: BTreeMap<Uid, Run>,
    /// What the planner was told the capacity is.
    capacity: Option<Size>,
    /// What it was told that others take of it, and of the quotas of tenants.
    others: (Size, BTreeMap<String, Size>),
    /// What it was told that pods that are no runs take of these quotas.
    standing: BTreeMap<String, Size>,
    given_up: BTreeMap<WorkloadKey, String>,
    last_start: BTreeMap<WorkloadKey, String>,
    ahead: Option<(Timestamp, Overload)>,
}

impl Desk {
    /// Whether nothing is ordered here.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// What is known of a workload's runs.
    pub fn expects(&self, workload: &WorkloadKey) -> Option<(f64, Size)> {
        let id = self.declared.get(workload)?;
        self.planner.as_ref()?.expects(*id).map(|(time, size)| (time.quantile, size))
    }

    /// What is expected of the time of a workload's next run, and its slot where that is known.
    pub fn times(&self, workload: &WorkloadKey) -> Option<(Times, Option<Timestamp>)> {
        let job = *self.declared.get(workload)?;
        let slot = self.next_slot(workload).and_then(Result::ok);
        let run = Run { slot: slot.unwrap_or(Timestamp::MAX), job };
        self.planner.as_ref()?.times_of(run).map(|times| (times, slot))
    }

    /// What one pod of a workload's next run reserves, where each run has its own number of them.
    pub fn pod_of(&self, workload: &WorkloadKey) -> Option<Size> {
        let id = self.declared.get(workload)?;
        self.planner.as_ref()?.pod_of(*id)
    }

    /// What was learnt of a workload's runs.
    pub fn history(&self, workload: &WorkloadKey) -> Option<&JobHistory> {
        let id = self.declared.get(workload)?;
        self.planner.as_ref()?.history(*id)
    }

    /// That a workload's next run would get more memory after a kill if a node had it, in words.
    pub fn memory_said(&self, workload: &WorkloadKey) -> Option<String> {
        let most = self.told.get(workload)?.job.most_mebibytes?;
        let wanted = self.history(workload)?.at_least.filter(|wanted| *wanted > most)?;
        Some(format!(
            "a run was killed for memory and the next one should have {wanted} MiB, but the largest node has {most} MiB for it: \
             add a larger node"
        ))
    }

    /// Why a workload cannot be ordered as it says.
    pub fn refusal(&self, workload: &WorkloadKey) -> Option<&String> {
        let before = self.held.get(workload).or_else(|| self.refused.get(workload));
        before.or_else(|| self.given_up.get(workload))
    }

    /// The last start of a workload's runs, in words.
    pub fn last_start(&self, workload: &WorkloadKey) -> Option<&String> {
        self.last_start.get(workload)
    }

    /// The next slot of a workload, or why none is known; `None` for one without a schedule.
    pub fn next_slot(&self, workload: &WorkloadKey) -> Option<Result<Timestamp, &str>> {
        self.slots.next(workload)
    }

    /// The first slot of a workload whose Job is not there yet.
    pub fn first_slot(&self, workload: &WorkloadKey) -> Option<Timestamp> {
        self.slots.first(workload)
    }

    /// Jobs of a workload that wait and that run.
    pub fn counts(&self, workload: &WorkloadKey) -> (u32, u32) {
        let of = self.runs.values().filter(|live| live.workload == *workload);
        of.fold((0, 0), |(waiting, running), live| match live.told {
            Told::Nothing(_) | Told::Due | Told::Turn { .. } | Told::Left(_) => (waiting + 1, running),
            Told::Running(_) | Told::Ending(..) => (waiting, running + 1),
        })
    }

    /// Runs that are under way: whose, the present Job, and what its pods together were planned with.
    pub fn running(&self) -> impl Iterator<Item = (&WorkloadKey, &Uid, Size)> {
        self.runs.values().filter_map(|live| match live.told {
            Told::Running(size) => Some((&live.workload, &live.job, size)),
            _ => None,
        })
    }

    /// What the most urgent run of a workload waits for.
    pub fn waits_for(&self, workload: &WorkloadKey) -> Option<String> {
        let (run, live) = self.runs.iter().find(|(_, live)| {
            live.workload == *workload && matches!(live.told, Told::Due | Told::Nothing(_))
        })?;
        match live.told {
            Told::Due => self.planner.as_ref()?.explain(*run),
            _ if self.held.contains_key(workload) => Some("cannot begin now".to_owned()),
            _ => Some("waits for the Jobs of its slot to be made".to_owned()),
        }
    }

    /// What will be late, as of the last look ahead.
    pub fn overload(&self) -> Option<&Overload> {
        self.ahead.as_ref().map(|(_, overload)| overload)
    }

    /// Tells the planner what happened and returns what is to start.
    pub fn step(
        &mut self,
        asked: &BTreeMap<WorkloadKey, Asked>,
        look: &Look<'_>,
        known: &mut Known,
        now: Timestamp,
    ) -> Vec<Start> {
        let (jobs, Some(capacity)) = (look.jobs, look.capacity) else { return Vec::new() };
        let changes = self.slots.step(asked, jobs, now);
        // What had no room is tried again as soon as there is, and what has none any more is held: a node came or went.
        let without_node = self.without_node(asked, look.largest, known);
        let moved = std::mem::replace(&mut self.without_node, without_node) != self.without_node;
        if self.outdated(asked) || moved || self.asks_again(asked, capacity) {
            self.rebuild(asked, known, (capacity, look.jobs), now);
        } else {
            for change in &changes {
                self.expect(change, now);
            }
        }
        if !self.follow(jobs, known, now) {
            // Somebody else started, deleted or repeated a Job: what is known is read again.
            self.rebuild(asked, known, (capacity, look.jobs), now);
            self.follow(jobs, known, now);
        }
        self.room(capacity, jobs, now);
        self.stand(look.standing);
        self.stuck(jobs, now);
        self.least(asked, look, now);
        self.share(asked, look, capacity, now);
        self.put_off(look, now);
        self.decide(now);
        if self.ahead.as_ref().is_none_or(|(at, _)| now.duration_since(*at) >= LOOK_AHEAD) {
            let overload = self.look_ahead(capacity, now);
            self.ahead = Some((now, overload));
        }
        self.due_starts(now)
    }

    /// Whether Workloads or quotas ask for something else than when the planner was made. Sizes are not compared: they
    /// follow what was learnt.
    pub fn outdated(&self, asked: &BTreeMap<WorkloadKey, Asked>) -> bool {
        let same = |(one, told): ((&WorkloadKey, &Asked), (&WorkloadKey, &Asked))| {
            one.0 == told.0 && {
                let (one, told) = (one.1, told.1);
                let sized = |asked: &Asked| {
                    let mut job = asked.job.clone();
                    (job.millicores, job.mebibytes, job.pods) = (0, None, job.pods.map(|_| 0));
                    job
                };
                one.place == told.place
                    && (&one.tenant, &one.orderer, &one.quota, &one.needs, &one.problem, sized(one))
                        == (&told.tenant, &told.orderer, &told.quota, &told.needs, &told.problem, sized(told))
            }
        };
        asked.len() != self.told.len() || !asked.iter().zip(&self.told).all(same)
    }

    /// Takes note of what was learnt here.
    pub fn remember(&self, known: &mut Known) {
        let Some(planner) = &self.planner else { return };
        for (key, id) in &self.declared {
            let by_pod = self.told.get(key).is_some_and(|told| told.job.pods.is_some());
            if let Some(learnt) = planner.learnt(*id) {
                known.note(key, by_pod, learnt, planner.over(*id));
            }
        }
    }

    /// A new planner that knows what the old one learnt, and nothing yet of any run.
    fn rebuild(
        &mut self,
        asked: &BTreeMap<WorkloadKey, Asked>,
        known: &mut Known,
        (capacity, jobs): (Size, &Jobs),
        now: Timestamp,
    ) {
        self.remember(known);
        self.given_up.retain(|key, _| asked.contains_key(key));
        self.last_start.retain(|key, _| asked.contains_key(key));
        self.told = asked.clone();
        for (key, one) in &mut self.told {
            known.as_first(key, &mut one.job);
        }
        let running = jobs.by_uid().filter(|(_, seen)| seen.phase == Phase::Running);
        let running: BTreeSet<&WorkloadKey> = running.map(|(_, seen)| &seen.workload).collect();
        let Declared { planner, ids, refused, without_room } = declare(&self.told, known, capacity, &running);
        (self.declared, self.refused, self.without_room) = (ids, refused, without_room);
        self.held = self.all_held();
        self.runs.clear();
        self.assigned.clear();
        self.capacity = Some(capacity);
        self.others = (Size::default(), BTreeMap::new());
        self.standing = BTreeMap::new();
        self.planner = Some(planner);
        let _known = self.tell(now, Event::Capacity(capacity));
        let all: Vec<Change> =
            self.slots.all().map(|(key, slot)| Change::Announced(key.clone(), slot)).collect();
        for change in &all {
            self.expect(change, now);
        }
    }

    /// Tells the planner of a slot whose Job is not made yet. A run that it knows already is no news; for one that is held no
    /// room is kept.
    fn expect(&mut self, change: &Change, now: Timestamp) {
        let run = |key: &WorkloadKey, slot| {
            let job = self.declared.get(key).filter(|_| !self.held.contains_key(key));
            job.map(|job| Run { job: *job, slot })
        };
        let event = match change {
            Change::Announced(key, slot) => run(key, *slot).map(Event::Announced),
            Change::Withdrawn(key, slot) => run(key, *slot).map(Event::Withdrawn),
        };
        let _known = event.map(|event| self.tell(now, event));
    }

    /// Tells the planner what is new of each Job; `false` when that does not fit what it knows.
    fn follow(&mut self, jobs: &Jobs, known: &mut Known, now: Timestamp) -> bool {
        if self.assigned.keys().any(|uid| !jobs.contains(uid) && self.lives(uid)) {
            return false;
        }
        let gone: Vec<Uid> = self.assigned.keys().filter(|uid| !jobs.contains(uid)).cloned().collect();
        for uid in gone {
            self.assigned.remove(&uid);
        }
        for (uid, seen) in jobs.in_order() {
            let Some(id) = self.declared.get(&seen.workload).copied() else { continue };
            let fits = match self.assigned.get(uid).copied() {
                Some(run) => self.moved(run, uid, seen, jobs, known, now),
                None => self.found(id, uid, seen, jobs, known, now),
            };
            if fits.is_err() {
                return false;
            }
        }
        true
    }

    /// It is the present Job of a run that is not over.
    fn lives(&self, uid: &Uid) -> bool {
        self.assigned.get(uid).and_then(|run| self.runs.get(run)).is_some_and(|live| live.job == *uid)
    }

    /// A Job of a known run.
    fn moved(
        &mut self,
        run: Run,
        uid: &Uid,
        seen: &Seen,
        jobs: &Jobs,
        known: &mut Known,
        now: Timestamp,
    ) -> Result<(), PlannerError> {
        let Some(live) = self.runs.get(&run).filter(|live| live.job == *uid) else { return Ok(()) };
        let next = match (live.told.clone(), seen.phase) {
            (Told::Nothing(since), Phase::Waiting) => {
                let alone = self.alone(&seen.workload, seen.slot, jobs);
                if self.holds(seen, jobs) || (alone && now.duration_since(since) < COMPANY) {
                    return Ok(());
                }
                self.tell(now, Event::Due(run))?;
                if let Some(until) = self.place(&seen.workload, seen.slot) {
                    self.tell(now, Event::Shifted { run, until })?;
                }
                Told::Due
            }
            // The one that failed stays as it is until its second try is there.
            (Told::Due | Told::Turn { .. } | Told::Left(_), Phase::Waiting)
            | (Told::Running(_) | Told::Ending(..), Phase::Running) => return Ok(()),
            (Told::Due | Told::Turn { .. }, Phase::Ended(_)) if known.has_taught(uid) => return Ok(()),
            (Told::Turn { size, .. } | Told::Left(size), Phase::Running) => Told::Running(size),
            (Told::Turn { size, .. } | Told::Left(size) | Told::Running(size), Phase::Ended(_)) => {
                Told::Ending(size, now)
            }
            (Told::Ending(size, since), Phase::Ended(_)) => Told::Ending(size, since),
            // Started, suspended or ended by somebody else.
            _ => return Err(stranger(run)),
        };
        if let (Told::Ending(_, since), Phase::Ended(outcome)) = (&next, seen.phase)
            && (seen.told || now.duration_since(*since) >= LAST_WORDS)
        {
            known.teaches(uid, seen);
            self.tell_shared(run, (uid, seen), known, now)?;
            self.tell(now, Event::Ended { run, outcome, ran: seen.ran, usage: seen.usage })?;
            if outcome == Outcome::Succeeded {
                self.given_up.remove(&seen.workload);
                self.runs.remove(&run);
                return Ok(());
            }
            // Its next try is held, too: what is known is read again without it.
            if self.holds(seen, jobs) && self.in_time(run, &seen.workload, now) {
                return Err(stranger(run));
            }
            return self.set(run, Told::Due);
        }
        self.set(run, next)
    }

    fn set(&mut self, run: Run, told: Told) -> Result<(), PlannerError> {
        match self.runs.get_mut(&run) {
            Some(live) => {
                live.told = told;
                Ok(())
            }
            None => Err(stranger(run)),
        }
    }

    /// It needs a run of the same slot whose Job is not there yet.
    fn alone(&self, workload: &WorkloadKey, slot: Timestamp, jobs: &Jobs) -> bool {
        let needs = self.told.get(workload).and_then(|asked| asked.needs.as_ref());
        needs.is_some_and(|needs| !jobs.has(needs, slot))
    }

    /// When the run of a slot has its place in its start window.
    fn place(&self, workload: &WorkloadKey, slot: Timestamp) -> Option<Timestamp> {
        let place = self.told.get(workload)?.place;
        let shifted = place.is_positive() && self.slots.has(workload, slot);
        shifted.then(|| slot.checked_add(place).ok()).flatten()
    }

    fn tell(&mut self, now: Timestamp, event: Event) -> Result<(), PlannerError> {
        match &mut self.planner {
            Some(planner) => planner.see(now, event),
            None => Ok(()),
        }
    }

    /// Lays out what runs, waits and is announced. What is left to Kueue has its own capacity, and nobody's order here.
    fn look_ahead(&self, capacity: Size, now: Timestamp) -> Overload {
        let soon = now.checked_add(ANNOUNCED).unwrap_or(Timestamp::MAX);
        let announced = self.slots.all().filter(|(_, slot)| *slot <= soon).filter_map(|(key, slot)| {
            let run = Run { job: *self.declared.get(key)?, slot };
            (!self.runs.contains_key(&run)).then_some((run, (key, None)))
        });
        let known = self.runs.iter().map(|(run, live)| (*run, (&live.workload, Some(&live.told))));
        let all: BTreeMap<Run, (&WorkloadKey, Option<&Told>)> = known.chain(announced).collect();
        let mut places: BTreeMap<Run, usize> = BTreeMap::new();
        let mut quotas: BTreeMap<String, Quota> = BTreeMap::new();
        let mut list: Vec<Expected> = Vec::new();
        for (run, (workload, told)) in all {
            let Some(asked) = self.told.get(workload) else { continue };
            let held = self.held.contains_key(workload) && matches!(told, None | Some(Told::Nothing(_)));
            if held || matches!(asked.orderer, Orderer::Kueue { .. }) {
                continue;
            }
            let expected = self.planner.as_ref().and_then(|planner| planner.expects_of(run));
            let Some((time, size)) = expected else { continue };
            let due = run.slot.checked_add(asked.job.due_after).unwrap_or(Timestamp::MAX);
            let lasts = SignedDuration::from_millis((time.quantile * 1_000.0) as i64 + 5_000);
            let needs = asked.needs.as_ref().and_then(|needs| self.declared.get(needs));
            let needs = needs.and_then(|job| places.get(&Run { job: *job, slot: run.slot })).copied();
            let (lasts, size, running) = match told {
                // How long it has run is not known to the second; half is left.
                Some(Told::Running(size) | Told::Ending(size, _)) => (lasts / 2, *size, true),
                // Its room is taken already.
                Some(Told::Turn { size, .. }) => (lasts, *size, true),
                _ => (lasts, size, false),
            };
            places.insert(run, list.len());
            let title = format!("{} run of {}", title(workload), run.slot);
            let tenant = asked.job.tenant.clone();
            if let Some(limit) = asked.quota {
                quotas.insert(tenant.clone(), Quota { limit, standing: self.stands(&tenant) });
            }
            let from = now.max(run.slot);
            list.push(Expected { title, tenant, from, due, lasts, size, running, needs });
        }
        overload(&list, capacity, &quotas, LAID_OUT)
    }
}

/// A workload as titles of runs begin with.
pub fn title(workload: &WorkloadKey) -> String {
    format!("{}/{}", workload.namespace, workload.name)
}

fn stranger(run: Run) -> PlannerError {
    PlannerError::UnknownJob(u32::try_from(run.job.index()).unwrap_or(u32::MAX))
}
