//! A decided size becomes an effect of the loop, or says why not.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

use homeostat::forecasts::Foreseen;
use homeostat::kernel::{Effect, Kernel};
use homeostat::sizes::Sizes;
use homeostat_knowledge::forecast::{Outlook, REQUESTS, SizeTrouble};
use homeostat_knowledge::observation::{Change, LogRecord, ObjectChange, ObjectKind, Sample};
use homeostat_knowledge::policy::{
    Across, Archetype, Bounds, ControlPolicy, Fallback, KillSwitch, LoadPolicy, Measures, MetricPolicy,
    Permits, ScalingMode, ScalingPolicy, SignalPolicy,
};
use homeostat_knowledge::*;
use homeostat_situations::{Given, now, order};
use std::collections::BTreeMap;
use std::sync::Arc;

fn observed(change: ObjectChange) -> Observation {
    Observation {
        tenant: None,
        entity: Entity::Workload { key: order() },
        event_time: now(),
        arrival_time: now(),
        signal: Signal::Object(change),
    }
}

/// A loop that knows the workload `order`, scaled by forecast, and lets it be done at this level.
fn kernel(level: Level) -> Kernel {
    let (world, _) = Given::default().build();
    let control = ControlPolicy { kill_switch: KillSwitch::Off, ..ControlPolicy::default() };
    let mut tenant = (**world.tenant_of_namespace(&order().namespace).unwrap()).clone();
    tenant.levels.insert(ActionKind::ScaleUp, level);
    let mut workload = (**world.workloads.get(&order()).unwrap()).clone();
    workload.permits = Permits {
        replicas: Some(Bounds { min: 1, max: 20 }),
        scaling: Some(ScalingPolicy { mode: ScalingMode::Auto, ..ScalingPolicy::default() }),
        ..Permits::default()
    };
    let controller = world.controller_of(&order()).unwrap();
    let mut batch = vec![
        observed(ObjectChange::Control(Some(Arc::new(control)))),
        observed(ObjectChange::Tenant(Change::Applied(Arc::new(tenant)))),
        observed(ObjectChange::Controller(Change::Applied(Arc::clone(controller)))),
        observed(ObjectChange::Workload(Change::Applied(Arc::new(workload)))),
    ];
    batch.extend(ObjectKind::REQUIRED.map(|kind| observed(ObjectChange::Synced(kind))));
    let mut kernel = Kernel::new(Vec::new(), Box::new(SeededIds::new(1)), Name::from("homeostat-system"));
    kernel.step(&batch, now(), true);
    kernel
}

fn record(wanted: u32) -> ForecastRecord {
    ForecastRecord {
        workload: order(),
        workload_uid: Uid::new("order"),
        tenant: None,
        signal: Name::from(REQUESTS),
        mode: ScalingMode::Auto,
        replicas: 1,
        outlook: Outlook::nothing(now(), 3_600),
        size: SizeAdvice {
            wanted: Some(wanted),
            effect: SizeEffect::Scale,
            why: format!("{wanted} replicas are wanted"),
            ..SizeAdvice::keep(now())
        },
        memory: None,
    }
}

#[test]
fn whose_telemetry_arrives_is_known_by_namespace() {
    let mut kernel = kernel(Level::ActBounded);
    let log = LogRecord { severity: 9, body: Name::from("ready"), trace: 0 };
    let pod = Entity::Pod { key: ObjectKey::new("shop", "order-1"), uid: Uid::new("1"), workload: None };
    let asked = Sample {
        metric: Name::from("waiting"),
        series: Name::from(""),
        value: 1.0,
        counter: false,
        asked_by: Some(order()),
    };
    let about = |entity, signal| Observation { entity, signal, ..observed(ObjectChange::Control(None)) };
    let answer = about(Entity::Workload { key: ObjectKey::new("bank", "api") }, Signal::Sample(asked));
    let other = Entity::Pod { key: ObjectKey::new("bank", "api-1"), uid: Uid::new("2"), workload: None };
    let empty = Sample {
        metric: Name::from("waiting"),
        series: Name::from(""),
        value: f64::NAN,
        counter: false,
        asked_by: None,
    };
    let batch = [about(pod, Signal::Log(log)), answer, about(other, Signal::Sample(empty))];
    kernel.step(&batch, now(), true);
    let heard: Vec<_> = kernel.snapshot().heard.iter().collect();
    assert_eq!(heard, [(&Name::from("shop"), &now())], "answers of Prometheus say nothing of what pods send");
}

fn done(kernel: &Kernel) -> Option<String> {
    kernel.snapshot().sizes.get(&order()).and_then(|size| size.done.clone())
}

#[test]
fn a_size_is_executed_as_an_admitted_plan_of_a_forecast() {
    let mut kernel = kernel(Level::ActBounded);
    let present = u32::try_from(kernel.snapshot().controller_of(&order()).unwrap().replicas).unwrap();
    let effects = kernel.size(&[record(present + 3)], now(), true);
    let [Effect::Execute(plan, None)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(plan.origin, Origin::Forecast);
    assert_eq!(done(&kernel), None);
    assert!(kernel.size(&[record(present)], now(), true).is_empty(), "it has that size");
    assert!(kernel.size(&[record(present + 3)], now(), false).is_empty(), "another replica leads");
    // A workload that is not scaled any more is forgotten.
    assert!(kernel.size(&[], now(), true).is_empty());
    assert!(kernel.snapshot().sizes.get(&order()).is_none());
}

#[test]
fn more_replicas_do_not_wait_for_the_next_decision_once_a_way_down_is_over() {
    let mut kernel = kernel(Level::ActBounded);
    let present = u32::try_from(kernel.snapshot().controller_of(&order()).unwrap().replicas).unwrap();
    let effects = kernel.size(&[record(present + 1)], now(), true);
    let [Effect::Execute(plan, None)] = effects.as_slice() else { panic!("{effects:?}") };
    let mut down = plan.record(ActionId::new("order-down"), Name::from("homeostat-1")).unwrap();
    down.parameters = Parameters::ScaleDown { replicas: i32::try_from(present).unwrap() };
    let then = now().checked_add(SignedDuration::from_secs(15)).unwrap();
    let later = |wanted| {
        let mut record = record(wanted);
        record.size.decided = then;
        record
    };
    assert!(kernel.size_after(&down, &[later(present + 2)], then, true).is_none(), "it is under way");
    down.state = ActionState::Verified;
    let none = [(record(present + 2), true), (later(present), true), (later(present + 2), false)];
    for (record, leads) in none {
        assert!(kernel.size_after(&down, std::slice::from_ref(&record), then, leads).is_none(), "{record:?}");
    }
    let effect = kernel.size_after(&down, &[later(present + 2)], then, true);
    let Some(Effect::Execute(plan, None)) = effect else { panic!("{effect:?}: {:?}", done(&kernel)) };
    let first = plan.steps.first().unwrap();
    assert_eq!(first.parameters, Parameters::ScaleUp { replicas: i32::try_from(present + 2).unwrap() });
}

#[test]
fn a_level_that_does_not_allow_it_makes_a_recommendation_and_no_object() {
    let mut kernel = kernel(Level::Recommend);
    assert!(kernel.size(&[record(9)], now(), true).is_empty());
    let said = done(&kernel).unwrap();
    assert!(said.contains("recommended only") && said.contains("ScaleUp"), "{said}");
}

/// Five minutes in which what was ordered does not serve yet, a step every 15 s: how many changes of size there were.
fn slow_start(backlog: f64, minutes: i64) -> Vec<(i64, Parameters)> {
    let at = |seconds: i64| now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
    let mut kernel = kernel(Level::ActBounded);
    let mut workload = (**kernel.snapshot().workloads.get(&order()).unwrap()).clone();
    workload.archetype = Archetype::Worker;
    workload.permits.scaling = Some(ScalingPolicy {
        mode: ScalingMode::Auto,
        loads: vec![LoadPolicy { signal: "waiting".into(), per_replica: 10.0, due: None }],
        ..ScalingPolicy::default()
    });
    let mut controller = (**kernel.snapshot().controller_of(&order()).unwrap()).clone();
    let running = controller.replicas;
    let (mut sizes, mut done) = (Sizes::default(), Vec::new());
    let mut open: Option<(ActionRecord, i64)> = None;
    let mut changes = vec![ObjectChange::Workload(Change::Applied(Arc::new(workload)))];
    for second in (0..(minutes + 10) * 60).step_by(15) {
        // Its window passes without the new ones being ready.
        if let Some((mut action, until)) = open.take() {
            if second > until {
                action.state = ActionState::Failed;
                action.instants.closed = Some(at(second));
            }
            action.resource_version = Name::from((100 + second).to_string());
            changes.push(ObjectChange::Action(Change::Applied(Arc::new(action.clone()))));
            open = (second <= until).then_some((action, until));
        }
        if second >= minutes * 60 && controller.ready < controller.replicas {
            controller.ready = controller.replicas;
            changes.push(ObjectChange::Controller(Change::Applied(Arc::new(controller.clone()))));
        }
        let stamp = |observation: Observation| Observation {
            event_time: at(second),
            arrival_time: at(second),
            ..observation
        };
        let sample = Sample {
            metric: Name::from("waiting"),
            series: Name::from(""),
            value: backlog,
            counter: false,
            asked_by: Some(order()),
        };
        let load = Observation { signal: Signal::Sample(sample), ..observed(ObjectChange::Control(None)) };
        let batch: Vec<Observation> = changes.drain(..).map(observed).chain([load]).map(stamp).collect();
        kernel.step(&batch, at(second), true);
        let mut outlooks = BTreeMap::new();
        let outlook = record(0).outlook;
        outlooks.insert(
            homeostat::forecasts::requests(&order()),
            Arc::new(Foreseen { outlook, soon: Vec::new(), kept: None, left_out: false }),
        );
        let records = sizes.step(kernel.snapshot(), &outlooks, &BTreeMap::new(), at(second));
        for effect in kernel.size(&records, at(second), true) {
            let Effect::Execute(plan, None) = effect else { continue };
            let mut action = plan.record(ActionId::new("order-up"), Name::from("homeostat-1")).unwrap();
            let (Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas }) = action.parameters
            else {
                panic!("{action:?}")
            };
            (action.state, action.instants.sent) = (ActionState::Verifying, Some(at(second)));
            (controller.replicas, controller.current, controller.updated) = (replicas, replicas, replicas);
            controller.ready = if replicas < controller.ready { replicas } else { running };
            changes.push(ObjectChange::Controller(Change::Applied(Arc::new(controller.clone()))));
            done.push((second, action.parameters.clone()));
            open = Some((action, second + 60));
        }
    }
    assert!(kernel.snapshot().controller_of(&order()).unwrap().ready > running, "they came in the end");
    done
}

#[test]
fn while_new_pods_need_minutes_what_is_on_its_way_counts() {
    for minutes in [1, 5, 12] {
        let done = slow_start(49.0, minutes);
        let near = |change: &(i64, Parameters)| matches!(change.1, Parameters::ScaleUp { replicas } | Parameters::ScaleDown { replicas } if (5..=6).contains(&replicas));
        assert!(done.iter().all(near), "{minutes} minutes until they serve: {done:?}");
        // In two steps to the first number, then one fewer, as it becomes known how the load varies; nothing is asked twice.
        assert!(done.len() <= 3, "{done:?}");
    }
}

fn at(seconds: i64) -> Timestamp {
    now().checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

/// `order` as workers that are sized by the signal `busy`, ten for each, which the pods of this workload send.
fn workers(kernel: &Kernel, from: Option<&str>) -> WorkloadPolicy {
    let mut workload = (**kernel.snapshot().workloads.get(&order()).unwrap()).clone();
    workload.archetype = Archetype::Worker;
    let (name, across) = ("http.server.active_requests".into(), Across::Sum);
    workload.signals = vec![SignalPolicy {
        name: "busy".into(),
        promql: "".into(),
        metric: Some(MetricPolicy { name, across, from: from.map(Name::from) }),
        external: None,
        unit: "requests".into(),
        bad_above: true,
        threshold: None,
        minimum_effect: None,
        measures: Measures::Other,
    }];
    workload.permits.scaling = Some(ScalingPolicy {
        mode: ScalingMode::Auto,
        loads: vec![LoadPolicy { signal: "busy".into(), per_replica: 10.0, due: None }],
        ..ScalingPolicy::default()
    });
    workload
}

/// What a pod sends at this second.
fn sends(kernel: &Kernel, pod: &PodRecord, value: f64, second: i64) -> Observation {
    Observation {
        tenant: None,
        entity: kernel.snapshot().entity_of(pod),
        event_time: at(second),
        arrival_time: at(second),
        signal: Signal::Sample(Sample {
            metric: "http.server.active_requests".into(),
            series: "".into(),
            value,
            counter: false,
            asked_by: None,
        }),
    }
}

/// The size of `order` at this second.
fn size(sizes: &mut Sizes, kernel: &Kernel, second: i64) -> SizeAdvice {
    let foreseen = Foreseen { outlook: record(0).outlook, soon: Vec::new(), kept: None, left_out: false };
    let outlooks = BTreeMap::from([(homeostat::forecasts::requests(&order()), Arc::new(foreseen))]);
    sizes.step(kernel.snapshot(), &outlooks, &BTreeMap::new(), at(second)).pop().unwrap().size
}

#[test]
fn workers_come_from_zero_for_what_another_workload_sends() {
    let mut kernel = kernel(Level::ActBounded);
    let mut workload = workers(&kernel, Some("stock"));
    workload.permits.replicas = Some(Bounds { min: 0, max: 20 });
    let (world, _) = Given::default().build();
    let mut changes: Vec<_> = world
        .controllers
        .values()
        .map(|one| ObjectChange::Controller(Change::Applied(Arc::clone(one))))
        .collect();
    let none = ControllerRecord {
        replicas: 0,
        current: 0,
        ready: 0,
        updated: 0,
        ..(**world.controller_of(&order()).unwrap()).clone()
    };
    changes.push(ObjectChange::Controller(Change::Applied(Arc::new(none))));
    let stock = ObjectKey::new("shop", "stock");
    changes.push(ObjectChange::Workload(Change::Applied(Arc::clone(world.workloads.get(&stock).unwrap()))));
    changes.push(ObjectChange::Workload(Change::Applied(Arc::new(workload))));
    let pod = Arc::clone(world.pods_of(&stock).next().unwrap());
    changes.push(ObjectChange::Pod(Change::Applied(Arc::clone(&pod))));
    let batch: Vec<_> = changes.into_iter().map(observed).collect();
    kernel.step(&batch, now(), true);
    assert_eq!(kernel.snapshot().pods_of(&order()).count(), 0);
    let mut sizes = Sizes::default();
    let silent = size(&mut sizes, &kernel, 0);
    let said = "no pod of shop/stock sends the metric http.server.active_requests over OTLP";
    assert!(silent.why.contains(said), "{}", silent.why);
    let mut at_load = |kernel: &mut Kernel, value: f64, seconds: std::ops::RangeInclusive<i64>| {
        let mut last = None;
        for second in seconds.step_by(15) {
            let sent = sends(kernel, &pod, value, second);
            kernel.step(&[sent], at(second), true);
            last = Some(size(&mut sizes, kernel, second));
        }
        last.unwrap()
    };
    let idle = at_load(&mut kernel, 0.0, 15..=600);
    assert_eq!((idle.wanted, idle.effect), (Some(0), SizeEffect::Keep), "{}", idle.why);
    let busy = at_load(&mut kernel, 45.0, 615..=630);
    assert_eq!(busy.effect, SizeEffect::Scale, "{}", busy.why);
    assert!(busy.wanted.is_some_and(|wanted| wanted >= 4), "45 at ten each: {}", busy.why);
}

#[test]
fn a_signal_whose_answer_is_no_number_or_negative_keeps_the_size_and_says_what_to_change() {
    for (wrong, gave, change) in [
        (f64::NAN, "signal busy gave NaN, ", "clamp_min(DIVISOR, 1)"),
        (f64::INFINITY, "signal busy gave inf, ", "clamp_min(DIVISOR, 1)"),
        (-3.0, "signal busy gave -3, ", "clamp_min(QUERY, 0)"),
    ] {
        let mut kernel = kernel(Level::ActBounded);
        let mut workload = workers(&kernel, None);
        workload.signals[0].metric = None;
        workload.permits.replicas = Some(Bounds { min: 0, max: 20 });
        let after = SignedDuration::from_mins(30);
        let scaling = workload.permits.scaling.as_mut().unwrap();
        scaling.fallback = Some(Fallback { after, replicas: 7 });
        kernel.step(&[observed(ObjectChange::Workload(Change::Applied(Arc::new(workload))))], now(), true);
        let mut sizes = Sizes::default();
        let mut answer = |a: f64, b: f64, second: i64| {
            let sample = |(series, value): (&str, f64)| Observation {
                event_time: at(second),
                arrival_time: at(second),
                signal: Signal::Sample(Sample {
                    metric: "busy".into(),
                    series: series.into(),
                    value,
                    counter: false,
                    asked_by: Some(order()),
                }),
                ..observed(ObjectChange::Control(None))
            };
            kernel.step(&[("queue=a", a), ("queue=b", b)].map(sample), at(second), true);
            size(&mut sizes, &kernel, second)
        };
        let before = (15..=600).step_by(15).map(|second| answer(30.0, 5.0, second)).last().unwrap();
        assert!(before.wanted.is_some_and(|wanted| wanted >= 3), "{}", before.why);
        assert_eq!(before.troubles, []);
        // The other queue is nearly empty, which must not look like nothing to do.
        for second in (615..=1_800).step_by(15) {
            let said = answer(1.0, wrong, second);
            assert_eq!(said.troubles, [SizeTrouble::SignalNotUsable]);
            assert!(said.wanted >= before.wanted, "{}", said.why);
            assert!(said.why.contains(gave) && said.why.contains(change), "{}", said.why);
            assert!(said.why.contains("last safe size"), "{}", said.why);
        }
        let late = (1_815..=2_700).step_by(15).map(|second| answer(1.0, wrong, second)).last().unwrap();
        assert_eq!(late.wanted, Some(7), "the declared fallback: {}", late.why);
        assert_eq!(answer(30.0, 5.0, 2_715).troubles, [], "over with the next usable value");
    }
}

#[test]
fn a_load_that_its_own_pods_send_over_otlp_is_its_signal_and_its_size() {
    let mut kernel = kernel(Level::ActBounded);
    let pods = ["order-1", "order-2"].map(|name| homeostat_situations::GivenPod {
        name: name.into(),
        of: "order".into(),
        ..homeostat_situations::GivenPod::default()
    });
    let (world, _) = Given { pods: pods.to_vec(), ..Given::default() }.build();
    let workload = workers(&kernel, None);
    let mut batch = vec![observed(ObjectChange::Workload(Change::Applied(Arc::new(workload))))];
    // Whose pods they are is known by what stands between them and the Deployment.
    let controllers = world.controllers.values().cloned();
    batch.extend(controllers.map(|one| observed(ObjectChange::Controller(Change::Applied(one)))));
    let pods: Vec<_> = world.pods_of(&order()).cloned().collect();
    batch.extend(pods.iter().map(|pod| observed(ObjectChange::Pod(Change::Applied(Arc::clone(pod))))));
    kernel.step(&batch, now(), true);
    let mut sizes = Sizes::default();
    let silent = size(&mut sizes, &kernel, 0);
    let said = "no pod of shop/order sends the metric http.server.active_requests over OTLP";
    assert!(silent.wanted.is_none() && silent.why.contains(said), "{}", silent.why);
    let mut last = None;
    for second in (15..=300).step_by(15) {
        let sent: Vec<_> = pods.iter().map(|pod| sends(&kernel, pod, 45.0, second)).collect();
        kernel.step(&sent, at(second), true);
        last = Some(size(&mut sizes, &kernel, second));
    }
    let value = kernel.snapshot().loads.iter().next().map(|((_, signal, _), (value, _))| (&**signal, *value));
    assert_eq!(value, Some(("busy", 90.0)));
    let last = last.unwrap();
    assert!(last.wanted.is_some_and(|wanted| wanted >= 9), "90 at ten each: {}", last.why);
    let sent = sends(&kernel, &pods[0], f64::NAN, 315);
    kernel.step(&[sent], at(315), true);
    let said = size(&mut sizes, &kernel, 315);
    assert!(said.troubles.contains(&SizeTrouble::SignalNotUsable), "{:?}", said.troubles);
    let why = "signal busy gave NaN, which is no load: correct what sends or serves it";
    assert!(said.why.contains(why) && said.wanted >= last.wanted, "{}", said.why);
}
