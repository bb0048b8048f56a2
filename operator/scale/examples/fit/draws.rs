//! What chance decides: the same for every policy, as each tenant has a stream of its own that is read slot by slot.

use crate::shapes::{Catalogue, Spread};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One tenant's chance.
pub struct Tenant {
    random: ChaCha8Rng,
    factor: f64,
}

/// One run as it will be; nobody knows before it has ended.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    /// Time of a whole try, in milliseconds.
    pub lasts_ms: i64,
    /// The first try fails half-way.
    pub fails: bool,
    /// Peak of memory, in MiB.
    pub mebibytes: u64,
}

impl Tenant {
    pub fn new(catalogue: &Catalogue, seed: u64, tenant: u32) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(u64::from(tenant));
        let factor = log_normal(&mut random, &catalogue.shapes.size_factor);
        Self { random, factor }
    }

    pub fn draw(&mut self, catalogue: &Catalogue, kind: usize, slot_ms: i64, weekend: bool) -> Drawn {
        let (shapes, shape) = (&catalogue.shapes, &catalogue.shapes.jobs[kind]);
        let spread = log_normal(&mut self.random, &shape.spread);
        let fails = self.random.random::<f64>() < shape.fail_share;
        let weekend = if weekend { shapes.weekend_factor } else { 1.0 };
        let weeks = (slot_ms - catalogue.begins_ms) as f64 / (7.0 * 86_400_000.0);
        let memory =
            catalogue.kinds[kind].size.mebibytes as f64 * (1.0 + shapes.memory_growth_per_week * weeks);
        let lasts = shape.minutes * 60_000.0 * self.factor * spread * weekend;
        Drawn { lasts_ms: (lasts as i64).max(1), fails, mebibytes: memory.ceil() as u64 }
    }
}

/// Mean 1, then cut; normal numbers by Box and Muller (1958).
fn log_normal(random: &mut ChaCha8Rng, spread: &Spread) -> f64 {
    let (one, two): (f64, f64) = (random.random(), random.random());
    let normal = (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * two).cos();
    let value = (spread.sigma * normal - spread.sigma * spread.sigma / 2.0).exp();
    value.clamp(spread.least, spread.most)
}
