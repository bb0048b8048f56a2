//! Objectives: how fast the error budget burns, how much is left, how long it lasts.
//!
//! Alerts on several burn rates over several windows (Google, *The Site Reliability Workbook*, chapter 5): a rule fires when
//! the budget burns faster than its rate over a long window, so that it matters, and over a short one, so that it still
//! goes on. Counts of good and bad events come in; a window without events is "no data", never zero and never well.

use crate::tail::binomial_upper;
use serde::{Deserialize, Serialize};

/// Slots of each window; old events leave a window in steps of this part of it.
const SLOTS: usize = 30;

/// Who has to hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Urgency {
    /// Within days.
    Ticket,
    /// At once.
    Page,
}

/// One rule: faster than `burn_rate` over both windows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BurnRule {
    /// Times the speed that would use up the budget exactly at the end of the period.
    pub burn_rate: f64,
    /// Long window, seconds.
    pub long_seconds: i64,
    /// Short window, seconds.
    pub short_seconds: i64,
    /// What it calls for.
    pub urgency: Urgency,
}

/// Setting of an [`Slo`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloConfig {
    /// Share of events that shall be good, such as 0.999.
    pub objective: f64,
    /// Period that the budget is for, seconds.
    pub period_seconds: i64,
    /// Rules, the most urgent first.
    pub rules: Vec<BurnRule>,
    /// A rule fires only if a service burning at half its rate would show so many bad events with less than this chance.
    /// Keeps a service with three requests an hour from paging for one of them.
    pub chance: f64,
}

impl Default for SloConfig {
    /// 99.9 % over 30 days, with the rules and windows that the workbook recommends.
    fn default() -> Self {
        let rule = |burn_rate, long_seconds, short_seconds, urgency| BurnRule {
            burn_rate,
            long_seconds,
            short_seconds,
            urgency,
        };
        Self {
            objective: 0.999,
            period_seconds: 30 * 86_400,
            rules: vec![
                rule(14.4, 3_600, 300, Urgency::Page),
                rule(6.0, 21_600, 1_800, Urgency::Page),
                rule(1.0, 259_200, 21_600, Urgency::Ticket),
            ],
            chance: 1e-3,
        }
    }
}

impl SloConfig {
    /// The default rules for another objective, without those that could never fire at it: with 90 % good as the
    /// objective, the budget cannot burn at 14.4 times its speed even when everything fails.
    pub fn for_objective(objective: f64) -> Self {
        let mut config = Self { objective, ..Self::default() };
        config.rules.retain(|rule| rule.burn_rate * (1.0 - objective) < 1.0);
        config
    }
}

/// A setting or an input that cannot work.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum SloError {
    /// Out of range.
    #[error("{field} is {value}, it must be {limit}")]
    OutOfRange {
        /// Field of [`SloConfig`] or [`BurnRule`].
        field: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        limit: &'static str,
    },
    /// A rule that even a total failure would not fire.
    #[error(
        "a burn rate of {rate} cannot be reached with an objective of {objective}: the most is {most:.3}; lower the rate or drop the rule"
    )]
    Unreachable {
        /// Burn rate of the rule.
        rate: f64,
        /// Objective.
        objective: f64,
        /// Burn rate when every event is bad.
        most: f64,
    },
}

/// Good and bad events of one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Events that were good.
    pub good: u64,
    /// Events that were not.
    pub bad: u64,
}

impl Events {
    /// All of them.
    pub fn total(self) -> u64 {
        self.good.saturating_add(self.bad)
    }

    fn add(&mut self, other: Self) {
        self.good = self.good.saturating_add(other.good);
        self.bad = self.bad.saturating_add(other.bad);
    }

    /// Share of bad ones; `None` without events.
    pub fn bad_share(self) -> Option<f64> {
        (self.total() > 0).then(|| self.bad as f64 / self.total() as f64)
    }
}

/// Counts over the last `seconds`, in [`SLOTS`] slots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Window {
    seconds: i64,
    newest: Option<i64>,
    slots: Vec<Events>,
}

impl Window {
    fn new(seconds: i64) -> Self {
        Self { seconds, newest: None, slots: vec![Events::default(); SLOTS] }
    }

    fn number(&self, at: i64) -> i64 {
        at.div_euclid((self.seconds / SLOTS as i64).max(1))
    }

    fn slot(&mut self, number: i64) -> Option<&mut Events> {
        let count = self.slots.len().max(1);
        self.slots.get_mut(number.rem_euclid(count as i64) as usize)
    }

    fn record(&mut self, at: i64, events: Events) -> bool {
        let number = self.number(at);
        let newest = *self.newest.get_or_insert(number);
        if number > newest {
            // What the ring still holds of an earlier turn is cleared, at most once around.
            let from = newest.saturating_add(1).max(number.saturating_sub(SLOTS as i64 - 1));
            for passed in from..=number {
                if let Some(slot) = self.slot(passed) {
                    *slot = Events::default();
                }
            }
            self.newest = Some(number);
        } else if newest.saturating_sub(number) >= SLOTS as i64 {
            return false;
        }
        if let Some(slot) = self.slot(number) {
            slot.add(events);
        }
        true
    }

    /// Events of the window that ends at `now`.
    fn events(&self, now: i64) -> Events {
        let mut sum = Events::default();
        let Some(newest) = self.newest else { return sum };
        let last = self.number(now);
        let oldest = last.saturating_sub(SLOTS as i64 - 1).max(newest.saturating_sub(SLOTS as i64 - 1));
        for number in oldest..=last.min(newest) {
            let place = number.rem_euclid(SLOTS as i64) as usize;
            sum.add(self.slots.get(place).copied().unwrap_or_default());
        }
        sum
    }
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleState {
    /// No events in the long or in the short window: nothing is known.
    NoData,
    /// The budget burns slower than the rate, in at least one window.
    Quiet,
    /// Fast enough, but so few events that it may be an accident.
    FewEvents,
    /// Too fast in both.
    Firing,
}

/// A rule with its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleReport {
    /// The rule.
    pub rule: BurnRule,
    /// What it says.
    pub state: RuleState,
    /// Burn rate over the long window; `None` without events.
    pub long: Option<f64>,
    /// Burn rate over the short window; `None` without events.
    pub short: Option<f64>,
    /// The same in words.
    pub reason: String,
}

/// How long the budget lasts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Exhaustion {
    /// No events lately: not known.
    NoData,
    /// It is used up.
    Now,
    /// It lasts longer than another period at the present speed.
    NotInPeriod,
    /// After so many seconds at the present speed.
    InSeconds(f64),
}

/// The budget of the period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Share of the budget that is left, 1 to 0 and below when overspent; `None` without events.
    pub left: Option<f64>,
    /// Share of the period that was seen; the rest is taken as unspent.
    pub seen: f64,
    /// When it is used up at the speed of the longest page rule's window.
    pub exhaustion: Exhaustion,
    /// The same in words.
    pub reason: String,
}

/// What an objective says at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloReport {
    /// Most urgent rule that fires.
    pub urgency: Option<Urgency>,
    /// Rules, as configured.
    pub rules: Vec<RuleReport>,
    /// The budget.
    pub budget: Budget,
}

/// What became of recorded events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// They count in every window.
    Everywhere,
    /// They are too old for some windows and count in the others.
    Late,
    /// They are older than the whole period and count nowhere.
    TooLate,
}

/// One objective. Fixed memory: 30 pairs of counts for each window.
///
/// ```
/// use homeostat_models::slo::{Slo, SloConfig, Urgency};
/// let mut slo = Slo::new(SloConfig::default())?;
/// for second in 0..3_600 {
///     slo.record(second, 95, 5); // 5 % fail, the objective allows 0.1 %
/// }
/// assert_eq!(slo.report(3_600).urgency, Some(Urgency::Page));
/// # Ok::<(), homeostat_models::slo::SloError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slo {
    config: SloConfig,
    /// Long and short window of each rule.
    windows: Vec<(Window, Window)>,
    period: Window,
    first: Option<i64>,
}

impl Slo {
    /// An objective without events.
    pub fn new(config: SloConfig) -> Result<Self, SloError> {
        let check = |field, value: f64, good: bool, limit| {
            if good { Ok(()) } else { Err(SloError::OutOfRange { field, value, limit }) }
        };
        let objective = config.objective;
        check("objective", objective, objective > 0.0 && objective < 1.0, "above 0 and below 1")?;
        check("chance", config.chance, config.chance > 0.0 && config.chance <= 1.0, "above 0, up to 1")?;
        let period = config.period_seconds;
        check(
            "period_seconds",
            period as f64,
            (3_600..=366 * 86_400).contains(&period),
            "an hour to a year",
        )?;
        check("rules", config.rules.len() as f64, config.rules.len() <= 16, "at most 16")?;
        for rule in &config.rules {
            let (long, short) = (rule.long_seconds, rule.short_seconds);
            check(
                "long_seconds",
                long as f64,
                long <= period && long > short,
                "above short_seconds, up to the period",
            )?;
            check("short_seconds", short as f64, short >= SLOTS as i64, "30 or more")?;
            check(
                "burn_rate",
                rule.burn_rate,
                rule.burn_rate > 0.0 && rule.burn_rate.is_finite(),
                "above 0",
            )?;
            let most = 1.0 / (1.0 - objective);
            if rule.burn_rate >= most {
                return Err(SloError::Unreachable { rate: rule.burn_rate, objective, most });
            }
        }
        let window = |rule: &BurnRule| (Window::new(rule.long_seconds), Window::new(rule.short_seconds));
        let windows = config.rules.iter().map(window).collect();
        Ok(Self { period: Window::new(period), config, windows, first: None })
    }

    /// Counts events that ended at `at_seconds`, in any order of time.
    pub fn record(&mut self, at_seconds: i64, good: u64, bad: u64) -> Recorded {
        let events = Events { good, bad };
        if events.total() == 0 {
            return Recorded::Everywhere;
        }
        if !self.period.record(at_seconds, events) {
            return Recorded::TooLate;
        }
        self.first = Some(self.first.map_or(at_seconds, |first| first.min(at_seconds)));
        let mut everywhere = true;
        for (long, short) in &mut self.windows {
            everywhere &= long.record(at_seconds, events);
            everywhere &= short.record(at_seconds, events);
        }
        if everywhere { Recorded::Everywhere } else { Recorded::Late }
    }

    /// What the events up to `now_seconds` say.
    pub fn report(&self, now_seconds: i64) -> SloReport {
        let rules: Vec<RuleReport> = self
            .config
            .rules
            .iter()
            .zip(&self.windows)
            .map(|(rule, (long, short))| {
                self.rule(*rule, long.events(now_seconds), short.events(now_seconds))
            })
            .collect();
        let firing = rules.iter().filter(|report| report.state == RuleState::Firing);
        SloReport {
            urgency: firing.map(|report| report.rule.urgency).max(),
            budget: self.budget(now_seconds, &rules),
            rules,
        }
    }

    fn allowed(&self) -> f64 {
        1.0 - self.config.objective
    }

    fn rule(&self, rule: BurnRule, long: Events, short: Events) -> RuleReport {
        let rate = |events: Events| events.bad_share().map(|share| share / self.allowed());
        let (long_rate, short_rate) = (rate(long), rate(short));
        let windows = (duration(rule.long_seconds as f64), duration(rule.short_seconds as f64));
        let (state, reason) = match (long_rate, short_rate) {
            (None, _) => (RuleState::NoData, format!("no events in the last {}", windows.0)),
            (_, None) => (RuleState::NoData, format!("no events in the last {}", windows.1)),
            (Some(over_long), Some(over_short)) => {
                let usual = 0.5 * rule.burn_rate * self.allowed();
                let state = if over_long < rule.burn_rate || over_short < rule.burn_rate {
                    RuleState::Quiet
                } else if binomial_upper(long.bad, long.total(), usual) > self.config.chance {
                    RuleState::FewEvents
                } else {
                    RuleState::Firing
                };
                let numbers = format!(
                    "{} of {} events were bad in the last {}, {} of {} in the last {}: the budget burns {over_long:.1} \
                     and {over_short:.1} times as fast as it may, the rule is {} times",
                    long.bad,
                    long.total(),
                    windows.0,
                    short.bad,
                    short.total(),
                    windows.1,
                    rule.burn_rate,
                );
                let reason = match state {
                    RuleState::FewEvents => format!("{numbers}; so few events may be an accident"),
                    _ => numbers,
                };
                (state, reason)
            }
        };
        RuleReport { rule, state, long: long_rate, short: short_rate, reason }
    }

    fn budget(&self, now: i64, rules: &[RuleReport]) -> Budget {
        let period = self.config.period_seconds as f64;
        let events = self.period.events(now);
        let (Some(share), Some(first)) = (events.bad_share(), self.first) else {
            let reason = format!("no events in the last {}", duration(period));
            return Budget { left: None, seen: 0.0, exhaustion: Exhaustion::NoData, reason };
        };
        let seen = ((now as f64 - first as f64) / period).clamp(1.0 / period, 1.0);
        // What was not seen is taken to carry the same traffic, without errors.
        let left = 1.0 - share / self.allowed() * seen;
        let speed = rules.iter().find_map(|report| report.long);
        let exhaustion = match speed {
            _ if left <= 0.0 => Exhaustion::Now,
            None => Exhaustion::NoData,
            Some(speed) if left * period <= speed * period => Exhaustion::InSeconds(left * period / speed),
            Some(_) => Exhaustion::NotInPeriod,
        };
        let lasts = match exhaustion {
            Exhaustion::NoData => "no recent events tell how long that lasts".to_owned(),
            Exhaustion::Now => "it is used up".to_owned(),
            Exhaustion::NotInPeriod => "at the present speed it lasts longer than the period".to_owned(),
            Exhaustion::InSeconds(seconds) => {
                format!("at the present speed it is used up in {}", duration(seconds))
            }
        };
        let reason = format!(
            "{} of {} events were bad in the last {}, {:.4} % may be: {:.0} % of the budget is left; {lasts}",
            events.bad,
            events.total(),
            duration(period * seen),
            100.0 * self.allowed(),
            100.0 * left,
        );
        Budget { left: Some(left), seen, exhaustion, reason }
    }
}

/// A duration in the largest unit that leaves two of it.
fn duration(seconds: f64) -> String {
    let (length, unit) = match seconds {
        s if s >= 2.0 * 86_400.0 => (s / 86_400.0, "days"),
        s if s >= 2.0 * 3_600.0 => (s / 3_600.0, "hours"),
        s if s >= 120.0 => (s / 60.0, "minutes"),
        s => (s, "seconds"),
    };
    let rounded = (length * 10.0).round() / 10.0;
    format!("{rounded} {unit}")
}

#[cfg(test)]
mod tests;
