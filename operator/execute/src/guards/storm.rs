//! Storm: too many distinct root causes at once mean that something larger is wrong than any one workload.

use super::{GuardInput, Ruling};
use crate::roots::{Root, storm};
use homeostat_knowledge::{Name, Origin};

pub(super) fn judge(input: &GuardInput) -> Ruling {
    let Some(tenant) = &input.tenant else {
        return Ruling::unknown("tenant not known", "its storm limits are not known");
    };
    if input.action.origin == Origin::Forecast && !input.action.goes_down() {
        // Many workloads that are slow at once may be the very load that was foreseen. Nothing is taken away in a storm.
        return Ruling::unset("more replicas", "a storm holds up what takes away");
    }
    let percent = tenant.limits.storm_percent.min(input.control.storm_percent);
    let group = input.workloads_in_tenant;
    // The platform tenant owns nodes, and may own no workload; how many nodes at once is the action's own limit.
    if group == 0 && !input.action.target.is_node() {
        return Ruling::unknown("no workloads counted", "the size of the tenant is not known");
    }
    let look = |roots: &[Root], group: u32, place: Option<&Name>| {
        let state = storm(roots, group, percent, tenant.limits.storm_calm, input.now);
        let at = place.map_or_else(String::new, |place| format!(" on {place}"));
        let observed = format!("{} of {group} workloads{at} with a root cause of their own", state.sick);
        let limit = format!("below {} ({percent} %)", state.threshold);
        (state, observed, limit)
    };
    let own = look(&input.roots, group, None);
    // What is the tenant's own storm is told as such; else the node's, else the zone's.
    let of_places = input.places.iter().map(|place| look(&place.roots, place.workloads, Some(&place.name)));
    let blowing = std::iter::once(own.clone()).chain(of_places).find(|(state, ..)| state.storm);
    let Some((state, observed, limit)) = blowing else {
        let (_, observed, limit) = own;
        return Ruling::passed(observed, limit);
    };
    let message = match state.over_at {
        None => "too much fails at once for single repairs; people must look for what they have in common"
            .to_owned(),
        Some(over) => format!("the storm has passed; calm until {over:.0} before anything is done"),
    };
    Ruling::refused(observed, limit, message)
}

#[cfg(test)]
mod tests {
    use crate::guards::testing::{first_refusal, input};
    use crate::places::Place;
    use crate::roots::{Root, storm, storm_threshold};
    use homeostat_knowledge::{GuardName, Name, SignedDuration, Timestamp};

    fn root(name: &str, since: i64, until: Option<i64>) -> Root {
        let at = |second| Timestamp::from_second(second).expect("a timestamp");
        Root { name: Name::from(name), since: at(since), until: until.map(at) }
    }

    #[test]
    fn the_threshold_is_right_for_tiny_and_large_groups() {
        for (group, percent, expected) in [
            (1, 20, 2),
            (2, 20, 2),
            (5, 20, 2),
            (9, 20, 2),
            (10, 20, 2),
            (11, 20, 3),
            (15, 20, 3),
            (100, 20, 20),
            (10_000, 20, 2_000),
            (6, 50, 3),
            (6, 100, 6),
            (3, 0, 2),
        ] {
            assert_eq!(storm_threshold(group, percent), expected, "{percent} % of {group}");
        }
    }

    #[test]
    fn it_blows_until_the_calm_time_has_passed() {
        let calm = SignedDuration::from_mins(10);
        let at = |second| Timestamp::from_second(second).expect("a timestamp");
        let state = |roots: &[Root], now| storm(roots, 6, 20, calm, at(now)).storm;
        let one_after_the_other = [root("a", 0, Some(10)), root("b", 10, Some(20)), root("c", 20, None)];
        assert!(!state(&one_after_the_other, 30), "never two at once");
        let two = [root("a", 0, Some(100)), root("b", 50, None)];
        assert!(!state(&two, 49));
        assert!(state(&two, 50));
        assert!(state(&two, 100), "calm begins");
        assert!(state(&two, 699));
        assert!(!state(&two, 700));
        let again = [root("a", 0, Some(100)), root("b", 50, None), root("c", 650, Some(651))];
        assert!(state(&again, 1_250), "a second squall restarts the calm time");
        assert!(!state(&again, 1_251));
        let same = [root("a", 0, None), root("a", 1, None), root("a", 2, Some(3))];
        assert!(!state(&same, 10), "one workload counts once");
        let empty = [root("a", 5, Some(5)), root("b", 0, None)];
        assert!(!state(&empty, 10));
        assert!(!state(&[], 10));
    }

    #[test]
    fn a_tenant_of_unknown_size_does_nothing_but_nodes_need_no_workloads() {
        let mut case = input();
        case.workloads_in_tenant = 0;
        assert_eq!(first_refusal(&case), Some(GuardName::Storm));
        case.action.target.kind = Name::from("Node");
        case.action.target.key.namespace = Name::from("");
        assert!(super::judge(&case).result.permits());
    }

    #[test]
    fn what_fails_together_in_one_zone_is_a_storm_though_each_tenant_has_one_sick_workload_only() {
        let mut case = input();
        case.workloads_in_tenant = 20;
        let now = case.now;
        let roots = |count: usize| -> Vec<Root> {
            (0..count)
                .map(|number| Root { name: Name::from(format!("t{number}/web")), since: now, until: None })
                .collect()
        };
        case.roots = roots(1);
        assert_eq!(first_refusal(&case), None);
        let place = |count| Place { name: Name::from("zone a"), workloads: 20, roots: roots(count) };
        case.places = vec![place(3)];
        assert_eq!(first_refusal(&case), None, "three of twenty are none");
        case.places = vec![place(4)];
        assert_eq!(first_refusal(&case), Some(GuardName::Storm));
        assert!(super::judge(&case).observed.contains("4 of 20 workloads on zone a"));
    }

    #[test]
    fn the_stricter_of_tenant_and_control_plane_counts() {
        let mut case = input();
        case.workloads_in_tenant = 20;
        let now = case.now;
        case.roots = ["a", "b", "c", "d"]
            .into_iter()
            .map(|name| Root { name: Name::from(name), since: now, until: None })
            .collect();
        assert_eq!(first_refusal(&case), Some(GuardName::Storm));
        case.tenant.as_mut().expect("tenant").limits.storm_percent = 100;
        assert_eq!(first_refusal(&case), Some(GuardName::Storm), "the control plane still says 20 %");
        case.control.storm_percent = 100;
        assert_eq!(first_refusal(&case), None);
        case.workloads_in_tenant = 0;
        assert_eq!(first_refusal(&case), Some(GuardName::Storm), "unknown refuses");
    }

    #[test]
    fn a_storm_never_keeps_a_workload_from_growing_and_says_when_it_is_over() {
        use homeostat_knowledge::{ActionKind, Origin};
        let mut case = input();
        let (now, then) = (case.now, case.now.checked_sub(SignedDuration::from_secs(60)).expect("time"));
        case.roots = ["a", "b"]
            .into_iter()
            .map(|name| Root { name: Name::from(name), since: then, until: Some(now) })
            .collect();
        let passed = super::judge(&case);
        assert!(!passed.result.permits() && passed.message.contains("calm until"), "{}", passed.message);
        case.action.origin = Origin::Forecast;
        case.action.kind = ActionKind::ScaleDown;
        assert!(!super::judge(&case).result.permits(), "nothing is taken away in a storm");
        case.action.kind = ActionKind::ScaleUp;
        assert!(super::judge(&case).result.permits());
        case.action.kind = ActionKind::DriveBounds;
        assert!(super::judge(&case).result.permits());
        case.action.lowers_floor = true;
        assert!(!super::judge(&case).result.permits(), "a floor is capacity too");
        case.tenant = None;
        assert!(!super::judge(&case).result.permits());
    }
}
