//! The page around the drawings.

use std::fmt::Write;

use crate::draw::Panel;
use crate::judge::{Judged, short};
use crate::read::Table;

/// Rows drawn before and after the row that is explained.
const BEFORE: usize = 600;
const AFTER: usize = 300;
/// Columns that get a drawing of their own.
const SHOWN: usize = 4;
/// Columns that are listed with their part.
const LISTED: usize = 10;

const STYLE: &str = "
:root { color-scheme: light dark; --page: #fff; --ink: #1c2024; --soft: #60646c; --grid: #e4e6ea; --series: #1f6feb;
  --band: #1f6feb26; --score: #8250df; --alarm: #d1242f; --mark: #f5a62333; --key: #f5a623; }
@media (prefers-color-scheme: dark) { :root { --page: #111318; --ink: #e6e8eb; --soft: #9ba1a9; --grid: #2a2e35;
  --series: #6cb2ff; --band: #6cb2ff2e; --score: #c297ff; --alarm: #ff6a69; --mark: #f5a6232e; } }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin: 1.4rem 0 .2rem; }
svg { width: 100%; height: auto; display: block; }
.reason { border-left: 4px solid var(--alarm); padding: .3rem .9rem; }
.calm { border-color: var(--soft); }
.grid { stroke: var(--grid); } .tick { fill: var(--soft); font-size: 12px; }
.series, .score { fill: none; stroke-width: 1.4; stroke-linejoin: round; } .series { stroke: var(--series); } .score { stroke: var(--score); }
.band { fill: var(--band); } .mark { fill: var(--mark); } .alarm { fill: var(--alarm); }
.here { stroke: var(--ink); stroke-dasharray: 4 3; } .dot { fill: var(--ink); }
.window { fill: var(--grid); opacity: .6; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; font-variant-numeric: tabular-nums; }
.bar { display: inline-block; height: .7em; background: var(--score); }
.key span { margin-right: 1.4rem; white-space: nowrap; } .key i { display: inline-block; width: 1.4em; height: .7em; margin-right: .4em; }
";

pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low.is_finite() && high.is_finite() { (low, high) } else { (0.0, 1.0) }
}

/// One self-contained page.
pub fn page(title: &str, table: &Table, judged: &Judged, row: usize) -> String {
    let label = |row: usize| -> String {
        match table.at.get(row) {
            Some(&at) if table.timed => jiff::Timestamp::from_second(at)
                .map_or_else(|_| at.to_string(), |time| time.strftime("%Y-%m-%d %H:%M").to_string()),
            _ => format!("row {row}"),
        }
    };
    let rows = table.at.len();
    let (from, to) = (row.saturating_sub(BEFORE), (row + AFTER).min(rows));
    let alarm = |row: usize| judged.alarm[row];
    let marked = |row: usize| table.marked[row];
    let score = |row: usize| Some(judged.score[row]);
    let mut body = String::new();

    for &(index, part) in judged.parts.iter().take(SHOWN) {
        let (name, values) = &table.columns[index];
        let column = &judged.columns[index];
        let value = |row: usize| values[row];
        let band = |row: usize| column.band[row];
        let alone = table.columns.len() == 1;
        // The range is that of the values; a band that runs far out is cut off.
        let mut panel = Panel::new(
            (from, to),
            if alone { 300.0 } else { 110.0 },
            range(
                (from..to).filter_map(value).chain(band(row).into_iter().flat_map(|band| [band.0, band.1])),
            ),
            &label,
        );
        panel.shade(&marked, "mark", false);
        panel.band(&band, "band");
        panel.line(&value, "series");
        panel.shade(&alarm, "alarm", true);
        panel.here(row, value(row));
        let name = escaped(name);
        let about = if alone { String::new() } else { format!(" ({} usual spreads out)", short(part)) };
        let _ = write!(body, "<h2>{name}{about}</h2>{}", panel.svg(&name));
    }

    let mut panel = Panel::new((from, to), 110.0, range((from..to).filter_map(score).chain([0.0])), &label);
    panel.shade(&marked, "mark", false);
    panel.line(&score, "score");
    panel.shade(&alarm, "alarm", true);
    panel.here(row, score(row));
    let _ = write!(body, "<h2>Rarity: 3 is one row of a thousand</h2>{}", panel.svg("rarity"));

    if table.columns.len() > 1 {
        let most = judged.parts.first().map_or(1.0, |(_, part)| part.max(1e-9));
        body.push_str("<h2>Farthest out in this row, in usual spreads</h2><table>");
        for (index, part) in judged.parts.iter().take(LISTED) {
            let (name, values) = &table.columns[*index];
            let _ = write!(
                body,
                r#"<tr><td>{}</td><td>{}</td><td>{}</td><td><span class="bar" style="width:{:.1}rem"></span></td></tr>"#,
                escaped(name),
                values[row].map_or_else(|| "no value".to_owned(), short),
                short(*part),
                20.0 * part / most,
            );
        }
        body.push_str("</table>");
    }

    let first = judged.parts.first().map_or(0, |(index, _)| *index);
    let (name, values) = &table.columns[first];
    let value = |row: usize| values[row];
    let mut panel = Panel::new((0, rows), 90.0, range((0..rows).filter_map(value)), &label);
    panel.shade(&|row| (from..to).contains(&row), "window", false);
    panel.shade(&marked, "mark", false);
    panel.line(&value, "series");
    panel.shade(&alarm, "alarm", true);
    let _ = write!(body, "<h2>The whole file, {}</h2>{}", escaped(name), panel.svg("the whole file"));

    frame(title, &label(row), &judged.reason, judged.alarm[row], &KEY, &body)
}

/// What the colours of a series' page mean.
const KEY: [(&str, &str); 5] = [
    ("series", "measured"),
    ("band", "expected"),
    ("score", "rarity"),
    ("alarm", "alarm on"),
    ("key", "marked by people"),
];

/// The page around its drawings: heading, the reason where it is, and what the colours mean.
pub fn frame(
    title: &str,
    place: &str,
    reason: &str,
    alarm: bool,
    key: &[(&str, &str)],
    body: &str,
) -> String {
    let (title, place, reason) = (escaped(title), escaped(place), escaped(reason));
    let calm = if alarm { "" } else { " calm" };
    let key: String = key
        .iter()
        .map(|(colour, what)| format!(r#"<span><i style="background:var(--{colour})"></i>{what}</span>"#))
        .collect();
    format!(
        r#"<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>{STYLE}</style>
<h1>{title}</h1><p class="reason{calm}">{place}: {reason}</p><p class="key">{key}</p>{body}</html>
"#
    )
}
