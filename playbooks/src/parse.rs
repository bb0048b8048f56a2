//! Text to playbook. Every refusal says where: line and column of the text.

use crate::check;
use crate::document::{Document, Spec};
use crate::schema::Playbook;
use serde::de::DeserializeOwned;
use serde_saphyr::{Location, Options};
use std::fmt;
use thiserror::Error;

/// Longest text of one playbook, bytes. The API server's own bounds allow less.
pub const MAXIMUM_TEXT: usize = 64 * 1024;

/// Why a playbook was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlaybookError {
    /// Larger than [`MAXIMUM_TEXT`].
    #[error(
        "playbook text has {length} bytes, at most {MAXIMUM_TEXT} are read: split it into several playbooks"
    )]
    TooLong {
        /// Bytes.
        length: usize,
    },
    /// Not YAML, or not the fields of a playbook.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// From 1; 0 when unknown.
        line: u64,
        /// From 1; 0 when unknown.
        column: u64,
        /// What is wrong there.
        message: String,
    },
    /// Readable, but refused by the checker.
    #[error("playbook {name} is refused: {}", join(.problems))]
    Refused {
        /// Its name.
        name: String,
        /// Everything that is wrong, in the order of the text.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1; 0 when unknown.
    pub line: u64,
    /// From 1; 0 when unknown.
    pub column: u64,
    /// The rule that was broken.
    pub rule: Rule,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Problem {
    pub(crate) fn at(location: Location, rule: Rule, message: impl Into<String>) -> Self {
        Self { line: location.line(), column: location.column(), rule, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

/// The rules of the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// `apiVersion`, `kind` and name are those of a playbook.
    Header,
    /// A trigger names known finding kinds, at least one, none twice, and a confidence from 0 to 1.
    Trigger,
    /// Conditions are CEL within the bounds, over known variables, with distinct names.
    Expression,
    /// The ladder has 1 to 16 steps.
    LadderLength,
    /// Every step can be reached: nothing comes after the step that tells people, or after the limits ended it.
    Unreachable,
    /// No step takes back what another step of the ladder does.
    Loop,
    /// The action exists and can be done.
    Action,
    /// Targets and values are absolute.
    RelativeTarget,
    /// Every step that changes something says what counts as success.
    Verification,
    /// What a step waits for fits its action.
    After,
    /// Undo fits the action.
    Undo,
    /// Values are written, never filled in from what the world says.
    Template,
    /// A step can be taken at the level that it is for.
    Level,
    /// Levels, severities and limits are known and within bounds.
    Value,
    /// No two playbooks have the same name.
    DuplicateName,
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Reads a whole `Playbook` object, as in a file of the library.
///
/// ```
/// let text = "
/// apiVersion: homeostat.dev/v1alpha1
/// kind: Playbook
/// metadata: { name: tell-only }
/// spec:
///   trigger: { findings: [Slow] }
///   ladder: [{ action: Notify, severity: Warning }]
/// ";
/// assert_eq!(&*homeostat_playbooks::parse(text)?.name, "tell-only");
/// # Ok::<(), homeostat_playbooks::PlaybookError>(())
/// ```
pub fn parse(text: &str) -> Result<Playbook, PlaybookError> {
    let document: Document = read(text)?;
    check::document(&document)
}

/// Reads the `spec` of a `Playbook` object that the API server holds; YAML or JSON.
pub fn parse_spec(name: &str, generation: i64, text: &str) -> Result<Playbook, PlaybookError> {
    let spec: Spec = read(text)?;
    check::spec(name, generation, &spec)
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, PlaybookError> {
    if text.len() > MAXIMUM_TEXT {
        return Err(PlaybookError::TooLong { length: text.len() });
    }
    let options: Options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        let message = error.without_snippet().to_string();
        // The position is told once, by us.
        let suffix = format!(" at line {line}, column {column}");
        let message = message.strip_suffix(&suffix).unwrap_or(&message).to_owned();
        PlaybookError::Syntax { line, column, message }
    })
}
