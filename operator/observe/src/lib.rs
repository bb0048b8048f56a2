//! Sources: what the world says becomes observations.
