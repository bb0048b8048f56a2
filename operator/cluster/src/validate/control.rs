//! `ControlPlane` becomes the control policy, and the defaults that every tenant's limits build on.

use super::{LABEL, Rejection, bounded, level, object_name, seconds};
use homeostat_crds::MicroTime;
use homeostat_crds::common::ANNOTATION_BREAKER_RESET_AT;
use homeostat_crds::v1alpha1::{ControlPlane, control_plane};
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::policy::{BreakerLatch, KillSwitch, PrometheusPolicy, ProtectedPolicy, SecretKey};
use homeostat_knowledge::{ControlPolicy, GuardLimits, Name, SignedDuration, TenantPolicy};

/// What the `ControlPlane` sets for every tenant, and what no tenant's own limits can undercut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantDefaults {
    /// Calm time before a storm is over.
    pub storm_calm: SignedDuration,
    /// Longest age of evidence at the moment of the effect.
    pub evidence_maximum_age: SignedDuration,
    /// Least wait after an action that helped.
    pub cooldown_success: SignedDuration,
    /// Least wait after an action that did not help.
    pub cooldown_failure: SignedDuration,
    /// Most failed verifications of one workload in 24 h before its breaker opens.
    pub breaker_workload_failures: u32,
    /// Largest share of a tenant's last 20 actions that failed before its breaker opens, percent.
    pub breaker_tenant_percent: u32,
    /// Most repairs under way per workload.
    pub in_flight_per_workload: u32,
    /// Most repairs under way per tenant.
    pub in_flight_per_tenant: u32,
    /// Most repairs per workload and hour.
    pub per_workload_hour: u32,
    /// Most repairs per tenant and hour.
    pub per_tenant_hour: u32,
    /// Largest share of a tenant's workloads that repairs touch per 10 minutes, percent.
    pub percent_per_10_minutes: u32,
    /// Shortest verification window.
    pub verification: SignedDuration,
    /// Longest time within which an action may be approved.
    pub approval_timeout: SignedDuration,
}

impl Default for TenantDefaults {
    /// What ships: it holds also while the `ControlPlane` cannot be read.
    fn default() -> Self {
        let limits = GuardLimits::default();
        Self {
            storm_calm: limits.storm_calm,
            evidence_maximum_age: limits.evidence_maximum_age,
            cooldown_success: limits.cooldown_success,
            cooldown_failure: limits.cooldown_failure,
            breaker_workload_failures: limits.breaker_workload_failures,
            breaker_tenant_percent: limits.breaker_tenant_percent,
            // Most that a Tenant's own fields can say.
            in_flight_per_workload: 10,
            in_flight_per_tenant: 100,
            per_workload_hour: 1_000,
            per_tenant_hour: 10_000,
            percent_per_10_minutes: 100,
            verification: SignedDuration::from_secs(1),
            approval_timeout: SignedDuration::from_hours(24),
        }
    }
}

impl TenantDefaults {
    /// A tenant's policy as it counts: what would allow more than the `ControlPlane` does counts as what that says.
    pub(crate) fn hold(&self, policy: TenantPolicy) -> TenantPolicy {
        let (own_age, own_calm) = (policy.own_evidence_age, policy.own_storm_calm);
        TenantPolicy {
            limits: GuardLimits {
                storm_calm: own_calm.map_or(self.storm_calm, |own| own.max(self.storm_calm)),
                evidence_maximum_age: own_age
                    .map_or(self.evidence_maximum_age, |own| own.min(self.evidence_maximum_age)),
                ..self.limits(policy.limits)
            },
            verification: policy.verification.max(self.verification),
            approval_timeout: policy.approval_timeout.min(self.approval_timeout),
            ..policy
        }
    }

    fn limits(&self, limits: GuardLimits) -> GuardLimits {
        let cooldown_success = limits.cooldown_success.max(self.cooldown_success);
        let cooldown_failure = limits.cooldown_failure.max(self.cooldown_failure);
        GuardLimits {
            in_flight_per_workload: limits.in_flight_per_workload.min(self.in_flight_per_workload),
            in_flight_per_tenant: limits.in_flight_per_tenant.min(self.in_flight_per_tenant),
            per_workload_hour: limits.per_workload_hour.min(self.per_workload_hour),
            per_tenant_hour: limits.per_tenant_hour.min(self.per_tenant_hour),
            percent_per_10_minutes: limits.percent_per_10_minutes.min(self.percent_per_10_minutes),
            cooldown_success,
            cooldown_failure,
            // A longest wait below them would cut both again.
            cooldown_maximum: limits.cooldown_maximum.max(cooldown_success).max(cooldown_failure),
            breaker_workload_failures: limits.breaker_workload_failures.min(self.breaker_workload_failures),
            breaker_tenant_percent: limits.breaker_tenant_percent.min(self.breaker_tenant_percent),
            ..limits
        }
    }
}

/// The policy of the `ControlPlane` object, or the field that makes it unusable. An unusable one must be treated
/// like a missing one: no effects.
pub fn control_policy(object: &ControlPlane) -> Result<ControlPolicy, Rejection> {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    if name != control_plane::NAME {
        let rule = format!("it must be `{}`", control_plane::NAME);
        return Err(Rejection::field("metadata.name", format!("`{name}`"), rule));
    }
    let spec = &object.spec;
    let prometheus = spec
        .sources
        .prometheus
        .as_ref()
        .map(|prometheus| {
            let interval =
                seconds("spec.sources.prometheus.intervalSeconds", prometheus.interval_seconds, 1, 3_600)?;
            let timeout =
                seconds("spec.sources.prometheus.timeoutSeconds", prometheus.timeout_seconds, 1, 300)?;
            if timeout > interval {
                return Err(Rejection::field(
                    "spec.sources.prometheus.timeoutSeconds",
                    prometheus.timeout_seconds,
                    format!("it must not exceed intervalSeconds ({})", prometheus.interval_seconds),
                ));
            }
            if !(prometheus.url.starts_with("http://") || prometheus.url.starts_with("https://")) {
                return Err(Rejection::field(
                    "spec.sources.prometheus.url",
                    format!("`{}`", prometheus.url),
                    "it must begin with http:// or https://",
                ));
            }
            let token = prometheus.bearer_token_from.as_ref().map(|from| SecretKey {
                secret: Name::from(from.secret_key_ref.name.as_str()),
                key: Name::from(from.secret_key_ref.key.as_str()),
            });
            Ok(PrometheusPolicy { url: Name::from(prometheus.url.as_str()), interval, timeout, token })
        })
        .transpose()?;
    let reset = super::instant(&object.metadata, ANNOTATION_BREAKER_RESET_AT)?;
    // A limit on the defaults is checked with the rest, so that a broken object has no half effect.
    tenant_defaults(object)?;
    let ceilings = &spec.ceilings;
    Ok(ControlPolicy {
        uid: Uid::new(object.metadata.uid.as_deref().unwrap_or_default()),
        generation: object.metadata.generation.unwrap_or(0),
        kill_switch: kill_switch(object),
        ceiling: level(ceilings.level),
        in_flight: bounded("spec.ceilings.actionsInFlight", ceilings.actions_in_flight, 0, 1_000)?,
        per_hour: bounded("spec.ceilings.actionsPerHour", ceilings.actions_per_hour, 0, 100_000)?,
        scaling_in_flight: bounded(
            "spec.ceilings.scaling.changesInFlight",
            ceilings.scaling.changes_in_flight,
            0,
            1_000,
        )?,
        scaling_per_hour: bounded(
            "spec.ceilings.scaling.changesPerHour",
            ceilings.scaling.changes_per_hour,
            0,
            100_000,
        )?,
        runs_in_flight: bounded(
            "spec.ceilings.runs.actionsInFlight",
            ceilings.runs.actions_in_flight,
            0,
            1_000,
        )?,
        runs_per_hour: bounded(
            "spec.ceilings.runs.actionsPerHour",
            ceilings.runs.actions_per_hour,
            0,
            100_000,
        )?,
        nodes_in_flight: bounded("spec.ceilings.nodesInFlight", ceilings.nodes_in_flight, 0, 100)?
            .min(ControlPolicy::MOST_NODES),
        cordoned_percent: bounded(
            "spec.ceilings.cordonedNodesPercent",
            ceilings.cordoned_nodes_percent,
            0,
            100,
        )?
        .min(ControlPolicy::MOST_CORDONED),
        storm_percent: bounded("spec.ceilings.stormPercent", ceilings.storm_percent, 1, 100)?,
        breaker_failures: bounded(
            "spec.breaker.failedVerificationsPer15Minutes",
            spec.breaker.failed_verifications_per_15_minutes,
            1,
            1_000,
        )?,
        breaker: BreakerLatch { reset, ..latch(object) },
        warm_up: seconds("spec.warmUpSeconds", spec.warm_up_seconds, 0, 3_600)?,
        prometheus,
        protected: protected(&spec.protected)?,
    })
}

/// A name that nothing can have protects nothing, so it is told.
fn protected(given: &control_plane::Protected) -> Result<ProtectedPolicy, Rejection> {
    for namespace in &given.namespaces {
        object_name("spec.protected.namespaces", namespace, LABEL, "it must be the name of a namespace")?;
    }
    if given.labels.iter().any(|label| label.key.is_empty()) {
        return Err(Rejection::field("spec.protected.labels", "without a key", "each must have a key"));
    }
    let label = |label: &control_plane::ProtectedLabel| {
        (Name::from(label.key.as_str()), label.value.as_deref().map(Name::from))
    };
    Ok(ProtectedPolicy {
        namespaces: given.namespaces.iter().map(|namespace| Name::from(namespace.as_str())).collect(),
        labels: given.labels.iter().map(label).collect(),
    })
}

/// What is stored of the breaker; also of an object whose spec cannot be used.
pub fn latch(object: &ControlPlane) -> BreakerLatch {
    let opened =
        object.status.as_ref().and_then(|status| status.breaker_open_since).map(MicroTime::timestamp);
    // An unreadable instant resets nothing.
    let reset = super::instant(&object.metadata, ANNOTATION_BREAKER_RESET_AT).ok().flatten();
    BreakerLatch { opened, reset }
}

/// What the object sets for every tenant.
pub fn tenant_defaults(object: &ControlPlane) -> Result<TenantDefaults, Rejection> {
    let spec = &object.spec;
    let ceilings = &spec.ceilings;
    let (cooldown, breaker, budgets) = (&ceilings.cooldown, &ceilings.breaker, &ceilings.budgets);
    let budget = |field: &str, value: i32, most: i64| {
        bounded(&format!("spec.ceilings.budgets.{field}"), value, 0, most)
    };
    let wait =
        |field: &str, value: i32| seconds(&format!("spec.ceilings.cooldown.{field}"), value, 0, 86_400);
    Ok(TenantDefaults {
        storm_calm: seconds("spec.storm.calmSeconds", spec.storm.calm_seconds, 1, 86_400)?,
        evidence_maximum_age: seconds(
            "spec.evidenceMaximumAgeSeconds",
            spec.evidence_maximum_age_seconds,
            1,
            3_600,
        )?,
        cooldown_success: wait("afterSuccessSeconds", cooldown.after_success_seconds)?,
        cooldown_failure: wait("afterFailureSeconds", cooldown.after_failure_seconds)?,
        breaker_workload_failures: bounded(
            "spec.ceilings.breaker.workloadFailuresPerDay",
            breaker.workload_failures_per_day,
            1,
            1_000,
        )?,
        breaker_tenant_percent: bounded(
            "spec.ceilings.breaker.percentOfLastTwenty",
            breaker.percent_of_last_twenty,
            1,
            100,
        )?,
        in_flight_per_workload: budget(
            "actionsInFlightPerWorkload",
            budgets.actions_in_flight_per_workload,
            10,
        )?,
        in_flight_per_tenant: budget("actionsInFlight", budgets.actions_in_flight, 100)?,
        per_workload_hour: budget("actionsPerWorkloadHour", budgets.actions_per_workload_hour, 1_000)?,
        per_tenant_hour: budget("actionsPerHour", budgets.actions_per_hour, 10_000)?,
        percent_per_10_minutes: budget(
            "percentOfWorkloadsPer10Minutes",
            budgets.percent_of_workloads_per_10_minutes,
            100,
        )?,
        verification: seconds(
            "spec.ceilings.verification.windowSeconds",
            ceilings.verification.window_seconds,
            1,
            86_400,
        )?,
        approval_timeout: seconds(
            "spec.ceilings.approval.timeoutSeconds",
            ceilings.approval.timeout_seconds,
            60,
            86_400,
        )?,
    })
}

/// The kill switch as an effect may stand on it. An object that cannot be used does not let anything pass: its ceilings
/// and its breaker are not known. An engaged switch comes first, for its reason.
pub(crate) fn effects_switch(object: &ControlPlane) -> Result<KillSwitch, Rejection> {
    match kill_switch(object) {
        KillSwitch::Off => control_policy(object).map(|policy| policy.kill_switch),
        stopped => Ok(stopped),
    }
}

fn kill_switch(object: &ControlPlane) -> KillSwitch {
    let switch = &object.spec.kill_switch;
    if !switch.engaged {
        return KillSwitch::Off;
    }
    KillSwitch::Engaged {
        reason: Name::from(switch.reason.as_deref().unwrap_or("no reason was given")),
        by: switch.by.as_deref().map(Name::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeostat_knowledge::{Level, TenantName};
    use serde_json::{Value, json};

    fn object(spec: &Value) -> ControlPlane {
        let text = json!({ "apiVersion": "homeostat.dev/v1alpha1", "kind": "ControlPlane",
            "metadata": { "name": "default", "uid": "u", "generation": 3 }, "spec": spec });
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn an_empty_spec_is_the_shipped_policy() {
        let policy = control_policy(&object(&json!({}))).unwrap();
        assert_eq!((policy.kill_switch, policy.ceiling), (KillSwitch::Off, Level::ActBounded));
        assert_eq!((policy.in_flight, policy.storm_percent, policy.breaker_failures), (10, 20, 3));
        assert_eq!((policy.warm_up.as_secs(), policy.generation), (60, 3));
    }

    #[test]
    fn ceilings_of_nodes_lower_what_ships_and_never_raise_it() {
        for (nodes, percent, expected) in [(0, 0, (0, 0)), (1, 5, (1, 5)), (100, 100, (1, 10))] {
            let spec = json!({ "ceilings": { "nodesInFlight": nodes, "cordonedNodesPercent": percent } });
            let policy = control_policy(&object(&spec)).unwrap();
            assert_eq!((policy.nodes_in_flight, policy.cordoned_percent), expected);
        }
        for field in ["nodesInFlight", "cordonedNodesPercent"] {
            let spec = json!({ "ceilings": { field: -1 } });
            assert!(control_policy(&object(&spec)).unwrap_err().to_string().contains(field));
        }
    }

    fn tenant(limits: GuardLimits) -> TenantPolicy {
        TenantPolicy {
            limits,
            ..TenantPolicy::new(TenantName::new("food"), Uid::new("t"), [Name::from("shop")])
        }
    }

    #[test]
    fn sizes_and_runs_of_the_cluster_are_limited_by_what_the_object_says() {
        let limits = |spec: &Value| {
            let policy = control_policy(&object(spec)).unwrap();
            let (sizes, runs) = (policy.scaling_in_flight, policy.runs_in_flight);
            (sizes, policy.scaling_per_hour, runs, policy.runs_per_hour)
        };
        assert_eq!(limits(&json!({})), (50, 3_000, 48, 20_000));
        let said = json!({ "ceilings": { "scaling": { "changesInFlight": 200, "changesPerHour": 0 },
            "runs": { "actionsInFlight": 5 } } });
        assert_eq!(limits(&said), (200, 0, 5, 20_000));
    }

    #[test]
    fn a_tenant_that_asks_for_more_than_the_ceilings_gets_what_they_say() {
        let lax = TenantPolicy {
            verification: SignedDuration::from_secs(1),
            approval_timeout: SignedDuration::from_hours(24),
            ..tenant(GuardLimits {
                in_flight_per_workload: 10,
                in_flight_per_tenant: 100,
                per_workload_hour: 1_000,
                per_tenant_hour: 10_000,
                percent_per_10_minutes: 100,
                ..GuardLimits::default()
            })
        };
        let unset = tenant_defaults(&object(&json!({}))).unwrap();
        assert_eq!(unset.hold(lax.clone()), lax, "what ships holds nobody back");
        let spec = json!({ "ceilings": {
            "budgets": { "actionsInFlightPerWorkload": 2, "actionsInFlight": 4, "actionsPerWorkloadHour": 6,
                         "actionsPerHour": 30, "percentOfWorkloadsPer10Minutes": 20 },
            "verification": { "windowSeconds": 15 }, "approval": { "timeoutSeconds": 1_200 } } });
        let ceilings = tenant_defaults(&object(&spec)).unwrap();
        let counts = |said: TenantPolicy| {
            let TenantPolicy { limits, verification, approval_timeout, .. } = ceilings.hold(said);
            let budgets = [
                limits.in_flight_per_workload,
                limits.in_flight_per_tenant,
                limits.per_workload_hour,
                limits.per_tenant_hour,
                limits.percent_per_10_minutes,
            ];
            (budgets, verification.as_secs(), approval_timeout.as_secs())
        };
        assert_eq!(counts(lax), ([2, 4, 6, 30, 20], 15, 1_200));
        // What is more careful stays.
        let careful = [1, 4, 3, 20, 5];
        let shipped = tenant(GuardLimits { in_flight_per_tenant: 4, ..GuardLimits::default() });
        assert_eq!(counts(shipped), (careful, 30, 900));
    }

    #[test]
    fn a_tenant_cannot_undercut_the_cool_downs_nor_be_laxer_than_the_breakers() {
        let shipped = tenant(GuardLimits::default());
        assert_eq!(tenant_defaults(&object(&json!({}))).unwrap().hold(shipped.clone()), shipped);
        let least = json!({ "ceilings": {
            "cooldown": { "afterSuccessSeconds": 60, "afterFailureSeconds": 120 },
            "breaker": { "workloadFailuresPerDay": 5, "percentOfLastTwenty": 40 } } });
        let ceilings = tenant_defaults(&object(&least)).unwrap();
        // (success, failure, longest wait, failures, percent), as a tenant says it and as it counts.
        for (said, counts) in [
            ((0, 0, 1, 1_000, 100), (60, 120, 120, 5, 40)),
            ((59, 121, 121, 6, 39), (60, 121, 121, 5, 39)),
            ((900, 3_600, 86_400, 2, 20), (900, 3_600, 86_400, 2, 20)),
        ] {
            let seconds = SignedDuration::from_secs;
            let held = ceilings.hold(tenant(GuardLimits {
                cooldown_success: seconds(said.0),
                cooldown_failure: seconds(said.1),
                cooldown_maximum: seconds(said.2),
                breaker_workload_failures: said.3,
                breaker_tenant_percent: said.4,
                ..GuardLimits::default()
            }));
            let held = held.limits;
            let waits = (
                held.cooldown_success.as_secs(),
                held.cooldown_failure.as_secs(),
                held.cooldown_maximum.as_secs(),
                held.breaker_workload_failures,
                held.breaker_tenant_percent,
            );
            assert_eq!(waits, counts);
        }
    }

    #[test]
    fn what_is_stored_of_the_breaker_is_read_also_when_the_spec_cannot_be_used() {
        let text = |at: &str, warm_up: i32| {
            serde_json::from_value::<ControlPlane>(json!({
                "apiVersion": "homeostat.dev/v1alpha1", "kind": "ControlPlane",
                "metadata": { "name": "default",
                    "annotations": { "homeostat.dev/breaker-reset-at": at } },
                "spec": { "warmUpSeconds": warm_up },
                "status": { "breakerOpenSince": "2026-11-22T09:00:00.000000Z" } }))
            .unwrap()
        };
        let stored = BreakerLatch {
            opened: "2026-11-22T09:00:00Z".parse().ok(),
            reset: "2026-11-22T10:00:00Z".parse().ok(),
        };
        assert_eq!(control_policy(&text("2026-11-22T10:00:00Z", 5)).unwrap().breaker, stored);
        assert_eq!(latch(&text("2026-11-22T10:00:00Z", -1)), stored);
        let unreadable = text("yesterday", 5);
        assert_eq!(latch(&unreadable), BreakerLatch { reset: None, ..stored });
        let told = control_policy(&unreadable).unwrap_err().to_string();
        assert!(told.contains("breaker-reset-at") && told.contains("yesterday"), "{told}");
    }

    #[test]
    fn an_engaged_kill_switch_keeps_its_reason() {
        let spec = json!({ "killSwitch": { "engaged": true, "reason": "maintenance", "by": "ada" } });
        let policy = control_policy(&object(&spec)).unwrap();
        let by = Some(Name::from("ada"));
        assert_eq!(policy.kill_switch, KillSwitch::Engaged { reason: Name::from("maintenance"), by });
    }

    #[test]
    fn what_people_protect_is_what_they_wrote() {
        assert_eq!(control_policy(&object(&json!({}))).unwrap().protected, ProtectedPolicy::default());
        let spec = json!({ "protected": { "namespaces": ["tapes"],
            "labels": [{ "key": "app", "value": "webhook" }, { "key": "example.com/keep" }] } });
        let policy = control_policy(&object(&spec)).unwrap().protected;
        assert_eq!(policy.namespaces.iter().map(|name| &**name).collect::<Vec<&str>>(), ["tapes"]);
        let webhook = (Name::from("app"), Some(Name::from("webhook")));
        assert_eq!(policy.labels, [webhook, (Name::from("example.com/keep"), None)]);
    }

    #[test]
    fn the_field_and_the_limit_are_named() {
        for (spec, field) in [
            (json!({ "warmUpSeconds": -1 }), "spec.warmUpSeconds"),
            (json!({ "ceilings": { "stormPercent": 0 } }), "spec.ceilings.stormPercent"),
            (json!({ "storm": { "calmSeconds": 0 } }), "spec.storm.calmSeconds"),
            (
                json!({ "ceilings": { "cooldown": { "afterFailureSeconds": -1 } } }),
                "spec.ceilings.cooldown.afterFailureSeconds is -1, but it must be between 0 and 86400",
            ),
            (
                json!({ "ceilings": { "breaker": { "percentOfLastTwenty": 0 } } }),
                "spec.ceilings.breaker.percentOfLastTwenty is 0, but it must be between 1 and 100",
            ),
            (
                json!({ "ceilings": { "budgets": { "percentOfWorkloadsPer10Minutes": 101 } } }),
                "spec.ceilings.budgets.percentOfWorkloadsPer10Minutes is 101, but it must be between 0 and 100",
            ),
            (
                json!({ "ceilings": { "verification": { "windowSeconds": 0 } } }),
                "spec.ceilings.verification.windowSeconds is 0, but it must be between 1 and 86400",
            ),
            (
                json!({ "ceilings": { "approval": { "timeoutSeconds": 59 } } }),
                "spec.ceilings.approval.timeoutSeconds is 59, but it must be between 60 and 86400",
            ),
            (
                json!({ "ceilings": { "scaling": { "changesInFlight": 1001 } } }),
                "spec.ceilings.scaling.changesInFlight is 1001, but it must be between 0 and 1000",
            ),
            (
                json!({ "ceilings": { "runs": { "actionsPerHour": -1 } } }),
                "spec.ceilings.runs.actionsPerHour is -1, but it must be between 0 and 100000",
            ),
            (
                json!({ "sources": { "prometheus": { "url": "http://p", "intervalSeconds": 5, "timeoutSeconds": 6 } } }),
                "spec.sources.prometheus.timeoutSeconds",
            ),
            (json!({ "sources": { "prometheus": { "url": "file:///etc" } } }), "spec.sources.prometheus.url"),
            (
                json!({ "protected": { "namespaces": ["tape storage"] } }),
                "spec.protected.namespaces is `tape",
            ),
            (json!({ "protected": { "labels": [{ "key": "" }] } }), "spec.protected.labels"),
        ] {
            let error = control_policy(&object(&spec)).unwrap_err();
            assert!(error.to_string().starts_with(field), "{error}");
        }
    }
}
