//! `sim`: runs the proof and writes what came of it.
//!
//! ```text
//! sim [--histories N] [--out FILE]   every plan, N drawn histories, every mutation
//! sim --only plans|histories|mutations|freezes|switches|clocks|late|lives|slow|restarts|storms   one part, nothing written
//! sim --only PART --seed N           one drill of that part, told line by line
//! sim --seed N                       one drawn history, told line by line
//! sim --plan TEXT                    the plans whose name contains TEXT, told line by line
//! ```
#![allow(clippy::disallowed_methods, reason = "a command says how long it took")]

use homeostat_sim::defects::Defect;
use homeostat_sim::drills::{self, Drill};
use homeostat_sim::plans::{self, Baselines};
use homeostat_sim::run::spread;
use homeostat_sim::{histories, mutations, storms};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// What was asked for.
struct Asked {
    histories: u64,
    seed: Option<u64>,
    plan: Option<String>,
    only: Option<String>,
    out: PathBuf,
}

fn asked() -> Result<Asked, String> {
    let out = PathBuf::from("target/sim/result.json");
    let mut asked = Asked { histories: 10_000, seed: None, plan: None, only: None, out };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} needs a number, not `{value}`"));
        match name.as_str() {
            "--histories" => asked.histories = number()?,
            "--seed" => asked.seed = Some(number()?),
            "--plan" => asked.plan = Some(value),
            "--only" => asked.only = Some(value),
            "--out" => asked.out = PathBuf::from(value),
            _ => return Err(format!("`{name}` is not known; see the top of operator/sim/src/main.rs")),
        }
    }
    Ok(asked)
}

/// Prints one run and says whether all held.
fn tell(name: &str, trace: &[String], failures: &[String]) -> bool {
    println!("{name}");
    for line in trace {
        println!("  {line}");
    }
    for failure in failures {
        println!("  VIOLATION {failure}");
    }
    failures.is_empty()
}

fn main() -> ExitCode {
    let outcome = asked().and_then(|asked| run(&asked).map_err(|error| error.to_string()));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("sim: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(asked: &Asked) -> std::io::Result<bool> {
    let begun = Instant::now();
    if let (Some(part), Some(seed)) = (&asked.only, asked.seed)
        && let Some((_, drill)) = DRILLS.iter().find(|(name, _)| name == part)
    {
        let drill = drill(seed)?;
        return Ok(tell(&format!("{part} {seed}"), &drill.trace, &drill.violations));
    }
    if let Some(seed) = asked.seed {
        let history = histories::run(seed, None)?;
        return Ok(tell(&format!("history {seed}"), &history.trace, &history.violations));
    }
    if let Some(text) = &asked.plan {
        let mut baselines = Baselines::default();
        let mut all_held = true;
        for plan in plans::all().into_iter().filter(|plan| plan.to_string().contains(text.as_str())) {
            let outcome = plans::run(plan, None, &mut baselines)?;
            all_held &= tell(&plan.to_string(), &outcome.trace, &outcome.failures);
        }
        return Ok(all_held);
    }

    let wants = |part: &str| asked.only.as_deref().is_none_or(|only| only == part);
    let mut tally = Tally::default();
    if wants("plans") {
        tally.plans()?;
    }
    if wants("histories") {
        tally.histories(asked.histories)?;
    }
    for (name, drill) in DRILLS.into_iter().filter(|(name, _)| wants(name)) {
        tally.drills(name, drill)?;
    }
    if wants("storms") {
        tally.storms()?;
    }
    if wants("mutations") {
        tally.mutations()?;
    }
    if asked.only.is_none() {
        tally.write(&asked.out, begun.elapsed().as_secs_f64())?;
        println!("written     {}", asked.out.display());
    }
    Ok(tally.passed == tally.plans
        && tally.violations == 0
        && tally.caught == tally.mutations
        && tally.broken == 0)
}

/// Drills of one part.
type Part = fn(u64) -> std::io::Result<Drill>;

/// Every part of them; each is run from so many seeds.
const DRILLS: [(&str, Part); 7] = [
    ("freezes", drills::frozen_leader),
    ("switches", drills::kill_switch),
    ("clocks", |seed| drills::clocks(seed, None)),
    ("late", drills::late_effect),
    ("lives", drills::short_lives),
    ("slow", |seed| drills::slow_reads(seed, None)),
    ("restarts", drills::server_restart),
];
const SEEDS: u64 = 200;

/// What came of it.
#[derive(Default)]
struct Tally {
    plans: usize,
    passed: usize,
    histories: u64,
    effects: usize,
    violations: usize,
    mutations: usize,
    caught: usize,
    /// Drills and storms in which something did not hold.
    broken: usize,
    /// What came of the drills and storms, by part.
    parts: BTreeMap<&'static str, serde_json::Value>,
}

impl Tally {
    fn plans(&mut self) -> std::io::Result<()> {
        let begun = Instant::now();
        for (plan, outcome) in plans::run_all()? {
            self.plans += 1;
            self.passed += usize::from(outcome.failures.is_empty());
            if let Some(first) = outcome.failures.first() {
                println!("FAILED  {plan}: {first}; replay: make sim PLAN={plan}");
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!("plans       {} of {} passed ({seconds:.1} s)", self.passed, self.plans);
        Ok(())
    }

    fn histories(&mut self, histories: u64) -> std::io::Result<()> {
        let begun = Instant::now();
        let seeds: Vec<u64> = (0..histories).collect();
        // Only what is told is kept: a trace is long.
        let runs = spread(&seeds, |seed| {
            histories::run(*seed, None).map(|history| (history.seed, history.violations, history.effects))
        });
        for run in runs {
            let (seed, violations, effects) = run?;
            self.histories += 1;
            self.violations += violations.len();
            self.effects += effects;
            if let Some(first) = violations.first() {
                println!("VIOLATION  seed {seed}: {first}; replay: make sim SEED={seed}");
            }
        }
        println!(
            "histories   {} of {} steps, {} effects, {} violations ({:.1} s)",
            self.histories,
            histories::STEPS,
            self.effects,
            self.violations,
            begun.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn drills(&mut self, name: &'static str, drill: Part) -> std::io::Result<()> {
        let begun = Instant::now();
        let seeds: Vec<u64> = (0..SEEDS).collect();
        let (mut effects, mut forbidden, mut busy, mut broken) = (0, 0, 0, 0);
        let mut millis = Vec::new();
        for run in spread(&seeds, |seed| drill(*seed)) {
            let run = run?;
            effects += run.effects;
            forbidden += run.forbidden;
            busy += usize::from(run.busy);
            millis.extend(run.millis);
            if let Some(first) = run.violations.first() {
                broken += 1;
                let seed = run.seed;
                println!(
                    "VIOLATION  {name} {seed}: {first}; replay: make sim ARGS='--only {name} --seed {seed}'"
                );
            }
        }
        millis.sort_unstable();
        let at =
            |percent: usize| millis.get((millis.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        let (p99, most) = (at(99), millis.last().copied());
        self.broken += broken;
        let told = |millis: Option<i64>| millis.map_or_else(|| "-".to_owned(), |millis| millis.to_string());
        println!(
            "{name:<11} {SEEDS}, {effects} effects, {forbidden} of them forbidden, {busy} in the middle of something, p99 {} ms, longest {} ms, {broken} broken ({:.1} s)",
            told(p99),
            told(most),
            begun.elapsed().as_secs_f64()
        );
        let part = serde_json::json!({
            "runs": SEEDS, "effects": effects, "forbidden": forbidden, "inTheMiddle": busy,
            "p99Millis": p99, "longestMillis": most, "broken": broken,
        });
        self.parts.insert(name, part);
        Ok(())
    }

    fn storms(&mut self) -> std::io::Result<()> {
        let begun = Instant::now();
        let all = storms::all(u32::MAX);
        let (mut effects, mut broken, mut stopped) = (0, 0, 0);
        for passed in spread(&all, |storm| storms::run(*storm)) {
            let passed = passed?;
            effects += passed.effects;
            stopped += usize::from(passed.storm.stops());
            if let Some(first) = passed.violations.first() {
                broken += 1;
                println!("VIOLATION  {:?}: {first}", passed.storm);
            }
        }
        self.broken += broken;
        println!(
            "storms      {} shares of groups, {stopped} of them storms, {effects} effects outside of them, {broken} broken ({:.1} s)",
            all.len(),
            begun.elapsed().as_secs_f64()
        );
        let part = serde_json::json!({
            "runs": all.len(), "storms": stopped, "effects": effects, "broken": broken,
        });
        self.parts.insert("storms", part);
        Ok(())
    }

    fn mutations(&mut self) -> std::io::Result<()> {
        let begun = Instant::now();
        let hunts = spread(&Defect::ALL, |defect| mutations::hunt(*defect, &mut Baselines::default()));
        for (defect, found) in Defect::ALL.into_iter().zip(hunts) {
            self.mutations += 1;
            match found? {
                Some(found) => {
                    self.caught += 1;
                    println!(
                        "mutation    {defect:?}: noticed in run {}, {}: {}",
                        found.runs, found.run, found.first
                    );
                }
                None => println!("MISSED      {defect:?}"),
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        println!("mutations   {} of {} noticed ({seconds:.1} s)", self.caught, self.mutations);
        Ok(())
    }

    fn write(&self, out: &std::path::Path, seconds: f64) -> std::io::Result<()> {
        let result = serde_json::json!({
            "plans": self.plans,
            "passed": self.passed,
            "histories": self.histories,
            "steps": histories::STEPS,
            "effects": self.effects,
            "violations": self.violations,
            "mutations": self.mutations,
            "mutationsCaught": self.caught,
            "parts": self.parts,
            "seconds": seconds,
        });
        if let Some(folder) = out.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(out, format!("{result:#}\n"))
    }
}
