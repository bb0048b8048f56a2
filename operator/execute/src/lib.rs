//! Guards, the ledger and the actions; may refuse, never choose.
