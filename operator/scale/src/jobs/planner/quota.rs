//! Room that is not there for everybody: quotas of tenants, and what runs take that are not ordered here.

use super::{Place, Planner, Run, Size, State, Timestamp};
use std::collections::BTreeMap;

impl Planner {
    /// What runs take that are not ordered here: of the capacity, and of their tenants' quotas.
    pub fn others(&mut self, all: Size, by_tenant: &BTreeMap<String, Size>) {
        self.others = all;
        let mut changed = Vec::new();
        for (name, place) in &self.tenants_by_name {
            let others = by_tenant.get(name).copied().unwrap_or_default();
            let tenant = &mut self.tenants[*place];
            if tenant.others != others {
                tenant.others = others;
                changed.push(*place);
            }
        }
        for place in changed {
            self.unpark(place);
        }
    }

    /// Whether somebody else could use the room of a run whose turn it is.
    pub fn is_wanted(&self, run: Run) -> bool {
        let declared = self.jobs.get(run.job.index());
        self.ready.len() > 0
            || declared.is_some_and(|declared| !self.tenants[declared.tenant].parked.is_empty())
    }

    /// All runs together may reserve so much from now on.
    pub(super) fn holds(&mut self, capacity: Size) {
        let before = std::mem::replace(&mut self.capacity, capacity).millicores;
        let mut others = self.ready.between(capacity.millicores, u64::MAX);
        if before < capacity.millicores {
            others.extend(self.ready.between(before, capacity.millicores));
        }
        for run in others {
            self.wait_anew(run);
        }
        for place in 0..self.tenants.len() {
            self.unpark(place);
        }
    }

    pub(super) fn over_quota(&self, run: Run, millicores: u64) -> bool {
        let tenant = &self.tenants[self.jobs[run.job.index()].tenant];
        let taken = tenant.used.plus(tenant.others);
        tenant.quota.is_some_and(|quota| !taken.plus(self.sized(run, millicores)).fits(quota))
    }

    /// Whether a run would take room of its tenant's quota from a more urgent one that waits for it: it must end before that
    /// must start. What is larger than all of the quota keeps nobody waiting.
    pub(super) fn kept_for_another(&self, now: Timestamp, place: &Place) -> bool {
        let tenant = &self.tenants[self.jobs[place.1.job.index()].tenant];
        let Some(quota) = tenant.quota else { return false };
        let mut more_urgent =
            tenant.parked.iter().take_while(|(other, _)| other < place).take(self.settings.look);
        let first = more_urgent.find(|(other, millicores)| self.sized(other.1, *millicores).fits(quota));
        let latest = first.and_then(|(other, _)| self.live.get(&other.1)).map(|live| live.latest);
        latest.is_some_and(|latest| self.would_end(now, place.1) > latest)
    }

    pub(super) fn park(&mut self, cpu: u64, place: Place) {
        self.ready.remove(cpu, &place);
        self.tenants[self.jobs[place.1.job.index()].tenant].parked.insert((place, cpu));
        if let Some(live) = self.live.get_mut(&place.1) {
            live.state = State::Parked(cpu, place);
        }
    }

    /// Lets as many of a tenant's parked runs back as its quota has room for. Behind one that has none a few are looked at:
    /// which of them may start before it is decided with all others.
    pub(super) fn unpark(&mut self, tenant: usize) {
        let own = &self.tenants[tenant];
        let mut used = own.used.plus(own.others);
        let (mut back, mut without) = (Vec::new(), 0);
        for (place, cpu) in &own.parked {
            let next = used.plus(self.sized(place.1, *cpu));
            if own.quota.is_some_and(|quota| !next.fits(quota)) {
                without += 1;
                if without > self.settings.look {
                    break;
                }
                continue;
            }
            // What waits for a larger capacity takes nothing of the quota until then.
            if *cpu <= self.capacity.millicores {
                used = next;
            }
            back.push((*place, *cpu));
        }
        for (place, cpu) in back {
            self.tenants[tenant].parked.remove(&(place, cpu));
            self.ready.insert(cpu, place);
            if let Some(live) = self.live.get_mut(&place.1) {
                live.state = State::Ready(cpu, place);
            }
            if cpu > self.capacity.millicores {
                self.wait_anew(place.1);
            }
        }
    }
}
