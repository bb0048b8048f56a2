//! Jobs: which run starts when, with how much, so that deadlines hold on the capacity there is.
