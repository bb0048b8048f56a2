//! Room that is not there for everybody: quotas of tenants, and what is taken by runs that are not ordered here and by pods
//! that are no runs.

use super::super::later;
use super::{Place, Planner, Run, SignedDuration, Size, State, Timestamp};
use std::collections::BTreeMap;

impl Planner {
    /// What runs take that are not ordered here: of the capacity, and of their tenants' quotas.
    pub fn others(&mut self, all: Size, by_tenant: &BTreeMap<String, Size>) {
        let moved = std::mem::replace(&mut self.others, all) != all;
        let mut changed = Vec::new();
        for (name, place) in &self.tenants_by_name {
            let others = by_tenant.get(name).copied().unwrap_or_default();
            let tenant = &mut self.tenants[*place];
            if moved || tenant.others != others {
                tenant.others = others;
                changed.push(*place);
            }
        }
        for place in changed {
            self.unpark(place);
        }
    }

    /// What pods that are no runs take of their tenants' quotas; the capacity is told without them. Only runs of tenants of
    /// which that has changed are looked at again.
    pub fn standing(&mut self, by_tenant: &BTreeMap<String, Size>) {
        let mut changed = Vec::new();
        for (name, place) in &self.tenants_by_name {
            let standing = by_tenant.get(name).copied().unwrap_or_default();
            if std::mem::replace(&mut self.tenants[*place].standing, standing) != standing {
                changed.push(*place);
            }
        }
        for place in changed {
            self.unpark(place);
        }
    }

    /// A run that is under way takes more or less than it did.
    pub(super) fn takes(&mut self, run: Run, size: Size) {
        let Some(live) = self.live.get_mut(&run) else { return };
        let State::Running(before) = live.state else { return };
        live.state = State::Running(size);
        self.reserved = self.reserved.minus(before).plus(size);
        self.ahead.run(live.until, -(before.millicores as i64));
        self.ahead.run(live.until, size.millicores as i64);
        let place = self.jobs[run.job.index()].tenant;
        let tenant = &mut self.tenants[place];
        tenant.used = tenant.used.minus(before).plus(size);
        self.unpark(place);
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
        let taken = tenant.used.plus(tenant.elsewhere());
        tenant.quota.is_some_and(|quota| !taken.plus(self.sized(run, millicores)).fits(quota))
    }

    /// What a run waits for that is parked, in words.
    pub(super) fn parked_for(&self, run: Run, millicores: u64, latest: Timestamp) -> String {
        let tenant = &self.tenants[self.jobs[run.job.index()].tenant];
        let Some(quota) = tenant.quota else { return "waits for its turn".to_owned() };
        let (size, standing) = (self.sized(run, millicores), tenant.standing);
        if !size.fits(quota) {
            return format!(
                "needs {size}, and its tenant's quota is less; it starts once that is raised or it asks for less"
            );
        }
        if !size.fits(quota.minus(standing)) {
            let lacks = size.plus(standing).minus(quota);
            return format!(
                "needs {size}, and other pods (services, workers) use {standing} of its tenant's quota, {lacks} too much: it \
                 starts once they ask for less (fewer replicas) or spec.quota is raised, and is late if that is after {latest}"
            );
        }
        let beside = if standing == Size::default() {
            String::new()
        } else {
            format!("; other pods (services, workers) use {standing} of it")
        };
        format!(
            "waits for its tenant's other runs: the quota is used up, or kept for a more urgent one{beside}"
        )
    }

    /// Whether a run would take room of its tenant's quota from a more urgent one that waits for it: it must end before that
    /// must start. What is larger than what others leave of the quota keeps nobody waiting.
    pub(super) fn kept_for_another(&self, now: Timestamp, place: &Place) -> bool {
        let Some(latest) = self.kept_until(place) else { return false };
        let held = later(latest, self.settings.lets_pass);
        // Held back for a while once that is late, too: its tenant's runs end one by one.
        let until = if held >= now { latest } else { self.lets_pass_until(now, held) };
        self.would_end(now, place.1) > until
    }

    /// Latest start of the more urgent run of the same tenant for which the rest of its quota is kept.
    fn kept_until(&self, place: &Place) -> Option<Timestamp> {
        let tenant = &self.tenants[self.jobs[place.1.job.index()].tenant];
        let room = tenant.quota?.minus(tenant.elsewhere());
        let mut more_urgent =
            tenant.parked.iter().take_while(|(other, _)| other < place).take(self.settings.look);
        let first = more_urgent.find(|(other, millicores)| self.sized(other.1, *millicores).fits(room));
        first.and_then(|(other, _)| self.live.get(&other.1)).map(|live| live.latest)
    }

    /// Notes when a run that is parked for a more urgent one may pass it, even if nothing happens until then.
    pub(super) fn keep_apart(&mut self, now: Timestamp, place: &Place) {
        let Some(latest) = self.kept_until(place) else { return };
        let held = later(latest, self.settings.lets_pass);
        let again = if held >= now {
            later(held, SignedDuration::from_secs(1))
        } else {
            self.lets_pass_again(now, held)
        };
        let tenant = self.jobs[place.1.job.index()].tenant;
        let first = self.kept.entry(tenant).or_insert(again);
        *first = (*first).min(again);
    }

    /// Lets runs back that may pass a more urgent one of their tenant now.
    pub(super) fn let_back(&mut self, now: Timestamp) {
        let due = self.kept.iter().filter(|(_, at)| **at <= now).map(|(tenant, _)| *tenant);
        for tenant in due.collect::<Vec<_>>() {
            self.kept.remove(&tenant);
            self.unpark(tenant);
        }
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
        let room = self.capacity.minus(self.others);
        let mut used = own.used.plus(own.elsewhere());
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
            // What waits for a larger capacity, or for others to end, takes nothing of the quota until then.
            if self.sized(place.1, *cpu).fits(room) {
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
