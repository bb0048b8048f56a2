//! One run of one tenant needs twice its memory within a second: nobody can see that coming. It may be killed once, must be
//! tried again at once with more, and then end well. Its kill is counted apart from those that learning should prevent.

use k8s_openapi::api::batch::v1::Job;
use serde::Serialize;

use super::seen::Run;
use super::staging::STAGING;
use super::{FIRST_HOUR, PREFIX};

/// Number of the tenant: neither staging, nor the one that fails on weekends, nor the one that grows.
pub const TENANT: u32 = STAGING + 1;
/// Hour of the run, late enough that its tenant's usual need is known.
pub const HOUR: u32 = FIRST_HOUR + 10;
/// With fewer hours the run may not come to its turn.
const ENOUGH: u32 = 30;
/// A try is made within this after the kill, in seconds. Kubernetes tells both to the second.
const AT_ONCE: f64 = 10.0;

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Jump {
    tenant: String,
    /// Which run of its tenant it was; none when it never began.
    run: Option<usize>,
    kills: usize,
    /// MiB of the pod that was killed, and of the one that came after.
    killed_mebibytes: f64,
    then_mebibytes: f64,
    retried_after_seconds: Option<f64>,
    ended_well: bool,
    /// The scenario was too short for it.
    #[serde(skip)]
    short: bool,
}

impl Jump {
    /// Looks for it among all runs of a scenario of so many hours.
    pub fn of(runs: &[Run], hours: u32) -> Self {
        let jump = Self { tenant: format!("{PREFIX}{TENANT}"), short: hours < ENOUGH, ..Self::default() };
        let Some(run) = runs.iter().find(|run| run.jumps && run.began.is_some()) else { return jump };
        Self {
            run: Some(run.number),
            kills: run.killed,
            killed_mebibytes: run.killed_mebibytes.unwrap_or(0.0),
            then_mebibytes: run.mebibytes,
            retried_after_seconds: run
                .retried_at
                .zip(run.killed_at)
                .map(|(made, killed)| (made - killed).max(0.0)),
            ended_well: run.ended.is_some(),
            ..jump
        }
    }

    /// Killed once at most, tried again at once with more, and then it ended well.
    pub fn held(&self) -> bool {
        if self.run.is_none() {
            return self.short;
        }
        let again = self.retried_after_seconds.is_some_and(|after| after <= AT_ONCE)
            && self.then_mebibytes > self.killed_mebibytes;
        self.ended_well && (self.kills == 0 || (self.kills == 1 && again))
    }

    /// For people.
    pub fn text(&self) -> String {
        let Some(run) = self.run else {
            return format!("memory of {} jumps within a second: its run never began", self.tenant);
        };
        let killed = match (self.kills, self.retried_after_seconds) {
            (0, _) => "not killed".to_owned(),
            (kills, None) => format!("{kills} kills, not tried again"),
            (kills, Some(after)) => format!(
                "{kills} kills at {:.0} MiB, tried again after {after:.0} s with {:.0} MiB",
                self.killed_mebibytes, self.then_mebibytes
            ),
        };
        let end = if self.ended_well { "ended well" } else { "did not end well" };
        format!("memory of {} jumped within a second in its run {run}: {killed}, {end}", self.tenant)
    }
}

/// Whether a Job, or a further try of it, is of that run: its hour is the one that it was told.
pub fn is_of(job: &Job) -> bool {
    let pod = job.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let told = pod.and_then(|pod| pod.containers.first()).and_then(|container| container.env.as_ref());
    let value = |name: &str| {
        let found = told.into_iter().flatten().find(|variable| variable.name == name);
        found.and_then(|variable| variable.value.as_deref())
    };
    value("JUMP_HOUR").is_some_and(|hour| value("HOUR") == Some(hour))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run {
            tenant: "water-1".to_owned(),
            number: 11,
            jumps: true,
            began: Some(100.0),
            killed: 1,
            killed_at: Some(104.0),
            killed_mebibytes: Some(80.0),
            retried_at: Some(106.0),
            mebibytes: 160.0,
            ended: Some(112.0),
            ..Run::default()
        }
    }

    fn held(run: Run) -> bool {
        Jump::of(&[Run::default(), run], 76).held()
    }

    #[test]
    fn a_jump_may_be_killed_once_and_must_be_tried_again_at_once_with_more() {
        assert!(held(run()));
        assert!(held(Run { killed: 0, killed_at: None, killed_mebibytes: None, retried_at: None, ..run() }));
        assert!(!held(Run { killed: 2, ..run() }), "killed twice");
        assert!(!held(Run { mebibytes: 80.0, ..run() }), "with as much as before");
        assert!(!held(Run { retried_at: Some(120.0), ..run() }), "not at once");
        assert!(!held(Run { retried_at: None, ..run() }), "not tried again");
        assert!(!held(Run { ended: None, ..run() }), "it never ended well");
        let said = Jump::of(&[run()], 76).text();
        assert!(said.contains("run 11: 1 kills at 80 MiB, tried again after 2 s with 160 MiB"), "{said}");
    }

    #[test]
    fn a_jump_that_never_came_is_a_failure_of_a_long_scenario_only() {
        let none = |hours: u32| Jump::of(&[Run { jumps: false, ..run() }], hours).held();
        assert!(!none(76) && none(8));
    }

    #[test]
    fn a_run_is_known_by_what_its_job_was_told() {
        let job = |variables: serde_json::Value| -> Job {
            serde_json::from_value(serde_json::json!({ "spec": { "template": { "spec": { "containers": [
                { "name": "run", "env": variables },
            ] } } } }))
            .unwrap()
        };
        let both = |hour: &str| {
            job(
                serde_json::json!([{ "name": "JUMP_HOUR", "value": "22" }, { "name": "HOUR", "value": hour }]),
            )
        };
        assert!(is_of(&both("22")) && !is_of(&both("21")));
        assert!(!is_of(&job(serde_json::json!([{ "name": "HOUR", "value": "22" }]))));
        assert!(!is_of(&job(serde_json::json!([]))));
    }
}
