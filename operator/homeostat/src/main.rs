//! The Homeostat binary: arguments, telemetry, leader lease, wiring.

fn main() {}
