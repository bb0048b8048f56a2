//! When the next request is due and what it is, decided by a seed alone.

use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Consumers that the application knows.
const CONSUMERS: u32 = 1000;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A full order: consumer, kitchen, accounting and notification take part.
    Order {
        /// Who orders.
        consumer: u32,
        /// For how much, well below every limit.
        cents: u32,
        /// How many of the dish.
        quantity: u32,
    },
    /// A consumer that exists.
    Consumer(u32),
    /// Something of a recent order; the draw chooses which.
    Recent(Folder, u32),
}

/// What belongs to an order under the order's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folder {
    /// The order.
    Orders,
    /// Its ticket in the kitchen.
    Tickets,
    /// Its payment.
    Payments,
    /// Its mail.
    Notifications,
}

impl Folder {
    /// First part of the path.
    pub fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Tickets => "tickets",
            Self::Payments => "payments",
            Self::Notifications => "notifications",
        }
    }
}

/// One request to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Counted from 0.
    pub number: u64,
    /// After the beginning of the run.
    pub due: Duration,
    /// What.
    pub ask: Ask,
}

/// An endless, repeatable sequence of arrivals.
#[derive(Debug)]
pub struct Arrivals {
    random: ChaCha8Rng,
    rate: u32,
    orders: u32,
    number: u64,
}

impl Arrivals {
    /// `rate` per second, `orders` percent of them full orders.
    pub fn new(seed: u64, rate: u32, orders: u32) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed), rate, orders, number: 0 }
    }

    /// The next one. The gaps vary between nothing and twice the mean, the rate over a second does not.
    pub fn draw(&mut self) -> Arrival {
        let number = self.number;
        self.number += 1;
        let at = (number as f64 + self.random.random::<f64>()) / f64::from(self.rate);
        let ask = if self.random.random_range(0..100) < self.orders {
            Ask::Order {
                consumer: self.random.random_range(0..CONSUMERS),
                cents: self.random.random_range(800..6000),
                quantity: self.random.random_range(1..4),
            }
        } else {
            let folder = match self.random.random_range(0..5) {
                0 => None,
                1 => Some(Folder::Orders),
                2 => Some(Folder::Tickets),
                3 => Some(Folder::Payments),
                _ => Some(Folder::Notifications),
            };
            let draw = self.random.random();
            folder.map_or(Ask::Consumer(draw % CONSUMERS), |folder| Ask::Recent(folder, draw))
        };
        Arrival { number, due: Duration::from_secs_f64(at), ask }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_and_the_share_of_orders_hold() {
        let mut arrivals = Arrivals::new(7, 210, 55);
        let all: Vec<Arrival> = (0..21_000).map(|_| arrivals.draw()).collect();
        assert!(all.windows(2).all(|pair| pair[0].due <= pair[1].due), "in order of time");
        assert!((all[20_999].due.as_secs_f64() - 100.0).abs() < 0.1);
        let orders = all.iter().filter(|a| matches!(a.ask, Ask::Order { .. })).count();
        assert!(orders * 2 >= all.len(), "at least half are full orders: {orders}");
        for second in 0..100 {
            let within = all.iter().filter(|a| a.due.as_secs() == second).count();
            assert!(within >= 200, "second {second} has {within}");
        }
    }

    #[test]
    fn a_seed_repeats_the_run_and_another_does_not() {
        let take = |seed| {
            let mut arrivals = Arrivals::new(seed, 210, 55);
            (0..50).map(|_| arrivals.draw()).collect::<Vec<_>>()
        };
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
    }
}
