//! Incidents and policy become plans; a separate checker admits or refuses each.
