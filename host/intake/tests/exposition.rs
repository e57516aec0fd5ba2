//! The parser of the text formats: what it reads, what it refuses, and that no bytes make it panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use rstest::rstest;
use weir_intake::exposition::{Format, Limits, ParseError, Parser};

type Read = (String, Vec<(String, String)>, f64, Option<i64>);

fn read_chunks(format: Format, limits: Limits, chunks: &[&[u8]]) -> Result<Vec<Read>, ParseError> {
    let mut samples = Vec::new();
    let mut parser = Parser::new(format, limits);
    for chunk in chunks {
        parser.feed(chunk, &|_| Some(0), &mut |_, sample| {
            let labels = sample.labels().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            samples.push((sample.name.to_owned(), labels, sample.value, sample.timestamp_ms));
        })?;
    }
    parser.finish().map(|()| samples)
}

fn read(format: Format, body: &str) -> Result<Vec<Read>, ParseError> {
    read_chunks(format, Limits::default(), &[body.as_bytes()])
}

fn one(format: Format, line: &str) -> Read {
    let end = if format == Format::OpenMetrics { "# EOF\n" } else { "" };
    let mut all = read(format, &format!("{line}\n{end}")).unwrap();
    assert_eq!(all.len(), 1, "{line}");
    all.remove(0)
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[rstest]
#[case("up 1", "up", &[], 1.0, None)]
#[case("up{} 1", "up", &[], 1.0, None)]
#[case("  up\t{a=\"b\"}\t1 1700000000123  ", "up", &[("a", "b")], 1.0, Some(1_700_000_000_123))]
#[case("up{a=\"b\",} 1.5e3 -5", "up", &[("a", "b")], 1_500.0, Some(-5))]
#[case("up { a = \"b\" , c = \"d\" } +Inf", "up", &[("a", "b"), ("c", "d")], f64::INFINITY, None)]
#[case(r#"up{a="x,y}z",b="\"\\\n"} 2"#, "up", &[("a", "x,y}z"), ("b", "\"\\\n")], 2.0, None)]
#[case(r#"up{path="C:\dir"} 2"#, "up", &[("path", r"C:\dir")], 2.0, None)]
#[case("up{a=\"grün # {}\"} 2", "up", &[("a", "grün # {}")], 2.0, None)]
#[case(r#"{"metric.name", label="x"} 3"#, "metric.name", &[("label", "x")], 3.0, None)]
#[case(r#"{"metric.name"} 3"#, "metric.name", &[], 3.0, None)]
#[case(r#"{"nom \"é\"", "label.name"="x"} 3 7"#, "nom \"é\"", &[("label.name", "x")], 3.0, Some(7))]
#[case("ns:rule:sum 4", "ns:rule:sum", &[], 4.0, None)]
#[case("up 1\r", "up", &[], 1.0, None)]
fn a_text_line_is_read(#[case] line: &str, #[case] name: &str, #[case] labels: &[(&str, &str)], #[case] value: f64, #[case] stamp: Option<i64>) {
    assert_eq!(one(Format::Text, line), (name.to_owned(), owned(labels), value, stamp));
}

#[rstest]
#[case("foo_total 17.0 1520879607.789", "foo_total", 17.0, Some(1_520_879_607_789))]
#[case("foo_total 17.0 1520879607.789 # {trace_id=\"KOO5S4vxi0o\"} 0.67", "foo_total", 17.0, Some(1_520_879_607_789))]
#[case("foo_bucket{le=\"0.1\"} 8 # {} 0.054 1520879607.789", "foo_bucket", 8.0, None)]
#[case("foo_created 1520430000.123", "foo_created", 1_520_430_000.123, None)]
fn an_openmetrics_line_is_read(#[case] line: &str, #[case] name: &str, #[case] value: f64, #[case] stamp: Option<i64>) {
    let (found, _, number, time) = one(Format::OpenMetrics, line);
    assert_eq!((found.as_str(), number, time), (name, value, stamp));
}

#[rstest]
#[case("up")]
#[case("up{")]
#[case("up{a=\"b\" 1")]
#[case("up{a=\"b} 1")]
#[case("up{a=b} 1")]
#[case("up{a} 1")]
#[case("up{a=\"b\" c=\"d\"} 1")]
#[case("up{a=\"1\",a=\"2\"} 1")]
#[case("up{\"other\"} 1")]
#[case("up{1a=\"b\"} 1")]
#[case("{a=\"b\"} 1")]
#[case("{\"\"} 1")]
#[case("up one")]
#[case("up 0x1p4")]
#[case("up 1 2 3")]
#[case("up 1 1.5")]
#[case("up 1 # {a=\"b\"} 1")]
#[case("<html>")]
#[case("{\"status\":\"ok\"}")]
#[case("1up 1")]
fn a_line_that_is_no_metric_is_refused_with_its_number(#[case] line: &str) {
    let error = read(Format::Text, &format!("ok 1\n{line}\n")).unwrap_err();
    assert!(matches!(error, ParseError::Malformed { line: 2, .. }), "{line}: {error}");
}

#[test]
fn comments_help_types_blank_lines_and_repeated_families_are_no_samples_and_no_errors() {
    let body = "# HELP up Says \\n \\\\ and \"this\"\n# TYPE up gauge\nup 1\n\n#\n# EOF\nother 1\n# TYPE up gauge\nup 2\n";
    assert_eq!(read(Format::Text, body).unwrap().len(), 3);
}

#[test]
fn a_body_that_was_cut_is_an_error_and_not_a_smaller_number() {
    assert_eq!(read(Format::Text, "up 1234\nup 12").unwrap_err(), ParseError::Truncated(2));
    assert_eq!(read(Format::OpenMetrics, "up 1234\n").unwrap_err(), ParseError::MissingEof);
    assert!(read(Format::OpenMetrics, "up 1234\n# EOF").is_ok());
    assert!(read(Format::Text, "").is_ok());
}

#[test]
fn nothing_may_follow_the_end_of_an_openmetrics_body() {
    assert!(matches!(read(Format::OpenMetrics, "# EOF\nup 1\n").unwrap_err(), ParseError::Malformed { line: 2, .. }));
}

#[test]
fn every_limit_has_its_own_error() {
    let limits = Limits { max_body: 200, max_line: 60, max_samples: 3, max_labels: 2 };
    let read = |body: &str| read_chunks(Format::Text, limits, &[body.as_bytes()]).unwrap_err();
    assert_eq!(read(&"a 1\n".repeat(51)), ParseError::BodyTooLarge(200));
    assert_eq!(read(&format!("a 1\n# {}\n", "x".repeat(70))), ParseError::LineTooLong { line: 2, limit: 60 });
    assert_eq!(read(&"x".repeat(100)), ParseError::LineTooLong { line: 1, limit: 60 });
    assert_eq!(read(&"a 1\n".repeat(4)), ParseError::TooManySamples(3));
    assert_eq!(read("a{b=\"\",c=\"\",d=\"\"} 1\n"), ParseError::TooManyLabels { line: 1, limit: 2 });
}

#[test]
fn labels_that_are_not_utf8_are_refused() {
    let error = read_chunks(Format::Text, Limits::default(), &[b"up{a=\"\xff\"} 1\n"]).unwrap_err();
    assert!(error.to_string().contains("not UTF-8"), "{error}");
}

#[test]
fn families_that_nobody_wants_are_skipped_without_a_look_at_their_labels() {
    let mut asked = std::cell::RefCell::new(Vec::new());
    let mut found = 0;
    let mut parser = Parser::new(Format::Text, Limits::default());
    let body = "noise{a=\"1\"} 1\nnoise{a=broken} 2\nwanted 3\nnoise 4\n";
    let wanted = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        (name == "wanted").then_some(7)
    };
    parser.feed(body.as_bytes(), &wanted, &mut |id, _| found += id).unwrap();
    assert_eq!(found, 7);
    assert_eq!(asked.get_mut().as_slice(), ["noise", "wanted", "noise"]);
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), (0_u64..1 << 53).prop_map(|n| n as f64), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY)]
}

/// Name between the braces, name, labels, value, timestamp.
type Made = (bool, String, Vec<(String, String)>, f64, Option<i64>);

fn sample() -> impl Strategy<Value = Made> {
    let labels = prop::collection::btree_map("[a-zA-Z_][a-zA-Z0-9_]{0,8}", ".{0,12}|[\\\\\"\n,}]{0,4}", 0..5);
    (any::<bool>(), "[a-zA-Z_:][a-zA-Z0-9_:]{0,12}", labels, value(), prop::option::of(-1_000_000_000_000_i64..4_000_000_000_000))
        .prop_map(|(quoted, name, labels, value, stamp)| (quoted, name, labels.into_iter().collect(), value, stamp))
}

fn written(format: Format, samples: &[Made]) -> String {
    let mut body = String::from("# HELP a b\\n\n");
    for (quoted, name, labels, value, stamp) in samples {
        let mut parts: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        if *quoted {
            parts.insert(0, format!("\"{name}\""));
        } else {
            body.push_str(name);
        }
        body.push_str(&format!("{{{}}} {value:?}", parts.join(",")));
        match (stamp, format) {
            (Some(ms), Format::Text) => body.push_str(&format!(" {ms}")),
            (Some(ms), Format::OpenMetrics) => body.push_str(&format!(" {:.3}", *ms as f64 / 1_000.0)),
            (None, _) => {}
        }
        body.push('\n');
    }
    if format == Format::OpenMetrics {
        body.push_str("# EOF\n");
    }
    body
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_however_it_is_cut(samples in prop::collection::vec(sample(), 0..8), openmetrics: bool, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let format = if openmetrics { Format::OpenMetrics } else { Format::Text };
        let body = written(format, &samples);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len())).collect();
        at.extend([0, body.len()]);
        at.sort_unstable();
        let chunks: Vec<&[u8]> = at.windows(2).map(|pair| &body.as_bytes()[pair[0]..pair[1]]).collect();
        let read = read_chunks(format, Limits::default(), &chunks).unwrap();
        prop_assert_eq!(read.len(), samples.len());
        for ((name, labels, number, time), (_, expected, pairs, value, stamp)) in read.iter().zip(&samples) {
            prop_assert_eq!(name, expected);
            prop_assert_eq!(labels, pairs);
            prop_assert!(number.to_bits() == value.to_bits() || (number.is_nan() && value.is_nan()) || number == value);
            prop_assert_eq!(time, stamp);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..400), openmetrics: bool) {
        let format = if openmetrics { Format::OpenMetrics } else { Format::Text };
        let _ = read_chunks(format, Limits::default(), &[&body]);
    }

    #[test]
    fn no_text_that_is_nearly_right_makes_it_panic(body in r#"([a-z{}"\\=, #\n]|up|EOF|NaN|1e9|[0-9.é]){0,80}"#, openmetrics: bool) {
        let format = if openmetrics { Format::OpenMetrics } else { Format::Text };
        let _ = read(format, &body);
    }

    #[test]
    fn every_prefix_of_a_body_is_an_error_or_ends_with_a_whole_line(samples in prop::collection::vec(sample(), 1..5), cut in any::<prop::sample::Index>()) {
        let body = written(Format::Text, &samples);
        let cut = cut.index(body.len());
        let prefix = &body.as_bytes()[..cut];
        if read_chunks(Format::Text, Limits::default(), &[prefix]).is_ok() {
            prop_assert!(prefix.is_empty() || prefix.ends_with(b"\n"));
        }
        let body = written(Format::OpenMetrics, &samples);
        prop_assert!(read_chunks(Format::OpenMetrics, Limits::default(), &[&body.as_bytes()[..cut]]).is_err());
    }
}
