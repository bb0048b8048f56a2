//! Findings beside failing calls: slow by its own time, unlike its siblings, a signal out of range, a sign of life that stays
//! away, a source that is down.

use super::{Analyser, Seen};
use crate::golden::START;
use crate::signals::Abnormal;
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::{Entity, Evidence, FindingKind, SignedDuration, Snapshot, Timestamp, WorkloadKey};
use std::collections::BTreeMap;

/// Own time above the usual for so long before it is a finding: load passes, a sick process stays slow.
const SLOW_LASTS: SignedDuration = SignedDuration::from_secs(8);

impl Analyser {
    pub(super) fn slow_findings(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
        seen: &mut BTreeMap<(Entity, FindingKind), Seen>,
    ) {
        for (workload, slow) in self.golden.slow() {
            let entity = Entity::Workload { key: workload.clone() };
            // A start is slow by nature, but what was slow before is over once answers are as usual; and what already fails its
            // callers has a finding.
            let known = self.findings.get(&(entity.clone(), FindingKind::Slow));
            let known = known.is_some_and(|finding| finding.active);
            let starting =
                snapshot.pods_of(workload).any(|pod| pod.deleting || now.duration_since(pod.created) < START);
            if self.contention.explains(snapshot, &entity) {
                continue;
            }
            if (starting && !known) || seen.keys().any(|(other, _)| other.workload() == Some(workload)) {
                continue;
            }
            let objective = snapshot.workloads.get(workload).and_then(|policy| policy.latency);
            // Slower than usual but inside what was promised is no incident; without a promise it must last.
            let lasted = now.duration_since(slow.since) >= SLOW_LASTS;
            if objective.is_some_and(|objective| slow.seconds < objective.seconds) || !lasted {
                continue;
            }
            seen.insert(
                (entity, FindingKind::Slow),
                Seen {
                    since: slow.since,
                    at: now,
                    confidence: 1.0 - slow.verdict.chance.min(0.5),
                    evidence: vec![
                        Evidence::new("own time, p90 of one second", format!("{:.0} ms", slow.seconds * 1e3))
                            .usual(format!(
                                "{:.0} to {:.0} ms",
                                slow.verdict.usual.0 * 1e3,
                                slow.verdict.usual.1 * 1e3
                            )),
                        Evidence::new(
                            "chance of this without a fault",
                            format!("{:.0e}", slow.verdict.chance.max(1e-30)),
                        ),
                    ],
                },
            );
        }
    }

    /// When what new pods begin without, and is found to grow in a workload, reaches its limit at the earliest.
    pub fn limits(&self) -> impl Iterator<Item = (&WorkloadKey, FindingKind, Timestamp)> {
        self.signals.limits()
    }

    pub(super) fn signal_findings(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
        seen: &mut BTreeMap<(Entity, FindingKind), Seen>,
    ) {
        for found in self.signals.abnormal(now) {
            let place = (Entity::Workload { key: found.workload.clone() }, found.kind);
            let Abnormal { since, seen: at, evidence, .. } = found;
            seen.insert(place, Seen { since, at, confidence: 0.99, evidence });
        }
        for (key, since, line) in self.heartbeats.silent(now) {
            let place = (Entity::Workload { key: key.clone() }, FindingKind::SignalAbnormal);
            let found = Seen { since, at: now, confidence: 0.99, evidence: Vec::new() };
            seen.entry(place).or_insert(found).evidence.push(line);
        }
        for dropped in snapshot.crowded.values() {
            let Some(key) = dropped.workload.as_ref().filter(|key| snapshot.workloads.contains_key(*key))
            else {
                continue;
            };
            let text = "ever new label sets; those beyond the tenant's share of all series are dropped";
            let line = Evidence::new(crate::redact::hide(&dropped.metric), text);
            let place = (Entity::Workload { key: key.clone() }, FindingKind::SignalAbnormal);
            let found = Seen { since: now, at: now, confidence: 0.99, evidence: Vec::new() };
            seen.entry(place).or_insert(found).evidence.push(line);
        }
    }

    /// One replica against its siblings. What already has a finding of another sort is explained by that one.
    pub(super) fn replica_findings(
        &self,
        snapshot: &Snapshot,
        now: Timestamp,
        seen: &mut BTreeMap<(Entity, FindingKind), Seen>,
    ) {
        for apart in self.golden.apart(snapshot) {
            let explained = apart.entity.workload().is_some_and(|workload| {
                seen.keys().any(|(other, kind)| {
                    *kind != FindingKind::ReplicaOutlier && other.workload() == Some(workload)
                })
            });
            if !explained {
                let found = Seen { since: apart.since, at: now, confidence: 0.99, evidence: apart.evidence };
                seen.insert((apart.entity, apart.kind), found);
            }
        }
    }
}

/// Sources that are silent or down.
pub(super) fn source_findings(
    snapshot: &Snapshot,
    now: Timestamp,
    seen: &mut BTreeMap<(Entity, FindingKind), Seen>,
) {
    for (name, report) in &snapshot.sources {
        if let SourceState::Down(reason) = &report.state {
            seen.insert(
                (Entity::Source { name: name.clone() }, FindingKind::NoData),
                Seen {
                    since: now,
                    at: now,
                    confidence: 1.0,
                    evidence: vec![Evidence::new("source", crate::redact::hide(reason))],
                },
            );
        }
    }
}
