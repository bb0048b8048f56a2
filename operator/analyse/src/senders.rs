//! How telemetry reaches us: what tells when a silence means something, and whose word about lateness counts.
//!
//! An exporter sends at fixed times. Where its process gets no processor time, what it sends is older on arrival than
//! usual, and so is its idea of how long others took: a starved caller gives up on callees that are well.

use homeostat_knowledge::{SignedDuration, Timestamp};
use std::collections::VecDeque;

/// Weight of one batch in what is usual: about a hundred batches.
const WEIGHT: f64 = 0.01;
/// Batches after which the usual age is known.
const KNOWN: u32 = 20;
/// What differs by more than so many spreads is learned as if it differed by so many, and a tenth as fast: a bad minute does
/// not become usual, another setting of the exporter does.
const LEARNED_SPREADS: f64 = 3.0;
const SLOWER: f64 = 0.1;
/// Smallest spread, in seconds: the resolution of clocks and timers.
const LEAST_SPREAD: f64 = 0.002;
/// So much older than usual, in seconds, and by so many spreads, is late.
const LATE_SECONDS: f64 = 0.04;
const LATE_SPREADS: f64 = 4.0;
/// The last few batches tell it sooner, where they are later by so many times as much.
const FEW: usize = 3;
const FEW_TIMES: f64 = 1.5;
/// Batches of the last moments are judged together, or the last one alone, if that is not older than this.
const MOMENTS: SignedDuration = SignedDuration::from_millis(1_500);
const FRESH: SignedDuration = SignedDuration::from_secs(10);
const MAX_RECENT: usize = 16;

/// How the telemetry of a workload, or a pod, reaches us.
#[derive(Clone, Debug)]
pub struct Sender {
    /// When its last batch arrived.
    pub last_arrival: Timestamp,
    /// Latest span end that it reported.
    pub watermark: Timestamp,
    /// Usual longest time between batches, in seconds (slowly forgetting maximum).
    pub gap_seconds: f64,
    /// Usual age of a batch's newest span when it arrives, in seconds, and its mean deviation.
    usual_age: f64,
    spread: f64,
    batches: u32,
    /// Arrivals and ages of the last complete batches, oldest first.
    recent: VecDeque<(Timestamp, f64)>,
}

impl Sender {
    /// One of which the first span, that ended at `end`, arrived.
    pub fn new(arrival: Timestamp, end: Timestamp) -> Self {
        Self {
            last_arrival: arrival,
            watermark: end,
            gap_seconds: 0.2,
            usual_age: 0.0,
            spread: 0.0,
            batches: 0,
            recent: VecDeque::new(),
        }
    }

    /// Takes one span's end and arrival. Spans of one batch arrive at one instant.
    pub fn note(&mut self, arrival: Timestamp, end: Timestamp) {
        let gap = arrival.duration_since(self.last_arrival).as_secs_f64();
        if gap > 0.0 {
            self.gap_seconds = gap.clamp(self.gap_seconds * 0.98, 10.0).max(0.02);
            self.close();
        }
        self.last_arrival = self.last_arrival.max(arrival);
        self.watermark = self.watermark.max(end);
    }

    /// The batch is complete.
    fn close(&mut self) {
        let age = self.age();
        if self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((self.last_arrival, age));
        let most = LEARNED_SPREADS * self.spread.max(LEAST_SPREAD);
        let apart = age - self.usual_age;
        self.batches = self.batches.saturating_add(1);
        let weight = WEIGHT.max(1.0 / f64::from(self.batches));
        let (apart, weight) = if self.batches > KNOWN && apart.abs() > most {
            (apart.clamp(-most, most), weight * SLOWER)
        } else {
            (apart, weight)
        };
        self.usual_age += weight * apart;
        self.spread += weight * (apart.abs() - self.spread);
    }

    /// How much older than usual its batches of the last moments were, in seconds; `None` where that is within the usual
    /// spread, or what is usual is not known.
    pub fn late_by(&self, now: Timestamp) -> Option<f64> {
        if self.batches < KNOWN || now.duration_since(self.last_arrival) > FRESH {
            return None;
        }
        let newest = (self.last_arrival, self.age());
        let all = || self.recent.iter().rev().map(|(arrival, age)| (*arrival, *age));
        let moments = all().take_while(|(arrival, _)| now.duration_since(*arrival) <= MOMENTS);
        let long = mean(std::iter::once(newest).chain(moments)) - self.usual_age;
        let short = mean(std::iter::once(newest).chain(all()).take(FEW)) - self.usual_age;
        let bar = LATE_SECONDS.max(LATE_SPREADS * self.spread);
        (long > bar || short > FEW_TIMES * bar).then_some(long.max(short))
    }

    /// Age of the newest span when the last batch arrived, in seconds.
    fn age(&self) -> f64 {
        self.last_arrival.duration_since(self.watermark).as_secs_f64()
    }
}

fn mean(batches: impl Iterator<Item = (Timestamp, f64)>) -> f64 {
    let (count, sum) = batches.fold((0_u32, 0.0), |(count, sum), (_, age)| (count + 1, sum + age));
    sum / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    /// Batches every `gap` milliseconds, each `age` milliseconds old; returns the time of the next one.
    fn every(sender: &mut Sender, gap: i64, from: i64, count: i64, age: impl Fn(i64) -> i64) -> Timestamp {
        let at = |millis: i64| Timestamp::from_millisecond(millis).unwrap();
        for batch in 0..count {
            let arrival = from + batch * gap;
            sender.note(at(arrival), at(arrival - age(batch)));
        }
        at(from + count * gap)
    }

    /// Five of them a second.
    fn batches(sender: &mut Sender, from: i64, count: i64, age: impl Fn(i64) -> i64) -> Timestamp {
        every(sender, 200, from, count, age)
    }

    fn usual() -> (Sender, Timestamp) {
        let start = Timestamp::from_second(1_000).unwrap();
        let mut sender = Sender::new(start, start);
        let now = batches(&mut sender, 1_000_200, 100, |batch| 10 + batch % 3 * 5);
        (sender, now)
    }

    #[test]
    fn one_old_batch_is_not_late_several_are_and_a_bad_minute_does_not_become_usual() {
        let (mut sender, now) = usual();
        assert_eq!(sender.late_by(now), None);
        let now = batches(&mut sender, now.as_millisecond(), 8, |batch| if batch == 4 { 150 } else { 12 });
        assert_eq!(sender.late_by(now), None);
        let now = batches(&mut sender, now.as_millisecond(), 300, |_| 120);
        assert!(sender.late_by(now).unwrap() > 0.08, "{sender:?}");
        let now = batches(&mut sender, now.as_millisecond(), 10, |_| 12);
        assert_eq!(sender.late_by(now), None);
    }

    #[test]
    fn who_sends_seldom_and_irregularly_is_not_late_by_that() {
        let start = Timestamp::from_second(1_000).unwrap();
        let mut sender = Sender::new(start, start);
        let now = every(&mut sender, 5_000, 1_000_200, 100, |batch| batch * 1_237 % 5_000);
        assert_eq!(sender.late_by(now), None);
        let now = every(&mut sender, 5_000, now.as_millisecond(), 10, |_| 4_900);
        assert_eq!(sender.late_by(now), None);
    }

    #[test]
    fn what_was_said_long_ago_says_nothing() {
        let (mut sender, now) = usual();
        let now = batches(&mut sender, now.as_millisecond(), 10, |_| 900);
        assert!(sender.late_by(now).is_some());
        assert_eq!(sender.late_by(now + FRESH), None);
    }
}
