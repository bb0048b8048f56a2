//! Replay: the same sequence of situations, judged again under other limits.

use super::{GuardInput, evaluate, permitted, refusal};
use homeostat_knowledge::policy::{ControlPolicy, GuardLimits};
use homeostat_knowledge::{ActionId, GuardName, GuardReport, IncidentId, SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Limits to judge under, in place of the recorded ones. Levels, pauses and freeze windows stay as recorded.
#[derive(Clone, Debug)]
pub struct ReplayLimits {
    /// The tenants' limits.
    pub guards: GuardLimits,
    /// Actions under way in the cluster.
    pub in_flight: u32,
    /// Effects per hour in the cluster.
    pub per_hour: u32,
    /// Ceiling of the storm limit, percent.
    pub storm_percent: u32,
    /// Failed verifications in 15 minutes that stop everything.
    pub breaker_failures: u32,
    /// Time after sync before new decisions are executed.
    pub warm_up: SignedDuration,
}

impl Default for ReplayLimits {
    /// What ships.
    fn default() -> Self {
        let control = ControlPolicy::default();
        Self {
            guards: GuardLimits::default(),
            in_flight: control.in_flight,
            per_hour: control.per_hour,
            storm_percent: control.storm_percent,
            breaker_failures: control.breaker_failures,
            warm_up: control.warm_up,
        }
    }
}

/// What the replay says about one action that was admitted when it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayDecision {
    /// The action.
    pub action: ActionId,
    /// Its incident.
    pub incident: IncidentId,
    /// When it was judged.
    pub at: Timestamp,
    /// The guard that refuses it under the other limits; `None` when it is admitted again.
    pub refused_by: Option<GuardReport>,
}

/// The whole replay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplaySummary {
    /// One entry per action that was admitted when it was recorded, in that order.
    pub decisions: Vec<ReplayDecision>,
    /// Refusals per guard.
    pub refused_by: BTreeMap<GuardName, usize>,
}

impl ReplaySummary {
    /// Actions admitted again.
    pub fn admitted(&self) -> usize {
        self.decisions.iter().filter(|decision| decision.refused_by.is_none()).count()
    }

    /// Actions refused now.
    pub fn refused(&self) -> usize {
        self.decisions.len() - self.admitted()
    }
}

/// Judges each recorded admission again. Only inputs of the last evaluation before an effect count
/// (`through` is `FreshRead`) and of those only the ones that were permitted when recorded. An action that is
/// refused in the replay is taken out of the history that later ones see. What the world would have done
/// without that action is not known, so later situations stay as recorded. What was only recommended is left out: it is
/// in nobody's history, so budgets and cool-downs would seem to admit all of it.
pub fn replay(inputs: impl Iterator<Item = GuardInput>, limits: &ReplayLimits) -> ReplaySummary {
    let mut refused: BTreeSet<ActionId> = BTreeSet::new();
    let mut judged: BTreeSet<ActionId> = BTreeSet::new();
    let mut summary = ReplaySummary::default();
    for mut input in inputs {
        if input.through != GuardName::FreshRead || !permitted(&evaluate(&input), GuardName::FreshRead) {
            continue;
        }
        // After a transient answer the same action is judged once more; it is one decision.
        if !judged.insert(input.action.id.clone()) {
            continue;
        }
        if let Some(tenant) = &mut input.tenant {
            tenant.limits = limits.guards.clone();
        }
        let control = &mut input.control;
        control.in_flight = limits.in_flight;
        control.per_hour = limits.per_hour;
        control.storm_percent = limits.storm_percent;
        control.breaker_failures = limits.breaker_failures;
        // What is stored of it was decided under the recorded limit; the history tells what this one makes of it.
        control.breaker.opened = None;
        control.warm_up = limits.warm_up;
        input.history.retain(|entry| !refused.contains(&entry.id));

        let reports = evaluate(&input);
        let refused_by = refusal(&reports).cloned();
        if let Some(report) = &refused_by {
            *summary.refused_by.entry(report.name).or_default() += 1;
            refused.insert(input.action.id.clone());
        }
        summary.decisions.push(ReplayDecision {
            action: input.action.id,
            incident: input.action.incident,
            at: input.now,
            refused_by,
        });
    }
    summary
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::testing::{input, past};
    use homeostat_knowledge::ActionId;

    /// Three actions on one workload, five minutes apart, recorded with the cool-down switched off.
    fn recorded() -> Vec<GuardInput> {
        let mut inputs: Vec<GuardInput> = Vec::new();
        for index in 0..4_i64 {
            let mut case = input();
            let shift = SignedDuration::from_mins(5 * index);
            let limits = &mut case.tenant.as_mut().expect("tenant").limits;
            limits.cooldown_success = SignedDuration::ZERO;
            limits.cooldown_failure = SignedDuration::ZERO;
            limits.per_workload_hour = 100;
            case.action.id = ActionId::new(format!("incident-{index}-1"));
            case.action.incident = IncidentId::new(format!("incident-{index}"));
            case.now = case.now.checked_add(shift).expect("time");
            case.action.evidence_taken_at = case.now;
            case.evidence.as_mut().expect("evidence").last_seen = case.now;
            case.history = inputs
                .iter()
                .map(|earlier| {
                    let ago = case.now.duration_since(earlier.now).as_secs();
                    let mut entry = past(&case, earlier.action.id.as_str(), ago, true);
                    entry.incident = earlier.action.incident.clone();
                    entry
                })
                .collect();
            inputs.push(case);
        }
        inputs
    }

    #[test]
    fn a_refused_action_does_not_cool_down_the_next() {
        // At 0 admitted; at 5 and 10 min cooling down; at 15 min the first one's cool-down is over, and the
        // ones in between never happened in this history.
        let summary = replay(recorded().into_iter(), &ReplayLimits::default());
        let admitted: Vec<bool> =
            summary.decisions.iter().map(|decision| decision.refused_by.is_none()).collect();
        assert_eq!(admitted, [true, false, false, true]);
        assert_eq!((summary.admitted(), summary.refused()), (2, 2));
        assert_eq!(summary.refused_by, BTreeMap::from([(GuardName::Cooldown, 2)]));
    }

    #[test]
    fn under_the_recorded_limits_everything_is_admitted_again_and_refusals_are_left_out() {
        let mut inputs = recorded();
        let limits = ReplayLimits {
            guards: inputs[0].tenant.clone().expect("tenant").limits,
            ..ReplayLimits::default()
        };
        let mut refused = inputs[3].clone();
        refused.action.id = ActionId::new("never-admitted");
        refused.leads = false;
        inputs.push(refused);
        let mut early = inputs[3].clone();
        early.through = GuardName::Approval;
        inputs.push(early);
        inputs.push(inputs[3].clone());
        let summary = replay(inputs.into_iter(), &limits);
        assert_eq!((summary.admitted(), summary.refused()), (4, 0));
    }
}
