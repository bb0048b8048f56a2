//! What the command line says when something is wrong: what happened, and what to do.
#![allow(clippy::expect_used, reason = "a test's helper may end the test")]

use homeostat_audit::{Chain, Line, Salt};
use homeostat_knowledge::Timestamp;
use serde_json::{Value, json};
use std::process::Command;

/// Exit code and everything that was printed, without a cluster.
fn run(arguments: &[&str], kubeconfig: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_homeostat"))
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .expect("the program starts");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn help_says_what_the_program_is_and_where_the_rest_is() {
    let (code, text) = run(&["--help"], "/nonexistent");
    assert_eq!(code, Some(0));
    assert!(text.starts_with("A self-managing AIOps control plane for Kubernetes"), "{text}");
    for part in ["kubectl get incidents,actions,forecasts -A", "killSwitch"] {
        assert!(text.contains(part), "missing {part}: {text}");
    }
}

#[test]
fn without_a_cluster_each_command_says_how_to_name_one() {
    for arguments in [
        &["pending"][..],
        &["levels"],
        &["approve", "a"],
        &["pause", "tenant", "shop"],
        &["release-held"],
        &["audit", "verify"],
        &["run"],
    ] {
        let (code, text) = run(arguments, "/nonexistent");
        assert_eq!(code, Some(1), "{arguments:?}");
        assert_eq!(text.matches("no connection to a cluster").count(), 1, "{arguments:?}: {text}");
        assert!(text.contains("KUBECONFIG or ~/.kube/config"), "{arguments:?}: {text}");
        assert!(!text.contains("apply it again"), "{arguments:?}: {text}");
    }
}

#[test]
fn a_cluster_that_does_not_answer_is_told_apart_from_none() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("unreachable.yaml");
    let config = "{apiVersion: v1, kind: Config, current-context: a,
        clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}],
        contexts: [{name: a, context: {cluster: a, user: a}}], users: [{name: a, user: {}}]}";
    std::fs::write(&path, config).expect("the target folder can be written");
    let (code, text) = run(&["pending"], path.to_str().expect("a text"));
    assert_eq!(code, Some(1));
    assert!(text.contains("no answer from the API server"), "{text}");
    assert_eq!(text.matches("kubectl get --raw /readyz").count(), 1, "{text}");
    assert_eq!(text.matches("Connection refused").count(), 1, "each cause is told once: {text}");
}

#[test]
fn bad_arguments_say_what_to_give_instead() {
    let empty = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-situations");
    std::fs::create_dir_all(&empty).expect("the target folder can be written");
    let bytes = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-text.jsonl");
    std::fs::write(&bytes, [0xff, 0xfe, 0x0a]).expect("the target folder can be written");
    let anchors = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-anchors.json");
    std::fs::write(&anchors, "{}").expect("the target folder can be written");
    let (nothing, anchors) = (empty.to_str().expect("a text"), anchors.to_str().expect("a text"));
    for (arguments, part) in [
        (&["pause", "tenant", "shop", "--until", "tomorrow"][..], "such as 2030-01-01T18:00:00Z"),
        (&["levels", "--what-if", "L9"], "use L0 to L4"),
        (&["replay", "/nonexistent"], "written by `homeostat run --record FILE`"),
        (&["replay", empty.to_str().expect("a text")], "playbooks/situations"),
        (&["replay", bytes.to_str().expect("a text")], "cannot be read"),
        (&["replay", "Cargo.toml"], "must be written by `homeostat run --record FILE`"),
        (&["playbook", "test", "Cargo.toml"], "line 1, column 1"),
        (&["audit", "export", "--dir", "/nonexistent"], "check that it exists"),
        (&["audit", "verify", "--dir", nothing, "--anchors", anchors], "there is no record here"),
        (&["audit", "match", "--record", nothing, "--api-log", anchors], "holds no entry of a record"),
        (&["audit", "match", "--record", nothing, "--api-log", "/nonexistent"], "check that it exists"),
    ] {
        let (code, text) = run(arguments, "/nonexistent");
        assert!(code.is_some_and(|code| code > 0), "{arguments:?}");
        assert!(text.contains(part), "{arguments:?}: {text}");
        let causes = text.matches("No such file or directory").count();
        assert!(causes <= 1, "the cause is told {causes} times: {text}");
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("an instant")
}

/// One event of the API server's audit log.
fn event(user: &str, second: i64, id: &str) -> Value {
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": id, "stage": "ResponseComplete",
        "verb": "create", "user": { "username": user }, "responseStatus": { "code": 201 },
        "objectRef": { "resource": "pods", "subresource": "eviction", "namespace": "shop", "name": "order-x" },
        "requestReceivedTimestamp": at(second), "stageTimestamp": at(second),
    })
}

#[test]
fn the_record_is_compared_with_the_audit_log_of_the_api_server_and_fails_when_one_of_them_lacks_something() {
    const USER: &str = "system:serviceaccount:homeostat-system:homeostat";
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("audit-match");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let file = |name: &str, lines: &[String]| {
        let path = folder.join(name);
        std::fs::write(&path, lines.join("\n") + "\n").expect("the target folder can be written");
        path.to_str().expect("a text").to_owned()
    };
    let mut chain = Chain::begin("homeostat-0-1");
    let mut lines = vec![Line::Checkpoint(chain.end().clone()).to_json()];
    let target =
        json!({ "apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "order-x", "uid": "u" });
    for facts in [
        json!({ "what": "Planned" }),
        json!({ "what": "EffectAcknowledged", "workload": "shop/order", "action": "order-1-1",
                "kind": "EvictPod", "target": target, "auditId": "r-1" }),
    ] {
        let second = i64::try_from(chain.end().seq).expect("a few") * 100;
        lines.push(Line::Entry(chain.append(facts, None, at(second), || Salt([1; 16]))).to_json());
    }
    let record = file("record.jsonl", &lines);
    let log = |name: &str, ours: &[Value]| {
        let others = [event("other", -10, "o-1"), event("other", 900, "o-2")];
        file(name, &others.iter().chain(ours).map(Value::to_string).collect::<Vec<_>>())
    };
    let (effect, unknown) = (event(USER, 99, "r-1"), event(USER, 400, "r-2"));
    for (log, code, part) in [
        (log("whole.log", std::slice::from_ref(&effect)), 0, "1 effects are in the log"),
        (log("lacking.log", &[]), 1, "EvictPod of Pod shop/order-x by order-1-1"),
        (log("more.log", &[effect, unknown]), 1, "create pods/eviction shop/order-x at "),
    ] {
        let (found, text) = run(&["audit", "match", "--record", &record, "--api-log", &log], "/nonexistent");
        assert_eq!(found, Some(code), "{log}: {text}");
        assert!(text.contains(part), "{log}: {text}");
    }
}
