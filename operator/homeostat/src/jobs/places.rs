//! Where in its start window each periodic run has its place, so that tenants' peaks do not coincide.
//!
//! A pure function of what is declared (schedules, windows, deadlines, CPU), so that a restart changes nothing: no run time
//! that was learnt takes part, every run counts as long as the planner takes one of which nothing is known. A schedule is
//! looked at on one day, always the same.

use super::declared::Asked;
use super::slots::calendar;
use homeostat_knowledge::records::Schedule;
use homeostat_knowledge::{SignedDuration, Timestamp, WorkloadKey};
use homeostat_scale::jobs::Settings;
use homeostat_scale::jobs::kueue::Orderer;
use homeostat_scale::jobs::phases::{Phases, Shiftable, spread};
use std::collections::BTreeMap;

const DAY: SignedDuration = SignedDuration::from_hours(24);
const STEP: SignedDuration = SignedDuration::from_mins(1);
/// Wednesday, 7 January 2026 (UTC): the day on which schedules are looked at.
const SOME_DAY: i64 = 1_767_744_000;
/// Slots of a day at most: one a minute.
const MOST_SLOTS: usize = 1_440;

/// The places of all runs.
#[derive(Debug, Default)]
pub struct Places {
    declared: BTreeMap<WorkloadKey, Declared>,
    /// Slots of a day, by schedule.
    slots: BTreeMap<Schedule, Vec<SignedDuration>>,
    /// How long after its slot; those at their slot are missing.
    shifts: BTreeMap<WorkloadKey, SignedDuration>,
}

/// What a place depends on.
#[derive(Clone, Debug, PartialEq)]
struct Declared {
    schedule: Schedule,
    millicores: u64,
    due_after: SignedDuration,
    window: SignedDuration,
}

impl Places {
    /// Gives each run its place. Nothing is worked out anew while the same is declared.
    pub fn give(&mut self, asked: &mut BTreeMap<WorkloadKey, Asked>) {
        if asked.values().all(|one| one.window.is_zero()) {
            *self = Self::default();
            return;
        }
        let declared: BTreeMap<WorkloadKey, Declared> =
            asked.iter().filter_map(|(key, one)| Some((key.clone(), Declared::of(one)?))).collect();
        if declared != self.declared {
            self.declared = declared;
            self.work_out();
        }
        for (key, shift) in &self.shifts {
            if let Some(one) = asked.get_mut(key) {
                one.place = *shift;
            }
        }
    }

    fn work_out(&mut self) {
        let mut slots = std::mem::take(&mut self.slots);
        slots.retain(|schedule, _| self.declared.values().any(|one| one.schedule == *schedule));
        let mut jobs = Vec::with_capacity(self.declared.len());
        for one in self.declared.values() {
            let slots = slots.entry(one.schedule.clone()).or_insert_with(|| of_a_day(&one.schedule));
            jobs.push(one.shiftable(slots.clone()));
        }
        self.slots = slots;
        // It refuses none of these: all slots and windows lie within the day. Without places each run is at its slot.
        let shifts = spread(&jobs, DAY, STEP).map_or_else(|_| Vec::new(), |Phases { shifts, .. }| shifts);
        let shifted = self.declared.keys().cloned().zip(shifts);
        self.shifts = shifted.filter(|(_, shift)| shift.is_positive()).collect();
    }
}

impl Declared {
    /// `None` for what has no slots of its own, or is left to Kueue. One that needs another begins when that is done, and
    /// has no place of its own.
    fn of(asked: &Asked) -> Option<Self> {
        if asked.problem.is_some() || matches!(asked.orderer, Orderer::Kueue { .. }) {
            return None;
        }
        Some(Self {
            schedule: asked.schedule.clone()?,
            millicores: asked.job.asks().millicores,
            due_after: asked.job.due_after,
            window: if asked.needs.is_some() { SignedDuration::ZERO } else { asked.window },
        })
    }

    fn shiftable(&self, slots: Vec<SignedDuration>) -> Shiftable {
        let share = self.due_after.as_secs_f64() * Settings::default().unknown_share;
        let lasts = SignedDuration::from_secs(share as i64).max(STEP);
        // Whatever it takes, it must fit between the last start and the deadline.
        let lasts = lasts.min(self.due_after.saturating_sub(self.window).max(STEP));
        Shiftable { millicores: self.millicores, lasts, slots, window: self.window.min(DAY - STEP) }
    }
}

/// The slots of a schedule on one day, or that of its next one where it has none then. None when it cannot be used.
fn of_a_day(schedule: &Schedule) -> Vec<SignedDuration> {
    let Ok(begin) = Timestamp::from_second(SOME_DAY - 1) else { return Vec::new() };
    // A day without a run is not what a place follows from: all other days would move with it.
    let Ok(calendar) = calendar(schedule, &[], begin) else { return Vec::new() };
    let into = |slot: &Timestamp| SignedDuration::from_secs((slot.as_second() - SOME_DAY).rem_euclid(86_400));
    let end = begin.checked_add(DAY).unwrap_or(begin);
    let mut slots: Vec<SignedDuration> = calendar.between(begin, end, MOST_SLOTS).iter().map(into).collect();
    if slots.is_empty() {
        slots.extend(calendar.next(begin).ok().as_ref().map(into));
    }
    slots
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use homeostat_knowledge::Name;

    #[test]
    fn a_schedule_is_looked_at_on_one_day_or_on_its_next() {
        let slots = |cron: &str, zone: Option<&str>| -> Vec<i64> {
            let schedule = Schedule { cron: Name::from(cron), zone: zone.map(Name::from) };
            of_a_day(&schedule).iter().map(SignedDuration::as_mins).collect()
        };
        assert_eq!(slots("30 * * * *", None), (0..24).map(|hour| 60 * hour + 30).collect::<Vec<_>>());
        assert_eq!(slots("0 0 * * *", None), [0]);
        assert_eq!(slots("0 2 * * *", Some("Europe/Madrid")), [60]);
        assert_eq!(slots("15 3 * * 0", None), [195], "a Sunday");
        assert_eq!(slots("* * * * *", None).len(), MOST_SLOTS);
        assert_eq!(slots("never", None), [0_i64; 0]);
    }
}
