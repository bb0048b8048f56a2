//! Replicas as levels: each number up to 32, then steps of about 4 %. What is learnt is kept per level, so a workload of
//! 10,000 replicas needs no more room than a large one.

/// Every number up to here is a level of its own.
const EXACT: f64 = 32.0;
/// Logarithm of the ratio between levels beyond.
const STEP: f64 = 0.04;

/// How many levels cover the numbers of replicas up to `most` and some beyond.
pub fn count(most: u32) -> usize {
    of(f64::from(most)) + 3
}

/// The level of a load in replicas' worth: the lowest whose replicas carry it. Level 0 carries nothing.
pub fn of(load: f64) -> usize {
    let load = (load - 1e-9).max(0.0);
    if load <= EXACT { load.ceil() as usize } else { (EXACT + ((load / EXACT).ln() / STEP).ceil()) as usize }
}

/// Replicas of a level.
pub fn replicas(level: usize) -> u32 {
    if level as f64 <= EXACT {
        level as u32
    } else {
        (EXACT * (STEP * (level as f64 - EXACT)).exp()).floor() as u32
    }
}

/// A coarse place on the same scale, `parts` to a level, for comparing situations.
pub fn place(load: f64, parts: f64) -> u32 {
    let load = load.max(0.0);
    let level = if load <= EXACT { load } else { EXACT + (load / EXACT).ln() / STEP };
    (level * parts) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_carries_what_it_is_for() {
        for load in [0.0, 0.3, 1.0, 1.2, 31.5, 32.0, 33.0, 500.0, 99_999.0] {
            let level = of(load);
            assert!(f64::from(replicas(level)) >= load - 1.0, "{load}: {level}");
            assert!(level == 0 || f64::from(replicas(level - 1)) < load + 1.0, "{load}: {level}");
        }
        assert!(count(100_000) < 250);
    }
}
