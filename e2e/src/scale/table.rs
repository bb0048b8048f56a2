//! Both lines, and their file.

use std::fmt::Write as _;

use serde::Serialize;

use super::seen::Row;

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Requests per second that one replica answers when it is asked without a pause.
    pub saturated_at: f64,
    /// Requests per second that count as what one replica carries.
    pub per_replica: f64,
    /// Of the HPA, percent of the CPU that a replica asks for.
    pub target_percent: u32,
    /// Skill of Homeostat's forecast at the end, as its Forecast says.
    pub skill: String,
    /// Changes of size that Homeostat did, in words.
    pub actions: Vec<String>,
    /// Load of each second, in what one replica carries.
    pub loads: Vec<f64>,
    /// Both.
    pub rows: Vec<Row>,
}

impl Summary {
    /// For people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "\nThe same service, manifests and {:.0} s of load; a replica carries {:.1} requests/s (90 % of the {:.1} that it \
             answers at most)\n\n{:22} {:>13} {:>12} {:>8} {:>9} {:>7} {:>6} {:>15} {:>8}\n",
            self.loads.len(),
            self.per_replica,
            self.saturated_at,
            "",
            "violation min",
            "replica min",
            "changes",
            "requests",
            "failed",
            "slow",
            "failed or slow",
            "p95 ms"
        );
        for row in &self.rows {
            // Nobody fails to write into a text.
            let _ = writeln!(
                text,
                "{:22} {:>13.2} {:>12.1} {:>8} {:>9} {:>7} {:>6} {:>13.2} % {:>8.0}",
                row.policy,
                row.violation_minutes,
                row.replica_minutes,
                row.changes,
                row.callers.requests,
                row.callers.failed,
                row.callers.slow,
                row.failed_or_slow_percent,
                row.callers.p95_milliseconds
            );
        }
        for row in &self.rows {
            let parts: Vec<String> = row
                .violation_minutes_by_part
                .iter()
                .map(|(part, minutes)| format!("{minutes:.2} in {part}"))
                .collect();
            let _ = writeln!(text, "{:22} violation min: {}", row.policy, parts.join(", "));
        }
        let _ = writeln!(
            text,
            "\nSlow: answered after more than 1 s. Homeostat saw this load for the first time (skill of its forecast: {}), so it \
             decided on what it saw, with the margin of something unknown: no pattern of a day can be known after one. How it \
             does with a history says make scale-compare.",
            self.skill
        );
        for action in &self.actions {
            let _ = writeln!(text, "  {action}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_has_its_line_and_the_skill_is_said() {
        let row = |policy: &str, violation_minutes| Row {
            policy: policy.to_owned(),
            violation_minutes,
            ..Row::default()
        };
        let summary = Summary {
            saturated_at: 20.0,
            per_replica: 18.0,
            target_percent: 60,
            skill: "Unknown".to_owned(),
            actions: vec!["ScaleUp 1 to 3".to_owned()],
            loads: vec![1.0; 60],
            rows: vec![row("HPA, 60 % CPU", 1.5), row("Homeostat, Auto", 0.25)],
        };
        let text = summary.text();
        assert!(
            text.lines().any(|line| line.starts_with("HPA, 60 % CPU") && line.contains(" 1.50 ")),
            "{text}"
        );
        assert!(text.lines().any(|line| line.starts_with("Homeostat, Auto") && line.contains(" 0.25 ")));
        assert!(text.contains("skill of its forecast: Unknown"));
    }
}
