//! Files as columns of numbers over time.

use std::path::Path;

use crate::data::{self, Error};

/// One file.
pub struct Table {
    /// Epoch seconds, or row numbers where the file has no times.
    pub at: Vec<i64>,
    /// Whether `at` is a time.
    pub timed: bool,
    /// Name and values of each column; what is no number is a gap.
    pub columns: Vec<(String, Vec<Option<f64>>)>,
    /// Rows that people marked; only drawn.
    pub marked: Vec<bool>,
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

fn content(path: &Path, message: impl Into<String>) -> Error {
    Error::Content { path: path.to_owned(), message: message.into() }
}

fn place(header: &[String], name: &str, path: &Path) -> Result<usize, Error> {
    header
        .iter()
        .position(|column| column == name)
        .ok_or_else(|| content(path, format!("there is no column `{name}`")))
}

/// Columns `timestamp` (text) and `value`; marks from `windows.json` two folders up.
pub fn nab(path: &Path) -> Result<Table, Error> {
    let (header, rows) = data::table(path)?;
    let (time, value) = (place(&header, "timestamp", path)?, place(&header, "value", path)?);
    let second = |text: &str| {
        text.parse::<jiff::civil::DateTime>()
            .ok()
            .and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC).ok())
            .map(|zoned| zoned.timestamp().as_second())
            .ok_or_else(|| content(path, format!("`{text}` is no time")))
    };
    let at = rows.iter().map(|row| second(&row[time])).collect::<Result<Vec<_>, _>>()?;
    let values = rows.iter().map(|row| number(&row[value])).collect();
    let mut marked = vec![false; at.len()];
    for (from, to) in windows(path) {
        let (Ok(from), Ok(to)) = (second(&from), second(&to)) else { continue };
        for (mark, at) in marked.iter_mut().zip(&at) {
            *mark |= (from..=to).contains(at);
        }
    }
    Ok(Table { at, timed: true, columns: vec![("value".to_owned(), values)], marked })
}

/// Windows of a file, if the folder above its category lists them.
fn windows(path: &Path) -> Vec<(String, String)> {
    let Some(category) = path.parent() else { return Vec::new() };
    let Some(list) = category.parent().map(|data| data.join("windows.json")) else { return Vec::new() };
    let Ok(text) = std::fs::read_to_string(list) else { return Vec::new() };
    let Ok(list) = serde_json::from_str::<serde_json::Value>(&text) else { return Vec::new() };
    let folder = category.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let windows = list[format!("{folder}/{}.csv", data::stem(path))].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    windows.iter().map(|window| (text(&window[0]), text(&window[1]))).collect()
}

/// Columns `timestamp` (epoch seconds), `value` and perhaps `label`.
pub fn kpi(path: &Path) -> Result<Table, Error> {
    let (header, rows) = data::table(path)?;
    let (time, value) = (place(&header, "timestamp", path)?, place(&header, "value", path)?);
    let label = place(&header, "label", path).ok();
    let second = |text: &str| text.parse().map_err(|_| content(path, format!("`{text}` is no time")));
    Ok(Table {
        at: rows.iter().map(|row| second(&row[time])).collect::<Result<Vec<_>, _>>()?,
        timed: true,
        columns: vec![("value".to_owned(), rows.iter().map(|row| number(&row[value])).collect())],
        marked: rows.iter().map(|row| label.is_some_and(|label| &row[label] == "1")).collect(),
    })
}

/// Columns of numbers and perhaps `label`; row numbers stand for the time.
pub fn columns(path: &Path) -> Result<Table, Error> {
    let (header, rows) = data::table(path)?;
    let label = place(&header, "label", path).ok();
    let columns = header
        .iter()
        .enumerate()
        .filter(|(index, _)| Some(*index) != label)
        .map(|(index, name)| (name.clone(), rows.iter().map(|row| number(&row[index])).collect()))
        .collect();
    Ok(Table {
        at: (0..rows.len() as i64).collect(),
        timed: false,
        columns,
        marked: rows.iter().map(|row| label.is_some_and(|label| &row[label] == "1")).collect(),
    })
}
