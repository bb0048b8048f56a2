//! The kill switch on the shipped binary: engaged again and again at random moments while it acts. No effect may come
//! later than two seconds after it.

use std::time::Duration;

use homeostat_crds::v1alpha1::ControlPlane;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, Patch};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use super::error::ProofError;
use super::objects::writes;
use super::product::{Illnesses, Product, mend};
use super::stage::Stage;
use crate::demo::live::Live;

/// Where it takes place.
const PLACE: &str = "kill-switch";
/// Workloads, and the pause between two illnesses.
const WORKLOADS: usize = 60;
const PAUSE: Duration = Duration::from_millis(400);
/// No effect may come later than this.
const LIMIT: SignedDuration = SignedDuration::from_secs(2);
/// Effects are looked for so long after the switch.
const WATCHED: Duration = Duration::from_millis(2_600);
/// The process acts again within this time after the switch was released.
const AGAIN: Duration = Duration::from_secs(90);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KillSwitch {
    /// How often it was engaged.
    pub times: usize,
    /// From the switch to the last effect after it, 99th percentile, seconds; 0 where none came.
    pub p99_seconds: f64,
    /// The longest.
    pub maximum_seconds: f64,
    /// Effects that came later than two seconds after it.
    pub late: usize,
    /// Effects between the switches.
    pub effects: usize,
    /// What of the process's record of decisions does not match the API server's audit log, as `homeostat audit match` says
    /// it; empty when all of it does.
    pub mismatch: String,
}

/// Runs it.
pub async fn run(stage: &Stage, times: usize, seed: u64, live: &Live) -> Result<KillSwitch, ProofError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let illnesses = Illnesses::begin(stage, PLACE, WORKLOADS, PAUSE).await?;
    let mut product = Product::start(stage, "switch", PLACE, None).await?;
    let begun = Timestamp::now();
    let mut delays = Vec::new();
    let mut late = 0;
    for number in 0..times {
        let from = Timestamp::now();
        acts(stage, &mut product, from).await?;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1_000))).await;
        set(stage, true).await?;
        // From here on whoever engaged it may rely on it.
        let engaged = Timestamp::now();
        tokio::time::sleep(WATCHED).await;
        let after =
            stage.audited(|entry| entry.is_effect() && entry.namespace == PLACE && entry.at > engaged)?;
        let times: Vec<SignedDuration> = after.iter().map(|entry| entry.at.duration_since(engaged)).collect();
        late += times.iter().filter(|delay| **delay > LIMIT).count();
        delays.push(times.into_iter().max().unwrap_or(SignedDuration::ZERO).as_secs_f64());
        mend(stage, PLACE).await?;
        set(stage, false).await?;
        if (number + 1).is_multiple_of(20) {
            live.say(format!("switch    {} times, {late} late", number + 1));
        }
    }
    let mismatch = product.matched(stage).await?;
    drop(illnesses);
    stage.forget(PLACE).await;
    let effects =
        stage.audited(|entry| entry.is_effect() && entry.namespace == PLACE && entry.at > begun)?.len();
    delays.sort_by(f64::total_cmp);
    let at = (delays.len() * 99).div_ceil(100).saturating_sub(1);
    Ok(KillSwitch {
        times,
        p99_seconds: delays.get(at).copied().unwrap_or_default(),
        maximum_seconds: delays.last().copied().unwrap_or_default(),
        late,
        effects,
        mismatch,
    })
}

/// Waits until the process has an effect after this instant.
async fn acts(stage: &Stage, product: &mut Product, from: Timestamp) -> Result<(), ProofError> {
    let end = Instant::now() + AGAIN;
    loop {
        product.keep()?;
        let acted =
            stage.audited(|entry| entry.is_effect() && entry.namespace == PLACE && entry.at > from)?;
        if !acted.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(ProofError::Timeout { what: "an effect of the product".to_owned(), limit: AGAIN });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Engages the kill switch, or releases it.
pub async fn set(stage: &Stage, engaged: bool) -> Result<(), ProofError> {
    let api: Api<ControlPlane> = Api::all(stage.client.clone());
    let patch = json!({"spec": {"killSwitch": {"engaged": engaged, "reason": "the proof", "by": "proof"}}});
    let set = api.patch("default", &writes(), &Patch::Merge(patch)).await;
    set.map(drop).map_err(ProofError::api("set the kill switch"))
}
