//! `report.html`: one plot per series, self-contained, for dark and light.

use super::curve::{Point, sum_up};
use super::data::Series;
use super::simulate::Outcome;
use std::fmt::Write;

/// A series with what came of it.
pub struct Compared {
    pub series: Series,
    pub oracle: f64,
    pub ours: Vec<(f64, Outcome)>,
    pub points: Vec<Point>,
}

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 300.0;
const EDGE: f64 = 46.0;

const HEAD: &str = r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Violations and replicas</title><style>
:root{color-scheme:light dark;--ground:#fff;--ink:#1c2430;--faint:#d5dae1;--homeostat:#0a7d55;--hpa:#c2410c;--keda:#6d28d9;--crane:#0369a1}
@media(prefers-color-scheme:dark){:root{--ground:#12161c;--ink:#e3e8ef;--faint:#39424e;--homeostat:#34d399;--hpa:#fb923c;--keda:#c4b5fd;--crane:#7dd3fc}}
body{background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem}
figure{display:inline-block;margin:0 .5rem 1rem 0}svg{background:var(--ground);max-width:100%}text{fill:var(--ink);font:11px system-ui,sans-serif}
figcaption{font-weight:600}table{border-collapse:collapse}td,th{padding:.15rem .7rem;text-align:right;border-bottom:1px solid var(--faint)}td:first-child,th:first-child{text-align:left}
</style></head><body><h1>Violations and replicas</h1>
<p>Each mark is a run over a whole series. Down and left is better. Violation minutes: load above the capacity of the ready
replicas. Excess: replica-minutes above the fewest that have no violation, known only to one who sees what comes.</p>
"#;

/// The page.
pub fn html(all: &[Compared]) -> String {
    let mut page = HEAD.to_owned();
    page.push_str("<table><tr><th>series</th><th>points of peers</th><th>fewer replicas</th><th>half the excess</th><th>median share of their excess</th></tr>");
    for one in all {
        let (points, won, half, middle) = sum_up(one.points.iter());
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{points}</td><td>{won}</td><td>{half}</td><td>{middle:.2}</td></tr>",
            one.series.name
        );
    }
    page.push_str("</table><p>");
    for policy in ["homeostat", "hpa", "keda", "crane"] {
        let _ = write!(page, "<span style=\"color:var(--{policy})\">&#9679; {policy}</span> &nbsp; ");
    }
    page.push_str("</p>");
    for one in all {
        plot(&mut page, one);
    }
    page.push_str("</body></html>\n");
    page
}

fn plot(page: &mut String, one: &Compared) {
    let excess = |outcome: &Outcome| outcome.replica_minutes - one.oracle;
    let peers = || one.points.iter().map(|point| &point.peer);
    let most = peers().map(|peer| peer.violation_minutes).fold(1.0, f64::max) * 1.2;
    let high = peers().map(excess).fold(1.0, f64::max) * 1.05;
    let low = peers().map(excess).fold(0.0, f64::min) * 1.05;
    let x = |minutes: f64| EDGE + (1.0 + minutes).ln() / (1.0 + most).ln() * (WIDTH - EDGE - 10.0);
    let y = |excess: f64| HEIGHT - 30.0 - (excess - low) / (high - low) * (HEIGHT - 50.0);
    let _ = write!(
        page,
        "<figure><figcaption>{}</figcaption><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" aria-label=\"Violation minutes against excess replica-minutes of {}\">",
        one.series.name, one.series.name
    );
    let mut tick = 1.0;
    let mut ticks = vec![0.0];
    while tick < most {
        ticks.push(tick);
        tick *= 10.0;
    }
    for tick in ticks {
        let at = x(tick);
        let _ = write!(
            page,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"15\" y2=\"{:.1}\" stroke=\"var(--faint)\"/><text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
            HEIGHT - 30.0,
            HEIGHT - 16.0
        );
    }
    for part in 0..=4 {
        let value = low + (high - low) * f64::from(part) / 4.0;
        let at = y(value);
        let _ = write!(
            page,
            "<line x1=\"{EDGE}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"var(--faint)\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.1}k</text>",
            WIDTH - 10.0,
            EDGE - 4.0,
            at + 4.0,
            value / 1_000.0
        );
    }
    let _ = write!(
        page,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">violation minutes (log)</text><text x=\"4\" y=\"11\">excess replica-minutes</text>",
        WIDTH / 2.0,
        HEIGHT - 3.0
    );
    let mut lines: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    let seen = one.ours.iter().filter(|(_, outcome)| {
        outcome.violation_minutes <= most && excess(outcome) <= high && excess(outcome) >= low
    });
    lines
        .push(("homeostat", seen.map(|(_, outcome)| (outcome.violation_minutes, excess(outcome))).collect()));
    for policy in ["hpa", "keda", "crane"] {
        let mine = one.points.iter().filter(|point| point.policy == policy);
        lines.push((policy, mine.map(|point| (point.peer.violation_minutes, excess(&point.peer))).collect()));
    }
    for (policy, points) in lines {
        let path: Vec<String> =
            points.iter().map(|(minutes, value)| format!("{:.1},{:.1}", x(*minutes), y(*value))).collect();
        let _ = write!(
            page,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"var(--{policy})\" stroke-width=\"1.5\"/>",
            path.join(" ")
        );
        for (minutes, value) in points {
            let _ = write!(
                page,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"var(--{policy})\"><title>{policy}: {minutes:.1} violation minutes, {value:.0} excess replica-minutes</title></circle>",
                x(minutes),
                y(value)
            );
        }
    }
    page.push_str("</svg></figure>");
}
