//! Suite `forecast`: the hour after a step, as it is forecast from what came before, beside what came.

use std::fmt::Write;
use std::path::Path;

use homeostat_models::forecast::{Calendar, Forecast, ForecastConfig, Forecaster, History};

use crate::data::Error;
use crate::draw::Panel;
use crate::judge::short;
use crate::page::{frame, range};
use crate::suites::{Told, name, no_row};

#[path = "../score/forecast.rs"]
#[allow(dead_code, reason = "the suite uses more of it")]
mod suite;

const STEP: u32 = 300;
const DAY: usize = 288;
const HOUR: usize = 12;

/// Chooses the models at `row`, not once a day as the suite does: bands and weights may differ a little from its dump.
pub fn forecast(suite: &str, file: &Path, row: usize) -> Result<Told, Error> {
    let (start, values) = suite::means(file)?;
    if row == 0 || row >= values.len() {
        return Err(no_row(file, row, values.len()));
    }
    let content = |message: String| Error::Content { path: file.to_owned(), message };
    let history = History::new(start, STEP, &values[..row]).map_err(|error| content(error.to_string()))?;
    let forecaster = Forecaster::new(ForecastConfig::default()).expect("the shipped setting is valid");
    let said = forecaster
        .choose(&history, &Calendar::default())
        .and_then(|chosen| chosen.forecast(&history, HOUR))
        .map_err(|error| content(error.to_string()))?;

    let label = |row: usize| {
        let at = start + i64::from(STEP) * row as i64;
        jiff::Timestamp::from_second(at)
            .map_or_else(|_| at.to_string(), |time| time.strftime("%Y-%m-%d %H:%M").to_string())
    };
    let end = (row + HOUR).min(values.len());
    let mut body = String::new();
    for (heading, from) in [("The last six hours and the next one", 72), ("The last three days", 3 * DAY)] {
        let from = row.saturating_sub(from);
        let _ = write!(body, "<h2>{heading}</h2>{}", drawing(&values, &said, (from, end), row, &label));
    }
    let _ = write!(body, "<h2>The next hour</h2>{}", table(&values, &said, row, &label));
    let reason = format!(
        "{} to {} expected for the first step, median {}; {}",
        short(said.p10[0]),
        short(said.p90[0]),
        short(said.p50[0]),
        said.reason
    );
    let title = format!("{suite}: {}, step {row}", name(file));
    let key = [("series", "measured"), ("score", "median"), ("band", "10th to 90th percentile")];
    Ok(Told { page: frame(&title, &label(row), &reason, false, &key, &body), reason })
}

fn drawing(
    values: &[f64],
    said: &Forecast,
    rows: (usize, usize),
    row: usize,
    label: &dyn Fn(usize) -> String,
) -> String {
    let measured = |row: usize| values.get(row).copied().filter(|value| value.is_finite());
    let said_at = |list: &[f64], at: usize| at.checked_sub(row).and_then(|step| list.get(step).copied());
    let band = |at: usize| Some((said_at(&said.p10, at)?, said_at(&said.p90, at)?));
    let bounds = (rows.0..rows.1).filter_map(measured).chain(said.p10.iter().chain(&said.p90).copied());
    // The whole hour is drawn, also where the file ends in it.
    let mut panel = Panel::new((rows.0, row + HOUR), 260.0, range(bounds), label);
    panel.band(&band, "band");
    panel.line(&measured, "series");
    panel.line(&|at| said_at(&said.p50, at), "score");
    panel.here(row, measured(row));
    panel.svg("forecast")
}

fn table(values: &[f64], said: &Forecast, row: usize, label: &dyn Fn(usize) -> String) -> String {
    let mut out =
        String::from("<table><tr><th>step</th><th>10th</th><th>median</th><th>90th</th><th>came</th></tr>");
    for step in 0..said.p50.len() {
        let came = values.get(row + step).copied().filter(|value| value.is_finite());
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            label(row + step),
            short(said.p10[step]),
            short(said.p50[step]),
            short(said.p90[step]),
            came.map_or_else(|| "not known".to_owned(), short),
        );
    }
    out + "</table>"
}
