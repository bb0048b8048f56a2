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

const HEAD: &str = r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Violations and replicas</title><style>
:root{color-scheme:light dark;--ground:#fff;--ink:#1c2430;--faint:#d5dae1;--homeostat:#0a7d55;--hpa:#c2410c;--keda:#6d28d9;--crane:#0369a1}
@media screen and (prefers-color-scheme:dark){:root{--ground:#12161c;--ink:#e3e8ef;--faint:#39424e;--homeostat:#34d399;--hpa:#fb923c;--keda:#c4b5fd;--crane:#7dd3fc}}
body{background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:62rem;padding:0 1rem}
figure{display:inline-block;margin:0 .5rem 1rem 0}svg{background:var(--ground);max-width:100%;height:auto}text{fill:var(--ink);font:11px system-ui,sans-serif}
figcaption{font-weight:600}table{border-collapse:collapse}td,th{padding:.15rem .7rem;text-align:right;border-bottom:1px solid var(--faint)}td:first-child,th:first-child{text-align:left}
.scroll{overflow-x:auto}:focus-visible{outline:3px solid var(--crane)}@media print{.scroll{overflow:visible}figure,tr{break-inside:avoid}}
</style></head><body><main><h1>Violations and replicas</h1>
<p>Each mark is a run over a whole series. Down and left is better. Violation minutes: load above the capacity of the ready
replicas. Excess: replica-minutes above the fewest that have no violation, known only to one who sees what comes.</p>
"#;

/// The page.
pub fn html(all: &[Compared]) -> String {
    let mut page = HEAD.to_owned();
    page.push_str("<div class=\"scroll\" role=\"region\" aria-label=\"Series\" tabindex=\"0\"><table><tr>");
    for name in
        ["series", "points of peers", "fewer replicas", "half the excess", "median share of their excess"]
    {
        let _ = write!(page, "<th scope=\"col\">{name}</th>");
    }
    page.push_str("</tr>");
    for one in all {
        let (points, won, half, middle) = sum_up(one.points.iter());
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{points}</td><td>{won}</td><td>{half}</td><td>{}</td></tr>",
            one.series.name,
            // Without an excess of theirs there is nothing to be a share of.
            if middle.is_finite() { format!("{middle:.2}") } else { "no data".to_owned() }
        );
    }
    page.push_str("</table></div><p>");
    for policy in ["homeostat", "hpa", "keda", "crane"] {
        let _ = write!(page, "<span style=\"color:var(--{policy})\">&#9679; {policy}</span> &nbsp; ");
    }
    page.push_str("</p>");
    for one in all {
        plot(&mut page, one);
    }
    page.push_str("</main></body></html>\n");
    page
}

/// 1, 2 or 5 times a power of ten, not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.max(1.0).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|round| *round >= step).unwrap_or(step)
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
        "<figure><figcaption>{}</figcaption><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Violation minutes against excess replica-minutes of {}\">",
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
    let step = round_step((high - low) / 4.0);
    for part in (low / step).ceil() as i32..=(high / step).floor() as i32 {
        let value = step * f64::from(part);
        let at = y(value);
        let _ = write!(
            page,
            "<line x1=\"{EDGE}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"var(--faint)\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - 10.0,
            EDGE - 4.0,
            at + 4.0,
            value / 1_000.0
        );
    }
    let _ = write!(
        page,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">violation minutes (log)</text><text x=\"4\" y=\"11\">excess replica-minutes, thousands</text>",
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
