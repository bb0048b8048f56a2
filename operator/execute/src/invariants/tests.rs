use super::*;
use crate::guards::testing::{input, now};
use crate::guards::{EvidenceFacts, GuardInput};
use crate::testing::record;
use homeostat_knowledge::{
    ActionKind, ActionOutcome, GuardName, GuardReport, GuardResult, Level, Name, Parameters,
};

/// A claimed record, a permitting input, and a checker that has seen the claim.
fn claimed() -> (ActionRecord, GuardInput, Checker) {
    let mut record = record("order-1-2");
    record.evidence.taken_at = now();
    record.state = ActionState::Claimed;
    record.instants.intent = Some(now());
    record.instants.claimed = Some(now());
    record.guards = vec![GuardReport {
        name: GuardName::KillSwitch,
        result: GuardResult::Passed,
        observed: "off".to_owned(),
        limit: "off".to_owned(),
        message: String::new(),
    }];
    let mut checker = Checker::default();
    checker.stored(&record, now());
    (record, input(), checker)
}

fn judge(record: &ActionRecord, input: &GuardInput, checker: &mut Checker) -> Vec<Invariant> {
    let uid = Uid::new("pod-uid");
    checker.effect(record, input, Some(&uid), now()).into_iter().map(|breach| breach.invariant).collect()
}

#[test]
fn a_proper_effect_breaks_nothing_and_a_second_one_does() {
    let (record, input, mut checker) = claimed();
    assert_eq!(judge(&record, &input, &mut checker), []);
    assert_eq!(checker.open_effects().len(), 1);
    assert_eq!(judge(&record, &input, &mut checker), [Invariant::S2]);
    assert_eq!(checker.breaches().len(), 1);
}

#[test]
fn an_effect_that_the_server_refused_may_be_sent_again() {
    let (record, input, mut checker) = claimed();
    assert_eq!(judge(&record, &input, &mut checker), []);
    checker.not_sent(&record.id);
    assert_eq!(judge(&record, &input, &mut checker), []);
}

#[test]
fn each_invariant_is_seen_when_it_is_broken() {
    type Change = fn(&mut ActionRecord, &mut GuardInput);
    let cases: [(Change, Invariant); 13] = [
        (|record, _| record.id = ActionId::new("never-stored-1"), Invariant::S1),
        (|_, input| input.control.in_flight = 0, Invariant::S3),
        (|_, input| input.tenant.as_mut().expect("tenant").limits.per_tenant_hour = 0, Invariant::S3),
        (|_, input| input.kill_switch = KillSwitch::Unreadable, Invariant::S4),
        (|_, input| input.tenant.as_mut().expect("tenant").paused = true, Invariant::S4),
        (|_, input| input.workload = None, Invariant::S4),
        (
            |_, input| {
                input.tenant.as_mut().expect("tenant").freezes.push(homeostat_knowledge::policy::Freeze {
                    name: Name::from("always"),
                    schedule: Name::from("* * * * *"),
                    time_zone: Name::from("UTC"),
                    duration: SignedDuration::from_hours(1),
                });
            },
            Invariant::S4,
        ),
        (|record, _| record.target.key.namespace = Name::from("elsewhere"), Invariant::S5),
        (|record, _| record.tenant = TenantName::new("another"), Invariant::S5),
        (
            |_, input| {
                let evidence: &mut EvidenceFacts = input.evidence.as_mut().expect("evidence");
                evidence.last_seen = now() - SignedDuration::from_secs(11);
            },
            Invariant::S6,
        ),
        (|_, input| input.evidence = None, Invariant::S6),
        (|record, _| record.target.uid = Uid::new("another-pod"), Invariant::S7),
        (
            |_, input| {
                let tenant = input.tenant.as_mut().expect("tenant");
                tenant.levels.insert(ActionKind::EvictPod, Level::Approve);
            },
            Invariant::S9,
        ),
    ];
    for (index, (change, invariant)) in cases.into_iter().enumerate() {
        let (mut record, mut input, mut checker) = claimed();
        change(&mut record, &mut input);
        let found = judge(&record, &input, &mut checker);
        assert!(found.contains(&invariant), "case {index}: {found:?} lacks {invariant:?}");
    }
}

#[test]
fn end_states_need_their_record() {
    let (mut record, _, mut checker) = claimed();
    record.state = ActionState::Undone;
    checker.stored(&record, now());
    let broken: Vec<Invariant> = checker.breaches().iter().map(|breach| breach.invariant).collect();
    assert_eq!(broken, [Invariant::S8, Invariant::S10]);
}

#[test]
fn budgets_are_counted_from_effects_alone() {
    let (record, mut input, mut checker) = claimed();
    input.workloads_in_tenant = 100;
    assert_eq!(judge(&record, &input, &mut checker), []);
    // A second action on the same workload while the first is open.
    let mut second = record.clone();
    second.id = ActionId::new("order-2-1");
    checker.stored(&second, now());
    assert_eq!(judge(&second, &input, &mut checker), [Invariant::S3]);
    // After the first has ended it is within all budgets.
    let mut ended = record;
    ended.state = ActionState::Verified;
    ended.instants.sent = Some(now());
    ended.instants.closed = Some(now());
    ended.outcome = Some(ActionOutcome { helped: true, reason: "good".to_owned() });
    checker.stored(&ended, now());
    assert_eq!(judge(&second, &input, &mut checker), []);
}

#[test]
fn a_size_that_takes_away_leaves_its_place_to_one_that_grows_and_to_no_other() {
    let (first, mut input, mut checker) = claimed();
    input.tenant.as_mut().expect("tenant").limits.scaling.in_flight_per_tenant = 1;
    let mut size = |workload: &str, parameters: Parameters| {
        let mut record = first.clone();
        record.id = ActionId::new(format!("size-{workload}"));
        (record.origin, record.parameters) = (Origin::Forecast, parameters);
        record.workload.name = Name::from(workload);
        checker.stored(&record, now());
        judge(&record, &input, &mut checker)
    };
    assert_eq!(size("a", Parameters::ScaleDown { replicas: 1 }), []);
    assert_eq!(size("b", Parameters::ScaleDown { replicas: 1 }), [Invariant::S3]);
    assert_eq!(size("c", Parameters::ScaleUp { replicas: 9 }), []);
    assert_eq!(size("d", Parameters::ScaleUp { replicas: 9 }), [Invariant::S3]);
}
