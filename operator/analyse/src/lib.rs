//! Observations become findings, findings become incidents with ranked causes.
