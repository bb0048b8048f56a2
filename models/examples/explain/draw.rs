//! Lines, bands and axes as SVG.

use std::fmt::Write;

use crate::judge::short;

/// Width of a drawing without its margins.
pub const WIDTH: f64 = 1_060.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 32.0;

/// One drawing: rows `from..to` from left to right, values from bottom to top.
pub struct Panel<'a> {
    /// First row.
    pub from: usize,
    /// Row behind the last one.
    pub to: usize,
    /// Height without the margins.
    pub height: f64,
    /// Smallest and largest value that is drawn.
    pub range: (f64, f64),
    /// What stands below a row.
    pub label: &'a dyn Fn(usize) -> String,
    body: String,
}

impl<'a> Panel<'a> {
    /// An empty one.
    pub fn new(
        rows: (usize, usize),
        height: f64,
        range: (f64, f64),
        label: &'a dyn Fn(usize) -> String,
    ) -> Self {
        let (low, high) = range;
        // A constant still needs some room.
        let room = if high > low { 0.04 * (high - low) } else { 0.5 * low.abs().max(1.0) };
        let range = (low - room, high + room);
        Self { from: rows.0, to: rows.1.max(rows.0 + 1), height, range, label, body: String::new() }
    }

    fn x(&self, row: f64) -> f64 {
        LEFT + (row - self.from as f64) / ((self.to - self.from) as f64) * WIDTH
    }

    fn y(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        TOP + (1.0 - ((value - low) / (high - low)).clamp(0.0, 1.0)) * self.height
    }

    /// Shades the rows for which `marked` holds: all the height, or as a strip below.
    pub fn shade(&mut self, marked: &dyn Fn(usize) -> bool, class: &str, strip: bool) {
        let (y, height) = if strip { (TOP + self.height + 2.0, 6.0) } else { (TOP, self.height) };
        let mut row = self.from;
        while row < self.to {
            if !marked(row) {
                row += 1;
                continue;
            }
            let start = row;
            while row < self.to && marked(row) {
                row += 1;
            }
            let (x, width) = (self.x(start as f64), (self.x(row as f64) - self.x(start as f64)).max(1.5));
            let _ = write!(
                self.body,
                r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/>"#
            );
        }
    }

    /// Smallest and largest value of each column of pixels.
    fn columns(&self, value: &dyn Fn(usize) -> Option<f64>) -> Vec<Option<(f64, f64, f64)>> {
        let rows = self.to - self.from;
        let each = rows.div_ceil(WIDTH as usize).max(1);
        (0..rows.div_ceil(each))
            .map(|column| {
                let start = self.from + column * each;
                let end = (start + each).min(self.to);
                let middle = self.x((start + end) as f64 / 2.0);
                (start..end)
                    .filter_map(value)
                    .map(|value| (middle, value, value))
                    .reduce(|a, b| (a.0, a.1.min(b.1), a.2.max(b.2)))
            })
            .collect()
    }

    /// A line; interrupted where there is no value.
    pub fn line(&mut self, value: &dyn Fn(usize) -> Option<f64>, class: &str) {
        let mut path = String::new();
        let mut pen = 'M';
        for column in self.columns(value) {
            let Some((x, low, high)) = column else {
                pen = 'M';
                continue;
            };
            let _ = write!(path, "{pen}{x:.1} {:.1}", self.y(low));
            pen = 'L';
            if high > low {
                let _ = write!(path, "L{x:.1} {:.1}", self.y(high));
            }
        }
        let _ = write!(self.body, r#"<path class="{class}" d="{path}"/>"#);
    }

    /// The area between two lines.
    pub fn band(&mut self, band: &dyn Fn(usize) -> Option<(f64, f64)>, class: &str) {
        let low = self.columns(&|row| band(row).map(|band| band.0));
        let high = self.columns(&|row| band(row).map(|band| band.1));
        let mut path = String::new();
        let mut run: Vec<(f64, f64, f64)> = Vec::new();
        let mut close = |run: &mut Vec<(f64, f64, f64)>| {
            for (turn, (x, low, _)) in run.iter().enumerate() {
                let _ = write!(path, "{}{x:.1} {low:.1}", if turn == 0 { 'M' } else { 'L' });
            }
            for (x, _, high) in run.iter().rev() {
                let _ = write!(path, "L{x:.1} {high:.1}");
            }
            if !run.is_empty() {
                path.push('Z');
            }
            run.clear();
        };
        for (low, high) in low.into_iter().zip(high) {
            match (low, high) {
                (Some(low), Some(high)) => run.push((low.0, self.y(low.1), self.y(high.2))),
                _ => close(&mut run),
            }
        }
        close(&mut run);
        let _ = write!(self.body, r#"<path class="{class}" d="{path}"/>"#);
    }

    /// An upright line at a row, with a dot at the value there.
    pub fn here(&mut self, row: usize, value: Option<f64>) {
        let x = self.x(row as f64 + 0.5);
        let bottom = TOP + self.height;
        let _ =
            write!(self.body, r#"<line class="here" x1="{x:.1}" x2="{x:.1}" y1="{TOP}" y2="{bottom:.1}"/>"#);
        if let Some(value) = value {
            let _ = write!(self.body, r#"<circle class="dot" cx="{x:.1}" cy="{:.1}" r="4"/>"#, self.y(value));
        }
    }

    /// The drawing with its axes.
    pub fn svg(self, name: &str) -> String {
        let mut axes = String::new();
        let (low, high) = self.range;
        for tick in ticks(low, high, if self.height > 120.0 { 5 } else { 2 }) {
            let y = self.y(tick);
            let end = LEFT + WIDTH;
            let _ = write!(
                axes,
                r#"<line class="grid" x1="{LEFT}" x2="{end}" y1="{y:.1}" y2="{y:.1}"/><text class="tick" x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 6.0,
                y + 4.0,
                short(tick),
            );
        }
        let rows = self.to - self.from;
        for turn in 0..=6 {
            let row = self.from + (rows - 1) * turn / 6;
            let anchor = match turn {
                0 => "start",
                6 => "end",
                _ => "middle",
            };
            let _ = write!(
                axes,
                r#"<text class="tick" x="{:.1}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
                self.x(row as f64 + 0.5),
                TOP + self.height + 24.0,
                (self.label)(row),
            );
        }
        format!(
            r#"<svg viewBox="0 0 {} {}" role="img" aria-label="{name}">{axes}{}</svg>"#,
            LEFT + WIDTH + RIGHT,
            TOP + self.height + BOTTOM,
            self.body
        )
    }
}

/// Round values between two.
fn ticks(low: f64, high: f64, count: u32) -> Vec<f64> {
    let rough = (high - low) / f64::from(count);
    if !rough.is_finite() || rough <= 0.0 {
        return Vec::new();
    }
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let first = (low / step).ceil();
    (0..=count + 1).map(|turn| (first + f64::from(turn)) * step).filter(|tick| *tick <= high).collect()
}
