//! A fault that comes back regularly: how often, when it is expected next, and whether that is still believed.
//!
//! Only gaps in which nothing was done ahead of it tell its rhythm: where the pods were replaced, it did not come for that
//! reason, or came late. So nobody can tell whether what was prevented would have come. Twice in a row is believed; then the
//! next one is let come, which tells whether the fault is still there.

use super::{Coming, Moment, weigh};

/// Faults below which nothing is called regular.
const FEW: usize = 4;
/// Largest deviation of a gap, as a share of the median gap, of what is regular.
const REGULAR: f64 = 0.1;
/// Gaps that are looked at, the newest ones.
const GAPS: usize = 7;
/// What comes more often, in seconds, is no matter of replacing pods ahead of it.
const LEAST: f64 = 3_600.0;
/// A fault so soon after another one, in seconds, is the same return.
const SAME: i64 = 1_800;
/// What is farther away, in seconds, is not looked at yet; nor what is farther than a quarter of its period.
const WITHIN: f64 = 3_600.0;
/// Returns that did not come, or came all the same, after which nothing is done ahead of them.
const GIVEN_UP: usize = 2;

/// What is known of one fault of one workload. All times are seconds of one clock, in order.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// When it began.
    pub faults: &'a [i64],
    /// From when on returns were looked for ahead of which the pods were replaced.
    pub replaced: &'a [i64],
}

/// How a fault comes back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rhythm {
    /// Median gap, seconds.
    pub period: f64,
    /// Median deviation of the gaps from it, seconds.
    pub off: f64,
    /// Times that it came, at the least.
    pub times: usize,
}

/// What is to be expected.
#[derive(Clone, Debug, PartialEq)]
pub enum Foretold {
    /// Nothing, or nothing soon, and why.
    Nothing(String),
    /// It was expected and did not come, or came although the pods were new, each twice in a row: nothing is done ahead of
    /// it until it comes again. Why.
    GivenUp(String),
    /// It comes back soon.
    Soon {
        /// How it comes back.
        rhythm: Rhythm,
        /// When it is expected.
        expected: i64,
        /// From when on it is looked for a minute to act.
        opens: i64,
        /// Returns that were expected since it came last and were not seen.
        missed: usize,
        /// What to do now.
        coming: Coming,
    },
}

/// Whether a fault comes back soon, and what to do about it now.
pub fn before_return(past: &Past<'_>, now: i64, moment: &Moment) -> Foretold {
    let faults = returns(past.faults);
    let rhythm = match rhythm(&faults, past.replaced) {
        Ok(rhythm) => rhythm,
        Err(reason) => return Foretold::Nothing(reason),
    };
    let Some(last) = faults.last().copied() else { return Foretold::Nothing("it never came".to_owned()) };
    let Rhythm { period, off, .. } = rhythm;
    if period < LEAST {
        let reason = format!("every {period:.0} s is too often to replace the pods ahead of it each time");
        return Foretold::Nothing(reason);
    }
    if all_the_same(&faults, past.replaced, period) >= GIVEN_UP {
        return Foretold::GivenUp(format!("it came although the pods were new, {GIVEN_UP} times in a row"));
    }
    let since_then = past.replaced.iter().copied().filter(|at| *at > last);
    let (replaced, newest) = since_then.fold((0, None), |(count, _), at| (count + 1, Some(at)));
    // New pods begin a new period, somewhere within the time in which they may have been made.
    let (from, loose) = newest.map_or((last, 0.0), |at| (at, within(period)));
    let late = (3.0 * off).max(REGULAR * period) + loose;
    let since = now.saturating_sub(from) as f64;
    let passed = ((since - late) / period).floor().max(0.0);
    let missed = replaced + passed.min(1e6) as usize;
    if missed >= GIVEN_UP {
        let reason = format!("it was expected {GIVEN_UP} times since it came last, and did not come");
        return Foretold::GivenUp(reason);
    }
    let expected = from.saturating_add(((passed + 1.0) * period).round() as i64);
    let opens = expected.saturating_sub((3.0 * off + within(period)).round() as i64);
    if now < opens {
        return Foretold::Nothing(format!("the next is {} s away", expected.saturating_sub(now)));
    }
    let earliest = (expected.saturating_sub(now) as f64 - 3.0 * off).max(0.0);
    let (advice, why) = weigh(earliest, moment);
    let coming = Coming { earliest: Some(earliest), advice, reason: why.to_owned() };
    Foretold::Soon { rhythm, expected, opens, missed, coming }
}

/// How far ahead is looked.
fn within(period: f64) -> f64 {
    WITHIN.min(period / 4.0)
}

/// When it came, each return once.
fn returns(faults: &[i64]) -> Vec<i64> {
    let mut returns: Vec<i64> = Vec::with_capacity(faults.len());
    for at in faults {
        if returns.last().is_none_or(|last| at.saturating_sub(*last) >= SAME) {
            returns.push(*at);
        }
    }
    returns
}

fn rhythm(faults: &[i64], replaced: &[i64]) -> Result<Rhythm, String> {
    let undisturbed = |pair: &&[i64]| !replaced.iter().any(|at| (pair[0]..pair[1]).contains(at));
    let gaps: Vec<f64> =
        faults.windows(2).filter(undisturbed).map(|pair| pair[1].saturating_sub(pair[0]) as f64).collect();
    let gaps = &gaps[gaps.len().saturating_sub(GAPS)..];
    if gaps.len() + 1 < FEW {
        return Err(format!("{} returns are too few to be regular, {FEW} are needed", gaps.len() + 1));
    }
    let period = middle(gaps.to_vec());
    let off = middle(gaps.iter().map(|gap| (gap - period).abs()).collect());
    let regular = |gap: &f64| (gap - period).abs() <= REGULAR * period;
    let newest = &gaps[gaps.len() + 1 - FEW..];
    if off > REGULAR * period || !newest.iter().all(regular) {
        return Err(format!("not regular: every {period:.0} s, give or take {off:.0} s"));
    }
    Ok(Rhythm { period, off, times: gaps.iter().filter(|gap| regular(gap)).count() + 1 })
}

/// The newest returns in a row that came although the pods had just been replaced.
fn all_the_same(faults: &[i64], replaced: &[i64], period: f64) -> usize {
    let came = |at: &&i64| {
        faults
            .iter()
            .any(|fault| fault > *at && (fault.saturating_sub(**at) as f64) < within(period) + period / 4.0)
    };
    // The newest may be too young to tell.
    let last = faults.last().copied().unwrap_or(i64::MIN);
    replaced.iter().rev().skip_while(|at| **at > last).take_while(came).count()
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::Advice;
    use super::*;

    const HOUR: i64 = 3_600;
    /// Every six hours and a little.
    const GAP: i64 = 6 * HOUR + 120;
    const BUSY: Moment = Moment { load: 0.9, quiet: 0.5, needs: 300.0 };
    const QUIET: Moment = Moment { load: 0.1, ..BUSY };

    fn came(times: i64) -> Vec<i64> {
        (0..times).map(|number| number * GAP + number % 2 * 60).collect()
    }

    fn told(faults: &[i64], replaced: &[i64], now: i64, moment: &Moment) -> Foretold {
        before_return(&Past { faults, replaced }, now, moment)
    }

    fn advice(told: &Foretold) -> Advice {
        match told {
            Foretold::Soon { coming, .. } => coming.advice,
            Foretold::Nothing(_) | Foretold::GivenUp(_) => Advice::Nothing,
        }
    }

    #[test]
    fn the_fourth_return_foretells_the_fifth_and_no_fewer_do() {
        let next = |times: i64| times * GAP;
        for times in 0..4 {
            let said = told(&came(times), &[], next(times) - 900, &QUIET);
            assert_eq!(advice(&said), Advice::Nothing, "{times}: {said:?}");
        }
        let faults = came(4);
        let far = told(&faults, &[], next(4) - 2 * HOUR, &QUIET);
        assert!(matches!(&far, Foretold::Nothing(why) if why.contains("away")), "{far:?}");
        let Foretold::Soon { rhythm, expected, opens, missed, coming } =
            told(&faults, &[], next(4) - 1_500, &QUIET)
        else {
            panic!("it is expected")
        };
        assert!(
            (expected - next(4)).abs() <= 180 && rhythm.times == 4 && missed == 0,
            "{expected} {rhythm:?}"
        );
        assert!((GAP - 120..=GAP + 120).contains(&(rhythm.period as i64)), "{rhythm:?}");
        assert!(opens < next(4) - 1_500 && coming.advice == Advice::Act);
        assert_eq!(advice(&told(&faults, &[], next(4) - 1_500, &BUSY)), Advice::Wait);
        // Two times five minutes before the earliest, quiet or not.
        assert_eq!(advice(&told(&faults, &[], next(4) - 400, &BUSY)), Advice::Act);
    }

    #[test]
    fn what_is_irregular_or_comes_all_the_time_is_not_foretold() {
        let odd = [0, 6 * HOUR, 7 * HOUR, 20 * HOUR, 22 * HOUR, 47 * HOUR];
        let wild_once = [0, 6 * HOUR, 12 * HOUR, 18 * HOUR, 38 * HOUR];
        let often: Vec<i64> = (0..9).map(|number| number * 2_400).collect();
        for faults in [&odd[..], &wild_once[..], &often[..]] {
            for now in 0..60 {
                let last = faults[faults.len() - 1];
                let said = told(faults, &[], last + now * 600, &QUIET);
                assert!(matches!(said, Foretold::Nothing(_)), "{faults:?} {now}: {said:?}");
            }
        }
        // One that comes twice in a moment came once.
        let twice: Vec<i64> = came(4).into_iter().flat_map(|at| [at, at + 300]).collect();
        assert_eq!(advice(&told(&twice, &[], 4 * GAP - 900, &QUIET)), Advice::Act);
    }

    #[test]
    fn what_was_acted_on_is_over_and_the_next_one_is_counted_from_there() {
        let faults = came(4);
        let Foretold::Soon { opens, expected, .. } = told(&faults, &[], 4 * GAP - 900, &QUIET) else {
            panic!("it is expected")
        };
        let again = |now: i64| advice(&told(&faults, &[opens], now, &QUIET));
        for now in (opens..expected + GAP / 2).step_by(60) {
            assert_eq!(again(now), Advice::Nothing, "never twice for one return: {now}");
        }
        assert_eq!(again(opens + GAP - 900), Advice::Act, "the next one");
        let second = [opens, opens + GAP - HOUR];
        for now in (second[1]..second[1] + 20 * GAP).step_by(600) {
            let said = told(&faults, &second, now, &QUIET);
            assert!(matches!(said, Foretold::GivenUp(_)), "the third is let come: {said:?}");
        }
        // It comes: the fault is still there, and its rhythm is that of the undisturbed gaps.
        let mut back = faults.clone();
        back.push(second[1] + GAP);
        let next = second[1] + 2 * GAP;
        assert_eq!(advice(&told(&back, &second, next - 900, &QUIET)), Advice::Act);
    }

    #[test]
    fn what_does_not_come_twice_is_given_up_until_it_comes_again() {
        let faults = came(4);
        let first = told(&faults, &[], 4 * GAP - 900, &BUSY);
        let second = told(&faults, &[], 5 * GAP - 900, &BUSY);
        let third = told(&faults, &[], 6 * GAP - 900, &BUSY);
        assert!(matches!(first, Foretold::Soon { missed: 0, .. }), "{first:?}");
        assert!(matches!(second, Foretold::Soon { missed: 1, .. }), "{second:?}");
        assert!(matches!(&third, Foretold::GivenUp(why) if why.contains("did not come")), "{third:?}");
        assert!(matches!(told(&faults, &[], 4 * GAP + 3 * HOUR, &BUSY), Foretold::Nothing(_)));
    }

    #[test]
    fn what_comes_although_the_pods_are_new_is_given_up() {
        let mut faults = came(4);
        let mut replaced = Vec::new();
        for number in 4..6 {
            assert_eq!(advice(&told(&faults, &replaced, number * GAP - 900, &QUIET)), Advice::Act);
            replaced.push(number * GAP - 3_000);
            faults.push(number * GAP);
        }
        let said = told(&faults, &replaced, 6 * GAP - 900, &QUIET);
        assert!(matches!(&said, Foretold::GivenUp(why) if why.contains("pods were new")), "{said:?}");
    }

    #[test]
    fn no_time_is_too_odd() {
        for now in [i64::MIN, -1, 0, i64::MAX] {
            let _ = told(&[i64::MIN, 0, i64::MAX], &[i64::MIN, i64::MAX], now, &QUIET);
            let _ = told(&came(6), &[now], now, &QUIET);
        }
    }
}
