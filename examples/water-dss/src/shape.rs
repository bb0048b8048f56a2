//! How long a run takes, with how much CPU and memory: drawn from its seed, the same whoever asks.
//!
//! The numbers are those of `operator/scale/catalogue/water.yaml`; time, CPU and memory are divided so that many tenants
//! fit one small node.

use clap::ValueEnum;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Hours of a week.
const WEEK: f64 = 168.0;
/// What a run whose memory jumps needs, as a share of what the others do.
const JUMP: f64 = 2.0;

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Demand of the next day, every hour.
    Forecast,
    /// Schedule of the pumps, every hour, from that hour's forecast.
    Optimisation,
    /// The day's figures, at two in the night.
    Kpi,
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Forecast, Self::Optimisation, Self::Kpi];

    pub fn name(self) -> &'static str {
        match self {
            Self::Forecast => "forecast",
            Self::Optimisation => "optimisation",
            Self::Kpi => "kpi",
        }
    }

    /// CPU in thousandths of a core, memory in MiB, minutes.
    pub fn nominal(self) -> (f64, f64, f64) {
        match self {
            Self::Forecast => (1_000.0, 1_024.0, 3.0),
            Self::Optimisation => (2_000.0, 2_048.0, 7.0),
            Self::Kpi => (1_000.0, 1_536.0, 15.0),
        }
    }

    /// Minutes after its slot by which a run must have ended.
    pub fn due_minutes(self) -> f64 {
        match self {
            Self::Forecast => 20.0,
            Self::Optimisation => 55.0,
            Self::Kpi => 240.0,
        }
    }

    /// When it fires, in the tenant's zone.
    pub fn cron(self) -> &'static str {
        match self {
            Self::Forecast | Self::Optimisation => "0 * * * *",
            Self::Kpi => "0 2 * * *",
        }
    }
}

/// What the catalogue's numbers are divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    pub time: f64,
    pub cpu: f64,
    pub memory: f64,
}

/// One run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    pub seconds: f64,
    pub millicores: f64,
    pub mebibytes: f64,
    /// MiB more that it needs all at once, from half of its time on.
    pub sudden: f64,
    /// It fails when half of it is done; its second try does not.
    pub fails: bool,
}

/// Which run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Which {
    pub kind: Kind,
    pub tenant: u32,
    /// Hour since the simulated beginning, a Friday at midnight.
    pub hour: u32,
    pub seed: u64,
    /// Number of the run, from 0, if its memory grows threefold over ten runs, as the data of a tenant that connects its old
    /// sensors does.
    pub grows: Option<u32>,
    /// Its memory jumps in the middle: beyond what its other runs let one expect, below double of that.
    pub jumps: bool,
}

impl Which {
    /// Tenants' factors and each run's own are log-normal, as the catalogue says.
    pub fn shape(self, scale: Scale) -> Shape {
        let (millicores, mebibytes, minutes) = self.kind.nominal();
        let tenant = log_normal(&mut stream(self.seed, &[self.tenant, u32::MAX, 0]), 0.3, 0.5, 2.0);
        let mut own = stream(self.seed, &[self.tenant, self.hour, self.kind as u32]);
        let spread = log_normal(&mut own, 0.2, 0.0, 2.0);
        let weekend = if weekend(self.hour) { 0.7 } else { 1.0 };
        let grown = 1.0 + 0.01 * f64::from(self.hour) / WEEK;
        let connected = self.grows.map_or(1.0, |number| 3.0_f64.powf(f64::from(number.min(10)) / 10.0));
        let mebibytes = mebibytes * grown * connected / scale.memory;
        Shape {
            seconds: minutes * 60.0 * tenant * spread * weekend / scale.time,
            millicores: millicores / scale.cpu,
            mebibytes,
            sudden: if self.jumps { (JUMP - 1.0) * mebibytes } else { 0.0 },
            // One trouble at a time: what its kill for memory came to is to be seen.
            fails: self.kind == Kind::Optimisation && own.random_bool(0.01) && !self.jumps,
        }
    }
}

/// Whether an hour since the simulated beginning, a Friday at midnight, is on a Saturday or Sunday.
pub fn weekend(hour: u32) -> bool {
    (24..72).contains(&(hour % 168))
}

fn stream(seed: u64, parts: &[u32]) -> ChaCha8Rng {
    let mixed = parts.iter().fold(seed, |mixed, part| {
        (mixed ^ u64::from(*part)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
    });
    ChaCha8Rng::seed_from_u64(mixed)
}

/// Log-normal with mean 1, cut (Box and Muller 1958 for the normal part).
fn log_normal(random: &mut ChaCha8Rng, sigma: f64, least: f64, most: f64) -> f64 {
    let (one, two): (f64, f64) = (random.random_range(f64::EPSILON..1.0), random.random());
    let normal = (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * two).cos();
    (sigma * normal - sigma * sigma / 2.0).exp().clamp(least, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Scale = Scale { time: 60.0, cpu: 4.0, memory: 32.0 };

    fn run(tenant: u32, hour: u32, grows: bool) -> Shape {
        let grows = grows.then_some(hour);
        Which { kind: Kind::Optimisation, tenant, hour, seed: 1, grows, jumps: false }.shape(SCALE)
    }

    #[test]
    fn the_same_run_has_the_same_shape_and_every_tenant_its_own() {
        assert_eq!(run(1, 5, false), run(1, 5, false));
        assert!((run(1, 5, false).seconds - run(2, 5, false).seconds).abs() > 1e-9);
        assert!((run(1, 5, false).millicores - 500.0).abs() < 1e-9);
    }

    #[test]
    fn runs_take_what_the_catalogue_says_in_the_mean() {
        let hours = 0..24_u32;
        let all: Vec<f64> = (0..200)
            .flat_map(|tenant| hours.clone().map(move |hour| run(tenant, hour, false).seconds))
            .collect();
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        assert!((6.5..7.5).contains(&mean), "7 minutes at 60 times the speed: {mean}");
        let failed = (0..200).flat_map(|tenant| (0..24).map(move |hour| run(tenant, hour, false).fails));
        let share = failed.filter(|fails| *fails).count() as f64 / 4_800.0;
        assert!((0.005..0.02).contains(&share), "{share}");
    }

    #[test]
    fn memory_grows_slowly_or_threefold_over_ten_runs() {
        assert!(run(1, 168, false).mebibytes / run(1, 0, false).mebibytes < 1.02);
        let grown = run(1, 10, true).mebibytes / run(1, 0, true).mebibytes;
        assert!((2.9..3.1).contains(&grown), "{grown}");
        assert!((run(1, 30, true).mebibytes - run(1, 10, true).mebibytes).abs() < 1.0, "and then no more");
    }

    #[test]
    fn a_jump_needs_more_than_a_first_limit_and_less_than_double_of_any() {
        let which =
            Which { kind: Kind::Optimisation, tenant: 1, hour: 22, seed: 1, grows: None, jumps: true };
        let (jump, usual) = (which.shape(SCALE), run(1, 22, false));
        let most = jump.mebibytes + jump.sudden;
        // Limits are a first run's, a quarter above what is needed, or what was learnt, 15 % above.
        assert!(most > 1.4 * usual.mebibytes && most < 2.0 * 1.15 * usual.mebibytes, "{most}");
        assert!(!jump.fails && usual.sudden.abs() < 1e-9 && (jump.seconds - usual.seconds).abs() < 1e-9);
    }

    #[test]
    fn weekends_are_shorter() {
        let mean = |hours: std::ops::Range<u32>| {
            let all: Vec<f64> = hours.map(|hour| run(3, hour, false).seconds).collect();
            all.iter().sum::<f64>() / all.len() as f64
        };
        assert!(mean(24..72) < 0.85 * mean(72..120));
    }
}
