//! T61: any share of the workloads of a tenant fails at the same moment. Budgets hold at every prefix, and from twenty
//! percent on (in groups under ten: from the second on) nothing is done at all.

use crate::oracle;
use crate::run::{Lives, simulate};
use crate::situations;
use crate::world::World;
use homeostat_knowledge::{Level, WorkloadKey};
use std::collections::BTreeSet;
use std::time::Duration;

const TENANT: &str = "shop";
/// Sizes of the group. Ten thousand are swept over the guards alone (`operator/execute/src/guards/sweep.rs`).
pub const GROUPS: [u32; 7] = [1, 2, 3, 5, 10, 100, 1_000];
/// Of a thousand, numbers on both sides of every limit stand for all.
const OF_A_THOUSAND: [u32; 7] = [10, 50, 100, 150, 190, 200, 210];

/// One point of the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storm {
    /// Workloads of the tenant.
    pub group: u32,
    /// How many of them fall ill together.
    pub sick: u32,
}

impl Storm {
    /// So many at once are a storm.
    pub fn stops(self) -> bool {
        self.sick >= 2 && (self.group < 10 || self.sick * 5 >= self.group)
    }
}

/// How it ended.
#[derive(Clone, Debug)]
pub struct Passed {
    /// Which.
    pub storm: Storm,
    /// Effects that landed.
    pub effects: usize,
    /// Everything that did not hold.
    pub violations: Vec<String>,
}

/// Every share from 1 to 100 percent of every group up to `largest`; shares that come to the same number are one.
pub fn all(largest: u32) -> Vec<Storm> {
    let mut all = Vec::new();
    for group in GROUPS.into_iter().filter(|group| *group <= largest) {
        let shares: BTreeSet<u32> = (1..=100).map(|percent| (group * percent).div_ceil(100)).collect();
        let few = |sick: &u32| group < 1_000 || OF_A_THOUSAND.contains(sick);
        all.extend(shares.into_iter().filter(few).map(|sick| Storm { group, sick }));
    }
    all
}

/// Runs one, for a minute after they fell ill.
pub fn run(storm: Storm) -> std::io::Result<Passed> {
    simulate(async move {
        let world = World::new(&[(TENANT, Level::ActFull)]);
        let keys: Vec<_> =
            (0..storm.sick).map(|index| WorkloadKey::new(TENANT, format!("sick-{index}"))).collect();
        for key in &keys {
            world.add(key, situations::CRASHING);
        }
        world.crowd(TENANT, usize::try_from(storm.group - storm.sick).unwrap_or(0));
        let mut lives = Lives::begin(&world, None);
        lives.pass(Duration::from_secs(4)).await;
        world.fall_ill_together(&keys);
        lives.pass(Duration::from_mins(1)).await;
        let mut violations = lives.breaches();
        let inner = world.lock();
        violations.extend(oracle::violations(&inner));
        let effects = inner.audit.effects.len();
        if storm.stops() && effects > 0 {
            violations.push(format!("Storm: {effects} effects"));
        }
        if !storm.stops() && effects == 0 {
            violations.push("Storm: nobody was helped although it was none".to_owned());
        }
        Passed { storm, effects, violations }
    })
}
