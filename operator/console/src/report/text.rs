//! How times, durations and numbers are written for people.

use homeostat_knowledge::{SignedDuration, Timestamp};

/// What stands where nothing is known. Never zero.
pub const NO_DATA: &str = "no data";

/// `2026-11-22 13:04:05.123 UTC`.
pub fn instant(at: Timestamp) -> String {
    format!("{} UTC", at.strftime("%Y-%m-%d %H:%M:%S%.3f"))
}

/// `13:04:05.123` on the (UTC) day of `day`, `2026-11-23 13:04:05.123` on any other.
pub fn clock(at: Timestamp, day: Timestamp) -> String {
    let same = at.strftime("%Y-%m-%d").to_string() == day.strftime("%Y-%m-%d").to_string();
    at.strftime(if same { "%H:%M:%S%.3f" } else { "%Y-%m-%d %H:%M:%S%.3f" }).to_string()
}

pub(crate) fn instant_text(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), instant)
}

pub(crate) fn clock_text(text: &str, day: &str) -> String {
    match (text.parse(), day.parse()) {
        (Ok(at), Ok(day)) => clock(at, day),
        _ => text.to_owned(),
    }
}

pub(crate) fn date_text(text: &str) -> String {
    text.parse().map_or_else(|_| text.to_owned(), |at: Timestamp| at.strftime("%Y-%m-%d").to_string())
}

/// Seconds for people: `0.4 ms`, `340 ms`, `1.4 s`, `2 min 5 s`, `3 h 4 min`, `2 d 3 h`; `never` for infinity.
pub fn seconds(seconds: f64) -> String {
    if seconds.is_nan() {
        return NO_DATA.to_owned();
    }
    if seconds.is_infinite() {
        return "never".to_owned();
    }
    let sign = if seconds < 0.0 { "−" } else { "" };
    let size = seconds.abs();
    // Limits are where the shorter form would round up to the next unit.
    let text = if size == 0.0 {
        "0 s".to_owned()
    } else if size < 0.009_95 {
        format!("{:.1} ms", size * 1e3)
    } else if size < 0.999_5 {
        format!("{:.0} ms", size * 1e3)
    } else if size < 59.95 {
        format!("{size:.1} s")
    } else {
        let whole = size.round() as u64;
        match whole {
            0..3_600 => format!("{} min {} s", whole / 60, whole % 60),
            3_600..86_400 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
            _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
        }
    };
    format!("{sign}{text}")
}

/// [`seconds`] of a duration.
pub fn duration(duration: SignedDuration) -> String {
    seconds(duration.as_secs_f64())
}

/// `87 %`, `0.25 %`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if !percent.is_finite() {
        NO_DATA.to_owned()
    } else if percent == 0.0 || percent >= 10.0 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.2} %")
    }
}

/// How sure something is, from 0 to 1: `94 %`; never `0 %` or `100 %`, which nothing that is estimated is.
pub fn chance(share: f64) -> String {
    if share.is_nan() {
        NO_DATA.to_owned()
    } else if share < 0.01 {
        "< 1 %".to_owned()
    } else if share > 0.99 {
        "> 99 %".to_owned()
    } else {
        format!("{:.0} %", share * 100.0)
    }
}

/// `1,159,040`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A measured value: `0.25`, `12.5`, `1,234`, `536.9 M`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match value {
        _ if !value.is_finite() => NO_DATA.to_owned(),
        _ if size < 9.995 => format!("{value:.2}"),
        _ if size < 999.95 => format!("{value:.1}"),
        _ if size < 999_999.5 => {
            let sign = if value < 0.0 { "−" } else { "" };
            format!("{sign}{}", count(size.round() as u64))
        }
        _ if size < 999.95e6 => format!("{:.1} M", value / 1e6),
        _ if size < 999.95e9 => format!("{:.1} G", value / 1e9),
        _ => format!("{:.1} T", value / 1e12),
    }
}

/// `HandedOver` as `handed over`.
pub fn words(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(' ');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_and_round_into_the_right_unit() {
        for (value, text) in [
            (0.0, "0 s"),
            (0.000_4, "0.4 ms"),
            (0.34, "340 ms"),
            (0.999_6, "1.0 s"),
            (1.42, "1.4 s"),
            (59.97, "1 min 0 s"),
            (125.0, "2 min 5 s"),
            (3_600.0, "1 h 0 min"),
            (11_040.0, "3 h 4 min"),
            (183_600.0, "2 d 3 h"),
            (-1.4, "−1.4 s"),
            (f64::INFINITY, "never"),
            (f64::NAN, "no data"),
        ] {
            assert_eq!(seconds(value), text, "{value}");
        }
    }

    #[test]
    fn times_are_utc_with_milliseconds() {
        let at = Timestamp::from_millisecond(1_795_352_645_007).expect("a valid time");
        assert_eq!(instant(at), "2026-11-22 13:04:05.007 UTC");
        assert_eq!(clock(at, at), "13:04:05.007");
    }

    #[test]
    fn a_time_on_another_day_says_which() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a valid time");
        let day = at("2026-11-22T23:59:59.5Z");
        assert_eq!(clock(at("2026-11-22T00:00:00Z"), day), "00:00:00.000");
        assert_eq!(clock(at("2026-11-23T00:00:00.25Z"), day), "2026-11-23 00:00:00.250");
    }

    #[test]
    fn what_is_estimated_is_never_certain() {
        let shown = [0.0, 0.041, 0.94, 0.993, 1.0, f64::NAN].map(chance);
        assert_eq!(shown, ["< 1 %", "4 %", "94 %", "> 99 %", "> 99 %", "no data"]);
    }

    #[test]
    fn numbers_are_grouped_and_shares_are_percent() {
        assert_eq!((count(0), count(999), count(1_159_040)), ("0".into(), "999".into(), "1,159,040".into()));
        assert_eq!(
            (percent(0.87), percent(0.0025), percent(0.0)),
            ("87 %".into(), "0.25 %".into(), "0 %".into())
        );
        assert_eq!(words("HandedOver"), "handed over");
    }

    #[test]
    fn measured_values_are_short_whatever_their_size() {
        for (value, text) in [
            (0.254, "0.25"),
            (-3.0, "-3.00"),
            (12.54, "12.5"),
            (1_234.4, "1,234"),
            (536_870_912.0, "536.9 M"),
            (2e12, "2.0 T"),
            (f64::NAN, NO_DATA),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
