//! What of the quotas of tenants is not there for runs.

use super::declared::{Asked, mebibytes};
use super::seen::{Jobs, Phase, Seen};
use crate::quotas::{Held, Orders};
use homeostat_knowledge::{PodRecord, SignedDuration, Snapshot, TenantName, Timestamp, Uid, WorkloadKey};
use homeostat_scale::jobs::Size;
use std::collections::{BTreeMap, BTreeSet};

/// All pods of these tenants are counted so often.
const EVERY: SignedDuration = SignedDuration::from_secs(1);

/// What pods that are no runs take of the quotas of tenants, as last counted.
#[derive(Debug, Default)]
pub struct Standing {
    counted: Option<Timestamp>,
    /// Tenants with a quota that have runs ordered.
    tenants: BTreeSet<TenantName>,
    /// Jobs whose pods did not count, as what runs take is known of their Jobs.
    running: BTreeSet<Uid>,
    sizes: BTreeMap<String, Size>,
}

impl Standing {
    /// What pods that are no runs of ours ask for together in the namespaces of each tenant with a quota, by its name: services,
    /// workers, and whatever else is there or sure to come. So much of the quota is not free for its runs. What Kueue let go
    /// counts, and pods that have not ended of a Job that is over.
    pub fn look(
        &mut self,
        snapshot: &Snapshot,
        asked: &BTreeMap<WorkloadKey, Asked>,
        jobs: &Jobs,
        now: Timestamp,
    ) -> &BTreeMap<String, Size> {
        let limited = asked.values().filter(|one| one.quota.is_some());
        let tenants: BTreeSet<TenantName> = limited.map(|one| one.tenant.clone()).collect();
        let running = |(_, job): &(&Uid, &Seen)| job.phase == Phase::Running && !job.left;
        let running: BTreeSet<Uid> = jobs.by_uid().filter(running).map(|(uid, _)| uid.clone()).collect();
        let recent = |last: Timestamp| now >= last && now.duration_since(last) < EVERY;
        // What a Job that is over leaves behind counts from that moment on.
        if tenants != self.tenants || running != self.running || !self.counted.is_some_and(recent) {
            self.sizes = count(snapshot, &tenants, &running);
            (self.tenants, self.running) = (tenants, running);
            self.counted = Some(now);
        }
        &self.sizes
    }
}

fn count(
    snapshot: &Snapshot,
    tenants: &BTreeSet<TenantName>,
    running: &BTreeSet<Uid>,
) -> BTreeMap<String, Size> {
    if tenants.is_empty() {
        return BTreeMap::new();
    }
    let orders = Orders::of(snapshot);
    // What these take the planner is told by their Jobs.
    let is_run = |pod: &PodRecord| pod.owner.as_ref().is_some_and(|owner| running.contains(&owner.uid));
    let of_tenant = |name: &TenantName| {
        let tenant = snapshot.tenants.get(name)?;
        let others = Held::of(snapshot, tenant, &orders, is_run).others;
        let size = Size { millicores: others.cpu_millis, mebibytes: mebibytes(others.memory_bytes) };
        (size != Size::default()).then(|| (name.0.to_string(), size))
    };
    tenants.iter().filter_map(of_tenant).collect()
}
