//! What the models say: the one place that knows which of them is asked.

use homeostat_models::detect::{SeriesConfig, SeriesDetector};

use crate::read::Table;

/// What was said of one column.
pub struct Column {
    /// Range in which the value was expected, for each row.
    pub band: Vec<Option<(f64, f64)>>,
    /// How far out it was, in usual spreads, for each row.
    pub score: Vec<f64>,
    /// How rare that is: minus the decimal logarithm of its chance, at most [`RAREST`].
    pub rarity: Vec<f64>,
}

/// Beyond this, rarer is not told apart.
const RAREST: f64 = 20.0;

/// What was said of a file.
pub struct Judged {
    /// One for each column.
    pub columns: Vec<Column>,
    /// Largest rarity of all columns, for each row.
    pub score: Vec<f64>,
    /// Whether the alarm was on, for each row.
    pub alarm: Vec<bool>,
    /// Columns by their part in the row that is explained, the largest first.
    pub parts: Vec<(usize, f64)>,
    /// The row in words.
    pub reason: String,
}

/// Hands the rows over one by one.
pub fn judge(table: &Table, row: usize) -> Judged {
    let mut judged = Judged {
        columns: Vec::new(),
        score: vec![0.0; table.at.len()],
        alarm: vec![false; table.at.len()],
        parts: Vec::new(),
        reason: String::new(),
    };
    let mut reasons = Vec::new();
    for (index, (name, values)) in table.columns.iter().enumerate() {
        let (column, alarm, reason) = one(&table.at, values, row);
        for (turn, rarity) in column.rarity.iter().enumerate() {
            judged.score[turn] = judged.score[turn].max(*rarity);
            judged.alarm[turn] |= alarm[turn];
        }
        judged.parts.push((index, column.score[row]));
        reasons.push(format!("{name}: {reason}"));
        judged.columns.push(column);
    }
    judged.parts.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let told: Vec<&str> = judged.parts.iter().take(3).map(|(index, _)| reasons[*index].as_str()).collect();
    judged.reason = told.join("; ");
    judged
}

/// One series: its column, its alarms, and the reason at `row`.
fn one(at: &[i64], values: &[Option<f64>], row: usize) -> (Column, Vec<bool>, String) {
    let mut detector = SeriesDetector::new(SeriesConfig::default()).expect("the shipped setting is valid");
    let mut column = Column { band: Vec::new(), score: Vec::new(), rarity: Vec::new() };
    let (mut alarms, mut reason) = (Vec::new(), String::new());
    // Row numbers, where a file has no times, count as minutes.
    let unit = if at.windows(2).all(|pair| pair[1] - pair[0] == 1) { 60 } else { 1 };
    for (turn, value) in values.iter().enumerate() {
        let verdict = value.map(|value| (value, detector.observe(unit * at[turn], value)));
        let ready = verdict.filter(|(_, verdict)| verdict.ready);
        column.band.push(ready.map(|(_, verdict)| verdict.usual));
        column.score.push(ready.map_or(0.0, |(value, verdict)| spreads(value, verdict.usual)));
        column.rarity.push(ready.map_or(0.0, |(_, verdict)| (-verdict.chance.log10()).clamp(0.0, RAREST)));
        alarms.push(detector.alarm());
        if turn == row {
            reason = match verdict {
                Some((_, verdict)) => {
                    format!("{}; the alarm is {}", verdict.reason, if verdict.alarm { "on" } else { "off" })
                }
                None => "no value, nothing is said".to_owned(),
            };
        }
    }
    (column, alarms, reason)
}

/// Distance from the middle of the usual range, which is three usual spreads to either side.
fn spreads(value: f64, usual: (f64, f64)) -> f64 {
    let spread = (usual.1 - usual.0) / 6.0;
    if spread > 0.0 && spread.is_finite() { ((value - usual.0) / spread - 3.0).abs() } else { 0.0 }
}

/// A number with four significant digits.
pub fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e7).contains(&size) {
        return format!("{value:.3e}");
    }
    let places = (3 - size.log10().floor() as i32).clamp(0, 7) as usize;
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}
