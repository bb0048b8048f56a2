//! Numbers as a person writes them in a sentence.

/// A number with so many significant digits, without needless zeros: `0.8`, `1.94`, `12300`, `3.1e-7`.
pub(crate) fn digits(value: f64, digits: usize) -> String {
    let digits = digits.clamp(1, 17);
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { value.to_string() };
    }
    let scientific = format!("{value:.*e}", digits - 1);
    let exponent = scientific.split_once('e').and_then(|(_, power)| power.parse::<i32>().ok()).unwrap_or(0);
    let rounded = scientific.parse::<f64>().unwrap_or(value);
    if (-4..9).contains(&exponent) {
        let places = (digits as i32 - 1 - exponent).max(0) as usize;
        let text = format!("{rounded:.places$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{rounded:e}")
    }
}

/// A number with three significant digits.
pub(crate) fn number(value: f64) -> String {
    digits(value, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (0.8, "0.8"),
            (1.9412, "1.94"),
            (12_345.0, "12300"),
            (-0.05, "-0.05"),
            (3.1e-7, "3.1e-7"),
            (9.999, "10"),
            (1e12, "1e12"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
        assert_eq!(digits(0.123_456, 5), "0.12346");
    }
}
