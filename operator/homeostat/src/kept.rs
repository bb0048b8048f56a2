//! What a restart must not forget of sizes and of runs: kept in the statuses of `Forecast` objects. Of sizes, which every
//! replica decides, it is read once at the start; of runs, which only the leader orders, whenever a replica becomes it. The same
//! is put aside of a workload that is away for a while, as one whose spec is invalid or whose target is made anew.

use crate::forecasts::SeriesKey;
use crate::jobs::kept::{RunsMemory, runs};
use homeostat_cluster::ClusterError;
use homeostat_cluster::forecasts::KeptOf;
use homeostat_crds::v1alpha1::forecast::MAX_MEMORY;
use homeostat_knowledge::{SignedDuration, Timestamp, Uid};
use homeostat_scale::outlook::KeptLoad;
use homeostat_scale::size::standing::KeptPod;
use homeostat_scale::sizer::KeptSize;
use kube::Client;
use serde::{Deserialize, Serialize};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Tries to read it before a start without it.
const TRIES: u32 = 6;
/// What waits for its workload is forgotten after so long.
const ASIDE: SignedDuration = SignedDuration::from_hours(1);
/// Series that are put aside, of some 10 kB each at most.
const MOST_ASIDE: usize = 2_000;

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

/// What is kept of series that are not looked at now: what was read at the start, and what was put aside of workloads that went
/// away. It is taken up once, and by the same workload only, by its UID.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    of: BTreeMap<SeriesKey, Aside>,
    dropped: u64,
}

#[derive(Clone, Debug)]
struct Aside {
    uid: Uid,
    /// Since when it waits; `None`: it was read, and nobody has asked since.
    since: Option<Timestamp>,
    kept: Kept,
}

impl Memory {
    /// What was read, each with the UID of its workload.
    pub fn of(read: impl IntoIterator<Item = (SeriesKey, Uid, Kept)>) -> Self {
        let aside = |(series, uid, kept)| (series, Aside { uid, since: None, kept });
        Self { of: read.into_iter().map(aside).collect(), dropped: 0 }
    }

    /// What is known of loads, and the rest: who forecasts needs the first, who sizes the second.
    pub fn apart(self) -> (Self, Self) {
        let (mut loads, mut rest) = (Self::default(), Self::default());
        for (series, Aside { uid, since, mut kept }) in self.of {
            if let Some(load) = kept.load.take() {
                let kept = Kept { load: Some(load), ..Kept::default() };
                loads.of.insert(series.clone(), Aside { uid: uid.clone(), since, kept });
            }
            if kept != Kept::default() {
                rest.of.insert(series, Aside { uid, since, kept });
            }
        }
        (loads, rest)
    }

    /// Takes a part of what is kept of a series, for the workload of this UID. What is of another one of the name is forgotten.
    pub fn take<T>(
        &mut self,
        series: &SeriesKey,
        uid: &Uid,
        part: impl FnOnce(&mut Kept) -> Option<T>,
    ) -> Option<T> {
        let aside = self.of.get_mut(series)?;
        let same = aside.uid == *uid;
        let found = if same { part(&mut aside.kept) } else { None };
        if !same || aside.kept == Kept::default() {
            self.of.remove(series);
        }
        found
    }

    /// Puts aside what is known of a series whose workload went away, as far as there is room.
    pub fn put_aside(&mut self, series: SeriesKey, uid: Uid, kept: Kept, now: Timestamp) {
        if kept == Kept::default() {
            return;
        }
        let room = self.of.len() < MOST_ASIDE;
        let fresh = Aside { uid, since: Some(now), kept };
        match self.of.entry(series) {
            Entry::Occupied(mut known) if known.get().uid == fresh.uid => {
                let known = known.get_mut();
                let Kept { size, load, pod } = fresh.kept;
                known.since = fresh.since;
                known.kept.size = size.or(known.kept.size.take());
                known.kept.load = load.or(known.kept.load.take());
                known.kept.pod = pod.or(known.kept.pod.take());
            }
            Entry::Occupied(mut other) => {
                other.insert(fresh);
            }
            Entry::Vacant(empty) if room => {
                empty.insert(fresh);
            }
            Entry::Vacant(_) => self.dropped = self.dropped.saturating_add(1),
        }
    }

    /// Series that found no room when they were to be put aside, since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Forgets what has waited for its workload for too long.
    pub fn forget(&mut self, now: Timestamp) {
        self.of.retain(|_, aside| now.duration_since(*aside.since.get_or_insert(now)) < ASIDE);
    }
}

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
    patiently("sizes", stop, read_all).await.map(|texts| Memory::of(read(texts))).unwrap_or_default()
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
async fn patiently<T, F: Future<Output = Result<T, ClusterError>>>(
    what: &'static str,
    stop: &CancellationToken,
    ask: impl Fn() -> F,
) -> Option<T> {
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

fn read(texts: KeptOf) -> Vec<(SeriesKey, Uid, Kept)> {
    let mut memory = Vec::new();
    for (key, (uid, text)) in texts {
        match serde_json::from_str(&text) {
            Ok(kept) => memory.push((key, uid, kept)),
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
        let uid = Uid::new("of-order");
        let text = kept.clone().text().0.unwrap();
        let texts =
            BTreeMap::from([(order.clone(), (uid.clone(), text)), (cart, (uid.clone(), "{".to_owned()))]);
        assert_eq!(read(texts), [(order, uid.clone(), kept)]);
        assert_eq!(Kept::default().text(), (None, 0));
        let before = r#"{"size":null,"load":null}"#.to_owned();
        let key = crate::forecasts::requests(&ObjectKey::new("shop", "old"));
        assert_eq!(read(BTreeMap::from([(key, (uid, before))])).len(), 1, "written before pods were kept");
    }

    #[test]
    fn what_is_kept_is_taken_up_once_by_the_same_workload_and_within_an_hour() {
        let at = |minute: i64| Timestamp::from_second(60 * minute).unwrap();
        let series = |name: &str| crate::forecasts::requests(&ObjectKey::new("shop", name));
        let (order, own, other) = (series("order"), Uid::new("own"), Uid::new("other"));
        let mut model = LoadModel::new(&OutlookConfig::default());
        for minute in 0..60 {
            model.observe(minute, Some(7.0));
        }
        let kept = || Kept { load: model.kept(), ..Kept::default() };
        let take = |memory: &mut Memory, uid: &Uid| memory.take(&order, uid, |kept| kept.load.take());
        let read = || Memory::of([(order.clone(), own.clone(), kept())]);
        let mut once = read();
        assert_eq!(take(&mut once, &own), kept().load);
        assert_eq!(take(&mut once, &own), None, "what the process read when it began is old by then");
        let mut renamed = read();
        assert_eq!(take(&mut renamed, &other), None);
        assert_eq!(take(&mut renamed, &own), None, "another one has taken the name");
        let mut waits = read();
        waits.forget(at(0));
        waits.put_aside(order.clone(), own.clone(), kept(), at(30));
        waits.forget(at(89));
        assert_eq!(take(&mut waits.clone(), &own), kept().load);
        waits.forget(at(90));
        assert_eq!(take(&mut waits, &own), None);
        for number in 0..MOST_ASIDE + 10 {
            waits.put_aside(series(&format!("w{number}")), own.clone(), kept(), at(90));
        }
        assert_eq!((waits.of.len(), waits.dropped()), (MOST_ASIDE, 10));
        let (loads, rest) = waits.apart();
        assert_eq!((loads.of.len(), rest.of.len()), (MOST_ASIDE, 0));
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
