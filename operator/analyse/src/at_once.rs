//! Answers that are wrong at once. Who is short of processor time answers late, or is given up; whose answers are all wrong,
//! one after another, and come as quickly as usual, has a fault of its own also while its node is busy.

use homeostat_knowledge::{SignedDuration, Timestamp};

/// All answers must be wrong at once for so long: a queue that is full may refuse some for a moment.
const LASTS: SignedDuration = SignedDuration::from_millis(1_500);
/// And so many of them.
const LEAST: u32 = 10;
/// One other answer among so many is believed: a probe, or one that was under way.
const OTHER_IN: u32 = 10;
/// Without an answer for so long nothing is known any more.
const KNOWN_FOR: SignedDuration = SignedDuration::from_millis(2_500);

/// Wrong answers of one pod, nearly without others between them.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtOnce {
    run: Option<Run>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    since: Timestamp,
    last: Timestamp,
    wrong: u32,
    others: u32,
}

impl AtOnce {
    /// Takes the end of an answer, and whether it was an error of the pod itself that came no later than usual.
    pub fn add(&mut self, end: Timestamp, wrong_at_once: bool) {
        if self.run.is_some_and(|run| end.duration_since(run.last) > KNOWN_FOR) {
            self.run = None;
        }
        self.run = match (self.run, wrong_at_once) {
            (None, true) => Some(Run { since: end, last: end, wrong: 1, others: 0 }),
            (None, false) => None,
            (Some(run), true) => {
                Some(Run { last: run.last.max(end), wrong: run.wrong.saturating_add(1), ..run })
            }
            (Some(run), false) => {
                let others = run.others.saturating_add(1);
                (others <= run.wrong / OTHER_IN).then_some(Run { others, ..run })
            }
        };
    }

    /// Since when nearly all answers are wrong at once, if that can be said.
    pub fn since(&self, now: Timestamp) -> Option<Timestamp> {
        let run = self.run.filter(|run| now.duration_since(run.last) <= KNOWN_FOR)?;
        (run.wrong >= LEAST && run.last.duration_since(run.since) >= LASTS).then_some(run.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_millis(1_000_000 + millis)
    }

    /// One answer each 50 ms until `end`, as `wrong` says of its number.
    fn answers(end: i64, wrong: impl Fn(i64) -> bool) -> AtOnce {
        let mut known = AtOnce::default();
        for number in 0..=end / 50 {
            known.add(at(number * 50), wrong(number));
        }
        known
    }

    #[test]
    fn only_what_is_wrong_throughout_and_for_long_enough_counts() {
        assert_eq!(answers(1_450, |_| true).since(at(1_500)), None, "it may be a moment");
        assert_eq!(answers(1_500, |_| true).since(at(1_500)), Some(at(0)));
        assert_eq!(answers(3_000, |number| number % 5 != 0).since(at(3_000)), None, "one in five is right");
        assert_eq!(
            answers(3_000, |number| number != 15).since(at(3_000)),
            Some(at(0)),
            "one of all is right"
        );
        assert_eq!(answers(3_000, |number| number >= 20).since(at(3_000)), Some(at(1_000)), "the first were");
    }

    #[test]
    fn a_few_answers_or_old_ones_say_nothing() {
        let mut few = AtOnce::default();
        for number in 0..9 {
            few.add(at(number * 400), true);
        }
        assert_eq!(few.since(at(3_300)), None);
        let known = answers(3_000, |_| true);
        assert_eq!(known.since(at(5_500)), Some(at(0)));
        assert_eq!(known.since(at(5_501)), None);
    }

    #[test]
    fn wrong_answers_after_a_pause_begin_anew() {
        let mut known = answers(3_000, |_| true);
        for number in 0..30 {
            known.add(at(6_000 + number * 50), true);
        }
        assert_eq!(known.since(at(7_450)), None, "it may be a moment again");
        known.add(at(7_500), true);
        assert_eq!(known.since(at(7_500)), Some(at(6_000)));
    }
}
