//! Sizes by forecast: the newest decisions become plans.

use super::{Effect, Kernel};
use homeostat_knowledge::forecast::REQUESTS;
use homeostat_knowledge::{ActionRecord, ForecastRecord, Origin, SizeAdvice, Timestamp, WorkloadKey};
use homeostat_plan::acted::Acted;
use homeostat_plan::sizes::{self, SizeDecision};
use homeostat_plan::standing;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Those that say a size; the others are shown only.
fn sizing(records: &[ForecastRecord]) -> impl Iterator<Item = &ForecastRecord> {
    records.iter().filter(|record| *record.signal == *REQUESTS)
}

impl Kernel {
    /// Takes the newest decisions about sizes, and returns what must be done to have them. `leads` as in [`Kernel::step`].
    /// What keeps a size from being had is said in the snapshot.
    pub fn size(&mut self, records: &[ForecastRecord], now: Timestamp, leads: bool) -> Vec<Effect> {
        let sized: BTreeSet<&WorkloadKey> = records.iter().map(|record| &record.workload).collect();
        let gone: Vec<WorkloadKey> =
            self.snapshot.sizes.keys().filter(|key| !sized.contains(key)).cloned().collect();
        for key in gone {
            self.snapshot.sizes.remove_mut(&key);
        }
        let acted = if leads { Acted::all(&self.snapshot) } else { Acted::default() };
        let effects =
            sizing(records).filter_map(|record| self.size_one(record, &acted, now, leads)).collect();
        self.snapshot.generation += 1;
        effects
    }

    /// A way down that is over may have kept back what is wanted by now: more replicas do not wait for the next decision.
    /// Returns what must be done to have them.
    pub fn size_after(
        &mut self,
        over: &ActionRecord,
        records: &[ForecastRecord],
        now: Timestamp,
        leads: bool,
    ) -> Option<Effect> {
        let way_down = over.origin == Origin::Forecast && over.goes_down();
        if !(way_down && over.state.ended()) {
            return None;
        }
        // An action is named after its decision: what was decided with it or before has had its turn.
        let record = sizing(records).find(|record| {
            record.workload == over.workload && record.size.decided > over.evidence.taken_at
        })?;
        let present = self.snapshot.controller_of(&over.workload)?.replicas;
        if record.size.wanted.is_none_or(|wanted| i64::from(wanted) <= i64::from(present)) {
            return None;
        }
        let acted = Acted::one(&self.snapshot, &over.workload);
        let effect = self.size_one(record, &acted, now, leads);
        self.snapshot.generation += 1;
        effect
    }

    fn size_one(
        &mut self,
        record: &ForecastRecord,
        acted: &Acted,
        now: Timestamp,
        leads: bool,
    ) -> Option<Effect> {
        let mut advice = record.size.clone();
        let mut effect = None;
        let policy = self.snapshot.workloads.get(&record.workload).cloned();
        if let Some(policy) = policy.filter(|_| leads && self.snapshot.ready()) {
            let decision = sizes::size(&policy, &advice, &self.snapshot, acted, now, &mut *self.ids);
            let has_its_replicas = decision == SizeDecision::Nothing;
            (advice.done, effect) = self.admit(decision, now);
            // Replicas first: both have one place among the actions of a workload.
            if let Some(mut pod) = advice.pod.take() {
                if has_its_replicas {
                    let asked = SizeAdvice { pod: Some(pod.clone()), ..advice.clone() };
                    let decision =
                        standing::next(&policy, &asked, &self.snapshot, acted, now, &mut *self.ids);
                    (pod.done, effect) = self.admit(decision, now);
                }
                advice.pod = Some(pod);
            }
        }
        self.snapshot.sizes.insert_mut(record.workload.clone(), Arc::new(advice));
        effect
    }

    /// What keeps a size from being had, or what must be done to have it.
    fn admit(&self, decision: SizeDecision, now: Timestamp) -> (Option<String>, Option<Effect>) {
        match decision {
            SizeDecision::Nothing => (None, None),
            SizeDecision::Wait(why) => (Some(why), None),
            SizeDecision::Act(draft) => match self.checker.check(*draft, &self.snapshot, now) {
                Ok(plan) => (None, Some(Effect::Execute(Box::new(plan), None))),
                Err(objections) => {
                    let said = homeostat_plan::report::describe_objections(&objections);
                    (Some(format!("plan not admitted: {said}")), None)
                }
            },
        }
    }
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
