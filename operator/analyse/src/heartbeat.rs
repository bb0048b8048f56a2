//! Signs of life that must come regularly (`spec.heartbeat`): what no longer comes has nothing abnormal about it that any
//! other detector could see. Also known as a dead man's switch.

use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::policy::{HEARTBEAT, HeartbeatPolicy};
use homeostat_knowledge::{Evidence, Observation, Signal, SignedDuration, Snapshot, Timestamp, WorkloadKey};
use std::collections::BTreeMap;

/// A source that came back has so long to tell what it knows.
const GRACE: SignedDuration = SignedDuration::from_mins(2);

/// The sources of what is asked for, and of what pods send.
const QUERIES: &str = "prometheus";
const TELEMETRY: &str = "otlp";

/// Signs of life of all workloads that have to give some.
#[derive(Debug, Default)]
pub struct Heartbeats {
    known: BTreeMap<WorkloadKey, Beat>,
    looked: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Beat {
    policy: HeartbeatPolicy,
    /// Since when a sign would have been seen.
    watched: Timestamp,
    /// The last sign, and when it reached us.
    last: Option<(Timestamp, Timestamp)>,
}

impl Beat {
    /// From when on the silence counts; `None` while it cannot be told.
    fn silent_from(&self, now: Timestamp) -> Option<Timestamp> {
        match self.last {
            // A query says when the last sign came, whatever was missed meanwhile; but not an answer from before an outage.
            Some((sign, told)) if self.policy.queried => {
                (told >= self.watched || now.duration_since(self.watched) >= GRACE).then_some(sign)
            }
            Some((sign, _)) => Some(sign.max(self.watched)),
            None => Some(self.watched),
        }
    }
}

impl Heartbeats {
    /// Takes one observation that may be a sign of life.
    pub fn ingest(&mut self, observation: &Observation) {
        if self.known.is_empty() {
            return;
        }
        let arrival = observation.arrival_time;
        let (key, sign, asked) = match &observation.signal {
            Signal::Sample(sample) if sample.asked_by.is_some() => {
                if *sample.metric != *HEARTBEAT {
                    return;
                }
                // A job that never ran has no time, or zero.
                let Some(sign) = unix(sample.value) else { return };
                (sample.asked_by.as_ref(), sign.min(arrival), true)
            }
            Signal::Span(_) | Signal::Log(_) | Signal::Sample(_) => {
                (observation.entity.workload(), arrival, false)
            }
            Signal::Object(_) | Signal::Source(_) | Signal::Series(_) => return,
        };
        if let Some(beat) =
            key.and_then(|key| self.known.get_mut(key)).filter(|beat| beat.policy.queried == asked)
        {
            let sign = beat.last.map_or(sign, |(known, _)| known.max(sign));
            beat.last = Some((sign, arrival));
        }
    }

    /// Takes up who has to give signs by now, and which source cannot tell. Once a second.
    pub fn tick(&mut self, snapshot: &Snapshot, now: Timestamp) {
        if self.looked.replace(now.as_second()) == Some(now.as_second()) {
            return;
        }
        let of = |key: &WorkloadKey| snapshot.workloads.get(key)?.heartbeat;
        self.known.retain(|key, beat| of(key).is_some_and(|policy| policy.queried == beat.policy.queried));
        for (key, workload) in &snapshot.workloads {
            let Some(policy) = workload.heartbeat else { continue };
            let beat = self.known.entry(key.clone()).or_insert(Beat { policy, watched: now, last: None });
            beat.policy = policy;
            let source = if policy.queried { QUERIES } else { TELEMETRY };
            let state = snapshot.sources.get(source).map(|report| &report.state);
            if matches!(state, Some(SourceState::Down(_))) {
                beat.watched = now;
            }
        }
    }

    /// Who is silent for too long, since when that is too long, and the evidence.
    pub fn silent(&self, now: Timestamp) -> impl Iterator<Item = (&WorkloadKey, Timestamp, Evidence)> {
        self.known.iter().filter_map(move |(key, beat)| {
            let from = beat.silent_from(now)?;
            let longest = beat.policy.maximum_silence;
            let since = from.checked_add(longest).ok().filter(|end| *end < now)?;
            let first = if beat.last.is_some() { "none for" } else { "none seen in" };
            let silence = now.duration_since(from);
            let line = Evidence::new("heartbeat", format!("{first} {}", words(silence)));
            Some((key, since, line.usual(format!("at least every {}", words(longest)))))
        })
    }
}

fn unix(seconds: f64) -> Option<Timestamp> {
    let whole = (seconds.is_finite() && seconds > 0.0).then_some(seconds as i64)?;
    Timestamp::from_second(whole).ok()
}

/// Whole seconds below two minutes, else whole minutes, hours or days: evidence that does not change at each look.
fn words(length: SignedDuration) -> String {
    let seconds = length.as_secs();
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use homeostat_knowledge::observation::{Change, LogRecord, ObjectChange, Sample, SourceReport};
    use homeostat_knowledge::records::ControllerKey;
    use homeostat_knowledge::{ControllerKind, Entity, Name, ObjectKey, Uid, WorkloadPolicy};
    use std::sync::Arc;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn nightly() -> WorkloadKey {
        ObjectKey::new("water", "nightly")
    }

    struct World {
        snapshot: Snapshot,
        heartbeats: Heartbeats,
    }

    impl World {
        /// A workload that has to give a sign every minute, known since second 0.
        fn new(queried: bool) -> Self {
            let target = ControllerKey { kind: ControllerKind::CronJob, object: nightly() };
            let heartbeat = HeartbeatPolicy { maximum_silence: SignedDuration::from_mins(1), queried };
            let policy = WorkloadPolicy {
                heartbeat: Some(heartbeat),
                ..WorkloadPolicy::new(nightly(), Uid::new("w"), target)
            };
            let change = ObjectChange::Workload(Change::Applied(Arc::new(policy)));
            let mut world = Self {
                snapshot: Snapshot::default().apply(&change, at(0)),
                heartbeats: Heartbeats::default(),
            };
            world.heartbeats.tick(&world.snapshot, at(0));
            world
        }

        fn hear(&mut self, signal: Signal, second: i64) {
            self.heartbeats.ingest(&Observation {
                tenant: None,
                entity: Entity::Workload { key: nightly() },
                event_time: at(second),
                arrival_time: at(second),
                signal,
            });
        }

        fn line(&mut self, second: i64) {
            self.hear(Signal::Log(LogRecord { severity: 9, body: Name::from("on it"), trace: 0 }), second);
        }

        fn answer(&mut self, value: f64, second: i64) {
            let sample = Sample {
                metric: Name::from(HEARTBEAT),
                series: Name::from(""),
                value,
                counter: false,
                asked_by: Some(nightly()),
            };
            self.hear(Signal::Sample(sample), second);
        }

        fn source(&mut self, name: &str, down: bool, second: i64) {
            let state = if down { SourceState::Down(Name::from("gone")) } else { SourceState::Healthy };
            let report = SourceReport { state, accepted: 0, dropped: 0 };
            self.snapshot.sources.insert_mut(Name::from(name), report);
            self.heartbeats.tick(&self.snapshot, at(second));
        }

        fn silent(&mut self, second: i64) -> Option<(Timestamp, String)> {
            self.heartbeats.tick(&self.snapshot, at(second));
            self.heartbeats.silent(at(second)).next().map(|(_, since, line)| (since, line.to_string()))
        }
    }

    #[test]
    fn who_sends_nothing_for_too_long_is_silent_until_something_comes() {
        let mut world = World::new(false);
        world.line(10);
        assert_eq!(world.silent(70), None);
        let (since, line) = world.silent(75).unwrap();
        assert_eq!(since, at(70));
        assert_eq!(line, "heartbeat: none for 65 s (usual at least every 60 s)");
        world.line(80);
        assert_eq!(world.silent(81), None);
    }

    #[test]
    fn who_never_gave_a_sign_has_its_time_from_when_it_was_known() {
        let mut world = World::new(false);
        assert_eq!(world.silent(60), None);
        assert!(world.silent(61).unwrap().1.contains("none seen in 61 s"));
    }

    #[test]
    fn a_query_tells_when_the_last_sign_came_also_after_a_restart() {
        let mut world = World::new(true);
        world.line(5);
        world.answer(1_000_000.0 - 7_300.0, 1);
        let (since, line) = world.silent(2).unwrap();
        assert_eq!(since, at(-7_240));
        assert!(line.contains("none for 2 h"), "{line}");
        world.answer(1_000_003.0, 4);
        assert_eq!(world.silent(60), None);
        // Newer series of the same signal count, a time that lies ahead is now, and zero is no time.
        world.answer(1_000_001.0, 61);
        world.answer(2e9, 62);
        world.answer(0.0, 63);
        assert_eq!(world.silent(122), None);
        assert_eq!(world.silent(123).unwrap().0, at(122));
    }

    #[test]
    fn a_source_that_is_down_makes_nobody_silent() {
        let mut told = World::new(false);
        told.line(10);
        told.source("otlp", true, 50);
        assert_eq!(told.silent(500), None);
        told.source("otlp", false, 501);
        assert_eq!(told.silent(560), None, "it could not be heard until then");
        assert!(told.silent(562).is_some());

        let mut asked = World::new(true);
        asked.answer(1_000_010.0, 10);
        asked.source("prometheus", true, 50);
        assert_eq!(asked.silent(499), None);
        asked.source("prometheus", false, 500);
        assert_eq!(asked.silent(510), None, "it was not asked since");
        asked.answer(1_000_490.0, 515);
        assert_eq!(asked.silent(520), None);
        asked.answer(1_000_490.0, 555);
        assert!(asked.silent(556).is_some());
        assert!(World::new(true).silent(100).is_some(), "a query without an answer is no sign");
    }

    #[test]
    fn who_has_no_heartbeat_any_more_is_forgotten() {
        let mut world = World::new(false);
        world.snapshot = Snapshot::default();
        assert_eq!(world.silent(100), None);
        assert!(world.heartbeats.known.is_empty());
    }
}
