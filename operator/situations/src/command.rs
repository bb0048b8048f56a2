//! What `homeostat replay DIR` and `homeostat playbook test FILE...` do: read, decide, print, and say whether it holds.

use crate::file::{SituationError, SituationFile, read_file, read_folder};
use crate::score::{self, run};
use homeostat_playbooks::{Playbook, PlaybookError, parse, shipped, with_own};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Smallest share of the right actions that must be taken.
pub const LEAST_RECALL: f64 = 0.7;

/// Why situations could not be decided.
#[derive(Debug, Error)]
pub enum CommandError {
    /// Situations cannot be read.
    #[error(transparent)]
    Situations(#[from] SituationError),
    /// A playbook is refused.
    #[error("{path} is no playbook that can be used")]
    Playbook {
        /// Path as given.
        path: String,
        /// What is wrong, with line and column.
        source: PlaybookError,
    },
    /// Two playbooks of one name, or none that can be used.
    #[error(transparent)]
    Library(#[from] PlaybookError),
    /// A file cannot be read or written.
    #[error("{path} cannot be read or written")]
    File {
        /// Path as given.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// No situations belong to a playbook.
    #[error(
        "{path}: no situations for it were found ({looked}); write some, or name a folder with --situations"
    )]
    NoSituations {
        /// Path as given.
        path: String,
        /// Where they were looked for.
        looked: String,
    },
}

/// What to print, and why it does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// For people.
    pub text: String,
    /// One sentence; `None`: it holds.
    pub failure: Option<String>,
}

/// Decides every situation below a folder with the shipped playbooks. It holds when no action was wrong and at least
/// [`LEAST_RECALL`] of the right ones were taken. `out` receives every answer as JSON.
pub fn replay_folder(folder: &Path, out: Option<&Path>, all: bool) -> Result<Checked, CommandError> {
    let files = read_folder(folder)?;
    let (score, outcomes) = run(&files, &shipped());
    if let Some(path) = out {
        let text = format!("{:#}\n", score::json(&score, &outcomes));
        std::fs::write(path, text)
            .map_err(|source| CommandError::File { path: path.display().to_string(), source })?;
    }
    let failure = if score.wrong_actions > 0 {
        Some(format!("{} of {} situations end in a wrong action", score.wrong_actions, score.situations))
    } else if score.recall() < LEAST_RECALL {
        let (recall, least) = (score.recall() * 100.0, LEAST_RECALL * 100.0);
        Some(format!("{recall:.1} % of the right actions were taken, at least {least:.0} % must be"))
    } else {
        None
    };
    Ok(Checked { text: score::table(&outcomes, !all) + &score::totals(&score), failure })
}

/// Checks playbook files and decides their situations, together with the shipped playbooks that they do not replace.
/// Situations come from `situations`, else from `situations/NAME.yaml` beside the file or beside its folder. It holds
/// when every answer is the right one in every respect.
pub fn test_playbooks(paths: &[PathBuf], situations: Option<&Path>) -> Result<Checked, CommandError> {
    let mut own: Vec<Playbook> = Vec::new();
    let mut files: Vec<SituationFile> = Vec::new();
    for path in paths {
        let shown = || path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| CommandError::File { path: shown(), source })?;
        let playbook = parse(&text).map_err(|source| CommandError::Playbook { path: shown(), source })?;
        if situations.is_none() {
            files.push(situations_of(path, &playbook)?);
        }
        own.push(playbook);
    }
    if let Some(folder) = situations {
        files = read_folder(folder)?;
    }
    let (score, outcomes) = run(&files, &with_own(own)?);
    let wrong = score.situations - score.right;
    let failure =
        (wrong > 0).then(|| format!("{wrong} of {} situations are decided otherwise", score.situations));
    Ok(Checked { text: score::table(&outcomes, false) + &score::totals(&score), failure })
}

fn situations_of(path: &Path, playbook: &Playbook) -> Result<SituationFile, CommandError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = format!("situations/{}.yaml", playbook.name);
    let places = [folder.join(&name), folder.join("..").join(&name)];
    match places.iter().find(|place| place.is_file()) {
        Some(place) => Ok(read_file(place)?),
        None => Err(CommandError::NoSituations {
            path: path.display().to_string(),
            looked: places.map(|place| place.display().to_string()).join(", "),
        }),
    }
}
