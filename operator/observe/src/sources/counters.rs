//! What became of everything that arrived: one atomic number per source and fate.

use super::SourceName;
use homeostat_knowledge::observation::{SourceReport, SourceState};
use std::sync::atomic::{AtomicU64, Ordering};

/// What became of an item (a span, log record, data point, answer) or of a request as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// Became an observation.
    Accepted,
    /// Left out on purpose: spans that are no calls, points without a value.
    Ignored,
    /// Request refused: the sender's address belongs to no pod that we know.
    UnknownSender,
    /// Item of a trusted forwarder refused: its resource names no pod that we know.
    UnknownResource,
    /// Request that is not OTLP, or item without what its kind needs (ids, times, a name).
    Malformed,
    /// Request above the size limit after decompression, or one item above its own.
    TooLarge,
    /// Value is not a finite number. It is handed on as that, so that people are told, and nothing is measured by it.
    NonFinite,
    /// Metric kept as differences; only cumulative sums and histograms are taken.
    DeltaTemporality,
    /// Item above the number of items or series that one request or answer may carry.
    OverLimit,
    /// Item that found the queue to the loop full; the sender is told to come again.
    QueueFull,
    /// Item of a tenant that has its share of the queue to the loop; the sender is told to come again.
    OverShare,
    /// Point of a series that is new, of a tenant that has its share of all series.
    SeriesLimit,
    /// Request above the number of requests at one time; the sender is told to come again.
    TooManyRequests,
    /// Connection above the number of connections at one time; closed.
    TooManyConnections,
    /// Request before the caches were synced, so that its sender could not be known; told to come again.
    NotReady,
    /// Request or query that took too long.
    TimedOut,
    /// Query without an answer: the server is gone or failed.
    QueryFailed,
    /// Query that the server does not understand.
    BadQuery,
    /// Query whose answer holds no value.
    NoData,
}

impl Fate {
    /// How many there are.
    pub const COUNT: usize = 19;

    /// Every fate, in the order above.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Accepted,
        Self::Ignored,
        Self::UnknownSender,
        Self::UnknownResource,
        Self::Malformed,
        Self::TooLarge,
        Self::NonFinite,
        Self::DeltaTemporality,
        Self::OverLimit,
        Self::QueueFull,
        Self::OverShare,
        Self::SeriesLimit,
        Self::TooManyRequests,
        Self::TooManyConnections,
        Self::NotReady,
        Self::TimedOut,
        Self::QueryFailed,
        Self::BadQuery,
        Self::NoData,
    ];

    /// The name as used for metric labels and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Ignored => "ignored",
            Self::UnknownSender => "unknown_sender",
            Self::UnknownResource => "unknown_resource",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::NonFinite => "non_finite",
            Self::DeltaTemporality => "delta_temporality",
            Self::OverLimit => "over_limit",
            Self::QueueFull => "queue_full",
            Self::OverShare => "over_share",
            Self::SeriesLimit => "series_limit",
            Self::TooManyRequests => "too_many_requests",
            Self::TooManyConnections => "too_many_connections",
            Self::NotReady => "not_ready",
            Self::TimedOut => "timed_out",
            Self::QueryFailed => "query_failed",
            Self::BadQuery => "bad_query",
            Self::NoData => "no_data",
        }
    }

    /// Something was lost or turned away.
    pub fn is_loss(self) -> bool {
        !matches!(self, Self::Accepted | Self::Ignored)
    }
}

/// Numbers of one request, before they are added to the shared ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally([u64; Fate::COUNT]);

impl Tally {
    /// Counts `items` more.
    pub fn add(&mut self, fate: Fate, items: u64) {
        self.0[fate as usize] += items;
    }

    /// The number of one fate.
    pub fn get(&self, fate: Fate) -> u64 {
        self.0[fate as usize]
    }

    /// Items that were taken for accepted and are not.
    pub fn turn_away(&mut self, fate: Fate, items: u64) {
        let accepted = &mut self.0[Fate::Accepted as usize];
        let items = items.min(*accepted);
        *accepted -= items;
        self.add(fate, items);
    }

    /// Items that the sender must know we did not take.
    pub fn lost(&self) -> u64 {
        Fate::ALL.into_iter().filter(|fate| fate.is_loss()).map(|fate| self.get(fate)).sum()
    }

    /// `3 malformed, 1 non_finite`; empty when nothing was lost.
    pub fn losses(&self) -> String {
        let parts: Vec<String> = Fate::ALL
            .into_iter()
            .filter(|fate| fate.is_loss() && self.get(*fate) > 0)
            .map(|fate| format!("{} {}", self.get(fate), fate.name()))
            .collect();
        parts.join(", ")
    }
}

/// Shared by all sources and read by `/metrics`. Never reset, never locked.
#[derive(Debug, Default)]
pub struct Counters([[AtomicU64; Fate::COUNT]; SourceName::ALL.len()]);

impl Counters {
    /// Counts `items` more.
    pub fn add(&self, source: SourceName, fate: Fate, items: u64) {
        self.0[source as usize][fate as usize].fetch_add(items, Ordering::Relaxed);
    }

    /// Adds the numbers of one request.
    pub fn merge(&self, source: SourceName, tally: &Tally) {
        for fate in Fate::ALL {
            let items = tally.get(fate);
            if items > 0 {
                self.add(source, fate, items);
            }
        }
    }

    /// The number since start.
    pub fn get(&self, source: SourceName, fate: Fate) -> u64 {
        self.0[source as usize][fate as usize].load(Ordering::Relaxed)
    }

    /// Every number since start, for `/metrics`.
    pub fn rows(&self) -> impl Iterator<Item = (SourceName, Fate, u64)> + '_ {
        SourceName::ALL.into_iter().flat_map(move |source| {
            Fate::ALL.into_iter().map(move |fate| (source, fate, self.get(source, fate)))
        })
    }

    /// A source's report with its numbers since start.
    pub fn report(&self, source: SourceName, state: SourceState) -> SourceReport {
        SourceReport {
            state,
            accepted: self.get(source, Fate::Accepted),
            dropped: Fate::ALL
                .into_iter()
                .filter(|fate| fate.is_loss())
                .map(|fate| self.get(source, fate))
                .sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fate_has_its_own_place_and_name() {
        let names: std::collections::BTreeSet<&str> = Fate::ALL.into_iter().map(Fate::name).collect();
        assert_eq!(names.len(), Fate::COUNT);
        for (place, fate) in Fate::ALL.into_iter().enumerate() {
            assert_eq!(fate as usize, place);
        }
        for (place, source) in SourceName::ALL.into_iter().enumerate() {
            assert_eq!(source as usize, place);
        }
    }

    #[test]
    fn a_report_separates_what_was_taken_from_what_was_lost() {
        let counters = Counters::default();
        let mut tally = Tally::default();
        tally.add(Fate::Accepted, 5);
        tally.add(Fate::Ignored, 7);
        tally.add(Fate::Malformed, 2);
        counters.merge(SourceName::Otlp, &tally);
        counters.add(SourceName::Prometheus, Fate::NoData, 1);
        let report = counters.report(SourceName::Otlp, SourceState::Healthy);
        assert_eq!((report.accepted, report.dropped), (5, 2));
        assert_eq!(tally.losses(), "2 malformed");
        assert_eq!(counters.rows().filter(|(_, _, items)| *items > 0).count(), 4);
    }
}
