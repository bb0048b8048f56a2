//! What is missing of the loads that were asked for or seen before, since when, and how to say it.

use super::{Load, Seen};
use homeostat_knowledge::Name;
use homeostat_knowledge::forecast::SizeTrouble;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Requests that were learnt of before a restart are waited for so long after it, in seconds: whatever sent traces then may
/// not do so any more.
const UNASKED: i64 = 3_600;
/// Gaps, and series of one load, that are named in a sentence.
const NAMED: usize = 3;
/// Letters of a series' labels in a sentence.
const LETTERS: usize = 80;

/// What is missing now. As many as there are loads, and requests.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Gaps {
    /// By load: since when, in seconds since 1970, and why, for programs and for people.
    loads: BTreeMap<Name, (i64, SizeTrouble, String)>,
    /// Since when the requests are.
    requests: Option<i64>,
    /// Requests were seen since the start.
    asked: bool,
}

impl Gaps {
    /// Compares what is seen with what was asked for: every load that the Workload names, with all of its series, and the
    /// requests when it is known what a replica carries of them. Without a replica there are none that could be missing.
    pub fn look(&mut self, now: i64, began: i64, seen: &Seen<'_>, per_replica: Option<f64>) {
        self.asked |= seen.requests.rate.is_some();
        let known = per_replica.is_some() && (self.asked || now.saturating_sub(began) < UNASKED);
        let lost = known && seen.requests.rate.is_none() && seen.replicas > 0;
        self.requests = lost.then(|| self.requests.unwrap_or(now));
        let before = std::mem::take(&mut self.loads);
        let since = |name: &Name| before.get(name).map_or(now, |(since, ..)| *since);
        let faults = seen.loads.iter().filter_map(|load| Some((load.name.clone(), fault(load)?)));
        self.loads = faults.map(|(name, (what, why))| (name.clone(), (since(&name), what, why))).collect();
    }

    /// Since when the first of them is missing; `None` when nothing is.
    pub fn since(&self) -> Option<i64> {
        self.loads.values().map(|(since, ..)| *since).chain(self.requests).min()
    }

    /// What is missing, for programs.
    pub fn troubles(&self) -> impl Iterator<Item = SizeTrouble> {
        let requests = self.requests.map(|_| SizeTrouble::RequestsNotSeen);
        self.loads.values().map(|(_, what, _)| *what).chain(requests)
    }

    /// What is missing, for people; empty when nothing is.
    pub fn words(&self) -> String {
        let requests = self.requests.map(|_| "requests are not seen (server spans over OTLP)".to_owned());
        listed(&self.loads.values().map(|(.., why)| why.clone()).chain(requests).collect::<Vec<_>>())
    }
}

/// A number of replicas that a load may be worth.
pub(super) fn usable(worth: f64) -> bool {
    (0.0..=1e9).contains(&worth)
}

/// What is said of a value that is no load, and what to change. `queried`: it answers a query of PromQL.
pub fn unusable(name: &Name, value: f64, queried: bool) -> String {
    let shown = if value.abs() < 1e7 || value.is_nan() { value.to_string() } else { format!("{value:.2e}") };
    let change = if !queried {
        "correct what sends or serves it"
    } else if !value.is_finite() {
        "where its query divides by zero, divide by clamp_min(DIVISOR, 1), or leave such answers out with \
         (QUERY) >= 0 or vector(0)"
    } else if value < 0.0 {
        "correct its query; where less than nothing is nothing, with clamp_min(QUERY, 0)"
    } else {
        "correct its query, or how much of it one replica carries"
    };
    format!("signal {name} gave {shown}, which is no load: {change}")
}

/// What is wrong with a load.
fn fault(load: &Load) -> Option<(SizeTrouble, String)> {
    let Load { name, value, per_replica, silent, .. } = load;
    match value {
        None => {
            let why = load.unsent.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            Some((SizeTrouble::SignalNotSeen, format!("signal {name} is not seen{why}")))
        }
        Some(value) if !usable(value / per_replica) => {
            Some((SizeTrouble::SignalNotUsable, unusable(name, *value, load.unsent.is_none())))
        }
        Some(_) if silent.is_empty() => None,
        Some(_) => {
            let short = |series: &Name| series.chars().take(LETTERS).collect();
            let silent: Vec<String> = silent.iter().map(short).collect();
            let why = format!("series {} of signal {name} is not seen any more", listed(&silent));
            Some((SizeTrouble::SeriesNotSeen, why))
        }
    }
}

/// The first few, and how many more there are.
fn listed(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMED);
    let first = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}
