//! What is seen of the runs, by the Jobs and pods alone: nothing that Homeostat says counts here.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde::Serialize;

use super::staging::VERSION;
use super::{PREFIX, WaterArgs, jump};
use crate::demo::DemoError;
use crate::demo::live::Live;

/// One run: a Job and its further tries.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Namespace of its tenant.
    pub tenant: String,
    /// What was computed.
    pub kind: String,
    /// Name of its first Job.
    pub name: String,
    /// Which run of its kind and tenant it is, from 1.
    pub number: usize,
    /// Release of its program.
    pub release: u32,
    /// Seconds, since the epoch, of its slot.
    pub slot: f64,
    /// When its first pod ran.
    pub began: Option<f64>,
    /// When it ended well.
    pub ended: Option<f64>,
    /// When it must have ended.
    pub due: f64,
    /// Pods that were killed for memory.
    pub killed: usize,
    /// Pods that failed by themselves.
    pub failed: usize,
    /// CPU-seconds that its pods reserved, and that they say they used.
    pub reserved: f64,
    /// See `reserved`.
    pub used: f64,
    /// Memory of its newest pod, MiB.
    pub mebibytes: f64,
    /// It needs twice its memory within a second.
    pub jumps: bool,
    /// When a pod of it was killed for memory first, and how much that had, MiB.
    pub killed_at: Option<f64>,
    /// See `killed_at`.
    pub killed_mebibytes: Option<f64>,
    /// When its first further try was made.
    pub retried_at: Option<f64>,
}

/// Everything seen so far.
#[derive(Debug, Default)]
pub struct Watched {
    runs: BTreeMap<String, Run>,
    /// Pods that are over, by UID.
    pods: BTreeSet<String>,
    /// Seconds from the creation of a pod until it ran, by UID.
    starts: BTreeMap<String, f64>,
    counts: BTreeMap<(String, String), usize>,
    /// UIDs of Jobs, and the run that each belongs to.
    jobs: BTreeMap<String, String>,
    /// Tries that ended since the last look: tenant, whether well, and when.
    ended: Vec<(String, bool, f64)>,
    /// Containers of workers that were killed for memory: UID of the pod, and how often it had begun anew by then.
    killed_workers: BTreeSet<(String, i32)>,
}

const SLOT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
const RETRY_OF: &str = "homeostat.dev/retry-of";

impl Watched {
    /// Nothing is waited for.
    pub fn idle(&self) -> bool {
        self.runs.values().all(|run| run.ended.is_some())
    }

    /// All runs, by tenant and name.
    pub fn runs(self) -> Vec<Run> {
        self.runs.into_values().collect()
    }

    /// Containers of workers on queues that were killed for memory.
    pub fn killed_workers(&self) -> usize {
        self.killed_workers.len()
    }

    /// Seconds from the creation of each run's pod until it ran; Kubernetes tells both to the second.
    pub fn starts(&self) -> Vec<f64> {
        self.starts.values().copied().collect()
    }

    /// Tries that ended since this was asked last.
    pub fn ended(&mut self) -> Vec<(String, bool, f64)> {
        std::mem::take(&mut self.ended)
    }

    /// Runs of a tenant and release that ended well.
    pub fn good(&self, tenant: &str, release: u32) -> usize {
        let good = |run: &&Run| run.tenant == tenant && run.release == release && run.ended.is_some();
        self.runs.values().filter(good).count()
    }

    /// Reads Jobs and pods, and says what is new.
    pub async fn look(&mut self, client: &Client, args: &WaterArgs, live: &Live) -> Result<(), DemoError> {
        let jobs: Api<Job> = Api::all(client.clone());
        let pods: Api<Pod> = Api::all(client.clone());
        let list = ListParams::default();
        let (jobs, pods) = tokio::join!(jobs.list(&list), pods.list(&list));
        let mut jobs = jobs.map_err(DemoError::api("list Jobs"))?.items;
        // First tries first: a further one is known by the UID of the one before.
        jobs.sort_by_key(|job| (job.annotations().contains_key(RETRY_OF), job.name_any()));
        for job in &jobs {
            self.job(job, args, live);
        }
        for pod in &pods.map_err(DemoError::api("list pods"))?.items {
            self.pod(pod, live);
            self.worker(pod, live);
        }
        Ok(())
    }

    fn job(&mut self, job: &Job, args: &WaterArgs, live: &Live) {
        let tenant = job.namespace().unwrap_or_default();
        let Some(owner) = job.owner_references().iter().find(|owner| owner.kind == "CronJob") else { return };
        if !tenant.starts_with(PREFIX) {
            return;
        }
        let uid = job.uid().unwrap_or_default();
        let of_other = job.annotations().get(RETRY_OF).and_then(|first| self.jobs.get(first)).cloned();
        let id = of_other.unwrap_or_else(|| format!("{tenant}/{}", job.name_any()));
        self.jobs.insert(uid, id.clone());
        let run = self.runs.entry(id.clone()).or_insert_with(|| {
            let count = self.counts.entry((tenant.clone(), owner.name.clone())).or_default();
            *count += 1;
            let slot = job
                .annotations()
                .get(SLOT)
                .and_then(|text| text.parse::<k8s_openapi::jiff::Timestamp>().ok());
            let slot = slot.map_or(0.0, |slot| slot.as_millisecond() as f64 / 1_000.0);
            let minutes = match owner.name.as_str() {
                "forecast" => 20.0,
                "optimisation" => 55.0,
                _ => 240.0,
            };
            Run {
                tenant: tenant.clone(),
                kind: owner.name.clone(),
                name: job.name_any(),
                number: *count,
                release: job.labels().get(VERSION).and_then(|text| text.parse().ok()).unwrap_or(1),
                slot,
                due: slot + minutes * f64::from(args.hour_seconds) / 60.0,
                jumps: jump::is_of(job),
                ..Run::default()
            }
        });
        if job.annotations().contains_key(RETRY_OF) {
            let made = job.metadata.creation_timestamp.as_ref().map(seconds);
            run.retried_at = earliest(run.retried_at, made);
        }
        let complete = job.status.as_ref().and_then(|status| status.completion_time.as_ref()).map(seconds);
        if run.ended.is_none()
            && let Some(at) = complete
        {
            run.ended = Some(at);
            self.ended.push((tenant, true, at));
            let late = at - run.due;
            let word = if late > 0.0 { format!("LATE by {late:.0} s") } else { "in time".to_owned() };
            live.say(format!("{id:28} ended {word}, {:.0} s after its slot", at - run.slot));
        }
    }

    /// A pod that no Job owns: a worker on a queue, which begins anew in place when it is killed.
    fn worker(&mut self, pod: &Pod, live: &Live) {
        let tenant = pod.namespace().unwrap_or_default();
        if !tenant.starts_with(PREFIX) || pod.owner_references().iter().any(|owner| owner.kind == "Job") {
            return;
        }
        let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        for container in status.into_iter().flatten() {
            let ends = [
                (&container.state, container.restart_count + 1),
                (&container.last_state, container.restart_count),
            ];
            for (state, time) in ends {
                let end = state.as_ref().and_then(|state| state.terminated.as_ref());
                let killed = end.is_some_and(|end| end.reason.as_deref() == Some("OOMKilled"));
                if killed && self.killed_workers.insert((pod.uid().unwrap_or_default(), time)) {
                    live.say(format!(
                        "{:28} worker killed for memory",
                        format!("{tenant}/{}", pod.name_any())
                    ));
                }
            }
        }
    }

    fn pod(&mut self, pod: &Pod, live: &Live) {
        let owner = pod.owner_references().iter().find(|owner| owner.kind == "Job");
        let Some(id) = owner.and_then(|owner| self.jobs.get(&owner.uid)) else { return };
        let Some(run) = self.runs.get_mut(id) else { return };
        let status = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
        let Some(container) = status.and_then(|all| all.first()) else { return };
        let Some(state) = &container.state else { return };
        let running = state.running.as_ref().and_then(|running| running.started_at.as_ref());
        let ended = state.terminated.as_ref();
        let began = running.or_else(|| ended.and_then(|end| end.started_at.as_ref())).map(seconds);
        run.began = earliest(run.began, began);
        let made = pod.metadata.creation_timestamp.as_ref().map(seconds);
        if let (Some(made), Some(began), Some(uid)) = (made, began, pod.uid()) {
            self.starts.entry(uid).or_insert((began - made).max(0.0));
        }
        let Some(end) = ended else { return };
        if !self.pods.insert(pod.uid().unwrap_or_default()) {
            return;
        }
        let resources = pod.spec.as_ref().and_then(|spec| spec.containers.first()?.resources.as_ref());
        let requests = resources.and_then(|resources| resources.requests.as_ref());
        let amount =
            |name: &str| requests.and_then(|all| all.get(name)).map_or(0.0, |text| quantity(&text.0));
        run.mebibytes = amount("memory") / f64::from(1 << 20);
        let lasted = match (&end.started_at, &end.finished_at) {
            (Some(from), Some(to)) => (seconds(to) - seconds(from)).max(0.5),
            _ => 0.0,
        };
        run.reserved += lasted * amount("cpu");
        run.used += lasted * used(end.message.as_deref().unwrap_or_default());
        if end.reason.as_deref() == Some("OOMKilled") {
            run.killed += 1;
            if run.killed_at.is_none() {
                run.killed_at = end.finished_at.as_ref().map(seconds);
                run.killed_mebibytes = Some(run.mebibytes);
            }
            live.say(format!(
                "{id:28} killed for memory at {:.0} MiB, run {} of its kind",
                run.mebibytes, run.number
            ));
        } else if end.exit_code != 0 {
            run.failed += 1;
            let at = end.finished_at.as_ref().map_or(0.0, seconds);
            self.ended.push((run.tenant.clone(), false, at));
            live.say(format!("{id:28} failed half-way (exit code {})", end.exit_code));
        }
    }
}

/// CPU in cores, as the program says in its last words.
fn used(message: &str) -> f64 {
    let said: serde_json::Value =
        message.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    said["used"]["cpu"].as_str().map_or(0.0, quantity)
}

fn earliest(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn seconds(time: &Time) -> f64 {
    time.0.as_millisecond() as f64 / 1_000.0
}

/// A quantity as a number; what is not readable is nothing.
fn quantity(text: &str) -> f64 {
    homeostat_crds::Quantity::from(text.to_owned()).value().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_killed_for_memory_counts_once_however_often_it_is_seen() {
        let pod = |state: serde_json::Value, last: serde_json::Value, restarts: i32| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": "forecast-5c9-x", "namespace": "water-1", "uid": "u" },
                "status": { "containerStatuses": [{
                    "name": "worker", "image": "", "imageID": "", "ready": false,
                    "restartCount": restarts, "state": state, "lastState": last,
                }] },
            }))
            .unwrap()
        };
        let killed = serde_json::json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
        let running = serde_json::json!({ "running": {} });
        let (live, mut watched) = (Live::start(), Watched::default());
        watched.worker(&pod(running.clone(), serde_json::json!({}), 0), &live);
        assert_eq!(watched.killed_workers(), 0);
        watched.worker(&pod(killed.clone(), serde_json::json!({}), 0), &live);
        watched.worker(&pod(running.clone(), killed.clone(), 1), &live);
        assert_eq!(watched.killed_workers(), 1);
        watched.worker(&pod(running, killed, 2), &live);
        assert_eq!(watched.killed_workers(), 2);
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: WaterArgs,
    }

    #[test]
    fn a_run_that_is_killed_and_tried_again_tells_when_and_with_how_much() {
        let args = <Line as clap::Parser>::parse_from(["water"]).args;
        let job = |uid: &str, second: u32, annotations: serde_json::Value| -> Job {
            serde_json::from_value(serde_json::json!({ "metadata": {
                "name": uid, "namespace": "water-1", "uid": uid, "annotations": annotations,
                "creationTimestamp": format!("2026-11-02T00:00:{second:02}Z"),
                "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "CronJob", "name": "optimisation", "uid": "c" }],
            } }))
            .unwrap()
        };
        let pod = |job: &str, (made, began, ended): (u32, u32, u32), memory: &str, reason: &str| -> Pod {
            let at = |second: u32| format!("2026-11-02T00:00:{second:02}Z");
            let code = if reason == "Completed" { 0 } else { 137 };
            serde_json::from_value(serde_json::json!({
                "metadata": {
                    "name": "pod", "namespace": "water-1", "uid": format!("{job}-pod"), "creationTimestamp": at(made),
                    "ownerReferences": [{ "apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": job }],
                },
                "spec": { "containers": [{ "name": "run", "resources": { "requests": { "memory": memory } } }] },
                "status": { "containerStatuses": [{
                    "name": "run", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                    "state": { "terminated": {
                        "exitCode": code, "reason": reason, "startedAt": at(began), "finishedAt": at(ended),
                    } },
                }] },
            }))
            .unwrap()
        };
        let (live, mut watched) = (Live::start(), Watched::default());
        watched.job(&job("first", 1, serde_json::json!({})), &args, &live);
        watched.pod(&pod("first", (2, 5, 7), "80Mi", "OOMKilled"), &live);
        watched.job(&job("second", 9, serde_json::json!({ RETRY_OF: "first" })), &args, &live);
        let second = pod("second", (10, 11, 15), "160Mi", "Completed");
        watched.pod(&second, &live);
        watched.pod(&second, &live);
        assert_eq!(watched.starts(), vec![3.0, 1.0]);
        let runs = watched.runs();
        let [run] = &runs[..] else { panic!("{runs:?}") };
        assert_eq!((run.killed, run.killed_mebibytes, run.mebibytes), (1, Some(80.0), 160.0));
        assert_eq!(run.retried_at.zip(run.killed_at).map(|(made, killed)| made - killed), Some(2.0));
    }

    #[test]
    fn last_words_are_read() {
        assert!((used(r#"{"used":{"cpu":"250m","memory":"40Mi"}}"#) - 0.25).abs() < 1e-9);
        assert!(used("Killed").abs() < 1e-9);
        assert!((quantity("48Mi") - 48.0 * 1_048_576.0).abs() < 1e-3);
    }
}
