//! What a status says that is a decision of ours and was not said before: a level that was lowered, a breaker that opened.
//! Pure. What is stored tells, so a restart or another leader records nothing again.

use super::Times;
use super::desired::DesiredStatus;
use super::stops::{OF_TENANT, OF_WORKLOAD};
use crate::validate::{action_kind, level};
use homeostat_crds::conditions::{Condition, find};
use homeostat_crds::v1alpha1::tenant::LevelCap;
use homeostat_crds::{ConditionStatus, ConditionType};
use homeostat_knowledge::{Name, Restraint, RestraintKind, TenantName};

/// What is new in this status after the stored one.
pub(super) fn restraints(before: &Times, desired: &DesiredStatus) -> Vec<Restraint> {
    match desired {
        DesiredStatus::Tenant(key, status) => {
            let tenant = TenantName(key.name.clone());
            let known = |cap: &LevelCap| before.level_caps.iter().any(|stored| same(stored, cap));
            let lowered = status.level_caps.iter().filter(|cap| !known(cap)).map(|cap| Restraint {
                tenant: Some(tenant.clone()),
                workload: None,
                what: RestraintKind::LevelLowered {
                    action: action_kind(cap.action),
                    level: level(cap.level),
                },
                since: Some(cap.since.timestamp()),
                reason: Name::from(cap.reason.as_str()),
            });
            let opened = opened(&before.conditions, &status.conditions, OF_TENANT).map(|reason| Restraint {
                tenant: Some(tenant.clone()),
                workload: None,
                what: RestraintKind::BreakerOpened,
                since: None,
                reason,
            });
            lowered.chain(opened).collect()
        }
        DesiredStatus::Workload(key, status) => opened(&before.conditions, &status.conditions, OF_WORKLOAD)
            .map(|reason| Restraint {
                tenant: status.tenant.as_deref().map(TenantName::new),
                workload: Some(key.clone()),
                what: RestraintKind::BreakerOpened,
                since: None,
                reason,
            })
            .into_iter()
            .collect(),
        DesiredStatus::Control(_, status) => status
            .breaker_open_since
            // An earlier instant of one that is open already is found when more of its history is read.
            .filter(|since| before.breaker_open_since.is_none_or(|stored| *since > stored))
            .map(|since| Restraint {
                tenant: None,
                workload: None,
                what: RestraintKind::BreakerOpened,
                since: Some(since.timestamp()),
                reason: Name::from(said(&status.conditions, "").unwrap_or_default()),
            })
            .into_iter()
            .collect(),
        DesiredStatus::Playbook(..) => Vec::new(),
    }
}

fn same(stored: &LevelCap, cap: &LevelCap) -> bool {
    // The instant may move while the failures of one moment come in.
    (stored.action, stored.level) == (cap.action, cap.level)
}

/// Why a breaker of its own opened. While that of the cluster is open, all say so: that is told once, of the cluster. One
/// of which nothing was known, as after a restart until the actions are listed, was told when it opened.
fn opened(before: &[Condition], now: &[Condition], own: &str) -> Option<Name> {
    let reason = said(now, own)?;
    let unknown = find(before, ConditionType::BreakerOpen)
        .is_some_and(|before| before.status == ConditionStatus::Unknown);
    (!unknown && said(before, own).is_none()).then(|| Name::from(reason))
}

/// What an open breaker says, when these words are part of it.
fn said<'a>(conditions: &'a [Condition], words: &str) -> Option<&'a str> {
    find(conditions, ConditionType::BreakerOpen)
        .filter(|said| said.status == ConditionStatus::True && said.message.contains(words))
        .map(|said| said.message.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::stops::breaker_statement;
    use super::*;
    use homeostat_crds::MicroTime;
    use homeostat_crds::conditions::{complete, set};
    use homeostat_crds::v1alpha1::{ControlPlaneStatus, TenantStatus, WorkloadStatus};
    use homeostat_execute::guards::Breaker;
    use homeostat_knowledge::{ActionKind, Level, ObjectKey, Timestamp};

    fn at(second: i64) -> MicroTime {
        MicroTime::new(Timestamp::from_second(second).unwrap())
    }

    fn latched(second: i64) -> Breaker {
        Breaker::Latched(at(second).timestamp())
    }

    fn says(breaker: Option<&Breaker>) -> Vec<Condition> {
        let mut conditions = Vec::new();
        set(&mut conditions, breaker_statement(breaker), Some(1), at(0));
        conditions
    }

    fn stored(breaker: Option<&Breaker>) -> Times {
        Times { conditions: says(breaker), ..Times::default() }
    }

    fn cap(level: homeostat_crds::Level, second: i64) -> LevelCap {
        let action = homeostat_crds::ActionKind::EvictPod;
        LevelCap { action, level, since: at(second), reason: "3 of 3 EvictPod did not help".to_owned() }
    }

    fn tenant(caps: &[LevelCap], breaker: Option<&Breaker>) -> DesiredStatus {
        let status =
            TenantStatus { level_caps: caps.to_vec(), conditions: says(breaker), ..TenantStatus::default() };
        DesiredStatus::Tenant(ObjectKey::new("", "food"), Box::new(status))
    }

    fn workload(breaker: Option<&Breaker>) -> DesiredStatus {
        let status = WorkloadStatus {
            tenant: Some("food".to_owned()),
            conditions: says(breaker),
            ..WorkloadStatus::default()
        };
        DesiredStatus::Workload(ObjectKey::new("shop", "order"), Box::new(status))
    }

    #[test]
    fn a_level_is_told_when_it_is_lowered_and_again_when_it_is_lowered_further() {
        let first = cap(homeostat_crds::Level::Approve, 52);
        let found = restraints(&stored(None), &tenant(std::slice::from_ref(&first), None));
        let [told] = found.as_slice() else { panic!("one: {found:?}") };
        let lowered = RestraintKind::LevelLowered { action: ActionKind::EvictPod, level: Level::Approve };
        assert_eq!((told.what, told.tenant.as_ref()), (lowered, Some(&TenantName::new("food"))));
        assert_eq!(told.since, Some(at(52).timestamp()));
        assert_eq!(&*told.reason, "3 of 3 EvictPod did not help");

        let known = Times { level_caps: vec![first.clone()], ..stored(None) };
        assert_eq!(restraints(&known, &tenant(&[first], None)), [], "what is stored was told");
        let further = cap(homeostat_crds::Level::Recommend, 99);
        assert_eq!(restraints(&known, &tenant(&[further], None)).len(), 1);
        assert_eq!(restraints(&known, &tenant(&[], None)), [], "a person restored it");
    }

    #[test]
    fn a_breaker_is_told_by_the_one_whose_it_is_and_once() {
        let (own, of_tenant) = (Breaker::Workload(2), Breaker::Tenant(4));
        let scopes = |found: Vec<Restraint>| -> Vec<(bool, bool)> {
            found.iter().map(|one| (one.tenant.is_some(), one.workload.is_some())).collect()
        };
        assert_eq!(scopes(restraints(&stored(None), &workload(Some(&own)))), [(true, true)]);
        assert_eq!(scopes(restraints(&stored(None), &tenant(&[], Some(&of_tenant)))), [(true, false)]);
        assert_eq!(restraints(&stored(None), &workload(Some(&of_tenant))), [], "the Tenant tells it");
        for told in [workload(Some(&latched(5))), tenant(&[], Some(&latched(5)))] {
            assert_eq!(restraints(&stored(None), &told), [], "the ControlPlane tells it");
        }
        let more = Breaker::Workload(3);
        assert_eq!(restraints(&stored(Some(&own)), &workload(Some(&more))), [], "it is open already");
        assert_eq!(restraints(&stored(Some(&own)), &workload(None)), [], "it closed");
        let below = stored(Some(&latched(5)));
        assert_eq!(restraints(&below, &workload(Some(&own))).len(), 1, "that of the cluster was open");
        let mut unknown = Times::default();
        complete(&mut unknown.conditions, &[ConditionType::BreakerOpen], Some(1), at(0));
        assert_eq!(restraints(&unknown, &workload(Some(&own))), [], "whoever led before told it");
        let new = Times::default();
        assert_eq!(restraints(&new, &workload(Some(&own))).len(), 1, "there was no status at all");
    }

    #[test]
    fn the_breaker_of_the_cluster_is_told_when_it_opens_and_when_it_opens_anew_after_a_reset() {
        let control = |second: i64| {
            let status = ControlPlaneStatus {
                breaker_open_since: Some(at(second)),
                conditions: says(Some(&latched(second))),
                ..ControlPlaneStatus::default()
            };
            DesiredStatus::Control(ObjectKey::new("", "default"), Box::new(status))
        };
        let open = |second: i64| Times { breaker_open_since: Some(at(second)), ..Times::default() };
        let found = restraints(&Times::default(), &control(5));
        let [told] = found.as_slice() else { panic!("one: {found:?}") };
        assert_eq!((&told.tenant, &told.workload, told.since), (&None, &None, Some(at(5).timestamp())));
        assert!(told.reason.contains("homeostat resume --breaker"), "{}", told.reason);
        for (stored, now, wanted) in [(5, 5, 0), (5, 4, 0), (5, 90, 1)] {
            assert_eq!(restraints(&open(stored), &control(now)).len(), wanted, "{stored}, then {now}");
        }
    }
}
