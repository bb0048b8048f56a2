//! How many tenants a policy holds, and what it is like there.

use crate::bound;
use crate::policies::Kind;
use crate::shapes::Catalogue;
use crate::world::{Result, Setting, World};
use homeostat_scale::jobs::Settings;
use serde::Serialize;

/// What was asked on the command line.
#[derive(Clone, Copy)]
pub struct Asked {
    pub first_seed: u64,
    pub seeds: u64,
    pub days: u32,
    pub tenants: u32,
    pub settings: Settings,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub policy: String,
    pub target: String,
    pub tenants: u32,
    pub missed_deadlines_at64: u64,
    pub start_delay_p95_seconds: Option<f64>,
    pub start_delay_median_seconds: Option<f64>,
    pub utilisation: Option<f64>,
    pub capacity_used: Option<f64>,
    pub cost_vcpu_hours: Option<f64>,
    /// Tenants at which delay, utilisation and cost were measured.
    pub measured_at_tenants: u32,
    pub memory_kills: u64,
    pub worst_late_minutes_at64: f64,
    pub missed_at64_by_job: Vec<(String, u64)>,
}

impl Asked {
    fn all_seeds(&self) -> std::ops::Range<u64> {
        self.first_seed..self.first_seed.saturating_add(self.seeds)
    }
}

pub fn simulate(catalogue: &Catalogue, kind: Kind, setting: Setting, settings: Settings) -> Result {
    let world = World::new(catalogue, setting, catalogue.capacity, kind.always_on_inside());
    let mut policy = kind.build(catalogue, catalogue.capacity, setting.tenants, settings);
    world.run(policy.as_mut(), None)
}

/// Whether no seed misses; the one that missed last is tried first.
fn holds(catalogue: &Catalogue, kind: Kind, asked: Asked, tenants: u32, hard: &mut u64) -> bool {
    let first = *hard;
    let others = asked.all_seeds().filter(|seed| *seed != first);
    let missed = std::iter::once(first).chain(others).find(|seed| {
        let setting = Setting { seed: *seed, tenants, days: asked.days, until_missed: true };
        simulate(catalogue, kind, setting, asked.settings).missed > 0
    });
    *hard = missed.unwrap_or(first);
    missed.is_none()
}

/// Largest number that `holds`, looked for upward in steps of eight and then by halving between the last that held and
/// the first that did not: adding a tenant leaves the others' chance as it is, so more tenants are never easier but by
/// luck, and luck is not looked for.
pub fn largest(mut holds: impl FnMut(u32) -> bool) -> u32 {
    let mut good = 0;
    while holds(good + 8) {
        good += 8;
        if good >= 100_000 {
            return good;
        }
    }
    let mut bad = good + 8;
    while bad - good > 1 {
        let middle = u32::midpoint(good, bad);
        if holds(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    good
}

/// One row per name; of a sweep the target that holds most tenants, then the one with fewest misses.
pub fn compare(catalogue: &Catalogue, kinds: &[Kind], asked: Asked, say: &dyn Fn(&str)) -> Vec<Row> {
    let mut best: Vec<(Kind, u32)> = Vec::new();
    for kind in kinds {
        let mut hard = asked.first_seed;
        let tenants = largest(|tenants| holds(catalogue, *kind, asked, tenants, &mut hard));
        say(&format!("{} {}: {tenants} tenants", kind.name(), kind.target()));
        best.push((*kind, tenants));
    }
    let mut rows: Vec<Row> = Vec::new();
    for (kind, tenants) in &best {
        let most = best.iter().filter(|(other, _)| other.name() == kind.name()).map(|other| other.1).max();
        if most != Some(*tenants) {
            continue;
        }
        let row = measure(catalogue, *kind, asked, *tenants);
        match rows.iter_mut().find(|other| other.policy == row.policy) {
            Some(other) if row.missed_deadlines_at64 < other.missed_deadlines_at64 => *other = row,
            Some(_) => {}
            None => rows.push(row),
        }
    }
    rows
}

fn measure(catalogue: &Catalogue, kind: Kind, asked: Asked, tenants: u32) -> Row {
    let all = |tenants: u32| -> Vec<Result> {
        let setting = |seed| Setting { seed, tenants, days: asked.days, until_missed: false };
        asked.all_seeds().map(|seed| simulate(catalogue, kind, setting(seed), asked.settings)).collect()
    };
    let crowded = all(asked.tenants);
    let at = tenants.min(asked.tenants);
    let calm = match at {
        0 => Vec::new(),
        at if at == asked.tenants => crowded.clone(),
        at => all(at),
    };
    let mut delays: Vec<f32> = calm.iter().flat_map(|result| result.delays.iter().copied()).collect();
    delays.sort_by(f32::total_cmp);
    let quantile = |share: f64| {
        let rank = (delays.len() as f64 * share).ceil() as usize;
        delays.get(rank.checked_sub(1)?).map(|delay| f64::from(*delay))
    };
    let sum = |of: fn(&Result) -> f64| calm.iter().map(of).sum::<f64>();
    let some = |value: f64| (!calm.is_empty()).then_some(value);
    let by_job = |kind: usize| crowded.iter().map(|result| result.missed_of_kind[kind]).sum();
    Row {
        policy: kind.name(),
        target: kind.target(),
        tenants,
        missed_deadlines_at64: crowded.iter().map(|result| result.missed).sum(),
        start_delay_p95_seconds: quantile(0.95),
        start_delay_median_seconds: quantile(0.5),
        utilisation: some(sum(|result| result.used_ms) / sum(|result| result.reserved_ms)),
        capacity_used: some(sum(|result| result.used_ms) / sum(|result| result.capacity_ms)),
        cost_vcpu_hours: some(sum(|result| result.reserved_ms) / 3_600_000.0 / asked.seeds as f64),
        measured_at_tenants: at,
        memory_kills: crowded.iter().map(|result| result.memory_kills).sum(),
        worst_late_minutes_at64: crowded.iter().map(|result| result.worst_late_ms).max().unwrap_or(0) as f64
            / 60_000.0,
        missed_at64_by_job: catalogue
            .kinds
            .iter()
            .enumerate()
            .map(|(place, kind)| (kind.name.clone(), by_job(place)))
            .collect(),
    }
}

/// The same of the lower bound: tenants, and misses at so many.
pub fn bound(catalogue: &Catalogue, asked: Asked) -> (u32, u64) {
    let missed = |seed, tenants| {
        let setting = Setting { seed, tenants, days: asked.days, until_missed: true };
        bound::missed(catalogue, setting, catalogue.capacity)
    };
    let tenants = largest(|tenants| asked.all_seeds().all(|seed| missed(seed, tenants) == 0));
    (tenants, asked.all_seeds().map(|seed| missed(seed, asked.tenants)).sum())
}
