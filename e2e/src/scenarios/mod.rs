//! The fault catalogue on a real node: each kind is put on under load, and what became of it is compared with what
//! must become of it.

pub mod catalogue;
pub mod delay;
pub mod kinds;
mod play;
mod table;

use std::collections::BTreeMap;

use clap::Args;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::demo::column::Stage;
use crate::demo::install::Files;
use crate::demo::live::Live;
use crate::demo::{self, DemoError, Place};
use crate::share::Share;
use catalogue::Entry;

/// Arguments of `e2e scenarios`.
#[derive(Args, Clone, Debug)]
pub struct ScenariosArgs {
    /// Only these kinds, by name
    #[arg(long, value_delimiter = ',')]
    pub kinds: Vec<String>,
    /// Each kind so often
    #[arg(long, default_value_t = 1)]
    pub runs: usize,
    /// Repeats order and services of an earlier run
    #[arg(long, env = "SEED")]
    pub seed: Option<u64>,
    /// Where it runs.
    #[command(flatten)]
    pub place: Place,
}

/// Runs the catalogue, prints its table and writes `target/scenarios/result.json`; false when something is not as it
/// must be.
pub async fn run(args: &ScenariosArgs) -> Result<bool, DemoError> {
    let live = Live::start();
    let _share = Share::as_the_cluster();
    let seed = args.seed.unwrap_or_else(|| rand::rng().random_range(1..1_000_000));
    live.plain(&format!("The fault catalogue. Seed {seed} (SEED={seed} repeats order and services)."));
    let chosen = choose(catalogue::read(&args.place.root)?, &args.kinds)?;
    let mut stage = demo::prepare(&args.place, &live, seed, true).await?;
    let chosen = within_reach(chosen, &stage)?;
    stage.files = Files::of_catalogue(&args.place.root);
    stage.out = args.place.root.join("target/scenarios");
    std::fs::create_dir_all(&stage.out).map_err(|source| DemoError::Io {
        action: "create",
        path: stage.out.clone(),
        source,
    })?;
    let plan = plan(&chosen, args.runs, seed);
    let played = match play::run(&stage, &plan).await {
        Ok(played) => played,
        Err(error) => {
            demo::keep_logs(&stage).await;
            return Err(error);
        }
    };
    demo::application::remove(&stage.platform).await?;
    demo::build::tidy(&stage.platform).await?;
    let result = table::Result::of(&chosen, &played, seed);
    live.plain(&result.text());
    demo::write_result(&result, &stage.out.join("result.json"), &live)?;
    Ok(result.passed())
}

fn choose(all: Vec<Entry>, kinds: &[String]) -> Result<Vec<Entry>, DemoError> {
    let names: Vec<String> = all.iter().map(name).collect();
    if let Some(unknown) = kinds.iter().find(|kind| !names.contains(kind)) {
        return Err(DemoError::Broken(format!(
            "the catalogue has no kind `{unknown}`; it has {}",
            names.join(", ")
        )));
    }
    Ok(all.into_iter().filter(|entry| kinds.is_empty() || kinds.contains(&name(entry))).collect())
}

/// Without the kinds that this cluster gives no way to; a line says which, and why.
fn within_reach(chosen: Vec<Entry>, stage: &Stage) -> Result<Vec<Entry>, DemoError> {
    let platform = &stage.platform;
    let (own, signals) = (platform.own().is_some(), platform.signals().available());
    let mut left_out: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut within = Vec::new();
    for entry in chosen {
        match entry.kind.out_of_reach(own, signals) {
            Some(why) => left_out.entry(why).or_default().push(name(&entry)),
            None => within.push(entry),
        }
    }
    for (why, kinds) in &left_out {
        let kinds = kinds.join(", ");
        stage
            .live
            .say(format!("catalogue left out, as they {why}, to which this cluster gives no way: {kinds}"));
    }
    if within.is_empty() {
        return Err(DemoError::Broken(
            "nothing is left of the catalogue on this cluster: run it without CONTEXT, or choose other kinds"
                .to_owned(),
        ));
    }
    Ok(within)
}

/// As the catalogue calls it.
fn name(entry: &Entry) -> String {
    let name = serde_json::to_value(entry.kind).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Kinds in a drawn order, each on a drawn service; kinds that shake the whole node come last.
fn plan(chosen: &[Entry], runs: usize, seed: u64) -> Vec<(Entry, String)> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut all: Vec<&Entry> = (0..runs).flat_map(|_| chosen).collect();
    all.shuffle(&mut random);
    all.sort_by_key(|entry| matches!(entry.cause, catalogue::Named::Neighbour | catalogue::Named::Node));
    let mut turn = Vec::new();
    let mut planned = Vec::new();
    for entry in all {
        let service = if let Some(only) = entry.kind.service() {
            only
        } else {
            // A kind meets other services before it meets one again: what was done about the first time counts for a day.
            let met = |service: &&str| {
                planned.iter().any(|(one, on): &(Entry, String)| one.kind == entry.kind && on == service)
            };
            if turn.iter().all(met) {
                let mut more = demo::application::SERVICES.to_vec();
                more.shuffle(&mut random);
                turn.splice(0..0, more);
            }
            let next = turn.iter().rposition(|service| !met(service)).unwrap_or(turn.len() - 1);
            turn.remove(next)
        };
        planned.push((entry.clone(), service.to_owned()));
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_seed_decides_order_and_services_and_the_node_comes_last() {
        let all = catalogue::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
        assert_eq!(plan(&all, 2, 7), plan(&all, 2, 7));
        let planned = plan(&all, 2, 7);
        assert_eq!(planned.len(), 2 * all.len());
        let last = planned.iter().rev().take(4);
        assert!(last.clone().all(|(entry, _)| entry.cause != catalogue::Named::Service));
        assert!(planned.iter().any(|(_, service)| service == demo::application::PROVIDER));
        let services = |kind: kinds::Kind| {
            let of_kind = planned.iter().filter(move |(entry, _)| entry.kind == kind);
            of_kind.map(|(_, service)| service.as_str()).collect::<std::collections::BTreeSet<_>>()
        };
        let free = kinds::Kind::ALL.into_iter().filter(|kind| kind.service().is_none());
        assert!(free.into_iter().all(|kind| services(kind).len() == 2), "each run meets another service");
        let one = choose(all.clone(), &["hung".to_owned()]).unwrap();
        assert_eq!(one.len(), 1);
        assert!(choose(all, &["hang".to_owned()]).unwrap_err().to_string().contains("`hang`"));
    }
}
