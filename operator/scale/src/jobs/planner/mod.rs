//! Which run starts now.
//!
//! Events go in, decisions come out; the cost of an event does not grow with the number of waiting runs but by the
//! logarithm. Runs are ordered by the latest moment at which they can start and still end in time (least slack first;
//! Mok 1983), where the time a run needs is a quantile of what its job, its program and its tenant have shown. A run
//! that others wait for inherits their urgency. No run is interrupted; a run that does not fit lets a smaller one pass
//! only if that ends before the first must start, or for a while longer where the first is late already.
//!
//! Fairness: a run that can no longer wait comes before every run that can, whoever's it is; criticality moves a run by
//! at most ten minutes, and a tenant that was late comes forward by as much as it was late, at most
//! [`Settings::most_credit`], until it was in time again; time for one more try, where a program fails at times, moves a
//! run by no more than that. So nothing waits for ever, and lateness goes round.

mod arrive;
mod dispatch;
mod ended;
mod expect;
mod explain;
mod quota;
mod restore;
mod settings;
#[cfg(test)]
mod tests;

pub use explain::{GaveUp, Why};
pub use restore::Over;
pub use settings::Settings;

use ended::End;

use super::ahead::Ahead;
use super::days::Week;
use super::job::{Job, JobError};
use super::kueue::Orderer;
use super::learned::{JobHistory, Level, Program, RunTime};
use super::ready::{Place, Ready};
use super::{later, seconds};
use crate::size::{Size, Source, Usage};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A declared job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(u32);

impl JobId {
    /// Its place in the order of declaration.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One run of a job: the one that its calendar asked for at `slot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Run {
    /// When it was due to become possible.
    pub slot: Timestamp,
    /// Whose.
    pub job: JobId,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It did its work.
    Succeeded,
    /// It failed by itself.
    Failed,
    /// It was killed for lack of memory.
    OutOfMemory,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// A calendar will fire at the run's slot: room is kept for it, and it starts only once it is due.
    Announced(Run),
    /// What was announced will not come.
    Withdrawn(Run),
    /// A run can be started from its slot on: it is there, or will be then for certain; room is kept for it until then.
    Due(Run),
    /// A run that is due has its place in its window then: it waits for it while nobody waits for room and its slack allows.
    Shifted {
        /// Which.
        run: Run,
        /// Its place.
        until: Timestamp,
    },
    /// A run whose job gives each its own number of pods would have so many if it began now, or has so many.
    Pods {
        /// Which.
        run: Run,
        /// Pods at a time.
        pods: u32,
        /// Seconds that it takes with them; `None`: by what was learnt of the job's runs.
        seconds: Option<f64>,
    },
    /// A run of such a job had so many items; told before it has ended.
    Items {
        /// Which.
        run: Run,
        /// Items.
        items: f64,
    },
    /// A run failed for good, and taught what it could, before this planner was made: those that need it do not begin.
    Lost(Run),
    /// A run did its work, and taught what it could, before this planner was made: those that need it need no older one.
    Done(Run),
    /// A run that was found had ended, or a try of it had, before this planner was made: it teaches, and nothing else.
    Taught {
        /// Which.
        run: Run,
        /// How.
        outcome: Outcome,
        /// Time its program ran.
        ran: SignedDuration,
        /// What it used.
        usage: Usage,
    },
    /// A try of a run failed, and taught what it could, before this planner was made: the run goes on, if it may be tried
    /// again.
    Again {
        /// Which.
        run: Run,
        /// Which try is the next one, from 1.
        attempt: u32,
    },
    /// A run whose turn it is cannot be started: its room is free again, and its turn does not come back before then.
    PutOff {
        /// Which.
        run: Run,
        /// Until when.
        until: Timestamp,
    },
    /// A run asks for so much, whatever was learnt: its start cannot write another size. Of one pod, where each run is
    /// given its own number of them.
    AtLeast {
        /// Which.
        run: Run,
        /// What it asks for; nothing where any size can be written.
        size: Size,
    },
    /// A run has ended.
    Ended {
        /// Which.
        run: Run,
        /// How.
        outcome: Outcome,
        /// Time its program ran.
        ran: SignedDuration,
        /// What it used.
        usage: Usage,
    },
    /// What all runs together may reserve has changed.
    Capacity(Size),
    /// A run that is under way takes so much of it from now on: less while pods of it find no node.
    Takes {
        /// Which.
        run: Run,
        /// What it takes.
        size: Size,
    },
    /// A run was found running after a restart.
    Found {
        /// Which.
        run: Run,
        /// Its reservation.
        size: Size,
        /// Which try it is, from 1.
        attempt: u32,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// Start a run with this reservation as request and limit.
    Start {
        /// Which.
        run: Run,
        /// Which try it is, from 1.
        attempt: u32,
        /// Its reservation.
        size: Size,
        /// Why now and why so much.
        why: Why,
    },
    /// Make a suspended Job of this size in a queue of Kueue.
    LeaveToKueue {
        /// Which.
        run: Run,
        /// The queue.
        queue: String,
        /// Its reservation.
        size: Size,
    },
    /// A run will not happen, or not again.
    GiveUp {
        /// Which.
        run: Run,
        /// Why.
        why: GaveUp,
    },
}

/// An event that does not fit what is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlannerError {
    /// No such job.
    #[error("event of a job with number {0}, which was never declared; declare it first")]
    UnknownJob(u32),
    /// It was not running.
    #[error("{job}: run of {slot} has ended, but was not running; report it as found first")]
    NotRunning {
        /// Tenant and name.
        job: String,
        /// Its slot.
        slot: Timestamp,
    },
    /// It is known already.
    #[error("{job}: run of {slot} is known already; report each slot once")]
    Twice {
        /// Tenant and name.
        job: String,
        /// Its slot.
        slot: Timestamp,
    },
}

#[derive(Clone, Debug)]
struct Declared {
    job: Job,
    tenant: usize,
    kind: usize,
    needs: Option<JobId>,
    queue: Option<String>,
    history: JobHistory,
    /// The days of its time zone, where that is known.
    week: Option<Week>,
    /// What its own runs say of the next one's reservation.
    sized: Option<(Size, Source)>,
    /// Its last slots, for those who need its runs, and whether the run of each was given up.
    slots: BTreeMap<Timestamp, bool>,
    /// Newest slot that is not remembered any more and whose run was given up.
    lost_until: Option<Timestamp>,
    /// Oldest slot after that which is not remembered any more either, and whose run was not given up.
    done_since: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
struct Tenant {
    quota: Option<Size>,
    used: Size,
    /// Taken of the quota by runs that are not ordered here.
    others: Size,
    /// Taken of the quota by pods that are no runs; the capacity is told without them.
    standing: Size,
    /// Logarithm of how much longer its runs take than their kinds'.
    pace: Level,
    behind: SignedDuration,
    parked: BTreeSet<(Place, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Known ahead, and not there yet.
    Announced,
    Arrived,
    /// Its window has not begun.
    Early,
    /// It waits for its place in its window.
    Shifted(Timestamp),
    /// It could not be started, and is not tried again before then.
    PutOff(Timestamp),
    /// Another run must succeed first.
    Needs(Run),
    Ready(u64, Place),
    /// Its tenant has used up its quota, or what is left of it is kept for a more urgent run.
    Parked(u64, Place),
    Running(Size),
    Left,
}

#[derive(Clone, Debug)]
struct Live {
    attempt: u32,
    due: Timestamp,
    /// Latest start; known once it is ready.
    latest: Timestamp,
    /// Kept before that for one more try.
    spare: SignedDuration,
    state: State,
    /// Its place in its window.
    place: Option<Timestamp>,
    followers: Vec<Run>,
    /// The run that it needs has done its work.
    fed: bool,
    /// Work it adds to what is known ahead: waiting as thousandths of a vCPU times seconds, running until when.
    work: i64,
    until: Timestamp,
    /// Where its job gives each run its own number: pods at a time, seconds with them, items that it had.
    pods: u32,
    seconds: Option<f64>,
    items: Option<f64>,
}

/// The planner. Not the cluster: what it started is what it was told.
#[derive(Clone, Debug)]
pub struct Planner {
    settings: Settings,
    capacity: Size,
    reserved: Size,
    /// Taken of the capacity by runs that are not ordered here.
    others: Size,
    jobs: Vec<Declared>,
    by_name: BTreeMap<(String, String), JobId>,
    tenants: Vec<Tenant>,
    tenants_by_name: BTreeMap<String, usize>,
    kinds: Vec<Program>,
    kinds_by_name: BTreeMap<String, usize>,
    live: BTreeMap<Run, Live>,
    /// What runs ask for whose start cannot write another size.
    least: BTreeMap<Run, Size>,
    ready: Ready,
    early: BTreeSet<(Timestamp, Run)>,
    /// Those that wait for their place in their window: apart, as all may be let go at once.
    shifted: BTreeSet<(Timestamp, Run)>,
    ahead: Ahead,
    /// When it is looked at again: at the latest start of the most urgent run that is held back for others, or when others
    /// pass the one that has no room.
    held: Option<Timestamp>,
    /// When what a tenant's more urgent run holds back of its quota is free for its other runs, for a while.
    kept: BTreeMap<usize, Timestamp>,
    arrived: Vec<Run>,
    decided: Vec<Decision>,
}

impl Planner {
    /// With what all runs together may reserve.
    pub fn new(settings: Settings, capacity: Size) -> Self {
        Self {
            settings,
            capacity,
            reserved: Size::default(),
            others: Size::default(),
            jobs: Vec::new(),
            by_name: BTreeMap::new(),
            tenants: Vec::new(),
            tenants_by_name: BTreeMap::new(),
            kinds: Vec::new(),
            kinds_by_name: BTreeMap::new(),
            live: BTreeMap::new(),
            least: BTreeMap::new(),
            ready: Ready::default(),
            early: BTreeSet::new(),
            shifted: BTreeSet::new(),
            ahead: Ahead::default(),
            held: None,
            kept: BTreeMap::new(),
            arrived: Vec::new(),
            decided: Vec::new(),
        }
    }

    /// Takes a job; one that it needs must have been declared before. `orderer` says whether its runs are ordered here.
    pub fn declare(&mut self, job: Job, orderer: &Orderer) -> Result<JobId, JobError> {
        job.check(self.capacity)?;
        let key = (job.tenant.clone(), job.name.clone());
        if self.by_name.contains_key(&key) {
            return Err(JobError::Twice { job: job.title() });
        }
        if self.jobs.len() >= self.settings.most_jobs {
            return Err(JobError::TooMany { job: job.title(), most: self.settings.most_jobs });
        }
        let needs = match &job.needs {
            None => None,
            Some(needs) => {
                let found = self.by_name.get(&(job.tenant.clone(), needs.clone())).copied();
                Some(found.ok_or_else(|| JobError::Needs { job: job.title(), needs: needs.clone() })?)
            }
        };
        let tenant = number(&mut self.tenants_by_name, &mut self.tenants, &job.tenant);
        if let Some(quota) = self.tenants[tenant].quota {
            check_quota(&job, quota)?;
        }
        // What is learnt of whole runs says nothing of one pod of another tenant's, nor the other way round.
        let kind = if job.pods.is_some() { format!("{} by pods", job.name) } else { job.name.clone() };
        let kind = number(&mut self.kinds_by_name, &mut self.kinds, &kind);
        let queue = match orderer {
            Orderer::Homeostat { .. } => None,
            Orderer::Kueue { queue, .. } => Some(queue.clone()),
        };
        let id = JobId(self.jobs.len() as u32);
        let history = JobHistory::default();
        let week = job.zone.as_deref().and_then(Week::in_zone);
        self.jobs.push(Declared {
            job,
            tenant,
            kind,
            needs,
            queue,
            history,
            week,
            sized: None,
            slots: BTreeMap::new(),
            lost_until: None,
            done_since: None,
        });
        self.by_name.insert(key, id);
        Ok(id)
    }

    /// Most that a tenant's runs may reserve together. Each of its jobs must fit alone.
    pub fn limit(&mut self, tenant: &str, quota: Option<Size>) -> Result<(), JobError> {
        if let Some(quota) = quota {
            let of_tenant = self.jobs.iter().filter(|declared| declared.job.tenant == tenant);
            of_tenant.into_iter().try_for_each(|declared| check_quota(&declared.job, quota))?;
        }
        let place = number(&mut self.tenants_by_name, &mut self.tenants, tenant);
        self.tenants[place].quota = quota;
        self.unpark(place);
        Ok(())
    }

    /// A declared job.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(id.index()).map(|declared| &declared.job)
    }

    /// Reserved by running runs.
    pub fn reserved(&self) -> Size {
        self.reserved
    }

    /// Runs that could start and wait for room.
    pub fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// When to ask again if nothing happens before.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let early = self.first_early().map(|(at, _)| at);
        early.into_iter().chain(self.held).chain(self.kept.values().copied()).min()
    }

    fn first_early(&self) -> Option<(Timestamp, Run)> {
        self.early.first().into_iter().chain(self.shifted.first()).min().copied()
    }

    /// Takes in what happened. Decisions come with the next [`Planner::decide`], so that what happens at the same moment
    /// is decided together.
    pub fn see(&mut self, now: Timestamp, event: Event) -> Result<(), PlannerError> {
        match event {
            Event::Announced(run) => self.announced(run),
            Event::Withdrawn(run) => {
                self.withdrawn(run);
                Ok(())
            }
            Event::Due(run) => self.arrives(run, 1),
            Event::Lost(run) => self.over_before(run, true),
            Event::Done(run) => self.over_before(run, false),
            Event::Taught { run, outcome, ran, usage } => self.taught(run, End { outcome, ran, usage }),
            Event::Again { run, attempt } => self.arrives(run, attempt),
            Event::PutOff { run, until } => {
                self.put_off(run, until);
                Ok(())
            }
            Event::AtLeast { run, size } => {
                self.at_least(run, size);
                Ok(())
            }
            Event::Shifted { run, until } => {
                if let Some(live) = self.live.get_mut(&run).filter(|live| live.state == State::Arrived) {
                    live.place = Some(until);
                }
                Ok(())
            }
            Event::Pods { run, pods, seconds } => {
                self.shared_by(run, pods, seconds);
                Ok(())
            }
            Event::Items { run, items } => {
                if let Some(live) = self.live.get_mut(&run) {
                    live.items = Some(items);
                }
                Ok(())
            }
            Event::Ended { run, outcome, ran, usage } => self.ended(now, run, End { outcome, ran, usage }),
            Event::Capacity(size) => {
                self.holds(size);
                Ok(())
            }
            Event::Takes { run, size } => {
                self.takes(run, size);
                Ok(())
            }
            Event::Found { run, size, attempt } => self.found(run, size, attempt),
        }
    }

    /// Counts a run as known work that waits.
    fn wait(&mut self, run: Run) {
        let declared = &self.jobs[run.job.index()];
        let seconds = self.time_of(run).median + self.settings.pod_start.as_secs_f64();
        let pods = self.pods_of(run).map_or(1, |(pods, _)| u64::from(pods));
        let asks = declared.job.millicores.saturating_mul(pods);
        // What Kueue orders takes its own capacity; what is larger than all there is keeps no room.
        let none = declared.queue.is_some() || asks > self.capacity.millicores;
        let millicores = if none { 0 } else { asks };
        if let Some(live) = self.live.get_mut(&run) {
            live.work = (seconds * millicores as f64) as i64;
            self.ahead.wait(run.slot, live.due, live.work);
        }
    }

    /// Counts it again: what is known of it, or of the capacity, has changed.
    fn wait_anew(&mut self, run: Run) {
        if let Some((due, work)) = self.live.get(&run).map(|live| (live.due, live.work)) {
            self.ahead.wait(run.slot, due, -work);
            self.wait(run);
        }
    }
}

impl Declared {
    fn size(&self, others: Option<u64>, settings: &Settings) -> (Size, Source) {
        let (mebibytes, source) = self.history.memory(self.job.mebibytes, others, &settings.memory);
        // With less than it is known to need it would only be killed.
        let known = self.history.needs().unwrap_or(0);
        let mebibytes = mebibytes.min(self.job.most_mebibytes.map_or(u64::MAX, |most| most.max(known)));
        let millicores = self.history.cpu(self.job.millicores, self.job.most_millicores, &settings.cpu);
        (Size { millicores, mebibytes }, source)
    }
}

impl Tenant {
    /// Taken of the quota by all but the runs that are ordered here.
    fn elsewhere(&self) -> Size {
        self.others.plus(self.standing)
    }
}

impl Live {
    fn new(due: Timestamp, attempt: u32, state: State) -> Self {
        let (spare, followers, until) = (SignedDuration::ZERO, Vec::new(), Timestamp::MIN);
        let (pods, seconds, items) = (1, None, None);
        let (latest, place, work, fed) = (due, None, 0, false);
        Self { attempt, due, latest, spare, state, place, followers, fed, work, until, pods, seconds, items }
    }
}

impl Live {
    /// Latest start at which one more try would still be in time, where room for it is kept.
    fn turn(&self) -> Timestamp {
        later(self.latest, -self.spare)
    }
}

fn check_quota(job: &Job, quota: Size) -> Result<(), JobError> {
    let needs = job.asks();
    if needs.fits(quota) {
        return Ok(());
    }
    Err(JobError::TooLarge { job: job.title(), needs, whose: "its tenant's quota", limit: quota })
}

/// Number of a name, given on first use.
fn number<T: Default>(names: &mut BTreeMap<String, usize>, list: &mut Vec<T>, name: &str) -> usize {
    if let Some(number) = names.get(name) {
        return *number;
    }
    list.push(T::default());
    names.insert(name.to_owned(), list.len() - 1);
    list.len() - 1
}
