//! Latency histogram of one second.

const BINS: usize = 48;
/// Lower edge of the first bin, in seconds.
const LEAST: f64 = 1e-4;

/// Times of one second of arrivals: bins grow by 2^(1/2) from 0.1 ms.
#[derive(Clone, Debug)]
pub(crate) struct Second {
    pub(crate) index: i64,
    bins: [u32; BINS],
    pub(crate) count: u32,
}

impl Second {
    pub(crate) fn new(index: i64) -> Self {
        Self { index, bins: [0; BINS], count: 0 }
    }

    pub(crate) fn add(&mut self, seconds: f64) {
        let bin = ((seconds.max(LEAST) / LEAST).log2() * 2.0).floor().clamp(0.0, (BINS - 1) as f64) as usize;
        self.bins[bin] += 1;
        self.count += 1;
    }

    /// Upper edge of the bin that holds the quantile, in seconds.
    pub(crate) fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = (f64::from(self.count) * quantile).ceil().max(1.0) as u32;
        let mut sum = 0;
        for (bin, count) in self.bins.iter().enumerate() {
            sum += count;
            if sum >= rank && self.count > 0 {
                return Some(LEAST * 2.0_f64.powf(0.5 * (bin as f64 + 1.0)));
            }
        }
        None
    }

    /// Answers in bins that reach `seconds`.
    pub(crate) fn at_least(&self, seconds: f64) -> u32 {
        let edges = (1..=BINS).map(|bin| LEAST * 2.0_f64.powf(0.5 * bin as f64));
        self.bins.iter().zip(edges).filter(|(_, edge)| *edge >= seconds).map(|(count, _)| count).sum()
    }
}
