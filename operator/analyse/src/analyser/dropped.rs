//! What the detectors left out because of a bound: no memory grows without limit, and nothing goes without being counted.

use super::Analyser;

impl Analyser {
    /// How often each bound was met since the start, by what was left out. The names are a fixed list.
    pub fn dropped(&self) -> [(&'static str, u64); 6] {
        [
            ("calls", self.calls.dropped),
            ("waits", self.calls.waits().dropped),
            ("signals", self.signals.dropped),
            ("logs", self.logs.evicted),
            ("replicas", self.golden.dropped()),
            ("findings", self.dropped),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::observation::{LogRecord, Observation, Signal};
    use homeostat_knowledge::{
        CallOutcome, Entity, Name, ObjectKey, Snapshot, Span, SpanKind, Timestamp, Uid,
    };

    #[test]
    fn what_finds_no_room_is_counted_under_its_name() {
        let mut analyser = Analyser::new();
        let counted = |analyser: &Analyser, kind| {
            analyser.dropped().into_iter().find(|(name, _)| *name == kind).map(|(_, total)| total)
        };
        assert!(analyser.dropped().iter().all(|(_, total)| *total == 0));
        let lines = |number| Observation {
            tenant: None,
            entity: Entity::Workload { key: ObjectKey::new("shop", format!("w{number}")) },
            event_time: Timestamp::UNIX_EPOCH,
            arrival_time: Timestamp::UNIX_EPOCH,
            signal: Signal::Log(LogRecord { severity: 9, body: Name::from("hello"), trace: 0 }),
        };
        let batch: Vec<Observation> = (0..1_003).map(lines).collect();
        analyser.ingest(&Snapshot::default(), &batch);
        assert_eq!(counted(&analyser, "logs"), Some(3), "three workloads made room for others");
        assert_eq!(counted(&analyser, "calls"), Some(0));
        assert_eq!(counted(&analyser, "replicas"), Some(0));

        let workload = ObjectKey::new("shop", "order");
        let answer = |number: u64| Observation {
            tenant: None,
            entity: Entity::Pod {
                key: ObjectKey::new("shop", format!("order-{number}")),
                uid: Uid::new(format!("u{number}")),
                workload: Some(workload.clone()),
            },
            event_time: Timestamp::UNIX_EPOCH,
            arrival_time: Timestamp::UNIX_EPOCH,
            signal: Signal::Span(Span {
                trace: u128::from(number),
                id: number,
                parent: 0,
                kind: SpanKind::Server,
                start: Timestamp::UNIX_EPOCH,
                end: Timestamp::UNIX_EPOCH,
                operation: Name::from("GET /"),
                outcome: CallOutcome::Ok,
                peer: None,
            }),
        };
        let batch: Vec<Observation> = (1..=514).map(answer).collect();
        analyser.ingest(&Snapshot::default(), &batch);
        assert_eq!(counted(&analyser, "replicas"), Some(2), "512 of one workload are compared");
    }
}
