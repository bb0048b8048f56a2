//! What the counts of templates tell: a template never seen before, a burst of one, a rate that changed.
//!
//! Counts per interval are made comparable by the square root (Anscombe 1948), so that a template of any rate has
//! spread near one; what chance a distance has is learnt per template by [`ScoreTail`]. The chance that is asked for
//! is the accepted number of false alarms, shared out over all templates and intervals.

use std::collections::{BTreeMap, BTreeSet};

use super::miner::Mined;
use super::severity::Severity;
use crate::tail::ScoreTail;
use serde::{Deserialize, Serialize};

/// Setting of a [`Watch`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchConfig {
    /// Templates that are watched; the one silent for longest goes first.
    pub max_templates: usize,
    /// Intervals before the first finding.
    pub warm_up: u32,
    /// Intervals after which an old count has half its weight.
    pub half_life: f64,
    /// Intervals over which a changed rate must last.
    pub rate_intervals: f64,
    /// Lines in an interval below which nothing is a burst.
    pub minimum_burst: u64,
    /// Accepted false findings a day, over all templates.
    pub false_alarms_per_day: f64,
    /// Length of an interval, as a number of them a day.
    pub intervals_per_day: f64,
    /// Share of intervals with a new template above which one more is no news.
    pub usual_novelty: f64,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            max_templates: 4_096,
            warm_up: 30,
            half_life: 360.0,
            rate_intervals: 12.0,
            minimum_burst: 5,
            false_alarms_per_day: 0.5,
            intervals_per_day: 8_640.0,
            usual_novelty: 0.1,
        }
    }
}

/// A setting that cannot work.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{field} is {value}, it must be {limit}")]
pub struct WatchConfigError {
    /// Field of [`WatchConfig`].
    pub field: &'static str,
    /// What was given.
    pub value: f64,
    /// What is allowed.
    pub limit: &'static str,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogFindingKind {
    /// The template was never seen before.
    NewTemplate,
    /// Far more lines in one interval than usual.
    Burst,
    /// More lines than usual over several intervals.
    RateUp,
    /// Fewer lines than usual over several intervals, silence included.
    RateDown,
}

/// A finding about one template, raised once when it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogFinding {
    /// What happened.
    pub kind: LogFindingKind,
    /// Id of the template.
    pub template: u64,
    /// Last level seen with it.
    pub severity: Option<Severity>,
    /// Lines in this interval (new, burst) or per interval lately (rate).
    pub lines: f64,
    /// Lines per interval usually.
    pub usual: f64,
    /// Chance of this in the usual state.
    pub chance: f64,
    /// The same in words.
    pub reason: String,
}

/// One template's counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Watched {
    severity: Option<Severity>,
    now: u64,
    new: bool,
    /// Last interval with a line.
    heard: u64,
    intervals: u32,
    usual: f64,
    lately: f64,
    burst: ScoreTail,
    shift: ScoreTail,
    in_burst: bool,
    in_shift: bool,
    held: f64,
}

/// Watches the counts of all templates of one stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    config: WatchConfig,
    interval: u64,
    /// Decayed share of intervals with a new template.
    novelty: f64,
    templates: BTreeMap<u64, Watched>,
    /// Last interval with a line, and template.
    by_age: BTreeSet<(u64, u64)>,
}

impl Watch {
    /// A watch that has seen nothing.
    pub fn new(config: WatchConfig) -> Result<Self, WatchConfigError> {
        let check = |field, value: f64, good: bool, limit| {
            if good { Ok(()) } else { Err(WatchConfigError { field, value, limit }) }
        };
        let within = |field, value: f64, from: f64, to: f64, limit| {
            check(field, value, (from..=to).contains(&value), limit)
        };
        within("max_templates", config.max_templates as f64, 1.0, 1e6, "1 to 1000000")?;
        within("warm_up", f64::from(config.warm_up), 1.0, 1e6, "1 to 1000000")?;
        within("half_life", config.half_life, 1.0, 1e9, "1 to 1e9 intervals")?;
        within("rate_intervals", config.rate_intervals, 2.0, 1e6, "2 to 1000000 intervals")?;
        within("false_alarms_per_day", config.false_alarms_per_day, 1e-9, 1e6, "above 0, at most 1000000")?;
        within("intervals_per_day", config.intervals_per_day, 1e-3, 1e9, "0.001 to 1e9")?;
        within("usual_novelty", config.usual_novelty, 0.0, 1.0, "0 to 1")?;
        Ok(Self { config, interval: 0, novelty: 0.0, templates: BTreeMap::new(), by_age: BTreeSet::new() })
    }

    /// Counts a line that the miner assigned.
    pub fn observe(&mut self, mined: &Mined) {
        if let Some(watched) = self.templates.get_mut(&mined.id) {
            if watched.heard != self.interval {
                self.by_age.remove(&(watched.heard, mined.id));
                self.by_age.insert((self.interval, mined.id));
                watched.heard = self.interval;
            }
            watched.now = watched.now.saturating_add(1);
            watched.severity = mined.severity.or(watched.severity);
            return;
        }
        if self.templates.len() >= self.config.max_templates
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.templates.remove(&oldest);
        }
        self.by_age.insert((self.interval, mined.id));
        self.templates.insert(
            mined.id,
            Watched {
                severity: mined.severity,
                now: 1,
                new: mined.new,
                heard: self.interval,
                intervals: 0,
                usual: 0.0,
                lately: 0.0,
                burst: ScoreTail::new(0.02),
                shift: ScoreTail::new(0.02),
                in_burst: false,
                in_shift: false,
                held: 0.0,
            },
        );
    }

    /// Ends the interval: judges every template's count, learns from it, and begins the next one.
    pub fn close_interval(&mut self) -> Vec<LogFinding> {
        let config = self.config;
        let tests = config.intervals_per_day * self.templates.len().max(1) as f64;
        // Burst and rate are asked for each template in each interval.
        let asked = (config.false_alarms_per_day / (2.0 * tests)).clamp(1e-15, 0.01);
        let ready = self.interval >= u64::from(config.warm_up);
        let mut found = Vec::new();
        let novelty = self.novelty;
        let mut any_new = false;
        for (&id, watched) in &mut self.templates {
            if watched.new {
                any_new = true;
                watched.new = false;
                if ready && novelty <= config.usual_novelty {
                    let chance = novelty.max(1.0 / (self.interval as f64 + 2.0));
                    found.push(watched.finding(
                        LogFindingKind::NewTemplate,
                        id,
                        watched.now as f64,
                        0.0,
                        chance,
                    ));
                }
            }
            watched.close(&config, asked, id, &mut found);
        }
        let weight = decay(config.half_life).max(1.0 / (self.interval as f64 + 1.0));
        self.novelty += weight * (f64::from(u8::from(any_new)) - self.novelty);
        self.interval += 1;
        found
    }

    /// Templates that are watched.
    pub fn len(&self) -> usize {
        self.templates.len()
    }

    /// No template is watched.
    pub fn is_empty(&self) -> bool {
        self.templates.is_empty()
    }
}

fn decay(half_life: f64) -> f64 {
    1.0 - 0.5_f64.powf(1.0 / half_life)
}

/// Twice the square root, shifted: counts of any rate have spread near one on this scale.
fn stable(count: f64) -> f64 {
    2.0 * (count + 0.375).sqrt()
}

impl Watched {
    fn close(&mut self, config: &WatchConfig, asked: f64, id: u64, found: &mut Vec<LogFinding>) {
        let lines = self.now as f64;
        self.now = 0;
        let ready = self.intervals >= config.warm_up;
        self.lately += (lines - self.lately)
            * (2.0 / (config.rate_intervals + 1.0)).max(1.0 / (f64::from(self.intervals) + 1.0));

        let jump = stable(lines) - stable(self.usual);
        let chance = self.burst.chance(jump.max(0.0));
        if ready && !self.in_burst && chance < asked && lines >= config.minimum_burst as f64 {
            self.in_burst = true;
            found.push(self.finding(LogFindingKind::Burst, id, lines, self.usual, chance));
        } else if chance > 0.01 {
            self.in_burst = false;
        }

        // The mean of several counts has a spread smaller by the root of their number.
        let shift = (stable(self.lately) - stable(self.usual)) * config.rate_intervals.sqrt();
        let unlikely = self.shift.chance(shift.abs());
        if ready && !self.in_shift && !self.in_burst && unlikely < asked {
            self.in_shift = true;
            let kind = if shift > 0.0 { LogFindingKind::RateUp } else { LogFindingKind::RateDown };
            found.push(self.finding(kind, id, self.lately, self.usual, unlikely));
        } else if unlikely > 0.01 {
            self.in_shift = false;
        }

        // While something is on, the usual state is kept; after a long time the new rate is the usual one.
        self.held = if self.in_burst || self.in_shift { self.held + 1.0 } else { 0.0 };
        if self.held == 0.0 || self.held > 2.0 * config.half_life {
            let weight = decay(config.half_life).max(1.0 / (f64::from(self.intervals) + 1.0));
            self.usual += weight * (lines - self.usual);
            self.intervals = self.intervals.saturating_add(1);
            if self.intervals > 3 {
                self.burst.learn(jump.max(0.0));
                self.shift.learn(shift.abs());
            }
        }
    }

    fn finding(&self, kind: LogFindingKind, id: u64, lines: f64, usual: f64, chance: f64) -> LogFinding {
        let reason = match kind {
            LogFindingKind::NewTemplate => {
                format!(
                    "template {id} was never seen before; {lines:.0} lines in this interval; chance of any new template {chance:.2}"
                )
            }
            LogFindingKind::Burst => {
                format!(
                    "{lines:.0} lines of template {id} in this interval, usually {usual:.2}; chance {chance:.0e}"
                )
            }
            LogFindingKind::RateUp | LogFindingKind::RateDown => {
                format!(
                    "{lines:.2} lines of template {id} an interval lately, usually {usual:.2}; chance {chance:.0e}"
                )
            }
        };
        LogFinding { kind, template: id, severity: self.severity, lines, usual, chance, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};

    fn mined(id: u64, new: bool) -> Mined {
        Mined { id, new, count: 1, severity: Some(Severity::Error), message: 0 }
    }

    fn poisson(rng: &mut rand_chacha::ChaCha8Rng, mean: f64) -> u64 {
        let limit = (-mean).exp();
        let mut product: f64 = rng.random();
        let mut count = 0;
        while product > limit {
            product *= rng.random::<f64>();
            count += 1;
        }
        count
    }

    fn calm(
        watch: &mut Watch,
        rng: &mut rand_chacha::ChaCha8Rng,
        intervals: usize,
        mean: f64,
    ) -> Vec<LogFinding> {
        let mut found = Vec::new();
        for turn in 0..intervals {
            for line in 0..poisson(rng, mean) {
                watch.observe(&mined(1, turn == 0 && line == 0));
            }
            found.extend(watch.close_interval());
        }
        found
    }

    #[test]
    fn a_calm_stream_of_a_day_raises_next_to_nothing() {
        for (seed, mean) in [(1, 0.05), (2, 1.0), (3, 20.0)] {
            let mut watch = Watch::new(WatchConfig::default()).expect("a valid setting");
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let found = calm(&mut watch, &mut rng, 8_640, mean);
            assert!(found.len() <= 2, "{mean}: {found:?}");
        }
    }

    #[test]
    fn a_burst_a_new_template_and_silence_are_found_once_each_with_their_numbers() {
        let mut watch = Watch::new(WatchConfig::default()).expect("a valid setting");
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
        calm(&mut watch, &mut rng, 500, 10.0);
        for _ in 0..200 {
            watch.observe(&mined(1, false));
        }
        watch.observe(&mined(2, true));
        let found = watch.close_interval();
        let kinds: Vec<_> = found.iter().map(|finding| (finding.kind, finding.template)).collect();
        assert_eq!(kinds, [(LogFindingKind::Burst, 1), (LogFindingKind::NewTemplate, 2)], "{found:?}");
        assert!(
            found[0].reason.starts_with("200 lines of template 1 in this interval, usually "),
            "{}",
            found[0].reason
        );
        assert!((8.0..12.0).contains(&found[0].usual) && found[0].chance < 1e-6);

        calm(&mut watch, &mut rng, 100, 10.0);
        let silence: Vec<_> = (0..60).flat_map(|_| watch.close_interval()).collect();
        let kinds: Vec<_> = silence.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [LogFindingKind::RateDown], "{silence:?}");
    }

    #[test]
    fn twice_the_rate_for_long_is_a_change_of_rate() {
        let mut watch = Watch::new(WatchConfig::default()).expect("a valid setting");
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        calm(&mut watch, &mut rng, 1_000, 10.0);
        let found = calm(&mut watch, &mut rng, 60, 20.0);
        let up = found.iter().filter(|finding| finding.kind == LogFindingKind::RateUp).count();
        assert_eq!(up, 1, "{found:?}");
    }

    #[test]
    fn a_setting_that_cannot_work_is_refused_with_its_field() {
        let error =
            Watch::new(WatchConfig { half_life: f64::NAN, ..WatchConfig::default() }).expect_err("NaN");
        assert_eq!(error.to_string(), "half_life is NaN, it must be 1 to 1e9 intervals");
    }

    #[test]
    fn more_templates_than_the_limit_stay_bounded() {
        let mut watch =
            Watch::new(WatchConfig { max_templates: 50, ..WatchConfig::default() }).expect("valid");
        for id in 0..20_000 {
            watch.observe(&mined(id, true));
            if id % 100 == 0 {
                watch.close_interval();
            }
        }
        assert_eq!((watch.len(), watch.by_age.len()), (50, 50));
    }

    proptest! {
        #[test]
        fn chances_are_chances_and_restored_state_goes_on(ids in prop::collection::vec(0_u64..20, 1..400), cut in 0_usize..400) {
            let config = WatchConfig { warm_up: 2, max_templates: 8, ..WatchConfig::default() };
            let mut watch = Watch::new(config).expect("a valid setting");
            let mut other = watch.clone();
            for (at, &id) in ids.iter().enumerate() {
                if at == cut {
                    let text = serde_json::to_string(&watch).expect("serialises");
                    other = serde_json::from_str(&text).expect("deserialises");
                }
                watch.observe(&mined(id, at % 7 == 0));
                other.observe(&mined(id, at % 7 == 0));
                if id % 3 == 0 {
                    let found = watch.close_interval();
                    prop_assert!(found.iter().all(|finding| (0.0..=1.0).contains(&finding.chance)));
                    let twin = other.close_interval();
                    let kinds = |found: &[LogFinding]| -> Vec<_> { found.iter().map(|one| (one.kind, one.template)).collect() };
                    prop_assert_eq!(kinds(&found), kinds(&twin));
                }
            }
        }
    }
}
