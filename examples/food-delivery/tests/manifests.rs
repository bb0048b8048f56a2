//! The committed manifests are the rendered ones, and say what the application relies on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends at the first surprise")]

use std::process::Command;

use serde_json::Value;

fn rendered(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_food-delivery")).arg("manifests").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn objects(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[test]
fn committed_files_are_up_to_date() {
    for (file, committed, probes) in [
        ("plain.yaml", include_str!("../manifests/plain.yaml"), "none"),
        ("probes.yaml", include_str!("../manifests/probes.yaml"), "sensible"),
    ] {
        assert!(
            rendered(&["--probes", probes]) == committed,
            "run: cargo run -p food-delivery -- manifests --probes {probes} > examples/food-delivery/manifests/{file}"
        );
    }
}

#[test]
fn the_variants_differ_only_in_their_probes() {
    let plain = objects(&rendered(&["--probes", "none"]));
    let mut probed = objects(&rendered(&["--probes", "sensible"]));
    assert_ne!(plain, probed);
    for deployment in probed.iter_mut().filter(|object| object["kind"] == "Deployment") {
        let container = deployment["spec"]["template"]["spec"]["containers"][0].as_object_mut().unwrap();
        let liveness = container.remove("livenessProbe").unwrap();
        assert_eq!((&liveness["periodSeconds"], &liveness["failureThreshold"]), (&5.into(), &3.into()));
        assert!(container.remove("readinessProbe").is_some());
    }
    assert_eq!(plain, probed);
}

#[test]
fn one_replica_each_with_room_for_one_more() {
    let objects = objects(&rendered(&["--image", "registry.example/food:1", "--run-as-user", "0"]));
    let deployments = of_kind(&objects, "Deployment");
    assert_eq!(deployments.len(), 7);
    for deployment in &deployments {
        let spec = &deployment["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(spec["strategy"]["rollingUpdate"]["maxSurge"], 1);
        assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
        let pod = &spec["template"]["spec"];
        assert_eq!(pod["terminationGracePeriodSeconds"], 5);
        assert_eq!(pod["containers"][0]["image"], "registry.example/food:1");
        assert_eq!(pod["securityContext"]["runAsUser"], 0);
    }
    assert_eq!(of_kind(&objects, "PersistentVolume").len(), 5);
    assert_eq!(of_kind(&objects, "PersistentVolumeClaim").len(), 5);
    assert_eq!(of_kind(&objects, "Service").len(), 7);
}

#[test]
fn every_environment_value_is_text() {
    for object in of_kind(&objects(&rendered(&[])), "Deployment") {
        let container = &object["spec"]["template"]["spec"]["containers"][0];
        for entry in container["env"].as_array().into_iter().flatten() {
            assert!(entry["value"].is_string() || entry["valueFrom"].is_object(), "{entry}");
        }
    }
}

#[test]
fn stock_telemetry_sets_no_delay_and_an_empty_endpoint_sets_nothing() {
    let stock = rendered(&["--telemetry", "stock"]);
    assert!(!stock.contains("OTEL_BSP_SCHEDULE_DELAY") && stock.contains("OTEL_EXPORTER_OTLP_ENDPOINT"));
    assert!(!rendered(&["--otlp-endpoint", ""]).contains("OTEL_"));
}

#[test]
fn a_service_is_put_under_control_in_ten_lines() {
    let text = include_str!("../manifests/workloads.yaml");
    let documents: Vec<_> = text.split("---\n").filter(|document| document.contains("kind:")).collect();
    assert_eq!(documents.len(), 6);
    for document in documents {
        assert!(document.trim().lines().count() <= 10, "{document}");
    }
}
