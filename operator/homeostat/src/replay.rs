//! `homeostat replay`: a recorded run, judged again under the guards as they ship.

use crate::args::ReplayArgs;
use homeostat_execute::GuardInput;
use homeostat_execute::guards::{ReplayLimits, ReplaySummary, replay};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader};

/// Why a record could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("{path} cannot be read; it is written by `homeostat run --record FILE`")]
    File {
        /// Path as given.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line is no guard input.
    #[error(
        "{path}, line {line}: not a recorded guard input; it must be written by `homeostat run --record FILE` of this version"
    )]
    Line {
        /// Path as given.
        path: String,
        /// Line, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Replays a file and gives the text to print.
pub fn run(args: &ReplayArgs) -> Result<String, ReplayError> {
    let path = args.file.display().to_string();
    let unreadable = |source| ReplayError::File { path: path.clone(), source };
    let file = File::open(&args.file).map_err(unreadable)?;
    let mut inputs: Vec<GuardInput> = Vec::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(|source| ReplayError::File { path: path.clone(), source })?;
        if line.trim().is_empty() {
            continue;
        }
        let input = serde_json::from_str(&line).map_err(|source| ReplayError::Line {
            path: path.clone(),
            line: index + 1,
            source,
        })?;
        inputs.push(input);
    }
    let summary = replay(inputs.into_iter(), &ReplayLimits::default());
    Ok(if args.json { json(&summary) } else { table(&summary) })
}

fn json(summary: &ReplaySummary) -> String {
    let refused: Vec<_> = summary
        .refused_by
        .iter()
        .map(|(guard, count)| serde_json::json!({ "guard": guard.name(), "count": count }))
        .collect();
    let incidents: BTreeSet<&str> = summary
        .decisions
        .iter()
        .filter(|decision| decision.refused_by.is_none())
        .map(|decision| decision.incident.as_str())
        .collect();
    let all: BTreeSet<&str> = summary.decisions.iter().map(|decision| decision.incident.as_str()).collect();
    serde_json::json!({
        "actions": summary.decisions.len(),
        "admitted": summary.admitted(),
        "refused": summary.refused(),
        "incidentsActedOn": incidents.len(),
        "incidents": all.len(),
        "refusedBy": refused,
    })
    .to_string()
}

fn table(summary: &ReplaySummary) -> String {
    if summary.decisions.is_empty() {
        return "No recorded action passed all guards, so there is none to judge again. Of what was only recommended \
                `homeostat levels --what-if` tells.\n"
            .to_owned();
    }
    let mut text = format!(
        "Under the default guards {} of {} actions would be done again, {} refused.\n",
        summary.admitted(),
        summary.decisions.len(),
        summary.refused()
    );
    for (guard, count) in &summary.refused_by {
        let _ = write!(text, "  {:<14} refused {count}", guard.name());
        let first = summary.decisions.iter().find_map(|decision| {
            decision.refused_by.as_ref().filter(|report| report.name == *guard && !report.message.is_empty())
        });
        if let Some(report) = first {
            let _ = write!(text, ", first: {} ({})", report.message, report.observed);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_anything_carried_out_says_where_recommendations_are_judged() {
        let text = table(&ReplaySummary::default());
        assert!(text.contains("homeostat levels --what-if") && !text.contains("0 of 0"), "{text}");
    }
}
