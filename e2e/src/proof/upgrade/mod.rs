//! Upgrades of the shipped binary, and a step back, while many actions are open: each version goes on with what the one
//! before it left. Each illness must meet exactly one effect, each action must end, and what a version of the future wrote
//! is left alone by those that cannot read it.

mod newer;
mod ward;

use std::path::{Path, PathBuf};
use std::time::Duration;

use homeostat_crds::ActionKind;
use homeostat_crds::v1alpha1::{Action, Playbook};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::audit::{self, Entry};
use super::error::ProofError;
use super::frozen::{LEASES, holds};
use super::kill_loop::workload_of;
use super::objects;
use super::product::{Product, Start, beside};
use super::stage::Stage;
use crate::demo::live::Live;
use newer::Newer;
use ward::Ward;

/// The product's own Lease.
const LEASE: &str = "homeostat";
/// Name of the playbook that is replaced while this runs.
const PLAYBOOK: &str = "crash-again-backs-off";
/// So many actions are open within this time, or as many as are counts.
const OPEN: Duration = Duration::from_secs(20);
/// Another process leads within this time: after a kill the Lease has to run out first.
const LEADS: Duration = Duration::from_mins(2);
/// Each illness meets its effect, and each action ends, within this time after a change; longer is lost.
const PATIENCE: Duration = Duration::from_mins(4);
/// A process that may act is watched so long for what it must not do.
const WATCHED: Duration = Duration::from_secs(3);
/// Longest pause between the last illnesses and the end of a process, milliseconds: some actions are just begun then.
const LONGEST_PAUSE: u64 = 1_500;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// How it is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Binaries of earlier versions, oldest first.
    pub earlier: &'a [PathBuf],
    /// Illnesses before each change.
    pub open: usize,
    /// Seed of the times.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Upgrade {
    /// The versions, oldest first; `this` is the one of this program.
    pub versions: Vec<String>,
    /// Changes of the version; 0 where it did not run.
    pub changes: usize,
    /// Actions that were open at the changes, all together.
    pub open: usize,
    /// The fewest at one change.
    pub least_open: usize,
    /// Illnesses.
    pub illnesses: usize,
    /// Effects by the API server's audit log.
    pub effects: usize,
    /// Illnesses with more than one effect.
    pub double: usize,
    /// Illnesses without an effect, and actions that did not end.
    pub lost: usize,
    /// What of audit log and actions does not fit.
    pub mismatches: usize,
    /// Each version that met what a version of the future wrote said so, left it and its target alone, and went on with
    /// the rest.
    pub refused_unknown: bool,
    /// How long it took, seconds.
    pub seconds: f64,
}

impl Upgrade {
    /// Nothing came twice, nothing was lost, and there was something to lose. What did not run proves nothing wrong.
    pub fn holds(&self) -> bool {
        self.changes == 0
            || (self.double + self.lost + self.mismatches == 0 && self.least_open > 0 && self.refused_unknown)
    }

    /// For the table.
    pub fn text(&self) -> String {
        if self.changes == 0 {
            return "not run: `make upgrade` builds earlier versions for it".to_owned();
        }
        let Self { changes, open, least_open, illnesses, effects, double, lost, mismatches, .. } = self;
        let refused = if self.refused_unknown { "left alone" } else { "NOT left alone, or not told of" };
        format!(
            "{}: {changes} changes, {open} actions open at them (at least {least_open}); {illnesses} illnesses, \
             {effects} effects in {:.0} s: {double} double, {lost} lost, {mismatches} do not fit; what a newer version \
             wrote was {refused}",
            self.versions.join(", "),
            self.seconds
        )
    }
}

/// A binary, and what it is called.
#[derive(Clone, Debug, PartialEq)]
struct Version {
    name: String,
    binary: PathBuf,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Asked,
    Killed,
}

impl End {
    const ALL: [Self; 2] = [Self::Asked, Self::Killed];

    fn signal(self) -> &'static str {
        match self {
            Self::Asked => "SIGTERM",
            Self::Killed => "SIGKILL",
        }
    }

    fn place(self) -> &'static str {
        match self {
            Self::Asked => "upgrade-asked",
            Self::Killed => "upgrade-killed",
        }
    }
}

/// There is at least one earlier version, and each is a file.
pub fn check(earlier: &[PathBuf]) -> Result<(), ProofError> {
    let how = "build some with `scripts/earlier REV...`, or run `make upgrade`";
    if earlier.is_empty() {
        let text = format!("the upgrades need binaries of earlier versions, --earlier PATH: {how}");
        return Err(ProofError::Broken(text));
    }
    match earlier.iter().find(|path| !path.is_file()) {
        Some(path) => Err(ProofError::Broken(format!("--earlier {}: no such file; {how}", path.display()))),
        None => Ok(()),
    }
}

/// Runs it: once with processes that are asked to end, once with processes that are killed.
pub async fn run(stage: &Stage, settings: Settings<'_>, live: &Live) -> Result<Upgrade, ProofError> {
    check(settings.earlier)?;
    let begun = Instant::now();
    let mut versions = Vec::new();
    for path in settings.earlier {
        let binary = std::path::absolute(path).map_err(ProofError::io("find", path))?;
        versions.push(Version { name: name_of(&binary), binary });
    }
    versions.push(Version { name: "this".to_owned(), binary: beside(&stage.program)? });
    let steps = sequence(&versions);
    let mut found = Upgrade {
        versions: versions.iter().map(|version| version.name.clone()).collect(),
        least_open: usize::MAX,
        refused_unknown: true,
        ..Upgrade::default()
    };
    objects::create(&stage.client, None, &playbook()).await?;
    let outcome = rounds(stage, settings, &steps, &mut found, live).await;
    // The other parts run with the shipped one.
    let playbooks: Api<Playbook> = Api::all(stage.client.clone());
    let _gone = playbooks.delete(PLAYBOOK, &DeleteParams::default()).await;
    outcome?;
    found.seconds = begun.elapsed().as_secs_f64();
    Ok(found)
}

async fn rounds(
    stage: &Stage,
    settings: Settings<'_>,
    steps: &[&Version],
    found: &mut Upgrade,
    live: &Live,
) -> Result<(), ProofError> {
    for (number, end) in End::ALL.into_iter().enumerate() {
        let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
        random.set_stream(number as u64);
        // Beside those of the changes one for what a newer version wrote, and one after each start beside that.
        let beds = steps.len().saturating_sub(1) * settings.open + 3;
        live.say(format!("upgrades  {beds} workloads for the round with {}", end.signal()));
        let ward = Ward::begin(stage, end.place(), beds).await?;
        let record = stage.out.join(format!("{}.record", end.place()));
        let _before = std::fs::remove_dir_all(&record);
        let mut round = Round {
            stage,
            live,
            end,
            record,
            ward,
            newer: None,
            illnesses: settings.open,
            begun: Timestamp::now(),
        };
        round.go(steps, &mut random, found).await?;
        round.reconcile(found).await?;
        round.ward.forget().await;
    }
    Ok(())
}

/// One version after the other, then one step back, and forth again.
fn sequence(versions: &[Version]) -> Vec<&Version> {
    let back = versions.iter().rev().nth(1);
    versions.iter().chain(back).chain(versions.last()).collect()
}

/// The folder of a binary says which version it is.
fn name_of(binary: &Path) -> String {
    let folder = binary.parent().and_then(Path::file_name);
    folder.map_or_else(|| binary.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The shipped one, but for the time that it waits for its effect: actions are kept open until the next version leads.
fn playbook() -> Value {
    json!({
        "apiVersion": "homeostat.dev/v1alpha1", "kind": "Playbook", "metadata": {"name": PLAYBOOK},
        "spec": {
            "trigger": {"findings": ["BackingOff"], "minimumConfidence": "0.5"},
            "ladder": [
                {
                    "action": "EvictPod", "after": "Immediately", "times": 2,
                    "verify": {"withinSeconds": 600, "expect": "ObjectivesMet"},
                },
                {"action": "Notify", "severity": "Critical"},
            ],
        },
    })
}

/// All versions after one another, each ended in the same way.
struct Round<'a> {
    stage: &'a Stage,
    live: &'a Live,
    end: End,
    /// The record of decisions: on one volume, whatever the version.
    record: PathBuf,
    ward: Ward<'a>,
    newer: Option<Newer>,
    illnesses: usize,
    begun: Timestamp,
}

impl Round<'_> {
    async fn go(
        &mut self,
        steps: &[&Version],
        random: &mut ChaCha8Rng,
        found: &mut Upgrade,
    ) -> Result<(), ProofError> {
        let mut rest = steps.iter().copied().enumerate();
        let Some((number, first)) = rest.next() else { return Ok(()) };
        let mut before = first;
        let mut product = self.start(number, first).await?;
        for (number, version) in rest {
            self.fall_ill(&mut product, Duration::from_millis(random.random_range(0..=LONGEST_PAUSE)))
                .await?;
            match self.end {
                End::Asked => product.close().await,
                End::Killed => product.end().await,
            }
            let open = self.ward.open().await?.len();
            found.changes += 1;
            found.open += open;
            found.least_open = found.least_open.min(open);
            self.live.say(format!(
                "upgrades  {} to {} by {}: {open} actions open",
                before.name,
                version.name,
                self.end.signal()
            ));
            // The last but one is older than the one before it.
            if number + 2 == steps.len() {
                self.newer = Some(Newer::put(self.stage, &mut self.ward).await?);
            }
            product = self.start(number, version).await?;
            self.recover(&mut product).await?;
            found.refused_unknown &= self.refuses(&mut product).await?;
            before = version;
        }
        product.close().await;
        Ok(())
    }

    /// Starts a version and waits until it leads.
    async fn start(&self, number: usize, version: &Version) -> Result<Product, ProofError> {
        let name = format!("{}-{number}", self.end.place());
        let start = Start {
            binary: version.binary.clone(),
            name: name.clone(),
            namespaces: Some(self.ward.places.join(",")),
            files: name,
            record: self.record.clone(),
            lease: None,
            memory: None,
        };
        let mut product = Product::begin(self.stage, start).await?;
        let leases: Api<Lease> = Api::namespaced(self.stage.client.clone(), LEASES);
        let end = Instant::now() + LEADS;
        loop {
            product.keep()?;
            let lease = leases.get_opt(LEASE).await.map_err(ProofError::api("read the Lease"))?;
            let holder = lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
            if holds(&holder, &product.name) {
                return Ok(product);
            }
            if Instant::now() > end {
                let what = format!(
                    "that {} leads, whose log is {},",
                    version.binary.display(),
                    product.log.display()
                );
                return Err(ProofError::Timeout { what, limit: LEADS });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Makes workloads ill and waits until their actions are open, the last fifth of them or not.
    async fn fall_ill(&mut self, product: &mut Product, pause: Duration) -> Result<(), ProofError> {
        let early = self.illnesses * 4 / 5;
        self.ward.fall_ill(early).await?;
        let end = Instant::now() + OPEN;
        while self.ward.open().await?.len() < early && Instant::now() < end {
            product.keep()?;
            tokio::time::sleep(LOOK).await;
        }
        self.ward.fall_ill(self.illnesses - early).await?;
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Lets new pods get ready until everybody is well and no action is open; what is not in time is counted at the end.
    async fn recover(&self, product: &mut Product) -> Result<(), ProofError> {
        let end = Instant::now() + PATIENCE;
        loop {
            product.keep()?;
            let (ill, open) = (self.ward.tend().await?, self.ward.open().await?.len());
            if ill + open == 0 {
                return Ok(());
            }
            if Instant::now() > end {
                self.live.plain(&format!("            {ill} still ill, {open} actions still open"));
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The process leaves what a newer version wrote alone and says so, while it does act on another workload.
    async fn refuses(&mut self, product: &mut Product) -> Result<bool, ProofError> {
        let Some(newer) = &self.newer else { return Ok(true) };
        self.ward.fall_ill(1).await?;
        self.recover(product).await?;
        tokio::time::sleep(WATCHED).await;
        let wrong = newer.wrong(self.stage, &product.log).await?;
        for text in &wrong {
            self.live.plain(&format!("            {text}"));
        }
        Ok(wrong.is_empty())
    }

    /// Counts by the API server's audit log.
    async fn reconcile(&self, found: &mut Upgrade) -> Result<(), ProofError> {
        let here = |entry: &Entry| self.ward.places.contains(&entry.namespace) && entry.at >= self.begun;
        let (mut sure, unsure) = (self.stage.audited(here)?, self.stage.unsure(here)?);
        // What only tells people has no effect of which the audit log could say anything.
        let tells = |action: &Action| action.spec.action == ActionKind::Notify;
        let (told, actions): (Vec<Action>, Vec<Action>) =
            self.ward.actions().await?.into_iter().partition(tells);
        sure.extend(audit::came_after_all(&unsure, &sure, &actions));
        let told: Vec<String> = told.iter().map(ResourceExt::name_any).collect();
        let ours = |entry: &&Entry| entry.group != "homeostat.dev" || !told.contains(&entry.name);
        // Nobody notes the API server's names of requests here: an effect belongs to an action by target and time.
        let judged = audit::compare(&sure.iter().filter(ours).collect::<Vec<_>>(), &actions, &[]);
        let open = self.ward.open().await?.len();
        let (double, none) = count(self.ward.fallen.iter().map(String::as_str), &sure, &unsure, self.live);
        for text in judged.mismatches.iter().take(20) {
            self.live.plain(&format!("            {text}"));
        }
        found.illnesses += self.ward.fallen.len();
        found.effects += judged.effects;
        found.double += double;
        found.lost += none + open;
        found.mismatches += judged.mismatches.len();
        Ok(())
    }
}

/// Workloads with more than one effect, and without any. Each was ill once.
fn count<'a>(
    fallen: impl Iterator<Item = &'a str>,
    sure: &[Entry],
    unsure: &[Entry],
    live: &Live,
) -> (usize, usize) {
    let (mut double, mut none) = (0, 0);
    for workload in fallen {
        let of = |entries: &[Entry]| {
            entries.iter().filter(|entry| entry.is_effect() && workload_of(&entry.name) == workload).count()
        };
        // A request whose process was killed while it was answered is what helped, where nothing else is seen.
        let count = match of(sure) {
            0 => of(unsure).min(1),
            count => count,
        };
        double += usize::from(count > 1);
        none += usize::from(count == 0);
        if count != 1 {
            live.plain(&format!("            {workload} had {count} effects"));
        }
    }
    (double, none)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str) -> Version {
        Version { name: name.to_owned(), binary: PathBuf::from(format!("/target/earlier/{name}/homeostat")) }
    }

    #[test]
    fn each_version_is_followed_by_the_next_and_then_there_is_one_step_back_and_forth_again() {
        let versions = ["a", "b", "c", "this"].map(version);
        let names: Vec<&str> = sequence(&versions).iter().map(|version| version.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "this", "c", "this"]);
        assert_eq!(name_of(&version("c").binary), "c");
    }

    #[test]
    fn an_effect_twice_or_none_is_counted_and_one_of_which_nobody_knows_may_be_what_helped() {
        let effect = |name: &str, sure| Entry {
            audit_id: "a-1".to_owned(),
            verb: "create".to_owned(),
            agent: String::new(),
            group: String::new(),
            resource: "pods/eviction".to_owned(),
            namespace: "upgrade-asked-0".to_owned(),
            name: format!("{name}-6c5d-x"),
            at: Timestamp::UNIX_EPOCH,
            done: Timestamp::UNIX_EPOCH,
            sure,
            body: Value::Null,
        };
        let sure = [effect("order-001", true), effect("order-002", true), effect("order-002", true)];
        let unsure = [effect("order-001", false), effect("order-003", false)];
        let live = Live::start();
        let found = |names: &[&'static str]| count(names.iter().copied(), &sure, &unsure, &live);
        assert_eq!(found(&["order-001", "order-003"]), (0, 0));
        assert_eq!(found(&["order-002", "order-004"]), (1, 1));
    }

    #[test]
    fn changes_with_nothing_open_or_a_version_that_touches_what_it_cannot_read_prove_nothing() {
        let good = Upgrade { changes: 10, least_open: 1, refused_unknown: true, ..Upgrade::default() };
        assert!(good.holds() && Upgrade::default().holds());
        assert!(!Upgrade { least_open: 0, ..good.clone() }.holds());
        assert!(!Upgrade { double: 1, ..good.clone() }.holds());
        let touched = Upgrade { refused_unknown: false, ..good };
        assert!(!touched.holds() && touched.text().contains("NOT left alone"), "{}", touched.text());
    }

    #[test]
    fn without_a_binary_it_is_said_how_to_build_one() {
        for earlier in [vec![], vec![PathBuf::from("/nowhere/homeostat")]] {
            let error = check(&earlier).unwrap_err().to_string();
            assert!(error.contains("scripts/earlier"), "{error}");
        }
    }
}
