//! Reports as HTML (one self-contained file, dark and light), Markdown and JSON. Pure: the same input gives
//! the same bytes.
//!
//! [`incident`] reports one incident, [`run`] a period or a test run; [`figures`] are the key figures with their printed
//! definitions, [`forecasts`] what is expected and [`band`] how that is drawn, [`late`] which runs are late, [`timeline`] is the plot, [`text`] how times
//! and durations are written.

pub mod band;
pub mod figures;
pub mod forecasts;
pub mod incident;
pub mod late;
pub mod run;
pub mod text;
pub mod timeline;

mod markdown;

pub use figures::{KeyFigure, Unit};
pub use incident::IncidentReport;
pub use run::{Cell, Column, RunReport, Table, Tone};
pub use timeline::{Bar, Lane, Mark, Plot};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde::Serialize;

/// A report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A template is wrong; a defect of this program.
    #[error("report template failed: {0}; please report this with the incident's JSON")]
    Template(#[from] minijinja::Error),
    /// A value cannot be written as JSON; a defect of this program.
    #[error("report could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

const TEMPLATES: [(&str, &str); 7] = [
    ("style.css", include_str!("templates/style.css")),
    ("parts.html", include_str!("templates/parts.html")),
    ("plot.html", include_str!("templates/plot.html")),
    ("incident.html", include_str!("templates/incident.html")),
    ("run.html", include_str!("templates/run.html")),
    ("status.html", include_str!("templates/status.html")),
    ("missing.html", include_str!("templates/missing.html")),
];

/// Renders one of our templates. Names ending in `.html` escape every value: names and evidence are written by
/// whoever can label a pod or answer a call.
pub(crate) fn render(template: &str, context: Value) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    // A bound on work, far above the largest report.
    environment.set_fuel(Some(20_000_000));
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    environment.add_filter("instant", |value: Value| optional(&value, text::instant_text));
    environment
        .add_filter("clock", |value: Value, day: String| optional(&value, |at| text::clock_text(at, &day)));
    environment.add_filter("date", |value: Value| optional(&value, text::date_text));
    environment.add_filter("percent", |value: f64| text::percent(value));
    environment.add_filter("chance", |value: f64| text::chance(value));
    environment.add_filter("words", |value: String| text::words(&value));
    Ok(environment.get_template(template)?.render(context)?)
}

/// A template's view of a value.
pub(crate) fn view(value: impl Serialize) -> Value {
    Value::from(Serde(value))
}

/// "No data" instead of nothing.
fn optional(value: &Value, show: impl Fn(&str) -> String) -> String {
    value.as_str().map_or_else(|| text::NO_DATA.to_owned(), show)
}
