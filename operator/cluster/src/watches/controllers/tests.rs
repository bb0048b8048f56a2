//! Controllers as the API server writes them, and what is kept of each.

use super::*;
use serde_json::{Value, json};

fn project<S: Sort>(object: &Value) -> ControllerRecord {
    let body: ControllerObject<S> = serde_json::from_str(&object.to_string()).unwrap();
    record(&body, ObjectKey::new("shop", "order"), Name::from("5"), &mut Interner::default())
}

fn deployment(replicas: i32, rolling: &Value) -> Value {
    json!({
        "metadata": { "uid": "d", "generation": 4, "annotations": { "deployment.kubernetes.io/revision": "7" } },
        "spec": { "replicas": replicas, "strategy": { "type": "RollingUpdate", "rollingUpdate": rolling },
                  "template": { "metadata": { "labels": { "app": "order" } } } },
        "status": { "observedGeneration": 4, "replicas": 1, "readyReplicas": 1, "updatedReplicas": 1 },
    })
}

#[test]
fn a_deployment() {
    let found = project::<Deployments>(&deployment(1, &json!({ "maxSurge": 1, "maxUnavailable": 0 })));
    assert_eq!((found.replicas, found.current, found.ready, found.updated), (1, 1, 1, 1));
    assert_eq!(found.revision.as_deref(), Some("7"));
    assert!(found.surges && !found.paused && !found.rolling_out());
    assert_eq!(found.template_labels.get("app").map(|label| &**label), Some("order"));
    assert_eq!(found.gitops_owner, None);
}

#[test]
fn a_release_that_is_made_again_keeps_its_earlier_numbers() {
    let earlier = |history: &str| {
        let set = json!({ "metadata": { "annotations": {
            "deployment.kubernetes.io/revision": "40", "deployment.kubernetes.io/revision-history": history } } });
        let found = project::<ReplicaSets>(&set);
        assert_eq!(found.revision.as_deref(), Some("40"));
        found.earlier_revisions().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(earlier("2,4"), ["2", "4"]);
    assert_eq!(earlier(" 2, ,4,"), ["2", "4"], "nothing between two commas is no revision");
    let all: Vec<String> = (1..=15).map(|number| number.to_string()).collect();
    assert_eq!(earlier(&all.join(",")), all[5..], "the last ten, the oldest first");
    assert_eq!(earlier(&"9".repeat(100_000)), [""; 0], "not a number of a revision");
    assert!(project::<ReplicaSets>(&json!({})).release.is_none());
    let all = json!([{ "name": "app", "envFrom": [{ "configMapRef": { "name": "settings" } }] }]);
    let pods =
        json!({ "initContainers": all, "volumes": [{ "name": "v", "configMap": { "name": "files" } }] });
    let reads = json!({ "spec": { "template": { "spec": pods } } });
    let found = project::<ReplicaSets>(&reads);
    assert_eq!(found.reads().iter().map(|name| &**name).collect::<Vec<_>>(), ["files", "settings"]);
    let annotations = json!({ "deployment.kubernetes.io/revision-history": "2" });
    let deployment = json!({ "metadata": { "annotations": annotations } });
    assert!(project::<Deployments>(&deployment).release.is_none(), "only of ReplicaSets");
}

#[test]
fn surging_is_rounded_as_kubernetes_does() {
    for (replicas, rolling, surges) in [
        (1, json!({ "maxSurge": "25%", "maxUnavailable": "25%" }), true),
        (4, json!({ "maxSurge": "25%", "maxUnavailable": "25%" }), false),
        (1, json!({ "maxSurge": 0, "maxUnavailable": 1 }), false),
        (10, json!({ "maxSurge": "1%", "maxUnavailable": "0%" }), true),
        (1, json!({ "maxSurge": 0, "maxUnavailable": 0 }), false),
    ] {
        assert_eq!(project::<Deployments>(&deployment(replicas, &rolling)).surges, surges, "{rolling}");
    }
    let recreate = json!({ "spec": { "strategy": { "type": "Recreate" } } });
    assert!(!project::<Deployments>(&recreate).surges);
    assert!(!project::<StatefulSets>(&json!({})).surges);
}

#[test]
fn jobs_have_no_rollout_and_cron_jobs_no_replicas() {
    let job = json!({ "metadata": { "generation": 1 }, "spec": { "parallelism": 3, "suspend": true, "activeDeadlineSeconds": 600 },
                      "status": { "active": 2, "ready": 1, "startTime": "2026-11-22T09:00:00Z" } });
    let found = project::<Jobs>(&job);
    assert_eq!((found.replicas, found.current, found.ready), (3, 2, 1));
    let run = RunTimes {
        started: Some("2026-11-22T09:00:00Z".parse().unwrap()),
        completed: None,
        deadline: Some(SignedDuration::from_secs(600)),
    };
    assert_eq!(found.run, run);
    assert!(found.paused && !found.rolling_out());
    let work = found.work.unwrap();
    assert_eq!((work.pods, work.completions, work.indexed, work.at_once()), (3, None, false, 3));
    let indexed = json!({ "parallelism": 3, "completions": 2, "completionMode": "Indexed" });
    let template = json!({ "spec": { "jobTemplate": { "spec": indexed } } });
    let work = project::<CronJobs>(&template).work.unwrap();
    assert_eq!((work.completions, work.indexed, work.at_once()), (Some(2), true, 2));
    let work = project::<Jobs>(&json!({ "spec": {} })).work.unwrap();
    assert_eq!((work.pods, work.completions), (1, Some(1)), "as the API server fills it in");
    let cron = json!({ "spec": { "jobTemplate": { "spec": { "template": { "metadata": { "labels": { "a": "b" } } } } } },
                       "status": { "active": [{ "kind": "Job", "name": "x" }] } });
    let found = project::<CronJobs>(&cron);
    assert_eq!((found.current, found.template_labels.len()), (1, 1));
    assert!(!found.rolling_out());
}

#[test]
fn a_job_that_an_action_made_of_a_cron_job_is_told_from_a_repeat() {
    let made_by = |annotations: Value| {
        let job = json!({ "metadata": { "annotations": annotations }, "spec": {} });
        project::<Jobs>(&job).work.and_then(|work| work.made_by).map(|by| by.to_string())
    };
    let created = json!({ "homeostat.dev/created-by": "run-plan-1" });
    assert_eq!(made_by(created).as_deref(), Some("run-plan-1"));
    let repeat = json!({ "homeostat.dev/created-by": "run-plan-1", "homeostat.dev/retry-of": "u" });
    assert_eq!(made_by(repeat), None);
    assert_eq!(made_by(json!({})), None);
}

#[test]
fn when_a_cron_job_makes_its_jobs_is_read_and_never_half_of_it() {
    let schedule =
        |spec: &Value| project::<CronJobs>(&json!({ "spec": spec })).work.and_then(|work| work.schedule);
    let nightly = Schedule { cron: Name::from("0 2 * * *"), zone: Some(Name::from("Europe/Lisbon")) };
    let spec = json!({ "schedule": "0 2 * * *", "timeZone": "Europe/Lisbon" });
    assert_eq!(schedule(&spec), Some(nightly.clone()));
    assert_eq!(schedule(&json!({ "schedule": "0 2 * * *" })), Some(Schedule { zone: None, ..nightly }));
    let suspended = project::<CronJobs>(&json!({ "spec": { "schedule": "0 2 * * *", "suspend": true } }));
    assert!(suspended.paused);
    let minutes: Vec<String> = (0..60).map(|minute| minute.to_string()).collect();
    let all = format!("{} * * * *", minutes.join(","));
    assert_eq!(schedule(&json!({ "schedule": all })).map(|found| found.cron.to_string()), Some(all));
    let long = schedule(&json!({ "schedule": "1,".repeat(10_000), "timeZone": "Z".repeat(10_000) })).unwrap();
    assert!(long.cron.ends_with('…') && long.cron.chars().count() == LONGEST + 1);
    assert!(long.zone.is_some_and(|zone| zone.ends_with('…')));
    assert_eq!(project::<Jobs>(&json!({ "spec": {} })).work.and_then(|work| work.schedule), None);
}

#[test]
fn daemon_sets_count_nodes() {
    let set = json!({ "metadata": { "generation": 2 }, "status": { "observedGeneration": 2,
        "desiredNumberScheduled": 3, "currentNumberScheduled": 3, "numberReady": 2, "updatedNumberScheduled": 1 } });
    let found = project::<DaemonSets>(&set);
    assert_eq!((found.replicas, found.ready), (3, 2));
    assert!(found.rolling_out());
}

#[test]
fn tools_that_own_the_spec_are_seen() {
    let argo = json!({ "metadata": { "annotations": { "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:order" } } });
    assert_eq!(project::<Deployments>(&argo).gitops_owner.as_deref(), Some("Argo CD"));
    let flux = json!({ "metadata": { "labels": { "kustomize.toolkit.fluxcd.io/name": "apps" } } });
    assert_eq!(project::<Deployments>(&flux).gitops_owner.as_deref(), Some("Flux"));
    let helm = json!({ "metadata": { "labels": { "app.kubernetes.io/managed-by": "Helm" } } });
    assert_eq!(project::<Deployments>(&helm).gitops_owner, None);
    let owner = json!({ "kind": "Kafka", "name": "orders", "controller": true });
    let made = json!({ "metadata": { "ownerReferences": [owner] } });
    assert_eq!(project::<StatefulSets>(&made).gitops_owner.as_deref(), Some("Kafka orders"));
}

#[test]
fn old_revisions_without_pods_are_not_kept_but_a_scaled_down_one_is() {
    let object = |replicas: i32| {
        let text = json!({ "metadata": { "name": "order-1" }, "spec": { "replicas": replicas },
                           "status": { "replicas": replicas } });
        serde_json::from_str::<ControllerObject<ReplicaSets>>(&text.to_string()).unwrap()
    };
    let mut watched = Controllers::<ReplicaSets>::default();
    let mut names = Interner::default();
    let mut apply = |watched: &mut Controllers<ReplicaSets>, replicas| {
        let cx = Cx {
            names: &mut names,
            now: jiff::Timestamp::UNIX_EPOCH,
            news: true,
            listed: false,
            key: ObjectKey::new("shop", "order-1"),
            version: Name::from("1"),
        };
        watched.apply(object(replicas), cx).unwrap()
    };
    assert!(matches!(apply(&mut watched, 0), Effect::Nothing));
    assert!(matches!(apply(&mut watched, 1), Effect::Tell(_)));
    // Its last pods are still ending and belong to it.
    assert!(matches!(apply(&mut watched, 0), Effect::Tell(_)));
    assert!(matches!(watched.remove(&ObjectKey::new("shop", "order-1")), Effect::Tell(_)));
    assert!(matches!(watched.remove(&ObjectKey::new("shop", "order-1")), Effect::Nothing));
}
