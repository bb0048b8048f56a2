//! Whether a count of requests that does not grow is nobody asking, or nobody telling.
//!
//! Zero takes replicas away, so it is believed only
//! - when something else of the same tenant was heard after the workload's own last answer, and within two minutes: any
//!   span, log record or metric of any pod, as one tenant's telemetry takes one way (its collector, its network); or
//! - when the last answers were so few that silence is no surprise, for up to an hour after the tenant was heard last. So a
//!   tenant of one service without traffic at night still gets fewer replicas, where its traffic fades.
//!
//! Anything else is unknown: the size is kept, then the declared fallback. What is lost alone, while others of its tenant
//! are heard, reads as nobody asking; callers outside of the tenant do not count as heard.

use homeostat_knowledge::{Entity, Observation, Signal, SignedDuration, Snapshot, Timestamp, WorkloadKey};

/// Namespaces that are remembered; those of pods that send, so only their number bounds it.
const MOST_NAMESPACES: usize = 10_000;
/// The instant is renewed so often, not with every span.
const RENEW: SignedDuration = SignedDuration::from_secs(1);
/// A tenant that was heard so long ago is silent: twice the exporters' default for metrics, the rarest of what they send.
const SILENT: SignedDuration = SignedDuration::from_mins(2);
/// What is heard so much later than the own last answer did not only wait for the same batch.
const LATER: SignedDuration = SignedDuration::from_secs(10);
/// Few answers before a silence explain it for so long.
const BELIEVED: SignedDuration = SignedDuration::from_hours(1);
/// Nothing is heard of three that are expected once in twenty times.
const FEW: f64 = 3.0;
/// Seconds after which earlier answers count half in what is expected.
const HALF: f64 = 60.0;

/// Notes in the snapshot that a pod of a namespace was heard.
pub fn note(snapshot: &mut Snapshot, observation: &Observation) {
    let (Entity::Pod { key, .. }, Signal::Span(_) | Signal::Log(_) | Signal::Sample(_)) =
        (&observation.entity, &observation.signal)
    else {
        return;
    };
    // What is no number says that something is wrong there, so nothing is concluded from it.
    if matches!(&observation.signal, Signal::Sample(sample) if !sample.value.is_finite()) {
        return;
    }
    let now = observation.arrival_time;
    let known = snapshot.heard.get(&key.namespace);
    let room = known.is_some() || snapshot.heard.size() < MOST_NAMESPACES;
    if room && known.is_none_or(|at| now.duration_since(*at) >= RENEW) {
        snapshot.heard.insert_mut(key.namespace.clone(), now);
    }
}

/// Forgets namespaces of which nothing was heard for so long that it makes no difference any more.
pub fn forget(snapshot: &mut Snapshot, now: Timestamp) {
    let old = |at: &Timestamp| now.duration_since(*at) > BELIEVED;
    let gone: Vec<_> =
        snapshot.heard.iter().filter(|(_, at)| old(at)).map(|(namespace, _)| namespace.clone()).collect();
    for namespace in gone {
        snapshot.heard.remove_mut(&namespace);
    }
}

/// When anything of the workload's tenant was heard last; of its namespace, where that is nobody's.
fn heard(snapshot: &Snapshot, workload: &WorkloadKey) -> Option<Timestamp> {
    match snapshot.tenant_of_namespace(&workload.namespace) {
        Some(tenant) => tenant.namespaces.iter().filter_map(|space| snapshot.heard.get(space)).max(),
        None => snapshot.heard.get(&workload.namespace),
    }
    .copied()
}

/// What is known of the answers of one workload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hearing {
    /// When the count was read last, and what it was.
    last: Option<(Timestamp, u64)>,
    /// When it was last seen to have grown.
    grew: Option<Timestamp>,
    /// Answers per second lately; `None` before the second reading.
    lately: Option<f64>,
}

impl Hearing {
    /// Requests answered so far, and those of them outside of the objective; `None` when that nothing was added since the
    /// last reading may be for want of hearing it, and before the first.
    pub fn answered(
        &mut self,
        snapshot: &Snapshot,
        workload: &WorkloadKey,
        now: Timestamp,
    ) -> Option<(u64, u64)> {
        let health = snapshot.health.get(workload)?;
        let counts = Some((health.answered, health.outside)).filter(|(answered, _)| *answered > 0)?;
        let last = self.last.replace((now, counts.0));
        let grown =
            last.map(|(at, before)| (now.duration_since(at).as_secs_f64(), counts.0.saturating_sub(before)));
        let more = last.is_none_or(|(_, before)| counts.0 != before);
        if more {
            self.grew = Some(now);
        }
        let believed = more || self.nobody_asks(snapshot, workload, now);
        if let Some((seconds, grown)) = grown.filter(|(seconds, _)| believed && *seconds > 0.0) {
            let rate = grown as f64 / seconds;
            let weight = 0.5_f64.powf(seconds / HALF);
            self.lately = Some(self.lately.map_or(rate, |lately| lately * weight + rate * (1.0 - weight)));
        }
        Some(counts).filter(|_| believed)
    }

    fn nobody_asks(&self, snapshot: &Snapshot, workload: &WorkloadKey, now: Timestamp) -> bool {
        let Some((heard, grew)) = heard(snapshot, workload).zip(self.grew) else { return false };
        let silent = now.duration_since(heard);
        let others = silent < SILENT && heard.duration_since(grew) >= LATER;
        let quiet = now.duration_since(grew).as_secs_f64();
        others || (silent < BELIEVED && self.lately.is_some_and(|lately| lately * quiet < FEW))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use homeostat_knowledge::observation::{Change, LogRecord, ObjectChange};
    use homeostat_knowledge::{Name, ObjectKey, Uid, WorkloadHealth};
    use std::sync::Arc;

    const STEP: i64 = 15;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn cart() -> WorkloadKey {
        ObjectKey::new("shop", "cart")
    }

    /// A tenant of two namespaces, `shop` and `shop-data`, beside a namespace of others.
    fn world() -> Snapshot {
        let (world, _) = homeostat_situations::Given::default().build();
        let order = homeostat_situations::order();
        let mut tenant = (**world.tenant_of_namespace(&order.namespace).unwrap()).clone();
        tenant.namespaces = [Name::from("shop"), Name::from("shop-data")].into_iter().collect();
        let mut snapshot = Snapshot::default();
        snapshot.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(tenant))), at(0));
        snapshot
    }

    /// A pod of this namespace sent something.
    fn sent(snapshot: &mut Snapshot, namespace: &str, second: i64) {
        let log = LogRecord { severity: 9, body: Name::from("ready"), trace: 0 };
        let observation = Observation {
            tenant: None,
            entity: Entity::Pod {
                key: ObjectKey::new(namespace, "pod"),
                uid: Uid::new("pod"),
                workload: None,
            },
            event_time: at(second),
            arrival_time: at(second),
            signal: Signal::Log(log),
        };
        note(snapshot, &observation);
    }

    fn answered(snapshot: &mut Snapshot, answered: u64, second: i64) {
        snapshot.health.insert_mut(cart(), WorkloadHealth { answered, ..WorkloadHealth::default() });
        sent(snapshot, "shop", second);
    }

    /// So many answers in each of these steps; when it ended.
    fn busy(hearing: &mut Hearing, snapshot: &mut Snapshot, each: impl IntoIterator<Item = u64>) -> i64 {
        let (mut second, mut count) = (0, 1);
        for grown in each {
            count += grown;
            second += STEP;
            if grown > 0 {
                answered(snapshot, count, second - 1);
            }
            hearing.answered(snapshot, &cart(), at(second));
        }
        second
    }

    #[test]
    fn a_tenant_whose_telemetry_is_gone_is_unknown_though_others_are_heard() {
        let (mut hearing, mut world) = (Hearing::default(), world());
        let from = busy(&mut hearing, &mut world, [150; 8]);
        for second in (from + STEP..from + 7_200).step_by(15) {
            sent(&mut world, "bank", second - 1);
            forget(&mut world, at(second));
            assert_eq!(hearing.answered(&world, &cart(), at(second)), None, "{second}");
        }
    }

    #[test]
    fn a_workload_that_nobody_asks_is_idle_while_its_tenant_is_heard_from_another_namespace() {
        let (mut hearing, mut world) = (Hearing::default(), world());
        let from = busy(&mut hearing, &mut world, [150; 8]);
        for second in (from + STEP..from + 7_200).step_by(15) {
            // Nothing but metrics, once a minute.
            if (second - from) % 60 == STEP {
                sent(&mut world, "shop-data", second - 1);
            }
            assert!(hearing.answered(&world, &cart(), at(second)).is_some(), "{second}");
        }
    }

    #[test]
    fn traffic_that_fades_away_ends_in_nothing_for_an_hour_and_then_in_not_knowing() {
        let (mut hearing, mut world) = (Hearing::default(), world());
        let fading =
            [40, 20, 10, 5, 3, 2].into_iter().flat_map(|each| [each; 12]).chain([1, 0, 0, 1, 0, 0, 0, 1]);
        let from = busy(&mut hearing, &mut world, fading);
        for second in (from + STEP..from + 3_500).step_by(15) {
            assert!(hearing.answered(&world, &cart(), at(second)).is_some(), "{second}");
        }
        assert_eq!(hearing.answered(&world, &cart(), at(from + 3_700)), None);
    }

    #[test]
    fn a_few_answers_a_minute_are_no_gaps() {
        let (mut hearing, mut world) = (Hearing::default(), world());
        busy(&mut hearing, &mut world, [1; 40]);
        let from = 40 * STEP;
        assert!(hearing.answered(&world, &cart(), at(from + STEP)).is_some(), "one was expected");
        answered(&mut world, 900, from + 2 * STEP);
        assert_eq!(hearing.answered(&world, &cart(), at(from + 2 * STEP)), Some((900, 0)));
    }

    #[test]
    fn what_is_remembered_of_namespaces_is_bounded() {
        let mut world = world();
        for number in 0..MOST_NAMESPACES + 5 {
            sent(&mut world, &format!("space-{number}"), 0);
        }
        assert_eq!(world.heard.size(), MOST_NAMESPACES);
        forget(&mut world, at(3_601));
        assert_eq!(world.heard.size(), 0);
    }
}
