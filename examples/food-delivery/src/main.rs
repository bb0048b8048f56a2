//! Sample application: food delivery behind a gateway, each service with its own database.

fn main() {}
