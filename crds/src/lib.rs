//! Wire types of the Homeostat API: one file per kind, conditions, reasons, generator.
//!
//! [`all`] is the one list of kinds. Nothing here reads a clock or talks to an API server:
//! times come in as [`MicroTime`] and the resources are plain data with their schema.
//!
//! Rules that the schema cannot express alone are CEL rules next to the field they guard; each
//! one has a passing and a failing example under `tests/rules`, see [`rules`].

#![allow(clippy::duplicated_attributes, reason = "every printer column is an attribute of the same shape")]

pub mod common;
pub mod conditions;
pub mod definition;
pub mod micro_time;
pub mod quantity;
pub mod reasons;
pub mod rules;
pub mod v1alpha1;

pub use common::{
    ActionKind, Entity, Level, Numeric, ObjectRef, SecretKeyRef, Severity, Subject, SubjectKind, clip,
};
pub use conditions::{Condition, ConditionStatus, ConditionType};
pub use definition::{GeneratorError, all, write_all, yaml};
pub use micro_time::MicroTime;
pub use quantity::Quantity;
pub use reasons::Reason;

/// API group of every kind.
pub const GROUP: &str = "homeostat.dev";
/// The served and stored version.
pub const VERSION: &str = "v1alpha1";
/// `kubectl get homeostat` lists every kind of this category.
pub const CATEGORY: &str = "homeostat";
