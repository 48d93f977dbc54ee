//! Spans and log records as OTLP protobuf, written straight into a buffer.
//!
//! The SDK's way clones each span into a queue, converts it into a tree of messages, measures that
//! tree and writes it: most of what a span costs. Here a span is written once, when it ends. The
//! wire format is prost's; field numbers are those of opentelemetry-proto, and the tests compare
//! each message with what the SDK's conversion gives.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::logs::AnyValue;
use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLogRecord;
use opentelemetry_sdk::trace::SpanData;
use prost::encoding::{WireType, encoded_len_varint};

/// Bit 8 of a span's or a link's flags: it is known whether the parent is remote.
const HAS_IS_REMOTE: u32 = 0x100;
/// Bit 9: it is.
const IS_REMOTE: u32 = 0x200;

/// `ScopeSpans.spans` or `ScopeLogs.log_records`, by chance the same number.
pub(super) const ITEMS: u32 = 2;

/// One element of `ScopeSpans.spans`.
pub(super) fn span(out: &mut Vec<u8>, span: &SpanData) {
    message(out, ITEMS, |out| {
        let context = &span.span_context;
        bytes(out, 1, &context.trace_id().to_bytes());
        bytes(out, 2, &context.span_id().to_bytes());
        trace_state(out, 3, context);
        if span.parent_span_id != SpanId::INVALID {
            bytes(out, 4, &span.parent_span_id.to_bytes());
        }
        string(out, 5, &span.name);
        let kind = match span.span_kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        };
        uint(out, 6, kind);
        fixed64(out, 7, nanoseconds(span.start_time));
        fixed64(out, 8, nanoseconds(span.end_time));
        attributes(out, 9, &span.attributes);
        uint(out, 10, span.dropped_attributes_count.into());
        for event in span.events.iter() {
            message(out, 11, |out| self::event(out, event));
        }
        uint(out, 12, span.events.dropped_count.into());
        for link in span.links.iter() {
            message(out, 13, |out| self::link(out, link));
        }
        uint(out, 14, span.links.dropped_count.into());
        message(out, 15, |out| match &span.status {
            Status::Unset => {}
            Status::Ok => uint(out, 3, 1),
            Status::Error { description } => {
                string(out, 2, description);
                uint(out, 3, 2);
            }
        });
        fixed32(out, 16, flags(context, span.parent_span_is_remote));
    });
}

/// One element of `ScopeLogs.log_records`.
pub(super) fn log_record(out: &mut Vec<u8>, record: &SdkLogRecord) {
    message(out, ITEMS, |out| {
        fixed64(out, 1, record.timestamp().map_or(0, nanoseconds));
        // Severity numbers are the same in the API and on the wire, from 1 to 24.
        uint(
            out,
            2,
            record
                .severity_number()
                .map_or(0, |severity| severity as u64),
        );
        string(out, 3, record.severity_text().unwrap_or_default());
        if let Some(body) = record.body() {
            message(out, 5, |out| any_value(out, body));
        }
        for (key, value) in record.attributes_iter() {
            message(out, 6, |out| {
                string(out, 1, key.as_str());
                message(out, 2, |out| any_value(out, value));
            });
        }
        if let Some(context) = record.trace_context() {
            fixed32(
                out,
                8,
                context.trace_flags.map_or(0, |flags| flags.to_u8().into()),
            );
            bytes(out, 9, &context.trace_id.to_bytes());
            bytes(out, 10, &context.span_id.to_bytes());
        }
        fixed64(out, 11, record.observed_timestamp().map_or(0, nanoseconds));
        string(out, 12, record.event_name().unwrap_or_default());
    });
}

/// `ResourceSpans.resource` or `ResourceLogs.resource`.
pub(super) fn resource(out: &mut Vec<u8>, resource: &Resource) {
    message(out, 1, |out| {
        for (key, value) in resource {
            message(out, 1, |out| attribute(out, key.as_str(), value));
        }
    });
}

/// `ScopeSpans.scope` or `ScopeLogs.scope`; a log record's target stands for the scope's name.
pub(super) fn scope(out: &mut Vec<u8>, scope: &InstrumentationScope, name: &str) {
    message(out, 1, |out| {
        string(out, 1, name);
        string(out, 2, scope.version().unwrap_or_default());
        for kv in scope.attributes() {
            message(out, 3, |out| attribute(out, kv.key.as_str(), &kv.value));
        }
    });
}

/// `schema_url` of a resource's or of a scope's group.
pub(super) fn schema_url(out: &mut Vec<u8>, url: Option<&str>) {
    string(out, 3, url.unwrap_or_default());
}

fn event(out: &mut Vec<u8>, event: &Event) {
    fixed64(out, 1, nanoseconds(event.timestamp));
    string(out, 2, &event.name);
    attributes(out, 3, &event.attributes);
    uint(out, 4, event.dropped_attributes_count.into());
}

fn link(out: &mut Vec<u8>, link: &Link) {
    let context = &link.span_context;
    bytes(out, 1, &context.trace_id().to_bytes());
    bytes(out, 2, &context.span_id().to_bytes());
    trace_state(out, 3, context);
    attributes(out, 4, &link.attributes);
    uint(out, 5, link.dropped_attributes_count.into());
    fixed32(out, 6, flags(context, context.is_remote()));
}

fn trace_state(out: &mut Vec<u8>, tag: u32, context: &SpanContext) {
    let state = context.trace_state();
    // The empty state, which nearly every span has, makes no string.
    if *state != opentelemetry::trace::TraceState::NONE {
        string(out, tag, &state.header());
    }
}

fn flags(context: &SpanContext, remote: bool) -> u32 {
    let flags = u32::from(context.trace_flags().to_u8()) | HAS_IS_REMOTE;
    if remote { flags | IS_REMOTE } else { flags }
}

fn attributes(out: &mut Vec<u8>, tag: u32, attributes: &[KeyValue]) {
    for kv in attributes {
        message(out, tag, |out| attribute(out, kv.key.as_str(), &kv.value));
    }
}

fn attribute(out: &mut Vec<u8>, key: &str, value: &Value) {
    string(out, 1, key);
    message(out, 2, |out| match value {
        Value::Bool(value) => bool_value(out, *value),
        Value::I64(value) => int_value(out, *value),
        Value::F64(value) => double_value(out, *value),
        Value::String(value) => string_value(out, value.as_str()),
        Value::Array(array) => message(out, 5, |out| elements(out, array)),
        // The enum is open: what is not known yet is told as text.
        other => string_value(out, &other.as_str()),
    });
}

fn elements(out: &mut Vec<u8>, array: &Array) {
    match array {
        Array::Bool(values) => each(out, values, |out, value| bool_value(out, *value)),
        Array::I64(values) => each(out, values, |out, value| int_value(out, *value)),
        Array::F64(values) => each(out, values, |out, value| double_value(out, *value)),
        Array::String(values) => each(out, values, |out, value| string_value(out, value.as_str())),
        other => each(out, &[other], |out, value| {
            string_value(out, &value.to_string());
        }),
    }
}

fn each<T>(out: &mut Vec<u8>, values: &[T], write: impl Fn(&mut Vec<u8>, &T)) {
    for value in values {
        message(out, 1, |out| write(out, value));
    }
}

fn any_value(out: &mut Vec<u8>, value: &AnyValue) {
    match value {
        AnyValue::Int(value) => int_value(out, *value),
        AnyValue::Double(value) => double_value(out, *value),
        AnyValue::String(value) => string_value(out, value.as_str()),
        AnyValue::Boolean(value) => bool_value(out, *value),
        AnyValue::Bytes(value) => always_bytes(out, 7, value),
        AnyValue::ListAny(values) => {
            message(out, 5, |out| {
                each(out, values, any_value);
            });
        }
        AnyValue::Map(map) => message(out, 6, |out| {
            for (key, value) in map.iter() {
                message(out, 1, |out| {
                    string(out, 1, key.as_str());
                    message(out, 2, |out| any_value(out, value));
                });
            }
        }),
        other => string_value(out, &format!("{other:?}")),
    }
}

// The values of a `oneof`: written also when they are zero or empty.

fn string_value(out: &mut Vec<u8>, value: &str) {
    always_bytes(out, 1, value.as_bytes());
}

pub(super) fn bool_value(out: &mut Vec<u8>, value: bool) {
    key(out, 2, WireType::Varint);
    varint(out, value.into());
}

pub(super) fn int_value(out: &mut Vec<u8>, value: i64) {
    key(out, 3, WireType::Varint);
    varint(out, value.cast_unsigned());
}

pub(super) fn double_value(out: &mut Vec<u8>, value: f64) {
    key(out, 4, WireType::SixtyFourBit);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn always_bytes(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    key(out, tag, WireType::LengthDelimited);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

// Plain fields: left out when they are zero or empty.

pub(super) fn string(out: &mut Vec<u8>, tag: u32, value: &str) {
    bytes(out, tag, value.as_bytes());
}

fn bytes(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    if !value.is_empty() {
        always_bytes(out, tag, value);
    }
}

pub(super) fn uint(out: &mut Vec<u8>, tag: u32, value: u64) {
    if value != 0 {
        key(out, tag, WireType::Varint);
        varint(out, value);
    }
}

pub(super) fn fixed64(out: &mut Vec<u8>, tag: u32, value: u64) {
    if value != 0 {
        key(out, tag, WireType::SixtyFourBit);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

pub(super) fn fixed32(out: &mut Vec<u8>, tag: u32, value: u32) {
    if value != 0 {
        key(out, tag, WireType::ThirtyTwoBit);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A message inside a message. Its length stands before it and is known after it: one byte is kept
/// free, and what was written moves on for the few messages that need more.
pub(super) fn message(out: &mut Vec<u8>, tag: u32, write: impl FnOnce(&mut Vec<u8>)) {
    key(out, tag, WireType::LengthDelimited);
    let at = out.len();
    out.push(0);
    write(out);
    let length = out.len() - at - 1;
    if let Ok(byte) = u8::try_from(length)
        && byte < 0x80
    {
        out[at] = byte;
        return;
    }
    let width = encoded_len_varint(length as u64);
    out.resize(out.len() + width - 1, 0);
    out.copy_within(at + 1..at + 1 + length, at + width);
    let mut place = &mut out[at..at + width];
    prost::encoding::encode_varint(length as u64, &mut place);
}

/// What stands before a message inside a message whose length is known.
pub(super) fn message_head(out: &mut Vec<u8>, tag: u32, length: usize) {
    key(out, tag, WireType::LengthDelimited);
    varint(out, length as u64);
}

#[inline]
fn key(out: &mut Vec<u8>, tag: u32, wire_type: WireType) {
    varint(out, u64::from(tag << 3 | wire_type as u32));
}

/// Nearly all of them are one byte long: lengths of short texts, keys, small numbers.
#[inline]
fn varint(out: &mut Vec<u8>, value: u64) {
    match u8::try_from(value) {
        Ok(byte) if byte < 0x80 => out.push(byte),
        _ => prost::encoding::encode_varint(value, out),
    }
}

pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    // Nanoseconds fit until the year 2554.
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
