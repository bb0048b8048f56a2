//! The kill loop: many workloads fall ill again and again while the process that heals them is killed at random times.
//! Each illness must meet exactly one effect, and each action must have ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use homeostat_crds::v1alpha1::Action;
use homeostat_knowledge::{ActionKind, ObjectKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::audit::{self, Entry};
use super::error::ProofError;
use super::faults::Rules;
use super::kubelet;
use super::objects;
use super::plans;
use super::process::Victim;
use super::proxy::{Manners, Proxy};
use super::stage::{HOME, Stage};
use super::under_test::{Config, Patient};
use crate::demo::live::Live;

/// Where it takes place.
const PLACE: &str = "kill-loop";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// Every illness meets its effect within this time, kills included; longer is lost.
const PATIENCE: Duration = Duration::from_mins(4);
/// Ended actions stay so long before they are put aside: a process that starts reads all that is there.
const STAY: Duration = Duration::from_secs(20);

/// How it is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Illnesses.
    pub actions: usize,
    /// Workloads.
    pub workloads: usize,
    /// Shortest and longest life of a process, milliseconds.
    pub life: (u64, u64),
    /// Seed of the times.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KillLoop {
    /// Illnesses that ended.
    pub actions: usize,
    /// Illnesses with more than one effect.
    pub double: usize,
    /// Illnesses without an effect, and actions that did not end.
    pub lost: usize,
    /// Kills.
    pub kills: u32,
    /// Effects by the API server's audit log.
    pub effects: usize,
    /// What of audit log and actions does not fit.
    pub mismatches: usize,
    /// How long it took, seconds.
    pub seconds: f64,
}

/// One workload and what ails it.
struct Bed {
    action: ActionKind,
    ill_since: Option<(Timestamp, Instant)>,
}

/// A time of illness of one workload.
struct Episode {
    workload: String,
    begun: Timestamp,
    ended: Timestamp,
}

/// Runs it.
pub async fn run(stage: &Stage, settings: Settings, live: &Live) -> Result<KillLoop, ProofError> {
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    stage.namespace(PLACE).await?;
    let mut beds = BTreeMap::new();
    for number in 0..settings.workloads {
        let name = format!("order-{number:02}");
        objects::create(&stage.client, Some(PLACE), &objects::deployment(&name, 2)).await?;
        objects::create(&stage.client, Some(PLACE), &objects::workload(&name)).await?;
        let action = if number.is_multiple_of(3) { ActionKind::RollingRestart } else { ActionKind::EvictPod };
        beds.insert(name, Bed { action, ill_since: None });
    }
    let begun = (Timestamp::now(), Instant::now());
    let victim = Arc::new(Victim::default());
    let proxy =
        Proxy::start(stage.upstream.clone(), Arc::clone(&victim), Rules::default(), Manners::default())
            .await?;
    let file = |end: &str| stage.out.join(format!("kill-loop.{end}"));
    for end in ["log", "acknowledged"] {
        let _before = std::fs::remove_file(file(end));
    }
    let patients = beds.iter().map(|(name, bed)| Patient {
        action: bed.action,
        tenant: PLACE.to_owned(),
        workload: ObjectKey::new(PLACE, name.as_str()),
        node: None,
        episode: String::new(),
    });
    let config = Config {
        kubeconfig: proxy.kubeconfig(file("kubeconfig"))?,
        own_namespace: HOME.to_owned(),
        namespaces: vec![PLACE.to_owned()],
        patients: patients.collect(),
        acknowledged: file("acknowledged"),
    };
    let mut process = plans::start(stage, Arc::clone(&victim), &config, &file("json"), file("log"))?;
    let mut ward = Ward { stage, beds, episodes: Vec::new(), lost: 0, aside: BTreeMap::new(), begun: 0 };
    let mut kill_at = Instant::now() + life(settings, &mut random);
    let mut kills = 0;
    let mut told = 0;
    loop {
        process.keep()?;
        if Instant::now() >= kill_at {
            victim.kill();
            kills += 1;
            kill_at = Instant::now() + life(settings, &mut random);
            continue;
        }
        ward.look(settings.actions).await?;
        if ward.episodes.len() >= told + 100 {
            told = ward.episodes.len();
            live.say(format!("kill loop {told} illnesses ended, {kills} kills"));
        }
        if ward.episodes.len() + ward.lost >= settings.actions {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    // What is open still ends, and nothing comes after.
    let end = Instant::now() + PATIENCE;
    let open = loop {
        process.keep()?;
        let open = ward.put_aside(Duration::ZERO).await?.len();
        if open == 0 || Instant::now() > end {
            break open;
        }
        tokio::time::sleep(LOOK).await;
    };
    process.end().await;
    let here = |entry: &Entry| entry.namespace == PLACE && entry.at >= begun.0;
    let (mut entries, unsure) = (stage.audited(here)?, stage.unsure(here)?);
    let actions: Vec<Action> = ward.aside.values().cloned().collect();
    let notes = audit::notes(&config.acknowledged)?;
    entries.extend(audit::came_after_all(&unsure, &entries, &actions));
    // Removals of actions are ours, not Homeostat's, and so are not among its requests.
    let found = audit::compare(&entries.iter().collect::<Vec<_>>(), &actions, &notes);
    for text in found.mismatches.iter().take(20) {
        live.plain(&format!("            {text}"));
    }
    let (double, none) = count(&ward.episodes, &entries, &unsure, live);
    stage.forget(PLACE).await;
    Ok(KillLoop {
        actions: ward.episodes.len(),
        double,
        lost: none + ward.lost + open,
        kills,
        effects: found.effects,
        mismatches: found.mismatches.len(),
        seconds: begun.1.elapsed().as_secs_f64(),
    })
}

fn life(settings: Settings, random: &mut ChaCha8Rng) -> Duration {
    Duration::from_millis(random.random_range(settings.life.0..=settings.life.1))
}

/// Illnesses with more than one effect, and without any.
fn count(episodes: &[Episode], entries: &[Entry], unsure: &[Entry], live: &Live) -> (usize, usize) {
    let (mut double, mut none) = (0, 0);
    for episode in episodes {
        let of = |entries: &[Entry]| {
            let effects = entries.iter().filter(|entry| {
                entry.is_effect()
                    && workload_of(&entry.name) == episode.workload
                    && entry.at >= episode.begun
                    && entry.at <= episode.ended
            });
            effects.count()
        };
        // It got well, so a request whose process was killed while it was answered is what helped.
        let count = match of(entries) {
            0 => of(unsure).min(1),
            count => count,
        };
        double += usize::from(count > 1);
        none += usize::from(count == 0);
        if count != 1 {
            let Episode { workload, begun, ended } = episode;
            live.plain(&format!("            {workload} had {count} effects from {begun} to {ended}"));
        }
    }
    (double, none)
}

/// `order-07` of a Deployment of that name, or of one of its pods.
pub fn workload_of(name: &str) -> String {
    name.split('-').take(2).collect::<Vec<_>>().join("-")
}

struct Ward<'a> {
    stage: &'a Stage,
    beds: BTreeMap<String, Bed>,
    episodes: Vec<Episode>,
    /// Illnesses that nothing was done about for too long.
    lost: usize,
    /// Actions that ended, by name.
    aside: BTreeMap<String, Action>,
    /// Illnesses that were begun.
    begun: usize,
}

impl Ward<'_> {
    /// Sees who is well again, and makes others ill.
    async fn look(&mut self, most: usize) -> Result<(), ProofError> {
        let pods: Api<Pod> = plans::namespaced(&self.stage.client, PLACE);
        let all = pods.list(&ListParams::default()).await.map_err(ProofError::api("list pods"))?.items;
        let mut by_workload: BTreeMap<&str, VecDeque<&Pod>> = BTreeMap::new();
        for pod in &all {
            let app = pod.labels().get("app").map(String::as_str).unwrap_or_default();
            by_workload.entry(app).or_default().push_back(pod);
        }
        let busy = self.put_aside(STAY).await?;
        // With all of them ill at once it would be a storm, in which nothing is done.
        let most_at_once = self.beds.len() / 2;
        let mut ill = self.beds.values().filter(|bed| bed.ill_since.is_some()).count();
        for (name, bed) in &mut self.beds {
            let Some(pods_of) = by_workload.get(name.as_str()) else { continue };
            let well = pods_of.len() == 2 && pods_of.iter().all(|pod| kubelet::serves(pod));
            match bed.ill_since {
                Some((begun, since)) => {
                    if well && !busy.contains(name) {
                        bed.ill_since = None;
                        let ended = Timestamp::now();
                        self.episodes.push(Episode { workload: name.clone(), begun, ended });
                    } else if since.elapsed() > PATIENCE {
                        bed.ill_since = None;
                        self.lost += 1;
                    }
                }
                None if well && !busy.contains(name) && self.begun < most && ill < most_at_once => {
                    self.begun += 1;
                    ill += 1;
                    bed.ill_since = Some((Timestamp::now(), Instant::now()));
                    let most = if bed.action == ActionKind::EvictPod { 1 } else { 2 };
                    objects::sicken(&pods, name, most).await?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Keeps what ended long enough ago here and takes it off the cluster; gives the workloads of what is open.
    async fn put_aside(&mut self, stay: Duration) -> Result<BTreeSet<String>, ProofError> {
        let api: Api<Action> = plans::namespaced(&self.stage.client, PLACE);
        let all = api.list(&ListParams::default()).await.map_err(ProofError::api("list actions"))?.items;
        let mut open = BTreeSet::new();
        for action in all {
            if !audit::ended(&action) {
                open.insert(action.spec.workload_ref.name);
                continue;
            }
            let closed = action.status.as_ref().and_then(|status| status.instants.as_ref()?.closed);
            let long = closed.is_none_or(|closed| {
                Timestamp::now().duration_since(closed.timestamp()).unsigned_abs() >= stay
            });
            if long {
                let name = action.name_any();
                let gone = api.delete(&name, &DeleteParams::default()).await;
                gone.map_err(ProofError::api("put an action aside"))?;
                self.aside.insert(name, action);
            }
        }
        Ok(open)
    }
}
