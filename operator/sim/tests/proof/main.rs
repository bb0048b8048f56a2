//! The proof: perturbation plans, drawn histories, drills, mutations, the kill switch at every request, the rules of
//! the model, and the tables of hazards and of test cases.
#![allow(clippy::expect_used, clippy::panic, reason = "tests say what went wrong by panicking")]

mod drills;
mod flapping;
mod histories;
mod holds;
mod kill_switch;
mod model;
mod mutations;
mod plans;
mod stpa;
mod test_cases;
