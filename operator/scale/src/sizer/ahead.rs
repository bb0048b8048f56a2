//! What the forecasts of all loads expect together.

use super::gaps::usable;
use super::{Load, Seen};
use crate::services::Expected;

/// What is expected of the load that asks for the most replicas, in replicas' worth. A load that is not seen whole takes no
/// part: nobody knows whether what its forecast stands on still holds.
pub(super) fn expected(seen: &Seen<'_>, per_replica: Option<f64>) -> Option<Expected> {
    let heard = |load: &&Load| load.value.is_some_and(|value| usable(value / load.per_replica));
    let whole = seen.loads.iter().filter(|load| heard(load) && load.silent.is_empty() && load.due.is_none());
    let loads = whole.filter_map(|load| Some((load.expected?, load.per_replica)));
    let worth = seen.expected.zip(per_replica).into_iter().chain(loads);
    worth
        .map(|(said, each)| Expected { p50: said.p50 / each, p90: said.p90 / each })
        .filter(|said| usable(said.p50) && usable(said.p90))
        .max_by(|one, other| one.p90.total_cmp(&other.p90))
}

#[cfg(test)]
mod tests {
    use super::super::Requests;
    use super::{Expected, Load, Seen};

    #[test]
    fn of_what_is_expected_the_load_that_asks_for_most_counts_and_a_silent_one_does_not() {
        let ahead = |p90: f64| Some(Expected { p50: 0.9 * p90, p90 });
        let load = |name: &str, value, expected| Load {
            name: name.into(),
            value,
            per_replica: 10.0,
            silent: Vec::new(),
            due: None,
            unsent: None,
            expected,
            soon: Vec::new(),
        };
        let expected = |loads: &[Load], per_replica| {
            let requests = Requests { rate: Some(10.0), ..Requests::default() };
            let seen = Seen {
                requests,
                loads,
                replicas: 3,
                ready: 3,
                expected: ahead(80.0),
                calendar: None,
                hurts: false,
            };
            super::expected(&seen, per_replica).map(|said| said.p90)
        };
        let (cpu, jobs) = (load("cpu", Some(5.0), ahead(50.0)), load("jobs", Some(5.0), ahead(30.0)));
        assert_eq!(
            expected(&[cpu.clone(), jobs.clone()], Some(20.0)),
            Some(5.0),
            "80 requests/s are four replicas"
        );
        assert_eq!(expected(std::slice::from_ref(&jobs), Some(20.0)), Some(4.0));
        assert_eq!(
            expected(std::slice::from_ref(&jobs), None),
            Some(3.0),
            "what one carries of the requests is not known"
        );
        let silent = Load { value: None, ..cpu.clone() };
        assert_eq!(expected(&[silent, jobs.clone()], None), Some(3.0));
        let partly = Load { silent: vec!["queue=b".into()], ..cpu };
        assert_eq!(expected(&[partly, jobs], None), Some(3.0));
        assert_eq!(expected(&[], None), None);
    }
}
