//! Declarative remediation: what to do about which finding, as data.
//!
//! Reading path: [`schema`] (what a playbook is), [`document`] (how it is written), [`mod@parse`] (text to
//! document, with positions), [`check`] (what is refused), [`expression`] (conditions in CEL, bounded),
//! [`library`] (the shipped ones, one visible list).

pub mod check;
pub mod document;
pub mod expression;
pub mod library;
pub mod parse;
pub mod schema;

pub use expression::{Expression, ExpressionError, Facts, IncidentFacts, TenantFacts, Truth, WorkloadFacts};
pub use library::{LIBRARY, shipped, with_own};
pub use parse::{PlaybookError, Problem, Rule, parse, parse_spec};
pub use schema::{After, Limits, Playbook, Rung, Trigger, When};
