//! A leader that is frozen and wakes up when another one leads: two processes of the shipped binary. What the old one
//! believes must not reach the cluster.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::error::ProofError;
use super::product::{Illnesses, Product, agent};
use super::stage::Stage;
use crate::demo::live::Live;

/// Pairs of processes side by side, each with a namespace and a Lease of its own: the next leader comes after 15 s at
/// the soonest, so one after the other it would take more than an hour.
const LANES: usize = 10;
/// Workloads of a pair, and the pause between two illnesses: so many that the next leader finds some, and so few that the one
/// API server of all pairs answers at once. Where it does not, the kill switch cannot be read and nothing is done.
const WORKLOADS: usize = 20;
const PAUSE: Duration = Duration::from_secs(3);
/// Namespace of the Lease.
pub const LEASES: &str = "kube-system";
/// Another process leads, and acts, within this time.
const TAKEN_OVER: Duration = Duration::from_mins(2);
/// A woken process is watched so long.
const WATCHED: Duration = Duration::from_secs(3);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FrozenLeader {
    /// How often a leader was frozen.
    pub times: usize,
    /// Effects of a process while another one led.
    pub zombie: usize,
    /// From the freeze to the first effect of the next leader, median, seconds.
    pub failover_median_seconds: f64,
    /// The longest.
    pub failover_maximum_seconds: f64,
}

/// What one pair has to do, and what it found.
struct Pair<'a> {
    stage: &'a Stage,
    place: String,
    products: [Product; 2],
    _illnesses: Illnesses,
}

/// Runs it.
pub async fn run(stage: &Stage, times: usize, seed: u64, live: &Live) -> Result<FrozenLeader, ProofError> {
    let lanes = LANES.min(times).max(1);
    let counter = AtomicUsize::new(0);
    let done = &counter;
    let lane = |number: usize| async move {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number as u64);
        let mut pair = Pair::begin(stage, number).await?;
        let mut failovers = Vec::new();
        let mut zombie = 0;
        // Shared out evenly, the rest to the first of them.
        for _ in 0..times / lanes + usize::from(number < times % lanes) {
            let wait = Duration::from_millis(random.random_range(0..1_000));
            let (failover, late) = pair.freeze(wait, live).await?;
            failovers.push(failover);
            zombie += late;
            let so_far = done.fetch_add(1, Ordering::Relaxed) + 1;
            if so_far.is_multiple_of(20) {
                live.say(format!("frozen    {so_far} times"));
            }
        }
        pair.end().await;
        Ok::<_, ProofError>((failovers, zombie))
    };
    let found = futures::future::try_join_all((0..lanes).map(lane)).await?;
    let zombie = found.iter().map(|(_, zombie)| zombie).sum();
    let mut failovers: Vec<f64> = found.into_iter().flat_map(|(failovers, _)| failovers).collect();
    failovers.sort_by(f64::total_cmp);
    Ok(FrozenLeader {
        times: failovers.len(),
        zombie,
        failover_median_seconds: failovers.get(failovers.len() / 2).copied().unwrap_or_default(),
        failover_maximum_seconds: failovers.last().copied().unwrap_or_default(),
    })
}

impl<'a> Pair<'a> {
    async fn begin(stage: &'a Stage, number: usize) -> Result<Self, ProofError> {
        let place = format!("frozen-{number}");
        let illnesses = Illnesses::begin(stage, &place, WORKLOADS, PAUSE).await?;
        let start =
            async |end: &str| Product::start(stage, &format!("{place}-{end}"), &place, Some(&place)).await;
        let products = [start("a").await?, start("b").await?];
        Ok(Self { stage, place, products, _illnesses: illnesses })
    }

    /// Freezes the leader so long after one of its effects and wakes it when the other one leads and has acted; seconds
    /// until that, and effects of the old one after it.
    async fn freeze(&mut self, wait: Duration, live: &Live) -> Result<(f64, usize), ProofError> {
        let leader = self.acting(Timestamp::now(), None).await?;
        tokio::time::sleep(wait).await;
        self.products[leader].victim.freeze(true);
        let frozen = Timestamp::now();
        let next = self.acting(frozen, Some(leader)).await?;
        let taken = self.effects(next, frozen)?.first().copied().unwrap_or(frozen);
        let led = Timestamp::now();
        self.products[leader].victim.freeze(false);
        tokio::time::sleep(WATCHED).await;
        let mut zombie = 0;
        // Only while the other one still leads.
        if self.holder().await?.is_some_and(|holder| holds(&holder, &self.products[next].name)) {
            for at in self.effects(leader, led)? {
                zombie += 1;
                live.plain(&format!("            an effect of the old leader at {at}, woken at {led}"));
            }
        }
        Ok((taken.duration_since(frozen).as_secs_f64(), zombie))
    }

    /// Waits until a process other than `not` holds the Lease and has had an effect since; which one.
    async fn acting(&mut self, since: Timestamp, not: Option<usize>) -> Result<usize, ProofError> {
        let end = Instant::now() + TAKEN_OVER;
        loop {
            for (number, product) in self.products.iter_mut().enumerate() {
                // A frozen process is left alone.
                if not != Some(number) {
                    product.keep()?;
                }
            }
            let holder = self.holder().await?.unwrap_or_default();
            let number = self.products.iter().position(|product| holds(&holder, &product.name));
            if let Some(number) = number.filter(|number| not != Some(*number))
                && !self.effects(number, since)?.is_empty()
            {
                return Ok(number);
            }
            if Instant::now() > end {
                let what = format!("an effect of a leader in {}", self.place);
                return Err(ProofError::Timeout { what, limit: TAKEN_OVER });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn holder(&self) -> Result<Option<String>, ProofError> {
        let leases: Api<Lease> = Api::namespaced(self.stage.client.clone(), LEASES);
        let lease = leases.get_opt(&self.place).await.map_err(ProofError::api("read the Lease"))?;
        Ok(lease.and_then(|lease| lease.spec?.holder_identity))
    }

    /// Times of the effects of a process since an instant.
    fn effects(&self, number: usize, since: Timestamp) -> Result<Vec<Timestamp>, ProofError> {
        let agent = agent(&self.products[number].name);
        let found = self.stage.audited(|entry| {
            entry.at > since && entry.is_effect() && entry.namespace == self.place && entry.agent == agent
        })?;
        Ok(found.into_iter().map(|entry| entry.at).collect())
    }

    async fn end(self) {
        for product in self.products {
            product.end().await;
        }
        self.stage.forget(&self.place).await;
    }
}

/// `NAMESPACE/NAME_START` is what a process calls itself in the Lease.
pub fn holds(holder: &str, name: &str) -> bool {
    holder
        .rsplit_once('/')
        .is_some_and(|(_, rest)| rest.rsplit_once('_').is_some_and(|(held, _)| held == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lease_names_its_holder() {
        assert!(holds("homeostat-system/a_1795003200000", "a"));
        assert!(!holds("homeostat-system/a_1795003200000", "b"));
        assert!(!holds("", "a"));
    }
}
