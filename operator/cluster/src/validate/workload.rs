//! `Workload` becomes the workload's policy.

use super::signals::{heartbeat, seen_at_zero, signals};
use super::{Claim, Rejection, SUBDOMAIN, bounded, decimal, object_name, runs};
use crate::ledger::{in_bytes, in_millis};
use homeostat_crds::Quantity;
use homeostat_crds::common::ANNOTATION_DO_NOT_TOUCH_UNTIL;
use homeostat_crds::v1alpha1::Workload;
use homeostat_crds::v1alpha1::workload::{
    Allowance as WireAllowance, Archetype as WireArchetype, Criticality, Dependency, DependencyKind,
    QuantityBounds, Scaling, ScalingMode as WireScalingMode, ScalingOwner,
};
use homeostat_knowledge::ids::Uid;
use homeostat_knowledge::policy::{
    Allowance, Archetype, BACKLOG, Bounds, CalendarEntry, DuePolicy, Fallback, LatencyObjective, LoadPolicy,
    Permits, ScalingMode, ScalingPolicy, WhenOwned,
};
use homeostat_knowledge::records::{ApiKind, ControllerKey};
use homeostat_knowledge::{ControllerKind, Name, ObjectKey, SignedDuration, WorkloadPolicy};

/// Largest amount that one replica may be said to carry.
const MOST_LOAD: f64 = 1e15;

/// The policy of a workload, or the field that makes it unusable, with the target that it keeps nevertheless. Whether its
/// target exists, is its alone, and belongs to a tenant is judged elsewhere, with the other objects.
pub fn workload_policy(object: &Workload) -> Result<WorkloadPolicy, Rejection> {
    let target = target_key(object)?;
    usable(object, target.clone()).map_err(|why| why.claiming(Claim::Target(target)))
}

/// What it targets.
fn target_key(object: &Workload) -> Result<ControllerKey, Rejection> {
    let target = &object.spec.target_ref;
    object_name("spec.targetRef.name", &target.name, SUBDOMAIN, "it must be the name of one object")?;
    let kind = ControllerKind::from_kind(&target.kind);
    if let Some((api_version, _)) = kind.api()
        && api_version != target.api_version
    {
        let rule = format!("a {} has the apiVersion {api_version}", target.kind);
        return Err(Rejection::field("spec.targetRef.apiVersion", format!("`{}`", target.api_version), rule));
    }
    if matches!(target.kind.as_str(), "Pod" | "Node" | "HorizontalPodAutoscaler") {
        let rule = "a Workload names what creates pods";
        return Err(Rejection::field("spec.targetRef.kind", format!("`{}`", target.kind), rule));
    }
    if kind == ControllerKind::ReplicaSet {
        let rule = "a Workload names what creates the pods: the Deployment of this ReplicaSet";
        return Err(Rejection::field("spec.targetRef.kind", "`ReplicaSet`", rule));
    }
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    Ok(ControllerKey { kind, object: ObjectKey::new(namespace, target.name.as_str()) })
}

fn usable(object: &Workload, target: ControllerKey) -> Result<WorkloadPolicy, Rejection> {
    let (metadata, spec) = (&object.metadata, &object.spec);
    for (index, playbook) in spec.playbooks.iter().enumerate() {
        object_name(
            &format!("spec.playbooks[{index}]"),
            playbook,
            SUBDOMAIN,
            "it must be the name of a Playbook",
        )?;
    }

    let objectives = spec.objectives.as_ref();
    let availability = objectives
        .and_then(|objectives| objectives.availability.as_deref())
        .map(|text| decimal("spec.objectives.availability", text, 0.0, 100.0).map(|percent| percent / 100.0))
        .transpose()?;
    let latency = objectives
        .and_then(|objectives| objectives.latency.as_ref())
        .map(|latency| {
            let milliseconds =
                bounded("spec.objectives.latency.milliseconds", latency.milliseconds, 1, 3_600_000)?;
            Ok(LatencyObjective {
                quantile: decimal("spec.objectives.latency.quantile", &latency.quantile, 0.0, 1.0)?,
                seconds: f64::from(milliseconds) / 1_000.0,
            })
        })
        .transpose()?;

    let name = Name::from(metadata.name.as_deref().unwrap_or_default());
    let key = ObjectKey { namespace: target.object.namespace.clone(), name };
    let (signals, permits) = (signals(spec)?, permits(object)?);
    seen_at_zero(&key, &signals, &permits)?;
    Ok(WorkloadPolicy {
        key,
        uid: Uid::new(metadata.uid.as_deref().unwrap_or_default()),
        generation: metadata.generation.unwrap_or(0),
        target_api: (target.kind == ControllerKind::Other).then(|| {
            Box::new(ApiKind {
                api_version: Name::from(spec.target_ref.api_version.as_str()),
                kind: Name::from(spec.target_ref.kind.as_str()),
            })
        }),
        target,
        archetype: match spec.archetype {
            WireArchetype::Service => Archetype::Service,
            WireArchetype::Worker => Archetype::Worker,
            WireArchetype::Batch => Archetype::Batch,
            WireArchetype::Edge => Archetype::Edge,
        },
        criticality: match spec.criticality {
            Criticality::Low => 250,
            Criticality::Normal => 500,
            Criticality::High => 750,
            Criticality::Critical => 1_000,
        },
        availability,
        latency,
        signals,
        heartbeat: heartbeat(spec)?,
        dependencies: spec.dependencies.iter().map(dependency).collect(),
        playbooks: spec.playbooks.iter().map(|name| Name::from(name.as_str())).collect(),
        paused: spec.paused,
        do_not_touch_until: super::instant(&object.metadata, ANNOTATION_DO_NOT_TOUCH_UNTIL)?,
        maximum_useless_restarts: bounded(
            "spec.restart.maximumUselessRestarts",
            spec.restart.maximum_useless_restarts,
            0,
            100,
        )?,
        surge_after_crash: spec.restart.surge_after_crash,
        permits,
    })
}

/// What is permitted beyond the ordinary. An unreadable bound is an error, not "no bound".
fn permits(object: &Workload) -> Result<Permits, Rejection> {
    let spec = &object.spec;
    let scaling = spec.scaling.as_ref();
    let replicas = scaling
        .and_then(|scaling| scaling.replicas.as_ref())
        .map(|replicas| {
            Ok::<_, Rejection>(Bounds {
                min: u64::from(bounded("spec.scaling.replicas.min", replicas.min, 0, 100_000)?),
                max: u64::from(bounded("spec.scaling.replicas.max", replicas.max, 1, 100_000)?),
            })
        })
        .transpose()?;
    let resources = scaling.and_then(|scaling| scaling.resources.as_ref());
    let amounts = |field: &str, bounds: Option<&QuantityBounds>, read: fn(&Quantity) -> Option<u64>| {
        bounds
            .map(|bounds| {
                let amount = |name: &str, quantity: &Quantity| {
                    read(quantity).ok_or_else(|| {
                        Rejection::field(
                            format!("spec.scaling.resources.{field}.{name}"),
                            format!("`{quantity}`"),
                            "it must be an amount such as 500m or 2Gi",
                        )
                    })
                };
                Ok::<_, Rejection>(Bounds {
                    min: amount("min", &bounds.min)?,
                    max: amount("max", &bounds.max)?,
                })
            })
            .transpose()
    };
    Ok(Permits {
        allow: spec
            .allow
            .iter()
            .map(|allowance| match allowance {
                WireAllowance::LocalData => Allowance::LocalData,
                WireAllowance::QuorumMember => Allowance::QuorumMember,
                WireAllowance::SingleReplica => Allowance::SingleReplica,
                WireAllowance::RollBackUnasked => Allowance::RollBackUnasked,
            })
            .collect(),
        repeatable: spec.repeatable,
        replicas,
        cpu_millis: amounts("cpu", resources.and_then(|resources| resources.cpu.as_ref()), in_millis)?,
        memory_bytes: amounts("memory", resources.and_then(|resources| resources.memory.as_ref()), in_bytes)?,
        container: resources.and_then(|resources| resources.container.as_deref()).map(Name::from),
        scaling: scaling.map(|scaling| scaling_policy(object, scaling)).transpose()?,
        runs: scaling.map(|scaling| runs::rules(object, scaling)).transpose()?.unwrap_or_default(),
    })
}

fn scaling_policy(object: &Workload, scaling: &Scaling) -> Result<ScalingPolicy, Rejection> {
    let named = |name: &str| object.spec.signals.iter().any(|signal| signal.name == name);
    let mut loads = Vec::with_capacity(scaling.loads.len() + 1);
    for (index, load) in scaling.loads.iter().enumerate() {
        let field = |name: &str| format!("spec.scaling.loads[{index}].{name}");
        if !named(&load.signal) {
            let rule = "it must be the name of one of spec.signals";
            return Err(Rejection::field(field("signal"), format!("`{}`", load.signal), rule));
        }
        let per_replica = decimal(&field("perReplica"), &load.per_replica, 0.0, MOST_LOAD)?;
        if per_replica <= 0.0 {
            let rule = "it must be above 0: what one replica carries";
            return Err(Rejection::field(field("perReplica"), format!("`{}`", load.per_replica), rule));
        }
        loads.push(LoadPolicy { signal: Name::from(load.signal.as_str()), per_replica, due: None });
    }
    loads.extend(backlog(object, scaling)?);
    let fallback = scaling.fallback.as_ref().map(|fallback| {
        let after = bounded("spec.scaling.fallback.afterSeconds", fallback.after_seconds, 60, 604_800)?;
        Ok::<_, Rejection>(Fallback {
            after: SignedDuration::from_secs(i64::from(after)),
            replicas: bounded("spec.scaling.fallback.replicas", fallback.replicas, 1, 100_000)?,
        })
    });
    Ok(ScalingPolicy {
        mode: match scaling.mode {
            WireScalingMode::Observe => ScalingMode::Observe,
            WireScalingMode::Recommend => ScalingMode::Recommend,
            WireScalingMode::Auto => ScalingMode::Auto,
        },
        fallback: fallback.transpose()?,
        price: scaling.price.map(|price| bounded("spec.scaling.price", price, 8, 2_097_152)).transpose()?,
        when_owned: match scaling.when_owned {
            ScalingOwner::Refuse => WhenOwned::Refuse,
            ScalingOwner::DriveBounds => WhenOwned::DriveBounds,
        },
        loads,
        calendar: calendar(scaling)?,
        exceptions: runs::exceptions(object, scaling)?,
    })
}

/// The backlog as a load: by the items that one replica is said to carry, or by the work of one item and its deadline.
fn backlog(object: &Workload, scaling: &Scaling) -> Result<Option<LoadPolicy>, Rejection> {
    let batch = object.spec.archetype == WireArchetype::Batch;
    let seconds = scaling.backlog.as_ref().and_then(|backlog| backlog.seconds_per_item.as_ref());
    if let (Some(deadline), None, false) = (scaling.deadline_seconds, seconds, batch) {
        let rule = "it needs spec.scaling.backlog.secondsPerItem, the work of one item, except with the archetype Batch";
        return Err(Rejection::field("spec.scaling.deadlineSeconds", deadline, rule));
    }
    let Some(backlog) = &scaling.backlog else { return Ok(None) };
    let signal = Name::from(BACKLOG);
    if batch {
        // What one pod of a run does is among the rules of its runs.
        return Ok(Some(LoadPolicy { signal, per_replica: 1.0, due: None }));
    }
    let Some(text) = seconds else {
        let items = backlog.items_per_replica.unwrap_or(1);
        let items = bounded("spec.scaling.backlog.itemsPerReplica", items, 1, 1_000_000)?;
        return Ok(Some(LoadPolicy { signal, per_replica: f64::from(items), due: None }));
    };
    let field = "spec.scaling.backlog.secondsPerItem";
    let refused = |rule: String| Rejection::field(field, format!("`{text}`"), rule);
    if backlog.items_per_replica.is_some() {
        return Err(refused("it and itemsPerReplica exclude each other; leave one out".to_owned()));
    }
    let Some(deadline) = scaling.deadline_seconds else {
        return Err(refused(
            "it needs spec.scaling.deadlineSeconds, until when an item must be done".to_owned(),
        ));
    };
    let deadline = f64::from(bounded("spec.scaling.deadlineSeconds", deadline, 1, 604_800)?);
    let seconds = runs::seconds_per_item(text, deadline)?;
    let within = SignedDuration::from_secs(deadline as i64);
    let due = Some(DuePolicy { seconds_per_item: seconds, within });
    Ok(Some(LoadPolicy { signal, per_replica: deadline / seconds, due }))
}

fn calendar(scaling: &Scaling) -> Result<Vec<CalendarEntry>, Rejection> {
    let mut entries = Vec::with_capacity(scaling.calendar.len());
    for (index, entry) in scaling.calendar.iter().enumerate() {
        let field = |name: &str| format!("spec.scaling.calendar[{index}].{name}");
        if entry.time_zone != "UTC" && jiff::tz::TimeZone::get(&entry.time_zone).is_err() {
            let rule = "it must be an IANA time zone that this system knows";
            return Err(Rejection::field(field("timeZone"), format!("`{}`", entry.time_zone), rule));
        }
        entries.push(CalendarEntry {
            name: Name::from(entry.name.as_str()),
            schedule: Name::from(entry.schedule.as_str()),
            time_zone: Name::from(entry.time_zone.as_str()),
            duration: super::seconds(&field("durationSeconds"), entry.duration_seconds, 60, 2_678_400)?,
            replicas: bounded(&field("replicas"), entry.replicas, 0, 100_000)?,
            exceptions: entry.exceptions.iter().map(|day| Name::from(day.as_str())).collect(),
        });
    }
    Ok(entries)
}

/// The address that callers would use.
fn dependency(dependency: &Dependency) -> Name {
    match (&dependency.kind, &dependency.namespace) {
        (DependencyKind::Workload, Some(namespace)) => Name::from(format!("{}.{namespace}", dependency.name)),
        _ => Name::from(dependency.name.as_str()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use homeostat_knowledge::policy::{Across, ExternalPolicy, Measures, MetricPolicy};
    use serde_json::{Value, json};

    pub(in crate::validate) fn policy(edit: impl FnOnce(&mut Value)) -> Result<WorkloadPolicy, Rejection> {
        let mut object = json!({
            "apiVersion": "homeostat.dev/v1alpha1", "kind": "Workload",
            "metadata": { "name": "order", "namespace": "shop", "uid": "u", "generation": 5 },
            "spec": { "targetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "order-app" },
                      "archetype": "Service",
                      "objectives": { "availability": "99.5", "latency": { "quantile": "0.95", "milliseconds": 800 } } },
        });
        edit(&mut object);
        workload_policy(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn ten_lines_are_complete() {
        let order = policy(|_| {}).unwrap();
        assert_eq!(order.key, ObjectKey::new("shop", "order"));
        assert_eq!(order.target.kind, ControllerKind::Deployment);
        assert_eq!(order.target.object, ObjectKey::new("shop", "order-app"));
        assert!((order.availability.unwrap() - 0.995).abs() < 1e-12);
        assert_eq!(order.latency, Some(LatencyObjective { quantile: 0.95, seconds: 0.8 }));
        assert_eq!((order.criticality, order.maximum_useless_restarts), (500, 2));
        assert!(order.surge_after_crash && !order.paused && order.playbooks.is_empty());
    }

    #[test]
    fn dependencies_are_addresses() {
        let order = policy(|object| {
            object["spec"]["dependencies"] = json!([
                { "name": "cart" }, { "name": "stock", "namespace": "store" },
                { "name": "api.bank.example", "kind": "External" }]);
        })
        .unwrap();
        let names: Vec<&str> = order.dependencies.iter().map(|name| &**name).collect();
        assert_eq!(names, ["cart", "stock.store", "api.bank.example"]);
    }

    #[test]
    fn what_pods_use_is_known_by_what_its_signals_measure() {
        let order = policy(|object| {
            object["spec"]["signals"] = json!([
                { "name": "cpu", "promql": "sum by (pod) (cpu)", "measures": "CpuCores" },
                { "name": "heap", "promql": "sum by (pod) (heap)", "measures": "MemoryBytes" }]);
        })
        .unwrap();
        let measures: Vec<Measures> = order.signals.iter().map(|signal| signal.measures).collect();
        assert_eq!(measures, [Measures::CpuCores, Measures::MemoryBytes]);
    }

    #[test]
    fn a_heartbeat_is_any_telemetry_or_what_its_query_tells() {
        let order = |heartbeat: Value| policy(move |object| object["spec"]["heartbeat"] = heartbeat);
        let any = order(json!({ "maximumSilenceSeconds": 60 })).unwrap();
        let heartbeat = any.heartbeat.unwrap();
        assert_eq!((heartbeat.maximum_silence.as_secs(), heartbeat.queried), (60, false));
        assert!(any.signals.is_empty());
        let asked = order(json!({ "maximumSilenceSeconds": 60, "promql": "max(last_success)" })).unwrap();
        assert!(asked.heartbeat.unwrap().queried);
        let signal = asked.signals.last().unwrap();
        assert_eq!((&*signal.promql, signal.measures), ("max(last_success)", Measures::Heartbeat));
        for (wrong, field) in [
            (json!({ "maximumSilenceSeconds": 0 }), "spec.heartbeat.maximumSilenceSeconds"),
            (json!({ "maximumSilenceSeconds": 60, "promql": " " }), "spec.heartbeat.promql"),
        ] {
            let error = order(wrong).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn loads_and_backlogs_become_signals_with_what_one_replica_carries() {
        let asked = |scaling: Value| {
            policy(move |object| {
                object["spec"]["signals"] = json!([{ "name": "cpu", "promql": "sum(cpu)" }]);
                object["spec"]["scaling"] = scaling;
            })
        };
        let both = json!({
            "loads": [{ "signal": "cpu", "perReplica": "0.6" }],
            "backlog": { "promql": "sum(waiting)", "itemsPerReplica": 20 },
        });
        let order = asked(both).unwrap();
        let scaling = order.permits.scaling.unwrap();
        let loads: Vec<(&str, f64)> =
            scaling.loads.iter().map(|load| (&*load.signal, load.per_replica)).collect();
        assert_eq!(loads, [("cpu", 0.6), (BACKLOG, 20.0)]);
        let backlog = order.signals.last().unwrap();
        assert_eq!((&*backlog.promql, backlog.measures), ("sum(waiting)", Measures::Load));
        for (scaling, field) in [
            (json!({ "loads": [{ "signal": "memory", "perReplica": "1" }] }), "loads[0].signal"),
            (json!({ "loads": [{ "signal": "cpu", "perReplica": "0" }] }), "loads[0].perReplica"),
            (json!({ "backlog": { "promql": " " } }), "backlog.promql"),
            (
                json!({ "calendar": [{ "name": "a", "schedule": "0 6 * * *", "timeZone": "Moon/Sea",
                                       "durationSeconds": 600, "replicas": 3 }] }),
                "calendar[0].timeZone",
            ),
        ] {
            let error = asked(scaling).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn a_signal_is_a_query_or_a_metric_of_the_pods_and_a_backlog_may_be_one_of_them() {
        let asked = |signals: Value, backlog: Value| {
            policy(move |object| {
                object["spec"]["signals"] = signals;
                object["spec"]["scaling"] = json!({ "backlog": backlog });
            })
        };
        let jobs = json!([{ "name": "jobs", "metric": "jobs.waiting", "across": "Max" }]);
        let order = asked(jobs.clone(), json!({ "signal": "jobs", "itemsPerReplica": 5 })).unwrap();
        let metric = Some(MetricPolicy { name: "jobs.waiting".into(), across: Across::Max, from: None });
        let read: Vec<_> = order.signals.iter().map(|one| (&*one.name, &*one.promql, &one.metric)).collect();
        assert_eq!(read, [("jobs", "", &metric), (BACKLOG, "", &metric)]);
        let carries = order.permits.scaling.unwrap().loads[0].per_replica;
        assert!((carries - 5.0).abs() < 1e-9, "{carries}");

        let served = json!([{ "name": "jobs", "external": { "name": "s0-jobs", "selector": "queue=jobs" } }]);
        let order = asked(served, json!({ "signal": "jobs", "itemsPerReplica": 5 })).unwrap();
        let external = Some(ExternalPolicy { name: "s0-jobs".into(), selector: "queue=jobs".into() });
        assert!(order.signals.iter().all(|one| one.external == external && !one.queried()));
        for (signals, backlog, field) in [
            (
                json!([{ "name": "a", "metric": "a", "promql": "a" }]),
                json!({ "promql": "a" }),
                "signals[0].metric",
            ),
            (json!([{ "name": "a" }]), json!({ "promql": "a" }), "signals[0].promql"),
            (
                json!([{ "name": "a", "external": { "name": "a" }, "promql": "a" }]),
                json!({ "promql": "a" }),
                "signals[0].external",
            ),
            (
                json!([{ "name": "a", "external": { "name": "../pods" } }]),
                json!({ "promql": "a" }),
                "signals[0].external.name",
            ),
            (jobs.clone(), json!({ "signal": "other" }), "backlog.signal"),
            (jobs.clone(), json!({ "signal": "jobs", "promql": "a" }), "backlog.signal"),
            (jobs, json!({}), "backlog.promql"),
        ] {
            let error = asked(signals, backlog).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn a_backlog_with_a_deadline_says_how_many_items_one_replica_does() {
        let asked = |scaling: Value| policy(move |object| object["spec"]["scaling"] = scaling);
        let backlog = |more: Value| {
            let mut backlog = json!({ "promql": "sum(waiting)" });
            for (name, value) in more.as_object().unwrap() {
                backlog[name] = value.clone();
            }
            backlog
        };
        let due = json!({ "deadlineSeconds": 600, "backlog": backlog(json!({ "secondsPerItem": "2.5" })) });
        let order = asked(due).unwrap();
        let load = &order.permits.scaling.unwrap().loads[0];
        let within = SignedDuration::from_mins(10);
        assert_eq!((&*load.signal, load.per_replica), (BACKLOG, 240.0));
        assert_eq!(load.due, Some(DuePolicy { seconds_per_item: 2.5, within }));
        for (scaling, field) in [
            (
                json!({ "deadlineSeconds": 600, "backlog": backlog(json!({})) }),
                "scaling.deadlineSeconds is 600",
            ),
            (json!({ "deadlineSeconds": 600 }), "scaling.deadlineSeconds is 600"),
            (json!({ "backlog": backlog(json!({ "secondsPerItem": "1" })) }), "secondsPerItem is `1`"),
            (
                json!({ "deadlineSeconds": 60, "backlog": backlog(json!({ "secondsPerItem": "60" })) }),
                "secondsPerItem is `60`",
            ),
            (
                json!({ "deadlineSeconds": 60, "backlog": backlog(json!({ "secondsPerItem": "0" })) }),
                "secondsPerItem is `0`",
            ),
            (
                json!({ "deadlineSeconds": 60,
                        "backlog": backlog(json!({ "secondsPerItem": "1", "itemsPerReplica": 5 })) }),
                "itemsPerReplica",
            ),
        ] {
            let error = asked(scaling).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn nothing_is_forecast_unless_scaling_is_asked_for() {
        assert_eq!(policy(|_| {}).unwrap().permits.scaling, None);
        let asked = |scaling: Value| policy(move |object| object["spec"]["scaling"] = scaling);
        assert_eq!(asked(json!({})).unwrap().permits.scaling, Some(ScalingPolicy::default()));
        let fallback = json!({ "mode": "Auto", "fallback": { "afterSeconds": 600, "replicas": 3 } });
        let expected = ScalingPolicy {
            mode: ScalingMode::Auto,
            fallback: Some(Fallback { after: SignedDuration::from_mins(10), replicas: 3 }),
            ..ScalingPolicy::default()
        };
        assert_eq!(asked(fallback).unwrap().permits.scaling, Some(expected));
        let zero = asked(json!({ "fallback": { "replicas": 0 } })).unwrap_err().to_string();
        assert!(zero.contains("spec.scaling.fallback.replicas"), "{zero}");
        assert_eq!(asked(json!({ "price": 64 })).unwrap().permits.scaling.unwrap().price, Some(64));
        let named = asked(json!({ "resources": { "container": "app" } })).unwrap();
        assert_eq!(named.permits.container.as_deref(), Some("app"));
        let free = asked(json!({ "price": 0 })).unwrap_err().to_string();
        assert!(free.contains("spec.scaling.price"), "{free}");
    }

    #[test]
    fn a_volume_and_a_quota_have_a_limit_above_zero_and_a_name_of_their_own() {
        let signal = |edit: Value| {
            policy(move |object| {
                let mut signal = json!({ "name": "data", "promql": "used", "threshold": "1e11", "measures": "VolumeBytes" });
                for (name, value) in edit.as_object().unwrap() {
                    signal[name] = value.clone();
                }
                object["spec"]["signals"] = json!([signal]);
            })
        };
        for (wire, measures) in [("VolumeBytes", Measures::VolumeBytes), ("QuotaUsed", Measures::QuotaUsed)] {
            let order = signal(json!({ "measures": wire })).unwrap();
            assert_eq!((order.signals[0].measures, order.signals[0].threshold), (measures, Some(1e11)));
            for (edit, field) in [
                (json!({ "threshold": null }), "spec.signals[0].threshold is not set"),
                (json!({ "threshold": "0" }), "spec.signals[0].threshold is `0`"),
                (json!({ "name": "memory" }), "spec.signals[0].name is `memory`"),
                (json!({ "name": "requests" }), "spec.signals[0].name is `requests`"),
                (json!({ "name": "runs" }), "spec.signals[0].name is `runs`"),
            ] {
                let mut edit = edit;
                edit["measures"] = json!(wire);
                let error = signal(edit).unwrap_err().to_string();
                assert!(error.starts_with(field), "{error}");
            }
        }
        let heap = json!({ "name": "memory", "measures": "MemoryBytes", "threshold": null });
        assert_eq!(signal(heap).unwrap().signals[0].threshold, None, "the limit of the container counts");
        let scratch = |edit: Value| {
            let mut all =
                json!({ "name": "scratch", "measures": "EphemeralStorageBytes", "threshold": null });
            all.as_object_mut().unwrap().extend(edit.as_object().unwrap().clone());
            signal(all)
        };
        let measures = scratch(json!({})).unwrap().signals[0].measures;
        assert_eq!(measures, Measures::EphemeralStorageBytes, "it may have the limit of the container");
        for (edit, field) in [
            (json!({ "threshold": "-1" }), "spec.signals[0].threshold is `-1`"),
            (json!({ "name": "memory" }), "spec.signals[0].name is `memory`"),
        ] {
            let error = scratch(edit).unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }

    #[test]
    fn hands_off_until() {
        let until = |text: &'static str| {
            policy(move |object| {
                object["metadata"]["annotations"] = json!({ "homeostat.dev/do-not-touch-until": text });
            })
        };
        let order = until("2026-11-22T18:00:00Z").unwrap();
        assert_eq!(order.do_not_touch_until, Some("2026-11-22T18:00:00Z".parse().unwrap()));
        let rejected = until("tomorrow").unwrap_err();
        let error = rejected.to_string();
        assert!(error.contains("do-not-touch-until") && error.contains("tomorrow"), "{error}");
        let Rejection::Claiming { claim, .. } = rejected else { panic!("its target is free: {error}") };
        assert_eq!(claim, Claim::Target(order.target));
    }

    #[test]
    fn the_field_and_the_limit_are_named() {
        type Edit = fn(&mut Value);
        let cases: [(Edit, &str); 4] = [
            (
                |o| o["spec"]["objectives"]["availability"] = json!("101"),
                "spec.objectives.availability is `101`",
            ),
            (
                |o| o["spec"]["objectives"]["latency"]["quantile"] = json!("2"),
                "spec.objectives.latency.quantile",
            ),
            (|o| o["spec"]["targetRef"]["apiVersion"] = json!("v1"), "spec.targetRef.apiVersion is `v1`"),
            (
                |o| o["spec"]["signals"] = json!([{ "name": "a", "promql": "up", "threshold": "NaN" }]),
                "spec.signals[0].threshold is `NaN`",
            ),
        ];
        for (edit, text) in cases {
            let error = policy(edit).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
    }
}
