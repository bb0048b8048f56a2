//! What a restart must not forget of sizes and of runs: kept in the statuses of `Forecast` objects. Of sizes, which every
//! replica decides, it is read once at the start; of runs, which only the leader orders, whenever a replica becomes it.

use crate::forecasts::SeriesKey;
use crate::jobs::kept::{RunsMemory, runs};
use homeostat_cluster::ClusterError;
use homeostat_cluster::forecasts::KeptTexts;
use homeostat_crds::v1alpha1::forecast::MAX_MEMORY;
use homeostat_scale::outlook::KeptLoad;
use homeostat_scale::size::standing::KeptPod;
use homeostat_scale::sizer::KeptSize;
use kube::Client;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Tries to read it before a start without it.
const TRIES: u32 = 6;

/// What is kept of one series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// What was decided, and what one replica carries; with the requests only.
    pub size: Option<KeptSize>,
    /// The load of the last two weeks.
    pub load: Option<KeptLoad>,
    /// What the busiest of its pods used; with the requests only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<KeptPod>,
}

/// By workload and signal.
pub type Memory = Arc<BTreeMap<SeriesKey, Kept>>;

impl Kept {
    /// As it is written, and how many of its parts found no room; `None` when there is nothing to keep. What takes longest to
    /// be learnt anew stays longest: the load of two weeks, then what pods used, of which a day says enough. What was
    /// decided is small, and stays.
    pub fn text(self) -> (Option<String>, usize) {
        let whole = self.text_of();
        if whole.as_ref().is_none_or(|text| text.len() <= MAX_MEMORY) {
            return (whole, 0);
        }
        let without = Self { pod: None, ..self };
        let fewer = usize::from(self.pod.is_some());
        match without.text_of() {
            Some(text) if text.len() > MAX_MEMORY => {
                let least = Self { load: None, ..without };
                (least.text_of().filter(|text| text.len() <= MAX_MEMORY), fewer + 1)
            }
            text => (text, fewer),
        }
    }

    fn text_of(&self) -> Option<String> {
        (self != &Self::default()).then(|| serde_json::to_string(self).ok()).flatten()
    }
}

/// Reads what earlier runs kept. What cannot be read is learnt anew; a missing right or an API server that is away for
/// long delays the first decision by half a minute and no more.
pub async fn load(client: &Client, namespaces: &BTreeSet<String>, stop: &CancellationToken) -> Memory {
    let read_all = || homeostat_cluster::forecasts::kept(client, namespaces);
    patiently("sizes", stop, read_all).await.map(|texts| Arc::new(read(&texts))).unwrap_or_default()
}

/// Reads what was kept of runs, as [`load`]; `None` when it cannot be read.
pub async fn load_runs(
    client: &Client,
    namespaces: &BTreeSet<String>,
    stop: &CancellationToken,
) -> Option<RunsMemory> {
    let read_all = || homeostat_cluster::forecasts::kept_runs(client, namespaces);
    let texts = patiently("runs", stop, read_all).await?;
    let (memory, aside) = runs(&texts);
    for (workload, why) in aside {
        tracing::warn!(%workload, why, "What was kept of its runs is set aside; it is learnt anew");
    }
    Some(memory)
}

/// Asks again for half a minute.
async fn patiently<F: Future<Output = Result<KeptTexts, ClusterError>>>(
    what: &'static str,
    stop: &CancellationToken,
    ask: impl Fn() -> F,
) -> Option<KeptTexts> {
    for attempt in 1..=TRIES {
        match ask().await {
            Ok(texts) => return Some(texts),
            Err(error) if attempt == TRIES => {
                tracing::warn!(%error, what, "What was kept cannot be read; it is learnt anew");
                break;
            }
            Err(error) => tracing::debug!(%error, what, attempt, "What was kept is read again"),
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(Duration::from_secs(1 << attempt.min(3))) => {}
        }
    }
    None
}

fn read(texts: &BTreeMap<SeriesKey, String>) -> BTreeMap<SeriesKey, Kept> {
    let mut memory = BTreeMap::new();
    for (key, text) in texts {
        match serde_json::from_str(text) {
            Ok(kept) => {
                memory.insert(key.clone(), kept);
            }
            Err(error) => {
                let (workload, signal) = key;
                tracing::warn!(%workload, %signal, %error, "What was kept of it is not readable; it is learnt anew");
            }
        }
    }
    memory
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use homeostat_knowledge::ObjectKey;
    use homeostat_knowledge::forecast::load_signal;
    use homeostat_scale::outlook::{LoadModel, OutlookConfig};

    #[test]
    fn what_is_written_comes_back_and_nonsense_is_left_out() {
        let mut model = LoadModel::new(&OutlookConfig::default());
        for minute in 0..60 {
            model.observe(minute, Some(7.0));
        }
        let kept = Kept { load: model.kept(), ..Kept::default() };
        let order = (ObjectKey::new("shop", "order"), load_signal("cpu"));
        let cart = crate::forecasts::requests(&ObjectKey::new("shop", "cart"));
        let texts = BTreeMap::from([(order.clone(), kept.clone().text().0.unwrap()), (cart, "{".to_owned())]);
        assert_eq!(read(&texts), BTreeMap::from([(order, kept)]));
        assert_eq!(Kept::default().text(), (None, 0));
        let before = r#"{"size":null,"load":null}"#.to_owned();
        let key = crate::forecasts::requests(&ObjectKey::new("shop", "old"));
        assert_eq!(read(&BTreeMap::from([(key, before)])).len(), 1, "written before pods were kept");
    }

    #[test]
    fn what_has_no_room_is_what_is_learnt_anew_soonest() {
        // As large as a load of two weeks and a week of pods ever are.
        let load = |letters: usize| {
            serde_json::from_value(
                serde_json::json!({ "first": 1, "most": 1.0, "values": "A".repeat(letters) }),
            )
            .unwrap()
        };
        let mut history = homeostat_scale::size::standing::History::default();
        for minute in 0..10_080 {
            let bytes = Some(3e8 + minute as f64 * 1e5);
            history.look(minute, homeostat_scale::size::standing::Glance { cores: Some(0.5), bytes });
        }
        let kept = |letters| Kept { size: None, load: Some(load(letters)), pod: history.kept() };
        assert_eq!(kept(2_688).text().1, 0, "both fit");
        let (text, dropped) = kept(7_500).text();
        assert_eq!(dropped, 1);
        assert!(text.is_some_and(|text| text.len() <= MAX_MEMORY && !text.contains("pod")));
        assert_eq!(kept(9_000).text(), (None, 2));
    }
}
