//! What the pods of services and workers use over time, and what each should ask for by that.
//!
//! Every replica learns; only the leader acts, and writes what is kept over a restart beside the load of two weeks. Nothing
//! is said in the first hour of a workload, and nothing is made smaller in its first day.

use crate::loads;
use homeostat_knowledge::forecast::PodAdvice;
use homeostat_knowledge::kubelet::OUT_OF_MEMORY;
use homeostat_knowledge::policy::Measures;
use homeostat_knowledge::{
    ContainerRecord, ContainerState, ControllerKind, Name, Parameters, PodRecord, Snapshot, Timestamp, Uid,
    WorkloadKey, WorkloadPolicy,
};
use homeostat_scale::size::standing::{Allowed, Glance, History, KeptPod, Kill};
use std::collections::BTreeMap;

/// Letters of the reason of the replicas that are kept where that of the pods stands behind it.
const MOST_BEFORE: usize = 500;

/// The history of each workload whose pods may be given another size.
#[derive(Debug, Default)]
pub struct Standing {
    of: BTreeMap<WorkloadKey, (Uid, History)>,
}

impl Standing {
    /// Forgets workloads that are gone, or whose pods may not be given another size any more, and gives what is to be kept
    /// of them for a while.
    pub fn follow(&mut self, snapshot: &Snapshot) -> Vec<(WorkloadKey, Uid, KeptPod)> {
        let still = |key: &WorkloadKey, uid: &Uid| {
            let policy = snapshot.workloads.get(key).filter(|policy| policy.uid == *uid);
            policy.is_some_and(|policy| allowed(policy).is_some())
        };
        let gone = self.of.iter().filter(|(key, (uid, _))| !still(key, uid));
        let aside = gone
            .filter_map(|(key, (uid, history))| Some((key.clone(), uid.clone(), history.kept()?)))
            .collect();
        self.of.retain(|key, (uid, _)| still(key, uid));
        aside
    }

    /// Workloads that are remembered.
    pub fn remembered(&self) -> usize {
        self.of.len()
    }

    /// What is kept of a workload over a restart.
    pub fn kept(&self, workload: &WorkloadKey) -> Option<KeptPod> {
        self.of.get(workload)?.1.kept()
    }

    /// Looks at one workload, several times a minute, and says what each of its pods should ask for; `None` where people
    /// give no bounds or no signal for it. It goes on from what was `kept`; what cannot be read is learnt anew. Where it is
    /// known of no pod which container is meant, the reason says so.
    pub fn advise(
        &mut self,
        snapshot: &Snapshot,
        policy: &WorkloadPolicy,
        kept: impl FnOnce() -> Option<KeptPod>,
        now: Timestamp,
    ) -> Option<Box<PodAdvice>> {
        let allowed = allowed(policy)?;
        let anew = || (policy.uid.clone(), restored(&policy.key, kept().as_ref()));
        let (_, history) = self.of.entry(policy.key.clone()).or_insert_with(anew);
        let minute = now.as_second().div_euclid(60);
        let value = |measures| loads::highest(snapshot, &policy.key, &policy.measuring(measures)?.name, now);
        let glance = Glance { cores: value(Measures::CpuCores), bytes: value(Measures::MemoryBytes) };
        history.look(minute, glance);
        let permits = &policy.permits;
        let (mut cpu_limit, mut known, mut unmeasured) = (None, false, None);
        for pod in snapshot.pods_of(&policy.key) {
            let Some(container) = permits.measured(pod) else {
                unmeasured = unmeasured.or_else(|| permits.unmeasured(pod));
                continue;
            };
            known = true;
            if let Some(kill) = kill(snapshot, pod, container) {
                history.killed(kill);
            }
            // What has ended or waits was kept from nothing.
            let limit = container.cpu_limit.filter(|_| pod.serving());
            cpu_limit = [cpu_limit, limit].into_iter().flatten().min();
        }
        history.limited(minute, cpu_limit);
        let mut advice = history.advise(minute, allowed);
        if let Some(why) = unmeasured.filter(|_| !known) {
            advice.why = format!("{why}; {}", advice.why);
        }
        if let Some(why) = wrong(snapshot, policy, now) {
            advice.why = format!("{why}; {}", advice.why);
        }
        Some(Box::new(advice))
    }
}

fn restored(workload: &WorkloadKey, kept: Option<&KeptPod>) -> History {
    let Some(kept) = kept else { return History::default() };
    History::restored(kept).unwrap_or_else(|| {
        tracing::warn!(%workload, "What was kept of its pods is of another form, or cannot be; it is set aside and learnt anew");
        History::default()
    })
}

/// What is said of a signal of what pods use that has no usable number; `None` while all have.
pub fn wrong(snapshot: &Snapshot, policy: &WorkloadPolicy, now: Timestamp) -> Option<String> {
    let signals = [Measures::CpuCores, Measures::MemoryBytes].into_iter();
    let mut signals = signals.filter_map(|measures| policy.measuring(measures));
    signals.find_map(|signal| loads::wrong(snapshot, policy, &signal.name, now))
}

/// The signal measures what pods use.
pub fn measured(policy: &WorkloadPolicy, signal: &Name) -> bool {
    [Measures::MemoryBytes, Measures::CpuCores]
        .into_iter()
        .filter_map(|measures| policy.measuring(measures))
        .any(|one| one.name == *signal)
}

/// The reason of the replicas, and that of the size of a pod behind it.
pub fn beside(why: &str, pod: &PodAdvice) -> String {
    let before: String = why.chars().take(MOST_BEFORE).collect();
    let done = pod.done.as_ref().map(|done| format!(" ({done})")).unwrap_or_default();
    format!("{before}; right size of a pod: {}{done}", pod.why)
}

/// What has bounds and a signal that measures it; `None` when that is nothing, or it has no pods that stay.
fn allowed(policy: &WorkloadPolicy) -> Option<Allowed> {
    let stays = matches!(policy.target.kind, ControllerKind::Deployment | ControllerKind::StatefulSet);
    let known = |measures| policy.measuring(measures).is_some();
    let (cpu, memory) = (policy.permits.cpu_millis, policy.permits.memory_bytes);
    let allowed = Allowed {
        cpu: cpu.filter(|_| known(Measures::CpuCores)),
        memory: memory.filter(|_| known(Measures::MemoryBytes)),
    };
    (stays && allowed != Allowed::default()).then_some(allowed)
}

/// The last end of a container for want of memory, with the limit that it had then: a repair may have raised it since.
fn kill(snapshot: &Snapshot, pod: &PodRecord, container: &ContainerRecord) -> Option<Kill> {
    let end = match &container.state {
        ContainerState::Terminated(end) => Some(end),
        _ => container.last_termination.as_ref(),
    };
    let finished = end.filter(|end| &*end.reason == OUT_OF_MEMORY)?.finished?;
    let since = snapshot.actions.values().filter(|action| {
        matches!(&action.parameters, Parameters::ResizePod { container: of, .. } if *of == container.name)
            && action.target.uid == pod.uid
            && action.instants.sent.is_some_and(|sent| sent >= finished)
    });
    let first = since.min_by_key(|action| action.instants.sent);
    let before = first.and_then(|action| action.before.memory_limit_bytes);
    let limit = before.or(container.memory.limit)?;
    Some(Kill { minute: finished.as_second().div_euclid(60), limit })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use homeostat_knowledge::observation::{Change, ObjectChange};
    use homeostat_knowledge::policy::{Bounds, Permits, ScalingPolicy, SignalPolicy};
    use homeostat_knowledge::records::{Amounts, Termination};
    use homeostat_situations::{Given, GivenPod, order};
    use std::sync::Arc;

    const MIB: u64 = 1 << 20;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    fn signal(name: &str, measures: Measures) -> SignalPolicy {
        SignalPolicy {
            name: Name::from(name),
            promql: Name::from(name),
            metric: None,
            external: None,
            unit: Name::from(""),
            bad_above: true,
            threshold: None,
            minimum_effect: None,
            measures,
        }
    }

    fn policy(world: &Snapshot) -> Arc<WorkloadPolicy> {
        Arc::clone(world.workloads.get(&order()).unwrap())
    }

    /// A world in which `order` may ask for other sizes, and has signals of both.
    fn world() -> Snapshot {
        let pod = GivenPod { name: "order-1".into(), memory: Some([400, 800]), ..GivenPod::default() };
        let (mut world, _) = Given { pods: vec![pod], ..Given::default() }.build();
        let mut order = (*policy(&world)).clone();
        order.permits = Permits {
            cpu_millis: Some(Bounds { min: 10, max: 4_000 }),
            memory_bytes: Some(Bounds { min: 16 * MIB, max: 4_096 * MIB }),
            scaling: Some(ScalingPolicy::default()),
            ..Permits::default()
        };
        order.signals = vec![signal("cpu", Measures::CpuCores), signal("heap", Measures::MemoryBytes)];
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(order))), at(0));
        world
    }

    /// Minutes in which two pods used so much, the second one less.
    fn run(world: &mut Snapshot, standing: &mut Standing, minutes: std::ops::Range<i64>) -> PodAdvice {
        let mut last = None;
        for minute in minutes {
            for (signal, value) in [("cpu", 0.4), ("heap", 300.0 * MIB as f64)] {
                for (series, share) in [("pod=a", 1.0), ("pod=b", 0.5)] {
                    let place = (order(), Name::from(signal), Name::from(series));
                    world.loads.insert_mut(place, (share * value, at(minute)));
                }
            }
            last = standing.advise(world, &policy(world), || None, at(minute));
        }
        *last.unwrap()
    }

    #[test]
    fn the_busiest_pod_counts_and_silence_changes_nothing() {
        let (mut world, mut standing) = (world(), Standing::default());
        let advice = run(&mut world, &mut standing, 0..120);
        assert_eq!(advice.memory.map(|need| need.request / MIB), Some(352), "{}", advice.why);
        assert!(advice.cpu.is_some_and(|need| (460..=490).contains(&need.request)), "{}", advice.why);
        let silent = standing.advise(&world, &policy(&world), || None, at(130)).unwrap();
        assert_eq!((silent.cpu, silent.memory), (None, None));
        assert!(
            beside("2 replicas", &silent)
                .contains("2 replicas; right size of a pod: cpu: its signal is not seen")
        );
    }

    #[test]
    fn a_signal_without_a_usable_number_is_named_with_what_to_change() {
        let (mut world, mut standing) = (world(), Standing::default());
        run(&mut world, &mut standing, 0..120);
        let place = (order(), Name::from("cpu"), Name::from("pod=b"));
        for (value, said) in [(-3.0, "signal cpu gave -3, "), (f64::NAN, "signal cpu gave NaN, ")] {
            world.loads.insert_mut(place.clone(), (value, at(120)));
            let advice = standing.advise(&world, &policy(&world), || None, at(120)).unwrap();
            assert!(beside("2 replicas", &advice).contains(said), "{}", advice.why);
            assert!(advice.why.contains("clamp_min"), "{}", advice.why);
        }
        let advice = run(&mut world, &mut standing, 121..122);
        assert!(!advice.why.contains("gave"), "{}", advice.why);
    }

    #[test]
    fn after_a_restart_it_goes_on_from_what_was_kept() {
        let (mut world, mut standing) = (world(), Standing::default());
        let before = run(&mut world, &mut standing, 0..120);
        let kept = standing.kept(&order()).unwrap();
        let mut again = Standing::default();
        let after = again.advise(&world, &policy(&world), || Some(kept.clone()), at(119)).unwrap();
        assert_eq!((before.cpu, before.memory), (after.cpu, after.memory), "{}", after.why);
        let text = serde_json::to_string(&kept).unwrap().replacen('1', "2", 1);
        let newer: KeptPod = serde_json::from_str(&text).unwrap();
        let anew = Standing::default().advise(&world, &policy(&world), || Some(newer), at(119)).unwrap();
        assert_eq!((anew.cpu, anew.memory), (None, None), "a newer form is set aside: {}", anew.why);
    }

    #[test]
    fn a_kill_counts_by_the_limit_that_ended_it() {
        let (mut world, mut standing) = (world(), Standing::default());
        run(&mut world, &mut standing, 0..120);
        let pods: Vec<_> = world.pods_of(&order()).cloned().collect();
        for pod in pods {
            let mut pod = (*pod).clone();
            pod.containers[0].last_termination = Some(Termination {
                reason: Name::from(OUT_OF_MEMORY),
                exit_code: 137,
                started: None,
                finished: Some(at(119)),
                used: Amounts::default(),
            });
            world.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(120));
        }
        let advice = run(&mut world, &mut standing, 120..121);
        assert_eq!(advice.memory.map(|need| need.request / MIB), Some(1_600), "{}", advice.why);
    }

    /// Gives each pod of `order` these containers: name, limit of CPU, and whether it was killed for want of memory.
    fn contain(world: &mut Snapshot, containers: &[(&str, Option<u64>, bool)]) {
        let pods: Vec<_> = world.pods_of(&order()).cloned().collect();
        for pod in pods {
            let mut pod = (*pod).clone();
            let one = pod.containers[0].clone();
            let made = containers.iter().map(|(name, cpu_limit, killed)| ContainerRecord {
                name: Name::from(*name),
                cpu_limit: *cpu_limit,
                last_termination: killed.then(|| Termination {
                    reason: Name::from(OUT_OF_MEMORY),
                    exit_code: 137,
                    started: None,
                    finished: Some(at(119)),
                    used: Amounts::default(),
                }),
                ..one.clone()
            });
            pod.containers = made.collect();
            world.commit(&ObjectChange::Pod(Change::Applied(Arc::new(pod))), at(119));
        }
    }

    fn name(world: &mut Snapshot, container: Option<&str>) {
        let mut order = (*policy(world)).clone();
        order.permits.container = container.map(Name::from);
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(order))), at(119));
    }

    #[test]
    fn beside_a_sidecar_the_limit_and_the_kills_of_the_container_that_is_named_count_and_no_others() {
        let (mut world, mut standing) = (world(), Standing::default());
        run(&mut world, &mut standing, 0..120);
        // 0.4 cores are nearly all that the application may use; the sidecar has less and was killed.
        contain(&mut world, &[("proxy", Some(100), true), ("app", Some(400), false)]);
        name(&mut world, Some("app"));
        let advice = run(&mut world, &mut standing, 120..121);
        assert_eq!(advice.cpu.map(|need| need.request), Some(600), "{}", advice.why);
        assert_eq!(advice.memory.map(|need| need.request / MIB), Some(352), "{}", advice.why);
        name(&mut world, Some("proxy"));
        let advice = run(&mut world, &mut standing, 121..122);
        assert!(advice.memory.is_some_and(|need| need.request > 352 * MIB), "{}", advice.why);
    }

    #[test]
    fn which_container_is_meant_must_be_known_and_the_reason_says_what_to_change() {
        let (mut world, mut standing) = (world(), Standing::default());
        run(&mut world, &mut standing, 0..120);
        contain(&mut world, &[("proxy", Some(100), true), ("app", Some(400), false)]);
        for (named, words) in [
            (None, "2 containers, and which of them uses what is not known: name one of proxy, app in"),
            (Some("ap"), "no container ap: spec.scaling.resources.container must name one of proxy, app;"),
        ] {
            name(&mut world, named);
            let advice = run(&mut world, &mut standing, 120..121);
            assert!(beside("2 replicas", &advice).contains(words), "{}", advice.why);
            assert_eq!(advice.memory.map(|need| need.request / MIB), Some(352), "no kill counts");
        }
    }

    #[test]
    fn it_is_for_what_stays_and_is_forgotten_with_it() {
        let (mut world, mut standing) = (world(), Standing::default());
        run(&mut world, &mut standing, 0..2);
        assert_eq!(standing.follow(&world), []);
        assert_eq!(standing.remembered(), 1);
        let mut other = (*policy(&world)).clone();
        other.uid = Uid::new("made anew");
        let mut after = world.clone();
        after.commit(&ObjectChange::Workload(Change::Applied(Arc::new(other))), at(2));
        let (mut copy, kept) = (Standing { of: standing.of.clone() }, standing.kept(&order()));
        let aside = copy.follow(&after);
        assert_eq!(aside.first().map(|(_, uid, _)| uid), Some(&policy(&world).uid));
        assert_eq!((aside.into_iter().map(|(.., kept)| kept).next(), copy.remembered()), (kept, 0));
        let mut unmeasured = (*policy(&world)).clone();
        unmeasured.signals.clear();
        assert_eq!(standing.advise(&world, &unmeasured, || None, at(3)), None);
        let mut runs = (*policy(&world)).clone();
        runs.target.kind = ControllerKind::CronJob;
        assert_eq!(standing.advise(&world, &runs, || None, at(3)), None);
        world.commit(&ObjectChange::Workload(Change::Applied(Arc::new(unmeasured))), at(3));
        standing.follow(&world);
        assert_eq!(standing.remembered(), 0);
    }
}
