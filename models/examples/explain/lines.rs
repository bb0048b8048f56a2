//! Suite `logs`: the template that a line was given when it was read, and the lines that share it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::Read;
use std::path::Path;

use homeostat_models::logs::{Mined, Miner, MinerConfig};

use crate::data::{self, Error};
use crate::draw::Panel;
use crate::page::{escaped, frame, range};
use crate::suites::{Told, name, no_row};

/// Lines that are counted together in the drawing.
const TOGETHER: usize = 20;
/// Lines of the same template that are shown.
const SHOWN: usize = 12;
/// Letters of a line that are shown.
const LETTERS: usize = 400;

/// Reads the whole log, as lines that come later may make a template more general.
pub fn logs(suite: &str, file: &Path, row: usize) -> Result<Told, Error> {
    let mut content = Vec::new();
    data::open(file)?.read_to_end(&mut content).map_err(data::at(file))?;
    let content = content.strip_suffix(b"\n").unwrap_or(&content);
    let lines: Vec<&[u8]> =
        content.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    if row >= lines.len() {
        return Err(no_row(file, row, lines.len()));
    }
    let mut miner = Miner::new(MinerConfig::default()).expect("the shipped setting is valid");
    let mut template = String::new();
    let mined: Vec<Mined> = lines
        .iter()
        .enumerate()
        .map(|(at, line)| {
            let mined = miner.push(line);
            if at == row {
                template = miner.template(mined.id).unwrap_or_default();
            }
            mined
        })
        .collect();
    let here = &mined[row];
    let level = here.severity.map_or_else(|| "no level".to_owned(), |severity| format!("level {severity:?}"));
    let news = if here.new { "a new template" } else { "a known template" };
    let reason = format!("`{template}`: {news}, id {}, line {} of it so far, {level}", here.id, here.count);

    let same: Vec<usize> = (0..lines.len()).filter(|&at| mined[at].id == here.id).collect();
    let mut body = drawing(&mined, row);
    let _ = write!(body, "<h2>The line</h2><p><code>{}</code></p>", shown(lines[row]));
    let last = miner.template(here.id).unwrap_or_else(|| "let go since".to_owned());
    let _ = write!(body, "<h2>Its template at the end of the log</h2><p><code>{}</code></p>", escaped(&last));
    body.push_str(&marked(file, row, &same));
    let _ = write!(body, "<h2>Lines with the same id: {}</h2><table>", same.len());
    let step = same.len().div_ceil(SHOWN).max(1);
    for &at in same.iter().step_by(step) {
        let _ = write!(body, "<tr><td>{at}</td><td><code>{}</code></td></tr>", shown(lines[at]));
    }
    body.push_str("</table>");
    let title = format!("{suite}: {}, line {row}", name(file));
    let key = [("series", "lines with this id"), ("score", "new templates")];
    Ok(Told { page: frame(&title, &format!("line {row}"), &reason, here.new, &key, &body), reason })
}

fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    escaped(&text.chars().take(LETTERS).collect::<String>())
}

/// How often the id and new ones were given, over the log.
fn drawing(mined: &[Mined], row: usize) -> String {
    let parts = mined.len().div_ceil(TOGETHER);
    let count = |part: usize, wanted: &dyn Fn(&Mined) -> bool| {
        let lines = mined.iter().skip(part * TOGETHER).take(TOGETHER);
        Some(lines.filter(|mined| wanted(mined)).count() as f64)
    };
    let id = mined[row].id;
    let label = |part: usize| format!("line {}", part * TOGETHER);
    let of_id = |part: usize| count(part, &|mined: &Mined| mined.id == id);
    let new = |part: usize| count(part, &|mined: &Mined| mined.new);
    let bounds = range((0..parts).flat_map(|part| [of_id(part), new(part)]).flatten());
    let mut panel = Panel::new((0, parts), 160.0, bounds, &label);
    panel.line(&of_id, "series");
    panel.line(&new, "score");
    panel.here(row / TOGETHER, None);
    format!("<h2>Of {TOGETHER} lines each</h2>{}", panel.svg("lines"))
}

/// What people say of the line, where the truth file lies beside the log; only shown.
fn marked(file: &Path, row: usize, same: &[usize]) -> String {
    let truth = file.with_file_name(format!("{}.truth.csv.gz", data::stem(file)));
    let Ok((header, rows)) = data::table(&truth) else { return String::new() };
    let place = |name: &str| header.iter().position(|column| column == name);
    let (Some(event), Some(template), Some(here)) = (place("EventId"), place("EventTemplate"), rows.get(row))
    else {
        return String::new();
    };
    let theirs: BTreeSet<usize> =
        (0..rows.len()).filter(|&at| rows[at].get(event) == here.get(event)).collect();
    let both = same.iter().filter(|at| theirs.contains(at)).count();
    format!(
        "<h2>Marked by people</h2><p><code>{}</code>: {} lines, of which {both} have this id; {} lines with this id are others</p>",
        escaped(here.get(template).unwrap_or_default()),
        theirs.len(),
        same.len() - both,
    )
}
