//! Reports, probes and metrics endpoints.
