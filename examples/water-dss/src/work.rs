//! One run: reads its sensors' data into memory, computes with the CPU that its shape has, and ends.

use crate::sensors;
use crate::shape::{Kind, Scale, Shape, Which, weekend};
use crate::usage;
use clap::Args;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A pause to keep the CPU at its share is at most this long.
const BEAT: Duration = Duration::from_millis(40);
/// What the process holds without any data, in MiB.
const BARE: f64 = 4.0;
/// No run holds more, whatever was asked for.
const MOST_MEBIBYTES: f64 = 2_048.0;
/// No run lasts longer.
const MOST_SECONDS: f64 = 3_600.0;

/// Which run, and how far its numbers are divided.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// What is computed
    #[arg(long, value_enum)]
    kind: Kind,
    /// Number of the tenant
    #[arg(long, env = "TENANT", default_value_t = 0)]
    tenant: u32,
    /// Hour of the run since the simulated beginning, a Friday at midnight
    #[arg(long, env = "HOUR", default_value_t = 0)]
    hour: u32,
    /// Which try it is; only the first can fail half-way
    #[arg(long, env = "TRY", default_value_t = 1)]
    attempt: u32,
    /// Of all chance
    #[arg(long, env = "SEED", default_value_t = 1)]
    seed: u64,
    /// Number of the run, where it is not the hour
    #[arg(long, env = "NUMBER")]
    number: Option<u32>,
    /// Its memory grows threefold over ten runs
    #[arg(long, env = "GROWS")]
    grows: bool,
    /// Hour of the run whose memory jumps within a second
    #[arg(long, env = "JUMP_HOUR")]
    jump_hour: Option<u32>,
    /// This tenant's settings name no profile of weekends; the first release cannot do without
    #[arg(long, env = "WEEKDAYS_ONLY")]
    weekdays_only: bool,
    /// Release of the program
    #[arg(long, env = "RELEASE", default_value_t = 1)]
    release: u32,
    #[command(flatten)]
    size: Size,
}

/// What the catalogue's numbers are divided by.
#[derive(Args, Clone, Copy, Debug)]
pub struct Size {
    /// Minutes become so much shorter
    #[arg(long = "divide-time", env = "DIVIDE_TIME", default_value_t = 60.0)]
    time: f64,
    /// CPU becomes so much less
    #[arg(long = "divide-cpu", env = "DIVIDE_CPU", default_value_t = 4.0)]
    cpu: f64,
    /// Memory becomes so much less
    #[arg(long = "divide-memory", env = "DIVIDE_MEMORY", default_value_t = 32.0)]
    memory: f64,
}

impl Size {
    /// The numbers, if they can be.
    pub fn scale(self) -> Result<Scale, String> {
        let parts = [self.time, self.cpu, self.memory];
        if parts.iter().any(|part| !(part.is_finite() && *part >= 0.01)) {
            return Err(
                "--divide-time, --divide-cpu and --divide-memory must be numbers from 0.01 on".to_owned()
            );
        }
        Ok(Scale { time: self.time, cpu: self.cpu, memory: self.memory })
    }
}

pub fn run(args: &RunArgs) -> ExitCode {
    let scale = match args.size.scale() {
        Ok(scale) => scale,
        Err(message) => {
            eprintln!("water-dss: {message}");
            return ExitCode::from(2);
        }
    };
    if args.weekdays_only && args.release == 1 && weekend(args.hour) {
        eprintln!("water-dss: no profile of the demand at weekends; nothing can be planned");
        return ExitCode::FAILURE;
    }
    let shape = which(args).shape(scale);
    let began = Instant::now();
    let half = args.attempt == 1 && shape.fails && !tried_before();
    let result = compute(args.kind, &shape, half, args.hour, args.seed ^ u64::from(args.hour));
    usage::say(began.elapsed().as_secs_f64());
    if half {
        eprintln!("water-dss: the solver found no feasible start; half of the work is lost");
        return ExitCode::FAILURE;
    }
    println!("{} of hour {}: {result:.3}", args.kind.name(), args.hour);
    ExitCode::SUCCESS
}

/// Whether this pod is of a further try: its Job is named after the one before.
fn tried_before() -> bool {
    std::env::var("HOSTNAME").is_ok_and(|name| name.contains("-retry-"))
}

fn which(args: &RunArgs) -> Which {
    let grows = args.grows.then_some(args.number.unwrap_or(args.hour));
    let jumps = args.jump_hour == Some(args.hour);
    Which { kind: args.kind, tenant: args.tenant, hour: args.hour, seed: args.seed, grows, jumps }
}

/// Reads the last hundred days of its sensors in the first half of its time, as many sensors as fill its memory, and computes
/// all the time.
pub fn compute(kind: Kind, shape: &Shape, half: bool, hour: u32, seed: u64) -> f64 {
    let seconds = shape.seconds.min(MOST_SECONDS) * if half { 0.5 } else { 1.0 };
    let values = ((shape.mebibytes.min(MOST_MEBIBYTES) - BARE).max(0.5) * f64::from(1 << 20) / 8.0) as usize;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut data: Vec<f64> = Vec::with_capacity(values);
    let mut sudden: Vec<u8> = Vec::new();
    let (began, mut result) = (Instant::now(), 0.0);
    let cpu_at_start = usage::cpu_seconds().unwrap_or(0.0);
    loop {
        let passed = began.elapsed().as_secs_f64();
        if shape.sudden > 0.0 && sudden.is_empty() && passed >= seconds / 2.0 {
            // Each page is written at once, faster than anybody looks.
            sudden = vec![1; (shape.sudden.min(MOST_MEBIBYTES) * f64::from(1 << 20)) as usize];
        }
        // Slow or not, it has read all of its data before it ends, so that the same run needs the same memory.
        if passed >= seconds && (half || data.len() >= values) {
            std::hint::black_box(&sudden);
            return result;
        }
        let wanted = (values as f64 * (2.0 * passed / seconds).min(1.0)) as usize;
        while data.len() < wanted {
            data.push(sensors::reading(hour, data.len()) + random.random_range(-2.0..2.0));
        }
        result = match kind {
            Kind::Forecast => forecast(&data, &mut random),
            Kind::Optimisation => schedule(&data, &mut random),
            Kind::Kpi => figures(&data, &mut random),
        };
        // Ahead of its share of the CPU: wait for the clock.
        let used = usage::cpu_seconds().unwrap_or(0.0) - cpu_at_start;
        let share = shape.millicores / 1_000.0;
        let ahead = used / share.min(1.0) - began.elapsed().as_secs_f64();
        if ahead > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(ahead.min(BEAT.as_secs_f64())));
        }
    }
}

/// A piece of the data that the next step looks at.
fn window<'a>(data: &'a [f64], random: &mut ChaCha8Rng, longest: usize) -> &'a [f64] {
    if data.len() < 2 {
        return data;
    }
    let length = longest.min(data.len());
    let start = random.random_range(0..=data.len() - length);
    &data[start..start + length]
}

/// Next value by the level and the trend of a window (Holt 1957).
fn forecast(data: &[f64], random: &mut ChaCha8Rng) -> f64 {
    let window = window(data, random, 20_000);
    let (mut level, mut trend) = (window.first().copied().unwrap_or(0.0), 0.0);
    for value in window {
        let before = level;
        level = 0.3 * value + 0.7 * (level + trend);
        trend = 0.1 * (level - before) + 0.9 * trend;
    }
    level + trend
}

/// Cheapest filling of a tank over a day, by dynamic programming over its levels.
fn schedule(data: &[f64], random: &mut ChaCha8Rng) -> f64 {
    const LEVELS: usize = 64;
    let demand = window(data, random, 96);
    let mut cost = [0.0_f64; LEVELS];
    for (step, need) in demand.iter().enumerate() {
        let price = 1.0 + 0.5 * ((step as f64) / 12.0).sin();
        let mut next = [f64::INFINITY; LEVELS];
        for (level, before) in cost.iter().enumerate() {
            for pumped in 0..16_usize {
                // What is not there cannot be delivered.
                let Some(left) = (level + pumped).checked_sub((need / 10.0) as usize) else { continue };
                let after = left.min(LEVELS - 1);
                let total = before + price * pumped as f64;
                if total < next[after] {
                    next[after] = total;
                }
            }
        }
        cost = next;
    }
    cost.iter().copied().fold(f64::INFINITY, f64::min)
}

/// A plan of pumps for one request: computes on this thread until `enough` says so, and once at least.
pub fn plan(seed: u64, mut enough: impl FnMut() -> bool) -> f64 {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let data: Vec<f64> =
        (0..200).map(|hour| 40.0 + 15.0 * (f64::from(hour) / 24.0 * std::f64::consts::TAU).sin()).collect();
    let mut cheapest = f64::INFINITY;
    loop {
        cheapest = cheapest.min(schedule(&data, &mut random));
        if enough() {
            return cheapest;
        }
    }
}

/// Mean and spread of a window.
fn figures(data: &[f64], random: &mut ChaCha8Rng) -> f64 {
    let window = window(data, random, 50_000);
    let count = window.len().max(1) as f64;
    let mean = window.iter().sum::<f64>() / count;
    let spread = window.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    mean + spread.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_schedule_meets_the_demand_and_costs_something() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let cost = schedule(&vec![40.0; 500], &mut random);
        // A tank of 63 covers a part; about 96 steps of 4 must be pumped.
        assert!(cost.is_finite() && cost > 100.0, "{cost}");
        assert!(schedule(&[], &mut random).abs() < 1e-12);
    }

    #[test]
    fn a_plan_is_computed_at_least_once_and_ends_when_it_is_told() {
        let mut left = 3;
        let cost = plan(1, || {
            left -= 1;
            left == 0
        });
        assert!(cost.is_finite() && left == 0, "{cost}");
    }

    #[test]
    fn a_steady_demand_is_forecast_as_it_is() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        assert!((forecast(&vec![40.0; 5_000], &mut random) - 40.0).abs() < 1e-6);
        assert!((figures(&vec![40.0; 5_000], &mut random) - 40.0).abs() < 1e-6);
    }
}
