//! Replicas that are there before the work that a forecast with skill expects in a backlog.
//!
//! What came is forecast where the work of one item is declared, as it does not depend on the own replicas; else what waits.
//! They come as early as a forecast sees the work, at most ten minutes before it, and stay for five minutes after it was
//! expected: work that is a little late finds them, and work that does not come costs that much.

use super::{IDLE, Load, Seen, usable};
use crate::services::Expected;
use homeostat_knowledge::policy::DuePolicy;
use std::collections::VecDeque;

/// Seconds of a minute of the forecast.
const MINUTE: f64 = 60.0;
/// Fewer items than this, in the middle, are no reason for a replica.
const LEAST: f64 = 1.0;

/// What was wanted of late.
#[derive(Clone, Debug, Default)]
pub(super) struct Coming {
    wishes: VecDeque<(i64, u32, String)>,
}

impl Coming {
    /// Replicas for what is foreseen, at most so many, and why. `None` where nothing is, and while a backlog is not seen whole:
    /// nobody knows whether what its forecast stands on still holds.
    pub fn look(&mut self, now: i64, seen: &Seen<'_>, most: u32) -> Option<(u32, String)> {
        let whole = |load: &&Load| {
            load.value.is_some_and(|value| usable(value / load.per_replica)) && load.silent.is_empty()
        };
        let needed = seen.loads.iter().filter(whole).filter_map(needed);
        let wish = needed.map(|(replicas, why)| (replicas.min(most), why)).max_by_key(|(number, _)| *number);
        self.wishes.retain(|(at, ..)| (0..IDLE).contains(&now.saturating_sub(*at)));
        if let Some((replicas, why)) = wish {
            // What is not more than a newer wish will not be the highest any more.
            self.wishes.retain(|(_, wish, _)| *wish > replicas);
            self.wishes.push_back((now, replicas, why));
        }
        if !seen.loads.iter().any(|load| whole(&load)) {
            return None;
        }
        self.wishes.front().map(|(_, replicas, why)| (*replicas, why.clone()))
    }
}

/// Replicas for what is foreseen of one load, where that is anything, and why.
fn needed(load: &Load) -> Option<(u32, String)> {
    let sound = |said: &Expected| usable(said.p50) && usable(said.p90);
    if load.soon.is_empty() || !load.soon.iter().all(sound) {
        return None;
    }
    let soon = || load.soon.iter();
    let minutes = load.soon.len();
    let most = |of: fn(&Expected) -> f64| soon().map(of).fold(0.0, f64::max);
    let (middle, replicas, what) = if let Some(due) = &load.due {
        let items: f64 = soon().map(|said| said.p90).sum();
        let middle: f64 = soon().map(|said| said.p50).sum();
        (middle, in_time(&load.soon, due), format!("{items:.0} items come"))
    } else {
        let waits = most(|said| said.p90);
        (most(|said| said.p50), (waits / load.per_replica).ceil(), format!("{waits:.0} items wait"))
    };
    let replicas = replicas.clamp(0.0, f64::from(u32::MAX)) as u32;
    let why = format!(
        "by its forecast (p90) at most {what} in the next {minutes} min: {replicas} replicas are there before them"
    );
    (middle >= LEAST && replicas > 0).then_some((replicas, why))
}

/// The fewest replicas, ready from the beginning, with which what comes is done so long after it came: those that come within
/// any span of minutes, until the last of them is due.
fn in_time(soon: &[Expected], due: &DuePolicy) -> f64 {
    let within = due.within.as_secs_f64();
    let mut most = 0.0_f64;
    for first in 0..soon.len() {
        let mut items = 0.0;
        for (minutes, said) in soon.iter().skip(first).enumerate() {
            items += said.p90;
            // A replica does whole items only.
            let each = ((minutes as f64 * MINUTE + within) / due.seconds_per_item).floor().max(1.0);
            most = most.max((items / each).ceil());
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::super::Requests;
    use super::*;
    use homeostat_knowledge::SignedDuration;

    /// Ten items for each replica, or a minute of work for each item until ten minutes after it came.
    fn backlog(due: bool, soon: &[f64]) -> Load {
        let within = SignedDuration::from_mins(10);
        Load {
            name: "scaling.backlog".into(),
            value: Some(0.0),
            per_replica: 10.0,
            silent: Vec::new(),
            due: due.then_some(DuePolicy { seconds_per_item: 60.0, within }),
            unsent: None,
            expected: None,
            soon: soon.iter().map(|p90| Expected { p50: 0.8 * p90, p90: *p90 }).collect(),
        }
    }

    fn look(coming: &mut Coming, now: i64, load: &Load) -> Option<u32> {
        let seen = Seen {
            requests: Requests::default(),
            loads: std::slice::from_ref(load),
            replicas: 0,
            ready: 0,
            expected: None,
            calendar: None,
            hurts: false,
        };
        coming.look(now, &seen, 20).map(|(replicas, _)| replicas)
    }

    fn once(load: &Load) -> Option<u32> {
        look(&mut Coming::default(), 0, load)
    }

    #[test]
    fn a_crowd_has_the_whole_deadline_and_a_stream_the_time_in_which_it_comes_too() {
        let crowd = [0.0, 0.0, 0.0, 50.0, 0.0];
        assert_eq!(once(&backlog(true, &crowd)), Some(5), "ten each in ten minutes");
        assert_eq!(once(&backlog(true, &[5.0; 10])), Some(3), "50 items of a minute each in 19 min");
        assert_eq!(once(&backlog(false, &crowd)), Some(5), "ten items for each");
        assert_eq!(once(&backlog(true, &[1e6])), Some(20), "within the bounds");
        assert_eq!(once(&backlog(true, &[0.1; 10])), None, "less than an item in the middle");
        assert_eq!(once(&backlog(true, &[])), None);
        assert_eq!(once(&backlog(true, &[f64::NAN, 50.0])), None);
        let silent = Load { value: None, ..backlog(true, &crowd) };
        assert_eq!(once(&silent), None);
        let partly = Load { silent: vec!["queue=b".into()], ..backlog(true, &crowd) };
        assert_eq!(once(&partly), None);
    }

    #[test]
    fn they_wait_for_work_that_is_late_five_minutes_and_no_longer() {
        let mut coming = Coming::default();
        assert_eq!(look(&mut coming, 0, &backlog(true, &[50.0])), Some(5));
        assert_eq!(look(&mut coming, 15, &backlog(true, &[20.0])), Some(5));
        for (now, expected) in [(30, Some(5)), (299, Some(5)), (300, Some(2)), (314, Some(2)), (315, None)] {
            assert_eq!(look(&mut coming, now, &backlog(true, &[0.0])), expected, "{now} s");
        }
        assert_eq!(look(&mut coming, 400, &backlog(true, &[20.0])), Some(2));
        assert_eq!(look(&mut coming, 415, &backlog(true, &[50.0])), Some(5), "more at once");
        assert!(coming.wishes.len() <= 20);
    }
}
