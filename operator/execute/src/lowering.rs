//! Lowers the level of an action that keeps failing. Nothing raises one again but a person. Pure.

use crate::history::ActionHistory;
use homeostat_knowledge::policy::LevelCap;
use homeostat_knowledge::{ActionKind, Level, Name, Origin, SignedDuration, TenantPolicy, Timestamp};
use std::collections::BTreeMap;

/// Failed verifications of one kind of action in one tenant, within [`WINDOW`], that lower its level by one.
pub const FAILURES: usize = 3;
/// How far back failures count.
pub const WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// The caps that should stand: those that stand already, and a lower one for each kind of action that failed three
/// times within 24 hours since its last cap, since a person restored the levels, and without more successes than
/// failures. One step at a time, down to Recommend; what only tells people is never lowered. The same history gives
/// the same caps, so nothing is lowered twice for the same failures. Levels that are restored at an instant to come are
/// restored when it has come: until then nothing would be lowered at all.
pub fn caps(
    history: &[ActionHistory],
    tenant: &TenantPolicy,
    now: Timestamp,
) -> BTreeMap<ActionKind, LevelCap> {
    let restored = tenant.levels_restored.filter(|restored| *restored <= now);
    let mut caps = tenant.caps.clone();
    caps.retain(|_, cap| restored.is_none_or(|restored| cap.since > restored));
    for kind in ActionKind::ALL {
        let (set, cap) = (tenant.level_set(kind), caps.get(&kind));
        let level = cap.map_or(set, |cap| set.min(cap.level));
        let Some(lower) = below(level) else { continue };
        let counts_from = cap.map(|cap| cap.since).max(restored);
        // Stored instants have a resolution of one microsecond.
        let after = |at: Timestamp| {
            counts_from.is_none_or(|from| at.as_microsecond() > from.as_microsecond())
                && now.duration_since(at) < WINDOW
        };
        let mut failures: Vec<Timestamp> = Vec::new();
        let mut successes = 0_usize;
        for entry in history {
            let Some(closed) = entry.closed.filter(|at| after(*at)) else { continue };
            // A way down that hurt is taken back and held by the workload's own cool-down; it lowers nobody else's level.
            let sized = entry.origin == Origin::Forecast;
            if entry.tenant != tenant.name || entry.kind != kind || entry.undo_of.is_some() || sized {
                continue;
            }
            match entry.helped {
                Some(false) if entry.failed() => failures.push(closed),
                Some(true) => successes += 1,
                _ => {}
            }
        }
        failures.sort_unstable();
        if failures.len() < FAILURES || successes >= failures.len() {
            continue;
        }
        let Some(since) = failures.last().copied() else { continue };
        let reason = format!(
            "{} of {} {kind} did not help within {} h; lowered from {} to {}",
            failures.len(),
            failures.len() + successes,
            WINDOW.as_hours(),
            level.name(),
            lower.name()
        );
        caps.insert(kind, LevelCap { level: lower, since, reason: Name::from(reason) });
    }
    caps
}

/// One level less; `None` where nothing is done anyway.
fn below(level: Level) -> Option<Level> {
    match level {
        Level::ActFull => Some(Level::ActBounded),
        Level::ActBounded => Some(Level::Approve),
        Level::Approve => Some(Level::Recommend),
        Level::Recommend | Level::Observe => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::testing::{input, past, tenant};

    fn minutes(before: Timestamp, count: i64) -> Timestamp {
        before.checked_sub(SignedDuration::from_mins(count)).expect("time")
    }

    /// Evictions that ended so many minutes ago, and whether each helped.
    fn ended(ends: &[(i64, bool)]) -> (Vec<ActionHistory>, Timestamp) {
        let case = input();
        let entry = |(number, (ago, helped)): (usize, &(i64, bool))| {
            let mut entry = past(&case, &format!("order-{number}-1"), 1, *helped);
            entry.closed = Some(minutes(case.now, *ago));
            entry
        };
        (ends.iter().enumerate().map(entry).collect(), case.now)
    }

    fn acting(level: Level) -> TenantPolicy {
        let mut tenant = tenant();
        tenant.levels.insert(ActionKind::EvictPod, level);
        tenant
    }

    #[test]
    fn three_failures_lower_one_step_and_say_why() {
        let (history, now) = ended(&[(50, false), (40, false), (30, false), (20, true)]);
        let caps = caps(&history, &acting(Level::ActBounded), now);
        let cap = caps.get(&ActionKind::EvictPod).expect("lowered");
        assert_eq!((cap.level, cap.since), (Level::Approve, minutes(now, 30)));
        assert_eq!(
            &*cap.reason,
            "3 of 4 EvictPod did not help within 24 h; lowered from ActBounded to Approve"
        );
        assert_eq!(caps.len(), 1, "other actions did not fail");
    }

    #[test]
    fn fewer_older_or_outweighed_failures_lower_nothing() {
        for ends in [
            &[(50, false), (40, false)][..],
            &[(24 * 60, false), (40, false), (30, false)],
            &[(50, false), (40, false), (30, false), (29, true), (28, true), (27, true)],
        ] {
            let (history, now) = ended(ends);
            assert!(caps(&history, &acting(Level::ActBounded), now).is_empty(), "{ends:?}");
        }
        let (history, now) = ended(&[(50, false), (40, false), (30, false)]);
        assert!(caps(&history, &acting(Level::Recommend), now).is_empty(), "nothing was allowed anyway");
    }

    #[test]
    fn the_same_failures_lower_once_and_new_ones_again() {
        let (mut history, now) = ended(&[(50, false), (40, false), (30, false)]);
        let mut tenant = acting(Level::ActBounded);
        tenant.caps = caps(&history, &tenant, now);
        assert_eq!(tenant.level(ActionKind::EvictPod), Level::Approve);
        assert_eq!(caps(&history, &tenant, now), tenant.caps);
        let (more, _) = ended(&[(20, false), (10, false), (5, false)]);
        history.extend(more);
        assert_eq!(caps(&history, &tenant, now)[&ActionKind::EvictPod].level, Level::Recommend);
        // A day later the failures are forgotten, the cap is not.
        let tomorrow = now.checked_add(SignedDuration::from_hours(30)).expect("time");
        assert_eq!(caps(&history, &tenant, tomorrow), tenant.caps);
    }

    #[test]
    fn after_a_person_restored_the_levels_only_new_failures_count() {
        let (history, now) = ended(&[(50, false), (40, false), (30, false)]);
        let mut tenant = acting(Level::ActBounded);
        tenant.levels_restored = Some(minutes(now, 30));
        assert!(caps(&history, &tenant, now).is_empty());
        let raised = Level::ActFull;
        tenant.levels.insert(ActionKind::EvictPod, raised);
        tenant.caps.insert(
            ActionKind::EvictPod,
            LevelCap { level: Level::Approve, since: now, reason: Name::from("failed") },
        );
        assert_eq!(tenant.level(ActionKind::EvictPod), Level::Approve, "a cap stands above what is set");
    }

    #[test]
    fn levels_restored_in_the_future_are_lowered_until_then() {
        let (history, now) = ended(&[(50, false), (40, false), (30, false)]);
        let mut tenant = acting(Level::ActBounded);
        tenant.levels_restored = Some(minutes(now, -60));
        let lowered = caps(&history, &tenant, now);
        assert_eq!(lowered[&ActionKind::EvictPod].level, Level::Approve);
        tenant.caps.clone_from(&lowered);
        assert_eq!(caps(&history, &tenant, minutes(now, -59)), lowered, "a minute before");
        assert!(caps(&history, &tenant, minutes(now, -60)).is_empty(), "it has come");
    }
}
