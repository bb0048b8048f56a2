//! A leader that is frozen and wakes up when another one leads: two processes of the shipped binary. What the old one
//! believes must not reach the cluster.

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

/// Where it takes place.
const PLACE: &str = "frozen";
/// Namespace and name of the Lease.
const LEASE: (&str, &str) = ("kube-system", "homeostat");
/// Another process leads, and acts, within this time.
const TAKEN_OVER: Duration = Duration::from_mins(2);
/// A woken process is watched so long.
const WATCHED: Duration = Duration::from_secs(3);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

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

/// Runs it.
pub async fn run(stage: &Stage, times: usize, seed: u64, live: &Live) -> Result<FrozenLeader, ProofError> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let illnesses = Illnesses::begin(stage, PLACE).await?;
    let mut products = [Product::start(stage, "a", PLACE).await?, Product::start(stage, "b", PLACE).await?];
    let mut failovers = Vec::new();
    let mut zombie = 0;
    for number in 0..times {
        let from = Timestamp::now();
        let leader = acting(stage, &mut products, from, None).await?;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1_000))).await;
        products[leader].victim.freeze(true);
        let frozen = Timestamp::now();
        let next = acting(stage, &mut products, frozen, Some(leader)).await?;
        let taken = effects(stage, &products[next].name, frozen)?.first().copied().unwrap_or(frozen);
        failovers.push(taken.duration_since(frozen).as_secs_f64());
        let led = Timestamp::now();
        products[leader].victim.freeze(false);
        tokio::time::sleep(WATCHED).await;
        // Only while the other one still leads.
        if holder(stage).await?.is_some_and(|holder| holds(&holder, &products[next].name)) {
            let late = effects(stage, &products[leader].name, led)?;
            zombie += late.len();
            for at in late {
                live.plain(&format!("            an effect of the old leader at {at}, woken at {led}"));
            }
        }
        if (number + 1).is_multiple_of(10) {
            live.say(format!("frozen    {} times, {zombie} zombie effects", number + 1));
        }
    }
    for product in products {
        product.end().await;
    }
    drop(illnesses);
    stage.forget(PLACE).await;
    failovers.sort_by(f64::total_cmp);
    Ok(FrozenLeader {
        times,
        zombie,
        failover_median_seconds: failovers.get(failovers.len() / 2).copied().unwrap_or_default(),
        failover_maximum_seconds: failovers.last().copied().unwrap_or_default(),
    })
}

/// Waits until a process other than `not` holds the Lease and has had an effect since; which one.
async fn acting(
    stage: &Stage,
    products: &mut [Product; 2],
    since: Timestamp,
    not: Option<usize>,
) -> Result<usize, ProofError> {
    let end = Instant::now() + TAKEN_OVER;
    loop {
        for (number, product) in products.iter_mut().enumerate() {
            // A frozen process is left alone.
            if not != Some(number) {
                product.keep()?;
            }
        }
        let holder = holder(stage).await?.unwrap_or_default();
        let number = products.iter().position(|product| holds(&holder, &product.name));
        if let Some(number) = number.filter(|number| not != Some(*number))
            && !effects(stage, &products[number].name, since)?.is_empty()
        {
            return Ok(number);
        }
        if Instant::now() > end {
            return Err(ProofError::Timeout { what: "an effect of a leader".to_owned(), limit: TAKEN_OVER });
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn holder(stage: &Stage) -> Result<Option<String>, ProofError> {
    let leases: Api<Lease> = Api::namespaced(stage.client.clone(), LEASE.0);
    let lease = leases.get_opt(LEASE.1).await.map_err(ProofError::api("read the Lease"))?;
    Ok(lease.and_then(|lease| lease.spec?.holder_identity))
}

/// `NAMESPACE/NAME_START` is what a process calls itself in the Lease.
fn holds(holder: &str, name: &str) -> bool {
    holder
        .rsplit_once('/')
        .is_some_and(|(_, rest)| rest.rsplit_once('_').is_some_and(|(held, _)| held == name))
}

/// Times of the effects of a process since an instant.
fn effects(stage: &Stage, name: &str, since: Timestamp) -> Result<Vec<Timestamp>, ProofError> {
    let agent = agent(name);
    let found = stage.audited(|entry| {
        entry.is_effect() && entry.namespace == PLACE && entry.agent == agent && entry.at > since
    })?;
    Ok(found.into_iter().map(|entry| entry.at).collect())
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
