//! The report of a period or of a test run: key figures with definitions, tables, notes, a plot.

use super::band::{self, Drawn, Step};
use super::figures::{KeyFigure, of_incidents};
use super::incident::IncidentReport;
use super::markdown::{head, plain, table};
use super::timeline::Plot;
use super::{ReportError, render, text, view};
use crate::metrics;
use homeostat_knowledge::{Incident, Timestamp};
use serde::Serialize;
use std::fmt::Write;

/// What a run or period came to.
#[derive(Clone, Debug, PartialEq)]
pub struct RunReport {
    /// Title.
    pub title: String,
    /// What it is about, a paragraph each.
    pub introduction: Vec<String>,
    /// Beginning and end, when it has them.
    pub period: Option<(Timestamp, Timestamp)>,
    /// When it was made.
    pub made_at: Timestamp,
    /// Key figures, each printed with its definition.
    pub figures: Vec<KeyFigure>,
    /// Tables with their rows.
    pub tables: Vec<Table>,
    /// Plots.
    pub plots: Vec<Plot>,
    /// Remarks at the end, a paragraph each.
    pub notes: Vec<String>,
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Title.
    pub title: String,
    /// What it shows and how its columns are defined.
    pub note: String,
    /// Columns.
    pub columns: Vec<Column>,
    /// Rows; one cell per column.
    pub rows: Vec<Vec<Cell>>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Holds numbers, which stand at the right.
    pub number: bool,
}

impl Column {
    /// A column of text.
    pub fn text(name: impl Into<String>) -> Self {
        Self { name: name.into(), number: false }
    }

    /// A column of numbers.
    pub fn number(name: impl Into<String>) -> Self {
        Self { name: name.into(), number: true }
    }
}

/// Whether a cell stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Tone {
    /// Like any other.
    #[default]
    Plain,
    /// Good news.
    Good,
    /// Bad news.
    Bad,
}

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Text.
    Text(String),
    /// Text that stands out.
    Toned(Tone, String),
    /// Text that leads somewhere: text and address, relative or `https`.
    Link(String, String),
    /// Seconds, shown as a duration; infinite is `never`.
    Seconds(f64),
    /// A share from 0 to 1, shown in percent.
    Share(f64),
    /// A whole number.
    Count(u64),
    /// An instant.
    Instant(Timestamp),
    /// What is expected over time, earliest first; drawn where that can be.
    Band(Vec<Step>),
    /// Not known. Never zero.
    NoData,
}

impl Cell {
    /// The cell for people.
    pub fn show(&self) -> String {
        match self {
            Self::Text(text) | Self::Toned(_, text) | Self::Link(text, _) => text.clone(),
            Self::Seconds(value) => text::seconds(*value),
            Self::Share(value) => text::percent(*value),
            Self::Count(value) => text::count(*value),
            Self::Instant(at) => text::instant(*at),
            Self::Band(steps) => band::words(steps).unwrap_or_else(|| text::NO_DATA.to_owned()),
            Self::NoData => text::NO_DATA.to_owned(),
        }
    }

    fn tone(&self) -> Tone {
        match self {
            Self::Toned(tone, _) => *tone,
            _ => Tone::Plain,
        }
    }

    /// Addresses come from data; a `javascript:` one must not become a link.
    fn link(&self) -> Option<&str> {
        match self {
            Self::Link(_, address) if address.starts_with("https://") || !address.contains(':') => {
                Some(address)
            }
            _ => None,
        }
    }

    fn band(&self) -> Option<Drawn> {
        match self {
            Self::Band(steps) => band::draw(steps),
            _ => None,
        }
    }

    fn value(&self) -> serde_json::Value {
        match self {
            Self::Text(text) | Self::Toned(_, text) | Self::Link(text, _) => text.as_str().into(),
            // JSON has no infinity: null.
            Self::Seconds(value) | Self::Share(value) => (*value).into(),
            Self::Count(value) => (*value).into(),
            Self::Instant(at) => at.to_string().into(),
            Self::Band(steps) => steps.iter().map(|step| vec![step.p10, step.p50, step.p90]).collect(),
            Self::NoData => serde_json::Value::Null,
        }
    }
}

#[derive(Serialize)]
struct ShownCell {
    text: String,
    tone: Tone,
    link: Option<String>,
    band: Option<Drawn>,
    number: bool,
    time: bool,
}

#[derive(Serialize)]
struct ShownTable<'a> {
    title: &'a str,
    note: &'a str,
    columns: &'a [Column],
    rows: Vec<Vec<ShownCell>>,
}

#[derive(Serialize)]
struct ShownFigure<'a> {
    name: &'a str,
    definition: &'a str,
    count: usize,
    open: usize,
    mean: String,
    median: String,
    p90: String,
    p95: String,
    maximum: String,
}

fn shown(figure: &KeyFigure) -> ShownFigure<'_> {
    ShownFigure {
        name: &figure.name,
        definition: &figure.definition,
        count: figure.count,
        open: figure.open,
        mean: figure.show(figure.mean),
        median: figure.show(figure.median),
        p90: figure.show(figure.p90),
        p95: figure.show(figure.p95),
        maximum: figure.show(figure.maximum),
    }
}

const FIGURE_COLUMNS: [&str; 8] = ["Figure", "Cases", "Open", "Mean", "Median", "p90", "p95", "Maximum"];

impl RunReport {
    /// The report of a period from its incidents, one row each. Links are relative to a page beside `incidents/`.
    pub fn of_incidents(
        title: impl Into<String>,
        period: (Timestamp, Timestamp),
        incidents: &[IncidentReport],
        made_at: Timestamp,
    ) -> Self {
        // What only tells was never to be repaired, and says nothing of how fast that goes.
        let all: Vec<&Incident> = incidents
            .iter()
            .map(|report| &report.incident)
            .filter(|incident| !incident.only_tells())
            .collect();
        let tell = incidents.len() - all.len();
        let mut notes =
            vec!["Percentiles are nearest rank. Open incidents are counted as open, not as zero.".to_owned()];
        if tell > 0 {
            notes.push(format!(
                "Not in the key figures: {tell} in which nothing was wrong yet (a fault that is expected, somebody who takes \
                 changes back)."
            ));
        }
        let columns = vec![
            Column::text("Incident"),
            Column::text("Workload"),
            Column::text("Top cause"),
            Column::text("State"),
            Column::text("Impact start"),
            Column::number("Detected after"),
            Column::number("Mitigated after"),
            Column::number("Actions"),
            Column::text("Helped"),
        ];
        let rows = incidents
            .iter()
            .map(|report| {
                let incident = &report.incident;
                let start = incident.instants.impact_start;
                let after = |at: Timestamp| Cell::Seconds(at.duration_since(start).as_secs_f64());
                let outcomes: Vec<bool> = report
                    .actions
                    .iter()
                    .filter_map(|action| action.outcome.as_ref().map(|outcome| outcome.helped))
                    .collect();
                vec![
                    Cell::Link(incident.id.to_string(), format!("incidents/{}", incident.id)),
                    incident.workload.as_ref().map_or(Cell::NoData, |key| Cell::Text(key.to_string())),
                    Cell::Text(incident.summary()),
                    Cell::Text(text::words(metrics::incident_state(incident.state))),
                    Cell::Instant(start),
                    after(incident.instants.detected),
                    incident.instants.mitigated.map_or_else(|| Cell::Text("open".to_owned()), after),
                    Cell::Count(report.actions.len() as u64),
                    match outcomes.as_slice() {
                        [] => Cell::NoData,
                        some if some.contains(&true) => Cell::Toned(Tone::Good, "yes".to_owned()),
                        _ => Cell::Toned(Tone::Bad, "no".to_owned()),
                    },
                ]
            })
            .collect();
        Self {
            title: title.into(),
            introduction: Vec::new(),
            period: Some(period),
            made_at,
            figures: of_incidents(&all),
            tables: vec![Table {
                title: "Incidents".to_owned(),
                note: "“After” counts from the impact start.".to_owned(),
                columns,
                rows,
            }],
            plots: Vec::new(),
            notes,
        }
    }

    /// One self-contained page.
    ///
    /// # Errors
    /// [`ReportError::Template`] for a defect of this program.
    pub fn html(&self) -> Result<String, ReportError> {
        let tables: Vec<ShownTable<'_>> = self
            .tables
            .iter()
            .map(|table| ShownTable {
                title: &table.title,
                note: &table.note,
                columns: &table.columns,
                rows: table.rows.iter().map(|row| shown_row(row, &table.columns)).collect(),
            })
            .collect();
        let figures: Vec<ShownFigure<'_>> = self.figures.iter().map(shown).collect();
        let plots: Vec<_> = self.plots.iter().map(Plot::draw).collect();
        render(
            "run.html",
            minijinja::context! {
                title => view(&self.title),
                introduction => view(&self.introduction),
                period => view(self.period.map(|(from, to)| {
                    let length = text::duration(to.duration_since(from));
                    (text::instant(from), text::instant(to), length)
                })),
                made_at => text::instant(self.made_at),
                figure_columns => FIGURE_COLUMNS,
                figures => view(figures),
                tables => view(tables),
                plots => view(plots),
                notes => view(&self.notes),
            },
        )
    }

    /// The same content as JSON.
    ///
    /// # Errors
    /// [`ReportError::Json`] for a defect of this program.
    pub fn json(&self) -> Result<String, ReportError> {
        let tables: Vec<serde_json::Value> = self
            .tables
            .iter()
            .map(|table| {
                let columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
                let rows: Vec<Vec<serde_json::Value>> =
                    table.rows.iter().map(|row| row.iter().map(Cell::value).collect()).collect();
                serde_json::json!({ "title": table.title, "note": table.note, "columns": columns, "rows": rows })
            })
            .collect();
        Ok(serde_json::to_string_pretty(&serde_json::json!({
            "kind": "RunReport",
            "title": self.title,
            "introduction": self.introduction,
            "start": self.period.map(|(from, _)| from),
            "end": self.period.map(|(_, to)| to),
            "madeAt": self.made_at,
            "figures": self.figures,
            "tables": tables,
            "notes": self.notes,
        }))?)
    }

    /// The same content as Markdown.
    pub fn markdown(&self) -> String {
        let mut page = format!("# {}\n", plain(&self.title));
        // Writing to a String cannot fail.
        if let Some((from, to)) = self.period {
            let length = text::duration(to.duration_since(from));
            let _ = write!(page, "\n{} to {} ({length})\n", text::instant(from), text::instant(to));
        }
        for paragraph in &self.introduction {
            let _ = write!(page, "\n{}\n", plain(paragraph));
        }
        if !self.figures.is_empty() {
            let rows: Vec<Vec<String>> = self
                .figures
                .iter()
                .map(|figure| {
                    let shown = shown(figure);
                    vec![
                        plain(shown.name),
                        text::count(shown.count as u64),
                        text::count(shown.open as u64),
                        shown.mean,
                        shown.median,
                        shown.p90,
                        shown.p95,
                        shown.maximum,
                    ]
                })
                .collect();
            let right = [false, true, true, true, true, true, true, true];
            let _ = write!(page, "\n## Key figures\n\n{}\n", table(&head(&FIGURE_COLUMNS), &right, &rows));
            for figure in &self.figures {
                let _ = writeln!(page, "- **{}**: {}", plain(&figure.name), plain(&figure.definition));
            }
        }
        for part in &self.tables {
            let _ = write!(page, "\n## {}\n\n", plain(&part.title));
            if !part.note.is_empty() {
                let _ = write!(page, "{}\n\n", plain(&part.note));
            }
            let names: Vec<String> = part.columns.iter().map(|column| plain(&column.name)).collect();
            let right: Vec<bool> = part.columns.iter().map(|column| column.number).collect();
            let rows: Vec<Vec<String>> =
                part.rows.iter().map(|row| row.iter().map(|cell| plain(&cell.show())).collect()).collect();
            page.push_str(&if rows.is_empty() { "None.\n".to_owned() } else { table(&names, &right, &rows) });
        }
        for note in &self.notes {
            let _ = write!(page, "\n{}\n", plain(note));
        }
        let _ = write!(page, "\nReport made: {}\n", text::instant(self.made_at));
        page
    }
}

fn shown_row(row: &[Cell], columns: &[Column]) -> Vec<ShownCell> {
    row.iter()
        .enumerate()
        .map(|(place, cell)| ShownCell {
            text: cell.show(),
            tone: cell.tone(),
            link: cell.link().map(str::to_owned),
            band: cell.band(),
            number: columns.get(place).is_some_and(|column| column.number),
            time: matches!(cell, Cell::Instant(_)),
        })
        .collect()
}
