//! What of all incidents a page shows: `?from=…&to=…&tenant=…&namespace=…`.

use homeostat_knowledge::{Incident, Name, SignedDuration, TenantPolicy, Timestamp, WorkloadKey};

/// Longest query.
const LONGEST: usize = 1_024;
/// Longest period.
const LONGEST_PERIOD: SignedDuration = SignedDuration::from_hours(366 * 24);
/// Longest name.
const LONGEST_NAME: usize = 253;

/// Which incidents are shown. The default shows all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Those that were recognised from the first to before the second.
    pub period: Option<(Timestamp, Timestamp)>,
    /// Those of a tenant.
    pub tenant: Option<Name>,
    /// Those of a namespace.
    pub namespace: Option<Name>,
}

/// Why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadFilter {
    #[error("the query is longer than {LONGEST} characters")]
    Long,
    #[error(
        "only from, to, tenant and namespace can be asked for, each once, as in ?from=2030-01-01T00:00:00Z&to=2030-01-08T00:00:00Z&tenant=NAME"
    )]
    Unknown,
    #[error("`{field}` is no instant; write it with its time zone, such as 2030-01-01T00:00:00Z")]
    Instant {
        /// The field.
        field: &'static str,
    },
    #[error("`{field}` is no name: small letters, digits, `-` and `.`, at most {LONGEST_NAME}")]
    Name {
        /// The field.
        field: &'static str,
    },
    #[error("from and to belong together; give both")]
    Half,
    #[error("from must be before to")]
    Order,
    #[error("the period is longer than 366 days; ask for a shorter one")]
    Period,
}

impl Filter {
    /// Reads a query.
    pub fn parse(query: &str) -> Result<Self, BadFilter> {
        if query.len() > LONGEST {
            return Err(BadFilter::Long);
        }
        let (mut from, mut to, mut tenant, mut namespace) = (None, None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(BadFilter::Unknown)?;
            let (place, field) = match name {
                "from" => (&mut from, "from"),
                "to" => (&mut to, "to"),
                "tenant" => (&mut tenant, "tenant"),
                "namespace" => (&mut namespace, "namespace"),
                _ => return Err(BadFilter::Unknown),
            };
            if place.replace((field, value)).is_some() {
                return Err(BadFilter::Unknown);
            }
        }
        let period = match (from, to) {
            (None, None) => None,
            (Some(from), Some(to)) => {
                let (from, to) = (instant(from)?, instant(to)?);
                if from >= to {
                    return Err(BadFilter::Order);
                }
                if to.duration_since(from) > LONGEST_PERIOD {
                    return Err(BadFilter::Period);
                }
                Some((from, to))
            }
            _ => return Err(BadFilter::Half),
        };
        let (tenant, namespace) = (tenant.map(word).transpose()?, namespace.map(word).transpose()?);
        Ok(Self { period, tenant, namespace })
    }

    /// Whether a page with this filter shows the incident.
    pub fn shows(&self, incident: &Incident) -> bool {
        let tenant = |wanted: &Name| incident.tenant.as_ref().is_some_and(|tenant| tenant.0 == *wanted);
        self.period.is_none_or(|(from, to)| (from..to).contains(&incident.instants.detected))
            && self.tenant.as_ref().is_none_or(tenant)
            && self.namespace.as_ref().is_none_or(|wanted| incident.namespace == *wanted)
    }

    /// Whether a page with this filter shows the runs of a workload of this tenant.
    pub fn shows_runs(&self, tenant: Option<&TenantPolicy>, workload: &WorkloadKey) -> bool {
        let of = |wanted: &Name| tenant.is_some_and(|tenant| tenant.name.0 == *wanted);
        self.tenant.as_ref().is_none_or(of)
            && self.namespace.as_ref().is_none_or(|wanted| workload.namespace == *wanted)
    }

    /// In words, for the title: ` of tenant food`.
    pub fn whose(&self) -> String {
        let tenant = self.tenant.as_ref().map(|name| format!(" of tenant {name}"));
        let namespace = self.namespace.as_ref().map(|name| format!(" in namespace {name}"));
        [tenant, namespace].into_iter().flatten().collect()
    }
}

/// The only signs that browsers may escape in an instant are its colons and the sign of its zone.
fn instant((field, value): (&'static str, &str)) -> Result<Timestamp, BadFilter> {
    let text = value.replace("%3A", ":").replace("%3a", ":").replace("%2B", "+").replace("%2b", "+");
    text.parse().map_err(|_| BadFilter::Instant { field })
}

fn word((field, value): (&'static str, &str)) -> Result<Name, BadFilter> {
    if is_name(value) { Ok(Name::from(value)) } else { Err(BadFilter::Name { field }) }
}

/// Whether an object can have this name.
pub(crate) fn is_name(text: &str) -> bool {
    let known = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_and_a_tenant_are_read_with_and_without_escapes() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let expected = Filter {
            period: Some((at("2026-11-22T00:00:00Z"), at("2026-11-23T00:00:00Z"))),
            tenant: Some("food".into()),
            namespace: None,
        };
        for query in [
            "from=2026-11-22T00:00:00Z&to=2026-11-23T00:00:00Z&tenant=food",
            "tenant=food&to=2026-11-23T00%3A00%3A00Z&from=2026-11-22T01%3A00%3A00%2B01%3A00",
        ] {
            assert_eq!(Filter::parse(query), Ok(expected.clone()), "{query}");
        }
        assert_eq!(Filter::parse(""), Ok(Filter::default()));
    }

    #[test]
    fn nonsense_is_refused_with_what_to_write() {
        let long = format!("tenant={}", "a".repeat(2_000));
        let (begin, end) = ("2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z");
        for (query, refused) in [
            (long, BadFilter::Long),
            ("since=yesterday".to_owned(), BadFilter::Unknown),
            ("tenant".to_owned(), BadFilter::Unknown),
            ("tenant=a&tenant=b".to_owned(), BadFilter::Unknown),
            ("tenant=".to_owned(), BadFilter::Name { field: "tenant" }),
            ("tenant=<script>".to_owned(), BadFilter::Name { field: "tenant" }),
            ("namespace=a/b".to_owned(), BadFilter::Name { field: "namespace" }),
            (format!("from={begin}"), BadFilter::Half),
            (format!("from=yesterday&to={end}"), BadFilter::Instant { field: "from" }),
            (format!("from={end}&to={begin}"), BadFilter::Order),
            (format!("from={begin}&to={begin}"), BadFilter::Order),
            (format!("from=2020-01-01T00:00:00Z&to={end}"), BadFilter::Period),
        ] {
            assert_eq!(Filter::parse(&query), Err(refused), "{query}");
        }
    }
}
