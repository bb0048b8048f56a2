//! How controllers roll out: which revision an object is or was, and whether new pods come before old ones go.

use super::light::{Interner, Meta};
use homeostat_knowledge::Name;
use serde::Deserialize;

/// Number of the revision, of a Deployment and of its `ReplicaSet`s.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Numbers that a `ReplicaSet` had before, oldest first, with commas between. The Deployment controller writes it when a
/// release is made again.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Earlier numbers that are kept of a `ReplicaSet`.
const EARLIER: usize = 10;
/// Digits of the largest number that Kubernetes counts to (64 bits).
const DIGITS: usize = 19;

/// The present number of the revision.
pub(crate) fn revision(meta: &Meta) -> Option<&str> {
    meta.annotations.get(REVISION).map(String::as_str)
}

/// The newest of the earlier numbers, oldest first.
pub(crate) fn earlier_revisions(meta: &Meta, names: &mut Interner) -> Vec<Name> {
    let written = meta.annotations.get(REVISION_HISTORY).map_or("", String::as_str);
    let number = |text: &&str| (1..=DIGITS).contains(&text.len());
    let mut newest: Vec<&str> = written.rsplit(',').map(str::trim).filter(number).take(EARLIER).collect();
    newest.reverse();
    newest.into_iter().map(|number| names.intern(number)).collect()
}

/// How pods are replaced.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Strategy {
    #[serde(rename = "type")]
    type_: Option<String>,
    rolling_update: Option<RollingUpdate>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RollingUpdate {
    max_surge: Option<Share>,
    max_unavailable: Option<Share>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Share {
    Count(i32),
    Percent(String),
}

/// Whether a rollout of a Deployment starts new pods before it takes old ones away.
pub(crate) fn deployment_surges(strategy: Option<&Strategy>, replicas: i32) -> bool {
    surges(strategy, replicas, (0.25, 0.25))
}

/// The same of a `DaemonSet`.
pub(crate) fn daemon_set_surges(strategy: Option<&Strategy>, replicas: i32) -> bool {
    surges(strategy, replicas, (0.0, 1.0))
}

/// Rounding as Kubernetes does it: surge up, unavailable down, and one unavailable when both come out as zero. `defaults`
/// of surge and unavailable: a share below 1, a count from 1 on.
fn surges(strategy: Option<&Strategy>, replicas: i32, defaults: (f64, f64)) -> bool {
    let rolling = strategy
        .is_none_or(|strategy| strategy.type_.as_deref().unwrap_or("RollingUpdate") == "RollingUpdate");
    let update = strategy.and_then(|strategy| strategy.rolling_update.clone()).unwrap_or_default();
    let wanted = f64::from(replicas.max(0));
    let amount = |share: Option<&Share>, default: f64| match share {
        Some(Share::Count(count)) => f64::from(*count),
        Some(Share::Percent(text)) => {
            text.trim_end_matches('%').parse::<f64>().map_or(0.0, |percent| percent / 100.0 * wanted)
        }
        None if default < 1.0 => default * wanted,
        None => default,
    };
    let surge = amount(update.max_surge.as_ref(), defaults.0).ceil();
    let unavailable = amount(update.max_unavailable.as_ref(), defaults.1).floor();
    rolling && surge >= 1.0 && unavailable < 1.0
}
