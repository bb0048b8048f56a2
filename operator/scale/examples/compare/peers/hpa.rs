//! `HorizontalPodAutoscaler` (autoscaling/v2) with its defaults: a look every 15 s, no change within 10 % of the target,
//! up by at most the larger of 100 % and 4 pods in 15 s, down to the highest recommendation of the last 300 s.

use super::Make;
use crate::data::Series;
use crate::simulate::{Policy, needed};
use std::collections::VecDeque;

const TOLERANCE: f64 = 0.1;
const DOWN_WINDOW: usize = 300;

/// The controller behind HPA and what feeds it.
pub struct Hpa {
    target: f64,
    recommended: VecDeque<(usize, usize)>,
}

pub fn prepare(_: &Series) -> Make {
    Box::new(|target| Box::new(Hpa::new(target)))
}

impl Hpa {
    pub fn new(target: f64) -> Self {
        Self { target, recommended: VecDeque::new() }
    }

    /// One look at a metric. Pods that still start count as idle when scaling up, so the wish is the metric over the
    /// target, whoever is ready.
    pub fn look(&mut self, seconds: usize, metric: f64, replicas: usize) -> usize {
        if self.recommended.is_empty() {
            // The controller notes the present number as its first recommendation.
            self.recommended.push_back((seconds, replicas));
        }
        let ratio = metric / (self.target * replicas as f64);
        let wish = if (ratio - 1.0).abs() <= TOLERANCE { replicas } else { needed(metric / self.target) };
        self.recommended.push_back((seconds, wish));
        while self.recommended.front().is_some_and(|(at, _)| at + DOWN_WINDOW <= seconds) {
            self.recommended.pop_front();
        }
        if wish > replicas {
            wish.min((2 * replicas).max(replicas + 4))
        } else {
            self.recommended.iter().map(|(_, wish)| *wish).max().unwrap_or(wish).min(replicas)
        }
    }
}

impl Policy for Hpa {
    fn decide(&mut self, seconds: usize, loads: &[f64], replicas: usize) -> usize {
        let mean = loads.iter().sum::<f64>() / loads.len().max(1) as f64;
        self.look(seconds, mean, replicas)
    }
}
