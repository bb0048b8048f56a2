//! The Homeostat binary: arguments, telemetry, leader lease, wiring.
//!
//! Reading path: [`kernel`] is the loop without the world, [`run`] connects it to the world.

mod archive;
pub mod args;
pub mod audit;
pub mod board;
pub mod callers;
pub mod clock;
pub mod counted;
pub mod external;
pub mod forecasts;
pub mod hearing;
pub mod install;
pub mod jobs;
pub mod keeping;
pub mod kept;
pub mod kernel;
pub mod limits;
pub mod loads;
pub mod messages;
pub mod outside;
pub mod paced;
pub mod parts;
pub mod people;
pub mod quotas;
pub mod record;
pub mod release;
pub mod replay;
pub mod run;
pub mod sizes;
pub mod sizing;
pub mod sources;
pub mod standing;
pub mod telemetry;
