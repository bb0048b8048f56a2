//! KEDA with its defaults: the metric is polled every 30 s and given to an HPA. Its cool-down of 300 s is about the way
//! from one replica to none; at least one is kept here, so below that the HPA's own window of 300 s decides.

use super::{Make, hpa::Hpa};
use crate::data::Series;
use crate::simulate::Policy;

const POLL: usize = 30;

struct Keda {
    hpa: Hpa,
    metric: Option<f64>,
}

pub fn prepare(_: &Series) -> Make {
    Box::new(|target| Box::new(Keda { hpa: Hpa::new(target), metric: None }))
}

impl Policy for Keda {
    fn decide(&mut self, seconds: usize, loads: &[f64], replicas: usize) -> usize {
        if seconds.is_multiple_of(POLL) || self.metric.is_none() {
            self.metric = Some(loads.iter().sum::<f64>() / loads.len().max(1) as f64);
        }
        self.hpa.look(seconds, self.metric.unwrap_or_default(), replicas)
    }
}
