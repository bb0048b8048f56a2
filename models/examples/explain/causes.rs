//! Suites `petshop` and `nezha`: who is suspected, and why.

use std::fmt::Write;
use std::path::Path;

use homeostat_models::cause::{Candidate, Case, CauseConfig, Measure, rank};

use crate::data::{self, Error};
use crate::draw::Panel;
use crate::judge::short;
use crate::page::{escaped, frame, range};
use crate::suites::{Told, name, no_row};

#[path = "../score/nezha.rs"]
#[allow(dead_code, reason = "the suite uses more of it")]
mod nezha;
#[path = "../score/petshop.rs"]
#[allow(dead_code, reason = "the suite uses more of it")]
mod petshop;

/// Candidates that are listed.
const LISTED: usize = 12;
/// Rows without the fault that are drawn before those with it.
const BEFORE: usize = 200;

/// One issue; the candidate at `row` of the ranking is drawn.
pub fn petshop(suite: &str, file: &Path, row: usize) -> Result<Told, Error> {
    let (case, symptom) = petshop::issue_case(file)?;
    let mut ranked = rank(&case, &CauseConfig::default());
    // As the suite does it: the node where it was seen is known, it is not asked for.
    ranked.retain(|candidate| candidate.entity != symptom);
    if row >= ranked.len() {
        return Err(no_row(file, row, ranked.len()));
    }
    let label = std::fs::read_to_string(file)
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .and_then(|all| Some(all["root_cause"]["node"].as_str()?.to_owned()));
    let title = format!("{suite}: {}, seen at {}", name(file), case.entities[symptom]);
    Ok(told(&title, &case, &ranked, row, label.as_deref()))
}

/// One fault of a day; the first candidate is drawn.
pub fn nezha(suite: &str, file: &Path, row: usize) -> Result<Told, Error> {
    let case = nezha::fault_case(file, row)?;
    let ranked = rank(&case, &CauseConfig::default());
    if ranked.is_empty() {
        return Err(no_row(file, 0, 0));
    }
    let (header, rows) = data::table(file)?;
    let label = header
        .iter()
        .position(|column| column == "service")
        .and_then(|place| Some(rows.get(row)?.get(place)?.to_owned()));
    let title = format!("{suite}: {}, fault {row}", name(file));
    Ok(told(&title, &case, &ranked, 0, label.as_deref()))
}

fn told(title: &str, case: &Case, ranked: &[Candidate], row: usize, label: Option<&str>) -> Told {
    let candidate = &ranked[row];
    let reasons: Vec<&str> = candidate.evidence.iter().map(|evidence| evidence.text.as_str()).collect();
    let reasons =
        if reasons.is_empty() { "nothing speaks against it".to_owned() } else { reasons.join("; ") };
    let reason = format!(
        "{} is candidate {} of {}, score {}: {reasons}",
        case.entities[candidate.entity],
        row + 1,
        ranked.len(),
        short(candidate.score)
    );
    let mut body = table(case, ranked, label);
    for series in case.series.iter().filter(|series| series.entity == candidate.entity) {
        let from = series.baseline.len().saturating_sub(BEFORE);
        let values: Vec<f64> = series.baseline[from..].iter().chain(&series.suspect).copied().collect();
        let usual = series.baseline.len() - from;
        let _ = write!(body, "<h2>{}</h2>{}", words(series.measure), drawing(&values, usual));
    }
    let place = format!("candidate {}", row + 1);
    let key = [("series", "measured"), ("key", "time of the fault")];
    Told { page: frame(title, &place, &reason, row == 0, &key, &body), reason }
}

/// Candidates with their evidence; who it was, where people say so, in bold.
fn table(case: &Case, ranked: &[Candidate], label: Option<&str>) -> String {
    let mut out =
        String::from("<h2>Candidates</h2><table><tr><th></th><th>who</th><th>score</th><th>why</th></tr>");
    for (place, candidate) in ranked.iter().enumerate() {
        let name = &case.entities[candidate.entity];
        let is_it = label == Some(name.as_str());
        if place >= LISTED && !is_it {
            continue;
        }
        let why: Vec<String> = candidate
            .evidence
            .iter()
            .map(|told| format!("{} ({}): {}", told.kind.name(), short(told.strength), escaped(&told.text)))
            .collect();
        let name = escaped(name);
        let name = if is_it { format!("<b>{name}</b> (marked by people)") } else { name };
        let (score, why) = (short(candidate.score), why.join("<br>"));
        let _ = write!(out, "<tr><td>{}</td><td>{name}</td><td>{score}</td><td>{why}</td></tr>", place + 1);
    }
    out + "</table>"
}

fn drawing(values: &[f64], usual: usize) -> String {
    let value = |row: usize| values.get(row).copied().filter(|value| value.is_finite());
    let label = |row: usize| {
        if row < usual {
            format!("{} rows before", usual - row)
        } else {
            format!("row {} of the fault", row - usual)
        }
    };
    let mut panel = Panel::new((0, values.len()), 110.0, range((0..values.len()).filter_map(value)), &label);
    panel.shade(&|row| row >= usual, "mark", false);
    panel.line(&value, "series");
    panel.svg("measured")
}

fn words(measure: Measure) -> &'static str {
    match measure {
        Measure::Latency => "Mean time of a request, s",
        Measure::Requests => "Requests",
        Measure::Failures => "Share of failed requests",
        Measure::Cpu => "Processor, share of its limit",
        Measure::Memory => "Memory, share of its limit",
    }
}
