//! Curves of violations against cost, and who wins at equal violations.

use super::simulate::Outcome;

/// What our curve costs at no more than these violations: the cheapest of its points and of what lies between two of them
/// (so much of the time at one price, the rest at the other). `None` when the curve does not reach that low.
pub fn cost_at(curve: &[Outcome], violation_minutes: f64) -> Option<f64> {
    let mut best: Option<f64> = None;
    let mut take = |cost: f64| best = Some(best.map_or(cost, |best| best.min(cost)));
    for low in curve.iter().filter(|point| point.violation_minutes <= violation_minutes + 1e-9) {
        take(low.replica_minutes);
        for high in curve.iter().filter(|point| point.violation_minutes > violation_minutes + 1e-9) {
            let way = (violation_minutes - low.violation_minutes)
                / (high.violation_minutes - low.violation_minutes);
            take(low.replica_minutes + way * (high.replica_minutes - low.replica_minutes));
        }
    }
    best
}

/// One point of a peer beside ours.
#[derive(Clone, Debug)]
pub struct Point {
    pub policy: &'static str,
    pub target: u32,
    pub peer: Outcome,
    /// What we cost at its violations.
    pub ours: Option<f64>,
    /// What the oracle costs.
    pub oracle: f64,
}

impl Point {
    /// Fewer replica-minutes at its violations.
    pub fn won(&self) -> bool {
        self.ours.is_some_and(|ours| ours < self.peer.replica_minutes)
    }

    /// Our excess as a share of the peer's; `None` where we do not reach its violations, or where the peer is cheaper than
    /// a service without a violation can be.
    pub fn share(&self) -> Option<f64> {
        let excess = self.peer.replica_minutes - self.oracle;
        (excess > 0.0).then_some((self.ours? - self.oracle) / excess)
    }

    /// At most half of its excess; where it has none, fewer replica-minutes.
    pub fn half(&self) -> bool {
        if self.peer.replica_minutes > self.oracle {
            self.share().is_some_and(|share| share <= 0.5)
        } else {
            self.won()
        }
    }
}

/// Points, won, won by half, median share.
pub fn sum_up<'a>(points: impl Iterator<Item = &'a Point>) -> (usize, usize, usize, f64) {
    let points: Vec<&Point> = points.collect();
    let mut shares: Vec<f64> = points.iter().map(|point| point.share().unwrap_or(f64::INFINITY)).collect();
    shares.sort_by(f64::total_cmp);
    let middle = shares.get(shares.len() / 2).copied().unwrap_or(f64::NAN);
    let count = |test: fn(&Point) -> bool| points.iter().filter(|point| test(point)).count();
    (points.len(), count(Point::won), count(Point::half), middle)
}
