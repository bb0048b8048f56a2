//! Where in its window does each periodic job start, so that tenants' peaks do not coincide?
//!
//! Jobs are placed one after the other, the largest area first, each where the highest load it meets is lowest (first
//! fit by level, as in strip packing: Coffman et al. 1980); ties go to the earliest start. Load is counted on a circle
//! of one period, so that a run may reach into the next one. A job with several slots in a period has one shift for all.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// A job whose start may be shifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shiftable {
    /// CPU while it runs, in thousandths of a vCPU.
    pub millicores: u64,
    /// Planned time of a run.
    pub lasts: SignedDuration,
    /// Slots within the period.
    pub slots: Vec<SignedDuration>,
    /// Its start may be this much after each slot.
    pub window: SignedDuration,
}

/// A period or window that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PhaseError {
    /// The step divides nothing.
    #[error(
        "a step of {step:#} does not cut a period of {period:#} into 1 to 10000 parts; choose another step"
    )]
    Step {
        /// The step.
        step: SignedDuration,
        /// The period.
        period: SignedDuration,
    },
    /// Negative, or a window longer than the period.
    #[error(
        "job {place} has a window of {window:#} after {slot:#} in a period of {period:#}; both must lie within"
    )]
    Window {
        /// Place in the list.
        place: usize,
        /// Its slot that does not, or its first one.
        slot: SignedDuration,
        /// Its window.
        window: SignedDuration,
        /// The period.
        period: SignedDuration,
    },
}

/// Starts, and the load that they lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phases {
    /// Shift of each job after its slot.
    pub shifts: Vec<SignedDuration>,
    /// Highest load, in thousandths of a vCPU.
    pub peak: u64,
    /// Highest load if every job started at its slot.
    pub unshifted: u64,
}

/// Shifts of all jobs in steps of `step` within one period.
pub fn spread(
    jobs: &[Shiftable],
    period: SignedDuration,
    step: SignedDuration,
) -> Result<Phases, PhaseError> {
    let parts = if step.is_positive() { period.as_millis() / step.as_millis().max(1) } else { 0 };
    if !(1..=10_000).contains(&parts) || period.as_millis() % step.as_millis() != 0 {
        return Err(PhaseError::Step { step, period });
    }
    let parts = parts as usize;
    let steps = |duration: SignedDuration| (duration.as_millis() / step.as_millis()) as usize;
    let outside = |duration: SignedDuration| duration.is_negative() || duration >= period;
    for (place, job) in jobs.iter().enumerate() {
        let wrong = job.slots.iter().copied().find(|slot| outside(*slot));
        if wrong.is_some() || outside(job.window) || job.lasts.is_negative() {
            let slot = wrong.or_else(|| job.slots.first().copied()).unwrap_or_default();
            return Err(PhaseError::Window { place, slot, window: job.window, period });
        }
    }
    let length = |job: &Shiftable| {
        let whole = job.lasts.as_millis().div_euclid(step.as_millis());
        let part = i128::from(job.lasts.as_millis() % step.as_millis() != 0);
        ((whole + part) as usize).clamp(1, parts)
    };
    let area = |job: &Shiftable| u128::from(job.millicores) * (length(job) * job.slots.len()) as u128;
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse(area(&jobs[*place])));
    let mut load = vec![0_u64; parts];
    let mut unshifted = vec![0_u64; parts];
    let mut shifts = vec![SignedDuration::ZERO; jobs.len()];
    for place in order {
        let job = &jobs[place];
        let length = length(job);
        let most = steps(job.window);
        let shift = if most == 0 {
            0
        } else {
            let met = highest(&load, length);
            let worst = |shift: usize| job.slots.iter().map(|slot| met[(steps(*slot) + shift) % parts]).max();
            (0..=most).min_by_key(|shift| worst(*shift)).unwrap_or(0)
        };
        shifts[place] = SignedDuration::from_millis((step.as_millis() * shift as i128) as i64);
        for part in job.slots.iter().flat_map(|slot| steps(*slot)..steps(*slot) + length) {
            load[(part + shift) % parts] += job.millicores;
            unshifted[part % parts] += job.millicores;
        }
    }
    let most = |load: &[u64]| load.iter().copied().max().unwrap_or(0);
    Ok(Phases { shifts, peak: most(&load), unshifted: most(&unshifted) })
}

/// The highest load that a run of this length meets, by the part in which it begins: each part is looked at once, and
/// what a later and higher one hides is forgotten.
fn highest(load: &[u64], length: usize) -> Vec<u64> {
    let parts = load.len();
    let mut met = vec![0; parts];
    let mut falling: VecDeque<usize> = VecDeque::new();
    for end in 0..parts + length - 1 {
        while falling.back().is_some_and(|last| load[*last % parts] <= load[end % parts]) {
            falling.pop_back();
        }
        falling.push_back(end);
        let Some(begin) = (end + 1).checked_sub(length) else { continue };
        while falling.front().is_some_and(|first| *first < begin) {
            falling.pop_front();
        }
        met[begin % parts] = falling.front().map_or(0, |first| load[*first % parts]);
    }
    met
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);
    const MINUTE: SignedDuration = SignedDuration::from_mins(1);

    fn job(window: i64) -> Shiftable {
        Shiftable {
            millicores: 2_000,
            lasts: SignedDuration::from_mins(5),
            slots: vec![SignedDuration::ZERO],
            window: SignedDuration::from_mins(window),
        }
    }

    #[test]
    fn what_a_run_meets_is_the_highest_of_its_parts() {
        let load = [3, 1, 4, 1, 5, 9, 2, 6];
        for length in 1..=load.len() {
            let plainly =
                |begin: usize| (begin..begin + length).map(|part| load[part % load.len()]).max().unwrap();
            let expected: Vec<u64> = (0..load.len()).map(plainly).collect();
            assert_eq!(highest(&load, length), expected, "{length}");
        }
    }

    #[test]
    fn one_shift_serves_all_slots_of_a_job() {
        let quarters = |window: i64| Shiftable {
            slots: (0..4).map(|quarter| SignedDuration::from_mins(15 * quarter)).collect(),
            ..job(window)
        };
        let phases = spread(&[quarters(10), quarters(10), quarters(10), job(0)], HOUR, MINUTE).unwrap();
        let mut minutes: Vec<i64> = phases.shifts[..3].iter().map(SignedDuration::as_mins).collect();
        minutes.sort_unstable();
        assert_eq!(minutes, [0, 5, 10]);
        // The one that cannot be shifted meets one of the others.
        assert_eq!((phases.peak, phases.unshifted), (4_000, 8_000));
    }

    #[test]
    fn twelve_tenants_with_an_hour_take_turns() {
        let phases = spread(&vec![job(55); 12], HOUR, MINUTE).unwrap();
        assert_eq!((phases.peak, phases.unshifted), (2_000, 24_000));
        let mut minutes: Vec<i64> = phases.shifts.iter().map(SignedDuration::as_mins).collect();
        minutes.sort_unstable();
        assert_eq!(minutes, (0..12).map(|turn| turn * 5).collect::<Vec<_>>());
    }

    #[test]
    fn nobody_leaves_its_window() {
        let phases = spread(&[job(0), job(3), job(4), job(5)], HOUR, MINUTE).unwrap();
        for (shift, window) in phases.shifts.iter().zip([0, 3, 4, 5]) {
            assert!(*shift <= SignedDuration::from_mins(window), "{shift}");
        }
        assert!(phases.peak < phases.unshifted);
    }

    #[test]
    fn bounds_that_contradict_say_what_to_change() {
        let error = spread(&[job(60)], HOUR, MINUTE).unwrap_err().to_string();
        assert!(error.contains("within"), "{error}");
        assert!(matches!(spread(&[job(1)], HOUR, SignedDuration::ZERO), Err(PhaseError::Step { .. })));
        assert!(matches!(spread(&[], HOUR, SignedDuration::from_mins(7)), Err(PhaseError::Step { .. })));
    }
}
