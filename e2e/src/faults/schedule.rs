//! Which fault comes when, and where, from a printed seed.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Kind, Planned, Variant};

/// How often each kind comes.
pub type Counts = BTreeMap<Kind, usize>;

/// Bounds of the pause before a fault.
const PAUSE_MILLISECONDS: std::ops::Range<u64> = 1000..4000;

/// The kubelet restarts the process by itself, and backs off the next time.
fn ends_processes(kind: Kind) -> bool {
    matches!(kind, Kind::Kill | Kind::KillAgain | Kind::Leak | Kind::BadConfig)
}

/// Spreads the kinds over the services: all kinds take the services in turn, variants alternate, the
/// order is shuffled so that a service rests as long as possible, and the first fault is the simplest
/// of all when it is there. `provider` is what fault 8 breaks.
pub fn plan(seed: u64, counts: &Counts, services: &[&str], provider: &str) -> Vec<Planned> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // One turn for all kinds, what ends processes first: with few faults no service gets two of those,
    // so that none meets the back-off of another.
    let mut turn: Vec<&str> = services.to_vec();
    turn.shuffle(&mut random);
    let mut turn = turn.into_iter().cycle();
    let mut kinds: Vec<(Kind, usize)> = counts.iter().map(|(kind, count)| (*kind, *count)).collect();
    kinds.sort_by_key(|(kind, _)| !ends_processes(*kind));
    let mut open = Vec::new();
    for (kind, count) in kinds {
        for index in 0..count {
            let service = match kind {
                Kind::ProviderDown => provider,
                _ => turn.next().unwrap_or(provider),
            };
            let variants = [Variant::ProbesGood, Variant::ProbesFailing];
            let variant = kind.has_variants().then(|| variants[index % 2]);
            open.push((kind, variant, service.to_owned()));
        }
    }
    open.shuffle(&mut random);
    if let Some(first) = open.iter().position(|(kind, ..)| *kind == Kind::Kill) {
        open.swap(0, first);
    }
    let mut last: BTreeMap<String, usize> = BTreeMap::new();
    let mut planned = Vec::new();
    while !open.is_empty() {
        // The first of those whose service has rested longest; never touched counts as longest.
        let rested = |service: &String| last.get(service).map_or(0, |at| at + 1);
        let choice = if planned.is_empty() {
            0
        } else {
            let best = open.iter().map(|(_, _, service)| rested(service)).min().unwrap_or(0);
            open.iter().position(|(_, _, service)| rested(service) == best).unwrap_or(0)
        };
        let (kind, variant, service) = open.remove(choice);
        last.insert(service.clone(), planned.len());
        let pause = Duration::from_millis(random.random_range(PAUSE_MILLISECONDS));
        planned.push(Planned { kind, variant, service, pause });
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SERVICES: [&str; 5] = ["order", "consumer", "kitchen", "accounting", "notification"];

    fn counts(of: &[(Kind, usize)]) -> Counts {
        of.iter().copied().collect()
    }

    #[test]
    fn every_service_gets_each_kind_in_turn() {
        let planned = plan(3, &counts(&[(Kind::Kill, 5), (Kind::Hang, 10)]), &SERVICES, "provider");
        let killed: BTreeSet<_> =
            planned.iter().filter(|f| f.kind == Kind::Kill).map(|f| f.service.as_str()).collect();
        assert_eq!(killed.len(), 5);
        for service in SERVICES {
            assert_eq!(planned.iter().filter(|f| f.kind == Kind::Hang && f.service == service).count(), 2);
        }
    }

    #[test]
    fn with_few_faults_no_service_is_killed_twice() {
        let all: Vec<_> = Kind::ALL.into_iter().map(|kind| (kind, 1)).collect();
        for seed in 0..50 {
            let planned = plan(seed, &counts(&all), &SERVICES, "provider");
            let killed: Vec<_> =
                planned.iter().filter(|f| ends_processes(f.kind)).map(|f| f.service.as_str()).collect();
            let different: BTreeSet<_> = killed.iter().collect();
            assert_eq!((killed.len(), different.len()), (4, 4), "seed {seed}: {planned:?}");
        }
    }

    #[test]
    fn variants_alternate_and_only_where_there_are_some() {
        let planned = plan(9, &counts(&[(Kind::Errors, 4), (Kind::Leak, 2)]), &SERVICES, "provider");
        let good = planned.iter().filter(|f| f.variant == Some(Variant::ProbesGood)).count();
        let failing = planned.iter().filter(|f| f.variant == Some(Variant::ProbesFailing)).count();
        assert_eq!((good, failing), (2, 2));
        assert!(planned.iter().filter(|f| f.kind == Kind::Leak).all(|f| f.variant.is_none()));
    }

    #[test]
    fn a_service_is_never_hit_twice_in_a_row_and_a_kill_comes_first() {
        for seed in 0..50 {
            let all =
                counts(&[(Kind::Kill, 5), (Kind::KillAgain, 5), (Kind::Hang, 5), (Kind::ProviderDown, 1)]);
            let planned = plan(seed, &all, &SERVICES, "provider");
            assert_eq!(planned.len(), 16);
            assert_eq!(planned[0].kind, Kind::Kill);
            assert!(
                planned.windows(2).all(|pair| pair[0].service != pair[1].service),
                "seed {seed}: {planned:?}"
            );
            assert!(planned.iter().any(|f| f.kind == Kind::ProviderDown && f.service == "provider"));
        }
    }

    #[test]
    fn the_seed_decides_everything() {
        let all = counts(&[(Kind::Kill, 5), (Kind::Slow, 5)]);
        assert_eq!(plan(1, &all, &SERVICES, "p"), plan(1, &all, &SERVICES, "p"));
        assert_ne!(plan(1, &all, &SERVICES, "p"), plan(2, &all, &SERVICES, "p"));
    }
}
