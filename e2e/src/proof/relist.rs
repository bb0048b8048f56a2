//! The shipped binary is killed for want of memory while it lists a large cluster, and started anew with the memory that the
//! chart gives it. It must be ready within a minute, do nothing while it warms up, and heal afterwards.

mod search;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use futures::{StreamExt, stream};
use homeostat_crds::v1alpha1::ControlPlane;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, ListParams, Patch};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::audit::Entry;
use super::error::ProofError;
use super::kubelet;
use super::objects::{self, writes};
use super::product::{Product, Start, beside};
use super::stage::{Stage, until};
use crate::cluster::memory::MemoryGroup;
use crate::demo::live::Live;
use search::{FIRST, Met, Search};

/// Names of its namespaces, and of all that is its own, begin so.
const PLACE: &str = "relist";
/// Tenants, with a namespace each, that the workloads are spread over.
const TENANTS: usize = 10;
/// Workloads with two pods each; the Deployments of the others are scaled to zero.
const SERVING: usize = 20;
/// Of those, workloads of which one pod is ill before the first process starts; each is another tenant's.
const ILL: usize = 5;
/// Objects that are created at once.
const HANDS: usize = 32;
/// The controllers have looked at all Deployments within this time.
const SETTLED: Duration = Duration::from_mins(10);
/// Kills for want of memory, each followed by a start with the chart's memory.
const KILLS: usize = 5;
/// Lives that are tried for one such kill, with more memory or less.
const TRIES: usize = 12;
/// Where the chart's memory is not enough, more is tried up to this, MiB.
const MOST: u64 = 2_048;
/// A process that is not killed and not ready after so long reads its own code from the disk again and again.
const SLOW: Duration = Duration::from_secs(90);
/// A start with enough memory is watched so long.
const LATE: Duration = Duration::from_mins(3);
/// It must be ready before this, seconds.
const READY: f64 = 60.0;
/// What the warm-up is set to, which is its default, and what the rest of the proof has.
const WARM_UP: u32 = 60;
const NO_WARM_UP: u32 = 0;
/// The warm-up is counted from the step of the loop in which the last list became known, which may begin so long before
/// `/readyz` says that it was taken.
const STEP: SignedDuration = SignedDuration::from_secs(5);
/// From `/readyz` to the health of all: the warm-up, the lease of the process that was killed, and an API server that takes
/// the statuses of all workloads meanwhile.
const HEALED: Duration = Duration::from_mins(6);
/// Between two looks at a process, and at pods.
const LOOK: Duration = Duration::from_millis(50);
const PODS: Duration = Duration::from_millis(500);
/// An answer of `/readyz` that takes longer is none.
const ANSWER: Duration = Duration::from_secs(1);

/// How it is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Workloads, each with a Deployment.
    pub workloads: usize,
    /// Most kills.
    pub kills: usize,
    /// Root of the clone: the chart's values are there.
    pub root: &'a Path,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Relist {
    /// Workloads, each with a Deployment; 0 where it was not run.
    pub workloads: usize,
    /// Processes that the kernel killed for want of memory while they listed, before they were ready.
    pub kills: usize,
    /// The memory limit of the last one of them, MiB.
    pub kill_mebibytes: u64,
    /// From a start after such a kill to `/readyz`, the longest, seconds.
    pub ready_maximum_seconds: f64,
    /// The memory limit of these starts, MiB: the chart's, unless it was outgrown.
    pub limit_mebibytes: u64,
    /// The chart's limit was not enough: a process was killed under it.
    pub outgrown: bool,
    /// Most memory of a process that got ready, files of the page cache included, MiB.
    pub peak_mebibytes: u64,
    /// Effects before the warm-up of the last process was over, by the API server's audit log, those of which nobody knows
    /// what came included.
    pub early_effects: usize,
    /// Everybody who was ill got well afterwards.
    pub healed: bool,
    /// So long after `/readyz`, seconds.
    pub healed_seconds: f64,
}

impl Relist {
    /// Everything holds, or it was not run.
    pub fn holds(&self) -> bool {
        self.workloads == 0
            || (self.kills > 0
                && self.ready_maximum_seconds < READY
                && !self.outgrown
                && self.early_effects == 0
                && self.healed)
    }

    /// As a line of the table.
    pub fn text(&self) -> String {
        if self.workloads == 0 {
            return "not run".to_owned();
        }
        let fits = if self.outgrown { ", MORE THAN THE CHART GIVES" } else { "" };
        let healed = if self.healed {
            format!("healed {:.0} s after it", self.healed_seconds)
        } else {
            "NOT HEALED".to_owned()
        };
        format!(
            "{} workloads, {} kills for memory in the list (last at {} MiB): ready again after at most {:.1} s with {} \
             MiB{fits} (peak {} MiB), {} effects before the warm-up was over, {healed}",
            self.workloads,
            self.kills,
            self.kill_mebibytes,
            self.ready_maximum_seconds,
            self.limit_mebibytes,
            self.peak_mebibytes,
            self.early_effects,
        )
    }
}

/// Runs it.
pub async fn run(stage: &Stage, settings: Settings<'_>, live: &Live) -> Result<Relist, ProofError> {
    let found = carry_out(stage, settings, live).await;
    let set_back = warm_up(stage, NO_WARM_UP).await;
    for number in 0..TENANTS {
        stage.forget(&place_of(number)).await;
    }
    let found = found?;
    set_back?;
    Ok(found)
}

async fn carry_out(stage: &Stage, settings: Settings<'_>, live: &Live) -> Result<Relist, ProofError> {
    let most = chart_limit(settings.root)?;
    populate(stage, settings.workloads, live).await?;
    warm_up(stage, WARM_UP).await?;
    let client = &stage.client;
    for number in 0..ILL {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &place_of(number));
        objects::sicken(&pods, &name_of(number), 1).await?;
    }
    let mut drill = Drill {
        stage,
        live,
        http: asker()?,
        begun: Timestamp::now(),
        lives: 0,
        search: Search::below(most),
        found: Relist { workloads: settings.workloads, limit_mebibytes: most, ..Relist::default() },
    };
    let kills = KILLS.min(settings.kills).max(1);
    let mut last = None;
    while drill.found.kills < kills {
        if let Some(life) = last.take() {
            Life::end(life).await;
        }
        drill.kill().await?;
        last = drill.come_back().await?;
        if last.is_none() {
            break; // That it is late is what was found.
        }
    }
    if let Some(life) = last {
        drill.heal(life).await?;
    }
    Ok(drill.found)
}

/// Kills and starts, one after the other.
struct Drill<'a> {
    stage: &'a Stage,
    live: &'a Live,
    http: reqwest::Client,
    begun: Timestamp,
    lives: u32,
    search: Search,
    found: Relist,
}

impl Drill<'_> {
    async fn begin(&mut self, mebibytes: u64) -> Result<Life, ProofError> {
        self.lives += 1;
        let name = format!("life-{}", self.lives);
        let cluster = self.stage.cluster.layout().cgroup();
        let memory = MemoryGroup::create(&cluster, &format!("{PLACE}-{name}"), mebibytes)?;
        let (dark, begun) = (Timestamp::now(), Instant::now());
        // All namespaces, as the chart has it.
        let files = format!("{PLACE}-{name}");
        let record = self.stage.out.join(format!("{files}.record"));
        let _before = std::fs::remove_dir_all(&record);
        let binary = beside(&self.stage.program)?;
        let memory_of = Some(memory.procs());
        let start = Start { binary, name, namespaces: None, files, record, lease: None, memory: memory_of };
        let product = Product::begin(self.stage, start).await?;
        Ok(Life { product, memory, begun, dark, ready: begun })
    }

    /// Has one process killed for want of memory in the middle of a long list.
    async fn kill(&mut self) -> Result<(), ProofError> {
        for _ in 0..TRIES {
            let limit = self.search.limit;
            let mut life = self.begin(limit).await?;
            let fate = life.fate(&self.http, SLOW).await?;
            let pages = life.product.further_pages();
            let name = life.end().await;
            let met = match fate {
                Fate::Killed if pages == 0 => Met::TooEarly,
                Fate::Killed => Met::InTheList,
                Fate::Ready(_) | Fate::Late | Fate::Ended(_) => Met::NotAtAll,
            };
            self.live.say(format!("relist    {name} with {limit} MiB: {fate}, {pages} further pages"));
            if met == Met::InTheList {
                self.found.kills += 1;
                self.found.kill_mebibytes = limit;
                return Ok(());
            }
            self.search = self.search.after(met);
        }
        Err(ProofError::Broken(format!(
            "none of {TRIES} processes was killed for want of memory while it listed; the last limit was {} MiB. Try more \
             --workloads, so that there is more between the first page and the last",
            self.search.limit
        )))
    }

    /// Starts a process with the chart's memory, or with what is enough; nothing when it is not ready in time.
    async fn come_back(&mut self) -> Result<Option<Life>, ProofError> {
        loop {
            let limit = self.found.limit_mebibytes;
            let mut life = self.begin(limit).await?;
            let fate = life.fate(&self.http, LATE).await?;
            let peak = life.memory.peak()?;
            self.live
                .say(format!("relist    {} with {limit} MiB: {fate}, peak {peak} MiB", life.product.name));
            match fate {
                Fate::Ready(seconds) => {
                    self.took(seconds);
                    self.found.peak_mebibytes = self.found.peak_mebibytes.max(peak);
                    return Ok(Some(life));
                }
                Fate::Late => {
                    life.end().await;
                    self.took(LATE.as_secs_f64());
                    return Ok(None);
                }
                Fate::Killed if limit < MOST => {
                    life.end().await;
                    self.found.outgrown = true;
                    self.found.limit_mebibytes = limit * 2;
                }
                Fate::Killed | Fate::Ended(_) => {
                    let name = life.end().await;
                    let log = self.stage.out.join(format!("{PLACE}-{name}.log"));
                    return Err(ProofError::Broken(format!(
                        "{name} did not get ready with {limit} MiB, it was {fate}; {} says more",
                        log.display()
                    )));
                }
            }
        }
    }

    fn took(&mut self, seconds: f64) {
        self.found.ready_maximum_seconds = self.found.ready_maximum_seconds.max(seconds);
    }

    /// Waits until everybody is well, and counts what was done before the warm-up was over.
    async fn heal(&mut self, mut life: Life) -> Result<(), ProofError> {
        let over = life.dark + SignedDuration::from_secs(i64::from(WARM_UP)) - STEP;
        let end = life.ready + HEALED;
        let mut killed = false;
        loop {
            if all_well(&self.stage.client).await {
                self.found.healed = true;
                self.found.healed_seconds = life.ready.elapsed().as_secs_f64();
                break;
            }
            if let Some(status) = life.product.ended() {
                killed = life.memory.kills()? > 0;
                self.live.say(format!("relist    {} ended after it was ready: {status}", life.product.name));
                break;
            }
            if Instant::now() > end {
                break;
            }
            tokio::time::sleep(PODS).await;
        }
        self.found.peak_mebibytes = self.found.peak_mebibytes.max(life.memory.peak()?);
        self.found.outgrown |= killed;
        life.end().await;
        let begun = self.begun;
        let early = |entry: &Entry| {
            entry.is_effect()
                && entry.namespace.strip_prefix(PLACE).is_some_and(|rest| rest.starts_with('-'))
                && entry.at > begun
                && entry.at < over
        };
        let (sure, unsure) = (self.stage.audited(early)?, self.stage.unsure(early)?);
        for entry in sure.iter().chain(&unsure) {
            let Entry { verb, resource, namespace, name, at, agent, .. } = entry;
            self.live.plain(&format!(
                "            {verb} {resource} {namespace}/{name} by {agent} at {at}; warm-up until {over} at the soonest"
            ));
        }
        self.found.early_effects = sure.len() + unsure.len();
        Ok(())
    }
}

/// One process under its limit; the group goes after what is in it.
struct Life {
    product: Product,
    memory: MemoryGroup,
    begun: Instant,
    /// When it was last asked and not ready.
    dark: Timestamp,
    /// When it said that it was.
    ready: Instant,
}

/// How a process went on.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// `/readyz` says so, after so many seconds.
    Ready(f64),
    /// Killed for want of memory before that.
    Killed,
    /// Ended otherwise before that.
    Ended(ExitStatus),
    /// None of it in time.
    Late,
}

impl std::fmt::Display for Fate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ready(seconds) => write!(formatter, "ready after {seconds:.1} s"),
            Self::Killed => formatter.write_str("killed for want of memory"),
            Self::Ended(status) => write!(formatter, "ended by itself ({status})"),
            Self::Late => formatter.write_str("neither ready nor killed"),
        }
    }
}

impl Life {
    /// Waits until it is ready or ends.
    async fn fate(&mut self, http: &reqwest::Client, limit: Duration) -> Result<Fate, ProofError> {
        let page = format!("http://{}/readyz", self.product.http);
        loop {
            if let Some(status) = self.product.ended() {
                let killed = status.signal() == Some(Signal::SIGKILL as i32) && self.memory.kills()? > 0;
                return Ok(if killed { Fate::Killed } else { Fate::Ended(status) });
            }
            let asked = Timestamp::now();
            if http.get(&page).send().await.is_ok_and(|answer| answer.status().is_success()) {
                self.ready = Instant::now();
                return Ok(Fate::Ready((self.ready - self.begun).as_secs_f64()));
            }
            self.dark = asked;
            if self.begun.elapsed() > limit {
                return Ok(Fate::Late);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Kills it if it still runs, and takes its group away; its name.
    async fn end(self) -> String {
        let Self { product, memory, .. } = self;
        let name = product.name.clone();
        product.end().await;
        drop(memory);
        name
    }
}

fn place_of(number: usize) -> String {
    format!("{PLACE}-{}", number % TENANTS)
}

fn name_of(number: usize) -> String {
    format!("order-{number:05}")
}

/// The objects: tenants, Deployments that are scaled to zero but for a few, and a Workload for each. The controllers are
/// waited for, so that every process lists the same.
async fn populate(stage: &Stage, workloads: usize, live: &Live) -> Result<(), ProofError> {
    for number in 0..TENANTS {
        stage.namespace(&place_of(number)).await?;
    }
    let mut puts =
        stream::iter(0..workloads).map(|number| put(&stage.client, number)).buffer_unordered(HANDS);
    let mut there = 0_usize;
    while let Some(done) = puts.next().await {
        done?;
        there += 1;
        if there.is_multiple_of(2_000) {
            live.say(format!("relist    {there} workloads are there"));
        }
    }
    let end = Instant::now() + SETTLED;
    loop {
        let known = replica_sets(&stage.client).await?;
        if known >= workloads {
            break;
        }
        if Instant::now() > end {
            let what = format!("a ReplicaSet of each Deployment, of which {known} of {workloads} are there,");
            return Err(ProofError::Timeout { what, limit: SETTLED });
        }
        live.say(format!("relist    the controllers have looked at {known} of {workloads}"));
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    until("pods that serve", SETTLED, || async {
        let mut serve = 0;
        for number in 0..TENANTS {
            let pods: Api<Pod> = Api::namespaced(stage.client.clone(), &place_of(number));
            let found = pods.list(&ListParams::default()).await.ok()?;
            serve += found.items.iter().filter(|pod| kubelet::serves(pod)).count();
        }
        (serve >= 2 * SERVING.min(workloads)).then_some(())
    })
    .await
}

async fn put(client: &Client, number: usize) -> Result<(), ProofError> {
    let (place, name) = (place_of(number), name_of(number));
    let replicas = if number < SERVING { 2 } else { 0 };
    objects::create(client, Some(&place), &objects::deployment(&name, replicas)).await?;
    objects::create(client, Some(&place), &workload(&name)).await
}

/// A Workload that is neither sized nor forecast.
fn workload(name: &str) -> Value {
    json!({
        "apiVersion": "homeostat.dev/v1alpha1", "kind": "Workload", "metadata": {"name": name},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "archetype": "Service",
        },
    })
}

/// How many there are in all places, without reading them.
async fn replica_sets(client: &Client) -> Result<usize, ProofError> {
    let mut count = 0;
    for number in 0..TENANTS {
        let api: Api<ReplicaSet> = Api::namespaced(client.clone(), &place_of(number));
        let page = api.list_metadata(&ListParams::default().limit(1)).await;
        let page = page.map_err(ProofError::api("count what belongs to Deployments"))?;
        let rest = page.metadata.remaining_item_count.unwrap_or_default();
        count += page.items.len() + usize::try_from(rest).unwrap_or_default();
    }
    Ok(count)
}

/// Everybody who was made ill serves again.
async fn all_well(client: &Client) -> bool {
    for number in 0..ILL {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &place_of(number));
        let params = ListParams::default().labels(&format!("app={}", name_of(number)));
        let Ok(found) = pods.list(&params).await else { return false };
        if found.items.len() != 2 || !found.items.iter().all(kubelet::serves) {
            return false;
        }
    }
    true
}

async fn warm_up(stage: &Stage, seconds: u32) -> Result<(), ProofError> {
    let api: Api<ControlPlane> = Api::all(stage.client.clone());
    let patch = json!({"spec": {"warmUpSeconds": seconds}});
    let set = api.patch("default", &writes(), &Patch::Merge(patch)).await;
    set.map(drop).map_err(ProofError::api("set the warm-up"))
}

/// Who asks `/readyz`.
fn asker() -> Result<reqwest::Client, ProofError> {
    let built = reqwest::Client::builder().no_proxy().timeout(ANSWER).build();
    built.map_err(|error| ProofError::Broken(format!("the client of /readyz: {error}")))
}

/// The memory limit that the chart gives, MiB.
fn chart_limit(root: &Path) -> Result<u64, ProofError> {
    let path = root.join("charts/homeostat/values.yaml");
    let text = std::fs::read_to_string(&path).map_err(ProofError::io("read", &path))?;
    let broken = |why: String| ProofError::Broken(format!("{}: {why}", path.display()));
    let values: Value = serde_saphyr::from_str(&text).map_err(|error| broken(error.to_string()))?;
    let limit = values["resources"]["limits"]["memory"].as_str().unwrap_or_default();
    mebibytes(limit).ok_or_else(|| broken(format!("resources.limits.memory is `{limit}`, not in Mi or Gi")))
}

fn mebibytes(quantity: &str) -> Option<u64> {
    let of = |unit: &str| quantity.strip_suffix(unit)?.parse::<u64>().ok();
    of("Mi").or_else(|| of("Gi")?.checked_mul(1_024)).filter(|found| *found > FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_of_the_chart_is_read() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert!(chart_limit(&root).unwrap() > FIRST);
        assert_eq!((mebibytes("256Mi"), mebibytes("1Gi")), (Some(256), Some(1_024)));
        assert_eq!((mebibytes("256M"), mebibytes("")), (None, None));
    }

    #[test]
    fn each_of_its_promises_counts() {
        let good = Relist {
            workloads: 10_000,
            kills: 5,
            ready_maximum_seconds: 59.9,
            healed: true,
            ..Relist::default()
        };
        assert!(good.holds() && Relist::default().holds());
        for broken in [
            Relist { kills: 0, ..good.clone() },
            Relist { ready_maximum_seconds: READY, ..good.clone() },
            Relist { outgrown: true, ..good.clone() },
            Relist { early_effects: 1, ..good.clone() },
            Relist { healed: false, ..good.clone() },
        ] {
            assert!(!broken.holds(), "{broken:?}");
        }
    }
}
