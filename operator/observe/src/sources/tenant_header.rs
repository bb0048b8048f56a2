//! Whose a query is, for servers that serve several tenants and keep them apart.

use super::names::cut;
use http::{HeaderName, HeaderValue};

/// Longest name of an object in Kubernetes.
const TENANT_BYTES: usize = 253;

/// The HTTP header by which a server for several tenants (Mimir, Cortex, Thanos, prom-label-proxy) is told whose a query is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantHeader(HeaderName);

/// A name that cannot be that of a tenant's header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` cannot be the header that carries the tenant; use the one that your server reads, such as X-Scope-OrgID or \
     THANOS-TENANT",
    .0.escape_default()
)]
pub struct NoTenantHeader(String);

impl std::str::FromStr for TenantHeader {
    type Err = NoTenantHeader;

    fn from_str(text: &str) -> Result<Self, NoTenantHeader> {
        // What says who asks, where, and how the bytes are to be read is not a tenant's.
        const TAKEN: [&str; 13] = [
            "accept",
            "accept-encoding",
            "authorization",
            "connection",
            "content-encoding",
            "content-length",
            "content-type",
            "cookie",
            "host",
            "proxy-authorization",
            "te",
            "transfer-encoding",
            "user-agent",
        ];
        let wrong = || NoTenantHeader(cut(text, 64).to_owned());
        let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| wrong())?;
        if TAKEN.contains(&name.as_str()) { Err(wrong()) } else { Ok(Self(name)) }
    }
}

impl TenantHeader {
    /// The header for a tenant's query; `None` when the name is not that of a Tenant. Servers give a meaning of their own to
    /// other characters: `a|b` would ask for two tenants at once.
    pub fn of(&self, tenant: &str) -> Option<(HeaderName, HeaderValue)> {
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = tenant.as_bytes();
        let ends = bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain);
        let inside = bytes.iter().all(|byte| plain(byte) || matches!(byte, b'-' | b'.'));
        let name = (ends && inside && bytes.len() <= TENANT_BYTES).then_some(tenant)?;
        Some((self.0.clone(), HeaderValue::from_str(name).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_name_is_carried_as_it_is_or_not_at_all() {
        let header: TenantHeader = "X-Scope-OrgID".parse().expect("a header");
        for name in ["food", "a", "team-1.eu", &"a".repeat(TENANT_BYTES)] {
            let (key, value) = header.of(name).expect("a name of a Tenant");
            assert_eq!((key.as_str(), value.to_str().ok()), ("x-scope-orgid", Some(name)));
        }
        let long = "a".repeat(TENANT_BYTES + 1);
        let odd = [
            "",
            ".",
            "..",
            "a|b",
            "a b",
            "a\r\nX-Scope-OrgID: b",
            "a\nb",
            "a,b",
            "A",
            "ä",
            "a/../b",
            "a\0",
            "-a",
            "a.",
            &long,
        ];
        for name in odd {
            assert_eq!(header.of(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_header_that_is_none_or_has_a_meaning_already_carries_no_tenant() {
        for name in ["X-Scope-OrgID", "THANOS-TENANT", "x-tenant"] {
            assert!(name.parse::<TenantHeader>().is_ok(), "{name}");
        }
        for name in ["", "X Scope", "a:b", "a\r\nb", "ä", "Authorization", "HOST", "Cookie", "content-length"]
        {
            let told = name.parse::<TenantHeader>().expect_err(name).to_string();
            assert!(told.contains("X-Scope-OrgID") && !told.contains(['\r', '\n']), "{told}");
        }
    }
}
