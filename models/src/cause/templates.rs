//! Rare templates: log lines that are new, or follow where others used to.
//!
//! Lines that belong to a span are compared within their operation; others within their entity.

use super::errors::of_kind;
use super::evidence::Kind;
use super::{Context, Finding};

/// Findings from the flow of log lines.
pub(super) fn gather(context: &Context<'_>) -> Vec<Finding> {
    of_kind(context, Kind::RareTemplates)
}
