//! When silence means that the way is broken.
//!
//! Nobody has to call anybody, so a time without spans says nothing. Metrics are sent at fixed times (OpenTelemetry SDK
//! specification, periodic exporting reader): where they came and nothing comes any more, the way from the pods is cut.

use super::convert::Kind;
use homeostat_knowledge::observation::SourceState;
use homeostat_knowledge::{Name, SignedDuration, Timestamp};

/// Metrics requests after which it is known how often they come.
const KNOWN: u32 = 10;
/// Silence of at least so long, and of so many times the longest usual gap.
const LEAST: SignedDuration = SignedDuration::from_secs(90);
const TIMES: i32 = 3;
/// How slowly the longest gap is forgotten, per request.
const FORGET: f64 = 0.999;

/// What came last, and how far metrics are apart.
#[derive(Clone, Debug, Default)]
pub struct Silence {
    last: Option<Timestamp>,
    metrics: Option<Timestamp>,
    count: u32,
    /// Longest time between two metrics requests, of whatever sender, in seconds.
    gap: f64,
}

impl Silence {
    /// A request was taken.
    pub fn note(&mut self, kind: Kind, now: Timestamp) {
        self.last = self.last.max(Some(now));
        if kind == Kind::Metrics {
            if let Some(before) = self.metrics {
                let apart = now.duration_since(before).as_secs_f64().max(0.0);
                // Once it is known how often they come, an outage is not learnt as usual; who sends more seldom from now on is
                // believed in steps.
                let most = if self.count >= KNOWN { self.limit().as_secs_f64() / 2.0 } else { f64::INFINITY };
                self.gap = (self.gap * FORGET).max(apart.min(most));
            }
            self.metrics = Some(now);
            self.count = self.count.saturating_add(1);
        }
    }

    /// Longer silence is none of the usual.
    fn limit(&self) -> SignedDuration {
        LEAST.max(SignedDuration::from_secs_f64(self.gap.min(1e6)) * TIMES)
    }

    /// How the source is. `senders`: whether a pod runs whose telemetry is wanted; without one, what was known of them is
    /// forgotten.
    pub fn state(&mut self, senders: bool, now: Timestamp) -> SourceState {
        if !senders {
            *self = Self::default();
        }
        match self.last {
            Some(last) if self.count >= KNOWN && now.duration_since(last) > self.limit() => {
                SourceState::Down(Name::from(format!(
                    "nothing came from any pod since {last:.0}, though metrics came at least every {:.0} s; look at the \
                     Service and the NetworkPolicy of Homeostat's OTLP port, and at collectors in between",
                    self.gap.max(1.0)
                )))
            }
            _ => SourceState::Healthy,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Metrics every ten seconds until second 1,000.
    fn regular(kind: Kind) -> Silence {
        let mut silence = Silence::default();
        (0..=100).for_each(|turn| silence.note(kind, at(turn * 10)));
        silence
    }

    #[test]
    fn metrics_that_stay_away_are_a_broken_way_and_come_back() {
        let mut silence = regular(Kind::Metrics);
        assert_eq!(silence.state(true, at(1_090)), SourceState::Healthy);
        let SourceState::Down(why) = silence.state(true, at(1_091)) else { panic!("not told") };
        assert!(why.contains("every 10 s") && why.contains("NetworkPolicy"), "{why}");
        silence.note(Kind::Logs, at(1_100));
        assert_eq!(silence.state(true, at(1_101)), SourceState::Healthy);
    }

    #[test]
    fn who_sends_seldom_may_be_silent_for_longer() {
        let mut silence = Silence::default();
        (0..20).for_each(|turn| silence.note(Kind::Metrics, at(turn * 60)));
        assert_eq!(silence.state(true, at(19 * 60 + 180)), SourceState::Healthy);
        assert_ne!(silence.state(true, at(19 * 60 + 181)), SourceState::Healthy);
    }

    #[test]
    fn an_outage_is_not_learnt_as_usual_and_who_sends_more_seldom_is_believed_soon() {
        let mut silence = regular(Kind::Metrics);
        silence.note(Kind::Metrics, at(4_600));
        (1..=10).for_each(|turn| silence.note(Kind::Metrics, at(4_600 + turn * 10)));
        assert_ne!(silence.state(true, at(4_700 + 140)), SourceState::Healthy, "an hour is not usual now");
        let mut silence = regular(Kind::Metrics);
        (1..=3).for_each(|turn| silence.note(Kind::Metrics, at(1_000 + turn * 300)));
        assert_eq!(silence.state(true, at(1_900 + 300)), SourceState::Healthy);
    }

    #[test]
    fn a_time_without_calls_or_without_pods_says_nothing() {
        assert_eq!(regular(Kind::Traces).state(true, at(9_000)), SourceState::Healthy);
        assert_eq!(Silence::default().state(true, at(9_000)), SourceState::Healthy);
        let mut silence = regular(Kind::Metrics);
        assert_eq!(silence.state(false, at(9_000)), SourceState::Healthy);
        assert_eq!(silence.state(true, at(9_001)), SourceState::Healthy, "they begin anew");
    }
}
