//! What became of each kind, as a table and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use super::catalogue::{Entry, Label};
use super::kinds::Kind;
use super::play::Played;
use crate::truth::percentile::percentile;

/// Of the runs of kinds that must be healed, percent that must be.
const HEALED_PERCENT: f64 = 95.0;

/// One kind.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    kind: Kind,
    label: Label,
    runs: usize,
    /// Runs in which callers noticed something.
    noticed: usize,
    /// Runs that were healed without a person.
    healed: usize,
    /// Runs in which people were told, with the right cause first.
    handed_over: usize,
    right_cause: usize,
    /// Effects that were wrong.
    wrong: usize,
    actions: usize,
    mttd_seconds: Option<f64>,
    mttr_seconds: Option<f64>,
    top_causes: Vec<String>,
}

/// All kinds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Result {
    kinds: Vec<Row>,
    quiet_incidents: usize,
    skipped: Vec<String>,
    seed: u64,
}

impl Result {
    /// Counts per kind, in the order of the catalogue.
    pub fn of(chosen: &[Entry], played: &Played, seed: u64) -> Self {
        let kinds = chosen
            .iter()
            .map(|entry| {
                let own: Vec<_> = played
                    .records
                    .iter()
                    .zip(&played.judged.faults)
                    .filter(|(record, _)| record.kind.entry.kind == entry.kind)
                    .collect();
                let told = own.iter().filter(|(record, judged)| {
                    (judged.handed_over || record.kind.put_to_people) && judged.top_cause_right
                });
                let told = told.count();
                let healed = own
                    .iter()
                    .filter(|(record, judged)| record.kind.taken_back.unwrap_or(judged.verdict.healed))
                    .count();
                let own: Vec<_> = own.into_iter().map(|(_, judged)| judged).collect();
                let count =
                    |what: &dyn Fn(&crate::truth::Attributed) -> bool| own.iter().filter(|j| what(j)).count();
                let figures = |of: &dyn Fn(&crate::truth::Attributed) -> Option<f64>| {
                    let all: Vec<f64> = own.iter().filter_map(|judged| of(judged)).collect();
                    percentile(&all, 95.0).filter(|seconds| seconds.is_finite())
                };
                Row {
                    kind: entry.kind,
                    label: entry.label,
                    runs: own.len(),
                    noticed: count(&|j| j.verdict.impact.is_some()),
                    healed,
                    handed_over: told,
                    right_cause: count(&|j| j.top_cause_right),
                    wrong: own.iter().map(|j| j.wrong_actions).sum(),
                    actions: own.iter().map(|j| j.actions).sum(),
                    mttd_seconds: figures(&|j| j.verdict.mttd),
                    mttr_seconds: figures(&|j| j.verdict.mttr),
                    top_causes: own.iter().filter_map(|j| j.top_cause.clone()).collect(),
                }
            })
            .collect();
        Self { kinds, quiet_incidents: played.judged.quiet_incidents, skipped: played.skipped.clone(), seed }
    }

    fn of_label(&self, label: Label) -> impl Iterator<Item = &Row> {
        self.kinds.iter().filter(move |row| row.label == label)
    }

    fn healed_percent(&self) -> Option<f64> {
        let runs: usize = self.of_label(Label::MustHeal).map(|row| row.runs).sum();
        let healed: usize = self.of_label(Label::MustHeal).map(|row| row.healed).sum();
        (runs > 0).then(|| 100.0 * healed as f64 / runs as f64)
    }

    fn wrong(&self) -> usize {
        self.kinds.iter().map(|row| row.wrong).sum()
    }

    /// Whether all is as it must be, and everything was played.
    pub fn passed(&self) -> bool {
        self.healed_percent().is_none_or(|percent| percent >= HEALED_PERCENT)
            && self.of_label(Label::MustHandOver).all(|row| row.handed_over == row.runs)
            && self.wrong() == 0
            && self.skipped.is_empty()
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = format!(
            "\n{:<22}{:<15}{:>5}{:>9}{:>8}{:>13}{:>8}{:>9}{:>9}  first cause\n",
            "kind", "label", "runs", "noticed", "healed", "handed over", "wrong", "MTTD s", "MTTR s"
        );
        let seconds =
            |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
        for row in &self.kinds {
            let name = serde_json::to_value(row.kind).ok();
            let name = name.as_ref().and_then(|name| name.as_str()).unwrap_or_default();
            let label = match row.label {
                Label::MustHeal => "must heal",
                Label::MustHandOver => "must hand over",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(
                out,
                "{name:<22}{label:<15}{:>5}{:>9}{:>8}{:>13}{:>8}{:>9}{:>9}  {}",
                row.runs,
                row.noticed,
                row.healed,
                row.handed_over,
                row.wrong,
                seconds(row.mttd_seconds),
                seconds(row.mttr_seconds),
                row.top_causes.first().map_or("-", String::as_str),
            );
        }
        let over: (usize, usize) = self
            .of_label(Label::MustHandOver)
            .fold((0, 0), |(over, runs), row| (over + row.handed_over, runs + row.runs));
        let healed =
            self.healed_percent().map_or_else(|| "-".to_owned(), |percent| format!("{percent:.0} %"));
        let _ = write!(
            out,
            "\nhealed without a person: {healed} (must {HEALED_PERCENT} %); handed over with the right cause first: {} of {} \
             (must all); wrong actions: {} (must 0); incidents without a fault: {}\n",
            over.0,
            over.1,
            self.wrong(),
            self.quiet_incidents
        );
        for skipped in &self.skipped {
            let _ = writeln!(out, "not played: {skipped}");
        }
        out
    }
}
