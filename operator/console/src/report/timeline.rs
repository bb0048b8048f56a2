//! Geometry of the timeline plot. The template draws it; nothing here knows HTML.

use super::text;
use homeostat_knowledge::Timestamp;
use serde::Serialize;

/// Colour group of something in the plot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Hue {
    /// Something is wrong.
    Bad,
    /// Worth attention.
    Warn,
    /// Better, or well.
    Good,
    /// Something is being done.
    Act,
    /// An explanation.
    Mind,
    /// Neither good nor bad.
    Calm,
}

/// A stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Beginning.
    pub from: Timestamp,
    /// End; `None` when it is not over.
    pub to: Option<Timestamp>,
    /// What it is.
    pub label: String,
    /// Its colour group.
    pub hue: Hue,
}

/// An instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub label: String,
    /// Its colour group.
    pub hue: Hue,
}

/// One row of the plot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lane {
    /// Name at its left.
    pub name: String,
    /// Stretches.
    pub bars: Vec<Bar>,
    /// Instants.
    pub marks: Vec<Mark>,
}

/// What is plotted, between two instants.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// Title above it.
    pub title: String,
    /// Left edge; also zero of the axis.
    pub start: Timestamp,
    /// Right edge.
    pub end: Timestamp,
    /// Rows, top to bottom.
    pub lanes: Vec<Lane>,
    /// Named instants as lines across all rows.
    pub instants: Vec<Mark>,
}

/// Width of the drawing, in its own units.
const WIDTH: f64 = 1000.0;
/// Room for the rows' names.
const LEFT: f64 = 110.0;
/// Room for the last tick's label.
const RIGHT: f64 = 30.0;
/// Height of a row.
const ROW: f64 = 30.0;
/// Height of one line of instants' labels.
const LABEL: f64 = 17.0;
/// Width of a letter of a label, at most.
const LETTER: f64 = 7.2;

/// A plot in drawing units.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drawing {
    title: String,
    /// For people who cannot see it.
    description: String,
    /// Instant of the left edge.
    from: String,
    /// Something in it is not over.
    unfinished: bool,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    ticks: Vec<Tick>,
    lanes: Vec<DrawnLane>,
    instants: Vec<DrawnInstant>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct Tick {
    x: f64,
    label: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct DrawnLane {
    y: f64,
    name: String,
    bars: Vec<DrawnBar>,
    marks: Vec<DrawnMark>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct DrawnBar {
    x: f64,
    width: f64,
    hue: Hue,
    label: String,
    open: bool,
    /// Where its label stands inside it; `None` when there is no room.
    text_x: Option<f64>,
    anchor: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct DrawnMark {
    x: f64,
    hue: Hue,
    label: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct DrawnInstant {
    x: f64,
    y: f64,
    label: String,
    anchor: &'static str,
    text_x: f64,
    hue: Hue,
}

impl Plot {
    /// Places everything. What lies outside the plot's time is left out or cut at its edge.
    pub fn draw(&self) -> Drawing {
        let span = self.end.duration_since(self.start).as_secs_f64().max(0.001);
        let scale = (WIDTH - LEFT - RIGHT) / span;
        let place = |at: Timestamp| {
            let offset = at.duration_since(self.start).as_secs_f64().clamp(0.0, span);
            round(LEFT + offset * scale)
        };
        let inside = |at: Timestamp| at >= self.start && at <= self.end;
        let (instants, label_rows) = self.labels(&place, &inside);
        let top = round(label_rows as f64 * LABEL + 8.0);
        let bottom = round(top + self.lanes.len() as f64 * ROW);
        let lanes = self.lanes.iter().enumerate().map(|(row, lane)| DrawnLane {
            y: round(top + row as f64 * ROW),
            name: lane.name.clone(),
            bars: lane
                .bars
                .iter()
                .enumerate()
                .filter(|(_, bar)| bar.from <= self.end && bar.to.is_none_or(|to| to >= self.start))
                .map(|(index, bar)| {
                    let (x, to) = (place(bar.from), bar.to.unwrap_or(self.end));
                    // At least a hair, so that a short stretch can be seen.
                    let width = round((place(to) - x).max(2.0));
                    let crossed = |from: f64, to: f64| {
                        let marks = lane.marks.iter().map(|mark| mark.at);
                        let lines = self.instants.iter().map(|mark| mark.at);
                        marks.chain(lines).filter(|at| inside(*at)).map(&place).any(|x| x > from && x < to)
                            || lane.bars.iter().enumerate().any(|(other, bar)| {
                                let end = place(bar.to.unwrap_or(self.end));
                                other != index && place(bar.from) < to && end > from
                            })
                    };
                    let (text_x, anchor) = inner_label(&bar.label, x, x + width, crossed);
                    let open = bar.to.is_none();
                    DrawnBar { x, width, hue: bar.hue, label: bar.label.clone(), open, text_x, anchor }
                })
                .collect(),
            marks: lane
                .marks
                .iter()
                .filter(|mark| inside(mark.at))
                .map(|mark| DrawnMark {
                    x: place(mark.at),
                    hue: mark.hue,
                    label: format!("{} UTC {}", text::clock(mark.at, self.start), mark.label),
                })
                .collect(),
        });
        Drawing {
            title: self.title.clone(),
            description: self.describe(&inside),
            from: text::instant(self.start),
            unfinished: self.lanes.iter().flat_map(|lane| &lane.bars).any(|bar| bar.to.is_none()),
            width: WIDTH,
            height: round(bottom + 24.0),
            left: LEFT,
            right: WIDTH - RIGHT,
            top,
            bottom,
            ticks: ticks(span).map(|(at, label)| Tick { x: round(LEFT + at * scale), label }).collect(),
            lanes: lanes.collect(),
            instants,
        }
    }

    fn describe(&self, inside: &impl Fn(Timestamp) -> bool) -> String {
        let named: Vec<String> = self
            .instants
            .iter()
            .filter(|mark| inside(mark.at))
            .map(|mark| {
                let after = text::duration(mark.at.duration_since(self.start));
                format!("{} after {after}", mark.label)
            })
            .collect();
        let from = text::instant(self.start);
        if named.is_empty() {
            format!("{}, from {from}", self.title)
        } else {
            format!("{}, from {from}: {}", self.title, named.join(", "))
        }
    }

    /// Labels of the instants, each in the first line where it has room.
    fn labels(
        &self,
        place: &impl Fn(Timestamp) -> f64,
        inside: &impl Fn(Timestamp) -> bool,
    ) -> (Vec<DrawnInstant>, usize) {
        let mut lines: Vec<f64> = Vec::new();
        let mut drawn = Vec::new();
        for mark in self.instants.iter().filter(|mark| inside(mark.at)) {
            let x = place(mark.at);
            let width = mark.label.chars().count() as f64 * LETTER;
            let rightwards = x + width + 6.0 <= WIDTH;
            let (left, right) = if rightwards { (x, x + width + 10.0) } else { (x - width - 10.0, x) };
            let line = lines.iter().position(|end| *end <= left).unwrap_or_else(|| {
                lines.push(0.0);
                lines.len() - 1
            });
            lines[line] = right;
            drawn.push(DrawnInstant {
                x,
                y: round(line as f64 * LABEL + 13.0),
                label: mark.label.clone(),
                anchor: if rightwards { "start" } else { "end" },
                text_x: if rightwards { x + 4.0 } else { x - 4.0 },
                hue: mark.hue,
            });
        }
        (drawn, lines.len())
    }
}

/// Room between a bar's label and what is beside it: half of a mark and some air.
const AIR: f64 = 9.0;

/// Where a bar's label stands so that it leaves the bar at no side and nothing crosses it: at its start, at its end, or
/// nowhere.
fn inner_label(
    label: &str,
    start: f64,
    end: f64,
    crossed: impl Fn(f64, f64) -> bool,
) -> (Option<f64>, &'static str) {
    let width = label.chars().count() as f64 * LETTER;
    let fits = !label.is_empty() && width + 2.0 * AIR <= end - start;
    if fits && !crossed(start + 0.05, start + width + 2.0 * AIR) {
        (Some(round(start + AIR)), "start")
    } else if fits && !crossed(end - width - 2.0 * AIR, end - 0.05) {
        (Some(round(end - AIR)), "end")
    } else {
        (None, "start")
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Ticks at round times: at most eight steps of 1, 2 or 5 times a power of ten up to a minute, then of 1, 2, 5, 10, 15 or
/// 30 minutes, hours or days.
fn ticks(span: f64) -> impl Iterator<Item = (f64, String)> {
    const STEPS: [f64; 30] = [
        0.001,
        0.002,
        0.005,
        0.01,
        0.02,
        0.05,
        0.1,
        0.2,
        0.5,
        1.0,
        2.0,
        5.0,
        10.0,
        20.0,
        30.0,
        60.0,
        120.0,
        300.0,
        600.0,
        900.0,
        1800.0,
        3600.0,
        7200.0,
        14_400.0,
        21_600.0,
        43_200.0,
        86_400.0,
        172_800.0,
        604_800.0,
        1_209_600.0,
    ];
    let step = STEPS.into_iter().find(|step| span / step <= 8.0).unwrap_or(span);
    let count = (span / step + 1e-9).floor() as u32;
    (0..=count).map(move |number| {
        let at = f64::from(number) * step;
        (at, if number == 0 { "0".to_owned() } else { format!("+{}", tick_label(at, step)) })
    })
}

fn tick_label(at: f64, step: f64) -> String {
    if at < 59.95 && step < 1.0 {
        let digits = if step < 0.01 {
            3
        } else if step < 0.1 {
            2
        } else {
            1
        };
        format!("{at:.digits$} s")
    } else if at < 59.95 {
        format!("{at:.0} s")
    } else {
        let whole = at.round() as u64;
        match whole {
            0..3_600 if whole.is_multiple_of(60) => format!("{} min", whole / 60),
            3_600..86_400 if whole.is_multiple_of(3_600) => format!("{} h", whole / 3_600),
            _ if whole.is_multiple_of(86_400) && whole > 0 => format!("{} d", whole / 86_400),
            _ => text::seconds(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_767_225_600_000 + milliseconds).expect("a valid time")
    }

    #[test]
    fn ticks_are_round_and_few() {
        let labels = |span| ticks(span).map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(3.2), ["0", "+0.5 s", "+1.0 s", "+1.5 s", "+2.0 s", "+2.5 s", "+3.0 s"]);
        assert_eq!(
            labels(150.0),
            ["0", "+20 s", "+40 s", "+1 min", "+1 min 20 s", "+1 min 40 s", "+2 min", "+2 min 20 s"]
        );
        assert_eq!(labels(7_200.0).last().map(String::as_str), Some("+2 h"));
        assert!((0..60).all(|exponent| labels(0.001 * 1.5_f64.powi(exponent)).len() <= 9));
    }

    #[test]
    fn labels_that_would_overlap_take_another_line_and_nothing_leaves_the_drawing() {
        let instants = [("impact start", 0), ("detected", 40), ("mitigated", 2_000), ("resolved", 9_990)]
            .map(|(label, offset)| Mark { at: at(offset), label: label.to_owned(), hue: Hue::Calm });
        let lane = Lane {
            name: "Impact".to_owned(),
            bars: vec![Bar { from: at(-500), to: None, label: String::new(), hue: Hue::Bad }],
            marks: vec![Mark { at: at(20_000), label: "later".to_owned(), hue: Hue::Calm }],
        };
        let plot = Plot {
            title: "All".to_owned(),
            start: at(0),
            end: at(10_000),
            lanes: vec![lane],
            instants: instants.to_vec(),
        };
        let drawing = plot.draw();
        assert!(drawing.instants[0].y < drawing.instants[1].y, "the two would overlap");
        assert!((drawing.instants[0].y - drawing.instants[2].y).abs() < 1e-9);
        assert_eq!(drawing.instants[3].anchor, "end");
        let bar = &drawing.lanes[0].bars[0];
        assert!(bar.x >= LEFT && bar.x + bar.width <= WIDTH - RIGHT + 0.2 && bar.open);
        assert!(drawing.lanes[0].marks.is_empty());
        assert_eq!((drawing.from.as_str(), drawing.unfinished), ("2026-01-01 00:00:00.000 UTC", true));
        assert!(drawing.description.contains("detected after 40 ms"));
    }

    #[test]
    fn bars_over_each_other_have_no_label_inside() {
        let bar = |from: i64, to: i64| Bar {
            from: at(from),
            to: Some(at(to)),
            label: "evicted".to_owned(),
            hue: Hue::Act,
        };
        let labelled = |bars: Vec<Bar>| {
            let lanes = vec![Lane { name: "Actions".to_owned(), bars, marks: Vec::new() }];
            let plot =
                Plot { title: String::new(), start: at(0), end: at(10_000), lanes, instants: Vec::new() };
            let drawn = plot.draw();
            drawn.lanes[0].bars.iter().filter(|bar| bar.text_x.is_some()).count()
        };
        assert_eq!(labelled(vec![bar(0, 9_000), bar(100, 8_900)]), 0);
        assert_eq!(labelled(vec![bar(0, 4_000), bar(5_000, 9_000)]), 2);
    }

    #[test]
    fn a_label_stands_in_its_bar_where_nothing_crosses_it() {
        let room = |from: f64, to: f64, line: f64| {
            inner_label("ten letter", from, to, |left, right| left < line && line < right)
        };
        assert_eq!(room(100.0, 400.0, 390.0), (Some(109.0), "start"));
        assert_eq!(room(100.0, 400.0, 150.0), (Some(391.0), "end"));
        assert_eq!(room(100.0, 180.0, 0.0), (None, "start"), "no room");
        assert_eq!(room(100.0, 200.0, 150.0), (None, "start"), "crossed at both ends");
    }
}
