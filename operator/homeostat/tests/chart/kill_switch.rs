//! The policy that reminds who engages the kill switch of what is left out, run as the API server runs it.

use crate::render::{named, render};
use kube_cel::{AdmissionRequest, VapEvaluator, VapExpression};
use serde_json::{Value, json};

/// Its name.
pub const POLICY: &str = "homeostat-kill-switch";

/// What ana is warned of when she writes this kill switch over that one; `Null` is none.
fn warned(before: &Value, after: &Value) -> Vec<String> {
    let objects = render(&[]);
    let spec = &named(&objects, "ValidatingAdmissionPolicy", POLICY)["spec"];
    let control = |switch: &Value| {
        let mut spec = json!({ "warmUpSeconds": 60 });
        if !switch.is_null() {
            spec["killSwitch"] = switch.clone();
        }
        json!({ "apiVersion": "homeostat.dev/v1alpha1", "kind": "ControlPlane",
            "metadata": { "name": "default" }, "spec": spec })
    };
    let request = AdmissionRequest {
        operation: "UPDATE".to_owned(),
        username: "ana".to_owned(),
        name: "default".to_owned(),
        ..AdmissionRequest::default()
    };
    let evaluator =
        VapEvaluator::builder().object(control(after)).old_object(control(before)).request(request).build();
    let expressions = |field: &str| -> Vec<VapExpression> {
        let all = spec[field].as_array().unwrap().iter();
        all.map(|one| VapExpression {
            expression: one["expression"].as_str().unwrap().to_owned(),
            message: one["message"].as_str().map(str::to_owned),
            message_expression: one["messageExpression"].as_str().map(str::to_owned),
        })
        .collect()
    };
    if !evaluator.evaluate(&expressions("matchConditions")).iter().all(|one| one.passed) {
        return Vec::new();
    }
    let results = evaluator.evaluate(&expressions("validations"));
    results.into_iter().filter(|one| !one.passed).map(|one| one.message.unwrap_or_default()).collect()
}

#[test]
fn who_engages_the_kill_switch_is_reminded_of_name_and_reason() {
    let off = json!({ "engaged": false });
    let cases: [(Value, &[&str]); 10] = [
        (json!({ "engaged": true, "reason": "drill" }), &["set spec.killSwitch.by to ana"]),
        (json!({ "engaged": true, "reason": "drill", "by": "" }), &["set spec.killSwitch.by to ana"]),
        (json!({ "engaged": true, "reason": "drill", "by": "ben" }), &["by says ben, and you are ana"]),
        (json!({ "engaged": true, "reason": " ", "by": "ana" }), &["set spec.killSwitch.reason"]),
        (json!({ "engaged": true, "by": "ana" }), &["set spec.killSwitch.reason"]),
        (json!({ "engaged": true }), &["set spec.killSwitch.by to ana", "set spec.killSwitch.reason"]),
        (json!({ "engaged": true, "reason": "drill", "by": "ana" }), &[]),
        (json!({ "engaged": false, "by": "ben" }), &[]),
        (json!({}), &[]),
        (Value::Null, &[]),
    ];
    for (switch, says) in &cases {
        for before in [&off, &Value::Null] {
            let messages = warned(before, switch);
            let as_said = messages.iter().zip(*says).all(|(message, words)| message.contains(*words));
            assert!(messages.len() == says.len() && as_said, "{switch} over {before}: {messages:?}");
        }
    }
}

#[test]
fn who_changes_something_else_while_it_is_engaged_is_not_reminded() {
    let bens = json!({ "engaged": true, "reason": "drill", "by": "ben" });
    assert_eq!(warned(&bens, &bens), Vec::<String>::new());
    let mut taken_over = bens.clone();
    taken_over["reason"] = json!("no drill");
    assert!(!warned(&bens, &taken_over).is_empty(), "the switch itself is another");
}

/// Only writes of people are looked at: the status is Homeostat's, and nothing of it is.
#[test]
fn it_is_asked_about_the_control_plane_only() {
    let objects = render(&[]);
    let spec = &named(&objects, "ValidatingAdmissionPolicy", POLICY)["spec"];
    let rules = json!([{ "apiGroups": ["homeostat.dev"], "apiVersions": ["*"], "resources": ["controlplanes"],
        "operations": ["CREATE", "UPDATE"] }]);
    assert_eq!(spec["matchConstraints"]["resourceRules"], rules);
}
