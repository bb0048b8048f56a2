//! What a column costs: memory and CPU of Homeostat's processes, CPU of the load generator and of
//! the whole machine, sampled every second from `/proc`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

use super::install;
use crate::cluster::Cluster;
use crate::truth::At;

const EVERY: Duration = Duration::from_secs(1);
/// How often processes are looked for again.
const LOOK: u32 = 10;

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Highest sum of the resident memory of Homeostat's processes, in bytes.
    pub rss_peak_bytes: Option<u64>,
    /// Homeostat's CPU time over the time of the column, in cores.
    pub cpu_mean_cores: Option<f64>,
    /// The load generator's, in cores.
    pub load_cores: Option<f64>,
    /// Share of the machine's CPU time that was idle.
    pub idle_share: Option<f64>,
}

#[derive(Default)]
struct Sums {
    begin: Option<At>,
    end: Option<At>,
    rss_peak: u64,
    seen_homeostat: bool,
    /// Per process: CPU ticks at first and at last sight.
    homeostat: BTreeMap<i32, (u64, u64)>,
    load: Option<(u64, u64)>,
    machine: Option<((u64, u64), (u64, u64))>,
}

/// A running measurement.
pub struct Meter {
    sums: Arc<Mutex<Sums>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Meter {
    /// Begins. `cluster` is the test cluster when its processes can be seen, `load` the load generator.
    pub fn start(cluster: Option<Cluster>, client: Client, load: Option<u32>) -> Self {
        let sums: Arc<Mutex<Sums>> = Arc::default();
        let stop = CancellationToken::new();
        let (own, stopped) = (Arc::clone(&sums), stop.clone());
        let task = tokio::spawn(async move {
            let mut pids = Vec::new();
            let mut round: u32 = 0;
            loop {
                if round.is_multiple_of(LOOK)
                    && let Some(cluster) = &cluster
                {
                    pids = processes(cluster, &client).await;
                }
                round = round.wrapping_add(1);
                own.lock().unwrap_or_else(PoisonError::into_inner).sample(&pids, load);
                tokio::select! {
                    () = stopped.cancelled() => return,
                    () = tokio::time::sleep(EVERY) => {}
                }
            }
        });
        Self { sums, stop, task }
    }

    /// Ends and says what was measured.
    pub async fn stop(self) -> Measured {
        self.stop.cancel();
        let _ = self.task.await;
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).measured()
    }
}

async fn processes(cluster: &Cluster, client: &Client) -> Vec<i32> {
    let mut pids = Vec::new();
    for (uid, container) in pods(client).await {
        if let Ok(pid) = cluster.pid_of_container(&uid, &container).await {
            pids.push(pid);
        }
    }
    pids
}

/// UID and container of Homeostat's pods.
pub async fn pods(client: &Client) -> Vec<(String, String)> {
    let api: Api<Pod> = Api::namespaced(client.clone(), install::NAMESPACE);
    let Ok(all) = api.list(&ListParams::default().labels(install::LABEL)).await else { return Vec::new() };
    let running = all
        .items
        .into_iter()
        .filter(|pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running"));
    running
        .filter_map(|pod| {
            let container = pod.spec?.containers.into_iter().next()?.name;
            Some((pod.metadata.uid?, container))
        })
        .collect()
}

impl Sums {
    fn sample(&mut self, pids: &[i32], load: Option<u32>) {
        let now = At::now();
        self.begin.get_or_insert(now);
        self.end = Some(now);
        let mut rss = 0;
        for pid in pids {
            let Some(ticks) = ticks(*pid) else { continue };
            self.seen_homeostat = true;
            rss += resident(*pid);
            self.homeostat.entry(*pid).or_insert((ticks, ticks)).1 = ticks;
        }
        self.rss_peak = self.rss_peak.max(rss);
        if let Some(ticks) = load.and_then(|pid| ticks(pid as i32)) {
            self.load.get_or_insert((ticks, ticks)).1 = ticks;
        }
        if let Some(machine) = machine() {
            self.machine.get_or_insert((machine, machine)).1 = machine;
        }
    }

    fn measured(&self) -> Measured {
        let seconds = match (self.begin, self.end) {
            (Some(begin), Some(end)) if end > begin => (end - begin).seconds(),
            _ => return Measured::default(),
        };
        let cores = |ticks: u64| ticks as f64 / ticks_per_second() / seconds;
        let homeostat: u64 = self.homeostat.values().map(|(first, last)| last.saturating_sub(*first)).sum();
        Measured {
            rss_peak_bytes: self.seen_homeostat.then_some(self.rss_peak),
            cpu_mean_cores: self.seen_homeostat.then(|| cores(homeostat)),
            load_cores: self.load.map(|(first, last)| cores(last.saturating_sub(first))),
            idle_share: self.machine.map(|((idle, all), (last_idle, last_all))| {
                last_idle.saturating_sub(idle) as f64 / last_all.saturating_sub(all).max(1) as f64
            }),
        }
    }
}

fn ticks_per_second() -> f64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().map_or(100.0, |ticks| ticks as f64)
}

/// User and system time of all threads.
fn ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    times(&stat)
}

fn times(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// Idle and all ticks of the machine.
fn machine() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    // Guest time is part of user time already.
    let all: Vec<u64> = line.split_ascii_whitespace().take(8).filter_map(|word| word.parse().ok()).collect();
    let idle = all.get(3)? + all.get(4)?;
    Some((idle, all.iter().sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_any_command_name() {
        let stat = "7 (a) b ) S 1 7 7 0 -1 4194304 1 0 0 0 30 12 0 0 20 0 1 0 4242 9 9";
        assert_eq!(times(stat), Some(42));
        assert!(ticks(std::process::id() as i32).is_some());
        assert!(resident(std::process::id() as i32) > 1 << 20);
    }

    #[test]
    fn nothing_measured_is_unknown_not_zero() {
        assert_eq!(Sums::default().measured(), Measured::default());
        let mut sums = Sums { begin: Some(At(0)), ..Sums::default() };
        sums.sample(&[], None);
        let measured = sums.measured();
        assert_eq!((measured.rss_peak_bytes, measured.cpu_mean_cores), (None, None));
        assert!(measured.idle_share.is_some());
    }
}
