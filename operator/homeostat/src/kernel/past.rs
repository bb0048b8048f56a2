//! When faults of each workload began, and ahead of which returns its pods were replaced: read off its incidents, which the API
//! server keeps for a week, so that a restart forgets nothing of it.

use homeostat_knowledge::incident::TimelineKind;
use homeostat_knowledge::{
    ActionKind, ActionState, Finding, FindingKind, Incident, IncidentId, Timestamp, WorkloadKey,
};
use homeostat_scale::ahead::Past;
use std::collections::BTreeMap;

/// Faults that new pods keep off for a while, each by the name of the first kind of its family.
pub(super) const FAMILIES: [FindingKind; 3] =
    [FindingKind::Crashed, FindingKind::OutOfMemory, FindingKind::Hung];
/// Incidents that are remembered of each workload, the newest ones.
const KEPT: usize = 32;
/// Incidents below which there is no rhythm.
const FEW: usize = 4;
/// Workloads that are remembered.
pub(super) const MOST: usize = 10_000;

/// What one fault is called, whichever of its kinds was seen first. A process that fails at every start is not helped by
/// another start.
fn family(kind: FindingKind) -> Option<FindingKind> {
    match kind {
        FindingKind::Crashed | FindingKind::BackingOff => Some(FindingKind::Crashed),
        FindingKind::OutOfMemory => Some(FindingKind::OutOfMemory),
        FindingKind::Hung => Some(FindingKind::Hung),
        _ => None,
    }
}

/// What one incident says of the past.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    /// The fault, and when it began.
    fault: Option<(FindingKind, Timestamp)>,
    /// A return was expected, and a minute to act looked for since.
    expected: Option<Timestamp>,
    /// The pods were replaced ahead of it.
    replaced: bool,
}

impl Seen {
    fn of(incident: &Incident, workload: &WorkloadKey, replaced: Option<Timestamp>) -> Option<Self> {
        let own = |finding: &&Finding| finding.entity.workload() == Some(workload);
        let since = |fits: &dyn Fn(FindingKind) -> bool| {
            let found = incident.findings.iter().filter(own).filter(|finding| fits(finding.kind));
            found.map(|finding| finding.since).min()
        };
        let cause = incident.top_cause().filter(|cause| cause.entity.workload() == Some(workload));
        let kind = cause.and_then(|cause| family(cause.kind));
        let began = || since(&|kind| family(kind).is_some()).unwrap_or(incident.instants.impact_start);
        let fault = kind.map(|kind| (kind, began()));
        let expected = since(&|kind| kind == FindingKind::FaultExpected);
        // As the loop writes the progress of actions into their incidents.
        let (action, state) =
            (ActionKind::RollingRestart.to_string(), format!(": {:?}", ActionState::Verified));
        let mut lines = incident.timeline.iter().filter(|line| line.what == TimelineKind::Action);
        let written = lines.find(|line| line.text.starts_with(&action) && line.text.contains(&state));
        let at = replaced.or(written.map(|line| line.at));
        // What was replaced after the fault was a repair.
        let before = at.is_some_and(|at| fault.is_none_or(|(_, began)| at < began));
        let seen = Self { fault, expected, replaced: expected.is_some() && before };
        (seen.fault.is_some() || seen.expected.is_some()).then_some(seen)
    }

    fn when(&self) -> Option<Timestamp> {
        self.fault.map(|(_, at)| at).or(self.expected)
    }
}

/// The past of one fault of one workload, seconds in order.
pub(super) struct FaultPast {
    faults: Vec<i64>,
    replaced: Vec<i64>,
}

impl FaultPast {
    pub(super) fn borrowed(&self) -> Past<'_> {
        Past { faults: &self.faults, replaced: &self.replaced }
    }
}

/// The past of all workloads.
#[derive(Default)]
pub(super) struct Pasts {
    of: BTreeMap<WorkloadKey, BTreeMap<IncidentId, Seen>>,
    /// News of incidents of workloads beyond [`MOST`].
    pub dropped: u64,
}

impl Pasts {
    /// Takes up what an incident says; what it says later takes the place of what it said before.
    pub(super) fn note(&mut self, incident: &Incident, replaced: Option<Timestamp>) {
        let Some(workload) = &incident.workload else { return };
        let Some(mut seen) = Seen::of(incident, workload, replaced) else { return };
        if self.of.len() >= MOST && !self.of.contains_key(workload) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let all = self.of.entry(workload.clone()).or_default();
        // What was done is not undone by a version that does not say it yet.
        let still = all.get(&incident.id).is_some_and(|known| known.replaced);
        seen.replaced |= still && seen.expected.is_some();
        all.insert(incident.id.clone(), seen);
        if all.len() > KEPT
            && let Some(oldest) = all.iter().min_by_key(|(_, seen)| seen.when()).map(|(id, _)| id.clone())
        {
            all.remove(&oldest);
        }
    }

    /// It is not known yet that the pods were replaced for this incident.
    pub(super) fn unaware(&self, incident: &Incident) -> bool {
        let known = incident.workload.as_ref().and_then(|key| self.of.get(key)?.get(&incident.id));
        !known.is_some_and(|known| known.replaced || known.fault.is_some())
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&WorkloadKey) -> bool) {
        self.of.retain(|key, _| keep(key));
    }

    /// Those that had incidents enough for a rhythm.
    pub(super) fn workloads(&self) -> impl Iterator<Item = &WorkloadKey> {
        self.of.iter().filter(|(_, all)| all.len() >= FEW).map(|(key, _)| key)
    }

    /// `None` when it never came.
    pub(super) fn of(&self, workload: &WorkloadKey, kind: FindingKind) -> Option<FaultPast> {
        let all = self.of.get(workload)?;
        let fault =
            |seen: &Seen| seen.fault.filter(|(known, _)| *known == kind).map(|(_, at)| at.as_second());
        let mut faults: Vec<i64> = all.values().filter_map(fault).collect();
        let expected = all.values().filter(|seen| seen.replaced).filter_map(|seen| seen.expected);
        let mut replaced: Vec<i64> = expected.map(Timestamp::as_second).collect();
        faults.sort_unstable();
        replaced.sort_unstable();
        (!faults.is_empty()).then_some(FaultPast { faults, replaced })
    }
}
