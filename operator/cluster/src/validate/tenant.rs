//! `Tenant` becomes the tenant's policy.

use super::freezes::freezes;
use super::{Claim, LABEL, Rejection, action_kind, bounded, level, object_name, seconds};
use crate::ledger::{in_bytes, in_millis};
use homeostat_crds::common::{ANNOTATION_DO_NOT_TOUCH_UNTIL, ANNOTATION_LEVELS_RESTORED_AT};
use homeostat_crds::v1alpha1::Tenant;
use homeostat_crds::v1alpha1::tenant::{
    Hysteresis as WireHysteresis, LevelCap as WireCap, OWN_NAMESPACE, Prices as WirePrices, Quota,
    RESERVED_NAMESPACES, ScalingLimits as WireScaling,
};
use homeostat_crds::{Quantity, Subject, SubjectKind};
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::policy::{
    Hysteresis, LevelCap, PLATFORM_TENANT, Prices, ReplicaStep, ScalingLimits,
};
use homeostat_knowledge::records::Amounts;
use homeostat_knowledge::{
    ActionKind, FindingKind, GuardLimits, Level, Name, SignedDuration, TenantName, TenantPolicy, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Longest time for which what is over may be kept, seconds.
const LONGEST_KEPT: i64 = 31_536_000;

/// The policy of a tenant as its object says it, before it is held to the `ControlPlane`'s ceilings, or the field that makes
/// it unusable, with what the tenant keeps nevertheless. `reserved` is Homeostat's own namespace, which only the platform
/// tenant may hold.
pub fn tenant_policy(
    object: &Tenant,
    reserved: &BTreeSet<String>,
    now: Timestamp,
) -> Result<TenantPolicy, Rejection> {
    usable(object, reserved, now).map_err(|why| {
        let meanwhile = meanwhile(object, reserved, now);
        // What names nothing that it may own keeps nothing.
        if meanwhile.namespaces.is_empty() {
            return why;
        }
        why.claiming(Claim::Namespaces(Arc::new(meanwhile)))
    })
}

/// What the list of namespaces names, one by one: what this tenant may own, or why it may not.
fn namespaces(object: &Tenant, reserved: &BTreeSet<String>) -> impl Iterator<Item = Result<Name, Rejection>> {
    let platform = object.metadata.name.as_deref() == Some(PLATFORM_TENANT);
    let named = object.spec.namespaces.iter().enumerate();
    named.map(move |(index, namespace)| -> Result<Name, Rejection> {
        let field = format!("spec.namespaces[{index}]");
        // Empty selects nothing and there is no match-all: a tenant names what it owns.
        object_name(&field, namespace, LABEL, "it must be the name of one namespace")?;
        if RESERVED_NAMESPACES.contains(&namespace.as_str()) {
            let rule = "the cluster's own namespaces cannot belong to a Tenant";
            return Err(Rejection::field(field, format!("`{namespace}`"), rule));
        }
        let own = namespace == OWN_NAMESPACE || reserved.contains(namespace);
        if own != platform {
            let rule = "Homeostat's own namespace belongs to the Tenant platform, which has no other";
            return Err(Rejection::field(field, format!("`{namespace}`"), rule));
        }
        Ok(Name::from(namespace.as_str()))
    })
}

/// What counts while the object is invalid: a pause of all that it may own. What nobody acts by stays as far as it can be
/// read: whom to name, what was lowered, what things cost, how long records are kept (when in doubt, long).
fn meanwhile(object: &Tenant, reserved: &BTreeSet<String>, now: Timestamp) -> TenantPolicy {
    let (meta, spec) = (&object.metadata, &object.spec);
    let mut levels: BTreeMap<ActionKind, Level> = BTreeMap::new();
    for entry in &spec.automation {
        for action in &entry.actions {
            let lowest = levels.entry(action_kind(*action)).or_insert(Level::Recommend);
            *lowest = level(entry.level).min(*lowest);
        }
    }
    let levels_restored = super::instant(meta, ANNOTATION_LEVELS_RESTORED_AT).ok().flatten();
    TenantPolicy {
        generation: meta.generation.unwrap_or(0),
        levels,
        approvers: spec.approvers.iter().map(subject).collect(),
        owners: spec.owners.iter().map(subject).collect(),
        caps: caps(object, levels_restored, now),
        levels_restored,
        closed_kept: closed_kept(object).unwrap_or(SignedDuration::from_secs(LONGEST_KEPT)),
        prices: spec.prices.as_ref().and_then(|wire| prices(wire).ok()),
        paused: true,
        ..TenantPolicy::new(
            TenantName::new(meta.name.as_deref().unwrap_or_default()),
            Uid::new(meta.uid.as_deref().unwrap_or_default()),
            namespaces(object, reserved).filter_map(Result::ok),
        )
    }
}

fn closed_kept(object: &Tenant) -> Result<SignedDuration, Rejection> {
    seconds("spec.retention.closedSeconds", object.spec.retention.closed_seconds, 60, LONGEST_KEPT)
}

fn usable(object: &Tenant, reserved: &BTreeSet<String>, now: Timestamp) -> Result<TenantPolicy, Rejection> {
    let spec = &object.spec;
    let namespaces = namespaces(object, reserved).collect::<Result<BTreeSet<_>, _>>()?;

    let mut levels: BTreeMap<ActionKind, Level> = BTreeMap::new();
    for (index, entry) in spec.automation.iter().enumerate() {
        for action in &entry.actions {
            if levels.insert(action_kind(*action), level(entry.level)).is_some() {
                let field = format!("spec.automation[{index}].actions");
                return Err(Rejection::field(field, action, "each action may be listed once only"));
            }
        }
    }

    let levels_restored = super::instant(&object.metadata, ANNOTATION_LEVELS_RESTORED_AT)?;
    let own = |field: &str, value: Option<i32>, most: i64| {
        value.map(|value| seconds(field, value, 1, most)).transpose()
    };
    let window = spec.verification.window_seconds;
    Ok(TenantPolicy {
        name: TenantName::new(object.metadata.name.as_deref().unwrap_or_default()),
        uid: Uid::new(object.metadata.uid.as_deref().unwrap_or_default()),
        generation: object.metadata.generation.unwrap_or(0),
        namespaces,
        levels,
        limits: limits(object)?,
        own_evidence_age: own("spec.evidenceMaximumAgeSeconds", spec.evidence_maximum_age_seconds, 3_600)?,
        own_storm_calm: own("spec.stormCalmSeconds", spec.storm_calm_seconds, 86_400)?,
        verification: seconds("spec.verification.windowSeconds", window, 1, 86_400)?,
        freezes: freezes(&spec.freezes, now)?,
        approvers: spec.approvers.iter().map(subject).collect(),
        owners: spec.owners.iter().map(subject).collect(),
        approval_timeout: seconds("spec.approval.timeoutSeconds", spec.approval.timeout_seconds, 60, 86_400)?,
        caps: caps(object, levels_restored, now),
        levels_restored,
        closed_kept: closed_kept(object)?,
        quota: spec.quota.as_ref().map(quota).transpose()?,
        prices: spec.prices.as_ref().map(prices).transpose()?,
        paused: spec.paused,
        do_not_touch_until: super::instant(&object.metadata, ANNOTATION_DO_NOT_TOUCH_UNTIL)?,
    })
}

/// What is not readable is an error, not "no limit".
fn quota(quota: &Quota) -> Result<Amounts, Rejection> {
    let amount = |field: &str, text: Option<&Quantity>, read: fn(&Quantity) -> Option<u64>| {
        let Some(text) = text else { return Ok(None) };
        match read(text) {
            Some(amount) if amount > 0 => Ok(Some(amount)),
            _ => {
                let rule = "it must be an amount above zero such as 8 or 16Gi";
                Err(Rejection::field(format!("spec.quota.{field}"), format!("`{text}`"), rule))
            }
        }
    };
    Ok(Amounts {
        cpu_millis: amount("cpu", quota.cpu.as_ref(), in_millis)?,
        memory_bytes: amount("memory", quota.memory.as_ref(), in_bytes)?,
    })
}

/// What is not readable is an error, not "it costs nothing".
fn prices(prices: &WirePrices) -> Result<Prices, Rejection> {
    let read = |field: &str, text: Option<&String>| {
        let Some(text) = text else { return Ok(None) };
        let price = text.parse::<f64>().ok().filter(|price| (0.0..=4_000.0).contains(price));
        price.and_then(|price| millionths(&format!("{price:.6}"))).map(Some).ok_or_else(|| {
            let rule = "it must be a price of an hour from 0 to 4000 such as 0.04";
            Rejection::field(format!("spec.prices.{field}"), format!("`{text}`"), rule)
        })
    };
    Ok(Prices {
        currency: Name::from(prices.currency.as_str()),
        core_hour: read("cpuCoreHour", prices.cpu_core_hour.as_ref())?,
        gibibyte_hour: read("memoryGibibyteHour", prices.memory_gibibyte_hour.as_ref())?,
        downtime_hour: prices.downtime_hour.as_deref().map(downtime_hour).transpose()?,
    })
}

fn downtime_hour(text: &str) -> Result<u64, Rejection> {
    let price = text.parse::<f64>().ok().filter(|price| (0.0..=1e9).contains(price));
    price.map(|price| (price * 1e6).round() as u64).ok_or_else(|| {
        let rule = "it must be a price of an hour without service from 0 to 1000000000 such as 2500";
        Rejection::field("spec.prices.downtimeHour", format!("`{text}`"), rule)
    })
}

/// A decimal text without an exponent, in millionths.
fn millionths(text: &str) -> Option<u32> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part: String = part.chars().chain("000000".chars()).take(6).collect();
    let whole = whole.parse::<u32>().ok()?.checked_mul(1_000_000)?;
    whole.checked_add(part.parse::<u32>().ok()?)
}

/// What was lowered, as the status has it, without what a person restored since.
fn caps(object: &Tenant, restored: Option<Timestamp>, now: Timestamp) -> BTreeMap<ActionKind, LevelCap> {
    // What is to come restores nothing, nor keeps anything from being lowered until then.
    let restored = restored.filter(|restored| *restored <= now);
    let all = object.status.iter().flat_map(|status| &status.level_caps);
    let standing = all.filter(|cap| restored.is_none_or(|restored| cap.since.timestamp() > restored));
    let cap = |cap: &WireCap| LevelCap {
        level: level(cap.level),
        since: cap.since.timestamp(),
        reason: Name::from(cap.reason.as_str()),
    };
    standing.map(|one| (action_kind(one.action), cap(one))).collect()
}

fn scaling(wire: &WireScaling) -> Result<ScalingLimits, Rejection> {
    let field = |name: &str| format!("spec.scaling.{name}");
    let number = |name: &str, value: i32, low: i64, high: i64| bounded(&field(name), value, low, high);
    let time = |name: &str, value: i32| seconds(&field(name), value, 0, 86_400);
    let limits = ScalingLimits {
        in_flight_per_tenant: number("changesInFlight", wire.changes_in_flight, 0, 1_000)?,
        per_workload_hour: number("changesPerWorkloadHour", wire.changes_per_workload_hour, 0, 1_000)?,
        per_tenant_hour: number("changesPerHour", wire.changes_per_hour, 0, 100_000)?,
        cooldown_down: time("waitBeforeDownSeconds", wire.wait_before_down_seconds)?,
        cooldown_hurt: time("waitAfterHarmSeconds", wire.wait_after_harm_seconds)?,
        increase_percent: number("increasePercent", wire.increase_percent, 1, 100)?,
        decrease_percent: number("decreasePercent", wire.decrease_percent, 1, 50)?,
    };
    if limits.per_workload_hour > limits.per_tenant_hour {
        let rule = format!("it must not exceed changesPerHour ({})", limits.per_tenant_hour);
        return Err(Rejection::field(field("changesPerWorkloadHour"), limits.per_workload_hour, rule));
    }
    Ok(limits)
}

/// A finding that does not exist is an error, not "as usual": somebody wanted us to wait.
fn hysteresis(wire: &[WireHysteresis]) -> Result<Hysteresis, Rejection> {
    let mut times = BTreeMap::new();
    for (index, entry) in wire.iter().enumerate() {
        let field = |name: &str| format!("spec.hysteresis[{index}].{name}");
        let shown = || format!("`{}`", entry.finding);
        let Some(kind) = FindingKind::from_name(&entry.finding) else {
            let known = FindingKind::ALL.map(FindingKind::name).join(", ");
            return Err(Rejection::field(field("finding"), shown(), format!("it must be one of {known}")));
        };
        let longest = Hysteresis::LONGEST.as_secs();
        let time = seconds(&field("minimumSeconds"), entry.minimum_seconds, 0, longest)?;
        if times.insert(kind, time).is_some() {
            return Err(Rejection::field(field("finding"), shown(), "each finding may be listed once only"));
        }
    }
    Ok(Hysteresis::new(times))
}

fn limits(object: &Tenant) -> Result<GuardLimits, Rejection> {
    let spec = &object.spec;
    let (budgets, cooldown, breaker) = (&spec.budgets, &spec.cooldown, &spec.breaker);
    let limits = GuardLimits {
        in_flight_per_workload: bounded(
            "spec.budgets.actionsInFlightPerWorkload",
            budgets.actions_in_flight_per_workload,
            0,
            10,
        )?,
        in_flight_per_tenant: bounded("spec.budgets.actionsInFlight", budgets.actions_in_flight, 0, 100)?,
        per_workload_hour: bounded(
            "spec.budgets.actionsPerWorkloadHour",
            budgets.actions_per_workload_hour,
            0,
            1_000,
        )?,
        per_tenant_hour: bounded("spec.budgets.actionsPerHour", budgets.actions_per_hour, 0, 10_000)?,
        percent_per_10_minutes: bounded(
            "spec.budgets.percentOfWorkloadsPer10Minutes",
            budgets.percent_of_workloads_per_10_minutes,
            0,
            100,
        )?,
        storm_percent: bounded("spec.stormPercent", spec.storm_percent, 1, 100)?,
        cooldown_success: seconds(
            "spec.cooldown.afterSuccessSeconds",
            cooldown.after_success_seconds,
            0,
            86_400,
        )?,
        cooldown_failure: seconds(
            "spec.cooldown.afterFailureSeconds",
            cooldown.after_failure_seconds,
            0,
            86_400,
        )?,
        // New objects may say a day at most; what was stored before was allowed a week, and is heeded as a day.
        cooldown_maximum: seconds("spec.cooldown.maximumSeconds", cooldown.maximum_seconds, 0, 604_800)?
            .min(SignedDuration::from_hours(24)),
        breaker_workload_failures: bounded(
            "spec.breaker.workloadFailuresPerDay",
            breaker.workload_failures_per_day,
            1,
            1_000,
        )?,
        breaker_tenant_percent: bounded(
            "spec.breaker.percentOfLastTwenty",
            breaker.percent_of_last_twenty,
            1,
            100,
        )?,
        hysteresis: hysteresis(&spec.hysteresis)?,
        replica_step: ReplicaStep::new(
            bounded("spec.replicaStep.increasePercent", spec.replica_step.increase_percent, 0, 1_000)?,
            bounded("spec.replicaStep.decreasePercent", spec.replica_step.decrease_percent, 0, 100)?,
        ),
        scaling: scaling(&spec.scaling)?,
        // Its evidence and its storms are as the ControlPlane says, or more careful.
        ..GuardLimits::default()
    };
    for (field, value, limit, name) in [
        (
            "spec.budgets.actionsPerWorkloadHour",
            limits.per_workload_hour,
            limits.per_tenant_hour,
            "actionsPerHour",
        ),
        (
            "spec.budgets.actionsInFlightPerWorkload",
            limits.in_flight_per_workload,
            limits.in_flight_per_tenant,
            "actionsInFlight",
        ),
    ] {
        if value > limit {
            return Err(Rejection::field(field, value, format!("it must not exceed {name} ({limit})")));
        }
    }
    if limits.cooldown_success > limits.cooldown_maximum || limits.cooldown_failure > limits.cooldown_maximum
    {
        let rule = "afterSuccessSeconds and afterFailureSeconds must not exceed it";
        return Err(Rejection::field("spec.cooldown.maximumSeconds", cooldown.maximum_seconds, rule));
    }
    Ok(limits)
}

/// Kind and name as the API server authenticates them.
fn subject(subject: &Subject) -> (Name, Name) {
    match subject.kind {
        SubjectKind::User => (Name::from("User"), Name::from(subject.name.as_str())),
        SubjectKind::Group => (Name::from("Group"), Name::from(subject.name.as_str())),
        SubjectKind::ServiceAccount => {
            let namespace = subject.namespace.as_deref().unwrap_or_default();
            let user = format!("system:serviceaccount:{namespace}:{}", subject.name);
            (Name::from("User"), Name::from(user))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn policy(spec: &Value) -> Result<TenantPolicy, Rejection> {
        let object: Tenant = serde_json::from_value(json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "Tenant",
            "metadata": { "name": "food", "uid": "u", "generation": 2 }, "spec": spec }))
        .unwrap();
        tenant_policy(&object, &BTreeSet::from(["ours".to_owned()]), now())
    }

    #[test]
    fn one_line_is_a_tenant_with_the_shipped_limits() {
        let food = policy(&json!({ "namespaces": ["shop"] })).unwrap();
        assert_eq!(food.limits, GuardLimits::default());
        assert_eq!(food.level(ActionKind::EvictPod), Level::Recommend);
        assert_eq!(food.verification.as_secs(), 30);
        assert!(!food.paused);
    }

    #[test]
    fn prices_are_kept_in_millionths_and_say_what_a_month_costs() {
        let priced = |prices: &Value| policy(&json!({ "namespaces": ["shop"], "prices": prices }));
        let food =
            priced(&json!({ "currency": "EUR", "cpuCoreHour": "4e-2", "memoryGibibyteHour": "0.005" }));
        let prices = food.unwrap().prices.unwrap();
        assert_eq!((prices.core_hour, prices.gibibyte_hour), (Some(40_000), Some(5_000)));
        assert_eq!(prices.month(2.0, 4.0).unwrap(), "73.00 EUR a month");
        let half = priced(&json!({ "currency": "EUR", "cpuCoreHour": "1" })).unwrap().prices.unwrap();
        assert_eq!(half.month(0.0, 1.0), None, "memory has no price");
        assert_eq!(half.month(1.0, 0.0).unwrap(), "730.00 EUR a month");
        let dear = priced(&json!({ "currency": "EUR", "downtimeHour": "2500" })).unwrap().prices.unwrap();
        assert_eq!(dear.downtime(36.0), Some(25.0));
        let error = priced(&json!({ "currency": "EUR", "downtimeHour": "-1" })).unwrap_err().to_string();
        assert!(error.contains("spec.prices.downtimeHour") && error.contains("2500"), "{error}");
        for bad in ["-1", "4001"] {
            let error = priced(&json!({ "currency": "EUR", "cpuCoreHour": bad })).unwrap_err().to_string();
            assert!(error.contains("spec.prices.cpuCoreHour") && error.contains("0.04"), "{error}");
        }
    }

    #[test]
    fn the_replica_step_lowers_what_ships_and_never_raises_it() {
        for (up, down, expected) in [(0, 0, (0, 0)), (50, 10, (50, 10)), (1_000, 100, (100, 20))] {
            let step = json!({ "increasePercent": up, "decreasePercent": down });
            let food = policy(&json!({ "namespaces": ["shop"], "replicaStep": step })).unwrap();
            let step = food.limits.replica_step;
            assert_eq!((step.up(), step.down()), expected);
        }
        let below = json!({ "namespaces": ["shop"], "replicaStep": { "decreasePercent": -1 } });
        assert!(policy(&below).unwrap_err().to_string().contains("spec.replicaStep.decreasePercent"));
    }

    #[test]
    fn findings_may_have_to_last_longer_than_what_ships_and_never_less() {
        let with = |list: &Value| policy(&json!({ "namespaces": ["shop"], "hysteresis": list }));
        let list = json!([{ "finding": "NotReady", "minimumSeconds": 60 }, { "finding": "Slow", "minimumSeconds": 0 }]);
        let hysteresis = with(&list).unwrap().limits.hysteresis;
        assert_eq!(hysteresis.minimum(FindingKind::NotReady).as_secs(), 60);
        assert_eq!(hysteresis.minimum(FindingKind::Slow), FindingKind::Slow.minimum_duration());
        for (list, text) in [
            (
                json!([{ "finding": "notReady", "minimumSeconds": 1 }]),
                "spec.hysteresis[0].finding is `notReady`",
            ),
            (
                json!([{ "finding": "Slow", "minimumSeconds": 601 }]),
                "spec.hysteresis[0].minimumSeconds is 601, but it must be between 0 and 600",
            ),
            (
                json!([{ "finding": "Slow", "minimumSeconds": 2 }, { "finding": "Slow", "minimumSeconds": 3 }]),
                "spec.hysteresis[1].finding is `Slow`",
            ),
        ] {
            let error = with(&list).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }

    #[test]
    fn levels_freezes_and_approvers_are_taken_over() {
        let food = policy(&json!({
            "namespaces": ["a"],
            "automation": [{ "actions": ["EvictPod", "RollingRestart"], "level": "ActBounded" },
                           { "actions": ["RollBack"], "level": "Approve" }],
            "freezes": [{ "name": "night", "schedule": "0 18 * * 5", "durationSeconds": 3600 }],
            "approvers": [{ "kind": "Group", "name": "sre" },
                          { "kind": "ServiceAccount", "name": "bot", "namespace": "ops" }],
        }))
        .unwrap();
        assert_eq!(food.level(ActionKind::RollingRestart), Level::ActBounded);
        assert_eq!(food.level(ActionKind::RollBack), Level::Approve);
        assert_eq!(&*food.freezes[0].time_zone, "UTC");
        assert_eq!(&*food.approvers[1].1, "system:serviceaccount:ops:bot");
    }

    #[test]
    fn what_was_lowered_stays_until_a_person_restores_it() {
        let tenant = |restored: Option<&str>| {
            let mut object: Tenant = serde_json::from_value(serde_json::json!({
                "apiVersion": "homeostat.dev/v1alpha1", "kind": "Tenant", "metadata": { "name": "food" },
                "spec": { "namespaces": ["shop"], "approval": { "timeoutSeconds": 120 },
                          "automation": [{ "actions": ["EvictPod"], "level": "ActBounded" }] },
                "status": { "levelCaps": [{ "action": "EvictPod", "level": "Approve",
                            "since": "2026-11-22T09:00:00.000000Z", "reason": "failed" }] },
            }))
            .unwrap();
            let annotation = |at: &str| ("homeostat.dev/levels-restored-at".to_owned(), at.to_owned());
            object.metadata.annotations = restored.map(|at| [annotation(at)].into());
            tenant_policy(&object, &BTreeSet::new(), now())
        };
        let evict = |restored| tenant(restored).map(|policy| policy.level(ActionKind::EvictPod));
        assert_eq!(evict(None), Ok(Level::Approve));
        assert_eq!(evict(Some("2026-11-22T08:59:59Z")), Ok(Level::Approve), "before it was lowered");
        assert_eq!(evict(Some("2026-11-22T09:00:00Z")), Ok(Level::ActBounded));
        assert_eq!(evict(Some("2026-11-22T12:00:01Z")), Ok(Level::Approve), "that is to come");
        assert!(evict(Some("now")).is_err(), "what cannot be read restores nothing");
        assert_eq!(tenant(None).unwrap().approval_timeout, homeostat_knowledge::SignedDuration::from_mins(2));
    }

    #[test]
    fn the_platform_tenant_holds_our_own_namespace_and_nothing_else() {
        let platform = |namespace: &str| {
            let object: Tenant = serde_json::from_value(json!({
                "apiVersion": "homeostat.dev/v1alpha1", "kind": "Tenant",
                "metadata": { "name": homeostat_crds::v1alpha1::tenant::PLATFORM },
                "spec": { "namespaces": [namespace] } }))
            .unwrap();
            tenant_policy(&object, &BTreeSet::from(["ours".to_owned()]), now()).is_ok()
        };
        assert!(platform("ours") && !platform("shop") && !platform("kube-system"));
        assert_eq!(PLATFORM_TENANT, homeostat_crds::v1alpha1::tenant::PLATFORM);
    }

    #[test]
    fn an_invalid_one_keeps_what_it_may_own_under_a_pause_and_nothing_else() {
        let kept = |spec: &Value| match policy(spec).unwrap_err() {
            Rejection::Claiming { claim: Claim::Namespaces(kept), .. } => Some(kept),
            _ => None,
        };
        let food = kept(&json!({
            "namespaces": ["shop", "kube-system", "ours", "*", "cafe"],
            "automation": [{ "actions": ["EvictPod"], "level": "ActFull" },
                           { "actions": ["ScaleUp"], "level": "Observe" }],
            "retention": { "closedSeconds": 7_776_000 },
        }))
        .unwrap();
        assert_eq!(food.namespaces, BTreeSet::from(["cafe", "shop"].map(Name::from)));
        assert!(food.paused);
        assert_eq!(food.level(ActionKind::EvictPod), Level::Recommend);
        assert_eq!(food.level(ActionKind::ScaleUp), Level::Observe);
        assert_eq!(food.closed_kept.as_secs(), 7_776_000, "no record goes earlier for it");
        let unread = kept(&json!({ "namespaces": ["shop"], "retention": { "closedSeconds": 1 } })).unwrap();
        assert_eq!(unread.closed_kept.as_secs(), LONGEST_KEPT);
        assert_eq!(kept(&json!({ "namespaces": ["kube-system", "ours"] })), None);
    }

    #[test]
    fn a_longest_cool_down_that_was_allowed_once_is_heeded_as_a_day() {
        let stored = json!({ "namespaces": ["a"], "cooldown": { "maximumSeconds": 604_800 } });
        assert_eq!(policy(&stored).unwrap().limits.cooldown_maximum, SignedDuration::from_hours(24));
    }

    #[test]
    fn the_field_and_the_limit_are_named() {
        for (spec, text) in [
            (json!({ "namespaces": ["kube-system"] }), "spec.namespaces[0] is `kube-system`"),
            (json!({ "namespaces": ["a", "ours"] }), "spec.namespaces[1] is `ours`"),
            (json!({ "namespaces": ["*"] }), "spec.namespaces[0] is `*`"),
            (
                json!({ "namespaces": ["a"], "budgets": { "actionsPerHour": 2, "actionsPerWorkloadHour": 3 } }),
                "spec.budgets.actionsPerWorkloadHour is 3, but it must not exceed actionsPerHour (2)",
            ),
            (
                json!({ "namespaces": ["a"], "automation": [{ "actions": ["EvictPod"], "level": "Observe" },
                        { "actions": ["EvictPod"], "level": "ActFull" }] }),
                "spec.automation[1].actions is EvictPod",
            ),
            (
                json!({ "namespaces": ["a"], "freezes": [{ "name": "x", "schedule": "0 0 * * *",
                        "timeZone": "Mars/Olympus", "durationSeconds": 60 }] }),
                "spec.freezes[0].timeZone is `Mars/Olympus`",
            ),
            (json!({ "namespaces": ["a"], "stormPercent": 101 }), "spec.stormPercent is 101"),
            (
                json!({ "namespaces": ["a"], "cooldown": { "maximumSeconds": 604_801 } }),
                "spec.cooldown.maximumSeconds is 604801, but it must be between 0 and 604800",
            ),
        ] {
            let error = policy(&spec).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }
}
