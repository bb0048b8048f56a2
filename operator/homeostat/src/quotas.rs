//! What pods take of the quotas of their tenants, and what that leaves to services and workers: a size never asks for more
//! than that, and takes nothing away because of it.
//!
//! `spec.quota` of a Tenant bounds what its pods request together, those of services and those of runs. All that are there
//! count, whoever made them, and those that are sure to come: replicas that a spec wants or that are ordered, and pods of a
//! run whose start is ordered. Who comes first has it. What a pod of a workload asks for is read off its pods: of one without
//! any it is not known, and its first step is not bounded. The planner of runs is told of [`Held::others`].

use homeostat_knowledge::forecast::{SizeAdvice, SizeEffect, SizeTrouble};
use homeostat_knowledge::records::{Amounts, ControllerKey, PodPhase};
use homeostat_knowledge::{
    ActionRecord, ActionState, ControllerKind, Parameters, PodRecord, Snapshot, TenantName, TenantPolicy,
    Timestamp, Uid, WorkloadKey, WorkloadPolicy,
};
use homeostat_scale::services::Owner;
use std::collections::{BTreeMap, BTreeSet};

/// What is left of each quota, during one step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Quotas {
    left: BTreeMap<TenantName, Amounts>,
    /// What runs have of it.
    runs: BTreeMap<TenantName, Asks>,
    /// Pods of each workload of such a tenant that hold what they ask for, and what the largest of them asks for.
    pods: BTreeMap<WorkloadKey, (u32, Asks)>,
    /// Replicas that are ordered, by actions that are not over.
    ordered: BTreeMap<WorkloadKey, u32>,
}

/// What one pod asks for, or several together; no request is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asks {
    /// Thousandths of a core.
    pub cpu_millis: u64,
    /// Bytes.
    pub memory_bytes: u64,
}

/// What the pods of one tenant ask for together: those that have not ended, and those that are sure to come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// Those of runs that are ordered here.
    pub runs: Asks,
    /// All others, whoever made them.
    pub others: Asks,
    /// As in [`Quotas`].
    pods: BTreeMap<WorkloadKey, (u32, Asks)>,
}

/// What is ordered: actions that were admitted and are not over. The objects may not show it yet.
#[derive(Debug, Default)]
pub struct Orders<'a> {
    replicas: BTreeMap<&'a WorkloadKey, u32>,
    starts: Vec<&'a ActionRecord>,
}

impl Asks {
    /// With so many pods more that ask for `each`.
    fn plus(self, each: Self, pods: u32) -> Self {
        let pods = u64::from(pods);
        Self {
            cpu_millis: self.cpu_millis.saturating_add(each.cpu_millis.saturating_mul(pods)),
            memory_bytes: self.memory_bytes.saturating_add(each.memory_bytes.saturating_mul(pods)),
        }
    }

    fn words(self) -> String {
        words(Some(self.cpu_millis), Some(self.memory_bytes))
    }
}

impl<'a> Orders<'a> {
    /// All of them.
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let mut orders = Self::default();
        for action in snapshot.actions.values().filter(|action| under_way(action.state)) {
            let replicas = match &action.parameters {
                Parameters::ScaleUp { replicas } => u32::try_from(*replicas).unwrap_or(0),
                Parameters::DriveBounds { bounds, .. } => u32::try_from(bounds.min).unwrap_or(u32::MAX),
                Parameters::StartJob { .. } => {
                    orders.starts.push(action);
                    continue;
                }
                _ => continue,
            };
            let most = orders.replicas.entry(&action.workload).or_default();
            *most = replicas.max(*most);
        }
        orders
    }

    /// As many as its spec wants, or as are ordered.
    fn replicas(&self, snapshot: &Snapshot, workload: &WorkloadPolicy) -> u32 {
        let ordered = self.replicas.get(&workload.key).copied().unwrap_or(0);
        replicas(snapshot, workload).max(ordered)
    }
}

impl Held {
    /// Of this tenant. `is_run` says of a pod whether it is of a run that is ordered here.
    pub fn of(
        snapshot: &Snapshot,
        tenant: &TenantPolicy,
        orders: &Orders<'_>,
        is_run: impl Fn(&PodRecord) -> bool,
    ) -> Self {
        let mut held = Self::default();
        let mut jobs: BTreeSet<&Uid> = BTreeSet::new();
        let pods = tenant.namespaces.iter().flat_map(|namespace| snapshot.pods_in(namespace));
        for pod in pods.filter(|pod| lives(pod)) {
            let asks = asks(pod);
            let sum = if is_run(pod) { &mut held.runs } else { &mut held.others };
            *sum = sum.plus(asks, 1);
            let job = pod.owner.as_ref().filter(|owner| owner.kind == ControllerKind::Job);
            jobs.extend(job.map(|owner| &owner.uid));
            if let Some(workload) = snapshot.workload_of(pod) {
                let (count, most) = held.pods.entry(workload.clone()).or_default();
                (*count, *most) = (count.saturating_add(1), asks.max(*most));
            }
        }
        for (key, (count, each)) in &held.pods {
            let workload = snapshot.workloads.get(key).filter(|one| has_replicas(one));
            let Some(workload) = workload else { continue };
            let to_come = orders.replicas(snapshot, workload).saturating_sub(*count);
            held.others = held.others.plus(*each, to_come);
        }
        let own = orders.starts.iter().filter(|start| start.tenant == tenant.name);
        for start in own.filter(|start| !jobs.contains(&start.target.uid)) {
            if let Some((each, pods)) = to_begin(snapshot, start) {
                held.runs = held.runs.plus(each, pods);
            }
        }
        held
    }
}

impl Quotas {
    /// Of all tenants that have one: without what their pods ask for.
    pub fn of(snapshot: &Snapshot) -> Self {
        let orders = Orders::of(snapshot);
        let mut quotas = Self::default();
        for tenant in snapshot.tenants.values() {
            let Some(mut free) = tenant.quota else { continue };
            let held = Held::of(snapshot, tenant, &orders, |pod| of_ordered(snapshot, pod));
            take(&mut free, held.runs, 1);
            take(&mut free, held.others, 1);
            quotas.left.insert(tenant.name.clone(), free);
            quotas.runs.insert(tenant.name.clone(), held.runs);
            quotas.pods.extend(held.pods);
        }
        quotas.ordered = orders.replicas.iter().map(|(key, replicas)| ((*key).clone(), *replicas)).collect();
        quotas
    }

    /// Keeps a size within what the quota of its tenant leaves, which is less for the next one then: by what one step adds, and
    /// by nothing where people want the workload left alone.
    pub fn keep(
        &mut self,
        snapshot: &Snapshot,
        workload: &WorkloadPolicy,
        owner: &Owner,
        size: &mut SizeAdvice,
        now: Timestamp,
    ) {
        let asked = match (size.effect, size.wanted) {
            (SizeEffect::DriveBounds { min, .. }, Some(_)) => min,
            (SizeEffect::Scale | SizeEffect::Note | SizeEffect::Recommend, Some(wanted)) => wanted,
            _ => return,
        };
        let Some(tenant) = snapshot.tenant_of_namespace(&workload.key.namespace) else { return };
        let Some(free) = self.left.get_mut(&tenant.name) else { return };
        let ordered = self.ordered.get(&workload.key).copied().unwrap_or(0);
        let present = replicas(snapshot, workload).max(ordered);
        let Some((_, each)) = self.pods.get(&workload.key).copied() else { return };
        let allowed = present.saturating_add(room(*free, each));
        let left_alone = workload.paused
            || workload.do_not_touch_until.is_some_and(|until| now < until)
            || tenant.paused_at(now);
        let done = !left_alone && matches!(size.effect, SizeEffect::Scale | SizeEffect::DriveBounds { .. });
        let step = if done { tenant.limits.scaling.most_up(present) } else { 0 };
        if asked <= present || asked <= allowed {
            take(free, each, asked.saturating_sub(present).min(step));
            return;
        }
        let runs = self.runs.get(&tenant.name).copied().filter(|runs| *runs != Asks::default());
        let of_runs = runs.map_or_else(String::new, |runs| format!(", its runs have {}", runs.words()));
        size.why = format!(
            "{allowed} replicas, as many as the quota of tenant {} has room for ({} are free{of_runs}, a pod asks for {}): \
             raise its spec.quota; without it: {}",
            tenant.name,
            words(free.cpu_millis, free.memory_bytes),
            each.words(),
            size.why
        );
        take(free, each, (allowed - present).min(step));
        size.wanted = size.wanted.map(|wanted| wanted.min(allowed));
        size.effect = match (size.effect, owner) {
            (SizeEffect::DriveBounds { .. }, Owner::Hpa { bounds, peoples, .. }) => {
                // With fewer replicas than its floor the HPA is still on its way up.
                let min = allowed.max(peoples.0).max(bounds.0.min(asked));
                let max = peoples.1.max(min);
                if *bounds == (min, max) { SizeEffect::Keep } else { SizeEffect::DriveBounds { min, max } }
            }
            _ if allowed == present => SizeEffect::Keep,
            (effect, _) => effect,
        };
        size.troubles.push(SizeTrouble::QuotaReached);
        size.troubles.sort_unstable();
    }
}

/// What its replicas are is decided for it.
fn has_replicas(workload: &WorkloadPolicy) -> bool {
    matches!(workload.target.kind, ControllerKind::Deployment | ControllerKind::StatefulSet)
}

/// As many as its spec wants.
fn replicas(snapshot: &Snapshot, workload: &WorkloadPolicy) -> u32 {
    let wanted = snapshot.controllers.get(&workload.target).map_or(0, |one| one.replicas);
    u32::try_from(wanted).unwrap_or(0)
}

/// It was admitted, and what came of it may not be seen yet.
fn under_way(state: ActionState) -> bool {
    !state.ended() && !matches!(state, ActionState::Proposed | ActionState::AwaitingApproval)
}

/// What each pod of a Job whose start is ordered will ask for, and how many they are. A further try is another Job, which is
/// not there yet.
fn to_begin(snapshot: &Snapshot, start: &ActionRecord) -> Option<(Asks, u32)> {
    let Parameters::StartJob { cpu_millis, memory_bytes, parallelism } = start.parameters else {
        return None;
    };
    let key = ControllerKey { kind: ControllerKind::Job, object: start.target.key.clone() };
    let job = snapshot.controllers.get(&key)?;
    if job.uid != start.target.uid || job.finished.is_some() {
        return None;
    }
    let work = job.work.as_ref()?;
    let each = Asks {
        cpu_millis: cpu_millis.or(work.requests.cpu_millis).unwrap_or(0),
        memory_bytes: memory_bytes.or(work.requests.memory_bytes).unwrap_or(0),
    };
    Some((each, parallelism.unwrap_or_else(|| work.at_once())))
}

/// It is of a Job whose Workload has its runs ordered.
fn of_ordered(snapshot: &Snapshot, pod: &PodRecord) -> bool {
    pod.owner.as_ref().is_some_and(|owner| owner.kind == ControllerKind::Job)
        && snapshot
            .workload_of(pod)
            .and_then(|key| snapshot.workloads.get(key))
            .is_some_and(|workload| workload.permits.scaling.is_some())
}

/// It holds what it asks for.
fn lives(pod: &PodRecord) -> bool {
    matches!(pod.phase, PodPhase::Pending | PodPhase::Running | PodPhase::Unknown)
}

fn asks(pod: &PodRecord) -> Asks {
    pod.containers.iter().fold(Asks::default(), |all, one| Asks {
        cpu_millis: all.cpu_millis.saturating_add(one.cpu_request.unwrap_or(0)),
        memory_bytes: all.memory_bytes.saturating_add(one.memory.request.unwrap_or(0)),
    })
}

/// So many pods more are there.
fn take(free: &mut Amounts, each: Asks, pods: u32) {
    let less = |free: &mut Option<u64>, each: u64| {
        *free = free.map(|free| free.saturating_sub(each.saturating_mul(u64::from(pods))));
    };
    less(&mut free.cpu_millis, each.cpu_millis);
    less(&mut free.memory_bytes, each.memory_bytes);
}

/// Pods for which there is room. Where the quota says nothing, or they ask for nothing, they have it.
fn room(free: Amounts, each: Asks) -> u32 {
    let of = |free: Option<u64>, each: u64| free.and_then(|free| free.checked_div(each)).unwrap_or(u64::MAX);
    let pods = of(free.cpu_millis, each.cpu_millis).min(of(free.memory_bytes, each.memory_bytes));
    u32::try_from(pods).unwrap_or(u32::MAX)
}

fn words(cpu_millis: Option<u64>, memory_bytes: Option<u64>) -> String {
    let cpu = cpu_millis.map(|millis| format!("{:.2} vCPU", millis as f64 / 1e3));
    let memory = memory_bytes.map(|bytes| format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30)));
    cpu.into_iter().chain(memory).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::policy::ScalingPolicy;
    use homeostat_knowledge::records::OwnerRecord;
    use homeostat_situations::{Given, GivenPod, now, order};
    use std::sync::Arc;

    const GIB: u64 = 1 << 30;

    /// A world in which `order` has two pods of half a core and 1 GiB each, and its tenant this quota.
    fn world(quota: Option<Amounts>) -> Snapshot {
        let pod =
            |name: &str| GivenPod { name: name.into(), memory: Some([1_024, 2_048]), ..GivenPod::default() };
        let (mut world, _) = Given { pods: vec![pod("order-a"), pod("order-b")], ..Given::default() }.build();
        let mut tenant = (**world.tenant_of_namespace(&order().namespace).unwrap()).clone();
        tenant.quota = quota;
        world.commit(&ObjectChange::Tenant(Change::Applied(Arc::new(tenant))), now());
        let mut controller = (**world.controller_of(&order()).unwrap()).clone();
        controller.replicas = 2;
        world.commit(&ObjectChange::Controller(Change::Applied(Arc::new(controller))), now());
        let pods: Vec<_> = world.pods_of(&order()).cloned().collect();
        assert_eq!(pods.len(), 2);
        for pod in pods {
            let mut pod = (*pod).clone();
            pod.containers[0].cpu_request = Some(500);
            world.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), now());
        }
        world
    }

    fn quota(cpu_millis: u64, memory_bytes: u64) -> Amounts {
        Amounts { cpu_millis: Some(cpu_millis), memory_bytes: Some(memory_bytes) }
    }

    fn kept(
        world: &Snapshot,
        quotas: &mut Quotas,
        wanted: u32,
        effect: SizeEffect,
        owner: &Owner,
    ) -> SizeAdvice {
        let why = format!("{wanted} replicas");
        let mut size =
            SizeAdvice { wanted: Some(wanted), effect, why, ..SizeAdvice::keep(Timestamp::UNIX_EPOCH) };
        quotas.keep(world, world.workloads.get(&order()).unwrap(), owner, &mut size, now());
        size
    }

    #[test]
    fn a_size_asks_for_no_more_than_the_quota_of_its_tenant_leaves_and_names_it() {
        let scaled = |quota: Option<Amounts>, wanted: u32| {
            let world = world(quota);
            kept(&world, &mut Quotas::of(&world), wanted, SizeEffect::Scale, &Owner::Nobody)
        };
        for free in [None, Some(quota(5_000, 20 * GIB)), Some(Amounts::default())] {
            let size = scaled(free, 10);
            assert_eq!(
                (size.wanted, size.effect, &size.troubles[..]),
                (Some(10), SizeEffect::Scale, &[][..])
            );
        }
        let cpu = scaled(Some(quota(2_700, 20 * GIB)), 10);
        assert_eq!((cpu.wanted, cpu.effect), (Some(5), SizeEffect::Scale), "{}", cpu.why);
        assert_eq!(cpu.troubles, [SizeTrouble::QuotaReached]);
        assert!(cpu.why.contains("raise its spec.quota") && cpu.why.contains("1.70 vCPU"), "{}", cpu.why);
        assert_eq!(scaled(Some(quota(20_000, 3 * GIB)), 10).wanted, Some(3), "memory is scarcer");
        let full = scaled(Some(quota(1_000, GIB)), 10);
        assert_eq!(
            (full.wanted, full.effect),
            (Some(2), SizeEffect::Keep),
            "nothing is taken away: {}",
            full.why
        );
        let down = scaled(Some(quota(1_000, GIB)), 1);
        assert_eq!((down.wanted, &down.troubles[..]), (Some(1), &[][..]));
    }

    #[test]
    fn what_one_workload_gets_is_not_left_for_the_next() {
        let world = world(Some(quota(3_000, 20 * GIB)));
        let mut quotas = Quotas::of(&world);
        let mut next = |effect| kept(&world, &mut quotas, 5, effect, &Owner::Nobody).wanted;
        assert_eq!(next(SizeEffect::Recommend), Some(5), "what is only said takes nothing");
        assert_eq!((next(SizeEffect::Scale), next(SizeEffect::Scale)), (Some(5), Some(3)));
    }

    #[test]
    fn the_floor_of_an_autoscaler_stays_within_the_quota_and_above_peoples_own() {
        let world = world(Some(quota(2_000, 20 * GIB)));
        let owner = |peoples| Owner::Hpa { name: "web".to_owned(), bounds: (1, 9), peoples };
        let floor = |peoples| {
            let drive = SizeEffect::DriveBounds { min: 7, max: 9 };
            kept(&world, &mut Quotas::of(&world), 7, drive, &owner(peoples)).effect
        };
        assert_eq!(floor((1, 9)), SizeEffect::DriveBounds { min: 4, max: 9 });
        assert_eq!(floor((6, 9)), SizeEffect::DriveBounds { min: 6, max: 9 });
    }
    #[test]
    fn what_people_want_left_alone_and_what_comes_in_later_steps_takes_nothing_of_the_quota() {
        let mut world = world(Some(quota(6_000, 20 * GIB)));
        let next = |world: &Snapshot, first: u32| {
            let mut quotas = Quotas::of(world);
            let mut size = |wanted| kept(world, &mut quotas, wanted, SizeEffect::Scale, &Owner::Nobody);
            size(first);
            size(12).wanted
        };
        assert_eq!(next(&world, 40), Some(8), "ten have room, and the first one takes four in a step");
        let mut policy = (**world.workloads.get(&order()).unwrap()).clone();
        policy.paused = true;
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy.clone()))), now());
        assert_eq!(next(&world, 40), Some(12));
        (policy.paused, policy.do_not_touch_until) = (false, Some(Timestamp::MAX));
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), now());
        assert_eq!(next(&world, 40), Some(12));
    }

    #[test]
    fn replicas_whose_pods_are_still_to_come_have_their_room_already() {
        let mut world = world(Some(quota(3_000, 20 * GIB)));
        let mut controller = (**world.controller_of(&order()).unwrap()).clone();
        controller.replicas = 5;
        world.commit(&ObjectChange::Controller(Change::Applied(Arc::new(controller))), now());
        let size = kept(&world, &mut Quotas::of(&world), 10, SizeEffect::Scale, &Owner::Nobody);
        assert_eq!(size.wanted, Some(6), "two are there, three are to come, one more has room: {}", size.why);
    }

    /// A Job with a Workload that has its runs ordered, and the pod of it that runs, of one core.
    fn with_a_run(world: &mut Snapshot) {
        let key = WorkloadKey::new(order().namespace, "plan");
        let target = ControllerKey { kind: ControllerKind::Job, object: key.clone() };
        let mut policy = WorkloadPolicy::new(key.clone(), Uid::new("plan"), target.clone());
        policy.permits.scaling = Some(ScalingPolicy::default());
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(policy))), now());
        let mut pod = (**world.pods_of(&order()).next().unwrap()).clone();
        (pod.key, pod.uid) = (key.clone(), Uid::new("plan-pod"));
        pod.owner = Some(OwnerRecord { kind: target.kind, name: key.name, uid: Uid::new("plan") });
        pod.containers[0].cpu_request = Some(1_000);
        world.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), now());
    }

    #[test]
    fn a_run_that_has_the_quota_leaves_less_of_it_to_a_service_and_that_is_said() {
        let mut world = world(Some(quota(3_000, 20 * GIB)));
        with_a_run(&mut world);
        let size = kept(&world, &mut Quotas::of(&world), 10, SizeEffect::Scale, &Owner::Nobody);
        assert_eq!(size.wanted, Some(4), "one core of three is left: {}", size.why);
        assert!(size.why.contains("its runs have 1.00 vCPU, 1.00 GiB"), "{}", size.why);
    }

    #[test]
    fn the_floor_of_an_autoscaler_that_is_still_below_it_stays() {
        let world = world(Some(quota(2_000, 20 * GIB)));
        let owner = Owner::Hpa { name: "web".to_owned(), bounds: (6, 9), peoples: (1, 9) };
        let floor = |min: u32| {
            let drive = SizeEffect::DriveBounds { min, max: 9 };
            kept(&world, &mut Quotas::of(&world), min, drive, &owner).effect
        };
        assert_eq!(floor(7), SizeEffect::Keep);
        assert_eq!(floor(5), SizeEffect::DriveBounds { min: 5, max: 9 }, "it was to go down by itself");
    }
}
