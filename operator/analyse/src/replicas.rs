//! Replicas of one workload against each other, from their own server spans: which one is slow or wrong where its
//! siblings are not, and which node makes replicas of several workloads slow.
//!
//! Own time leaves out what callees take, so a slow dependency makes nobody an outlier. Judged by
//! [`homeostat_models::detect::peers`]: most replicas must agree before one can be accused.

use homeostat_knowledge::{
    CallOutcome, Entity, Evidence, FindingKind, Name, ObjectKey, SignedDuration, Snapshot, Timestamp, Uid,
    WorkloadKey,
};
use homeostat_models::detect::peers::{MOST_REPLICAS, PeerConfig, PeerMetric, outliers};
use std::collections::{BTreeMap, BTreeSet};

/// Replicas are compared over so many seconds.
const WINDOW_SECONDS: i64 = 5;
/// Calls of a replica in a window below which it is not compared.
const LEAST_CALLS: u32 = 5;
/// Windows in a row in which a replica stands apart before it is a finding.
const ENTER_WINDOWS: u32 = 3;
/// Windows in a row in which it does not before the finding is over.
const LEAVE_WINDOWS: u32 = 3;
/// Windows without calls after which nothing is known of a replica any more.
const SILENT_WINDOWS: u32 = 12;
/// A process this young warms up and is not compared.
const WARM_UP: SignedDuration = SignedDuration::from_mins(1);
/// Smallest difference of own times that a restart could be worth, seconds.
const LEAST_SECONDS: f64 = 0.05;
/// Smallest difference between shares of own errors that matters.
const LEAST_ERRORS: f64 = 0.2;
/// Smallest difference as a share of what the siblings show: three times as slow.
const LEAST_SHARE: f64 = 2.0;
/// Workloads with slow replicas on one node from which on the node is the reason.
const LEAST_VICTIMS: usize = 2;

/// One replica in the present window, and how it compared lately.
#[derive(Clone, Debug, Default)]
struct Replica {
    /// Whose it is: a pod of the same name later is another one.
    uid: Option<Uid>,
    calls: u32,
    /// Sum of the logarithms of own times: single late answers weigh little.
    logarithms: f64,
    errors: u32,
    bad: u32,
    good: u32,
    silent: u32,
    bad_since: Option<Timestamp>,
    outlier: Option<Outlier>,
}

#[derive(Clone, Debug)]
struct Outlier {
    since: Timestamp,
    slow: bool,
    reason: String,
}

/// A finding of this file: what, where, since when, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Apart {
    /// The pod or the node.
    pub entity: Entity,
    /// [`FindingKind::ReplicaOutlier`] or [`FindingKind::NoisyNeighbour`].
    pub kind: FindingKind,
    /// Begin of the first bad window.
    pub since: Timestamp,
    /// In words and numbers.
    pub evidence: Vec<Evidence>,
}

/// Replicas of all workloads.
#[derive(Debug, Default)]
pub struct Replicas {
    workloads: BTreeMap<WorkloadKey, BTreeMap<ObjectKey, Replica>>,
    window: i64,
    /// Answers of replicas beyond those of one workload that are compared.
    pub dropped: u64,
}

impl Replicas {
    /// Takes one answer of a pod: its own time in seconds, and whether it failed by itself.
    pub fn add(&mut self, workload: &WorkloadKey, pod: &ObjectKey, seconds: f64, outcome: CallOutcome) {
        let of_workload = self.workloads.entry(workload.clone()).or_default();
        if !of_workload.contains_key(pod) && of_workload.len() >= MOST_REPLICAS {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let replica = of_workload.entry(pod.clone()).or_default();
        replica.calls += 1;
        replica.logarithms += seconds.max(1e-4).ln();
        replica.errors += u32::from(outcome == CallOutcome::ServerError);
    }

    /// Compares when a window has passed, and forgets what is gone.
    pub fn tick(&mut self, snapshot: &Snapshot, now: Timestamp) {
        let window = now.as_second().div_euclid(WINDOW_SECONDS);
        if window == self.window {
            return;
        }
        let start = Timestamp::from_second(self.window * WINDOW_SECONDS).unwrap_or(now).min(now);
        self.window = window;
        self.workloads.retain(|workload, replicas| {
            replicas.retain(|pod, replica| {
                let Some(record) = snapshot.pods.get(pod) else { return false };
                replica.belongs_to(&record.uid);
                true
            });
            judge(snapshot, workload, replicas, start, now);
            !replicas.is_empty() && snapshot.workloads.contains_key(workload)
        });
    }

    /// Replicas that stand apart, then nodes that are the reason for several of them.
    pub fn apart(&self, snapshot: &Snapshot) -> Vec<Apart> {
        let mut found = Vec::new();
        let mut by_node: BTreeMap<&Name, Vec<(&WorkloadKey, &ObjectKey, Timestamp)>> = BTreeMap::new();
        for (workload, replicas) in &self.workloads {
            for (pod, replica) in replicas {
                let same = snapshot.pods.get(pod).filter(|record| replica.uid.as_ref() == Some(&record.uid));
                let Some((outlier, record)) = replica.outlier.as_ref().zip(same) else { continue };
                found.push(Apart {
                    entity: snapshot.entity_of(record),
                    kind: FindingKind::ReplicaOutlier,
                    since: outlier.since,
                    evidence: vec![Evidence::new("compared with its siblings", outlier.reason.clone())],
                });
                if let Some(node) = record.node.as_ref().filter(|_| outlier.slow)
                    && well_elsewhere(snapshot, replicas, node)
                {
                    by_node.entry(node).or_default().push((workload, pod, outlier.since));
                }
            }
        }
        for (node, victims) in by_node {
            let workloads: BTreeSet<&WorkloadKey> =
                victims.iter().map(|(workload, _, _)| *workload).collect();
            // A node that says itself what is wrong with it needs no other explanation.
            let quiet = snapshot.nodes.get(node).is_some_and(|node| node.ready && node.pressures.is_empty());
            if !quiet || workloads.len() < LEAST_VICTIMS {
                continue;
            }
            let names: Vec<&str> = victims.iter().take(5).map(|(_, pod, _)| &*pod.name).collect();
            found.push(Apart {
                entity: Entity::Node { name: node.clone() },
                kind: FindingKind::NoisyNeighbour,
                since: victims.iter().map(|(_, _, since)| *since).max().unwrap_or_default(),
                evidence: vec![
                    Evidence::new(
                        "workloads with slow replicas on this node",
                        format!("{}: {}", workloads.len(), names.join(", ")),
                    )
                    .usual("their siblings on other nodes are well"),
                ],
            });
        }
        found
    }
}

/// A sibling on another node serves and is no outlier.
fn well_elsewhere(snapshot: &Snapshot, replicas: &BTreeMap<ObjectKey, Replica>, node: &Name) -> bool {
    replicas.iter().any(|(pod, replica)| {
        replica.outlier.is_none()
            && snapshot
                .pods
                .get(pod)
                .is_some_and(|pod| pod.serving() && pod.node.as_ref().is_some_and(|other| other != node))
    })
}

fn judge(
    snapshot: &Snapshot,
    workload: &WorkloadKey,
    replicas: &mut BTreeMap<ObjectKey, Replica>,
    start: Timestamp,
    now: Timestamp,
) {
    let rolling = snapshot.controller_of(workload).is_some_and(|controller| controller.rolling_out());
    let old_enough = |pod: &ObjectKey| {
        snapshot.pods.get(pod).is_some_and(|pod| pod.serving() && now.duration_since(pod.created) >= WARM_UP)
    };
    let names: Vec<ObjectKey> = replicas.keys().cloned().collect();
    let rows: Vec<Vec<f64>> = replicas
        .iter()
        .map(|(pod, replica)| {
            if rolling || replica.calls < LEAST_CALLS || !old_enough(pod) {
                return vec![f64::NAN, f64::NAN];
            }
            let calls = f64::from(replica.calls);
            vec![(replica.logarithms / calls).exp(), f64::from(replica.errors) / calls]
        })
        .collect();
    let metrics =
        [PeerMetric::new("own time", "s", LEAST_SECONDS), PeerMetric::new("own errors", "", LEAST_ERRORS)];
    let config = PeerConfig { minimum_share: LEAST_SHARE, ..PeerConfig::default() };
    let Ok(verdicts) = outliers(&rows, &metrics, config) else { return };
    for ((pod, row), verdict) in names.iter().zip(&rows).zip(verdicts) {
        let Some(replica) = replicas.get_mut(pod) else { continue };
        // Faster, or with fewer errors, than the others is no trouble.
        let worse = |metric: usize| {
            let others = rows.iter().filter(|other| other[metric].is_finite() && other[metric] < row[metric]);
            2 * others.count() > rows.iter().filter(|other| other[metric].is_finite()).count()
        };
        let bad = verdict.metric.filter(|metric| verdict.outlier && worse(*metric));
        replica.observe(verdict.known, bad.map(|metric| (metric == 0, verdict.reason)), start);
    }
}

impl Replica {
    /// What is known of another pod of this name says nothing of this one.
    fn belongs_to(&mut self, uid: &Uid) {
        if self.uid.as_ref().is_some_and(|known| known != uid) {
            *self = Self::default();
        }
        self.uid.get_or_insert_with(|| uid.clone());
    }

    fn observe(&mut self, known: bool, bad: Option<(bool, String)>, start: Timestamp) {
        (self.calls, self.logarithms, self.errors) = (0, 0.0, 0);
        if !known {
            self.silent += 1;
            if self.silent >= SILENT_WINDOWS {
                *self = Self { uid: self.uid.take(), silent: self.silent, ..Self::default() };
            }
            return;
        }
        self.silent = 0;
        if let Some((slow, reason)) = bad {
            self.bad += 1;
            self.good = 0;
            let first = *self.bad_since.get_or_insert(start);
            if self.outlier.is_some() || self.bad >= ENTER_WINDOWS {
                let since = self.outlier.as_ref().map_or(first, |known| known.since);
                self.outlier = Some(Outlier { since, slow, reason });
            }
        } else {
            self.good += 1;
            self.bad = 0;
            self.bad_since = None;
            if self.good >= LEAVE_WINDOWS {
                self.outlier = None;
            }
        }
    }
}
