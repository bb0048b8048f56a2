//! Who may do what: least rights, one role per action.

use crate::render::{SETS, named, of_kind, render};
use homeostat_cluster::anchors::ANCHORS;
use homeostat_cluster::elector::lease::{LEASE_NAME, LEASE_NAMESPACE};
use homeostat_execute::actions::{ALL, chart_value};
use serde_json::Value;
use std::collections::BTreeSet;

fn roles(objects: &[Value]) -> Vec<&Value> {
    objects.iter().filter(|object| object["kind"] == "ClusterRole" || object["kind"] == "Role").collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// `(group, resource, verb)` of every rule.
fn rights(role: &Value) -> BTreeSet<(String, String, String)> {
    let mut all = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    all.insert((group.to_owned(), resource.to_owned(), verb.to_owned()));
                }
            }
        }
    }
    all
}

#[test]
fn no_role_has_a_wildcard_a_secret_or_a_way_to_more_rights() {
    for set in SETS {
        for role in roles(&render(set)) {
            for (group, resource, verb) in rights(role) {
                let name = &role["metadata"]["name"];
                for text in [&group, &resource, &verb] {
                    assert_ne!(text, "*", "{name}");
                }
                assert!(!["escalate", "bind", "impersonate"].contains(&&*verb), "{name}: {verb}");
                let forbidden =
                    ["secrets", "nodes/proxy", "pods/exec", "pods/attach", "serviceaccounts/token"];
                assert!(!forbidden.contains(&&*resource), "{name}: {resource}");
                assert_ne!(group, "rbac.authorization.k8s.io", "{name}");
            }
        }
    }
}

#[test]
fn each_action_has_exactly_the_rights_that_its_code_declares() {
    let everything = all_on();
    let objects = render(&everything.iter().map(String::as_str).collect::<Vec<_>>());
    let mut listed = BTreeSet::new();
    for action in ALL {
        let kind = action.kind().to_string();
        let role = roles(&objects)
            .into_iter()
            .find(|role| role["metadata"]["labels"]["homeostat.dev/action"] == kind.as_str())
            .unwrap_or_else(|| panic!("{kind} has no ClusterRole: add it to templates/actions.yaml"));
        let declared: BTreeSet<_> = action
            .rights()
            .iter()
            .flat_map(|right| {
                right.verbs.iter().map(|verb| (right.api_group.into(), right.resource.into(), (*verb).into()))
            })
            .collect();
        assert_eq!(rights(role), declared, "{kind}");
        let name = role["metadata"]["name"].as_str().unwrap();
        let binding = named(&objects, "ClusterRoleBinding", name);
        assert_eq!(binding["roleRef"]["name"], name);
        assert_eq!(binding["subjects"][0]["name"], "homeostat");
        listed.insert(kind);
    }
    let rendered: BTreeSet<String> = roles(&objects)
        .into_iter()
        .filter_map(|role| role["metadata"]["labels"]["homeostat.dev/action"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(rendered, listed, "a role for an action that does not exist");
}

/// Every action switched on.
fn all_on() -> Vec<String> {
    let switched = ALL.iter().filter(|action| action.changes_state());
    switched.map(|action| format!("actions.{}=true", chart_value(action.kind()))).collect()
}

#[test]
fn only_evictions_and_rolling_restarts_are_on_by_default() {
    let objects = render(&[]);
    let on: BTreeSet<&str> = roles(&objects)
        .into_iter()
        .filter_map(|role| role["metadata"]["labels"]["homeostat.dev/action"].as_str())
        .collect();
    assert_eq!(on, BTreeSet::from(["EvictPod", "Notify", "RollingRestart"]));
}

#[test]
fn switching_an_action_off_takes_its_rights_and_no_others() {
    let everything = all_rights(&[]);
    for (switch, resource, verb) in [
        ("actions.evictPod=false", "pods/eviction", "create"),
        ("actions.rollingRestart=false", "deployments", "patch"),
    ] {
        let left = all_rights(&[switch]);
        let gone: BTreeSet<_> = everything.difference(&left).collect();
        assert!(gone.iter().any(|(_, lost, _)| lost == resource), "{switch}: {gone:?}");
        assert!(gone.iter().all(|(_, _, lost)| lost == verb), "{switch}: {gone:?}");
    }
    let looking = all_rights(&["actions.evictPod=false", "actions.rollingRestart=false"]);
    let writes: Vec<_> = looking
        .iter()
        .filter(|(group, _, verb)| group != "homeostat.dev" && !["get", "list", "watch"].contains(&&**verb))
        .collect();
    assert!(
        writes.iter().all(|(group, resource, _)| {
            group == "events.k8s.io" || group == "coordination.k8s.io" || resource == "configmaps"
        }),
        "without actions only Events, the Lease and the anchors are written: {writes:?}"
    );
}

/// Everything that Homeostat's own service account may do.
fn all_rights(set: &[&str]) -> BTreeSet<(String, String, String)> {
    let objects = render(set);
    bindings(&objects).into_iter().flat_map(|binding| rights(role_of(&objects, binding))).collect()
}

/// Those of Homeostat's own service account.
fn bindings(objects: &[Value]) -> Vec<&Value> {
    let kinds = ["ClusterRoleBinding", "RoleBinding"].into_iter();
    let all = kinds.flat_map(|kind| of_kind(objects, kind));
    all.filter(|binding| binding["subjects"][0]["name"] == "homeostat").collect()
}

fn role_of<'a>(objects: &'a [Value], binding: &Value) -> &'a Value {
    let role = &binding["roleRef"];
    named(objects, role["kind"].as_str().unwrap(), role["name"].as_str().unwrap())
}

/// The stop that needs nothing of Homeostat: `kubectl delete clusterrolebinding -l homeostat.dev/action`.
#[test]
fn without_the_bindings_that_carry_the_label_nothing_of_others_can_be_written() {
    let mut everything = all_on();
    let foreign = ["scaleTargets[0].apiGroup=argoproj.io", "scaleTargets[0].resource=rollouts"];
    everything.extend(foreign.map(str::to_owned));
    let everything: Vec<&str> = everything.iter().map(String::as_str).collect();
    let mut sets: Vec<&[&str]> = SETS.to_vec();
    sets.push(&everything);
    for set in sets {
        let objects = render(set);
        let deleted = |binding: &Value| {
            let label = &binding["metadata"]["labels"]["homeostat.dev/action"];
            binding["kind"] == "ClusterRoleBinding" && label.is_string()
        };
        for binding in bindings(&objects).into_iter().filter(|binding| !deleted(binding)) {
            for (group, resource, verb) in rights(role_of(&objects, binding)) {
                let looks = ["get", "list", "watch"].contains(&&*verb);
                let own = group == "homeostat.dev" || ["leases", "configmaps"].contains(&&*resource);
                assert!(looks || own, "{}: {verb} {group}/{resource}", binding["metadata"]["name"]);
            }
        }
    }
}

#[test]
fn the_lease_has_one_place_and_nothing_else_there_may_be_touched() {
    let objects = render(&[]);
    let role = named(&objects, "Role", "homeostat-lease");
    assert_eq!(role["metadata"]["namespace"], LEASE_NAMESPACE);
    let resources: BTreeSet<String> = rights(role).into_iter().map(|(_, resource, _)| resource).collect();
    assert_eq!(resources, BTreeSet::from(["leases".to_owned()]));
    for rule in role["rules"].as_array().unwrap() {
        let verbs = texts(&rule["verbs"]);
        if rule["resourceNames"].is_null() {
            assert_eq!(verbs, ["create"], "a create alone cannot be limited by name");
        } else {
            assert_eq!(texts(&rule["resourceNames"]), [LEASE_NAME]);
            assert_eq!(verbs, ["get", "update"]);
        }
    }
}

#[test]
fn only_the_anchors_are_written_in_the_own_namespace() {
    let objects = render(&[]);
    let role = named(&objects, "Role", "homeostat-audit");
    assert_eq!(role["metadata"]["namespace"], "homeostat-system");
    let rules = role["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 1);
    assert_eq!(texts(&rules[0]["resourceNames"]), [ANCHORS]);
    assert_eq!(texts(&rules[0]["verbs"]), ["get", "patch"]);
    let map = named(&objects, "ConfigMap", ANCHORS);
    assert!(map["data"].is_null(), "an upgrade must not undo what was anchored");
    assert_eq!(map["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    assert_eq!(of_kind(&objects, "Role").len(), 2);
}

#[test]
fn our_kinds_can_be_read_and_their_specs_are_left_to_people() {
    let objects = render(&[]);
    let own = rights(named(&objects, "ClusterRole", "homeostat"));
    let kinds: Vec<String> =
        homeostat_crds::all().into_iter().map(|definition| definition.spec.names.plural).collect();
    for kind in &kinds {
        for verb in ["get", "list"] {
            assert!(own.contains(&("homeostat.dev".into(), kind.clone(), verb.into())), "{verb} {kind}");
        }
        for verb in ["update", "patch"] {
            assert!(!own.contains(&("homeostat.dev".into(), kind.clone(), verb.into())), "{verb} {kind}");
        }
    }
}

#[test]
fn reports_are_made_by_people_and_only_their_status_is_written() {
    let own = all_rights(&[]);
    let of = |resource: &str| -> Vec<String> {
        own.iter()
            .filter(|(group, one, _)| group == "homeostat.dev" && one == resource)
            .map(|(_, _, verb)| verb.clone())
            .collect()
    };
    assert_eq!(of("reports"), ["get", "list", "watch"]);
    assert_eq!(of("reports/status"), ["patch"]);
}

#[test]
fn editing_a_namespace_does_not_mean_approving_in_it() {
    let objects = render(&[]);
    let aggregated = |role: &Value| {
        let labels = role["metadata"]["labels"].as_object().unwrap();
        labels.keys().any(|label| label.starts_with("rbac.authorization.k8s.io/aggregate-to-"))
    };
    for role in roles(&objects).into_iter().filter(|role| aggregated(role)) {
        for (_, resource, verb) in rights(role) {
            assert!(resource != "actions" || ["get", "list", "watch"].contains(&&*verb), "{verb} {resource}");
        }
    }
    let approver = rights(named(&objects, "ClusterRole", "homeostat-approver"));
    assert!(approver.contains(&("homeostat.dev".into(), "actions".into(), "approve".into())));
    assert!(
        !render(&["rbac.aggregate=false"])
            .iter()
            .any(|object| object["kind"] == "ClusterRole" && aggregated(object))
    );
}

#[test]
fn a_token_is_mounted_only_by_the_pods_that_need_one() {
    for account in of_kind(&render(&[]), "ServiceAccount") {
        assert_eq!(account["automountServiceAccountToken"], false);
    }
    let objects = render(&["rbac.create=false"]);
    assert!(roles(&objects).is_empty());
    assert!(of_kind(&objects, "ClusterRoleBinding").is_empty());
}

#[test]
fn other_kinds_are_read_where_people_name_them_and_scaled_only_while_scaling_is_on() {
    let named_kind = ["scaleTargets[0].apiGroup=argoproj.io", "scaleTargets[0].resource=rollouts"];
    let role = |set: &[&str]| -> BTreeSet<(String, String, String)> {
        rights(named(&render(set), "ClusterRole", "homeostat-scale-targets"))
    };
    let right = |resource: &str, verb: &str| ("argoproj.io".to_owned(), resource.to_owned(), verb.to_owned());
    let read = BTreeSet::from([right("rollouts", "get"), right("rollouts/scale", "get")]);
    assert_eq!(role(&named_kind), read);
    let mut both = read;
    both.insert(right("rollouts/scale", "patch"));
    assert_eq!(role(&[named_kind[0], named_kind[1], "actions.scaleUp=true"]), both);
    let objects = render(&[]);
    assert!(!objects.iter().any(|object| object["metadata"]["name"] == "homeostat-scale-targets"));
}

#[test]
fn external_metrics_are_granted_one_by_one() {
    let none = all_rights(&[]);
    assert!(none.iter().all(|(group, _, _)| group != "external.metrics.k8s.io"));
    let some = all_rights(&["externalMetrics[0]=s0-rabbitmq-jobs", "externalMetrics[1]=waiting"]);
    let more: Vec<&str> = some
        .difference(&none)
        .map(|(_, resource, verb)| {
            assert_eq!(verb, "list");
            resource.as_str()
        })
        .collect();
    assert_eq!(more, ["s0-rabbitmq-jobs", "waiting"]);
}
