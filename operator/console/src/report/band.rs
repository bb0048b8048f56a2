//! What is expected over time, as a drawing the size of a word: the band from p10 to p90 and the median in it.
//!
//! The idea is Tufte's sparkline (Beautiful Evidence, 2006). It has no axis: the numbers stand beside it.

use super::text;
use serde::Serialize;
use std::fmt::Write;

/// Width and height, in units of the drawing.
const SIZE: (f64, f64) = (120.0, 26.0);
/// Steps that are drawn; of more, some in a row become one that holds them all.
const MOST: usize = 60;

/// One step of what is expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// 10th percentile.
    pub p10: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
}

/// A band as SVG takes it, and in words for who does not see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Drawn {
    width: f64,
    height: f64,
    /// Corners of the band.
    area: String,
    /// The median.
    line: String,
    words: String,
}

/// The band in words, for pages without drawings; `None` when nothing is expected.
pub(super) fn words(steps: &[Step]) -> Option<String> {
    let all = finite(steps);
    let first = all.first()?;
    let all = together(&all);
    let [first, most, low, high] = [first.p50, all.p50, all.p10, all.p90].map(text::number);
    Some(format!("median {first} first, {most} at most; p10 {low} at least, p90 {high} at most"))
}

/// The drawing, from the lowest to the highest value; `None` when nothing is expected.
pub(super) fn draw(steps: &[Step]) -> Option<Drawn> {
    let words = words(steps)?;
    let all = finite(steps);
    let mut drawn: Vec<Step> = all.chunks(all.len().div_ceil(MOST)).map(together).collect();
    if let [only] = drawn[..] {
        drawn.push(only);
    }
    let Step { p10: low, p90: high, .. } = together(&drawn);
    let (width, height) = SIZE;
    let across = |place: usize| width * place as f64 / (drawn.len() - 1) as f64;
    // What is certain lies in the middle.
    let up = |value: f64| {
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        1.0 + (height - 2.0) * (1.0 - share)
    };
    let corner = |(place, value): (usize, f64)| (across(place), up(value));
    let above = drawn.iter().map(|step| step.p90).enumerate().map(corner);
    let below = drawn.iter().map(|step| step.p10).enumerate().map(corner).rev();
    let line = drawn.iter().map(|step| step.p50).enumerate().map(corner);
    Some(Drawn { width, height, area: corners(above.chain(below)), line: corners(line), words })
}

fn finite(steps: &[Step]) -> Vec<Step> {
    let sound = |step: &&Step| [step.p10, step.p50, step.p90].iter().all(|value| value.is_finite());
    steps.iter().filter(sound).copied().collect()
}

/// The widest of some steps in a row, with their highest median.
fn together(steps: &[Step]) -> Step {
    let nothing = Step { p10: f64::INFINITY, p50: f64::NEG_INFINITY, p90: f64::NEG_INFINITY };
    steps.iter().fold(nothing, |all, step| Step {
        p10: all.p10.min(step.p10),
        p50: all.p50.max(step.p50),
        p90: all.p90.max(step.p90),
    })
}

fn corners(points: impl Iterator<Item = (f64, f64)>) -> String {
    let mut text = String::new();
    for (across, down) in points {
        let space = if text.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{space}{across:.1},{down:.1}");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn step(p10: f64, p50: f64, p90: f64) -> Step {
        Step { p10, p50, p90 }
    }

    #[test]
    fn a_band_goes_from_its_lowest_to_its_highest_value_and_its_words_say_both() {
        let drawn = draw(&[step(0.0, 5.0, 10.0), step(10.0, 15.0, 20.0)]).unwrap();
        assert_eq!(drawn.area, "0.0,13.0 120.0,1.0 120.0,13.0 0.0,25.0");
        assert_eq!(drawn.line, "0.0,19.0 120.0,7.0");
        assert_eq!(drawn.words, "median 5.00 first, 15.0 at most; p10 0.00 at least, p90 20.0 at most");
    }

    #[test]
    fn one_step_is_drawn_as_one_that_lasts_and_what_is_certain_as_a_line_in_the_middle() {
        assert_eq!(draw(&[step(1.0, 2.0, 3.0)]).unwrap().line, "0.0,13.0 120.0,13.0");
        let certain = draw(&[step(2.0, 2.0, 2.0); 3]).unwrap();
        assert_eq!(certain.area, "0.0,13.0 60.0,13.0 120.0,13.0 120.0,13.0 60.0,13.0 0.0,13.0");
        assert_eq!(certain.words, "median 2.00 first, 2.00 at most; p10 2.00 at least, p90 2.00 at most");
    }

    #[test]
    fn many_steps_stay_small_without_losing_a_peak_and_what_is_no_number_is_left_out() {
        let mut day = vec![step(1.0, 2.0, 3.0); 10_000];
        day[5_000] = step(1.0, 90.0, 100.0);
        day[7] = step(f64::NAN, 1.0, f64::INFINITY);
        let drawn = draw(&day).unwrap();
        assert!(drawn.area.len() < 2_000, "{}", drawn.area.len());
        assert_eq!(drawn.area.matches(",1.0").count(), 1, "the peak alone is that high: {}", drawn.area);
        assert!(drawn.words.ends_with("p90 100.0 at most"), "{}", drawn.words);
        assert_eq!(draw(&[step(f64::NAN, 1.0, 2.0)]), None);
        assert_eq!(draw(&[]), None);
    }
}
