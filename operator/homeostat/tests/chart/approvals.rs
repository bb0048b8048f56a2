//! The policy of approvals and the rules of an Action, run as the API server runs them on what people send.

use crate::render::{named, render};
use kube_cel::{AdmissionRequest, Validator, VapEvaluator, VapExpression};
use serde_json::{Value, json};

const US: &str = "system:serviceaccount:homeostat-system:homeostat";
const DIGEST: &str = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
/// What of the policy only an API server can answer: has who asks the verb?
const VERB: &str = "authorizer.group('homeostat.dev').resource('actions').namespace(request.namespace) \
    .name(object.metadata.name).check('approve').allowed()";

/// An action as it is stored, in this state.
fn action(state: &str) -> Value {
    json!({ "apiVersion": "homeostat.dev/v1alpha1", "kind": "Action",
        "metadata": { "name": "order-1", "namespace": "shop", "uid": "u" },
        "spec": {
            "incidentRef": { "name": "order" }, "tenant": "food", "workloadRef": { "name": "order" },
            "playbook": { "name": "hung-process", "version": 3, "step": 1 }, "action": "EvictPod",
            "target": { "apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "order-x", "uid": "0f2c",
                "resourceVersion": "88231" },
            "parameters": {}, "before": { "replicas": 1 }, "epoch": 17,
            "evidence": { "id": "9c41", "takenAt": "2026-11-22T09:14:03.512000Z", "summary": "no answer" },
            "requestedBy": US, "digest": DIGEST },
        "status": { "state": state } })
}

fn approval(decision: &str, by: &str) -> Value {
    json!({ "decision": decision, "approvedBy": by, "evidenceId": "9c41", "digest": DIGEST })
}

/// Who sends a request, and whether that person has the verb `approve` there.
struct Sender {
    name: &'static str,
    verb: bool,
}

const ANA: Sender = Sender { name: "ana", verb: true };
const BEN: Sender = Sender { name: "ben", verb: true };

/// The store as an API server guards it: requests come one after the other, whoever saw what before.
struct Store {
    policy: Value,
    schema: Value,
    stored: Value,
}

impl Store {
    fn with(stored: Value) -> Self {
        let objects = render(&[]);
        let policy = named(&objects, "ValidatingAdmissionPolicy", "homeostat-approval")["spec"].clone();
        let definition =
            homeostat_crds::all().into_iter().find(|one| one.spec.names.kind == "Action").unwrap();
        let schema = definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref();
        Self { policy, schema: serde_json::to_value(schema.unwrap()).unwrap(), stored }
    }

    /// Merges `spec.approval` into the action, or creates it with that; `Err` is what the person reads.
    fn approve(&mut self, operation: &str, by: &Sender, approval: Value) -> Result<(), String> {
        let mut object = self.stored.clone();
        object["spec"]["approval"] = approval;
        let request = AdmissionRequest {
            operation: operation.to_owned(),
            username: by.name.to_owned(),
            namespace: "shop".to_owned(),
            name: "order-1".to_owned(),
            ..AdmissionRequest::default()
        };
        let mut evaluator = VapEvaluator::builder().object(object.clone()).request(request);
        if operation == "UPDATE" {
            evaluator = evaluator.old_object(self.stored.clone());
        }
        let evaluator = evaluator.build();
        let expressions = |field: &str| -> Vec<VapExpression> {
            let all = self.policy[field].as_array().unwrap().iter();
            all.map(|one| {
                let text = one["expression"].as_str().unwrap();
                let text = text.replace(VERB, if by.verb { "true" } else { "false" });
                assert!(!text.contains("authorizer"), "not answered here: {text}");
                let message = |field: &str| one[field].as_str().map(str::to_owned);
                VapExpression {
                    expression: text,
                    message: message("message"),
                    message_expression: message("messageExpression"),
                }
            })
            .collect()
        };
        let applies = evaluator.evaluate(&expressions("matchConditions")).iter().all(|one| one.passed);
        if applies {
            let results = evaluator.evaluate(&expressions("validations"));
            if let Some(refused) = results.iter().find(|one| !one.passed) {
                return Err(refused.message.clone().unwrap_or_default());
            }
        }
        let old = (operation == "UPDATE").then_some(&self.stored);
        Validator::new().validate(&self.schema, &object, old).map_err(|errors| format!("{errors:?}"))?;
        self.stored = object;
        Ok(())
    }

    fn decided(&self) -> &Value {
        &self.stored["spec"]["approval"]["approvedBy"]
    }
}

#[test]
fn an_approval_that_is_late_replayed_for_something_else_or_by_the_wrong_person_is_refused() {
    let other = |field: &str, value: &str| {
        let mut approval = approval("Approve", "ana");
        approval[field] = json!(value);
        approval
    };
    let stranger = Sender { name: "ana", verb: false };
    let ourselves = Sender { name: US, verb: true };
    let cases = [
        ("UPDATE", "AwaitingApproval", &stranger, approval("Approve", "ana"), "ana has no verb approve"),
        ("UPDATE", "AwaitingApproval", &BEN, approval("Approve", "ana"), "must be your own name, ben"),
        ("UPDATE", "AwaitingApproval", &ourselves, approval("Approve", US), "does not approve its own"),
        (
            "UPDATE",
            "AwaitingApproval",
            &ANA,
            other("evidenceId", "9c40"),
            "what was approved is what was seen",
        ),
        (
            "UPDATE",
            "AwaitingApproval",
            &ANA,
            other("digest", &DIGEST.replace("6b", "6c")),
            "what was asked for",
        ),
        ("UPDATE", "HandedOver", &ANA, approval("Approve", "ana"), "does not wait for approval"),
        ("UPDATE", "Cancelled", &ANA, approval("Approve", "ana"), "does not wait for approval"),
        ("UPDATE", "Verified", &ANA, approval("Approve", "ana"), "does not wait for approval"),
        ("CREATE", "AwaitingApproval", &ANA, approval("Approve", "ana"), "not created with its approval"),
    ];
    for (operation, state, by, approval, says) in cases {
        let mut store = Store::with(action(state));
        let refused = store.approve(operation, by, approval.clone());
        assert!(refused.as_ref().is_err_and(|why| why.contains(says)), "{approval} in {state}: {refused:?}");
        assert!(store.decided().is_null(), "{says}");
    }
    // Where nothing is known of its state, nobody decides.
    let mut bare = action("AwaitingApproval");
    bare.as_object_mut().unwrap().remove("status");
    assert!(Store::with(bare).approve("UPDATE", &ANA, approval("Approve", "ana")).is_err());
    assert_eq!(
        Store::with(action("AwaitingApproval")).approve("UPDATE", &ANA, approval("Approve", "ana")),
        Ok(())
    );
}

#[test]
fn of_two_people_who_decide_at_the_same_moment_the_first_counts_and_the_second_is_told() {
    for (first, second) in [("Approve", "Deny"), ("Deny", "Approve"), ("Approve", "Approve")] {
        // Both saw that it waits; their requests carry no version, and come one after the other.
        let mut store = Store::with(action("AwaitingApproval"));
        assert_eq!(store.approve("UPDATE", &ANA, approval(first, "ana")), Ok(()));
        let late = store.approve("UPDATE", &BEN, approval(second, "ben"));
        let said = "an approval is given once and cannot be changed or taken back";
        assert!(late.as_ref().is_err_and(|why| why.contains(said)), "{first}, then {second}: {late:?}");
        assert_eq!(
            (store.decided(), &store.stored["spec"]["approval"]["decision"]),
            (&json!("ana"), &json!(first))
        );
        // Who decided cannot take it back either.
        assert!(store.approve("UPDATE", &ANA, Value::Null).is_err());
        assert!(store.approve("UPDATE", &ANA, approval(second, "ana")).is_err() || first == second);
        assert_eq!(store.decided(), "ana");
    }
}
