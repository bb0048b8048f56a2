//! Whether a run is made because work waits that its schedule does not ask for yet, and why not.
//!
//! One run at a time, some seconds between two, and none beside one that its schedule is about to bring. What does not help
//! is done more and more seldom: after a run that was given up, and after several in a row that ended well while no less
//! waits than when they began. What is not known makes no run.

use super::later;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A run whose slot is so near is left to come by itself.
pub const SOON: SignedDuration = SignedDuration::from_secs(60);
/// Least time without a run before one is made.
pub const BETWEEN: SignedDuration = SignedDuration::from_secs(10);
/// Least time between the end of a run from the backlog and the next one: until then its value may still be the one from
/// before the end, scraped and asked for every fifteen seconds.
const SETTLES: SignedDuration = SignedDuration::from_secs(45);
/// Least time from a run that was given up to the next one; doubled for each further one in a row, up to [`LONGEST`].
const LEAST: SignedDuration = SignedDuration::from_mins(5);
/// See [`LEAST`].
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// Runs in a row that ended well and took nothing off the backlog, from which on the next ones are made seldom.
const IN_VAIN: u32 = 3;
/// Time from such a run to the next one.
const SELDOM: SignedDuration = SignedDuration::from_mins(10);

/// What is known of a job when it is asked whether a run is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Asks {
    /// Items from which on a run is made.
    pub from: u32,
    /// Items that wait; `None`: the source is silent.
    pub items: Option<f64>,
    /// Series of that source that are missing: there are more items than it says.
    pub missing: usize,
    /// No run of it is wanted at all.
    pub suspended: bool,
    /// A run of it waits or is under way, whoever made it.
    pub busy: bool,
    /// None was since then, as far as is known.
    pub free_since: Timestamp,
    /// The next moment for which its schedule makes a run, or one that has come and whose run is not there yet.
    pub announced: Option<Timestamp>,
    /// A run must have ended so long after its slot.
    pub deadline: SignedDuration,
}

/// Whether a run is made, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// One is made now.
    Make(String),
    /// None is, as it should be.
    Rest(String),
    /// None is although work waits, or nobody knows whether it does: people should look.
    Held(String),
}

/// What the runs came to that were made from the backlog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Past {
    /// Those in a row that were given up.
    given_up: u32,
    /// Those in a row that ended well, and after which no less waited when the next one was made.
    in_vain: u32,
    /// Items that waited when the last one began; `None` unless it ended well and no fewer were seen since.
    waited: Option<f64>,
    /// When the last one ended.
    ended: Option<Timestamp>,
}

impl Past {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it can be what became of runs.
    pub fn is_sound(&self) -> bool {
        self.waited.is_none_or(|items| items.is_finite() && items >= 0.0)
    }

    /// A run ended well; so many items waited when it began, if that is known.
    pub fn ended_well(&mut self, waited: Option<f64>, at: Timestamp) {
        self.given_up = 0;
        self.waited = waited.filter(|items| items.is_finite() && *items > 0.0);
        self.ended = Some(at);
    }

    /// A run was given up.
    pub fn gave_up(&mut self, at: Timestamp) {
        self.given_up = self.given_up.saturating_add(1);
        (self.in_vain, self.waited) = (0, None);
        self.ended = Some(at);
    }

    /// So many items wait now: fewer than when the last run began say that it took some off. What was kept by a clock that
    /// was ahead counts from now on.
    pub fn seen(&mut self, items: Option<f64>, now: Timestamp) {
        self.ended = self.ended.map(|at| at.min(now));
        if let (Some(items), Some(waited)) = (items, self.waited)
            && items < waited
        {
            (self.in_vain, self.waited) = (0, None);
        }
    }

    /// The next run was made. Until then the source has had time to tell of the one before.
    pub fn made(&mut self) {
        if self.waited.take().is_some() {
            self.in_vain = self.in_vain.saturating_add(1);
        }
    }

    /// Until when none is made after those that were given up.
    fn backs_off_until(&self, deadline: SignedDuration) -> Option<Timestamp> {
        let further = self.given_up.checked_sub(1)?;
        let least = LEAST.max(deadline);
        let wait = least.checked_mul(1 << further.min(16)).unwrap_or(LONGEST);
        Some(later(self.ended?, wait.min(LONGEST.max(least))))
    }

    /// Runs in a row that took nothing off the backlog, as far as is known now.
    fn streak(&self) -> u32 {
        self.in_vain.saturating_add(u32::from(self.waited.is_some()))
    }
}

/// Whether a run is made now.
pub fn decide(asks: &Asks, past: &Past, now: Timestamp) -> Decision {
    let from = asks.from;
    if asks.suspended {
        return Decision::Rest("no run is made from the backlog while the CronJob is suspended".to_owned());
    }
    let Some(items) = asks.items.filter(|items| items.is_finite() && *items >= 0.0) else {
        return Decision::Held("the backlog is silent: no run is made from it".to_owned());
    };
    if items < f64::from(from) {
        let missing = match asks.missing {
            0 => String::new(),
            count => format!(", and {count} series of the backlog are missing"),
        };
        return Decision::Rest(format!(
            "fewer than {from} items wait: no run is made from the backlog{missing}"
        ));
    }
    if asks.busy {
        return Decision::Rest(format!("{from} items or more wait, and runs are made one at a time"));
    }
    if let Some(slot) = asks.announced.filter(|slot| *slot <= later(now, SOON)) {
        return Decision::Rest(format!("{from} items or more wait, and the run of {slot} comes by itself"));
    }
    if let Some(until) = past.backs_off_until(asks.deadline).filter(|until| now < *until) {
        let runs = if past.given_up == 1 {
            "the last run".to_owned()
        } else {
            format!("{} runs in a row", past.given_up)
        };
        return Decision::Held(format!(
            "{from} items or more wait, and {runs} made from the backlog came to nothing: the next one is made at \
             {until:.0} at the earliest"
        ));
    }
    let seldom = past.ended.filter(|_| past.streak() >= IN_VAIN).map(|ended| later(ended, SELDOM));
    if let Some(until) = seldom.filter(|until| now < *until) {
        return Decision::Held(format!(
            "{} runs in a row ended well and no fewer items wait than when they began: either the backlog does not count \
             what this job works off, or as much comes as goes; the next one is made at {until:.0} at the earliest",
            past.streak()
        ));
    }
    let settled = past.ended.is_none_or(|ended| now >= later(ended, SETTLES));
    if !settled || now < later(asks.free_since, BETWEEN) {
        return Decision::Rest(format!("{from} items or more wait, and a run ended a moment ago"));
    }
    Decision::Make(format!("{items:.0} items wait, {from} are enough, and its schedule asks for no run now"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn asks(items: Option<f64>) -> Asks {
        Asks {
            from: 20,
            items,
            missing: 0,
            suspended: false,
            busy: false,
            free_since: at(-3_600),
            announced: Some(at(3_600)),
            deadline: SignedDuration::from_mins(2),
        }
    }

    /// `make`, `rest` or `held`, and the words.
    fn decided(asks: &Asks, past: &Past, second: i64) -> (&'static str, String) {
        match decide(asks, past, at(second)) {
            Decision::Make(why) => ("make", why),
            Decision::Rest(why) => ("rest", why),
            Decision::Held(why) => ("held", why),
        }
    }

    /// The first second from `from` on at which a run is made again.
    fn next(asks: &Asks, past: &Past, from: i64) -> i64 {
        (from..from + 20_000).find(|second| decided(asks, past, *second).0 == "make").expect("some time")
    }

    #[test]
    fn a_run_is_made_from_so_many_items_on_and_every_obstacle_is_said() {
        let none = Past::default();
        let plenty = asks(Some(20.0));
        assert_eq!(decided(&plenty, &none, 0).0, "make");
        for (asks, what, words) in [
            (asks(Some(19.9)), "rest", "fewer than 20"),
            (Asks { missing: 2, ..asks(Some(3.0)) }, "rest", "2 series"),
            (Asks { missing: 2, ..asks(Some(30.0)) }, "make", "30 items wait"),
            (asks(None), "held", "silent"),
            (asks(Some(f64::NAN)), "held", "silent"),
            (asks(Some(-1.0)), "held", "silent"),
            (Asks { suspended: true, ..plenty.clone() }, "rest", "suspended"),
            (Asks { suspended: true, ..asks(None) }, "rest", "suspended"),
            (Asks { busy: true, ..plenty.clone() }, "rest", "one at a time"),
            (Asks { announced: Some(at(60)), ..plenty.clone() }, "rest", "comes by itself"),
            (Asks { announced: Some(at(61)), ..plenty.clone() }, "make", "20 items wait"),
            (Asks { announced: Some(at(-30)), ..plenty.clone() }, "rest", "comes by itself"),
            (Asks { announced: None, ..plenty.clone() }, "make", "20 items wait"),
            (Asks { free_since: at(-9), ..plenty.clone() }, "rest", "a moment ago"),
            (Asks { free_since: at(-10), ..plenty.clone() }, "make", "20 items wait"),
        ] {
            let (found, why) = decided(&asks, &none, 0);
            assert!(found == what && why.contains(words), "{asks:?}: {found} {why}");
        }
    }

    #[test]
    fn after_a_run_that_was_given_up_the_next_one_waits_twice_as_long_each_time_up_to_an_hour() {
        let asks = Asks { announced: None, ..asks(Some(50.0)) };
        let mut past = Past::default();
        let mut waits = Vec::new();
        for _ in 0..6 {
            past.gave_up(at(0));
            waits.push(next(&asks, &past, 0) / 60);
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        assert!(decided(&asks, &past, 60).1.contains("6 runs in a row"), "{}", decided(&asks, &past, 60).1);
        let long = Asks { deadline: SignedDuration::from_hours(2), ..asks.clone() };
        assert_eq!(next(&long, &past, 0), 2 * 3_600, "no sooner than its deadline");
        past.ended_well(None, at(0));
        assert_eq!(next(&asks, &past, 0), 45, "one that ended well makes up for all of them");
    }

    #[test]
    fn after_three_runs_that_took_nothing_off_the_next_ones_are_seldom_until_one_does() {
        let asks = asks(Some(50.0));
        let mut past = Past::default();
        let mut waits = Vec::new();
        for _ in 0..5 {
            past.made();
            past.ended_well(Some(50.0), at(0));
            past.seen(Some(50.0), at(0));
            waits.push(next(&asks, &past, 0));
        }
        assert_eq!(waits, [45, 45, 600, 600, 600]);
        assert!(decided(&asks, &past, 1).1.contains("no fewer items wait"), "{}", decided(&asks, &past, 1).1);
        past.seen(Some(49.0), at(0));
        assert_eq!(next(&asks, &past, 0), 45, "the source was late to tell");
        past.made();
        past.ended_well(Some(50.0), at(0));
        assert_eq!(next(&asks, &past, 0), 45, "counted anew");
        for unknown in [None, Some(0.0), Some(f64::NAN)] {
            for _ in 0..5 {
                past.made();
                past.ended_well(unknown, at(0));
            }
            assert_eq!(next(&asks, &past, 0), 45, "{unknown:?} says nothing");
        }
    }

    #[test]
    fn what_is_kept_counts_after_a_restart_and_a_clock_that_was_ahead_holds_nothing_up_for_long() {
        let asks = asks(Some(50.0));
        let mut past = Past::default();
        past.gave_up(at(0));
        let text = serde_json::to_string(&past).unwrap();
        let back: Past = serde_json::from_str(&text).unwrap();
        assert_eq!((back, back.is_sound(), back.is_empty()), (past, true, false));
        past.gave_up(at(1_000_000));
        past.seen(Some(50.0), at(0));
        assert_eq!(next(&asks, &past, 0), 600);
        let wrong: Past = serde_json::from_str(r#"{"waited":-1.0}"#).unwrap();
        assert!(!wrong.is_sound());
        assert!(serde_json::from_str::<Past>("{}").unwrap().is_empty());
    }
}
