#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use homeostat_knowledge::forecast::{Need, Outlook, PodAdvice, REQUESTS, Scaler};
use homeostat_knowledge::observation::{Change, ObjectChange};
use homeostat_knowledge::policy::{Bounds, ControlPolicy, KillSwitch, Permits, ScalingMode, ScalingPolicy};
use homeostat_knowledge::{
    ActionId, ActionKind, ActionState, ContainerRecord, GuardName, GuardReport, GuardResult, Level, Name,
    Parameters, SeededIds, SignedDuration, SizeEffect, Uid,
};
use homeostat_situations::{Given, GivenPod, now, order};

const MIB: u64 = 1 << 20;

fn at(second: i64) -> Timestamp {
    now() + SignedDuration::from_secs(second)
}

/// A loop that leads in a healthy world of `order`: two pods of 400 MiB (limit 800) and half a core, all of which may be
/// given another size.
fn kernel(mode: ScalingMode, level: Level) -> Kernel {
    let pod = |name: &str| GivenPod { name: name.into(), memory: Some([400, 800]), ..GivenPod::default() };
    let given = Given { pods: vec![pod("order-a"), pod("order-b")], good: Some(3_000.0), ..Given::default() };
    let (mut world, incident) = given.build();
    world.incidents.remove_mut(&incident.id);
    let mut kernel = Kernel::new(Vec::new(), Box::new(SeededIds::new(1)), Name::from("homeostat-system"));
    let control =
        ControlPolicy { kill_switch: KillSwitch::Off, ceiling: Level::ActFull, ..ControlPolicy::default() };
    let mut tenant = (**world.tenant_of_namespace(&order().namespace).unwrap()).clone();
    tenant.levels.insert(ActionKind::ResizePod, level);
    let mut workload = (**world.workloads.get(&order()).unwrap()).clone();
    workload.permits = Permits {
        cpu_millis: Some(Bounds { min: 100, max: 4_000 }),
        memory_bytes: Some(Bounds { min: 64 * MIB, max: 4_096 * MIB }),
        scaling: Some(ScalingPolicy { mode, ..ScalingPolicy::default() }),
        ..Permits::default()
    };
    let mut controller = (**world.controller_of(&order()).unwrap()).clone();
    (controller.replicas, controller.current, controller.ready, controller.updated) = (2, 2, 2, 2);
    let pods: Vec<_> = world.pods_of(&order()).cloned().collect();
    for change in [
        ObjectChange::Control(Some(Arc::new(control))),
        ObjectChange::Tenant(Change::Applied(Arc::new(tenant))),
        ObjectChange::Workload(Change::Applied(Arc::new(workload))),
        ObjectChange::Controller(Change::Applied(Arc::new(controller))),
    ] {
        world.commit(&change, at(0));
    }
    for pod in pods {
        let mut pod = (*pod).clone();
        pod.containers[0].cpu_request = Some(500);
        world.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(0));
    }
    kernel.snapshot = world;
    kernel
}

/// What is decided at this second: so much CPU and memory, of which this much is used; both may fall.
fn decided(second: i64, cpu: (u64, u64), memory: (u64, u64)) -> ForecastRecord {
    let need = |(request, used)| Some(Need { request, used, falls: true });
    ForecastRecord {
        workload: order(),
        workload_uid: Uid::new("order"),
        tenant: None,
        signal: Name::from(REQUESTS),
        mode: ScalingMode::Auto,
        replicas: 2,
        outlook: Outlook::nothing(at(second), 3_600),
        size: SizeAdvice {
            why: "no replicas are asked for".to_owned(),
            pod: Some(Box::new(PodAdvice {
                cpu: need(cpu),
                memory: need((memory.0 * MIB, memory.1 * MIB)),
                why: "by what the busiest pod used".to_owned(),
                done: None,
            })),
            ..SizeAdvice::keep(at(second))
        },
        memory: None,
    }
}

/// What a pod is given: its name, CPU, memory and memory limit in MiB.
type Given4 = (String, Option<u64>, Option<u64>, Option<u64>);

fn given(effects: &[Effect]) -> Vec<Given4> {
    let each = effects.iter().map(|effect| {
        let Effect::Execute(plan, None) = effect else { panic!("a plan without a finding: {effect:?}") };
        let step = plan.steps.first().unwrap();
        assert_eq!((plan.origin, step.undo), (Origin::Forecast, homeostat_knowledge::plan::Undo::Restore));
        let Parameters::ResizePod { cpu_millis, memory_bytes, memory_limit_bytes, .. } = step.parameters
        else {
            panic!("another size of a pod: {step:?}")
        };
        let mib = |bytes: Option<u64>| bytes.map(|bytes| bytes / MIB);
        (step.target.key.name.to_string(), cpu_millis, mib(memory_bytes), mib(memory_limit_bytes))
    });
    each.collect()
}

fn said(kernel: &Kernel) -> String {
    kernel.snapshot.sizes.get(&order()).unwrap().pod.as_ref().unwrap().done.clone().unwrap_or_default()
}

/// The action of the plan, as the ledger has it in this state since this second.
fn ledger(kernel: &mut Kernel, effects: &[Effect], state: ActionState, second: i64) -> Arc<ActionRecord> {
    let Some(Effect::Execute(plan, _)) = effects.first() else { panic!("a plan: {effects:?}") };
    let mut record = plan.record(ActionId::new("shop.order-1"), "me".into()).unwrap();
    record.state = state;
    record.instants.sent = Some(at(second));
    record.instants.closed = state.ended().then(|| at(second));
    commit(kernel, record, second)
}

fn commit(kernel: &mut Kernel, record: ActionRecord, second: i64) -> Arc<ActionRecord> {
    let record = Arc::new(record);
    kernel.snapshot.commit(&ObjectChange::Action(Change::Applied(Arc::clone(&record))), at(second));
    record
}

#[test]
fn pods_get_what_they_need_in_auto_at_act_full_only() {
    let wanted = decided(0, (700, 300), (600, 350));
    let mut auto = kernel(ScalingMode::Auto, Level::ActFull);
    assert_eq!(
        given(&auto.size(std::slice::from_ref(&wanted), at(0), true)),
        [("order-a".to_owned(), Some(700), Some(600), None)],
        "{}",
        said(&auto)
    );
    assert!(
        kernel(ScalingMode::Auto, Level::ActFull)
            .size(std::slice::from_ref(&wanted), at(0), false)
            .is_empty()
    );
    for mode in [ScalingMode::Observe, ScalingMode::Recommend] {
        assert!(
            kernel(mode, Level::ActFull).size(std::slice::from_ref(&wanted), at(0), true).is_empty(),
            "{mode:?}"
        );
    }
    let mut bounded = kernel(ScalingMode::Auto, Level::ActBounded);
    assert!(bounded.size(&[wanted], at(0), true).is_empty());
    assert!(said(&bounded).contains("recommended only"), "{}", said(&bounded));
}

#[test]
fn steps_are_bounded_and_small_savings_are_none() {
    for (cpu, memory, expected) in [
        // Doubled at most; the limit follows where it would be reached.
        ((3_000, 300), (2_000, 350), Some((Some(1_000), Some(800), Some(1_600)))),
        // A fifth at most, and not below what is in use.
        ((100, 50), (64, 350), Some((Some(400), None, None))),
        ((450, 50), (350, 50), None),
        ((500, 50), (64, 50), Some((None, Some(320), None))),
    ] {
        let mut kernel = kernel(ScalingMode::Auto, Level::ActFull);
        let effects = kernel.size(&[decided(0, cpu, memory)], at(0), true);
        let of = given(&effects).pop().map(|(_, cpu, memory, limit)| (cpu, memory, limit));
        assert_eq!(of, expected, "{cpu:?} {memory:?}: {}", said(&kernel));
    }
}

/// Gives each pod other containers.
fn contain(kernel: &mut Kernel, change: impl Fn(&mut Vec<ContainerRecord>)) {
    let pods: Vec<_> = kernel.snapshot.pods_of(&order()).cloned().collect();
    for pod in pods {
        let mut pod = (*pod).clone();
        change(&mut pod.containers);
        kernel.snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(0));
    }
}

/// The container that gets another size, with the request and the limit of CPU and of memory in MiB that are named, and what
/// the limit of CPU was.
type Resized = (String, [Option<u64>; 2], [Option<u64>; 2], Option<u64>);

fn resized(effects: &[Effect]) -> Option<Resized> {
    let Effect::Execute(plan, _) = effects.first()? else { panic!("a plan: {effects:?}") };
    let step = plan.steps.first().unwrap();
    let Parameters::ResizePod { container, cpu_millis, cpu_limit_millis, memory_bytes, memory_limit_bytes } =
        &step.parameters
    else {
        panic!("another size of a pod: {step:?}")
    };
    let memory = [*memory_bytes, *memory_limit_bytes].map(|bytes| bytes.map(|bytes| bytes / MIB));
    Some((container.to_string(), [*cpu_millis, *cpu_limit_millis], memory, step.before.cpu_limit_millis))
}

#[test]
fn a_limit_of_cpu_grows_with_its_request_and_is_neither_lowered_nor_set_where_there_is_none() {
    for (limit, cpu, expected) in [
        (None, (700, 300), [Some(700), None]),
        (Some(500), (700, 300), [Some(700), Some(700)]),
        (Some(1_000), (700, 300), [Some(700), None]),
        (Some(600), (700, 300), [Some(700), Some(700)]),
        // Doubled at most, and no further than is needed.
        (Some(700), (3_000, 300), [Some(1_000), Some(1_400)]),
        (Some(800), (1_500, 300), [Some(1_000), Some(1_500)]),
        (Some(3_000), (3_500, 300), [Some(1_000), Some(3_500)]),
        (Some(5_000), (4_000, 300), [Some(1_000), None]),
        (Some(500), (100, 50), [Some(400), None]),
    ] {
        let mut kernel = kernel(ScalingMode::Auto, Level::ActFull);
        contain(&mut kernel, |containers| containers[0].cpu_limit = limit);
        let effects = kernel.size(&[decided(0, cpu, (400, 350))], at(0), true);
        let (container, given, memory, before) = resized(&effects).unwrap_or_else(|| panic!("{limit:?}"));
        assert_eq!((container.as_str(), given, memory), ("app", expected, [None; 2]), "{limit:?} {cpu:?}");
        assert_eq!(before, limit.filter(|_| expected[1].is_some()), "it can be put back");
    }
}

#[test]
fn a_pod_of_the_class_guaranteed_keeps_it() {
    let guaranteed = |containers: &mut Vec<ContainerRecord>| {
        containers[0].cpu_limit = Some(500);
        containers[0].memory.limit = containers[0].memory.request;
    };
    let mut more = kernel(ScalingMode::Auto, Level::ActFull);
    contain(&mut more, guaranteed);
    let given = resized(&more.size(&[decided(0, (700, 300), (600, 350))], at(0), true));
    let both = ("app".to_owned(), [Some(700); 2], [Some(600); 2], Some(500));
    assert_eq!(given, Some(both), "each request stays its limit");
    let mut less = kernel(ScalingMode::Auto, Level::ActFull);
    contain(&mut less, guaranteed);
    assert!(less.size(&[decided(0, (100, 50), (64, 50))], at(0), true).is_empty());
    assert!(said(&less).contains("class Guaranteed"), "{}", said(&less));
    // One that needs more of the one and less of the other gets more of the one.
    let effects = less.size(&[decided(15, (100, 50), (600, 350))], at(15), true);
    assert_eq!(resized(&effects).map(|(_, cpu, memory, _)| (cpu, memory)), Some(([None; 2], [Some(600); 2])));
}

#[test]
fn beside_a_sidecar_the_container_that_people_name_gets_the_size() {
    for (named, expected) in [(Some("app"), Some("app")), (None, None), (Some("ap"), None)] {
        let mut kernel = kernel(ScalingMode::Auto, Level::ActFull);
        contain(&mut kernel, |containers| {
            let proxy = ContainerRecord { name: Name::from("proxy"), ..containers[0].clone() };
            containers.insert(0, proxy);
        });
        let mut workload = (**kernel.snapshot.workloads.get(&order()).unwrap()).clone();
        workload.permits.container = named.map(Name::from);
        kernel.snapshot.commit(&ObjectChange::Workload(Change::Applied(Arc::new(workload))), at(0));
        let given = resized(&kernel.size(&[decided(0, (700, 300), (600, 350))], at(0), true));
        assert_eq!(given.as_ref().map(|(container, ..)| container.as_str()), expected, "{named:?}");
        assert_eq!(
            said(&kernel).contains("spec.scaling.resources.container"),
            expected.is_none(),
            "{named:?}"
        );
    }
}

#[test]
fn one_pod_at_a_time_and_the_next_when_the_last_was_verified() {
    let mut kernel = kernel(ScalingMode::Auto, Level::ActFull);
    let first = kernel.size(&[decided(0, (700, 300), (600, 350))], at(0), true);
    let record = ledger(&mut kernel, &first, ActionState::Verifying, 1);
    assert!(kernel.size(&[decided(15, (700, 300), (600, 350))], at(15), true).is_empty());
    assert!(said(&kernel).contains("Verifying"), "{}", said(&kernel));
    let mut verified = (*record).clone();
    verified.state = ActionState::Verified;
    verified.instants.closed = Some(at(120));
    commit(&mut kernel, verified, 120);
    assert!(kernel.size(&[decided(135, (700, 300), (600, 350))], at(135), true).is_empty());
    // Its request was not seen to have changed, and yet it is the other one's turn.
    let next = kernel.size(&[decided(735, (700, 300), (600, 350))], at(735), true);
    assert_eq!(given(&next).pop().map(|(name, ..)| name).as_deref(), Some("order-b"), "{}", said(&kernel));
}

#[test]
fn what_hurt_and_what_the_cluster_does_not_take_is_left_for_a_day() {
    let lasting = "above what may be given (admission.mostPerContainer)";
    for (state, guard, message, words) in [
        (ActionState::Undone, GuardName::DryRun, "", "did not do well"),
        (ActionState::Refused, GuardName::DryRun, "", "does not take it"),
        (ActionState::Refused, GuardName::Ownership, lasting, "does not take it"),
    ] {
        let mut kernel = kernel(ScalingMode::Auto, Level::ActFull);
        let first = kernel.size(&[decided(0, (700, 300), (600, 350))], at(0), true);
        let mut record = (*ledger(&mut kernel, &first, state, 1)).clone();
        if state == ActionState::Refused {
            record.instants.sent = None;
            record.guards.push(GuardReport {
                name: guard,
                result: GuardResult::Refused,
                observed: "resize is not supported".to_owned(),
                limit: String::new(),
                message: message.to_owned(),
            });
        }
        commit(&mut kernel, record, 1);
        let hours = |hours: i64| decided(hours * 3_600, (700, 300), (600, 350));
        assert!(kernel.size(&[hours(5)], at(5 * 3_600), true).is_empty());
        assert!(said(&kernel).contains(words), "{}", said(&kernel));
        assert_eq!(kernel.size(&[hours(25)], at(25 * 3_600), true).len(), 1, "{}", said(&kernel));
    }
}

#[test]
fn a_pod_whose_kubelet_has_not_given_it_a_size_yet_is_asked_for_no_other() {
    use homeostat_knowledge::kubelet::{Resize, ResizeStep};
    let mut kernel = kernel(ScalingMode::Auto, Level::ActFull);
    let pods: Vec<_> = kernel.snapshot.pods_of(&order()).cloned().collect();
    let mut pod = (**pods.iter().find(|pod| &*pod.key.name == "order-a").unwrap()).clone();
    pod.resize = Some(Box::new(Resize { step: ResizeStep::Deferred, message: None }));
    kernel.snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(0));
    let next = given(&kernel.size(&[decided(0, (700, 300), (600, 350))], at(0), true));
    assert_eq!(next.first().map(|(name, ..)| name.as_str()), Some("order-b"));
}

#[test]
fn nothing_while_an_incident_is_open_or_somebody_else_sizes_the_pods() {
    let wanted = decided(0, (700, 300), (600, 350));
    let mut sick = kernel(ScalingMode::Auto, Level::ActFull);
    let (_, incident) = Given::default().build();
    sick.snapshot.incidents.insert_mut(incident.id.clone(), Arc::new(incident));
    assert!(sick.size(std::slice::from_ref(&wanted), at(0), true).is_empty());
    assert!(said(&sick).contains("is open"), "{}", said(&sick));
    for scaler in [Scaler::Vpa { name: Name::from("vpa-1") }, Scaler::Keda { name: Name::from("scaled-1") }] {
        let mut kernel = kernel(ScalingMode::Auto, Level::ActFull);
        let target = kernel.snapshot.workloads.get(&order()).unwrap().target.clone();
        kernel.snapshot.scalers = Arc::new([(target, scaler)].into());
        assert!(kernel.size(std::slice::from_ref(&wanted), at(0), true).is_empty());
        assert!(
            said(&kernel).contains("recommended only") && said(&kernel).contains("-1"),
            "{}",
            said(&kernel)
        );
    }
}

#[test]
fn replicas_have_their_turn_first() {
    let mut kernel = kernel(ScalingMode::Auto, Level::ActFull);
    let mut both = decided(0, (700, 300), (600, 350));
    (both.size.wanted, both.size.effect) = (Some(5), SizeEffect::Scale);
    // Nobody allows more replicas, and that says so; the pods wait for it.
    assert!(kernel.size(&[both], at(0), true).is_empty());
    let advice = kernel.snapshot.sizes.get(&order()).unwrap();
    assert!(advice.done.is_some() && advice.pod.is_some());
}

#[test]
fn a_container_without_a_request_says_what_to_set() {
    let mut kernel = kernel(ScalingMode::Auto, Level::ActFull);
    let pods: Vec<_> = kernel.snapshot.pods_of(&order()).cloned().collect();
    for pod in pods {
        let mut pod = (*pod).clone();
        pod.containers[0].cpu_request = None;
        pod.containers[0].memory.request = None;
        kernel.snapshot.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(0));
    }
    assert!(kernel.size(&[decided(0, (700, 300), (600, 350))], at(0), true).is_empty());
    assert!(said(&kernel).contains("set its request"), "{}", said(&kernel));
}
