//! Distinct series (a metric with one set of labels) that are known at one time, shared fairly between tenants.
//!
//! A label that takes ever new values, an order's number for example, makes ever new series. What is kept per series further
//! on is bounded for all tenants together, so each has its share ([`super::shares`]) at the entrance: beyond it the points of
//! new series are dropped and counted, those of known ones go on, and it is told which metric of which workload they are.
//! The same series of several pods counts once: more replicas are no more series.

use super::SourceName;
use super::shares::{Owner, Shares};
use homeostat_knowledge::observation::{DroppedSeries, SeriesReport};
use homeostat_knowledge::{
    Entity, Name, Observation, Signal, SignedDuration, TenantName, Timestamp, WorkloadKey,
};
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet};
use std::hash::BuildHasher;

/// A series that was silent for this time, up to twice as long, is forgotten; so is that some were dropped. Exporters send
/// once a minute by default.
const TURN: SignedDuration = SignedDuration::from_mins(10);

/// Which series there are, by owner. Of each only a number is kept, under a key that nobody outside can know.
#[derive(Debug)]
pub struct Book {
    shares: Shares,
    owners: BTreeMap<Owner, Known>,
    turned: Option<Timestamp>,
    hasher: RandomState,
}

/// The series of one owner: those seen since the last turn, and those seen only in the one before.
#[derive(Debug, Default)]
struct Known {
    young: HashSet<u64>,
    old: HashSet<u64>,
    /// Some were dropped since the last turn, and in the one before.
    dropped: (bool, bool),
    most: Majority,
}

/// What comes up most often, if one makes up more than half (Boyer and Moore's majority vote): enough for a flood, and one
/// name of memory.
#[derive(Debug, Default)]
struct Majority {
    most: Option<DroppedSeries>,
    votes: u64,
}

impl Majority {
    fn vote(&mut self, metric: &Name, workload: Option<&WorkloadKey>) {
        let same = |most: &DroppedSeries| most.metric == *metric && most.workload.as_ref() == workload;
        if self.votes > 0 && !self.most.as_ref().is_some_and(same) {
            self.votes -= 1;
            return;
        }
        if self.votes == 0 {
            self.most = Some(DroppedSeries { metric: Name::clone(metric), workload: workload.cloned() });
        }
        self.votes = self.votes.saturating_add(1);
    }
}

impl Book {
    /// Of at most `capacity` series.
    pub fn new(capacity: usize) -> Self {
        Self {
            shares: Shares::new(capacity),
            owners: BTreeMap::new(),
            turned: None,
            hasher: RandomState::new(),
        }
    }

    /// Leaves out the samples of series that are above their tenant's share; how many there were.
    pub fn sort_out(&mut self, observations: &mut Vec<Observation>, now: Timestamp) -> u64 {
        self.turn(now);
        let before = observations.len();
        observations.retain(|observation| match &observation.signal {
            Signal::Sample(sample) => {
                let workload = observation.entity.workload();
                self.admit(&observation.tenant, workload, &sample.metric, &sample.series)
            }
            _ => true,
        });
        (before - observations.len()) as u64
    }

    /// Whether a point of this series is taken.
    fn admit(&mut self, owner: &Owner, workload: Option<&WorkloadKey>, metric: &Name, series: &Name) -> bool {
        let id = self.hasher.hash_one((metric, series));
        if !self.owners.contains_key(owner) {
            self.owners.insert(owner.clone(), Known::default());
        }
        let Some(known) = self.owners.get_mut(owner) else { return false };
        if known.young.contains(&id) {
            return true;
        }
        if known.old.remove(&id) || self.shares.take(owner, 1).is_ok() {
            known.young.insert(id);
            return true;
        }
        known.dropped.0 = true;
        known.most.vote(metric, workload);
        false
    }

    /// Forgets what was not seen for long.
    fn turn(&mut self, now: Timestamp) {
        if self.turned.is_some_and(|last| now.duration_since(last) < TURN) {
            return;
        }
        self.turned = Some(now);
        let shares = &mut self.shares;
        self.owners.retain(|owner, known| {
            shares.give_back(owner, known.old.len());
            known.old = std::mem::take(&mut known.young);
            known.dropped = (false, known.dropped.0);
            if !known.dropped.1 {
                known.most = Majority::default();
            }
            !known.old.is_empty() || known.dropped.1
        });
    }

    /// How many series are known.
    pub fn len(&self) -> usize {
        self.owners.values().map(|known| known.young.len() + known.old.len()).sum()
    }

    /// `true` when none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tenants of which series were dropped lately, and what most of those are of.
    pub fn over(&mut self, now: Timestamp) -> BTreeMap<TenantName, DroppedSeries> {
        self.turn(now);
        let over = self.owners.iter().filter(|(_, known)| known.dropped != (false, false));
        over.filter_map(|(owner, known)| Some((owner.clone()?, known.most.most.clone()?))).collect()
    }
}

/// What there is to say of tenants, when `told` was said last and `over` is so now.
pub fn news(
    told: &BTreeMap<TenantName, DroppedSeries>,
    over: &BTreeMap<TenantName, DroppedSeries>,
    now: Timestamp,
) -> Vec<Observation> {
    let began = over.iter().filter(|(tenant, dropped)| told.get(*tenant) != Some(*dropped));
    let began = began.map(|(tenant, dropped)| (tenant, Some(dropped.clone())));
    let ended = told.keys().filter(|tenant| !over.contains_key(*tenant)).map(|tenant| (tenant, None));
    let said = began.chain(ended).map(|(tenant, dropped)| Observation {
        tenant: Some(tenant.clone()),
        entity: Entity::Source { name: Name::from(SourceName::Otlp.name()) },
        event_time: now,
        arrival_time: now,
        signal: Signal::Series(SeriesReport { dropped }),
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: usize = 10_000;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + 60 * minute).unwrap_or_default()
    }

    fn owner(name: &str) -> Owner {
        Owner::from(TenantName::new(name))
    }

    fn name(text: impl AsRef<str>) -> Name {
        Name::from(text.as_ref())
    }

    fn key(name: &str) -> WorkloadKey {
        WorkloadKey::new("noise", name)
    }

    fn dropped(metric: &str) -> DroppedSeries {
        DroppedSeries { metric: name(metric), workload: Some(key("rival")) }
    }

    /// Whether the tenant's workload `rival` may send this.
    fn admit(book: &mut Book, tenant: &str, metric: &str, series: impl AsRef<str>) -> bool {
        book.admit(&owner(tenant), Some(&key("rival")), &name(metric), &name(series))
    }

    /// The same hundred series, as a quiet tenant sends them each minute; how many were taken.
    fn quiet(book: &mut Book, minute: i64) -> usize {
        book.turn(at(minute));
        (0..100).filter(|n| admit(book, "quiet", "depth", format!("queue={n}"))).count()
    }

    #[test]
    fn a_flood_of_a_million_label_sets_is_bounded_crowds_out_nobody_and_is_named() {
        let mut book = Book::new(CAPACITY);
        assert_eq!(quiet(&mut book, 0), 100);
        let (mut taken, mut most) = (0_usize, 0);
        for order in 0..1_000_000_usize {
            // A million in an hour; in between the tenant's own usual series, and the quiet one's.
            let minute = i64::try_from(order / 16_667).unwrap_or(0);
            book.turn(at(minute));
            taken += usize::from(admit(&mut book, "loud", "orders", format!("order={order}")));
            if order % 1_000 == 0 {
                assert!(admit(&mut book, "loud", "depth", "queue=a"), "what is known goes on");
                assert_eq!(quiet(&mut book, minute), 100, "after {order}");
            }
            most = most.max(book.shares.capacity() - book.shares.free());
        }
        assert!(most <= CAPACITY / 2 + 100, "{most} series at one time");
        assert_eq!(book.len(), CAPACITY - book.shares.free(), "and what is counted is what is kept");
        assert!(taken < 1_000_000 / 10, "{taken} were taken");
        let told = book.over(at(60));
        assert_eq!(told, BTreeMap::from([(TenantName::new("loud"), dropped("orders"))]));
        // A new label set of the quiet one finds room in the midst of it.
        assert!(admit(&mut book, "quiet", "depth", "queue=new"));
    }

    #[test]
    fn what_is_silent_is_forgotten_and_makes_room() {
        let mut book = Book::new(10);
        let send = |book: &mut Book, minute: i64, series: &str| {
            book.turn(at(minute));
            admit(book, "shop", "m", series)
        };
        assert!((0..5).all(|n| send(&mut book, 0, &format!("old={n}"))));
        assert!(!send(&mut book, 5, "new=1"));
        assert_eq!(book.over(at(5)).len(), 1);
        assert!(send(&mut book, 12, "old=0"), "one goes on");
        assert!(!send(&mut book, 12, "new=1"), "the others are forgotten only after a while");
        assert!(send(&mut book, 24, "new=1") && send(&mut book, 24, "old=0"));
        assert_eq!(book.len(), 2);
        assert_eq!(book.over(at(24)).len(), 1, "told for a while");
        assert!(book.over(at(35)).is_empty(), "and over");
        assert!(book.over(at(60)).is_empty() && book.over(at(80)).is_empty() && book.is_empty());
        assert!(book.owners.is_empty(), "nobody is kept without having anything");
    }

    #[test]
    fn what_is_new_is_told_once_and_that_it_is_over_too() {
        let of = |metric: &str| BTreeMap::from([(TenantName::new("shop"), dropped(metric))]);
        let none = BTreeMap::new();
        assert!(news(&none, &none, at(0)).is_empty() && news(&of("a"), &of("a"), at(0)).is_empty());
        for (told, over, said) in
            [(&none, &of("a"), Some("a")), (&of("a"), &of("b"), Some("b")), (&of("a"), &none, None)]
        {
            let news = news(told, over, at(0));
            assert_eq!(news.len(), 1);
            assert_eq!(news[0].tenant, owner("shop"));
            let Signal::Series(report) = &news[0].signal else { panic!("no word of series") };
            assert_eq!(report.dropped, said.map(dropped));
        }
    }
}
