//! Where the pages are, and the addresses of the documents on them.

use homeostat_crds::v1alpha1::report::ReportFormat;
use homeostat_knowledge::Timestamp;
use http::Uri;
use std::fmt;
use std::str::FromStr;

/// Longest base address; the rest of 1,024 characters is for the page.
const LONGEST: usize = 256;

/// The address of the pages as readers reach them, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PagesUrl(String);

/// Why a text is no address of pages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PagesUrlError {
    /// It is no URL at all.
    #[error("`{text}` is no address; write one such as https://homeostat.example.org")]
    NoUrl {
        /// As given.
        text: String,
    },
    /// Another scheme, or none.
    #[error(
        "the address of the pages has to begin with http:// or https://; write one such as https://homeostat.example.org"
    )]
    Scheme,
    /// It would put credentials into every status.
    #[error(
        "the address of the pages must not hold a user or a password: everybody who reads a Report sees it"
    )]
    Credentials,
    /// Pages are added to it.
    #[error("the address of the pages must not hold `?` or `#`; pages are added to its end")]
    Query,
    /// Too long for a status.
    #[error("the address of the pages has {length} characters; at most {LONGEST} are possible")]
    Long {
        /// Characters.
        length: usize,
    },
}

impl FromStr for PagesUrl {
    type Err = PagesUrlError;

    fn from_str(text: &str) -> Result<Self, PagesUrlError> {
        // Before anything is repeated in a message.
        if text.split('/').nth(2).is_some_and(|authority| authority.contains('@')) {
            return Err(PagesUrlError::Credentials);
        }
        if text.len() > LONGEST {
            return Err(PagesUrlError::Long { length: text.len() });
        }
        if text.contains(['?', '#']) {
            return Err(PagesUrlError::Query);
        }
        let uri: Uri = text.parse().map_err(|_| PagesUrlError::NoUrl { text: text.to_owned() })?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(PagesUrlError::Scheme);
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(PagesUrlError::NoUrl { text: text.to_owned() });
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for PagesUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whose incidents a page of a period shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose<'a> {
    /// Those of a tenant.
    Tenant(&'a str),
    /// Those of a namespace that no tenant owns.
    Namespace(&'a str),
}

impl PagesUrl {
    /// The page of an incident to look at.
    pub fn incident_page(&self, name: &str) -> String {
        self.incident(name, ReportFormat::Html)
    }

    /// The page of an incident.
    pub fn incident(&self, name: &str, format: ReportFormat) -> String {
        let form = match format {
            ReportFormat::Html => "",
            ReportFormat::Markdown => "/report.md",
            ReportFormat::Json => "/report.json",
        };
        format!("{self}/incidents/{name}{form}")
    }

    /// The page of a period; names of tenants and namespaces need no escapes.
    pub fn period(&self, from: Timestamp, to: Timestamp, whose: Whose<'_>, format: ReportFormat) -> String {
        let form = match format {
            ReportFormat::Html => "",
            ReportFormat::Markdown => ".md",
            ReportFormat::Json => ".json",
        };
        let (what, name) = match whose {
            Whose::Tenant(name) => ("tenant", name),
            Whose::Namespace(name) => ("namespace", name),
        };
        format!("{self}/report{form}?from={from}&to={to}&{what}={name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn only_plain_addresses_are_taken_and_the_refusal_says_what_to_write() {
        for (text, told) in [
            ("ftp://example.org", "http:// or https://"),
            ("example.org:8081", "http:// or https://"),
            ("https://me:secret@example.org", "must not hold a user"),
            ("https://example.org/?a=b", "must not hold `?`"),
            ("https://example.org/#top", "must not hold `?`"),
            ("https://exa mple.org", "is no address"),
            ("", "is no address"),
        ] {
            let refused = text.parse::<PagesUrl>().unwrap_err().to_string();
            assert!(refused.contains(told), "{text}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
        let long = format!("https://{}.org", "a".repeat(300));
        assert!(matches!(long.parse::<PagesUrl>(), Err(PagesUrlError::Long { length: 312 })));
    }

    #[test]
    fn each_form_has_its_page() {
        let pages: PagesUrl = "https://example.org/homeostat/".parse().unwrap();
        let incident = |format| pages.incident("a-hung-1", format);
        assert_eq!(incident(ReportFormat::Html), "https://example.org/homeostat/incidents/a-hung-1");
        assert!(incident(ReportFormat::Markdown).ends_with("/incidents/a-hung-1/report.md"));
        assert!(incident(ReportFormat::Json).ends_with("/incidents/a-hung-1/report.json"));
        let (from, to) = (at("2026-11-22T09:00:00Z"), at("2026-11-23T09:00:00.5Z"));
        assert_eq!(
            pages.period(from, to, Whose::Tenant("food"), ReportFormat::Json),
            "https://example.org/homeostat/report.json?from=2026-11-22T09:00:00Z&to=2026-11-23T09:00:00.5Z&tenant=food"
        );
        let page = pages.period(from, to, Whose::Namespace("shop"), ReportFormat::Html);
        assert!(page.contains("/report?from=") && page.ends_with("&namespace=shop"), "{page}");
    }
}
