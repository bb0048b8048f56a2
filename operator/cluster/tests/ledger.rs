//! Actions stored and effects sent, against a scripted API server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops")]
#![allow(clippy::disallowed_methods, reason = "the virtual clock of a paused runtime")]

mod support;

use homeostat_cluster::{ApiActuator, ApiLedger};
use homeostat_execute::ports::{Actuator, EffectError, Ledger, LedgerStoreError, ReadError, Refusal};
use homeostat_knowledge::action::{ActionInstants, EvidenceRef};
use homeostat_knowledge::ids::{EvidenceId, IncidentId, Uid};
use homeostat_knowledge::plan::Expectation;
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{
    ActionId, ActionRecord, ActionState, Before, Clock, GuardName, GuardReport, GuardResult, Name, ObjectKey,
    Parameters, PlaybookRef, SignedDuration, Target, TenantName, Verification,
};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use support::{Server, Still, Trouble, status};

const EVICTION: &str = "/api/v1/namespaces/shop/pods/order-6c-x/eviction";

fn target(kind: &str, api_version: &str, name: &str) -> Target {
    Target {
        api_version: Name::from(api_version),
        kind: Name::from(kind),
        key: ObjectKey::new("shop", name),
        uid: Uid::new(format!("uid-of-{name}")),
        resource_version: Name::from("88"),
    }
}

fn pod() -> Target {
    target("Pod", "v1", "order-6c-x")
}

fn deployment() -> Target {
    target("Deployment", "apps/v1", "order")
}

fn id() -> ActionId {
    ActionId::new("order-7f3k2-1")
}

fn action() -> ActionRecord {
    let now = Still.now();
    ActionRecord {
        id: id(),
        namespace: Name::from("shop"),
        resource_version: Name::from(""),
        origin: homeostat_knowledge::Origin::Incident,
        incident: IncidentId::new("order-7f3k2"),
        tenant: TenantName::new("food"),
        workload: ObjectKey::new("shop", "order"),
        playbook: PlaybookRef { name: Name::from("hung"), version: 0, step: 1 },
        target: pod(),
        parameters: Parameters::EvictPod { grace_seconds: None },
        before: Before::default(),
        epoch: 17,
        evidence: EvidenceRef { id: EvidenceId::new("9c41"), taken_at: now, summary: "no answer".into() },
        verification: Verification {
            within: SignedDuration::from_secs(30),
            expect: Expectation::ObjectivesMet,
        },
        undo: homeostat_knowledge::plan::Undo::None,
        undo_of: None,
        request: homeostat_knowledge::Request::default(),
        state: ActionState::Admitted,
        guards: vec![GuardReport {
            name: GuardName::KillSwitch,
            result: GuardResult::Passed,
            observed: "off".into(),
            limit: String::new(),
            message: String::new(),
        }],
        instants: ActionInstants { intent: Some(now), ..ActionInstants::default() },
        outcome: None,
        approval: None,
        message: "no answer for 1.2 s".into(),
    }
}

/// A server with the pod and its deployment.
fn server() -> Server {
    let server = Server::new();
    server.put(
        "pods",
        json!({ "metadata": { "name": "order-6c-x", "namespace": "shop" },
        "spec": { "containers": [{ "name": "app" }] }, "status": { "phase": "Running" } }),
    );
    server.put(
        "deployments",
        json!({ "metadata": { "name": "order", "namespace": "shop" },
        "spec": { "replicas": 1, "template": { "metadata": { "annotations": { "theirs": "stays" } } } } }),
    );
    server
}

fn budget() -> Trouble {
    Trouble::Answer(
        429,
        json!({ "kind": "Status", "status": "Failure", "code": 429, "reason": "TooManyRequests",
        "message": "Cannot evict pod as it would violate the pod's disruption budget.",
        "details": { "causes": [{ "reason": "DisruptionBudget",
            "message": "The disruption budget order needs 1 healthy pods and has 1 currently" }] } }),
    )
}

async fn evict(server: &Server) -> Result<(), EffectError> {
    let hands = ApiActuator::new(server.client());
    hands
        .effect(&pod(), &Parameters::EvictPod { grace_seconds: None }, &id(), &Name::from("88"))
        .await
        .map(drop)
}

#[tokio::test]
async fn an_eviction_names_the_uid_and_leaves_the_grace_period_to_the_pod() {
    let server = server();
    evict(&server).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 1, "one request, and no delete");
    assert_eq!(seen[0].line(), format!("POST {EVICTION}"));
    assert_eq!(seen[0].body["kind"], "Eviction");
    assert_eq!(seen[0].body["apiVersion"], "policy/v1");
    let options = &seen[0].body["deleteOptions"];
    assert_eq!(options["preconditions"], json!({ "uid": "uid-of-order-6c-x" }));
    assert!(options.get("gracePeriodSeconds").is_none());
    assert!(!seen[0].query.contains_key("dryRun"));
}

#[tokio::test]
async fn an_eviction_of_what_hangs_names_its_shorter_grace_period() {
    let server = server();
    let hands = ApiActuator::new(server.client());
    let hung = Parameters::EvictPod { grace_seconds: Some(1) };
    hands.effect(&pod(), &hung, &id(), &Name::from("88")).await.unwrap();
    let options = &server.seen()[0].body["deleteOptions"];
    assert_eq!(options["gracePeriodSeconds"], 1);
    assert_eq!(options["preconditions"], json!({ "uid": "uid-of-order-6c-x" }));
}

#[tokio::test]
async fn a_pod_of_the_same_name_with_another_uid_is_left_alone() {
    let server = server();
    server.remove("pods", "shop", "order-6c-x", false);
    server
        .put("pods", json!({ "metadata": { "name": "order-6c-x", "namespace": "shop", "uid": "another" } }));
    assert!(matches!(evict(&server).await, Err(EffectError::Conflict(_))));
    let pod = server.get("pods", "shop", "order-6c-x").unwrap();
    assert!(pod["metadata"]["deletionTimestamp"].is_null());
}

#[tokio::test(start_paused = true)]
async fn every_answer_is_told_apart_and_nothing_is_sent_twice() {
    type Expected = fn(&EffectError) -> bool;
    let cases: [(Trouble, Expected); 9] = [
        (
            budget(),
            |error| matches!(error, EffectError::BlockedByBudget(why) if why.contains("needs 1 healthy")),
        ),
        (status(429, "TooManyRequests", "busy"), |error| matches!(error, EffectError::Transient { .. })),
        (status(409, "Conflict", "uid"), |error| matches!(error, EffectError::Conflict(_))),
        (status(404, "NotFound", "gone"), |error| matches!(error, EffectError::NotFound)),
        (status(403, "Forbidden", "no"), |error| matches!(error, EffectError::Denied(_))),
        (status(500, "InternalError", "?"), |error| matches!(error, EffectError::Unknown(_))),
        (status(503, "ServiceUnavailable", "?"), |error| matches!(error, EffectError::Unknown(_))),
        (Trouble::LostAnswer, |error| matches!(error, EffectError::Unknown(_))),
        (Trouble::Refused, |error| matches!(error, EffectError::Transient { .. })),
    ];
    for (trouble, expected) in cases {
        let server = server();
        server.trouble(Method::POST, "/eviction", 9, trouble.clone());
        let error = evict(&server).await.unwrap_err();
        assert!(expected(&error), "{trouble:?}: {error:?}");
        assert_eq!(server.seen().len(), 1, "{trouble:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_unknown_after_five_seconds() {
    let server = server();
    server.trouble(Method::POST, "/eviction", 1, Trouble::Silence);
    let before = tokio::time::Instant::now();
    let error = evict(&server).await.unwrap_err();
    assert!(matches!(error, EffectError::Unknown(_)), "{error:?}");
    assert_eq!(before.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_tells_of_the_budget() {
    let server = server();
    let hands = ApiActuator::new(server.client());
    hands.dry_run(&pod(), &Parameters::EvictPod { grace_seconds: None }, &id()).await.unwrap();
    hands.dry_run(&deployment(), &Parameters::RollingRestart, &id()).await.unwrap();
    for seen in server.seen() {
        assert_eq!(seen.query.get("dryRun").map(String::as_str), Some("All"), "{}", seen.line());
    }
    assert!(server.get("pods", "shop", "order-6c-x").unwrap()["metadata"]["deletionTimestamp"].is_null());
    let template = server.get("deployments", "shop", "order").unwrap()["spec"]["template"].clone();
    assert!(template["metadata"]["annotations"]["homeostat.dev/restarted-by"].is_null());

    server.trouble(Method::POST, "/eviction", 1, budget());
    let refusal =
        hands.dry_run(&pod(), &Parameters::EvictPod { grace_seconds: None }, &id()).await.unwrap_err();
    assert!(matches!(refusal, Refusal::BlockedByBudget(_)), "{refusal:?}");
    server.trouble(Method::POST, "/eviction", 1, status(403, "Forbidden", "no"));
    let refusal =
        hands.dry_run(&pod(), &Parameters::EvictPod { grace_seconds: None }, &id()).await.unwrap_err();
    assert!(matches!(refusal, Refusal::WouldFail(_)), "{refusal:?}");
    server.trouble(Method::POST, "/eviction", 1, status(503, "ServiceUnavailable", "?"));
    let refusal =
        hands.dry_run(&pod(), &Parameters::EvictPod { grace_seconds: None }, &id()).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Unavailable(_)), "{refusal:?}");
}

#[tokio::test]
async fn a_rolling_restart_is_one_conditional_patch_of_one_annotation() {
    let server = server();
    let hands = ApiActuator::new(server.client());
    let fresh = hands.fresh_target(&deployment()).await.unwrap().unwrap();
    assert_eq!((fresh.uid.as_str(), fresh.restarted_by), ("uid-of-order", None));
    hands.effect(&deployment(), &Parameters::RollingRestart, &id(), &fresh.resource_version).await.unwrap();
    let patch = server.seen().pop().unwrap();
    assert_eq!(patch.line(), "PATCH /apis/apps/v1/namespaces/shop/deployments/order");
    assert_eq!(patch.content_type, "application/merge-patch+json");
    assert_eq!(
        patch.body,
        json!({ "metadata": { "uid": "uid-of-order", "resourceVersion": &*fresh.resource_version },
                "spec": { "template": { "metadata": { "annotations": {
                    "homeostat.dev/restarted-by": "order-7f3k2-1" } } } } })
    );
    let annotations = server.get("deployments", "shop", "order").unwrap();
    assert_eq!(annotations["spec"]["template"]["metadata"]["annotations"]["theirs"], "stays");
    let fresh_again = hands.fresh_target(&deployment()).await.unwrap().unwrap();
    assert_eq!(fresh_again.restarted_by.as_deref(), Some("order-7f3k2-1"));

    // Somebody changed it after the fresh read.
    let stale =
        hands.effect(&deployment(), &Parameters::RollingRestart, &id(), &fresh.resource_version).await;
    assert!(matches!(stale, Err(EffectError::Conflict(_))), "{stale:?}");
    // Another object of the same name.
    let other = Target { uid: Uid::new("another"), ..deployment() };
    let other = hands.effect(&other, &Parameters::RollingRestart, &id(), &fresh_again.resource_version).await;
    assert!(matches!(other, Err(EffectError::Conflict(_))), "{other:?}");
}

#[tokio::test]
async fn the_kill_switch_is_read_from_the_store_each_time() {
    let server = server();
    let hands = ApiActuator::new(server.client());
    assert_eq!(hands.kill_switch().await, Ok(KillSwitch::Unreadable), "no object: no effects");
    let control = |spec: Value| json!({ "metadata": { "name": "default" }, "spec": spec });
    server.put("controlplanes", control(json!({})));
    assert_eq!(hands.kill_switch().await, Ok(KillSwitch::Off));
    server.put("controlplanes", control(json!({ "killSwitch": { "engaged": true, "reason": "drill" } })));
    let engaged = KillSwitch::Engaged { reason: Name::from("drill"), by: None };
    assert_eq!(hands.kill_switch().await, Ok(engaged));
    server.put("controlplanes", control(json!({ "killSwitch": "maybe" })));
    assert_eq!(hands.kill_switch().await, Ok(KillSwitch::Unreadable));
    for seen in server.seen() {
        assert!(seen.query.is_empty(), "a version would allow an answer from the watch cache: {seen:?}");
    }
    server.trouble(Method::GET, "/controlplanes/default", 1, status(403, "Forbidden", "no"));
    assert!(matches!(hands.kill_switch().await, Err(ReadError::Denied(_))));
    server.trouble(Method::GET, "/controlplanes/default", 1, Trouble::Refused);
    assert!(matches!(hands.kill_switch().await, Err(ReadError::Unavailable(_))));
}

#[tokio::test]
async fn an_invalid_control_plane_stops_everything_and_an_engaged_switch_says_why() {
    let server = server();
    let hands = ApiActuator::new(server.client());
    let control = |reset: &str, engaged: bool| {
        json!({
            "metadata": { "name": "default", "annotations": { "homeostat.dev/breaker-reset-at": reset } },
            "spec": { "ceilings": { "level": "Recommend" },
                      "killSwitch": { "engaged": engaged, "reason": "drill" } },
        })
    };
    let engaged = KillSwitch::Engaged { reason: Name::from("drill"), by: None };
    for (reset, switched, expected) in [
        ("2026-11-22T09:00:00Z", false, KillSwitch::Off),
        ("today", false, KillSwitch::Unreadable),
        ("today", true, engaged),
        ("2026-11-22T09:00:00Z", false, KillSwitch::Off),
    ] {
        server.put("controlplanes", control(reset, switched));
        assert_eq!(hands.kill_switch().await, Ok(expected), "{reset}");
    }
}

#[tokio::test]
async fn a_fresh_pod_is_what_is_there_now() {
    let server = server();
    let hands = ApiActuator::new(server.client());
    let fresh = hands.fresh_target(&pod()).await.unwrap().unwrap();
    assert_eq!(fresh.uid.as_str(), "uid-of-order-6c-x");
    assert!(!fresh.deleting && fresh.pod.unwrap().containers.len() == 1);
    evict(&server).await.unwrap();
    assert!(hands.fresh_target(&pod()).await.unwrap().unwrap().deleting);
    server.remove("pods", "shop", "order-6c-x", false);
    assert_eq!(hands.fresh_target(&pod()).await, Ok(None));
}

#[tokio::test]
async fn an_intent_is_two_requests_and_each_state_one() {
    let server = server();
    let ledger = ApiLedger::new(server.client(), Arc::new(Still));
    let mut record = action();
    record.resource_version = ledger.create(&record).await.unwrap();
    let name = "/apis/homeostat.dev/v1alpha1/namespaces/shop/actions";
    assert_eq!(server.writes(), [format!("POST {name}"), format!("PUT {name}/order-7f3k2-1/status")]);
    record.state = ActionState::Claimed;
    record.resource_version = ledger.update(&record).await.unwrap();
    assert_eq!(server.writes().len(), 3);
    let stored = ledger.read(&record.key()).await.unwrap().unwrap();
    assert_eq!(stored, record, "what a successor reads is what was written");

    let object = server.get("actions", "shop", "order-7f3k2-1").unwrap();
    assert_eq!(object["metadata"]["labels"]["homeostat.dev/incident"], "order-7f3k2");
    assert_eq!(object["status"]["target"], "Pod/order-6c-x");
    let ready = object["status"]["conditions"].as_array().unwrap();
    assert!(ready.iter().any(|one| one["type"] == "Ready" && one["reason"] == "Acting"), "{ready:?}");
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_conditional_and_an_id_is_used_once() {
    let server = server();
    let ledger = ApiLedger::new(server.client(), Arc::new(Still));
    let mut record = action();
    record.resource_version = ledger.create(&record).await.unwrap();
    assert_eq!(ledger.create(&record).await, Err(LedgerStoreError::AlreadyExists));
    let first = ActionRecord { state: ActionState::Claimed, ..record.clone() };
    ledger.update(&first).await.unwrap();
    assert_eq!(ledger.update(&first).await, Err(LedgerStoreError::Conflict), "the second claim loses");

    let status_path = "/actions/order-7f3k2-1/status";
    server.trouble(Method::PUT, status_path, 1, status(403, "Forbidden", "no"));
    assert!(matches!(ledger.update(&first).await, Err(LedgerStoreError::Denied(_))));
    server.trouble(Method::PUT, status_path, 1, status(429, "TooManyRequests", "busy"));
    assert!(matches!(ledger.update(&first).await, Err(LedgerStoreError::Transient { .. })));
    server.trouble(Method::PUT, status_path, 1, Trouble::Silence);
    assert!(matches!(ledger.update(&first).await, Err(LedgerStoreError::Unknown(_))));
    server.remove("actions", "shop", "order-7f3k2-1", false);
    assert_eq!(ledger.update(&first).await, Err(LedgerStoreError::NotFound));
    assert_eq!(ledger.read(&record.key()).await, Ok(None));
}

#[tokio::test]
async fn an_intent_whose_state_was_not_stored_is_told_as_unknown_and_read_as_a_proposal() {
    let server = server();
    let ledger = ApiLedger::new(server.client(), Arc::new(Still));
    server.trouble(Method::PUT, "/status", 1, status(429, "TooManyRequests", "busy"));
    assert!(matches!(ledger.create(&action()).await, Err(LedgerStoreError::Unknown(_))));
    let found = ledger.read(&action().key()).await.unwrap().unwrap();
    assert_eq!(found.state, ActionState::Proposed);
}

#[tokio::test]
async fn an_approval_by_a_person_is_read() {
    let server = server();
    let ledger = ApiLedger::new(server.client(), Arc::new(Still));
    let mut record = action();
    record.state = ActionState::AwaitingApproval;
    ledger.create(&record).await.unwrap();
    let mut object = server.get("actions", "shop", "order-7f3k2-1").unwrap();
    object["spec"]["approval"] = json!({ "decision": "Approve", "approvedBy": "ada", "evidenceId": "9c41" });
    server.put("actions", object);
    let approval = ledger.read(&record.key()).await.unwrap().unwrap().approval.unwrap();
    assert_eq!((&*approval.approved_by, approval.evidence.as_str()), ("ada", "9c41"));
    assert_eq!(approval.at, Still.now());
}

#[tokio::test]
async fn a_smaller_size_leaves_the_pods_that_a_budget_wants() {
    let app = json!({ "matchLabels": { "app": "order" } });
    for (spec, expected_pods, broken) in [
        (json!({ "minAvailable": 3, "selector": app }), 3, true),
        (json!({ "minAvailable": 2, "selector": app }), 3, false),
        // Two pods of somebody else's are protected by the same one.
        (json!({ "minAvailable": 4, "selector": app }), 5, false),
        (json!({ "minAvailable": 5, "selector": app }), 5, true),
        (json!({ "minAvailable": 3, "selector": { "matchLabels": { "app": "stock" } } }), 3, false),
        (json!({ "minAvailable": 3, "selector": {} }), 3, true),
        (json!({ "minAvailable": 3 }), 3, false),
        (json!({ "minAvailable": "100%", "selector": app }), 3, false),
        (json!({ "maxUnavailable": 0, "selector": app }), 3, false),
    ] {
        let server = Server::new();
        let labelled = json!({ "metadata": { "labels": { "app": "order" } } });
        server.put(
            "deployments",
            json!({ "metadata": { "name": "order", "namespace": "shop" }, "spec": { "replicas": 3, "template": labelled } }),
        );
        let status = json!({ "currentHealthy": expected_pods, "desiredHealthy": 0, "disruptionsAllowed": 0,
            "expectedPods": expected_pods });
        server.put(
            "poddisruptionbudgets",
            json!({ "metadata": { "name": "quorum", "namespace": "shop" }, "spec": spec, "status": status }),
        );
        let (down, hands) = (Parameters::ScaleDown { replicas: 2 }, ApiActuator::new(server.client()));
        let tried = hands.dry_run(&deployment(), &down, &id()).await;
        let version = hands.fresh_target(&deployment()).await.unwrap().unwrap().resource_version;
        let sent = hands.effect(&deployment(), &down, &id(), &version).await;
        if broken {
            let named = |why: &str| why.contains("PodDisruptionBudget quorum wants");
            assert!(matches!(&tried, Err(Refusal::BlockedByBudget(why)) if named(why)), "{spec}: {tried:?}");
            assert!(
                matches!(&sent, Err(EffectError::BlockedByBudget(why)) if named(why)),
                "{spec}: {sent:?}"
            );
            assert!(server.writes().is_empty(), "{spec}");
        } else {
            assert!(tried.is_ok() && sent.is_ok(), "{spec}: {tried:?}, {sent:?}");
        }
        // More are welcome.
        let up = Parameters::ScaleUp { replicas: 6 };
        let version = hands.fresh_target(&deployment()).await.unwrap().unwrap().resource_version;
        hands.effect(&deployment(), &up, &id(), &version).await.unwrap();
    }
}
