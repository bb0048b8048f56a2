//! Where in its window does each periodic job start, so that tenants' peaks do not coincide?
//!
//! Jobs are placed one after the other, the largest area first, each where the highest load it meets is lowest (first
//! fit by level, as in strip packing: Coffman et al. 1980); ties go to the earliest start. Load is counted on a circle
//! of one period, so that a run may reach into the next one.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// A job whose start may be shifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shiftable {
    /// CPU while it runs, in thousandths of a vCPU.
    pub millicores: u64,
    /// Planned time of a run.
    pub lasts: SignedDuration,
    /// Slot within the period.
    pub slot: SignedDuration,
    /// Its start may be this much after the slot.
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
        /// Its slot.
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
    for (place, job) in jobs.iter().enumerate() {
        let outside = |duration: SignedDuration| duration.is_negative() || duration >= period;
        if outside(job.slot) || outside(job.window) || job.lasts.is_negative() {
            return Err(PhaseError::Window { place, slot: job.slot, window: job.window, period });
        }
    }
    let length = |job: &Shiftable| {
        let whole = job.lasts.as_millis().div_euclid(step.as_millis());
        let part = i128::from(job.lasts.as_millis() % step.as_millis() != 0);
        ((whole + part) as usize).clamp(1, parts)
    };
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|place| {
        std::cmp::Reverse(u128::from(jobs[*place].millicores) * length(&jobs[*place]) as u128)
    });
    let mut load = vec![0_u64; parts];
    let mut unshifted = vec![0_u64; parts];
    let mut shifts = vec![SignedDuration::ZERO; jobs.len()];
    for place in order {
        let job = &jobs[place];
        let (slot, length) = (steps(job.slot), length(job));
        let highest =
            |shift: usize| (0..length).map(|part| load[(slot + shift + part) % parts]).max().unwrap_or(0);
        let shift = (0..=steps(job.window)).min_by_key(|shift| highest(*shift)).unwrap_or(0);
        shifts[place] = SignedDuration::from_millis((step.as_millis() * shift as i128) as i64);
        for part in 0..length {
            load[(slot + shift + part) % parts] += job.millicores;
            unshifted[(slot + part) % parts] += job.millicores;
        }
    }
    let most = |load: &[u64]| load.iter().copied().max().unwrap_or(0);
    Ok(Phases { shifts, peak: most(&load), unshifted: most(&unshifted) })
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
            slot: SignedDuration::ZERO,
            window: SignedDuration::from_mins(window),
        }
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
