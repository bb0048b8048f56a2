//! The outlook: how likely each number of replicas is too few, by several rules at once.
//!
//! Each rule is a base and the distribution of what came beyond it; one rule mixes all situations that were alike, weighed
//! by how well each has foretold (Bayesian model averaging with forgetting, Raftery et al. 2010). Learnt online from the
//! series alone: after a step is over, its outcome is compared with what was said before.

use super::contexts::{self, CHAINS, Contexts, Counts, DEPTH, Keys};
use super::features::{Base, Expected, Features, LEAST, Recent};
use super::levels;
use super::ratios::Ratios;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Rules: one for each base, and the mixture.
pub const RULES: usize = Base::ALL.len() + 1;
/// Descriptions, bases and the root of all.
const VOICES: usize = CHAINS * DEPTH + Base::ALL.len();
/// What is left of a voice's record after a step.
const FORGET: f32 = 0.9999;
/// How strongly a better record counts.
const SHARP: f32 = 0.2;
/// The least chance that a record is charged with.
const SMALLEST: f32 = 1e-7;

/// Which question a curve answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Will it be too few when a replica started now is ready?
    Then,
    /// Will it be too few at any time until then?
    Until,
}

/// Chances that each level is too few, by rule: `[rule * levels + level]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outlook {
    /// When a replica started now is ready.
    pub then: Vec<f32>,
    /// At any time until then.
    pub until: Vec<f32>,
    /// Number of levels.
    pub levels: usize,
    /// The moment from which it looks.
    pub now: Features,
}

impl Outlook {
    /// One rule's chances by level, of [`Outlook::then`] or [`Outlook::until`].
    pub(super) fn row<'a>(&self, curves: &'a [f32], rule: usize) -> &'a [f32] {
        curves.get(rule * self.levels..(rule + 1) * self.levels).unwrap_or_default()
    }
}

/// What was said at a step, until its outcome is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    bases: [f64; 8],
    keys: Keys,
    /// Chance that each voice gave each level, as the upper half of the number.
    voices: [Vec<u16>; 2],
}

/// What is learnt of one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Learnt {
    /// By rule, where its base was a load, and where it was next to nothing: how far beyond nothing a load goes says nothing
    /// about one that is there.
    ratios: [Vec<Ratios>; 2],
    records: Vec<f32>,
}

impl Default for Learnt {
    fn default() -> Self {
        let ratios = vec![Ratios::default(); Base::ALL.len()];
        Self { ratios: [ratios.clone(), ratios], records: vec![0.0; VOICES] }
    }
}

/// Learns from a series and looks ahead. Bounded; can be stored and restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Learner {
    levels: usize,
    /// Steps until a replica is ready.
    lead: usize,
    steps_a_minute: u32,
    recent: Recent,
    /// Samples of the last steps, the newest last.
    steps: VecDeque<Vec<f32>>,
    said: VecDeque<Said>,
    /// Whether there was ever a load worth the name.
    loaded: bool,
    learnt: [Learnt; 2],
    contexts: Contexts,
}

impl Learner {
    /// A learner for numbers of replicas up to `most`, steps of `step_seconds` and starts of `start_seconds`.
    pub fn new(most: u32, step_seconds: u32, start_seconds: u32) -> Self {
        Self {
            levels: levels::count(most),
            lead: start_seconds.div_ceil(step_seconds.max(1)).clamp(1, 60) as usize,
            steps_a_minute: (60 / step_seconds.max(1)).max(1),
            recent: Recent::default(),
            steps: VecDeque::new(),
            said: VecDeque::new(),
            loaded: false,
            learnt: [Learnt::default(), Learnt::default()],
            contexts: Contexts::default(),
        }
    }

    /// Steps until a replica that is asked for now is ready.
    pub fn lead(&self) -> usize {
        self.lead
    }

    /// Steps seen.
    pub fn steps(&self) -> u64 {
        self.recent.steps()
    }

    /// The numbers of now; `None` before the first step.
    pub fn features(&self, expected: Option<Expected>) -> Option<Features> {
        self.recent.features(expected, self.steps_a_minute)
    }

    /// Takes the load of the step that is over, in replicas' worth, and looks ahead. Samples that are not finite or
    /// negative are left out; without any usable one nothing is learnt and there is no outlook.
    pub fn observe(&mut self, samples: &[f64], expected: Option<Expected>) -> Option<Outlook> {
        let usable: Vec<f64> =
            samples.iter().copied().filter(|load| (0.0..=1e9).contains(load)).take(60).collect();
        if usable.is_empty() {
            // What was said cannot be judged across a gap.
            self.said.clear();
            self.steps.clear();
            return None;
        }
        let begins = self.begins(&usable);
        self.recent.push(&usable, self.steps_a_minute);
        self.steps.push_back(usable.iter().map(|load| *load as f32).collect());
        if self.steps.len() > self.lead + 1 {
            self.steps.pop_front();
        }
        let over = if self.said.len() > self.lead { self.said.pop_front() } else { None };
        if let Some(said) = &over {
            self.learn(said);
        }
        let now = self.features(expected)?;
        let keys = contexts::keys(&now);
        let like = self.contexts.like(&keys);
        let level = |level| f64::from(levels::replicas(level));
        let replicas: Vec<(f64, f64)> =
            (0..self.levels).map(|place| (level(place), level(place).ln())).collect();
        // What was said then has been learnt from: its room is used again.
        let mut voices = over.map(|said| said.voices).unwrap_or_default();
        let mut work = Vec::new();
        let mut look = |question: Question| {
            self.look(question, &now, &like, &replicas, &mut work, &mut voices[question as usize])
        };
        let (then, until) = (look(Question::Then), look(Question::Until));
        // The first load may have come in the middle of its step, so nothing is learnt of what follows it.
        if !begins {
            self.said.push_back(Said { bases: now.bases, keys, voices });
        }
        Some(Outlook { then, until, levels: self.levels, now })
    }

    /// Begins anew when the first load ever comes after nothing, and says whether it did. What nothing was followed by says
    /// nothing of a load.
    fn begins(&mut self, usable: &[f64]) -> bool {
        if self.loaded || usable.iter().all(|load| *load <= LEAST) {
            return false;
        }
        let begins = self.steps() > 0;
        if begins {
            self.recent = Recent::default();
            self.steps.clear();
            self.said.clear();
            self.learnt = [Learnt::default(), Learnt::default()];
            self.contexts = Contexts::default();
        }
        self.loaded = true;
        begins
    }

    /// Loads that answer a question, with their shares of the time.
    fn came(&self, question: Question) -> Vec<f64> {
        match question {
            Question::Then => self.steps.back().into_iter().flatten().map(|load| f64::from(*load)).collect(),
            // At the same place within each step, the highest of all steps.
            Question::Until => {
                let most = self.steps.iter().map(Vec::len).max().unwrap_or(0);
                let at = |place: usize| {
                    let one = |step: &Vec<f32>| step.get(place.min(step.len().saturating_sub(1))).copied();
                    f64::from(self.steps.iter().filter_map(one).fold(0.0, f32::max))
                };
                (0..most).map(at).collect()
            }
        }
    }

    fn learn(&mut self, said: &Said) {
        let came = [Question::Then, Question::Until].map(|question| self.came(question));
        let mut shares = [Vec::new(), Vec::new()];
        for (place, came) in came.iter().enumerate() {
            let share = 1.0 / came.len().max(1) as f64;
            let levels = self.levels;
            let at: Vec<(usize, f32)> =
                came.iter().map(|load| (levels::of(*load).min(levels - 1), share as f32)).collect();
            let learnt = &mut self.learnt[place];
            for (record, voice) in learnt.records.iter_mut().zip(said.voices[place].chunks(levels)) {
                let chance = |level: usize| f32::from_bits(u32::from(voice[level]) << 16).max(SMALLEST);
                *record = *record * FORGET
                    + at.iter().map(|(level, share)| share * chance(*level).ln()).sum::<f32>();
            }
            for (rule, base) in said.bases.into_iter().enumerate() {
                let ratios = &mut learnt.ratios[usize::from(base <= LEAST)][rule];
                for load in came {
                    ratios.add(load / base, share);
                }
            }
            shares[place] = at;
        }
        self.contexts.add(&said.keys, &shares);
    }

    /// Curves of all rules; the chances of all voices go to `said`. `voices` is room to work in: all of it is written.
    fn look(
        &self,
        question: Question,
        now: &Features,
        like: &[Option<&Counts>],
        replicas: &[(f64, f64)],
        voices: &mut Vec<f32>,
        said: &mut Vec<u16>,
    ) -> Vec<f32> {
        let learnt = &self.learnt[question as usize];
        let levels = self.levels;
        let described = CHAINS * DEPTH * levels;
        voices.resize(VOICES * levels, 0.0);
        for ((rule, base), row) in now.bases.iter().enumerate().zip(voices[described..].chunks_mut(levels)) {
            learnt.ratios[usize::from(*base <= LEAST)][rule].exceedance(*base, replicas, row);
        }
        let root = mixed(&learnt.records[CHAINS * DEPTH..], &voices[described..], levels);
        contexts::exceedance(like, question as usize, &root, &mut voices[..described]);
        let mut rules = Vec::with_capacity(RULES * levels);
        rules.extend_from_slice(&voices[described..]);
        rules.extend(mixed(&learnt.records, voices, levels));
        said.clear();
        said.reserve_exact(voices.len());
        said.extend(voices.chunks(levels).flat_map(densities));
        rules
    }
}

/// Chances of each level from those of being above it. What is kept of them is the upper half: exact to 0.4 %, which is
/// little beside what they are compared by.
fn densities(above: &[f32]) -> impl Iterator<Item = u16> {
    let mut before = 1.0;
    above.iter().map(move |above| {
        let chance = f32::max(before - above, 0.0);
        before = *above;
        (chance.to_bits().wrapping_add(0x8000) >> 16) as u16
    })
}

/// Mean of curves, weighed by their records.
fn mixed(records: &[f32], curves: &[f32], levels: usize) -> Vec<f32> {
    let best = records.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f32> = records.iter().map(|record| (SHARP * (record - best)).exp()).collect();
    let total: f32 = weights.iter().sum();
    let mut mean = vec![0.0_f32; levels];
    for (weight, curve) in weights.iter().zip(curves.chunks(levels)) {
        // A voice without a say costs nothing.
        if weight / total > 1e-6 {
            for (mean, chance) in mean.iter_mut().zip(curve) {
                *mean += weight / total * chance;
            }
        }
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_load_is_foretold_and_a_gap_is_no_load() {
        let mut learner = Learner::new(20, 15, 30);
        let mut last = None;
        for step in 0..2_000 {
            last = learner.observe(&[4.0 + 0.5 * f64::from(step % 2)], None);
        }
        let outlook = last.unwrap();
        let mixture = &outlook.then[(RULES - 1) * outlook.levels..];
        // The step in question is one of those at 4.0.
        assert!(mixture[3] > 0.99 && mixture[4] < 0.01 && mixture[5] > 0.0, "{mixture:?}");
        assert!(learner.observe(&[f64::NAN, -1.0], None).is_none());
        assert!(learner.observe(&[], None).is_none());
        assert_eq!(learner.steps(), 2_000);
    }
}
