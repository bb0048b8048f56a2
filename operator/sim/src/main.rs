//! `sim`: runs the proof and writes what came of it.
//!
//! ```text
//! sim [--histories N] [--out FILE]   every plan, N drawn histories, every mutation
//! sim --seed N                       one drawn history, told line by line
//! sim --plan TEXT                    the plans whose name contains TEXT, told line by line
//! ```

use homeostat_sim::defects::Defect;
use homeostat_sim::plans::{self, Baselines};
use homeostat_sim::{histories, mutations};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// What was asked for.
struct Asked {
    histories: u64,
    seed: Option<u64>,
    plan: Option<String>,
    out: PathBuf,
}

fn asked() -> Result<Asked, String> {
    let mut asked =
        Asked { histories: 10_000, seed: None, plan: None, out: PathBuf::from("target/sim/result.json") };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} needs a number, not `{value}`"));
        match name.as_str() {
            "--histories" => asked.histories = number()?,
            "--seed" => asked.seed = Some(number()?),
            "--plan" => asked.plan = Some(value),
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
    let mut baselines = Baselines::default();
    if let Some(seed) = asked.seed {
        let history = histories::run(seed, None)?;
        return Ok(tell(&format!("history {seed}"), &history.trace, &history.violations));
    }
    if let Some(text) = &asked.plan {
        let mut all_held = true;
        for plan in plans::all().into_iter().filter(|plan| plan.to_string().contains(text.as_str())) {
            let outcome = plans::run(plan, None, &mut baselines)?;
            all_held &= tell(&plan.to_string(), &outcome.trace, &outcome.failures);
        }
        return Ok(all_held);
    }

    let all = plans::all();
    let mut passed = 0;
    for plan in &all {
        let outcome = plans::run(*plan, None, &mut baselines)?;
        passed += usize::from(outcome.failures.is_empty());
        if let Some(first) = outcome.failures.first() {
            println!("FAILED  {plan}: {first}");
        }
    }
    println!("plans       {} of {} passed ({:.1} s)", passed, all.len(), begun.elapsed().as_secs_f64());

    let (mut violations, mut effects) = (0, 0);
    for seed in 0..asked.histories {
        let history = histories::run(seed, None)?;
        violations += history.violations.len();
        effects += history.effects;
        if let Some(first) = history.violations.first() {
            println!("VIOLATION  seed {seed}: {first}; replay: make sim SEED={seed}");
        }
    }
    println!(
        "histories   {} of {} steps, {effects} effects, {violations} violations ({:.1} s)",
        asked.histories,
        histories::STEPS,
        begun.elapsed().as_secs_f64()
    );

    let mut caught = 0;
    for defect in Defect::ALL {
        match mutations::hunt(defect, &mut baselines)? {
            Some(found) => {
                caught += 1;
                println!("mutation    {defect:?}: noticed in {} ({})", found.run, found.first);
            }
            None => println!("MISSED      {defect:?}"),
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("mutations   {caught} of {} noticed ({seconds:.1} s)", Defect::ALL.len());
    let result = serde_json::json!({
        "plans": all.len(),
        "passed": passed,
        "histories": asked.histories,
        "steps": histories::STEPS,
        "effects": effects,
        "violations": violations,
        "mutations": Defect::ALL.len(),
        "mutationsCaught": caught,
        "seconds": seconds,
    });
    if let Some(folder) = asked.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&asked.out, format!("{result:#}\n"))?;
    println!("written     {}", asked.out.display());
    Ok(passed == all.len() && violations == 0 && caught == Defect::ALL.len())
}
