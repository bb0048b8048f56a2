//! Suites whose files are columns of numbers over time.

use std::path::Path;

use crate::data::Error;
use crate::read::Table;
use crate::suites::{Told, name, no_row};
use crate::{judge, page, read};

/// NAB.
pub fn nab(suite: &str, file: &Path, row: usize) -> Result<Told, Error> {
    told(suite, file, row, &read::nab(file)?)
}

/// KPI.
pub fn kpi(suite: &str, file: &Path, row: usize) -> Result<Told, Error> {
    told(suite, file, row, &read::kpi(file)?)
}

/// SMD and ASD.
pub fn columns(suite: &str, file: &Path, row: usize) -> Result<Told, Error> {
    told(suite, file, row, &read::columns(file)?)
}

fn told(suite: &str, file: &Path, row: usize, table: &Table) -> Result<Told, Error> {
    if row >= table.at.len() {
        return Err(no_row(file, row, table.at.len()));
    }
    let judged = judge::judge(table, row);
    let title = format!("{suite}: {}, row {row}", name(file));
    let page = page::page(&title, table, &judged, row);
    Ok(Told { reason: judged.reason, page })
}
