//! The next slot of each periodic workload: known before its Job is made, so that room can be kept for it.

use super::declared::Asked;
use super::seen::{Jobs, Phase};
use homeostat_knowledge::records::Schedule;
use homeostat_knowledge::{SignedDuration, Timestamp, WorkloadKey};
use homeostat_scale::jobs::calendar::CalendarSpec;
use homeostat_scale::jobs::{Calendar, CalendarError};
use jiff::civil::Date;
use std::collections::{BTreeMap, BTreeSet};

/// A slot whose Job is not there after this time keeps no room any more: the controller was away, or the `CronJob` forbids
/// a run beside the one before. A Job that comes later is due like any other.
const MISSED: SignedDuration = SignedDuration::from_secs(60);
/// Zone of a `CronJob` that names none: that of its controller, which is hardly ever another.
const ZONE: &str = "UTC";

/// What is expected of all workloads.
#[derive(Debug, Default)]
pub struct Slots {
    workloads: BTreeMap<WorkloadKey, Expected>,
}

#[derive(Debug)]
struct Expected {
    schedule: Schedule,
    exceptions: Vec<Date>,
    /// Or why it cannot be used.
    calendar: Result<Calendar, String>,
    next: Option<Timestamp>,
    /// Slots that have begun, and whose Job is not there yet.
    begun: Vec<Timestamp>,
}

/// What is new of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It will come.
    Announced(WorkloadKey, Timestamp),
    /// It will not, or its Job is there.
    Withdrawn(WorkloadKey, Timestamp),
}

impl Slots {
    /// Looks at schedules, the time and the Jobs that were made.
    pub fn step(&mut self, asked: &BTreeMap<WorkloadKey, Asked>, jobs: &Jobs, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        self.workloads.retain(|key, expected| {
            let stays = asked.get(key).is_some_and(|one| {
                one.schedule.as_ref() == Some(&expected.schedule) && one.exceptions == expected.exceptions
            });
            if !stays {
                changes.extend(expected.slots().map(|slot| Change::Withdrawn(key.clone(), slot)));
            }
            stays
        });
        for (key, one) in asked {
            let Some(schedule) = &one.schedule else { continue };
            if !self.workloads.contains_key(key) {
                self.workloads.insert(key.clone(), Expected::new(one, schedule, now));
            }
        }
        let mut made = None;
        for (key, expected) in &mut self.workloads {
            if expected.turn(now)
                && let Some(next) = expected.next
            {
                changes.push(Change::Announced(key.clone(), next));
            }
            if expected.begun.is_empty() {
                continue;
            }
            let made = made.get_or_insert_with(|| Made::of(jobs));
            expected.begun.retain(|slot| {
                let waits = now.duration_since(*slot) < MISSED && !made.takes(key, *slot);
                if !waits {
                    changes.push(Change::Withdrawn(key.clone(), *slot));
                }
                waits
            });
        }
        changes
    }

    /// Everything that is expected now.
    pub fn all(&self) -> impl Iterator<Item = (&WorkloadKey, Timestamp)> {
        self.workloads.iter().flat_map(|(key, expected)| expected.slots().map(move |slot| (key, slot)))
    }

    /// The first slot that is expected: the next one, or one that has begun and whose Job is not there yet.
    pub fn first(&self, workload: &WorkloadKey) -> Option<Timestamp> {
        self.workloads.get(workload)?.slots().min()
    }

    /// Whether that moment is a slot of a workload, and not one at which a person made a Job.
    pub fn has(&self, workload: &WorkloadKey, slot: Timestamp) -> bool {
        let calendar = self.workloads.get(workload).and_then(|expected| expected.calendar.as_ref().ok());
        let before = slot.checked_sub(SignedDuration::from_secs(1)).ok();
        calendar.zip(before).is_some_and(|(calendar, before)| calendar.next(before) == Ok(slot))
    }

    /// The next slot of a workload, or why none is known; `None` for one without a schedule.
    pub fn next(&self, workload: &WorkloadKey) -> Option<Result<Timestamp, &str>> {
        let expected = self.workloads.get(workload)?;
        match &expected.calendar {
            Ok(_) => expected.next.map(Ok),
            Err(why) => Some(Err(why)),
        }
    }
}

/// The time zone of a `CronJob`.
pub fn zone(schedule: &Schedule) -> &str {
    schedule.zone.as_deref().unwrap_or(ZONE)
}

/// The calendar of a `CronJob`, without these days.
pub fn calendar(schedule: &Schedule, except: &[Date], now: Timestamp) -> Result<Calendar, CalendarError> {
    let spec = CalendarSpec {
        cron: schedule.cron.to_string(),
        zone: zone(schedule).to_owned(),
        except: except.to_vec(),
        extra: Vec::new(),
    };
    Calendar::new(spec, now)
}

impl Expected {
    fn new(asked: &Asked, schedule: &Schedule, now: Timestamp) -> Self {
        let cron_job = &asked.policy.target.object;
        let calendar = calendar(schedule, &asked.exceptions, now).map_err(|error| {
            let field = match error {
                CalendarError::Zone { .. } => "spec.timeZone",
                _ => "spec.schedule",
            };
            // With every slot excepted it is not the schedule that never fires.
            let but = match error {
                CalendarError::NeverFires { .. } if !asked.exceptions.is_empty() => {
                    ", or spec.scaling.exceptions of its Workload"
                }
                _ => "",
            };
            format!("no room is kept for its next run: {field} of CronJob {cron_job}{but}: {error}")
        });
        Self {
            schedule: schedule.clone(),
            exceptions: asked.exceptions.clone(),
            calendar,
            next: None,
            begun: Vec::new(),
        }
    }

    /// Moves on to the slot after `now`; `true` when that is another one.
    fn turn(&mut self, now: Timestamp) -> bool {
        let Ok(calendar) = &self.calendar else { return false };
        if self.next.is_some_and(|next| now < next) {
            return false;
        }
        self.begun.extend(self.next.take());
        self.next = calendar.next(now).ok();
        self.next.is_some()
    }

    fn slots(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.begun.iter().copied().chain(self.next)
    }
}

/// Jobs by workload and slot, and whether each still waits.
struct Made<'a>(BTreeSet<(&'a WorkloadKey, Timestamp, bool)>);

impl<'a> Made<'a> {
    fn of(jobs: &'a Jobs) -> Self {
        Self(jobs.all().map(|seen| (&seen.workload, seen.slot, seen.phase == Phase::Waiting)).collect())
    }

    /// Whether the Job of a slot is there and the planner does not take it for the announced run by itself: it is past
    /// waiting, or its slot was not noted (before Kubernetes 1.32) and it was made a moment later.
    fn takes(&self, workload: &WorkloadKey, slot: Timestamp) -> bool {
        let until = slot.checked_add(MISSED).unwrap_or(Timestamp::MAX);
        let mut made = self.0.range((workload, slot, false)..(workload, until, false));
        made.any(|(_, at, waits)| *at != slot || !waits)
    }
}
