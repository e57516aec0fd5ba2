//! Numbers of the exposition formats. Pure; called by [`super::line`].

/// A value as Prometheus reads it: decimal with an optional exponent, `NaN`, `Inf` with an optional
/// sign, in any case. Hexadecimal floats and `_` are refused, as Prometheus does.
pub(super) fn value(text: &[u8]) -> Option<f64> {
    // 15 digits fit a double exactly, and most counters are that
    if !text.is_empty() && text.len() <= 15 && text.iter().all(u8::is_ascii_digit) {
        let whole = text.iter().fold(0_u64, |whole, digit| whole * 10 + u64::from(digit - b'0'));
        return Some(whole as f64);
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Whole milliseconds, of the text format.
pub(super) fn millis(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with a fraction, of OpenMetrics, as milliseconds.
pub(super) fn seconds(text: &[u8]) -> Option<i64> {
    let millis = value(text)? * 1_000.0;
    // beyond 2^53 a double does not hold whole milliseconds; that is the year 287396
    #[expect(clippy::cast_possible_truncation, reason = "bounded in the line above it")]
    (millis.abs() < 9_007_199_254_740_992.0).then(|| millis.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("0", 0.0)]
    #[case("12345", 12_345.0)]
    #[case("999999999999999", 999_999_999_999_999.0)]
    #[case("1234567890123456789", 1_234_567_890_123_456_800.0)]
    #[case("1.5e+07", 1.5e7)]
    #[case("-3.25", -3.25)]
    #[case("+Inf", f64::INFINITY)]
    #[case("-inf", f64::NEG_INFINITY)]
    #[case("1e400", f64::INFINITY)]
    #[case("5e-324", 5e-324)]
    fn a_decimal_number_is_read(#[case] text: &str, #[case] expected: f64) {
        assert_eq!(value(text.as_bytes()), Some(expected));
    }

    #[rstest]
    #[case("NaN")]
    #[case("nan")]
    fn nan_is_read_as_nan(#[case] text: &str) {
        assert!(value(text.as_bytes()).unwrap().is_nan());
    }

    #[rstest]
    #[case("")]
    #[case("0x1p-2")]
    #[case("0x10")]
    #[case("1_000")]
    #[case("1,5")]
    #[case("12a")]
    #[case("--1")]
    fn what_prometheus_refuses_is_refused(#[case] text: &str) {
        assert_eq!(value(text.as_bytes()), None);
    }

    #[test]
    fn timestamps_are_milliseconds_whatever_the_format_writes() {
        assert_eq!(millis(b"1700000000123"), Some(1_700_000_000_123));
        assert_eq!(seconds(b"1700000000.123"), Some(1_700_000_000_123));
        assert_eq!(seconds(b"NaN"), None);
        assert_eq!(seconds(b"1e300"), None);
        assert_eq!(millis(b"1.5"), None);
    }
}
