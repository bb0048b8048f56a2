//! What a demo runs: columns, faults, how often, how long.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::faults::schedule::{self, Counts};
use crate::faults::{Kind, Planned};

use super::application::{PROVIDER, SERVICES};

/// Who looks after the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Column {
    /// Sensible probes and Homeostat.
    Homeostat,
    /// Kubernetes alone, no probes.
    Plain,
    /// Kubernetes with sensible probes.
    Probes,
}

impl Column {
    /// As in the result.
    pub fn name(self) -> &'static str {
        match self {
            Self::Homeostat => "homeostat",
            Self::Plain => "plain",
            Self::Probes => "probes",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Homeostat => "Homeostat",
            Self::Plain => "Kubernetes, no probes",
            Self::Probes => "Kubernetes, probes",
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// All faults, three columns, within 30 minutes.
    Default,
    /// Three faults, two columns, within 5 minutes.
    Fast,
    /// Twenty of each of the first five faults with Homeostat.
    Full,
    /// The protocol of the source: a kill in every service every five minutes, for 22 minutes.
    Source,
}

/// Arguments that decide what is run.
#[derive(Args, Clone, Debug, Default)]
pub struct Choice {
    /// Faults 1, 3 and 4 only, Homeostat beside sensible probes (at most 5 minutes)
    #[arg(long, conflicts_with_all = ["full", "source"])]
    pub fast: bool,
    /// At least 20 of each of faults 1 to 5 with Homeostat
    #[arg(long, conflicts_with = "source")]
    pub full: bool,
    /// A kill in every service every 5 minutes for 22 minutes, Homeostat and plain Kubernetes
    #[arg(long)]
    pub source: bool,
    /// Columns in this order instead of the usual ones
    #[arg(long, value_enum, value_delimiter = ',')]
    pub columns: Vec<Column>,
    /// Only these faults, by number
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=8))]
    pub faults: Vec<u8>,
    /// Each fault so often in every column
    #[arg(long)]
    pub count: Option<usize>,
}

/// When a fault comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// Which.
    pub fault: Planned,
    /// So long after the load began; without it, as soon as everything is calm.
    pub at: Option<Duration>,
}

impl Choice {
    /// The mode.
    pub fn mode(&self) -> Mode {
        match (self.fast, self.full, self.source) {
            (true, ..) => Mode::Fast,
            (_, true, _) => Mode::Full,
            (.., true) => Mode::Source,
            _ => Mode::Default,
        }
    }

    /// Columns, Homeostat first.
    pub fn columns(&self) -> Vec<Column> {
        if !self.columns.is_empty() {
            return self.columns.clone();
        }
        match self.mode() {
            Mode::Default | Mode::Full => vec![Column::Homeostat, Column::Plain, Column::Probes],
            Mode::Fast => vec![Column::Homeostat, Column::Probes],
            Mode::Source => vec![Column::Homeostat, Column::Plain],
        }
    }

    fn counts(&self, column: Column) -> Counts {
        let of = |kind: Kind| -> usize {
            let repaired = kind.number() <= 5;
            match (self.mode(), column) {
                (Mode::Source, _) => 0,
                (Mode::Fast, _) if !matches!(kind, Kind::Kill | Kind::Hang | Kind::Errors) => 0,
                (Mode::Fast, Column::Homeostat) => 2,
                (Mode::Default, Column::Homeostat) if repaired => 5,
                (Mode::Full, Column::Homeostat) if repaired => 20,
                // Without probes their variants are the same fault.
                (Mode::Default | Mode::Full, Column::Probes) if kind.has_variants() => 2,
                // Its downtime is compared to two tenths of a second.
                (Mode::Default | Mode::Full, Column::Plain) if kind == Kind::Kill => 2,
                _ => 1,
            }
        };
        let chosen = |kind: &Kind| self.faults.is_empty() || self.faults.contains(&kind.number());
        let all = Kind::ALL.into_iter().filter(chosen);
        let all = all.map(|kind| {
            (kind, self.count.filter(|_| of(kind) > 0 || !self.faults.is_empty()).unwrap_or(of(kind)))
        });
        all.filter(|(_, count)| *count > 0).collect()
    }

    /// The faults of one column, in order, from the seed.
    pub fn plan(&self, column: Column, seed: u64) -> Vec<Timed> {
        if self.mode() == Mode::Source {
            return source(seed);
        }
        schedule::plan(seed, &self.counts(column), &SERVICES, PROVIDER)
            .into_iter()
            .map(|fault| Timed { fault, at: None })
            .collect()
    }

    /// How long the load lasts at least; only the protocol of the source fixes it.
    pub fn duration(&self) -> Option<Duration> {
        (self.mode() == Mode::Source).then_some(SOURCE_DURATION)
    }
}

/// Duration of the source's protocol.
pub const SOURCE_DURATION: Duration = Duration::from_mins(22);
/// One kill a minute gives each of five services one every five minutes.
const SOURCE_SPACING: u64 = 60;
const SOURCE_ROUNDS: u64 = 4;

fn source(seed: u64) -> Vec<Timed> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut turn = SERVICES.to_vec();
    turn.shuffle(&mut random);
    let mut planned = Vec::new();
    for round in 0..SOURCE_ROUNDS {
        for (index, service) in turn.iter().enumerate() {
            let minute = round * turn.len() as u64 + index as u64 + 1;
            let at = Duration::from_secs(minute * SOURCE_SPACING)
                + Duration::from_millis(random.random_range(0..5000));
            let fault = Planned {
                kind: Kind::Kill,
                variant: None,
                service: (*service).to_owned(),
                pause: Duration::ZERO,
            };
            planned.push(Timed { fault, at: Some(at) });
        }
    }
    planned
}

/// How often each kind comes in a plan, for the announcement.
pub fn summary(plan: &[Timed]) -> String {
    let mut counts: BTreeMap<Kind, usize> = BTreeMap::new();
    for timed in plan {
        *counts.entry(timed.fault.kind).or_default() += 1;
    }
    let words: Vec<String> =
        counts.iter().map(|(kind, count)| format!("{count}x fault {}", kind.number())).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        choice: Choice,
    }

    fn choice(arguments: &[&str]) -> Choice {
        Line::try_parse_from(std::iter::once("demo").chain(arguments.iter().copied())).unwrap().choice
    }

    fn count(plan: &[Timed], kind: Kind) -> usize {
        plan.iter().filter(|timed| timed.fault.kind == kind).count()
    }

    #[test]
    fn the_usual_demo_shows_every_fault_in_every_column() {
        let choice = choice(&[]);
        assert_eq!(choice.columns(), [Column::Homeostat, Column::Plain, Column::Probes]);
        let own = choice.plan(Column::Homeostat, 1);
        for kind in Kind::ALL {
            let expected = if kind.number() <= 5 { 5 } else { 1 };
            assert_eq!(count(&own, kind), expected, "{kind}");
            assert!((1..=2).contains(&count(&choice.plan(Column::Plain, 1), kind)), "{kind}");
            assert!((1..=2).contains(&count(&choice.plan(Column::Probes, 1), kind)), "{kind}");
        }
    }

    #[test]
    fn the_fast_and_the_full_demo() {
        let fast = choice(&["--fast"]);
        assert_eq!(fast.columns(), [Column::Homeostat, Column::Probes]);
        let kinds: std::collections::BTreeSet<u8> =
            fast.plan(Column::Probes, 1).iter().map(|timed| timed.fault.kind.number()).collect();
        assert_eq!(kinds, [1, 3, 4].into());
        let full = choice(&["--full"]).plan(Column::Homeostat, 1);
        assert!(Kind::ALL.into_iter().take(5).all(|kind| count(&full, kind) >= 20));
        assert!(Line::try_parse_from(["demo", "--fast", "--full"]).is_err());
    }

    #[test]
    fn the_protocol_of_the_source_kills_every_service_every_five_minutes() {
        let plan = choice(&["--source"]).plan(Column::Plain, 4);
        assert_eq!(plan.len(), 20);
        for service in SERVICES {
            let times: Vec<u64> =
                plan.iter().filter(|t| t.fault.service == service).map(|t| t.at.unwrap().as_secs()).collect();
            assert_eq!(times.len(), 4);
            assert!(times.windows(2).all(|pair| (295..=305).contains(&(pair[1] - pair[0]))), "{times:?}");
        }
        assert!(plan.iter().all(|timed| timed.at.unwrap() < SOURCE_DURATION));
    }

    #[test]
    fn people_choose_columns_faults_and_counts() {
        let some = choice(&["--columns", "plain,probes", "--faults", "2,8", "--count", "3"]);
        assert_eq!(some.columns(), [Column::Plain, Column::Probes]);
        let plan = some.plan(Column::Plain, 1);
        assert_eq!((plan.len(), count(&plan, Kind::KillAgain), count(&plan, Kind::ProviderDown)), (6, 3, 3));
        assert_eq!(summary(&plan), "3x fault 2, 3x fault 8");
        assert!(Line::try_parse_from(["demo", "--faults", "9"]).is_err());
    }
}
