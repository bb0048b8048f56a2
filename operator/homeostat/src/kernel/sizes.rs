//! Sizes by forecast: the newest decisions become plans.

use super::{Effect, Kernel};
use homeostat_knowledge::forecast::REQUESTS;
use homeostat_knowledge::{ActionRecord, ForecastRecord, Origin, Timestamp, WorkloadKey};
use homeostat_plan::sizes::{self, SizeDecision};
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
        let effects = sizing(records).filter_map(|record| self.size_one(record, now, leads)).collect();
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
        let effect = self.size_one(record, now, leads);
        self.snapshot.generation += 1;
        effect
    }

    fn size_one(&mut self, record: &ForecastRecord, now: Timestamp, leads: bool) -> Option<Effect> {
        let mut advice = record.size.clone();
        let mut effect = None;
        let policy = self.snapshot.workloads.get(&record.workload).cloned();
        if let Some(policy) = policy.filter(|_| leads && self.snapshot.ready()) {
            match sizes::size(&policy, &advice, &self.snapshot, now, &mut *self.ids) {
                SizeDecision::Nothing => advice.done = None,
                SizeDecision::Wait(why) => advice.done = Some(why),
                SizeDecision::Act(draft) => match self.checker.check(*draft, &self.snapshot, now) {
                    Ok(plan) => {
                        advice.done = None;
                        effect = Some(Effect::Execute(Box::new(plan), None));
                    }
                    Err(objections) => {
                        let said = homeostat_plan::report::describe_objections(&objections);
                        advice.done = Some(format!("plan not admitted: {said}"));
                    }
                },
            }
        }
        self.snapshot.sizes.insert_mut(record.workload.clone(), Arc::new(advice));
        effect
    }
}
