//! What a restart must not forget of the sizes: kept in the statuses of `Forecast` objects, read once at the start.

use crate::forecasts::SeriesKey;
use homeostat_scale::outlook::KeptLoad;
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
}

/// By workload and signal.
pub type Memory = Arc<BTreeMap<SeriesKey, Kept>>;

impl Kept {
    /// As it is written; `None` when there is nothing to keep.
    pub fn text(&self) -> Option<String> {
        (self != &Self::default()).then(|| serde_json::to_string(self).ok()).flatten()
    }
}

/// Reads what earlier runs kept. What cannot be read is learnt anew; a missing right or an API server that is away for
/// long delays the first decision by half a minute and no more.
pub async fn load(client: &Client, namespaces: &BTreeSet<String>, stop: &CancellationToken) -> Memory {
    for attempt in 1..=TRIES {
        match homeostat_cluster::forecasts::kept(client, namespaces).await {
            Ok(texts) => return Arc::new(read(&texts)),
            Err(error) if attempt == TRIES => {
                tracing::warn!(%error, "What was kept of sizes cannot be read; it is learnt anew");
            }
            Err(error) => tracing::debug!(%error, attempt, "What was kept of sizes is read again"),
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(Duration::from_secs(1 << attempt.min(3))) => {}
        }
    }
    Memory::default()
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
        let kept = Kept { size: None, load: model.kept() };
        let order = (ObjectKey::new("shop", "order"), load_signal("cpu"));
        let cart = crate::forecasts::requests(&ObjectKey::new("shop", "cart"));
        let texts = BTreeMap::from([(order.clone(), kept.text().unwrap()), (cart, "{".to_owned())]);
        assert_eq!(read(&texts), BTreeMap::from([(order, kept)]));
        assert_eq!(Kept::default().text(), None);
    }
}
