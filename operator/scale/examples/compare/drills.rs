//! What no recorded series shows: a load that doubles without warning, flat noise, and ten thousand workloads at once.

use super::data::Series;
use super::ours::{MOST, Ours, Tuning, learn};
use super::peers::hpa::Hpa;
use super::simulate::{self, Outcome, SYNC};
use homeostat_scale::services::{Case, Mode, Observations, Owner, Policy, State, decide_all};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::time::Instant;

/// Seconds before the load doubles.
const BEFORE: usize = 6 * 3_600;
const HOUR: usize = 3_600;
/// Seconds at the doubled load.
const AFTER: usize = 600;

/// A level with noise of some share, in steps of some seconds.
fn noisy(level: f64, share: f64, step: usize, seconds: usize, seed: u64) -> Series {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut value = || {
        // Sum of twelve: close to normal, with unit variance.
        let normal = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        (level * (1.0 + share * normal)).max(0.0)
    };
    let loads = (0..seconds / step).map(|_| value()).collect();
    Series { name: String::new(), step, loads, start: 0 }
}

/// Violations when a load doubles without warning: HPA at each target beside ours with no more replicas before it.
pub fn doubling(prices: &[f64], tuning: Tuning) -> Value {
    println!(
        "\nload doubles without warning (5 to 10 replicas' worth after six flat hours; mean of five moments)"
    );
    println!(
        "target  HPA replicas before  violation s | ours replicas before  violation s, look 15 s  look 5 s"
    );
    let mut series: Vec<Series> = Vec::new();
    for delay in [0, 4, 7, 10, 13] {
        let mut one = noisy(5.0, 0.02, 1, BEFORE + delay + AFTER, 7 + delay as u64);
        for load in &mut one.loads[BEFORE + delay..] {
            *load *= 2.0;
        }
        series.push(one);
    }
    // Replicas in the last flat hour, and seconds of violation after it. What learning the level costs is none of it.
    let look = |one: &Series, every: usize, policy: &dyn Fn() -> Box<dyn simulate::Policy>| {
        let until = |seconds: usize| {
            let part = Series { loads: one.loads[..seconds].to_vec(), ..one.clone() };
            simulate::run_every(&part, &mut *policy(), every, 0)
        };
        let (early, flat, whole) = (until(BEFORE - HOUR), until(BEFORE), until(one.loads.len()));
        let replicas = (flat.replica_minutes - early.replica_minutes) / (HOUR as f64 / 60.0);
        (replicas, (whole.violation_minutes - flat.violation_minutes) * 60.0)
    };
    // Replicas at the end of the flat hours, and seconds of violation, by price.
    let outlooks = [SYNC, 5].map(|every| series.iter().map(|one| learn(one, every)).collect::<Vec<_>>());
    let ours: Vec<[(f64, f64); 2]> = prices
        .iter()
        .map(|price| {
            [0, 1].map(|place| {
                let mut sums = (0.0, 0.0);
                for (one, outlooks) in series.iter().zip(&outlooks[place]) {
                    let (replicas, violated) =
                        look(one, outlooks.every, &|| Box::new(Ours::new(outlooks, *price, tuning)));
                    sums.0 += replicas;
                    sums.1 += violated;
                }
                (sums.0 / series.len() as f64, sums.1 / series.len() as f64)
            })
        })
        .collect();
    let mut rows = Vec::new();
    for target in [50, 60, 70, 80, 90] {
        let share = f64::from(target) / 100.0;
        let (mut replicas, mut violated) = (0.0, 0.0);
        for one in &series {
            let (before, seconds) = look(one, SYNC, &|| Box::new(Hpa::new(share)));
            replicas += before;
            violated += seconds;
        }
        let count = series.len() as f64;
        let (replicas, violated) = (replicas / count, violated / count);
        // With as many replicas before: between two of our prices in proportion, as on recorded series.
        let best = |place: usize| {
            let all = || ours.iter().map(|row| row[place]);
            let fewer = || all().filter(|(before, _)| *before <= replicas + 0.02);
            let between = all().filter(|(before, _)| *before > replicas + 0.02).flat_map(|more| {
                fewer().map(move |less| {
                    let share = ((replicas - less.0) / (more.0 - less.0)).clamp(0.0, 1.0);
                    (replicas, less.1 + share * (more.1 - less.1))
                })
            });
            fewer().chain(between).min_by(|one, other| one.1.total_cmp(&other.1))
        };
        let (slow, fast) = (best(0), best(1));
        let show = |pair: Option<(f64, f64)>| pair.map_or("none".to_owned(), |pair| format!("{:.0}", pair.1));
        let before = slow.map_or("none".to_owned(), |pair| format!("{:.2}", pair.0));
        println!(
            "{target:>5} % {replicas:>20.2} {violated:>12.0} | {before:>20} {:>24} {:>9}",
            show(slow),
            show(fast)
        );
        rows.push(json!({
            "target": target, "hpaReplicasBefore": replicas, "hpaViolationSeconds": violated,
            "replicasBefore": slow.map(|pair| pair.0), "violationSeconds": slow.map(|pair| pair.1),
            "violationSecondsLook5": fast.map(|pair| pair.1),
        }));
    }
    json!(rows)
}

/// Changes per hour on flat noise, after the first two hours.
pub fn oscillation(price: f64, tuning: Tuning) -> Value {
    println!(
        "\nflat noisy load, changes per hour after the first two of 24 hours (price {price}, HPA at 70 %)"
    );
    let mut rows = Vec::new();
    for (level, share) in [(8.0, 0.03), (8.0, 0.1), (8.6, 0.05), (3.5, 0.2), (14.2, 0.1)] {
        let series = noisy(level, share, 15, 24 * 3_600, 11);
        let outlooks = learn(&series, SYNC);
        let hours = |policy: &mut dyn simulate::Policy| {
            let whole: Outcome = simulate::run(&series, policy);
            whole.changes
        };
        let early = Series { loads: series.loads[..480].to_vec(), ..series.clone() };
        let first = simulate::run(&early, &mut Ours::new(&outlooks, price, tuning)).changes;
        let ours = (hours(&mut Ours::new(&outlooks, price, tuning)) - first) as f64 / 22.0;
        let first = simulate::run(&early, &mut Hpa::new(0.7)).changes;
        let hpa = (hours(&mut Hpa::new(0.7)) - first) as f64 / 22.0;
        println!(
            "  level {level:>4} replicas' worth, noise {:>3.0} %: {ours:.2} (HPA {hpa:.2})",
            share * 100.0
        );
        rows.push(json!({ "level": level, "noise": share, "changesPerHour": ours, "hpa": hpa }));
    }
    json!(rows)
}

/// Seconds that this thread has run; on a shared machine the clock says more about the others. Linux only, else the clock.
fn busy_seconds(clock: Instant) -> f64 {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = schedule.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    nanoseconds.map_or_else(|| clock.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}

/// What the kernel tells in kilobytes under this name, in bytes; Linux only.
fn told(file: &str, name: &str) -> Option<usize> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: usize = line.split_whitespace().next()?.parse().ok()?;
    Some(1_024 * kilobytes)
}

/// What is seen of a workload with this load.
fn seen(loads: &[f64]) -> Observations<'_> {
    Observations {
        loads,
        missing: None,
        per_replica: 10.0,
        replicas: 9,
        asked: None,
        expected: None,
        calendar: None,
        hurts: false,
    }
}

/// One decision for each state: seconds by the clock, and of this thread.
fn look(
    states: &mut [State],
    policy: &Policy,
    at: i64,
    start: Instant,
    load: &mut dyn FnMut() -> f64,
) -> (f64, f64) {
    let loads: Vec<[f64; 1]> = states.iter().map(|_| [load()]).collect();
    let mut cases: Vec<Case<'_>> = states
        .iter_mut()
        .zip(&loads)
        .map(|(state, loads)| Case { state, seen: seen(loads), policy, owner: &Owner::Nobody })
        .collect();
    let (clock, busy) = (Instant::now(), busy_seconds(start));
    let said = decide_all(at, &mut cases);
    let took = (clock.elapsed().as_secs_f64(), busy_seconds(start) - busy);
    assert_eq!(said.len(), cases.len());
    took
}

/// Seconds for ten thousand decisions, learning from a step and choosing: over few workloads again and again, whose states
/// stay in the processor's caches, and over as many as that, of which each is read from memory.
pub fn batch() -> Value {
    const STATES: usize = 250;
    const ROUNDS: usize = 40;
    const MANY: usize = STATES * ROUNDS;
    let policy = Policy { mode: Mode::Auto, max: MOST, ..Policy::default() };
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut load =
        |step: usize| (60.0 + 30.0 * (step as f64 / 900.0).sin() + 20.0 * random.random::<f64>()).max(0.0);
    let start = Instant::now();
    let mut first = [State::new(&policy).expect("the shipped policy is valid")];
    for step in 0..4_000 {
        look(&mut first, &policy, step as i64 * 15, start, &mut || load(step));
    }
    let [first] = first;
    let bytes = serde_json::to_vec(&first).map_or(0, |stored| stored.len());
    let resident = || told("/proc/self/status", "VmRSS").unwrap_or(0);
    let before = resident();
    let mut states = vec![first; STATES];
    // What was freed before is filled first, so that it may look like less than it is.
    let each = (resident().saturating_sub(before) / STATES).max(bytes);
    let mut round = 3_999;
    let mut again = |states: &mut [State]| {
        round += 1;
        look(states, &policy, round as i64 * 15, start, &mut || load(round))
    };
    let few = (0..ROUNDS).map(|_| again(&mut states)).fold((0.0, 0.0), sum);
    // Half of what is free, so that nothing is read from a disk.
    let room = told("/proc/meminfo", "MemAvailable").map_or(MANY, |free| free / 2 / each.max(1));
    let own = MANY.min(room).max(STATES);
    for place in STATES..own {
        states.push(states[place % STATES].clone());
    }
    // Copies have no room to grow until they were looked at once.
    again(&mut states);
    let many = again(&mut states);
    let in_ms = |seconds: f64, decisions: usize| 1_000.0 * seconds * MANY as f64 / decisions as f64;
    let (milliseconds, busy) = (in_ms(few.0, MANY), in_ms(few.1, MANY));
    let (own_milliseconds, own_busy) = (in_ms(many.0, own), in_ms(many.1, own));
    println!(
        "\n10,000 decisions (workloads with 4,000 steps of history, learning included; one state is {bytes} bytes when stored):\n  \
         {ROUNDS} rounds over {STATES} workloads: {busy:.0} ms of one core, {milliseconds:.0} ms by the clock\n  \
         one round over {own} workloads, about {:.1} GB of states: {own_busy:.0} ms of one core, {own_milliseconds:.0} ms by \
         the clock for 10,000",
        own as f64 * each as f64 / 1e9
    );
    json!({
        "tenThousandMilliseconds": milliseconds, "tenThousandCoreMilliseconds": busy, "storedBytes": bytes,
        "ownStates": own, "stateBytes": each, "ownMilliseconds": own_milliseconds, "ownCoreMilliseconds": own_busy,
    })
}

fn sum(one: (f64, f64), other: (f64, f64)) -> (f64, f64) {
    (one.0 + other.0, one.1 + other.1)
}
