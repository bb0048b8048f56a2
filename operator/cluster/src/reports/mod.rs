//! Reports that people ask for: a `Report` gets its figures, a sentence, and the address of its page, in its status.
//!
//! Reading path: `record` (what is remembered of a Report, bounded), `judge` (whose figures it may have, and what its
//! status says, purely), `read` (a bounded, paged read of what the API server keeps), [`figures`] (what that comes to,
//! purely), `address` (where the pages are), [`ReportWriter`] (who does it when), [`StoredIncidents`] (the same records
//! for the pages). Nothing is kept between two looks: a restart changes no figure.

mod address;
pub mod figures;
mod judge;
mod pages;
mod read;
mod record;
mod writer;

pub use address::{PagesUrl, PagesUrlError};
pub use pages::{Past, StoredIncidents};
pub use writer::ReportWriter;
