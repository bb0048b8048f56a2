use super::*;
use proptest::prelude::*;

fn finding(entity: &str, seconds: i64, kind: &str, weight: f64) -> Finding<String> {
    Finding { entity: entity.to_owned(), at_ms: seconds * 1_000, kind: kind.to_owned(), weight }
}

/// frontend calls cart and checkout, both call redis, checkout calls payment; two nodes with three pods each.
fn shop() -> Graph<String> {
    let mut graph = Graph::new();
    for (caller, callee) in [
        ("frontend", "cart"),
        ("frontend", "checkout"),
        ("cart", "redis"),
        ("checkout", "redis"),
        ("checkout", "payment"),
    ] {
        graph.calls(caller.to_owned(), callee.to_owned());
    }
    for (node, pods) in [("node-1", ["a-0", "b-0", "c-0"]), ("node-2", ["a-1", "b-1", "c-1"])] {
        for pod in pods {
            graph.owns(node.to_owned(), pod.to_owned());
        }
    }
    for name in ["a", "b", "c"] {
        graph.owns(name.to_owned(), format!("{name}-0"));
        graph.owns(name.to_owned(), format!("{name}-1"));
    }
    graph
}

fn grouped(findings: &[Finding<String>]) -> Vec<(String, Vec<String>)> {
    let grouping = group(findings, &shop(), &CorrelateConfig::default()).unwrap();
    grouping
        .groups
        .into_iter()
        .map(|group| (group.root, group.members.into_iter().map(|member| member.entity).collect()))
        .collect()
}

fn named(names: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
    names
        .iter()
        .map(|(root, members)| ((*root).to_owned(), members.iter().map(|&name| name.to_owned()).collect()))
        .collect()
}

#[test]
fn callers_of_a_crashed_callee_are_one_fault_with_it_and_the_reason_says_why() {
    let findings = [
        finding("frontend", 8, "Slow", 0.5),
        finding("redis", 10, "CrashLoop", 1.0),
        finding("cart", 12, "ErrorBurst", 0.6),
        finding("cart", 20, "Slow", 0.5),
    ];
    let grouping = group(&findings, &shop(), &CorrelateConfig::default()).unwrap();
    assert_eq!(grouping.groups.len(), 1);
    assert_eq!(
        grouping.groups[0].reason,
        "redis shows CrashLoop (weight 1.00), and nothing that it calls or belongs to explains it; it explains \
         cart (ErrorBurst, Slow; 1 step, 2.0 s later), frontend (Slow; 2 steps, 2.0 s before)"
    );
}

#[test]
fn two_neighbours_that_both_crash_are_two_faults_and_their_caller_belongs_to_one() {
    let findings = [
        finding("redis", 10, "CrashLoop", 1.0),
        finding("payment", 11, "OutOfMemory", 0.97),
        finding("checkout", 13, "ErrorBurst", 0.6),
        finding("cart", 13, "ErrorBurst", 0.6),
    ];
    assert_eq!(
        grouped(&findings),
        named(&[("redis", &["redis", "cart"]), ("payment", &["payment", "checkout"])])
    );
    // A crash of the caller is its own even while its callee is down.
    let findings = [finding("redis", 10, "CrashLoop", 1.0), finding("cart", 12, "CrashLoop", 1.0)];
    assert_eq!(grouped(&findings), named(&[("redis", &["redis"]), ("cart", &["cart"])]));
}

#[test]
fn the_same_place_an_hour_later_is_another_fault() {
    let findings = [finding("redis", 0, "Slow", 0.8), finding("redis", 3_600, "Slow", 0.8)];
    assert_eq!(grouped(&findings), named(&[("redis", &["redis"]), ("redis", &["redis"])]));
}

#[test]
fn a_dead_node_is_the_root_of_its_pods_even_if_it_says_nothing() {
    let down = |pod: &str, at| finding(pod, at, "NotReady", 1.0);
    let findings = [down("a-0", 5), down("b-0", 6), down("c-0", 9)];
    let grouping = group(&findings, &shop(), &CorrelateConfig::default()).unwrap();
    assert_eq!(grouping.groups.len(), 1);
    let only = &grouping.groups[0];
    assert!(only.silent && only.root == "node-1" && only.members.len() == 3, "{only:?}");
    assert!(only.reason.starts_with("node-1 shows nothing itself, but 3 of 3 that it owns began together"));
    // One pod of three is no node, and both pods of a workload are the workload.
    assert_eq!(grouped(&[down("a-0", 5)]), named(&[("a-0", &["a-0"])]));
    assert_eq!(grouped(&[down("a-0", 5), down("a-1", 7)]), named(&[("a", &["a-0", "a-1"])]));
    // A node that says so itself needs no counting.
    let with_node = [finding("node-1", 6, "NodeNotReady", 0.94), down("b-0", 5), down("a-0", 30)];
    assert_eq!(grouped(&with_node), named(&[("node-1", &["node-1", "b-0", "a-0"])]));
}

#[test]
fn a_silent_callee_stands_for_its_callers() {
    let findings = [
        finding("cart", 4, "Slow", 0.5),
        finding("checkout", 6, "Slow", 0.5),
        finding("frontend", 7, "Slow", 0.4),
    ];
    assert_eq!(grouped(&findings), named(&[("redis", &["cart", "checkout", "frontend"])]));
}

#[test]
fn of_two_that_explain_each_other_the_surer_one_is_the_root() {
    let findings = [finding("a", 3, "Unreachable", 0.6), finding("a-0", 5, "NotReady", 0.7)];
    let grouping = group(&findings, &shop(), &CorrelateConfig::default()).unwrap();
    assert_eq!(grouping.groups.len(), 1);
    assert!(grouping.groups[0].reason.starts_with("a-0 shows NotReady (weight 0.70), the surest of 2"));
}

#[test]
fn a_weight_that_is_none_is_refused_and_counted() {
    let findings = [finding("redis", 0, "Slow", f64::NAN), finding("redis", 0, "Slow", 1.5)];
    let grouping = group(&findings, &shop(), &CorrelateConfig::default()).unwrap();
    assert_eq!((grouping.groups.len(), grouping.refused), (0, 2));
    let config = CorrelateConfig { hops: 0, ..CorrelateConfig::default() };
    let error = group(&findings, &shop(), &config).unwrap_err();
    assert_eq!(error.to_string(), "hops is 0, it must be 1 to 32");
}

proptest! {
    #[test]
    fn every_finding_is_in_one_group_whatever_the_order(
        findings in prop::collection::vec((0_usize..12, -2_000_i64..2_000, 0.0_f64..=1.0), 0..40),
        edges in prop::collection::vec((0_usize..12, 0_usize..12, any::<bool>()), 0..30),
        seed in any::<u64>(),
    ) {
        let findings: Vec<Finding<String>> = findings
            .iter()
            .map(|(entity, at, weight)| finding(&format!("e{entity}"), *at, if *weight > 0.9 { "Own" } else { "Blamed" }, *weight))
            .collect();
        let graph = |edges: &[(usize, usize, bool)]| {
            let mut graph = Graph::new();
            for (from, to, calls) in edges {
                let (from, to) = (format!("e{from}"), format!("e{to}"));
                if *calls { graph.calls(from, to) } else { graph.owns(from, to) }
            }
            graph
        };
        let first = group(&findings, &graph(&edges), &CorrelateConfig::default()).unwrap();
        let count: usize = first.groups.iter().flat_map(|group| &group.members).map(|member| member.findings).sum();
        prop_assert_eq!(count, findings.len());
        prop_assert!(first.groups.iter().all(|group| !group.members.is_empty() && !group.reason.is_empty()));

        let mut shuffled = findings.clone();
        let mut state = seed;
        for place in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(place, (state >> 33) as usize % (place + 1));
        }
        let reversed: Vec<(usize, usize, bool)> = edges.iter().rev().copied().collect();
        let second = group(&shuffled, &graph(&reversed), &CorrelateConfig::default()).unwrap();
        prop_assert_eq!(first, second);
    }

    #[test]
    fn extreme_times_do_not_matter(times in prop::collection::vec(any::<i64>(), 0..20)) {
        let findings: Vec<Finding<String>> = times
            .iter()
            .map(|&at_ms| Finding { entity: "redis".to_owned(), at_ms, kind: "Slow".to_owned(), weight: 0.5 })
            .collect();
        prop_assert!(group(&findings, &shop(), &CorrelateConfig::default()).is_ok());
    }
}
