//! What must never happen, S1 to S10, checked over the history of states and effects. It knows nothing of the
//! guards' code: it counts again, in its own way, from its own memory. Tests run it over everything; in
//! production it runs before each effect, and one breach stops all effects until the replica restarts.

use crate::asking::{Asked, approval_holds, digest, hands_off};
use crate::guards::{GuardInput, Mode, frozen, mode_of};
use crate::history::changes_state;
use homeostat_knowledge::entity::{TenantName, WorkloadKey};
use homeostat_knowledge::policy::KillSwitch;
use homeostat_knowledge::{ActionId, ActionRecord, ActionState, Origin, SignedDuration, Timestamp, Uid};
use std::collections::{BTreeMap, BTreeSet};

/// The invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// No effect without an earlier durable intent.
    S1,
    /// At most one state-changing effect per action.
    S2,
    /// No budget exceeded in any prefix.
    S3,
    /// No effect under kill switch, pause or freeze window.
    S4,
    /// The target's tenant is the deciding tenant.
    S5,
    /// Evidence is recent at the moment of the effect.
    S6,
    /// The target's UID is the decided one.
    S7,
    /// Every end state has its record: when, why, what the guards said.
    S8,
    /// Where approval is required it is there and valid.
    S9,
    /// Only what we did is undone.
    S10,
}

/// One invariant was broken, or would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub invariant: Invariant,
    /// By which action.
    pub action: ActionId,
    /// When.
    pub at: Timestamp,
    /// How.
    pub text: String,
}

impl Breach {
    /// How its text begins: the same for the same invariant and action.
    pub fn fault(&self) -> String {
        format!("{:?} broken by action {} at ", self.invariant, self.action)
    }
}

impl std::fmt::Display for Breach {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}{}: {}", self.fault(), self.at, self.text)
    }
}

/// What has budgets of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Repair,
    Size,
    /// A run whose turn it was.
    Run,
}

impl Counted {
    fn of(record: &ActionRecord) -> Self {
        match record.origin {
            Origin::Forecast => Self::Size,
            Origin::Schedule => Self::Run,
            Origin::Incident => Self::Repair,
        }
    }
}

/// What becomes of the capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goes {
    /// It is taken away, or may be.
    Down,
    Up,
}

impl Goes {
    fn of(record: &ActionRecord) -> Self {
        if record.goes_down() { Self::Down } else { Self::Up }
    }
}

#[derive(Clone, Debug)]
struct Effect {
    at: Timestamp,
    tenant: TenantName,
    workload: WorkloadKey,
    counted: Counted,
    open: bool,
    changes: bool,
    undo: bool,
    goes: Goes,
}

/// Watches states and effects.
#[derive(Debug, Default)]
pub struct Checker {
    claimed: BTreeSet<ActionId>,
    effects: BTreeMap<ActionId, Effect>,
    breaches: Vec<Breach>,
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Checker {
    /// All breaches since the start, bounded at 100.
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    /// Takes note of a state that is stored in the API server. Records found at the start go in here too.
    pub fn stored(&mut self, record: &ActionRecord, at: Timestamp) {
        if record.state == ActionState::Claimed {
            self.claimed.insert(record.id.clone());
        }
        let sent = record.instants.sent;
        if let Some(effect) = self.effects.get_mut(&record.id) {
            effect.open = !record.state.ended();
        } else if let Some(sent) = sent {
            // Sent by an earlier run; it counts against budgets, but was judged then.
            let effect = Effect {
                at: sent,
                tenant: record.tenant.clone(),
                workload: record.workload.clone(),
                counted: Counted::of(record),
                open: !record.state.ended(),
                changes: changes_state(record.kind()),
                undo: record.undo_of.is_some(),
                goes: Goes::of(record),
            };
            self.effects.insert(record.id.clone(), effect);
        }
        if record.state.ended() {
            self.claimed.remove(&record.id);
            if sent.is_none() {
                self.effects.remove(&record.id); // It never left this program.
            }
            if record.instants.closed.is_none() || record.message.is_empty() {
                self.breach(
                    Invariant::S8,
                    &record.id,
                    at,
                    format!("{:?} without time or reason", record.state),
                );
            }
            if sent.is_some() && record.guards.is_empty() {
                self.breach(Invariant::S8, &record.id, at, "an effect without guard results".to_owned());
            }
            if record.state == ActionState::Undone && sent.is_none() {
                self.breach(Invariant::S10, &record.id, at, "undone, but never done".to_owned());
            }
        }
    }

    /// Judges an effect that is about to be sent (or was, in a test) for the `input` that the guards saw last
    /// and the UID of the fresh read. Returns the breaches that it is, empty when it is none; only then it is
    /// remembered as sent.
    pub fn effect(
        &mut self,
        record: &ActionRecord,
        input: &GuardInput,
        fresh: Option<&Uid>,
        at: Timestamp,
    ) -> Vec<Breach> {
        let known = self.breaches.len();
        let id = &record.id;
        self.effects.retain(|_, effect| effect.open || at.duration_since(effect.at) < DAY);
        if !self.claimed.contains(id) {
            self.breach(Invariant::S1, id, at, "no stored claim".to_owned());
        }
        if let Some(earlier) = self.effects.get(id)
            && earlier.changes
        {
            let text = format!("sent before, at {}", earlier.at);
            self.breach(Invariant::S2, id, at, text);
        }
        let changes = changes_state(record.kind());
        if let Some(undone) = &record.undo_of {
            // Its budget was reserved with that of the action that it takes back.
            if !self.effects.contains_key(undone) {
                self.breach(Invariant::S10, id, at, format!("takes back {undone}, which was not sent"));
            }
        } else if changes {
            self.budgets(record, input, at);
        }
        if changes {
            self.evidence_and_target(record, input, fresh, at);
        }
        self.permission(record, input, at);
        let breaches = self.breaches.get(known..).map(<[Breach]>::to_vec).unwrap_or_default();
        if breaches.is_empty() {
            let effect = Effect {
                // Budgets are taken with the claim.
                at: record.instants.claimed.unwrap_or(at),
                tenant: record.tenant.clone(),
                workload: record.workload.clone(),
                counted: Counted::of(record),
                open: true,
                changes,
                undo: record.undo_of.is_some(),
                goes: Goes::of(record),
            };
            self.effects.insert(id.clone(), effect);
        }
        breaches
    }

    /// The API server said that it did not take the effect that was judged last for this action.
    pub(crate) fn not_sent(&mut self, action: &ActionId) {
        self.effects.remove(action);
    }

    /// Effects whose actions have not ended, as far as is known here.
    pub(crate) fn open_effects(&self) -> Vec<ActionId> {
        self.effects.iter().filter(|(_, effect)| effect.open).map(|(id, _)| id.clone()).collect()
    }

    fn budgets(&mut self, record: &ActionRecord, input: &GuardInput, at: Timestamp) {
        let Some(tenant) = &input.tenant else {
            return self.breach(Invariant::S3, &record.id, at, "budgets not known".to_owned());
        };
        let limits = &tenant.limits;
        let others: Vec<&Effect> = self
            .effects
            .iter()
            .filter(|(id, effect)| **id != record.id && effect.changes)
            .filter(|(_, effect)| effect.counted == Counted::of(record))
            .map(|(_, e)| e)
            .collect();
        let count = |test: &dyn Fn(&&&Effect) -> bool| others.iter().filter(test).count() + 1;
        let age = |effect: &Effect| at.duration_since(effect.at);
        let hour = SignedDuration::from_hours(1);
        let under_way = |effect: &Effect| effect.open && !effect.undo;
        let same_workload = |effect: &Effect| effect.workload == record.workload;
        let same_tenant = |effect: &Effect| effect.tenant == record.tenant;
        let (control, scaling) = (&input.control, &limits.scaling);
        let sized = record.origin == Origin::Forecast;
        let most = |repairs: u32, sizes: u32| if sized { sizes } else { repairs };
        // What grows by forecast has its places beside those of what shrinks.
        let beside = sized && Goes::of(record) == Goes::Up;
        let in_the_way = |effect: &Effect| under_way(effect) && !(beside && effect.goes == Goes::Down);
        let used = [
            (
                "under way on the workload",
                count(&|e| under_way(e) && same_workload(e)),
                most(limits.in_flight_per_workload, 1),
            ),
            (
                "under way in the tenant",
                count(&|e| in_the_way(e) && same_tenant(e)),
                most(limits.in_flight_per_tenant, scaling.in_flight_per_tenant),
            ),
            (
                "under way in the cluster",
                count(&|e| in_the_way(e)),
                most(control.in_flight, control.scaling_in_flight),
            ),
            (
                "on the workload in an hour",
                count(&|e| same_workload(e) && age(e) < hour),
                most(limits.per_workload_hour, scaling.per_workload_hour),
            ),
            (
                "in the tenant in an hour",
                count(&|e| same_tenant(e) && age(e) < hour),
                most(limits.per_tenant_hour, scaling.per_tenant_hour),
            ),
            (
                "in the cluster in an hour",
                count(&|e| age(e) < hour),
                most(control.per_hour, control.scaling_per_hour),
            ),
        ];
        let mut touched: BTreeSet<&WorkloadKey> = others
            .iter()
            .filter(|effect| same_tenant(effect) && age(effect) < SignedDuration::from_mins(10))
            .map(|effect| &effect.workload)
            .collect();
        touched.insert(&record.workload);
        let touched = touched.len();
        for (what, number, limit) in used {
            if number > limit as usize {
                self.breach(Invariant::S3, &record.id, at, format!("{number} of {limit} {what}"));
            }
        }
        // One is always allowed; above that the exact share counts.
        if touched > 1
            && !sized
            && touched as u64 * 100
                > u64::from(input.workloads_in_tenant) * u64::from(limits.percent_per_10_minutes)
        {
            let text = format!(
                "{touched} of {} workloads in 10 minutes, {} % allowed",
                input.workloads_in_tenant, limits.percent_per_10_minutes
            );
            self.breach(Invariant::S3, &record.id, at, text);
        }
    }

    fn evidence_and_target(
        &mut self,
        record: &ActionRecord,
        input: &GuardInput,
        fresh: Option<&Uid>,
        at: Timestamp,
    ) {
        let maximum = input.tenant.as_ref().map(|tenant| tenant.limits.evidence_maximum_age);
        let age = input.evidence.as_ref().map(|evidence| evidence.age(at));
        match (age, maximum) {
            (Some(age), Some(maximum)) if age <= maximum => {}
            _ if record.undo_of.is_some() => {}
            _ => self.breach(
                Invariant::S6,
                &record.id,
                at,
                format!("evidence is {age:?} old, {maximum:?} allowed"),
            ),
        }
        if fresh != Some(&record.target.uid) {
            self.breach(
                Invariant::S7,
                &record.id,
                at,
                format!("decided on {}, found {fresh:?}", record.target.uid),
            );
        }
    }

    fn permission(&mut self, record: &ActionRecord, input: &GuardInput, at: Timestamp) {
        let id = &record.id;
        if input.kill_switch != KillSwitch::Off {
            self.breach(Invariant::S4, id, at, "the kill switch is not off".to_owned());
        }
        let Some(tenant) = &input.tenant else {
            return self.breach(Invariant::S5, id, at, "no tenant".to_owned());
        };
        let node = record.target.is_node();
        let workload = input.workload.as_ref();
        let stopped = workload.is_none_or(|workload| {
            workload.paused || workload.do_not_touch_until.is_some_and(|until| at < until)
        });
        let mut stopped_tenants = std::iter::once(tenant).chain(&input.neighbours);
        let marked = input.ownership.hands_off.as_deref().is_some_and(|text| hands_off(text, at).is_some());
        if stopped_tenants.any(|tenant| tenant.paused_at(at)) || ((stopped || marked) && !node) {
            self.breach(Invariant::S4, id, at, "a person paused automation".to_owned());
        }
        let mut tenants = std::iter::once(tenant).chain(&input.neighbours);
        if changes_state(record.kind())
            && record.undo_of.is_none()
            && tenants.any(|tenant| frozen(&tenant.freezes, at) != Ok(None))
        {
            self.breach(Invariant::S4, id, at, "a freeze window is open".to_owned());
        }
        let owned = |namespace: &homeostat_knowledge::Name| tenant.namespaces.contains(namespace);
        if tenant.name != record.tenant
            || !owned(&record.workload.namespace)
            || !(owned(&record.target.key.namespace)
                || (node && &*tenant.name.0 == homeostat_knowledge::policy::PLATFORM_TENANT))
        {
            let text = format!("target {} is not of tenant {}", record.target.key, record.tenant);
            self.breach(Invariant::S5, id, at, text);
        }
        let approved = match mode_of(&input.action, tenant, &input.control) {
            Mode::Act => true,
            Mode::Approve => record.approval.as_ref().is_some_and(|approval| {
                let asked = Asked {
                    digest: &digest(record),
                    request: &record.request,
                    evidence: &record.evidence.id,
                };
                approval_holds(approval, &asked, at).is_ok()
            }),
            Mode::Recommend | Mode::Nothing => false,
        };
        if !approved {
            self.breach(Invariant::S9, id, at, "no valid approval and no level to act alone".to_owned());
        }
    }

    fn breach(&mut self, invariant: Invariant, action: &ActionId, at: Timestamp, text: String) {
        if self.breaches.len() < 100 {
            self.breaches.push(Breach { invariant, action: action.clone(), at, text });
        }
    }
}

#[cfg(test)]
mod tests;
