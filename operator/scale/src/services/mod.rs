//! Services: how many replicas, from a forecast and from what is seen now.
