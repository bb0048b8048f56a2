//! What people allow in the whole cluster: the `ControlPlane` object after validation.

use super::Level;
use crate::entity::Name;
use crate::ids::Uid;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The validated `ControlPlane` object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ControlPolicy {
    /// UID; empty when the object does not exist.
    pub uid: Uid,
    /// `metadata.generation`.
    pub generation: i64,
    /// Kill switch.
    pub kill_switch: KillSwitch,
    /// No tenant's level counts above this.
    pub ceiling: Level,
    /// Actions under way in the whole cluster.
    pub in_flight: u32,
    /// Effects per hour in the whole cluster.
    pub per_hour: u32,
    /// Changes of size by forecasts under way in the whole cluster; they count apart from the other actions.
    #[serde(default = "fifty")]
    pub scaling_in_flight: u32,
    /// Changes of size by forecasts per hour in the whole cluster.
    #[serde(default = "three_thousand")]
    pub scaling_per_hour: u32,
    /// Actions on runs whose turn it is under way in the whole cluster; they count apart too.
    #[serde(default = "forty_eight")]
    pub runs_in_flight: u32,
    /// Actions on runs per hour in the whole cluster.
    #[serde(default = "twenty_thousand")]
    pub runs_per_hour: u32,
    /// Nodes that may be acted on at once.
    #[serde(default = "one_node")]
    pub nodes_in_flight: u32,
    /// Share of the nodes that may be cordoned by us at once, percent, rounded down.
    #[serde(default = "ten_percent")]
    pub cordoned_percent: u32,
    /// Ceiling for tenants' storm limits, percent.
    pub storm_percent: u32,
    /// Failed verifications in 15 minutes that drop everything to Recommend.
    pub breaker_failures: u32,
    /// The cluster's breaker: when it opened, and when a person last reset it.
    #[serde(default)]
    pub breaker: BreakerLatch,
    /// No new decision is executed for so long after the caches are synced.
    pub warm_up: SignedDuration,
    /// Prometheus to query.
    pub prometheus: Option<PrometheusPolicy>,
    /// What people keep from every action.
    #[serde(default)]
    pub protected: ProtectedPolicy,
}

impl ControlPolicy {
    /// Nodes at once, whatever is set.
    pub const MOST_NODES: u32 = 1;
    /// Percent of the nodes cordoned by us, whatever is set: none of fewer than ten.
    pub const MOST_CORDONED: u32 = 10;
}

fn one_node() -> u32 {
    ControlPolicy::MOST_NODES
}

fn ten_percent() -> u32 {
    ControlPolicy::MOST_CORDONED
}

fn fifty() -> u32 {
    50
}

fn three_thousand() -> u32 {
    3_000
}

fn forty_eight() -> u32 {
    48
}

fn twenty_thousand() -> u32 {
    20_000
}

impl Default for ControlPolicy {
    fn default() -> Self {
        Self {
            uid: Uid::new(""),
            generation: 0,
            kill_switch: KillSwitch::Unreadable,
            ceiling: Level::ActBounded,
            in_flight: 10,
            per_hour: 60,
            scaling_in_flight: fifty(),
            scaling_per_hour: three_thousand(),
            runs_in_flight: forty_eight(),
            runs_per_hour: twenty_thousand(),
            nodes_in_flight: one_node(),
            cordoned_percent: ten_percent(),
            storm_percent: 20,
            breaker_failures: 3,
            breaker: BreakerLatch::default(),
            warm_up: SignedDuration::from_secs(60),
            prometheus: None,
            protected: ProtectedPolicy::default(),
        }
    }
}

/// What is stored of the cluster's breaker: it stays open until a person resets it, across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BreakerLatch {
    /// End of the failure that opened it, as the status has it.
    pub opened: Option<Timestamp>,
    /// When a person reset it; failures that ended before do not count.
    pub reset: Option<Timestamp>,
}

impl BreakerLatch {
    /// Since when it is open, as far as it is stored.
    pub fn open_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.opened.filter(|opened| self.counts(*opened, now))
    }

    /// No person has reset what ended then. A reset to come counts when it has come: until then it would keep the
    /// breaker from opening at all.
    pub fn counts(&self, ended: Timestamp, now: Timestamp) -> bool {
        // Stored instants have a resolution of one microsecond.
        let reset = self.reset.filter(|reset| *reset <= now);
        reset.is_none_or(|reset| ended.as_microsecond() > reset.as_microsecond())
    }
}

/// What a person does to reset the cluster's breaker.
pub const RESET_BREAKER: &str = "homeostat resume --breaker, or kubectl annotate controlplanes.homeostat.dev default \
     --overwrite homeostat.dev/breaker-reset-at=$(date -u +%Y-%m-%dT%H:%M:%SZ)";

/// State of the kill switch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KillSwitch {
    /// Effects are allowed.
    Off,
    /// No effects; why and by whom.
    Engaged {
        /// Why.
        reason: Name,
        /// By whom, when said.
        by: Option<Name>,
    },
    /// Not to be read, or the object does not exist: no effects.
    Unreadable,
}

/// What people keep from every action, besides what belongs to the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectedPolicy {
    /// Namespaces in which nothing is touched.
    pub namespaces: BTreeSet<Name>,
    /// Key and value of labels of pods; without a value, any.
    pub labels: Vec<(Name, Option<Name>)>,
}

/// Where to query Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrometheusPolicy {
    /// Base URL.
    pub url: Name,
    /// Time between queries of one signal.
    pub interval: SignedDuration,
    /// Time that one query may take.
    pub timeout: SignedDuration,
    /// Where the bearer token of each query is.
    #[serde(default)]
    pub token: Option<SecretKey>,
}

/// A key of a Secret in Homeostat's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretKey {
    /// Name of the Secret.
    pub secret: Name,
    /// The key within it.
    pub key: Name,
}
