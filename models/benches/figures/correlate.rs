//! How well findings are put together by their fault, on made-up systems, beside DBSCAN over time and graph distance.

use super::{Row, random, rate};
use homeostat_models::correlate::{CorrelateConfig, Finding, Graph, group};
use linfa::traits::Transformer;
use linfa_clustering::Dbscan;
use ndarray::Array2;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A system with its findings, and the fault that each of them comes from.
struct Case {
    graph: Graph<String>,
    /// Undirected neighbours, for the peer.
    near: BTreeMap<String, BTreeSet<String>>,
    findings: Vec<Finding<String>>,
    truth: Vec<usize>,
}

/// Forty services in four layers with two pods each on eight nodes, and one to four faults within ten minutes: a callee that
/// crashes, one that dies silently, a node that goes away with and without a word. Callers show it with a chance.
fn case(seed: u64) -> Case {
    let mut random = random(seed);
    let mut pick = |count: usize| ((random() * count as f64) as usize).min(count - 1);
    let mut case =
        Case { graph: Graph::new(), near: BTreeMap::new(), findings: Vec::new(), truth: Vec::new() };
    let mut callers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut on: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let join = |near: &mut BTreeMap<String, BTreeSet<String>>, a: &str, b: &str| {
        near.entry(a.to_owned()).or_default().insert(b.to_owned());
        near.entry(b.to_owned()).or_default().insert(a.to_owned());
    };
    for service in 0..40 {
        let name = format!("s{service}");
        if service < 30 {
            for _ in 0..=pick(3) {
                let callee = format!("s{}", (service / 10 + 1) * 10 + pick(10));
                case.graph.calls(name.clone(), callee.clone());
                join(&mut case.near, &name, &callee);
                callers.entry(callee).or_default().insert(name.clone());
            }
        }
        for replica in 0..2 {
            let (pod, node) = (format!("{name}-{replica}"), format!("n{}", pick(8)));
            case.graph.owns(name.clone(), pod.clone());
            case.graph.owns(node.clone(), pod.clone());
            join(&mut case.near, &name, &pod);
            join(&mut case.near, &node, &pod);
            on.entry(node).or_default().insert(pod);
        }
    }
    let mut sick: BTreeSet<String> = BTreeSet::new();
    for fault in 0..=pick(4) {
        let at = pick(600) as i64 * 1_000;
        let mut add = |entity: &str, late: usize, kind: &str, weight: f64| {
            // What is already shown for another reason has no clear truth: left out.
            if sick.insert(entity.to_owned()) {
                let (entity, kind) = (entity.to_owned(), kind.to_owned());
                case.findings.push(Finding { entity, at_ms: at + late as i64 * 100, kind, weight });
                case.truth.push(fault);
            }
        };
        let way = pick(4);
        let shown: Vec<String> = if way < 2 {
            let service = format!("s{}", 10 + pick(30));
            if way == 0 {
                add(&format!("{service}-0"), pick(20), "Crashed", 0.95);
                add(&service, pick(50), "Unreachable", 0.6);
            }
            vec![service]
        } else {
            let node = format!("n{}", pick(8));
            if way == 2 {
                add(&node, pick(100), "NodeNotReady", 0.94);
            }
            let pods: Vec<String> = on.get(&node).into_iter().flatten().cloned().collect();
            for pod in &pods {
                add(pod, pick(300), "NotReady", 0.95);
            }
            Vec::new()
        };
        // The callers, and theirs, some seconds later.
        let mut wave = shown;
        for step in 1..=2 {
            let next: BTreeSet<String> =
                wave.iter().flat_map(|name| callers.get(name).into_iter().flatten().cloned()).collect();
            wave = next.into_iter().filter(|_| pick(10) < 8).collect();
            for name in &wave {
                add(name, step * 20 + pick(60), "ErrorBurst", 0.5);
            }
        }
    }
    case
}

/// Pairs of findings: put together rightly, wrongly, and not although they should be.
fn pairs(truth: &[usize], given: &[usize]) -> (f64, f64, f64) {
    let (mut right, mut wrong, mut missed) = (0.0, 0.0, 0.0);
    for a in 0..truth.len() {
        for b in 0..a {
            match (truth[a] == truth[b], given[a] == given[b]) {
                (true, true) => right += 1.0,
                (false, true) => wrong += 1.0,
                (true, false) => missed += 1.0,
                (false, false) => {}
            }
        }
    }
    (right, wrong, missed)
}

fn f1(cases: &[Case], grouped: impl Fn(&Case) -> Vec<usize>) -> f64 {
    let (mut right, mut other) = (0.0, 0.0);
    for case in cases {
        let (good, wrong, missed) = pairs(&case.truth, &grouped(case));
        right += 2.0 * good;
        other += wrong + missed;
    }
    right / (right + other)
}

fn ours(case: &Case) -> Vec<usize> {
    let grouping = group(&case.findings, &case.graph, &CorrelateConfig::default()).unwrap();
    case.findings
        .iter()
        .map(|finding| {
            grouping
                .groups
                .iter()
                .position(|group| group.members.iter().any(|member| member.entity == finding.entity))
                .unwrap()
        })
        .collect()
}

/// Steps from one entity to all others.
fn steps(case: &Case, from: &str) -> BTreeMap<String, f64> {
    let mut steps = BTreeMap::from([(from.to_owned(), 0.0)]);
    let mut queue = VecDeque::from([from.to_owned()]);
    while let Some(entity) = queue.pop_front() {
        let next = steps[&entity] + 1.0;
        for neighbour in case.near.get(&entity).into_iter().flatten() {
            if !steps.contains_key(neighbour) {
                steps.insert(neighbour.clone(), next);
                queue.push_back(neighbour.clone());
            }
        }
    }
    steps
}

/// DBSCAN over time (in units of `unit_ms`) and place: an entity's place is its distance to every entity with a finding.
fn dbscan(case: &Case, unit_ms: f64, reach: f64) -> Vec<usize> {
    let count = case.findings.len();
    let places: Vec<BTreeMap<String, f64>> =
        case.findings.iter().map(|finding| steps(case, &finding.entity)).collect();
    let scale = (count as f64).sqrt();
    let points = Array2::from_shape_fn((count, count + 1), |(row, column)| match places.get(column) {
        Some(steps) => steps.get(&case.findings[row].entity).copied().unwrap_or(20.0) / scale,
        None => case.findings[row].at_ms as f64 / unit_ms,
    });
    let clusters = Dbscan::params(2).tolerance(reach).transform(&points).unwrap();
    // What is in no cluster is alone.
    clusters.iter().enumerate().map(|(index, cluster)| cluster.unwrap_or(1_000 + index)).collect()
}

pub fn rows() -> Vec<Row> {
    let cases: Vec<Case> = (1..=200).map(case).collect();
    // The peer may choose its setting on the very cases; ours is the shipped one.
    let mut best: (f64, f64, f64) = (0.0, 0.0, 0.0);
    for unit_ms in [10_000.0, 30_000.0, 60_000.0] {
        for reach in [0.3, 0.6, 1.0, 1.5, 2.0] {
            let quality = f1(&cases, |case| dbscan(case, unit_ms, reach));
            if quality > best.0 {
                best = (quality, unit_ms, reach);
            }
        }
    }
    let peer = format!("DBSCAN (linfa), best of 15 settings: {:.0} s, {}", best.1 / 1_000.0, best.2);
    let findings: u64 = cases.iter().map(|case| case.findings.len() as u64).sum();
    vec![
        Row::new("findings by fault, 200 made-up cases", f1(&cases, ours), "pair F1").beside(peer, best.0),
        Row::new(
            "findings grouped",
            rate(|| {
                for case in &cases {
                    std::hint::black_box(
                        group(&case.findings, &case.graph, &CorrelateConfig::default()).unwrap(),
                    );
                }
                findings
            }),
            "findings/s/core",
        ),
    ]
}
