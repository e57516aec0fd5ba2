//! Batches to OTLP bytes. Pure. Called by `lane`, once a batch; a retry sends the same bytes.
//!
//! Encoding millions of small objects through allocated messages would cost more than sending
//! them. What is the same in many records (severity, body, the resource of a stream) is encoded
//! once, by prost, when a run starts; a record is then two timestamps, a copy of such a template
//! and its number. Protobuf allows that: fields may come in any order, and a message is the
//! concatenation of its fields. Tests decode the bytes with prost and compare.
use crate::config::SenderConfig;
use crate::num::{floor, index, mix, unit, wide};
use crate::pacer::Batch;
use crate::streams;
use bytes::{BufMut, Bytes, BytesMut};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use prost::encoding::{encode_varint, encoded_len_varint};

/// Tags of the fields written by hand: `number << 3 | wire type`.
mod tag {
    /// `ExportLogsServiceRequest.resource_logs`, `ResourceLogs.resource`, `ScopeLogs.scope`
    pub(super) const ONE: u8 = 0x0a;
    /// `ResourceLogs.scope_logs`, `ScopeLogs.log_records`, `KeyValue.value`
    pub(super) const TWO: u8 = 0x12;
    pub(super) const TIME: u8 = 0x09;
    pub(super) const OBSERVED_TIME: u8 = 0x59;
    pub(super) const ATTRIBUTES: u8 = 0x32;
    pub(super) const INT_VALUE: u8 = 0x18;
}

/// How many different bodies a run has, per severity weight: enough that compression and dedup on
/// the way see variety.
const TEMPLATES: u64 = 512;
/// Two timestamps: tag and 8 bytes each.
const TIMES: u64 = 18;
/// The attribute `seq` without its varint: two tags and lengths, the key, the value's tag.
const SEQ: u64 = 10;

/// Encodes the batches of one run.
pub(crate) struct Encoder {
    /// Per stream: the field `resource` of its `ResourceLogs`.
    resources: Vec<Vec<u8>>,
    /// The field `scope` of every `ScopeLogs`.
    scope: Vec<u8>,
    /// Severity and body of a record.
    templates: Vec<Vec<u8>>,
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }), ..KeyValue::default() }
}

/// `tag`, length and the bytes of `message`.
fn field(tag: u8, message: &impl Message) -> Vec<u8> {
    let mut out = vec![tag];
    encode_varint(wide(message.encoded_len()), &mut out);
    out.extend(message.encode_to_vec());
    out
}

/// Bytes of a length-delimited field with `len` bytes inside, tag and length included.
fn framed(len: u64) -> u64 {
    1 + wide(encoded_len_varint(len)) + len
}

impl Encoder {
    pub(crate) fn new(config: &SenderConfig) -> Self {
        let resource = |(i, name): (usize, String)| {
            let mut attributes = vec![text("service.name", &name), text("run", &config.run), text("telemetry.sdk.name", "weir-loadgen")];
            for (key, values) in &config.resource {
                let turn = i.checked_rem(values.len()).unwrap_or(0);
                attributes.extend(values.get(turn).map(|v| text(key, v)));
            }
            let resource = Resource { attributes, ..Resource::default() };
            field(tag::ONE, &resource)
        };
        let scope = InstrumentationScope { name: "weir-loadgen".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), ..InstrumentationScope::default() };
        Self {
            resources: streams::names(config.streams).into_iter().enumerate().map(resource).collect(),
            scope: field(tag::ONE, &scope),
            templates: (0..TEMPLATES).map(|i| template(config, i)).collect(),
        }
    }

    /// Severity and body of record `seq` of `stream`: a function of the two.
    fn template(&self, stream: usize, seq: u64) -> &[u8] {
        let choice = mix((wide(stream) << 44) ^ seq) % wide(self.templates.len()).max(1);
        self.templates.get(index(choice)).map_or(&[], Vec::as_slice)
    }

    /// The batch as an `ExportLogsServiceRequest`.
    pub(crate) fn encode(&self, batch: &Batch) -> Bytes {
        let record_len = |seq: u64| {
            let template = wide(self.template(batch.stream, seq).len());
            TIMES + SEQ + wide(encoded_len_varint(seq)) + template
        };
        let records: u64 = batch.numbers().map(|n| framed(record_len(n))).sum();
        let resource = self.resources.get(batch.stream).map_or(&[][..], Vec::as_slice);
        let scope_logs = wide(self.scope.len()) + records;
        let resource_logs = wide(resource.len()) + framed(scope_logs);

        let mut out = BytesMut::with_capacity(index(framed(resource_logs)));
        out.put_u8(tag::ONE);
        encode_varint(resource_logs, &mut out);
        out.put_slice(resource);
        out.put_u8(tag::TWO);
        encode_varint(scope_logs, &mut out);
        out.put_slice(&self.scope);
        for seq in batch.numbers() {
            let time = batch.time_of(seq);
            out.put_u8(tag::TWO);
            encode_varint(record_len(seq), &mut out);
            out.put_u8(tag::TIME);
            out.put_u64_le(time);
            out.put_u8(tag::OBSERVED_TIME);
            out.put_u64_le(time);
            out.put_slice(self.template(batch.stream, seq));
            let varint = wide(encoded_len_varint(seq));
            out.put_u8(tag::ATTRIBUTES);
            encode_varint(SEQ - 2 + varint, &mut out);
            out.put_slice(b"\x0a\x03seq");
            out.put_u8(tag::TWO);
            encode_varint(1 + varint, &mut out);
            out.put_u8(tag::INT_VALUE);
            encode_varint(seq, &mut out);
        }
        out.freeze()
    }
}

/// Severity and body number `i` of a run, encoded.
fn template(config: &SenderConfig, i: u64) -> Vec<u8> {
    let (severity_number, severity_text) = config.severities.pick(unit(i ^ 0x5e7e));
    let (low, high) = (config.body_bytes.0.max(1), config.body_bytes.1.max(1));
    // Sizes are log-uniform: many short lines and some long ones, as in logs of services.
    let (low, high) = (f64::from(low).ln(), f64::from(high).ln());
    let size = floor((low + (high - low) * unit(i ^ 0xb0d1)).exp().round());
    let record = LogRecord {
        severity_number,
        severity_text: severity_text.to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(body(i, index(size.max(1))))) }),
        ..LogRecord::default()
    };
    record.encode_to_vec()
}

/// A line of log of exactly `size` bytes, which looks like one.
fn body(i: u64, size: usize) -> String {
    const VERBS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
    const PATHS: [&str; 6] = ["/api/v1/orders", "/api/v1/carts", "/login", "/search?q=socks", "/healthz", "/checkout"];
    let pick = |of: &[&'static str], salt: u64| {
        let choice = mix(i ^ salt) % wide(of.len()).max(1);
        of.get(index(choice)).copied().unwrap_or_default()
    };
    let mut line =
        format!("{} {}/{} status={} took={}us", pick(&VERBS, 1), pick(&PATHS, 2), mix(i) % 100_000, 200 + mix(i ^ 3) % 4 * 100, mix(i ^ 4) % 900_000,);
    let mut more = 5;
    while line.len() < size {
        line.push_str(&format!(" k{}={:016x}", more % 16, mix(i ^ (more << 20))));
        more += 1;
    }
    line.truncate(size);
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::endpoint::Endpoint;
    use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
    use std::time::Instant;

    fn config() -> SenderConfig {
        let endpoint: Endpoint = "http://127.0.0.1:4317".parse().unwrap();
        let mut config = SenderConfig::new("r1", vec![endpoint]);
        config.streams = 3;
        config.body_bytes = (20, 400);
        config.resource = vec![("team".into(), vec!["red".into(), "blue".into()])];
        config
    }

    fn batch(stream: usize, first: u64, count: u64) -> Batch {
        Batch { stream, first, count, from_unix_ns: 1_000_000, until_unix_ns: 2_000_000, offered: Instant::now() }
    }

    #[test]
    fn prost_reads_back_every_field_of_a_batch() {
        let encoder = Encoder::new(&config());
        for (first, count) in [(0, 1), (126, 5), (16_380, 300), (u64::from(u32::MAX), 3)] {
            let bytes = encoder.encode(&batch(1, first, count));
            let request = ExportLogsServiceRequest::decode(bytes.clone()).unwrap();
            assert_eq!(request.encoded_len(), bytes.len(), "nothing that prost skipped");
            let logs = &request.resource_logs[0];
            let resource = &logs.resource.as_ref().unwrap().attributes;
            assert!(resource.contains(&text("service.name", "svc-01")));
            assert!(resource.contains(&text("run", "r1")));
            assert!(resource.contains(&text("team", "blue")));
            let records = &logs.scope_logs[0].log_records;
            assert_eq!(records.len() as u64, count);
            for (record, seq) in records.iter().zip(first..) {
                let attribute = &record.attributes[0];
                assert_eq!(attribute.key, "seq");
                let value = attribute.value.as_ref().unwrap().value.clone();
                assert_eq!(value, Some(Value::IntValue(seq.try_into().unwrap())));
                assert!((1_000_000..=2_000_000).contains(&record.time_unix_nano));
                assert_eq!(record.time_unix_nano, record.observed_time_unix_nano);
                assert!(record.severity_number > 0 && !record.severity_text.is_empty());
            }
            assert!(records.windows(2).all(|w| w[0].time_unix_nano <= w[1].time_unix_nano));
        }
    }

    #[test]
    fn bodies_keep_to_their_sizes_and_differ() {
        let encoder = Encoder::new(&config());
        let bytes = encoder.encode(&batch(0, 0, 2_000));
        let request = ExportLogsServiceRequest::decode(bytes).unwrap();
        let bodies: Vec<String> = request.resource_logs[0].scope_logs[0]
            .log_records
            .iter()
            .map(|r| match &r.body.as_ref().unwrap().value {
                Some(Value::StringValue(s)) => s.clone(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(bodies.iter().all(|b| (20..=400).contains(&b.len())));
        let mut different = bodies;
        different.sort();
        different.dedup();
        assert!(different.len() > 400);
    }
}
