//! Amounts of CPU and memory as Kubernetes writes them.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// The shape of a quantity: Kubernetes' own grammar without spaces.
pub const PATTERN: &str =
    r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)(m|u|n|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,3})?$";

/// An amount such as `8`, `500m` or `16Gi`; whole numbers may be written without quotes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Quantity(String);

impl Quantity {
    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The amount in base units (cores, bytes), or `None` when the text is not a quantity.
    ///
    /// Suffixes as in the Kubernetes serialisation format: decimal n, u, m, k, M, G, T, P, E,
    /// binary Ki to Ei, or a decimal exponent.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        let text = self.0.as_str();
        let end = text
            .char_indices()
            .find(|&(at, c)| !(c.is_ascii_digit() || c == '.' || (at == 0 && "+-".contains(c))))
            .map_or(text.len(), |(at, _)| at);
        let (number, suffix) = text.split_at(end);
        let number: f64 = number.parse().ok()?;
        let factor = match suffix {
            "" => 1.0,
            "n" => 1e-9,
            "u" => 1e-6,
            "m" => 1e-3,
            "k" => 1e3,
            "M" => 1e6,
            "G" => 1e9,
            "T" => 1e12,
            "P" => 1e15,
            "E" => 1e18,
            "Ki" => 1024_f64,
            "Mi" => 1024_f64.powi(2),
            "Gi" => 1024_f64.powi(3),
            "Ti" => 1024_f64.powi(4),
            "Pi" => 1024_f64.powi(5),
            "Ei" => 1024_f64.powi(6),
            exponent => {
                let digits = exponent.strip_prefix(['e', 'E'])?;
                10_f64.powi(digits.parse::<i32>().ok().filter(|e| e.abs() <= 999)?)
            }
        };
        Some(number * factor).filter(|v| v.is_finite())
    }
}

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Quantity {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 8, 500m or 16Gi")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 32,
            "pattern": PATTERN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_the_kubernetes_documentation() {
        for (text, amount) in [
            ("8", 8.0),
            ("0.5", 0.5),
            ("500m", 0.5),
            ("128974848", 128_974_848.0),
            ("129e6", 129e6),
            ("129M", 129e6),
            ("128974848000m", 128_974_848.0),
            ("123Mi", 128_974_848.0),
            ("16Gi", 17_179_869_184.0),
            ("1E", 1e18),
            ("1Ei", 1_152_921_504_606_846_976.0),
            ("-1k", -1000.0),
        ] {
            let found = Quantity::from(text).value().unwrap();
            assert!((found - amount).abs() <= amount.abs() * 1e-12, "{text}: {found}");
        }
        for text in ["", "m", "8 Gi", "Gi", "1e", "1ki", "1e9999", "0x10", "NaN"] {
            assert_eq!(Quantity::from(text).value(), None, "{text}");
        }
    }

    #[test]
    fn whole_numbers_need_no_quotes() {
        let q: Quantity = serde_json::from_str("8").unwrap();
        assert_eq!(q, Quantity::from("8"));
        assert!(serde_json::from_str::<Quantity>("8.5").is_err());
    }
}
