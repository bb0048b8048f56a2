//! What the kubelet does, or will do, about a pod by itself. Planning against it would race it.
//!
//! It restarts an ended container within about a second the first time. A second end soon after meets a
//! back-off of 10 s that doubles up to 5 min and is forgotten only after 10 min of health.

use crate::decision::words;
use homeostat_knowledge::kubelet::{NO_IMAGE, NOT_MADE, OUT_OF_MEMORY};
use homeostat_knowledge::records::{PodPhase, Termination};
use homeostat_knowledge::{ContainerRecord, ContainerState, PodRecord, SignedDuration, Timestamp};

/// Health after which the kubelet forgets its back-off.
pub const BACK_OFF_MEMORY: SignedDuration = SignedDuration::from_mins(10);

/// Time that a started but unready process gets before its state means anything.
pub const START_ALLOWANCE: SignedDuration = SignedDuration::from_secs(30);

/// A container that ended and does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Which container.
    pub container: String,
    /// When it ended, one-second resolution, when known.
    pub ended: Option<Timestamp>,
    /// The kubelet waits, or will wait, before it starts it again.
    pub backs_off: bool,
}

/// The container of the pod that is down; one that backs off before others. `None`: none ended.
pub fn down(pod: &PodRecord) -> Option<Down> {
    let downs = pod.containers.iter().filter_map(container_down);
    downs.reduce(|first, next| if next.backs_off && !first.backs_off { next } else { first })
}

/// The same of one container.
pub(crate) fn container_down(container: &ContainerRecord) -> Option<Down> {
    let (ended, backs_off) = match &container.state {
        ContainerState::Running { .. } => return None,
        ContainerState::Terminated(now) => {
            (now.finished, restarted_recently(container.restarts, now, container.last_termination.as_ref()))
        }
        ContainerState::Waiting { reason } if &**reason == "CrashLoopBackOff" => {
            (container.last_termination.as_ref().and_then(|last| last.finished), true)
        }
        // Between an end and the restart some runtimes show `Waiting`; without an earlier end it is starting.
        ContainerState::Waiting { .. } => (container.last_termination.as_ref()?.finished, false),
    };
    Some(Down { container: container.name.to_string(), ended, backs_off })
}

/// This end follows a restart within the kubelet's memory, so it will back off. Unknown times count as recent.
fn restarted_recently(restarts: u32, now: &Termination, before: Option<&Termination>) -> bool {
    if restarts == 0 {
        return false;
    }
    let healthy = match (now.started, before.and_then(|before| before.finished), now.finished) {
        (Some(started), _, Some(ended)) | (None, Some(started), Some(ended)) => ended.duration_since(started),
        _ => return true,
    };
    healthy < BACK_OFF_MEMORY
}

/// Why a container of this pod cannot begin, in the kubelet's word, where its image or configuration is missing: nothing of
/// the pod itself changes that.
pub fn lacking(pod: &PodRecord) -> Option<&str> {
    pod.containers.iter().find_map(|container| match &container.state {
        ContainerState::Waiting { reason }
            if NO_IMAGE.iter().chain(&NOT_MADE).any(|known| known == &&**reason) =>
        {
            Some(&**reason)
        }
        _ => None,
    })
}

/// It runs again, after at least two ends of which the last came, within the kubelet's memory, soon after a start: the next
/// end meets a back-off. An unknown start counts as recent, an unknown end does not.
pub fn ended_again(container: &ContainerRecord, now: Timestamp) -> bool {
    let Some(last) = container.last_termination.as_ref().filter(|_| container.restarts >= 2) else {
        return false;
    };
    let recent = |end: Timestamp| {
        now.duration_since(end) < BACK_OFF_MEMORY
            && last.started.is_none_or(|started| end.duration_since(started) < BACK_OFF_MEMORY)
    };
    matches!(container.state, ContainerState::Running { .. }) && last.finished.is_some_and(recent)
}

/// The kubelet waits, or will wait, before it starts a container of this pod again.
pub fn backs_off(pod: &PodRecord) -> bool {
    down(pod).is_some_and(|down| down.backs_off)
}

/// Exit code of the container that is down, when it ended by itself: not by a signal that ends processes from outside, and not
/// at its memory limit.
pub fn own_exit(pod: &PodRecord) -> Option<i32> {
    by_itself(last_run(pod)?.1)
}

/// The container that is down, and how it ended.
fn last_run(pod: &PodRecord) -> Option<(&ContainerRecord, &Termination)> {
    let name = down(pod)?.container;
    let container = pod.containers.iter().find(|container| *container.name == *name)?;
    let end = match &container.state {
        ContainerState::Terminated(now) => now,
        _ => container.last_termination.as_ref()?,
    };
    Some((container, end))
}

/// The same of a container that runs again, and ended within the kubelet's memory: so a crash loop looks between two ends.
pub fn own_exit_before(pod: &PodRecord, now: Timestamp) -> Option<i32> {
    pod.containers.iter().find_map(|container| container_exit_before(container, now))
}

fn container_exit_before(container: &ContainerRecord, now: Timestamp) -> Option<i32> {
    let last = container.last_termination.as_ref().filter(|_| container.restarts > 0)?;
    let recent = last.finished.is_some_and(|end| now.duration_since(end) < BACK_OFF_MEMORY);
    let runs = matches!(container.state, ContainerState::Running { .. });
    by_itself(last).filter(|_| runs && recent)
}

fn by_itself(end: &Termination) -> Option<i32> {
    let killed = matches!(end.exit_code, 137 | 143) || &*end.reason == OUT_OF_MEMORY;
    (!killed).then_some(end.exit_code)
}

/// Ends of its own after such a short run, so often, are no accident that a new pod leaves behind.
const SHORT_RUN: SignedDuration = SignedDuration::from_secs(10);
const SHORT_RUNS: u32 = 5;
/// So quickly a limit is reached by what the process needs, not by what it leaks.
const SHORT_FILL: SignedDuration = SignedDuration::from_mins(1);
const SHORT_FILLS: u32 = 3;

/// Why another pod of the same template would end as soon; `None` where its runs were long, or nothing says how long.
pub fn ends_soon(pod: &PodRecord) -> Option<String> {
    let (container, end) = last_run(pod)?;
    let name = &container.name;
    let ran = end.finished?.duration_since(end.started?);
    let lived = words(ran);
    let (restarts, key) = (container.restarts, &pod.key);
    if by_itself(end).is_some() && restarts >= SHORT_RUNS && ran < SHORT_RUN {
        return Some(format!(
            "{name} of {key} ended by itself {restarts} times, the last time after {lived}: so would a new pod"
        ));
    }
    let filled = &*end.reason == OUT_OF_MEMORY && restarts >= SHORT_FILLS && ran < SHORT_FILL;
    filled.then(|| {
        format!(
            "{name} of {key} reached its memory limit {restarts} times, the last time after {lived}: it needs more, and so would a new pod (spec.scaling.resources.memory)"
        )
    })
}

/// Start of the youngest process of the pod; its creation when none runs.
pub fn newest_start(pod: &PodRecord) -> Timestamp {
    let starts = pod.containers.iter().filter_map(|container| match container.state {
        ContainerState::Running { since } => Some(since),
        _ => None,
    });
    starts.fold(pod.created, Timestamp::max)
}

/// The latest end of any of its containers.
pub fn last_end(pod: &PodRecord) -> Option<Timestamp> {
    let ends = pod.containers.iter().flat_map(|container| {
        let now = match &container.state {
            ContainerState::Terminated(now) => now.finished,
            _ => None,
        };
        [now, container.last_termination.as_ref().and_then(|last| last.finished)]
    });
    ends.flatten().max()
}

/// Created or restarted a moment ago and not ready yet: nothing it does now says much.
pub fn starting(pod: &PodRecord, now: Timestamp) -> bool {
    !pod.ready
        && matches!(pod.phase, PodPhase::Pending | PodPhase::Running)
        && now.duration_since(newest_start(pod)) < START_ALLOWANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    fn end(started: Option<i64>, finished: i64) -> Termination {
        Termination {
            reason: "Error".into(),
            exit_code: 137,
            started: started.map(at),
            finished: Some(at(finished)),
            used: homeostat_knowledge::records::Amounts::default(),
        }
    }

    fn container(restarts: u32, state: ContainerState, last: Option<Termination>) -> ContainerRecord {
        ContainerRecord {
            name: "app".into(),
            ready: false,
            restarts,
            state,
            last_termination: last,
            cpu_request: None,
            cpu_limit: None,
            ephemeral_storage_limit: None,
            memory: homeostat_knowledge::records::Memory::default(),
        }
    }

    #[test]
    fn a_first_end_is_restarted_at_once_and_a_second_one_soon_after_backs_off() {
        let first = container(0, ContainerState::Terminated(end(Some(0), 50)), None);
        assert!(!container_down(&first).expect("down").backs_off);
        let soon = container(1, ContainerState::Terminated(end(Some(51), 53)), Some(end(Some(0), 50)));
        assert!(container_down(&soon).expect("down").backs_off);
        let after_five_minutes =
            container(1, ContainerState::Terminated(end(Some(51), 351)), Some(end(Some(0), 50)));
        assert!(container_down(&after_five_minutes).expect("down").backs_off);
        let after_eleven_minutes =
            container(1, ContainerState::Terminated(end(Some(51), 711)), Some(end(Some(0), 50)));
        assert!(!container_down(&after_eleven_minutes).expect("down").backs_off);
        let unknown = Termination { finished: None, ..end(None, 0) };
        assert!(
            container_down(&container(3, ContainerState::Terminated(unknown), None)).expect("down").backs_off
        );
    }

    #[test]
    fn a_process_that_runs_ended_again_when_its_last_run_was_short_and_is_not_long_ago() {
        let running = |restarts, last| {
            let state = ContainerState::Running { since: at(1001) };
            ended_again(&container(restarts, state, last), at(1010))
        };
        assert!(running(2, Some(end(Some(900), 1000))));
        assert!(running(2, Some(end(None, 1000))), "an unknown start counts as recent");
        assert!(!running(1, Some(end(Some(900), 1000))), "the first end is no repetition");
        assert!(!running(2, Some(end(Some(10), 1000))), "it did well for more than ten minutes");
        assert!(!running(2, Some(end(Some(300), 400))), "that was ten minutes ago");
        assert!(!running(2, None));
        let down = container(2, ContainerState::Terminated(end(Some(900), 1000)), None);
        assert!(!ended_again(&down, at(1010)), "it does not run");
    }

    #[test]
    fn between_two_ends_the_last_one_still_tells_why() {
        let last = |code, finished| Some(Termination { exit_code: code, ..end(Some(900), finished) });
        let running = |restarts, last| {
            let state = ContainerState::Running { since: at(1001) };
            container_exit_before(&container(restarts, state, last), at(1010))
        };
        assert_eq!(running(1, last(2, 1000)), Some(2));
        assert_eq!(running(1, last(137, 1000)), None, "killed from outside");
        assert_eq!(running(1, last(2, 400)), None, "that was ten minutes ago");
        assert_eq!(running(0, last(2, 1000)), None, "it was never restarted");
        let down = container(1, ContainerState::Terminated(end(Some(900), 1000)), last(2, 890));
        assert_eq!(container_exit_before(&down, at(1010)), None, "it does not run");
    }

    #[test]
    fn waiting_means_back_off_only_where_the_kubelet_says_so() {
        let waiting = |reason: &str| ContainerState::Waiting { reason: reason.into() };
        let crash_loop = container(2, waiting("CrashLoopBackOff"), Some(end(None, 9)));
        assert_eq!(
            container_down(&crash_loop).map(|down| (down.ended, down.backs_off)),
            Some((Some(at(9)), true))
        );
        assert_eq!(container_down(&container(0, waiting("ContainerCreating"), None)), None);
        assert_eq!(container_down(&container(0, waiting("ImagePullBackOff"), None)), None);
        assert_eq!(
            container_down(&container(1, ContainerState::Running { since: at(1) }, Some(end(None, 0)))),
            None
        );
    }
}
