//! What runs: the restricted standard, requests, probes, arguments that the binary knows.

use crate::render::{SETS, named, of_kind, render};
use clap::{CommandFactory, Parser};
use homeostat::args::{Args, Command};
use homeostat_crds::v1alpha1::{ControlPlane, ControlPlaneSpec};
use k8s_openapi::api;
use k8s_openapi::api::admissionregistration::v1 as admission;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn pods(objects: &[Value]) -> Vec<&Value> {
    objects
        .iter()
        .filter(|object| object["kind"] == "Deployment" || object["kind"] == "Job")
        .map(|object| &object["spec"]["template"]["spec"])
        .collect()
}

fn containers(pod: &Value) -> &[Value] {
    pod["containers"].as_array().unwrap()
}

#[test]
fn every_pod_meets_the_restricted_standard() {
    for set in SETS {
        let objects = render(set);
        assert!(!pods(&objects).is_empty());
        for pod in pods(&objects) {
            let security = &pod["securityContext"];
            assert_eq!(security["runAsNonRoot"], true);
            assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
            // Without a number the kubelet cannot tell that a named user is not root.
            let user = &security["runAsUser"];
            assert!(
                user.as_u64().is_some_and(|user| user >= 1000) || set.contains(&"runAsUser=null"),
                "{user}"
            );
            for forbidden in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(pod[forbidden].is_null(), "{forbidden}");
            }
            for volume in pod["volumes"].as_array().into_iter().flatten() {
                let bounded = volume["emptyDir"]["sizeLimit"].is_string();
                let named = volume["configMap"].is_object() || volume["secret"].is_object();
                assert!(named || bounded, "{volume}");
            }
            for container in containers(pod) {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false);
                assert_eq!(security["readOnlyRootFilesystem"], true);
                assert_eq!(security["capabilities"], serde_json::json!({ "drop": ["ALL"] }));
                assert!(security["privileged"].is_null());
                assert!(
                    container["ports"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .all(|port| port["hostPort"].is_null())
                );
            }
        }
    }
}

#[test]
fn every_container_has_requests_and_a_memory_limit_and_the_server_has_probes() {
    let objects = render(&[]);
    for container in pods(&objects).into_iter().flat_map(containers) {
        let resources = &container["resources"];
        for value in
            [&resources["requests"]["cpu"], &resources["requests"]["memory"], &resources["limits"]["memory"]]
        {
            assert!(value.is_string(), "{resources}");
        }
        // A CPU limit would slow down exactly when much happens.
        assert!(resources["limits"]["cpu"].is_null());
    }
    let deployment = named(&objects, "Deployment", "homeostat");
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &containers(pod)[0];
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert!(pod["terminationGracePeriodSeconds"].as_u64().is_some_and(|seconds| seconds >= 15));
    assert_eq!(container["resources"]["requests"], serde_json::json!({ "cpu": "50m", "memory": "64Mi" }));
    assert_eq!(container["resources"]["limits"], serde_json::json!({ "memory": "256Mi" }));
}

#[test]
fn the_process_is_told_what_the_policy_lets_it_give_a_container() {
    let told = |values: &[&str], name: &str| {
        let objects = render(values);
        let deployment = named(&objects, "Deployment", "homeostat");
        let container = containers(&deployment["spec"]["template"]["spec"])[0].clone();
        let all = container["env"].as_array().unwrap();
        let found = all.iter().find(|variable| variable["name"] == name)?;
        found["value"].as_str().map(ToOwned::to_owned)
    };
    let (cpu, memory) = ("HOMEOSTAT_MOST_CPU_PER_CONTAINER", "HOMEOSTAT_MOST_MEMORY_PER_CONTAINER");
    let narrow = ["admission.mostPerContainer.cpu=2", "admission.mostPerContainer.memory=1Gi"];
    assert_eq!(told(&narrow, cpu).as_deref(), Some("2"));
    assert_eq!(told(&narrow, memory).as_deref(), Some("1Gi"));
    assert_eq!(told(&["admission.enabled=false"], cpu), None);
}

#[test]
fn the_binary_understands_the_arguments_and_variables_that_the_chart_gives_it() {
    let objects = render(&["trustedForwarders={10.0.0.0/8}", "prometheus.tenantHeader=X-Scope-OrgID"]);
    let deployment = named(&objects, "Deployment", "homeostat");
    let container = &containers(&deployment["spec"]["template"]["spec"])[0];
    let Command::Run(run) = parse(container) else { panic!("the Deployment runs `homeostat run`") };

    let ports: Vec<u64> = container["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["containerPort"].as_u64().unwrap())
        .collect();
    assert_eq!(ports, [u64::from(run.otlp_grpc.port()), u64::from(run.http.port())]);

    let command = Args::command();
    let run = command.find_subcommand("run").unwrap();
    let known: Vec<&str> = run.get_arguments().filter_map(|argument| argument.get_env()?.to_str()).collect();
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        assert!(known.contains(&name), "the binary does not read {name}; it reads {known:?}");
    }
    let header = |container: &Value| {
        let all = container["env"].as_array().unwrap();
        let set = all.iter().find(|variable| variable["name"] == "HOMEOSTAT_PROMETHEUS_TENANT_HEADER");
        set.map(|variable| variable["value"].as_str().unwrap().to_owned())
    };
    assert_eq!(header(container).as_deref(), Some("X-Scope-OrgID"));
    let plain = render(&[]);
    let plain = &named(&plain, "Deployment", "homeostat")["spec"]["template"]["spec"];
    assert_eq!(header(&containers(plain)[0]), None, "an empty one is none");

    let job = of_kind(&objects, "Job")[0];
    let container = &containers(&job["spec"]["template"]["spec"])[0];
    let Command::InstallDefaults { file } = parse(container) else { panic!("the Job installs defaults") };
    let mount = container["volumeMounts"][0]["mountPath"].as_str().unwrap();
    let inside = file.strip_prefix(mount).unwrap().to_str().unwrap().to_owned();
    let text =
        named(&objects, "ConfigMap", "homeostat-defaults")["data"][&inside].as_str().unwrap().to_owned();
    let installed: ControlPlane = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(installed.metadata.name.as_deref(), Some("default"));
    assert_eq!(installed.spec, ControlPlaneSpec::default(), "the chart installs the API's own defaults");
}

#[test]
fn reports_lead_to_the_service_or_where_people_reach_the_pages() {
    let address = |set: &[&str]| -> String {
        let objects = render(set);
        let deployment = named(&objects, "Deployment", "homeostat");
        let container = &containers(&deployment["spec"]["template"]["spec"])[0];
        let all = container["env"].as_array().unwrap();
        let found = all.iter().find(|variable| variable["name"] == "HOMEOSTAT_PAGES_URL").unwrap();
        let address = found["value"].as_str().unwrap().to_owned();
        address.parse::<homeostat_cluster::reports::PagesUrl>().unwrap();
        address
    };
    let objects = render(&[]);
    let ports = named(&objects, "Service", "homeostat")["spec"]["ports"].clone();
    assert!(ports.as_array().unwrap().iter().any(|port| port["port"] == 8081));
    assert_eq!(address(&[]), "http://homeostat.homeostat-system.svc:8081");
    assert_eq!(
        address(&["pagesUrl=https://pages.example.org/homeostat"]),
        "https://pages.example.org/homeostat"
    );
}

fn parse(container: &Value) -> Command {
    let arguments = container["args"].as_array().unwrap().iter().map(|value| value.as_str().unwrap());
    Args::try_parse_from(std::iter::once("homeostat").chain(arguments))
        .unwrap_or_else(|error| panic!("{error}"))
        .command
}

#[test]
fn the_control_plane_is_installed_by_a_hook_and_never_a_part_of_the_release() {
    let objects = render(&[]);
    assert!(of_kind(&objects, "ControlPlane").is_empty(), "an upgrade would undo what people changed");
    let job = of_kind(&objects, "Job")[0];
    for object in [job, named(&objects, "ServiceAccount", "homeostat-defaults")] {
        let annotations = &object["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/hook"], "post-install,post-upgrade");
        assert_eq!(annotations["helm.sh/hook-delete-policy"], "before-hook-creation,hook-succeeded");
    }
    assert_eq!(job["spec"]["template"]["spec"]["serviceAccountName"], "homeostat-defaults");
    let service = named(&objects, "Service", "homeostat");
    let name = &job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"];
    assert_ne!(
        *name, service["spec"]["selector"]["app.kubernetes.io/name"],
        "no telemetry goes to the Job's pod"
    );

    let other = render(&["image.tag=other"]);
    assert_ne!(
        of_kind(&other, "Job")[0]["metadata"]["name"],
        job["metadata"]["name"],
        "a Job cannot be changed"
    );
    let hook = |job: &&Value| job["metadata"]["annotations"]["helm.sh/hook"] == "post-install,post-upgrade";
    assert!(!of_kind(&render(&["controlPlane.create=false"]), "Job").iter().any(hook));
}

#[test]
fn what_is_held_is_let_go_before_a_removal_whatever_is_switched_on_by_then() {
    let hooks = |set: &[&str]| -> Vec<Value> {
        let objects = render(set).into_iter();
        objects.filter(|object| object["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete").collect()
    };
    assert!(hooks(&["releaseHeld=false"]).is_empty());
    for set in [&[][..], &["actions.cordon=true"], &["actions.suspend=true", "actions.driveBounds=true"]] {
        let objects = hooks(set);
        let job = of_kind(&objects, "Job")[0];
        let container = &containers(&job["spec"]["template"]["spec"])[0];
        assert!(matches!(parse(container), Command::ReleaseHeld));
        // A removal does not wait for long when the cluster cannot help.
        assert!(job["spec"]["activeDeadlineSeconds"].as_u64().is_some_and(|seconds| seconds <= 300));
        let account = &job["spec"]["template"]["spec"]["serviceAccountName"];
        let binding = of_kind(&objects, "ClusterRoleBinding")[0];
        assert_eq!(binding["subjects"][0]["name"], *account);
        // What was held when its right was switched off is let go too, and the rights are gone with the hook.
        let role = of_kind(&objects, "ClusterRole")[0];
        let rules = role["rules"].as_array().unwrap();
        for resource in ["nodes", "jobs", "cronjobs", "horizontalpodautoscalers"] {
            let rule = rules.iter().find(|rule| rule["resources"].to_string().contains(resource)).unwrap();
            assert_eq!(rule["verbs"].to_string(), r#"["list","patch"]"#, "{resource}");
        }
        let events = rules.iter().find(|rule| rule["resources"].to_string().contains("events")).unwrap();
        assert_eq!(events["apiGroups"].to_string(), r#"["events.k8s.io"]"#, "what is let go is told");
        assert_eq!(events["verbs"].to_string(), r#"["create","patch"]"#);
        let policy = &role["metadata"]["annotations"]["helm.sh/hook-delete-policy"];
        assert_eq!(policy, "before-hook-creation,hook-succeeded");
    }
}

#[test]
fn the_audit_record_has_a_bounded_folder_of_its_own_or_none() {
    let deployment = |set: &[&str]| named(&render(set), "Deployment", "homeostat").clone();
    let on = deployment(&[]);
    let pod = &on["spec"]["template"]["spec"];
    let folder =
        containers(pod)[0]["env"].as_array().unwrap().iter().find(|one| one["name"] == "HOMEOSTAT_AUDIT_DIR");
    let folder = folder.unwrap()["value"].as_str().unwrap();
    let mount =
        containers(pod)[0]["volumeMounts"].as_array().unwrap().iter().find(|one| one["name"] == "audit");
    assert!(folder.starts_with(mount.unwrap()["mountPath"].as_str().unwrap()));
    let own =
        deployment(&["audit.volume.emptyDir=null", "audit.volume.persistentVolumeClaim.claimName=audit"]);
    let volume = &own["spec"]["template"]["spec"]["volumes"][0];
    assert_eq!(volume["persistentVolumeClaim"]["claimName"], "audit");
    let off = deployment(&["audit.enabled=false"]);
    assert!(!off.to_string().contains("AUDIT") && off["spec"]["template"]["spec"]["volumes"].is_null());
    assert!(!render(&["audit.enabled=false"]).iter().any(|one| one["metadata"]["name"] == "homeostat-audit"));
}

#[test]
fn the_secrets_with_addresses_and_no_others_lie_where_the_binary_looks_and_are_not_waited_for() {
    let deployment = |set: &[&str]| named(&render(set), "Deployment", "homeostat").clone();
    let secrets = |deployment: &Value| -> Vec<Value> {
        let volumes = deployment["spec"]["template"]["spec"]["volumes"].as_array().into_iter().flatten();
        volumes.filter(|volume| volume["secret"].is_object()).cloned().collect()
    };
    assert!(secrets(&deployment(&[])).is_empty());
    for set in [
        &["notify.secrets={hooks,chat.example}"][..],
        &["notify.secrets={hooks,chat.example}", "audit.enabled=false"],
    ] {
        let on = deployment(set);
        let container = &containers(&on["spec"]["template"]["spec"])[0];
        let Command::Run(run) = parse(container) else { panic!("the Deployment runs `homeostat run`") };
        let volumes = secrets(&on);
        assert_eq!(volumes.len(), 2);
        for (volume, secret) in volumes.iter().zip(["hooks", "chat.example"]) {
            let wanted = serde_json::json!({ "secretName": secret, "optional": true });
            assert_eq!(volume["secret"], wanted, "one that is missing must not keep the pod from starting");
            let mounts = container["volumeMounts"].as_array().unwrap();
            let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]).unwrap();
            assert_eq!(mount["mountPath"], run.notify_dir.join(secret).to_str().unwrap());
            assert_eq!(mount["readOnly"], true);
        }
    }
}

#[test]
fn replicas_are_spread_and_protected_only_when_there_are_several() {
    let one = render(&[]);
    assert!(of_kind(&one, "PodDisruptionBudget").is_empty(), "it would block every node drain");
    let several = render(&["replicas=2"]);
    assert_eq!(of_kind(&several, "PodDisruptionBudget").len(), 1);
    let deployment = named(&several, "Deployment", "homeostat");
    let spread = &deployment["spec"]["template"]["spec"]["topologySpreadConstraints"];
    assert_eq!(spread[0]["topologyKey"], "kubernetes.io/hostname");
    assert!(
        of_kind(&render(&["replicas=2", "podDisruptionBudget.enabled=false"]), "PodDisruptionBudget")
            .is_empty()
    );
}

#[test]
fn the_service_and_the_image_are_where_people_look_for_them() {
    let objects = render(&["image.repository=registry.example/homeostat", "image.tag=1.2.3"]);
    let ports = &named(&objects, "Service", "homeostat")["spec"]["ports"];
    assert_eq!((&ports[0]["name"], &ports[0]["port"]), (&Value::from("otlp-grpc"), &Value::from(4317)));
    assert_eq!((&ports[1]["name"], &ports[1]["port"]), (&Value::from("http"), &Value::from(8081)));
    for container in pods(&objects).into_iter().flat_map(containers) {
        assert_eq!(container["image"], "registry.example/homeostat:1.2.3");
    }
    let digest = format!("sha256:{}", "0a".repeat(32));
    let pinned = render(&[&format!("image.digest={digest}")]);
    for container in pods(&pinned).into_iter().flat_map(containers) {
        assert_eq!(container["image"], format!("homeostat.dev/homeostat@{digest}"));
    }
}

/// What an API server would drop or refuse: fields that are not part of its types.
#[test]
fn kubernetes_knows_every_field_of_every_object() {
    for set in SETS {
        for object in render(set) {
            let kept = match object["kind"].as_str().unwrap() {
                "Deployment" => through::<api::apps::v1::Deployment>(&object),
                "Job" => through::<api::batch::v1::Job>(&object),
                "Service" => through::<api::core::v1::Service>(&object),
                "ServiceAccount" => through::<api::core::v1::ServiceAccount>(&object),
                "ConfigMap" => through::<api::core::v1::ConfigMap>(&object),
                "ClusterRole" => through::<api::rbac::v1::ClusterRole>(&object),
                "ClusterRoleBinding" => through::<api::rbac::v1::ClusterRoleBinding>(&object),
                "Role" => through::<api::rbac::v1::Role>(&object),
                "RoleBinding" => through::<api::rbac::v1::RoleBinding>(&object),
                "PodDisruptionBudget" => through::<api::policy::v1::PodDisruptionBudget>(&object),
                "ValidatingAdmissionPolicy" => through::<admission::ValidatingAdmissionPolicy>(&object),
                "ValidatingAdmissionPolicyBinding" => {
                    through::<admission::ValidatingAdmissionPolicyBinding>(&object)
                }
                "NetworkPolicy" => through::<api::networking::v1::NetworkPolicy>(&object),
                // The first is compared with crds/generated, the others are the Prometheus Operator's.
                "CustomResourceDefinition" | "ServiceMonitor" | "PrometheusRule" => continue,
                other => panic!("{other} is new: add its type here"),
            };
            let mut lost = Vec::new();
            compare(&object, &kept, String::new(), &mut lost);
            assert!(lost.is_empty(), "{} {}: {lost:?}", object["kind"], object["metadata"]["name"]);
        }
    }
}

fn through<T: Serialize + DeserializeOwned>(object: &Value) -> Value {
    let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"));
    serde_json::to_value(typed).unwrap()
}

fn compare(before: &Value, after: &Value, path: String, lost: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                match after.get(key) {
                    Some(kept) => compare(value, kept, format!("{path}.{key}"), lost),
                    None => lost.push(format!("{path}.{key}")),
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                compare(before, after, format!("{path}[{index}]"), lost);
            }
        }
        (before, after) if before == after => {}
        _ => lost.push(path),
    }
}
