//! Wire types of the Homeostat API: one file per kind, conditions, reasons, generator.
