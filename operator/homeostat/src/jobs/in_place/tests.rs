use super::*;
use homeostat_knowledge::records::Memory;
use homeostat_knowledge::{ContainerRecord, ObjectKey};

const MIB: u64 = 1 << 20;

fn pod(request: Option<u64>, limit: Option<u64>) -> PodRecord {
    let mebibytes = |value: Option<u64>| value.map(|value| value * MIB);
    PodRecord {
        containers: vec![ContainerRecord {
            name: Name::from("app"),
            ready: true,
            restarts: 0,
            state: ContainerState::Running { since: Timestamp::UNIX_EPOCH },
            last_termination: None,
            cpu_request: None,
            cpu_limit: None,
            ephemeral_storage_limit: None,
            memory: Memory { request: mebibytes(request), limit: mebibytes(limit) },
        }],
        ..PodRecord::bare(ObjectKey::new("a", "pod"), Uid::new("uid"))
    }
}

/// Request and limit that are named, in MiB.
fn given(request: Option<u64>, limit: Option<u64>, decided: u64) -> Option<(u64, u64)> {
    match larger(&pod(request, limit), &Name::from("app"), decided * MIB)?.parameters {
        Parameters::ResizePod {
            cpu_millis: None,
            cpu_limit_millis: None,
            memory_bytes: Some(request),
            memory_limit_bytes: Some(limit),
            ..
        } => Some((request / MIB, limit / MIB)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pod_gets_what_was_decided_upwards_only_and_keeps_its_class_of_service() {
    assert_eq!(given(Some(80), Some(80), 400), Some((400, 400)), "request and limit, in one step");
    assert_eq!(given(Some(50), Some(80), 400), Some((370, 400)), "a request below its limit stays below");
    assert_eq!(given(Some(80), Some(80), 82), None, "as good as there");
    assert_eq!(given(Some(80), Some(80), 83), Some((83, 83)));
    assert_eq!(given(Some(16), Some(16), 17), None, "of a small one, too");
    assert_eq!(given(Some(80), Some(80), 40), None, "never less");
    assert_eq!(given(Some(80), None, 400), None, "nothing ends it");
    assert_eq!(given(None, Some(80), 400), None, "what is not known is not changed");
    assert_eq!(larger(&pod(Some(80), Some(80)), &Name::from("other"), 400 * MIB), None);
    assert_eq!(given(Some(200), Some(80), 400), None, "more was asked for, and is not there yet");
}

#[test]
fn a_pod_has_its_turn_once_for_a_size_and_again_for_a_larger_one() {
    let at = |second: i64| Timestamp::from_second(second).expect("a time");
    let planned = |tries| Planned { bytes: 100 * MIB, at: at(100), tries };
    for (known, bytes, second, expected) in [
        (None, 100, 100, Turn::Now(1)),
        (Some(planned(1)), 100, 101, Turn::UnderWay),
        (Some(planned(1)), 100, 104, Turn::Done),
        (Some(planned(1)), 100, 105, Turn::Now(2)),
        (Some(planned(2)), 100, 109, Turn::Done),
        (Some(planned(2)), 100, 110, Turn::Now(3)),
        (Some(planned(3)), 100, 10_000, Turn::Done),
        (Some(planned(3)), 104, 101, Turn::Now(1)),
    ] {
        let turn = turn(known.as_ref(), bytes * MIB, &[], at(second));
        assert_eq!(turn, expected, "{known:?}, {bytes} MiB at second {second}");
    }
}
