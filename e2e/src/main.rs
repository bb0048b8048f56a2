//! The test cluster, fault injectors, scenarios and measurements.

fn main() {}
