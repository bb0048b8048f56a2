//! Homeostat's own policy under comparison. What is learnt of a series does not depend on the price, so all prices share
//! one learner: its outlooks are made once.

use super::data::Series;
use super::simulate::{Policy, START};
use homeostat_models::forecast::{Calendar, Chosen, ForecastConfig, Forecaster, History};
use homeostat_scale::services::{Choice, Expected, Leading, Learner, Outlook, Weighing};

/// Most replicas that may be asked for.
pub const MOST: u32 = 24;
/// Seconds of a step of the forecast.
const BLOCK: usize = 300;

/// What follows each look, for a series.
pub struct Outlooks {
    /// After each look.
    pub at: Vec<Option<Outlook>>,
    /// Seconds between looks.
    pub every: usize,
}

/// The shipped forecaster on means of 5 minutes: what it expects of the next 5.
pub struct Ahead {
    forecaster: Forecaster,
    chosen: Option<Chosen>,
    blocks: Vec<f64>,
    first: i64,
    open: (f64, usize),
    expected: Option<Expected>,
}

impl Ahead {
    pub fn new(series: &Series) -> Self {
        let config = ForecastConfig { decompose_above: 1e9, ..ForecastConfig::default() };
        Self {
            forecaster: Forecaster::new(config).expect("the shipped setting is valid"),
            chosen: None,
            blocks: Vec::new(),
            first: series.start,
            open: (0.0, 0),
            expected: None,
        }
    }

    /// Takes a look's mean; what is expected changes when a block is over.
    pub fn take(&mut self, seconds: usize, mean: f64) -> Option<Expected> {
        self.open = (self.open.0 + mean, self.open.1 + 1);
        if seconds.is_multiple_of(BLOCK) {
            self.blocks.push(self.open.0 / self.open.1 as f64);
            self.open = (0.0, 0);
            self.expected = self.forecast();
        }
        self.expected
    }

    fn forecast(&mut self) -> Option<Expected> {
        // Four hours make a first choice.
        if self.blocks.len() < 48 {
            return None;
        }
        let history = History::new(self.first, BLOCK as u32, &self.blocks).ok()?;
        let calendar = Calendar::default();
        match &mut self.chosen {
            Some(chosen) => {
                self.forecaster.keep(chosen, &history, &calendar).ok()?;
            }
            None => self.chosen = self.forecaster.choose(&history, &calendar).ok(),
        }
        let said = self.chosen.as_ref()?.forecast(&history, 2).ok()?;
        let most = |row: &[f64]| row.iter().copied().fold(0.0, f64::max);
        Some(Expected { p50: most(&said.p50), p90: most(&said.p90) })
    }
}

/// Learns along a series, with a look every so many seconds, and keeps every outlook.
pub fn learn(series: &Series, every: usize) -> Outlooks {
    let sync = every / series.step;
    let mut learner = Learner::new(MOST, every as u32, START as u32);
    let mut ahead = Ahead::new(series);
    let looks = series.loads.chunks_exact(sync).enumerate().map(|(place, loads)| {
        let mean = loads.iter().sum::<f64>() / loads.len() as f64;
        let expected = ahead.take((place + 1) * every, mean);
        learner.observe(loads, expected)
    });
    Outlooks { at: looks.collect(), every }
}

/// What the split check chooses from, and the shipped setting.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tuning {
    /// Replica-steps that a way down must have promised.
    pub patience: f64,
    /// How the rule that is followed is chosen.
    pub leading: Leading,
}

impl Tuning {
    /// As the library ships it.
    pub fn shipped() -> Self {
        Self { patience: 8.0, leading: Leading::default() }
    }
}

/// The choice at one price.
pub struct Ours<'a> {
    outlooks: &'a Outlooks,
    choice: Choice,
    how: Weighing,
}

impl<'a> Ours<'a> {
    pub fn new(outlooks: &'a Outlooks, price: f64, tuning: Tuning) -> Self {
        let how = Weighing {
            price,
            patience: tuning.patience,
            min: 1,
            max: MOST,
            steps_a_minute: 60.0 / outlooks.every as f64,
            leading: tuning.leading,
        };
        Self { outlooks, choice: Choice::default(), how }
    }
}

impl Policy for Ours<'_> {
    fn decide(&mut self, seconds: usize, loads: &[f64], replicas: usize) -> usize {
        let lead = START.div_ceil(self.outlooks.every);
        self.choice.charge(loads, lead, &self.how);
        match self.outlooks.at.get(seconds / self.outlooks.every - 1) {
            Some(Some(outlook)) => {
                self.choice.choose(outlook, replicas as u32, lead, &self.how).replicas as usize
            }
            _ => replicas,
        }
    }
}
