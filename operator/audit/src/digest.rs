//! Salted digests: a value can be erased later, its digest keeps its place in the chain.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A SHA-256 digest (FIPS 180-4), written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of these parts in this order. Each part is preceded by its length, so that no two lists of parts
    /// give the same bytes.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Random bytes that keep a digest of few possible values from being guessed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Salt(pub [u8; 16]);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Upper case would be a second spelling of the same digest.
    let digits = text.len() == 2 * N && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate().filter(|_| digits) {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    digits.then_some(bytes)
}

macro_rules! hexadecimal {
    ($($type:ident: $size:literal),+) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&hex(&self.0))
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                unhex::<$size>(&text).map(Self).ok_or_else(|| {
                    serde::de::Error::custom(concat!("expected ", $size, " bytes in lower-case hexadecimal"))
                })
            }
        }
    )+};
}
hexadecimal!(Digest: 32, Salt: 16);

/// A value under its salted digest. Without the value the digest stays; without the salt it says nothing about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// Digest of salt and value.
    pub digest: Digest,
    /// The salt; gone when the value is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<Salt>,
    /// The value; gone when it is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

impl Sealed {
    /// Seals a value. It should hold no floating point numbers: not every reader writes them back alike.
    pub fn new(value: Value, salt: Salt) -> Self {
        Self { digest: seal(&value, salt), salt: Some(salt), value: Some(value) }
    }

    /// Takes the value and its salt away.
    pub fn erase(&mut self) {
        (self.salt, self.value) = (None, None);
    }

    /// Neither value nor salt is there any more.
    pub fn erased(&self) -> bool {
        self.salt.is_none() && self.value.is_none()
    }

    /// The digest is that of salt and value. `false` when either is missing.
    pub fn holds(&self) -> bool {
        match (&self.value, self.salt) {
            (Some(value), Some(salt)) => seal(value, salt) == self.digest,
            _ => false,
        }
    }
}

fn seal(value: &Value, salt: Salt) -> Digest {
    let mut text = String::new();
    canonical(value, &mut text);
    Digest::of(&[b"homeostat audit value", &salt.0, text.as_bytes()])
}

/// JSON without spaces and with sorted names, however the value was read.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            out.push('{');
            for (index, name) in names.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(name.clone()).to_string());
                out.push(':');
                canonical(&fields[name], out);
            }
            out.push('}');
        }
        Value::Array(list) => {
            out.push('[');
            for (index, one) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                canonical(one, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_digest_does_not_depend_on_the_order_of_fields_but_on_everything_else() {
        let salt = Salt([7; 16]);
        let one: Value = serde_json::from_str(r#"{"a":1,"b":[true,"x"]}"#).unwrap();
        let same: Value = serde_json::from_str(r#"{ "b": [true, "x"], "a": 1 }"#).unwrap();
        assert_eq!(seal(&one, salt), seal(&same, salt));
        for other in [json!({ "a": 1, "b": ["x", true] }), json!({ "a": "1", "b": [true, "x"] })] {
            assert_ne!(seal(&one, salt), seal(&other, salt));
        }
        assert_ne!(seal(&one, salt), seal(&one, Salt([8; 16])));
    }

    #[test]
    fn parts_are_not_run_together() {
        assert_ne!(Digest::of(&[b"ab", b"c"]), Digest::of(&[b"a", b"bc"]));
        // SHA-256 of eight zero bytes: the length of one empty part.
        let known = "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc";
        assert_eq!(Digest::of(&[b""]).to_string(), known);
    }

    #[test]
    fn an_erased_value_leaves_its_digest_and_nothing_to_guess_it_by() {
        let mut sealed = Sealed::new(json!({ "person": "ana" }), Salt([1; 16]));
        assert!(sealed.holds());
        let digest = sealed.digest;
        sealed.erase();
        assert_eq!(serde_json::to_value(&sealed).unwrap(), json!({ "digest": digest.to_string() }));
        assert!(sealed.erased() && !sealed.holds());
    }

    #[test]
    fn there_is_one_spelling_of_a_digest() {
        let text = "\"AF5570F5A1810B7AF78CAF4BC70A660F0DF51E42BAF91D4DE5B2328DE0E83DFC\"";
        assert!(serde_json::from_str::<Digest>(text).is_err());
        assert!(serde_json::from_str::<Digest>(&text.to_lowercase()).is_ok());
    }
}
