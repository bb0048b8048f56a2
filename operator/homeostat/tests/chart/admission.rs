//! The guards outside of the process: what the API server holds the service account, and people, to.

use crate::render::{SETS, named, of_kind, render};
use homeostat_execute::actions::{ALL, SYSTEM_NAMESPACES, SYSTEM_PREFIXES, chart_value};
use kube_cel::{AdmissionRequest, VapEvaluator, VapExpression};
use serde_json::{Value, json};

const ENVELOPE: &str = "homeostat-envelope";

fn expressions(policy: &Value) -> Vec<&str> {
    let validations = policy["spec"]["validations"].as_array().unwrap();
    validations.iter().map(|validation| validation["expression"].as_str().unwrap()).collect()
}

fn writes(set: &[&str]) -> String {
    let objects = render(set);
    let policy = named(&objects, "ValidatingAdmissionPolicy", ENVELOPE);
    let found = expressions(policy).into_iter().find(|text| text.starts_with("variables.write in "));
    found.expect("the envelope lists what may be written").to_owned()
}

#[test]
fn each_policy_is_bound_denies_and_fails_closed_but_that_of_the_kill_switch() {
    let objects = render(&[]);
    let policies = of_kind(&objects, "ValidatingAdmissionPolicy");
    assert_eq!(policies.len(), 3);
    for policy in policies {
        let name = policy["metadata"]["name"].as_str().unwrap();
        let binding = named(&objects, "ValidatingAdmissionPolicyBinding", name);
        assert_eq!(binding["spec"]["policyName"], name);
        // An emergency waits for nothing.
        let warns = name == crate::kill_switch::POLICY;
        let (when_broken, actions) =
            if warns { ("Ignore", json!(["Warn", "Audit"])) } else { ("Fail", json!(["Deny"])) };
        assert_eq!(policy["spec"]["failurePolicy"], when_broken, "{name}");
        assert_eq!(binding["spec"]["validationActions"], actions, "{name}");
    }
    assert!(of_kind(&render(&["admission.enabled=false"]), "ValidatingAdmissionPolicy").is_empty());
}

#[test]
fn the_envelope_is_for_our_identity_only_and_for_every_resource() {
    let objects = render(&[]);
    let spec = &named(&objects, "ValidatingAdmissionPolicy", ENVELOPE)["spec"];
    let rule = &spec["matchConstraints"]["resourceRules"][0];
    for part in ["apiGroups", "apiVersions", "operations"] {
        assert_eq!(rule[part], serde_json::json!(["*"]), "{part}");
    }
    assert_eq!(rule["resources"], serde_json::json!(["*/*"]));
    let whom = "request.userInfo.username == 'system:serviceaccount:homeostat-system:homeostat'";
    assert_eq!(spec["matchConditions"][0]["expression"], whom);
}

#[test]
fn an_action_that_is_off_may_not_write_even_with_more_rights() {
    let default = writes(&[]);
    assert!(default.contains("'/pods/eviction CREATE'") && default.contains("'apps/deployments UPDATE'"));
    for absent in ["nodes", "scale", "batch", "resize", "'homeostat.dev/tenants UPDATE'", "secrets", "rbac"] {
        assert!(!default.contains(absent), "{absent}: {default}");
    }
    for action in ALL.iter().filter(|action| action.changes_state()) {
        let on = writes(&[&format!("actions.{}=true", chart_value(action.kind()))]);
        for right in action.rights() {
            for (verb, operation) in [("create", "CREATE"), ("patch", "UPDATE"), ("delete", "DELETE")] {
                if right.verbs.contains(&verb) {
                    let write = format!("'{}/{} {operation}'", right.api_group, right.resource);
                    assert!(on.contains(&write), "{}: {write} is not in {on}", action.kind());
                }
            }
        }
    }
}

#[test]
fn of_an_autoscaler_only_the_bounds_may_change_with_peoples_own_noted_beside_them() {
    let objects = render(&["actions.driveBounds=true"]);
    let policy = named(&objects, "ValidatingAdmissionPolicy", ENVELOPE);
    let variables = policy["spec"]["variables"].as_array().unwrap();
    let text = |name: &str| {
        let found = variables.iter().find(|variable| variable["name"] == name).unwrap();
        found["expression"].as_str().unwrap().to_owned()
    };
    assert!(text("fields").contains("'horizontalpodautoscalers' ? ['minReplicas', 'maxReplicas']"));
    assert!(text("foreign").contains("'autoscaling'"), "system namespaces are closed for them too");
    let texts = expressions(policy).join("\n");
    assert!(texts.contains("'homeostat.dev/bounds-before' in variables.annotations"), "{texts}");
    assert!(texts.contains("object.spec.minReplicas <= 2 * variables.oldFloor"), "{texts}");
    assert!(!writes(&[]).contains("autoscaling"), "off until it is switched on");
}

#[test]
fn the_pods_of_a_job_at_once_may_change_only_with_the_write_that_lets_it_start() {
    let fields = |set: &[&str]| {
        let objects = render(set);
        let policy = named(&objects, "ValidatingAdmissionPolicy", ENVELOPE);
        let variables = policy["spec"]["variables"].as_array().unwrap();
        let found = variables.iter().find(|variable| variable["name"] == "fields").unwrap();
        found["expression"].as_str().unwrap().to_owned()
    };
    assert!(fields(&["actions.startJob=true"]).contains("'jobs' ? ['suspend', 'template', 'parallelism']"));
    for set in [&[][..], &["actions.suspend=true", "actions.resizePod=true"]] {
        assert!(!fields(set).contains("parallelism"), "{set:?}");
    }
    let objects = render(&["actions.startJob=true"]);
    let texts = expressions(named(&objects, "ValidatingAdmissionPolicy", ENVELOPE));
    let rule = texts.iter().find(|text| text.contains("object.spec.parallelism >= 1")).unwrap();
    assert!(rule.contains("'homeostat.dev/started-by' in variables.annotations"), "{rule}");
    // As the API server runs it, with the variables that it depends on put in. The evaluator here writes keys of objects
    // without signs, so the mark has a plain name.
    let rule = rule
        .replace("'homeostat.dev/started-by'", "'mark'")
        .replace("variables.runs", "true")
        .replace("variables.resource", "'jobs'")
        .replace("variables.annotations", "object.metadata.annotations");
    let waiting = json!({ "metadata": { "annotations": {} }, "spec": { "suspend": true, "parallelism": 2 } });
    let allowed = |before: &Value, change: Value| {
        let mut after = before.clone();
        for part in ["metadata", "spec"] {
            for (name, value) in change[part].as_object().into_iter().flatten() {
                after[part][name] = value.clone();
            }
        }
        let evaluator = VapEvaluator::builder().object(after).old_object(before.clone()).build();
        let rule = VapExpression { expression: rule.clone(), message: None, message_expression: None };
        evaluator.evaluate(&[rule]).iter().all(|result| result.passed)
    };
    let mark = json!({ "annotations": { "mark": "run-plan-1" } });
    let start = |pods: i32| json!({ "metadata": mark, "spec": { "suspend": false, "parallelism": pods } });
    assert!(allowed(&waiting, start(5)), "the one write of a start");
    assert!(allowed(&waiting, json!({ "spec": { "suspend": false } })), "a start that leaves it");
    assert!(!allowed(&waiting, start(0)), "a run without pods");
    assert!(!allowed(&waiting, json!({ "spec": { "suspend": false, "parallelism": 5 } })), "no mark");
    assert!(!allowed(&waiting, json!({ "metadata": mark, "spec": { "parallelism": 5 } })), "still suspended");
    let mut running = waiting.clone();
    running["spec"]["suspend"] = json!(false);
    assert!(!allowed(&running, start(50)), "it runs already");
    let mut indexed = waiting.clone();
    indexed["spec"]["completionMode"] = json!("Indexed");
    assert!(!allowed(&indexed, start(5)), "each pod has a fixed part");
    assert!(allowed(&indexed, json!({ "spec": { "suspend": false } })));
}

/// Whether the rules about sizes let `after` be written over `before`, as the API server runs them with their variables
/// put in.
fn resize(set: &[&str], before: &Value, after: &Value) -> bool {
    let objects = render(set);
    let texts = expressions(named(&objects, "ValidatingAdmissionPolicy", ENVELOPE));
    let rules: Vec<VapExpression> = texts
        .into_iter()
        .filter(|text| text.starts_with("variables.sized.all("))
        .map(|text| VapExpression {
            expression: text
                .replace("variables.sized", "object.spec.containers")
                .replace("variables.oldSized", "oldObject.spec.containers"),
            message: Some("too large".to_owned()),
            message_expression: None,
        })
        .collect();
    assert_eq!(rules.len(), 2);
    let pod = |resources: &Value| json!({ "spec": { "containers": [{ "name": "order", "resources": resources }, { "name": "plain" }] } });
    let evaluator = VapEvaluator::builder().object(pod(after)).old_object(pod(before)).build();
    let results = evaluator.evaluate(&rules);
    let judged = |message: &Option<String>| message.as_deref().is_none_or(|message| message == "too large");
    assert!(results.iter().all(|result| judged(&result.message)), "{results:?}");
    results.iter().all(|result| result.passed)
}

#[test]
fn a_container_gets_no_more_than_the_chart_says_and_asks_for_no_more_than_its_limit() {
    let of = |request: [&str; 2], limit: [&str; 2]| {
        json!({ "requests": { "cpu": request[0], "memory": request[1] },
                "limits": { "cpu": limit[0], "memory": limit[1] } })
    };
    let before = of(["500m", "256Mi"], ["1", "512Mi"]);
    for (after, allowed) in [
        (of(["1", "512Mi"], ["2", "1Gi"]), true),
        (of(["32", "128Gi"], ["32000m", "137438953472"]), true),
        (of(["1", "1Gi"], ["32001m", "1Gi"]), false),
        (of(["500m", "256Mi"], ["32", "512Mi"]), true),
        (of(["500m", "256Mi"], ["33", "512Mi"]), false),
        (of(["1", "1Gi"], ["1", "137438953473"]), false),
        (of(["3", "1Gi"], ["2", "1Gi"]), false),
        (of(["1", "1025Mi"], ["1", "1Gi"]), false),
        (json!({ "requests": { "cpu": "2" } }), true),
        (json!({ "requests": { "cpu": "33" } }), false),
        (json!({ "requests": { "memory": "1Ti" } }), false),
        (json!({}), true),
    ] {
        assert_eq!(resize(&[], &before, &after), allowed, "{after}");
    }
    // What people made larger is not in the way of others; made larger still, it is.
    let large = of(["40", "1Gi"], ["40", "1Gi"]);
    assert!(resize(&[], &large, &large));
    assert!(!resize(&[], &large, &of(["40", "1Gi"], ["41", "1Gi"])));
    let narrow = ["admission.mostPerContainer.cpu=2", "admission.mostPerContainer.memory=1Gi"];
    assert!(resize(&narrow, &before, &of(["2", "1Gi"], ["2", "1Gi"])));
    assert!(!resize(&narrow, &before, &of(["2", "1Gi"], ["3", "1Gi"])));
}

#[test]
fn sizes_are_bounded_in_every_way_in_which_they_can_be_written() {
    let objects = render(&["actions.resizePod=true", "actions.startJob=true"]);
    let policy = named(&objects, "ValidatingAdmissionPolicy", ENVELOPE);
    let variables = policy["spec"]["variables"].as_array().unwrap();
    let containers = json!([{ "name": "app" }]);
    let template = json!({ "template": { "spec": { "containers": containers } } });
    for (resource, object) in [
        ("pods/resize", json!({ "spec": { "containers": containers } })),
        ("jobs", json!({ "spec": template })),
        ("cronjobs", json!({ "spec": { "jobTemplate": { "spec": template } } })),
    ] {
        for name in ["sized", "oldSized"] {
            let found = variables.iter().find(|variable| variable["name"] == name).unwrap();
            let list =
                found["expression"].as_str().unwrap().replace("variables.resource", &format!("'{resource}'"));
            let one = list.replace("variables.sizes", "true").replace("variables.creates", "false");
            let rule = format!("({one}).exists(c, c.name == 'app')");
            let rule = VapExpression { expression: rule, message: None, message_expression: None };
            let evaluator = VapEvaluator::builder().object(object.clone()).old_object(object.clone()).build();
            assert!(evaluator.evaluate(&[rule]).iter().all(|result| result.passed), "{resource}: {name}");
        }
    }
}

/// What the rules that look into a new Job have against one with this pod, as the API server runs them with their variables
/// put in; nothing where it is taken.
fn refused(set: &[&str], pod: &Value) -> Vec<String> {
    let objects = render(set);
    let policy = named(&objects, "ValidatingAdmissionPolicy", ENVELOPE);
    let variables = policy["spec"]["variables"].as_array().unwrap();
    let whole = |text: &str| {
        // A variable names only those before it.
        variables.iter().rev().fold(text.to_owned(), |text, variable| {
            let name = variable["name"].as_str().unwrap();
            let value = match name {
                "group" => "'batch'",
                "resource" => "'jobs'",
                _ => variable["expression"].as_str().unwrap(),
            };
            text.replace(&format!("variables.{name}"), &format!("({value})"))
        })
    };
    let looks_into = |text: &str| text.contains("variables.sized") || text.contains("variables.newPods");
    let rules: Vec<VapExpression> = policy["spec"]["validations"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|rule| looks_into(rule["expression"].as_str().unwrap()))
        .map(|rule| VapExpression {
            expression: whole(rule["expression"].as_str().unwrap()),
            message: rule["message"].as_str().map(str::to_owned),
            message_expression: rule["messageExpression"].as_str().map(str::to_owned),
        })
        .collect();
    assert!(rules.len() >= 3, "{rules:?}");
    let request = AdmissionRequest { operation: "CREATE".to_owned(), ..AdmissionRequest::default() };
    let job = json!({ "spec": { "template": { "spec": pod } } });
    let results = VapEvaluator::builder().object(job).request(request).build().evaluate(&rules);
    results.into_iter().filter(|result| !result.passed).filter_map(|result| result.message).collect()
}

#[test]
fn a_new_job_gets_no_more_than_the_chart_says_and_nothing_of_its_node() {
    let size = json!({ "requests": { "cpu": "1" }, "limits": { "memory": "1Gi" } });
    let plain = json!({ "containers": [{ "name": "run", "resources": size }] });
    let with = |name: &str, value: Value| {
        let mut pod = plain.clone();
        pod[name] = value;
        pod
    };
    let sized = |name: &str, resources: Value| json!([{ "name": name, "resources": resources }]);
    let privileged =
        |name: &str, is: bool| json!([{ "name": name, "securityContext": { "privileged": is } }]);
    for pod in [
        plain.clone(),
        with("containers", json!([{ "name": "run" }])),
        with("containers", sized("run", json!({ "requests": { "cpu": "32", "memory": "128Gi" } }))),
        with("initContainers", privileged("first", false)),
        with("hostNetwork", json!(false)),
        with("volumes", json!([{ "name": "tmp", "emptyDir": {} }])),
    ] {
        assert_eq!(refused(&[], &pod), Vec::<String>::new(), "{pod}");
    }
    for (pod, why) in [
        (with("containers", sized("run", json!({ "requests": { "cpu": "33" } }))), "at most 32 cores"),
        (with("containers", sized("run", json!({ "limits": { "memory": "129Gi" } }))), "at most 32 cores"),
        (with("initContainers", sized("first", json!({ "limits": { "cpu": "33" } }))), "at most 32 cores"),
        (with("hostNetwork", json!(true)), "the host's namespaces"),
        (with("hostPID", json!(true)), "the host's namespaces"),
        (with("hostIPC", json!(true)), "the host's namespaces"),
        (with("volumes", json!([{ "name": "host", "hostPath": { "path": "/" } }])), "or paths"),
        (with("containers", privileged("run", true)), "a privileged container"),
        (with("initContainers", privileged("first", true)), "a privileged container"),
    ] {
        let said = refused(&[], &pod);
        assert!(said.len() == 1 && said[0].contains(why), "{pod}: {said:?}");
    }
    assert!(!refused(&["admission.mostPerContainer.memory=512Mi"], &plain).is_empty());
}

#[test]
fn a_new_job_runs_only_as_an_account_that_people_named() {
    let pod = |account: &str| json!({ "serviceAccountName": account, "containers": [{ "name": "run" }] });
    let unset = json!({ "containers": [{ "name": "run" }] });
    let named: &[&str] = &["admission.jobServiceAccounts={billing,night.run}"];
    let any: &[&str] = &["admission.jobServiceAccounts={*}"];
    for set in [&[][..], named, any] {
        for one in [&unset, &pod("default"), &pod("")] {
            assert_eq!(refused(set, one), Vec::<String>::new(), "{set:?}: {one}");
        }
    }
    for (set, account, taken) in [
        (&[][..], "billing", false),
        (named, "billing", true),
        (named, "night.run", true),
        (named, "admin", false),
        (named, "nightXrun", false),
        (any, "admin", true),
    ] {
        let said = refused(set, &pod(account));
        assert_eq!(said.is_empty(), taken, "{set:?}: {account}: {said:?}");
        for text in said {
            assert!(text.contains(account) && text.contains("admission.jobServiceAccounts"), "{text}");
            // These words are how the API server's authoriser refuses; the missing right would be named instead.
            assert!(!text.contains(" cannot "), "{text}");
        }
    }
}

/// Whether the rule about marks and owners of new Jobs takes this one, as the API server runs it with its variable put in.
/// The evaluator here writes keys of objects without signs, so the marks have plain names.
fn may_create(set: &[&str], job: &Value) -> bool {
    let objects = render(set);
    let texts = expressions(named(&objects, "ValidatingAdmissionPolicy", ENVELOPE));
    let rule = texts.into_iter().find(|text| text.contains("'homeostat.dev/retry-of'")).unwrap();
    let expression = rule
        .replace("!variables.creates", "false")
        .replace("'homeostat.dev/created-by'", "'by'")
        .replace("'homeostat.dev/retry-of'", "'of'")
        .replace("'cronjob.kubernetes.io/instantiate'", "'manual'");
    let rule = VapExpression { expression, message: None, message_expression: None };
    let request = AdmissionRequest { operation: "CREATE".to_owned(), ..AdmissionRequest::default() };
    let evaluator = VapEvaluator::builder().object(job.clone()).request(request).build();
    evaluator.evaluate(&[rule]).iter().all(|result| result.passed)
}

#[test]
fn a_new_job_is_a_repeat_or_the_suspended_run_of_a_cron_job_and_each_only_where_its_action_is_on() {
    let owner = |kind: &str, controller: bool| json!([{ "apiVersion": "batch/v1", "kind": kind, "name": "plan", "uid": "u", "controller": controller }]);
    let marks = json!({ "by": "run-plan-1", "manual": "manual" });
    let run = json!({
        "metadata": { "annotations": marks, "ownerReferences": owner("CronJob", true) }, "spec": { "suspend": true },
    });
    let with = |part: &str, name: &str, value: Value| {
        let mut job = run.clone();
        job[part][name] = value;
        job
    };
    let create = ["actions.createJob=true"];
    assert!(may_create(&create, &run));
    for job in [
        with("spec", "suspend", json!(false)),
        json!({ "metadata": run["metadata"], "spec": {} }),
        with("metadata", "annotations", json!({ "by": "run-plan-1" })),
        with("metadata", "annotations", json!({ "manual": "manual" })),
        with("metadata", "ownerReferences", owner("CronJob", false)),
        with("metadata", "ownerReferences", owner("Backup", true)),
        with("metadata", "ownerReferences", json!([])),
        json!({ "metadata": { "annotations": marks }, "spec": { "suspend": true } }),
        json!({ "metadata": { "ownerReferences": owner("CronJob", true) }, "spec": { "suspend": true } }),
    ] {
        assert!(!may_create(&create, &job), "{job}");
    }
    let repeat = json!({ "metadata": { "annotations": { "by": "order-1-1", "of": "uid" } }, "spec": {} });
    for (set, made, repeated) in [
        (&["actions.createJob=true"][..], true, false),
        (&["actions.retryJob=true"][..], false, true),
        (&["actions.startJob=true"][..], false, true),
        (&["actions.startJob=true", "actions.createJob=true"][..], true, true),
        (&[][..], false, false),
    ] {
        assert_eq!((may_create(set, &run), may_create(set, &repeat)), (made, repeated), "{set:?}");
    }
}

#[test]
fn a_roll_back_gives_a_pod_no_more_of_its_node_and_no_other_identity() {
    let objects = render(&["actions.rollBack=true"]);
    let texts = expressions(named(&objects, "ValidatingAdmissionPolicy", ENVELOPE));
    let rule = texts.iter().find(|text| text.contains("hostNetwork")).unwrap();
    assert!(rule.starts_with("!variables.rollsBack ||"), "{rule}");
    let rule = rule.replace("variables.rollsBack", "true");
    let plain =
        json!({ "serviceAccountName": "order", "containers": [{ "name": "order", "image": "order:2" }] });
    let with = |name: &str, value: Value| {
        let mut pod = plain.clone();
        pod[name] = value;
        pod
    };
    let allowed = |before: &Value, after: &Value| {
        let whole = |pod: &Value| json!({ "spec": { "template": { "spec": pod } } });
        let evaluator = VapEvaluator::builder().object(whole(after)).old_object(whole(before)).build();
        let rule = VapExpression { expression: rule.clone(), message: None, message_expression: None };
        evaluator.evaluate(&[rule]).iter().all(|result| result.passed)
    };
    let privileged =
        json!([{ "name": "order", "image": "order:1", "securityContext": { "privileged": true } }]);
    let reaching = [
        with("hostNetwork", json!(true)),
        with("hostPID", json!(true)),
        with("hostIPC", json!(true)),
        with("volumes", json!([{ "name": "host", "hostPath": { "path": "/" } }])),
        with("containers", privileged.clone()),
        with("initContainers", json!([{ "name": "first", "securityContext": { "privileged": true } }])),
    ];
    for pod in &reaching {
        assert!(!allowed(&plain, pod), "added: {pod}");
        assert!(allowed(pod, pod), "there before: {pod}");
        assert!(allowed(pod, &plain), "taken away: {pod}");
    }
    let other_path = with("volumes", json!([{ "name": "host", "hostPath": { "path": "/var/log" } }]));
    assert!(!allowed(&other_path, &reaching[3]), "another path");
    assert!(!allowed(&plain, &with("serviceAccountName", json!("admin"))));
    assert!(!allowed(&json!({ "containers": [] }), &plain), "from the default account to another");
    let older = json!([{ "name": "order", "image": "order:1", "securityContext": { "privileged": false } }]);
    let mut older = with("containers", older);
    older["volumes"] = json!([{ "name": "tmp", "emptyDir": {} }]);
    older["hostNetwork"] = json!(false);
    assert!(allowed(&plain, &older), "an older release as such");
}

#[test]
fn of_other_kinds_only_the_scale_that_people_name_may_be_written() {
    let set = ["scaleTargets[0].apiGroup=argoproj.io", "scaleTargets[0].resource=rollouts"];
    assert!(!writes(&set).contains("rollouts"), "scaling is off");
    let on = [set[0], set[1], "actions.scaleDown=true"];
    assert!(writes(&on).contains("'argoproj.io/rollouts/scale UPDATE'"));
    assert!(!writes(&on).contains("'argoproj.io/rollouts UPDATE'"));
    let objects = render(&on);
    let policy = named(&objects, "ValidatingAdmissionPolicy", ENVELOPE);
    let variables = policy["spec"]["variables"].to_string();
    assert!(variables.contains("'rollouts/scale'") && variables.contains("'autoscaling', 'argoproj.io'"));
}

#[test]
fn what_the_role_grants_on_our_own_kinds_the_envelope_does_not_refuse() {
    let objects = render(&[]);
    let allowed = writes(&[]);
    let role = named(&objects, "ClusterRole", "homeostat");
    let own = |rule: &&Value| rule["apiGroups"] == serde_json::json!(["homeostat.dev"]);
    let list = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    for rule in role["rules"].as_array().unwrap().iter().filter(own) {
        for resource in list(&rule["resources"]) {
            for verb in list(&rule["verbs"]) {
                let operation = match verb.as_str() {
                    "create" => "CREATE",
                    "update" | "patch" => "UPDATE",
                    "delete" => "DELETE",
                    _ => continue,
                };
                let write = format!("'homeostat.dev/{resource} {operation}'");
                assert!(allowed.contains(&write), "{write} is granted and refused: {allowed}");
            }
        }
    }
}

#[test]
fn system_namespaces_are_as_closed_as_in_the_code_and_others_can_be() {
    let objects = render(&[]);
    let texts = expressions(named(&objects, "ValidatingAdmissionPolicy", ENVELOPE)).join("\n");
    for namespace in SYSTEM_NAMESPACES.into_iter().chain(["homeostat-system"]) {
        assert!(texts.contains(&format!("'{namespace}'")), "{namespace}");
    }
    for prefix in SYSTEM_PREFIXES {
        assert!(texts.contains(&format!("startsWith('{prefix}')")), "{prefix}");
    }
    assert!(!texts.contains("'shop'"));
    let objects = render(&["admission.namespaces={shop}"]);
    let texts = expressions(named(&objects, "ValidatingAdmissionPolicy", ENVELOPE)).join("\n");
    assert!(texts.contains("variables.inNamespace in ['shop']"));
}

#[test]
fn of_the_own_namespace_only_the_anchors_may_be_written() {
    assert!(writes(&[]).contains("'/configmaps UPDATE'"));
    assert!(!writes(&["audit.enabled=false"]).contains("configmaps"));
    let objects = render(&[]);
    let texts = expressions(named(&objects, "ValidatingAdmissionPolicy", ENVELOPE)).join("\n");
    let only = "(variables.inNamespace == 'homeostat-system' && object.metadata.name == 'homeostat-audit')";
    assert!(texts.contains(only), "{texts}");
}

#[test]
fn only_a_person_with_the_verb_decides_in_the_own_name_on_what_waits() {
    let objects = render(&[]);
    let texts = expressions(named(&objects, "ValidatingAdmissionPolicy", "homeostat-approval")).join("\n");
    for needed in [
        "object.spec.approval.approvedBy == request.userInfo.username",
        ".check('approve').allowed()",
        "request.userInfo.username != 'system:serviceaccount:homeostat-system:homeostat'",
        "oldObject.status.state == 'AwaitingApproval'",
    ] {
        assert!(texts.contains(needed), "{needed}: {texts}");
    }
}

/// Nothing in the cluster waits for Homeostat: what it demands is evaluated by the API server itself.
#[test]
fn no_write_in_the_cluster_depends_on_an_end_point_of_ours() {
    for set in SETS {
        for object in render(set) {
            let kind = object["kind"].as_str().unwrap();
            assert!(!kind.contains("WebhookConfiguration") && kind != "APIService", "{}", object["metadata"]);
            let conversion = &object["spec"]["conversion"]["strategy"];
            assert!(conversion.is_null() || conversion == "None", "{}", object["metadata"]["name"]);
        }
    }
}
