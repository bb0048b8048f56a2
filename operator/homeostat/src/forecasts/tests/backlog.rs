//! What is forecast of a backlog.

use super::*;
use homeostat_knowledge::policy::DuePolicy;
use homeostat_knowledge::{ControllerRecord, SignedDuration};

fn key() -> SeriesKey {
    (ObjectKey::new("shop", "cart"), load_signal(BACKLOG))
}

/// A queue with so many items at this second, and two ready replicas that take half a minute for each where that is declared.
fn queue(items: f64, seconds: Option<f64>, second: i64) -> Snapshot {
    let due =
        seconds.map(|seconds| DuePolicy { seconds_per_item: seconds, within: SignedDuration::from_mins(10) });
    let load = LoadPolicy { signal: BACKLOG.into(), per_replica: 5.0, due };
    let scaling = ScalingPolicy { loads: vec![load], ..ScalingPolicy::default() };
    let mut world = snapshot(Some(&scaling), 0, second);
    let (given, _) = homeostat_situations::Given::default().build();
    let order = given.controller_of(&homeostat_situations::order()).unwrap();
    let target = ControllerKey { kind: ControllerKind::Deployment, object: ObjectKey::new("shop", "cart") };
    let controller = ControllerRecord { key: target, replicas: 2, ready: 2, ..(**order).clone() };
    world.commit(&ObjectChange::Controller(Change::Applied(Arc::new(controller))), at(0));
    // The source is asked four times a minute, and read more often.
    let asked = at(second - second.rem_euclid(15));
    world.loads.insert_mut((ObjectKey::new("shop", "cart"), BACKLOG.into(), "".into()), (items, asked));
    world
}

/// What the last minute was, after six minutes of a queue with so many items at each second.
fn minute(seconds: Option<f64>, items: impl Fn(i64) -> f64) -> Option<f64> {
    let mut forecaster = forecaster();
    let mut now = None;
    for second in (0_i64..=360).step_by(5) {
        let world = queue(items(second - second.rem_euclid(15)), seconds, second);
        if let Some(all) = forecaster.step(&world, at(second)) {
            now = all[&key()].outlook.now;
        }
    }
    now
}

#[test]
fn of_a_backlog_what_comes_is_forecast_whatever_the_own_replicas_do_of_it() {
    assert_eq!(minute(Some(30.0), |_| 100.0), Some(4.0), "as many as the two do of it");
    assert_eq!(minute(Some(30.0), |second| 100.0 + second as f64), Some(64.0), "and one more each second");
    assert_eq!(minute(Some(30.0), |_| 0.0), Some(0.0), "they have nothing to do");
    assert_eq!(minute(Some(30.0), |second| 1_000.0 - second as f64), Some(0.0), "faster than declared");
    let at_once = |second| if second < 330 { 0.0 } else { 50.0 - f64::from(second > 330) };
    assert_eq!(minute(Some(30.0), at_once), Some(50.0));
    // Nothing is known of the work: what waits, where it was the most.
    assert_eq!(minute(None, |second| if second == 330 { 50.0 } else { 20.0 }), Some(50.0));
}

#[test]
fn when_the_work_of_an_item_is_declared_later_what_was_known_counts_no_more() {
    let mut forecaster = forecaster();
    for second in (0..=1_200).step_by(15) {
        forecaster.step(&queue(20.0, None, second), at(second));
    }
    let known = |forecaster: &Forecaster| forecaster.watched[&key()].model.steps().usable();
    assert_eq!(known(&forecaster), 20);
    forecaster.step(&queue(20.0, Some(30.0), 1_215), at(1_215));
    assert_eq!(known(&forecaster), 0);
}
