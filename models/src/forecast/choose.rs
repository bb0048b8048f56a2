//! Choice of models for one series, by rolling back-test.
//!
//! Every cheap model forecasts every back-tested origin from what came before it. The mixture weighs each by the inverse
//! sixteenth power of its error over the latest days: close to picking the best, but two that are equally good are
//! averaged (Bates and Granger 1969). Bands come from the mixture's own back-test errors.

use super::bands::Bands;
use super::calendar::{Calendar, Effects};
use super::config::ForecastConfig;
use super::decomposition::Decomposition;
use super::history::{History, usable};
use super::models::{self, CHEAP, Model};
use super::season::{self, Confirmed, Season};
use super::view::View;
use super::{naive, naive_at};
use serde::{Deserialize, Serialize};

/// Weights below this are left out of a mixture: cheaper, and easier to read.
const LEAST_WEIGHT: f64 = 0.02;
/// Back-tested steps below which nothing is claimed.
const FEW_STEPS: usize = 24;
/// Decomposition must be this much better than the cheap models to be worth its cost.
const WORTH: f64 = 0.95;

/// Models chosen for one series, with what their back-test showed. Small, and can be stored and restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    pub(super) config: ForecastConfig,
    pub(super) step_seconds: u32,
    /// Models and weights, the heaviest first; weights sum to 1. Empty when the history has no usable point.
    pub(super) weights: Vec<(Model, f64)>,
    pub(super) seasons: Vec<Confirmed>,
    pub(super) cycle: Option<usize>,
    pub(super) bands: Bands,
    pub(super) effects: Option<Effects>,
    pub(super) decomposition: Option<Decomposition>,
    pub(super) evidence: Evidence,
    /// Origin of the choice, and of the next forecast whose outcome will be observed.
    pub(super) at: i64,
    pub(super) next: i64,
}

/// What the back-test of a choice showed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Steps that were forecast and seen.
    pub steps: usize,
    /// Mean absolute error of the chosen models, in the series' unit.
    pub error: f64,
    /// Of the seasonal naive forecast, if there is one.
    pub seasonal_naive: Option<f64>,
    /// Of the last value.
    pub last_value: f64,
}

impl Evidence {
    /// Error against the seasonal naive forecast, or against the last value in a series without a cycle. 1 when that
    /// was exact.
    pub fn against_naive(&self) -> f64 {
        ratio(self.error, self.seasonal_naive.unwrap_or(self.last_value))
    }

    /// Error against the better of the naive forecasts.
    pub fn against_best_naive(&self) -> f64 {
        ratio(self.error, self.seasonal_naive.unwrap_or(f64::INFINITY).min(self.last_value))
    }
}

fn ratio(error: f64, naive: f64) -> f64 {
    if naive > 0.0 { error / naive } else { 1.0 }
}

/// Why a choice must be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A day has passed.
    Daily,
    /// Recent errors are far above the back-tested ones.
    Drift,
}

/// A back-tested origin.
struct Tested {
    rows: Vec<Vec<f64>>,
    spread: Vec<f64>,
    actual: Vec<f64>,
    naive: Vec<f64>,
    last: f64,
}

/// Chooses models for a history. `shift` is what an earlier choice had learnt of its bands.
pub(super) fn choose(
    config: &ForecastConfig,
    history: &History<'_>,
    calendar: &Calendar,
    shift: (f64, f64),
) -> Chosen {
    let seasons = season::confirm(history);
    let cycle = cycle(history, &seasons, config.horizon);
    let plain = test(config, history, cycle, &seasons);
    let effects = calendar_effects(config, history, calendar, cycle, &seasons, &plain);
    match effects {
        None => weigh(config, history, cycle, seasons, &plain, shift),
        Some(effects) => {
            let values = effects.clean(history);
            let clean = history.with(&values);
            let tested = test(config, &clean, cycle, &seasons);
            Chosen { effects: Some(effects), ..weigh(config, &clean, cycle, seasons, &tested, shift) }
        }
    }
}

/// The cycle that days are compared by: the day as soon as two are there, else a confirmed hour.
fn cycle(history: &History<'_>, seasons: &[Confirmed], horizon: usize) -> Option<usize> {
    let day = history.steps_in(Season::Day.seconds()).filter(|day| *day > horizon);
    let length = history.values().len();
    day.filter(|day| length >= 2 * day).or_else(|| {
        let hour = seasons.iter().find(|found| found.season == Season::Hour)?;
        (hour.steps >= horizon).then_some(hour.steps)
    })
}

/// The past as models see it.
pub(super) fn view<'a>(
    config: &ForecastConfig,
    values: &'a [f64],
    cycle: Option<usize>,
    seasons: &[Confirmed],
) -> View<'a> {
    let week = seasons.iter().find(|found| found.season == Season::Week).map(|found| found.steps);
    View { values, cycle, week, horizon: config.horizon, memory: config.memory_cycles }
}

/// Origins in a day, or in 24 horizons of a series without a cycle.
fn origins_per_day(history: &History<'_>, horizon: usize) -> usize {
    history.steps_in(Season::Day.seconds()).map_or(24, |day| (day / horizon).clamp(1, 96))
}

/// Back-tests all cheap models, oldest origin first.
fn test(
    config: &ForecastConfig,
    history: &History<'_>,
    cycle: Option<usize>,
    seasons: &[Confirmed],
) -> Vec<Tested> {
    let (values, horizon) = (history.values(), config.horizon);
    let least = cycle.unwrap_or(0) + 4 * horizon;
    let wanted = config.back_test_days * origins_per_day(history, horizon);
    let possible = values.len().saturating_sub(least) / horizon;
    (1..=wanted.min(possible))
        .rev()
        .map(|back| {
            let origin = values.len() - back * horizon;
            let past = view(config, &values[..origin], cycle, seasons);
            let models::Rows { rows, spread } = models::run(&past, CHEAP.into_iter(), horizon);
            let before = history.with(&values[..origin]);
            Tested {
                rows,
                spread,
                actual: values[origin..origin + horizon].to_vec(),
                naive: (0..horizon).map(|step| naive_at(&before, cycle, step).unwrap_or(f64::NAN)).collect(),
                last: past.last().unwrap_or(f64::NAN),
            }
        })
        .collect()
}

/// Sum and number of absolute errors.
fn errors(forecast: &[f64], actual: &[f64]) -> (f64, usize) {
    forecast
        .iter()
        .zip(actual)
        .filter(|(said, came)| usable(**said) && usable(**came))
        .fold((0.0, 0), |(sum, count), (said, came)| (sum + (said - came).abs(), count + 1))
}

/// Mean absolute error over some origins; `None` of nothing.
fn mean_error<'a>(pairs: impl Iterator<Item = (&'a [f64], &'a [f64])>) -> Option<f64> {
    let (sum, count) = pairs
        .map(|(said, came)| errors(said, came))
        .fold((0.0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    (count > 0).then(|| sum / count as f64)
}

/// The latest origins, which weigh the models.
fn latest<'a>(config: &ForecastConfig, history: &History<'_>, tested: &'a [Tested]) -> &'a [Tested] {
    let wanted = config.weight_days * origins_per_day(history, config.horizon);
    &tested[tested.len().saturating_sub(wanted)..]
}

/// Weights of the cheap models; a model must have spoken at every origin that counts.
fn weights(latest: &[Tested], seasonal: bool) -> Vec<(Model, f64)> {
    let scored: Vec<(usize, f64)> = CHEAP
        .iter()
        .enumerate()
        .filter(|(place, model)| {
            model.fits(seasonal) && latest.iter().all(|origin| !origin.rows[*place].is_empty())
        })
        .filter_map(|(place, _)| {
            let pairs = latest.iter().map(|origin| (origin.rows[place].as_slice(), origin.actual.as_slice()));
            Some((place, mean_error(pairs)?))
        })
        .collect();
    let best = scored.iter().map(|(_, error)| *error).fold(f64::INFINITY, f64::min);
    let weight = |error: f64| {
        let square = |value: f64| value * value;
        // A model without any error takes all.
        if error > best { square(square(square(square(best / error)))) } else { 1.0 }
    };
    normalise(scored.iter().map(|(place, error)| (CHEAP[*place], weight(*error))).collect())
}

/// Leaves out light models, lets the rest sum to 1 and puts the heaviest first.
fn normalise(mut weights: Vec<(Model, f64)>) -> Vec<(Model, f64)> {
    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    weights.retain(|(_, weight)| *weight >= LEAST_WEIGHT * total);
    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    for (_, weight) in &mut weights {
        *weight /= total;
    }
    weights.sort_by(|one, other| other.1.total_cmp(&one.1));
    weights
}

/// Weighted mean of the rows of some models; empty when one of them is.
pub(super) fn mix<'a>(
    weights: &[(Model, f64)],
    row: impl Fn(Model) -> Option<&'a [f64]>,
    horizon: usize,
) -> Vec<f64> {
    let spoken: Vec<(f64, &[f64])> = weights
        .iter()
        .filter_map(|(model, weight)| Some((*weight, row(*model).filter(|row| row.len() == horizon)?)))
        .collect();
    let Some((_, first)) = spoken.first() else { return Vec::new() };
    let total: f64 = spoken.iter().map(|(weight, _)| weight).sum();
    // Around the first row, so that rows that agree are met exactly.
    let off = |step: usize| {
        spoken.iter().map(|(weight, row)| weight / total * (row[step] - first[step])).sum::<f64>()
    };
    (0..horizon).map(|step| first[step] + off(step)).collect()
}

fn row_of(rows: &[Vec<f64>], model: Model) -> Option<&[f64]> {
    rows.get(CHEAP.iter().position(|cheap| *cheap == model)?).map(Vec::as_slice)
}

/// Weighs the models, and learns the bands of their mixture.
fn weigh(
    config: &ForecastConfig,
    history: &History<'_>,
    cycle: Option<usize>,
    seasons: Vec<Confirmed>,
    tested: &[Tested],
    shift: (f64, f64),
) -> Chosen {
    let horizon = config.horizon;
    let recent = latest(config, history, tested);
    let mut weights = weights(recent, !seasons.is_empty());
    if weights.is_empty() {
        weights = untested(config, history, cycle, &seasons);
    }
    let mixed: Vec<Vec<f64>> =
        tested.iter().map(|origin| mix(&weights, |model| row_of(&origin.rows, model), horizon)).collect();
    let mut evidence = evidence(recent, &mixed[tested.len() - recent.len()..], cycle);
    let mut decomposition = None;
    let mut rows: Vec<(&[f64], &Tested)> = mixed.iter().map(Vec::as_slice).zip(tested).collect();
    let tried = if evidence.steps >= FEW_STEPS && evidence.against_best_naive() > config.decompose_above {
        Decomposition::test(history, cycle, horizon, recent.len())
    } else {
        None
    };
    if let Some((fitted, tries)) = &tried {
        let offset = tested.len() - recent.len();
        let origins = |place: &usize| (&tested[offset + place], &mixed[offset + place]);
        let cheap = mean_error(tries.iter().map(|(place, _)| {
            let (origin, said) = origins(place);
            (said.as_slice(), origin.actual.as_slice())
        }));
        let costly = mean_error(
            tries.iter().map(|(place, said)| (said.as_slice(), origins(place).0.actual.as_slice())),
        );
        if let (Some(cheap), Some(costly)) = (cheap, costly)
            && costly < WORTH * cheap
        {
            weights = vec![(Model::Decomposition, 1.0)];
            decomposition = Some(fitted.clone());
            rows = tries.iter().map(|(place, said)| (said.as_slice(), origins(place).0)).collect();
            let naive = mean_error(
                rows.iter().map(|(_, origin)| (origin.naive.as_slice(), origin.actual.as_slice())),
            );
            evidence.error = costly;
            evidence.seasonal_naive = cycle.and(naive);
        }
    }
    let errors: Vec<Vec<f64>> = rows
        .iter()
        .filter(|(said, _)| !said.is_empty())
        .map(|(said, origin)| {
            let error = |(came, said): (&f64, &f64)| if usable(*came) { came - said } else { f64::NAN };
            origin.actual.iter().zip(*said).map(error).collect()
        })
        .collect();
    let spreads: Vec<Vec<f64>> =
        rows.iter().filter(|(said, _)| !said.is_empty()).map(|(_, origin)| origin.spread.clone()).collect();
    Chosen {
        config: *config,
        step_seconds: history.step_seconds(),
        weights,
        seasons,
        cycle,
        bands: Bands::learn(&errors, &spreads, horizon, shift),
        effects: None,
        decomposition,
        evidence,
        at: history.end(),
        next: history.end(),
    }
}

/// What to say when nothing could be back-tested: the simplest model that can speak.
fn untested(
    config: &ForecastConfig,
    history: &History<'_>,
    cycle: Option<usize>,
    seasons: &[Confirmed],
) -> Vec<(Model, f64)> {
    let past = view(config, history.values(), cycle, seasons);
    let mut out = vec![0.0; config.horizon];
    if !seasons.is_empty() && cycle.is_some_and(|cycle| naive::seasonal(&past, cycle, &mut out).is_some()) {
        vec![(Model::SeasonalNaive, 1.0)]
    } else if past.last().is_some() {
        vec![(Model::LastValue, 1.0)]
    } else {
        Vec::new()
    }
}

fn evidence(tested: &[Tested], mixed: &[Vec<f64>], cycle: Option<usize>) -> Evidence {
    let seen = |said: &[f64], origin: &Tested| errors(said, &origin.actual).1;
    let lasts: Vec<Vec<f64>> = tested.iter().map(|origin| vec![origin.last; origin.actual.len()]).collect();
    let error = |rows: &mut dyn Iterator<Item = &[f64]>| {
        mean_error(rows.zip(tested).map(|(said, origin)| (said, origin.actual.as_slice())))
    };
    Evidence {
        steps: mixed.iter().zip(tested).map(|(said, origin)| seen(said, origin)).sum(),
        error: error(&mut mixed.iter().map(Vec::as_slice)).unwrap_or(0.0),
        seasonal_naive: cycle.and_then(|_| error(&mut tested.iter().map(|origin| origin.naive.as_slice()))),
        last_value: error(&mut lasts.iter().map(Vec::as_slice)).unwrap_or(0.0),
    }
}

/// Effects of known jobs: of those that the latest days can judge, if the back-test is better with them, and of those that
/// run too seldom for that.
fn calendar_effects(
    config: &ForecastConfig,
    history: &History<'_>,
    calendar: &Calendar,
    cycle: Option<usize>,
    seasons: &[Confirmed],
    plain: &[Tested],
) -> Option<Effects> {
    if calendar.events.is_empty() {
        return None;
    }
    let span = latest(config, history, plain).len() * config.horizon;
    let since = history.end().checked_sub_unsigned(span as u64)?;
    let (often, seldom) = calendar.split(history, since);
    let judged = judged_effects(config, history, &often, since, cycle, seasons, plain);
    let whole = view(config, history.values(), cycle, seasons);
    Effects::learn_seldom(history, &whole, &seldom, judged)
}

/// Effects of jobs that ran in the steps from `since` on, if taking them out makes the back-test of these steps better.
fn judged_effects(
    config: &ForecastConfig,
    history: &History<'_>,
    calendar: &Calendar,
    since: i64,
    cycle: Option<usize>,
    seasons: &[Confirmed],
    plain: &[Tested],
) -> Option<Effects> {
    // What is judged on the latest days is learnt from the days before them.
    let earlier = history.before(since)?;
    let past = view(config, earlier.values(), cycle, seasons);
    let effects = Effects::learn(&earlier, &past, calendar)?;
    let values = effects.clean(history);
    let clean = history.with(&values);
    let tested = test(config, &clean, cycle, seasons);
    let error = |tested: &[Tested]| {
        let recent = latest(config, history, tested);
        let weights = weights(recent, !seasons.is_empty());
        let rows: Vec<Vec<f64>> = recent
            .iter()
            .map(|origin| mix(&weights, |model| row_of(&origin.rows, model), config.horizon))
            .collect();
        mean_error(rows.iter().zip(recent).map(|(said, origin)| (said.as_slice(), origin.actual.as_slice())))
    };
    let better = error(&tested)? < 0.98 * error(plain)?;
    let whole = view(config, history.values(), cycle, seasons);
    better.then(|| Effects::learn(history, &whole, calendar)).flatten()
}

impl Chosen {
    /// Models and their weights, heaviest first.
    pub fn weights(&self) -> &[(Model, f64)] {
        &self.weights
    }

    /// Seasons that the series was found to have.
    pub fn seasons(&self) -> &[Confirmed] {
        &self.seasons
    }

    /// What the back-test showed.
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Steps of the cycle that the seasonal naive forecast repeats.
    pub fn cycle(&self) -> Option<usize> {
        self.cycle
    }

    /// Back-tested steps that skill is judged by; fewer claim nothing.
    pub(super) fn enough(&self) -> bool {
        self.evidence.steps >= FEW_STEPS
    }

    /// Whether the choice must be made again for a forecast from `origin` on.
    pub fn due(&self, origin: i64) -> Option<Due> {
        let horizon = self.config.horizon as i64;
        let day = (86_400 / i64::from(self.step_seconds)).max(horizon);
        let age = origin.saturating_sub(self.at);
        // A history that lies before the choice is another one.
        if age >= day || age < 0 {
            Some(Due::Daily)
        } else if age >= 6 * horizon && self.bands.recent() > self.config.drift {
            Some(Due::Drift)
        } else {
            None
        }
    }
}
