//! Numbers in, numbers out: streaming detectors, calibration, forecasts; no clock, I/O or Kubernetes.
