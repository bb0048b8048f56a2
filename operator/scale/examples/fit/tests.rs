//! The simulator and its catalogue.

use crate::in_time;
use crate::policies::Kind;
use crate::search::{largest, simulate};
use crate::shapes::{Catalogue, ShapesError, parse};
use crate::world::Setting;
use homeostat_scale::jobs::Settings;

const WATER: &str = include_str!("../../catalogue/water.yaml");

fn water(days: u32) -> Catalogue {
    parse("water.yaml", WATER, days).unwrap()
}

fn setting(tenants: u32, days: u32) -> Setting {
    Setting { seed: 3, tenants, days, until_missed: false }
}

fn refused(text: &str) -> String {
    parse("some.yaml", text, 7).unwrap_err().to_string()
}

#[test]
fn the_catalogue_asks_for_about_0_37_vcpu_a_tenant() {
    let water = water(7);
    let per_day: f64 = water
        .kinds
        .iter()
        .zip(&water.shapes.jobs)
        .map(|(kind, job)| kind.size.vcpu() * job.minutes * kind.slots[0].len() as f64 / 7.0)
        .sum();
    let mean = per_day / 1_440.0 + water.always_on.vcpu();
    assert!((mean - 0.37).abs() < 0.01, "{mean}");
    assert_eq!(water.kinds.iter().map(|kind| kind.slots[0].len()).collect::<Vec<_>>(), [168, 168, 7]);
    // Two in the morning comes at another time in each of the three zones.
    let first: Vec<i64> = water.kinds[2].slots.iter().map(|slots| slots[0].0).collect();
    assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2]);
}

#[test]
fn a_mistake_in_a_catalogue_is_named_with_its_place() {
    let unknown = refused(&WATER.replace("dueMinutes: 20", "dueMinute: 20"));
    assert!(unknown.starts_with("some.yaml:") && unknown.contains("dueMinute"), "{unknown}");
    let line: u64 = unknown.split(':').nth(1).unwrap().parse().unwrap();
    assert!(line > 10, "{unknown}");
    let zone = refused(&WATER.replace("Europe/Athens", "Europe/Atlantis"));
    assert!(zone.contains("Europe/Atlantis") && zone.contains("IANA"), "{zone}");
    let never = refused(&WATER.replace("0 2 * * *", "0 2 30 2 *"));
    assert!(never.contains("kpi"), "{never}");
    for (from, to) in [
        ("minutes: 15", "minutes: .nan"),
        ("minutes: 15", "minutes: -3"),
        ("dueMinutes: 240", "dueMinutes: 1"),
        ("failShare: 0.01", "failShare: 2"),
        ("vcpu: 32", "vcpu: -32"),
        ("memoryGib: 1.5", "memoryGib: .inf"),
        ("weekendFactor: 0.7", "weekendFactor: 0"),
    ] {
        let error = refused(&WATER.replace(from, to));
        assert!(error.contains("give a number"), "{to}: {error}");
    }
    let needs = parse("some.yaml", &WATER.replace("needs: forecast", "needs: kpi"), 7);
    assert!(matches!(needs, Err(ShapesError::Needs { .. })), "{needs:?}");
}

#[test]
fn the_same_seed_gives_the_same_week_and_policies_meet_the_same_runs() {
    let water = water(1);
    let run = |kind| simulate(&water, kind, setting(12, 1), Settings::default());
    let (once, again) = (run(Kind::Homeostat), run(Kind::Homeostat));
    assert_eq!((once.delays.clone(), once.used_ms), (again.delays, again.used_ms));
    let other = run(Kind::Earliest);
    // The last runs of the day may reach over its end by more or less.
    assert!((once.used_ms - other.used_ms).abs() / other.used_ms < 0.01);
    assert_eq!(once.runs, other.runs);
}

#[test]
fn a_day_of_48_tenants_without_a_missed_deadline_or_a_kill_for_memory() {
    let water = water(1);
    let day = simulate(&water, Kind::Homeostat, setting(48, 1), Settings::default());
    assert_eq!((day.missed, day.memory_kills), (0, 0), "{:?}", day.misses);
    assert_eq!(day.runs, 48 * 49);
    assert!(day.used_ms / day.reserved_ms > 0.75);
}

#[test]
fn the_start_of_pods_can_be_given_as_measured() {
    let slow = {
        let mut water = water(1);
        water.start_pods_within(240.0).unwrap();
        simulate(&water, Kind::Homeostat, setting(4, 1), Settings::default())
    };
    let usual = simulate(&water(1), Kind::Homeostat, setting(4, 1), Settings::default());
    assert!(slow.reserved_ms > usual.reserved_ms, "a pod that starts holds its room");
    for wrong in [-1.0, 3_601.0, f64::NAN] {
        let error = water(1).start_pods_within(wrong).unwrap_err().to_string();
        assert!(error.contains("--pod-start") && error.contains("from 0 to 3600"), "{error}");
    }
}

#[test]
fn a_large_week_that_takes_too_long_is_a_failure() {
    assert_eq!(in_time(299.9), Ok(()));
    assert!(in_time(300.1).unwrap_err().contains("300.1 s"));
}

#[test]
fn tenants_without_a_machine_miss_everything() {
    let water = water(1);
    let day = simulate(&water, Kind::Fixed(2), setting(17, 1), Settings::default());
    assert_eq!(day.missed, 49, "16 machines of 2 vCPU, the seventeenth tenant has none");
}

#[test]
fn the_search_finds_the_last_that_holds() {
    for most in [0, 1, 7, 8, 16, 63, 64] {
        assert_eq!(largest(|tenants| tenants <= most), most);
    }
}
