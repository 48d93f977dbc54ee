//! Reads profiles, by pprof's `profile.proto`.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test file uses its part"
)]

use std::collections::HashMap;
use std::io::Read;

use flate2::read::GzDecoder;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Pprof {
    #[prost(message, repeated, tag = "1")]
    sample_types: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Raw>,
    #[prost(message, repeated, tag = "4")]
    locations: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    functions: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    strings: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Raw {
    #[prost(uint64, repeated, tag = "1")]
    locations: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    values: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    labels: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    text: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    lines: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) count: i64,
    pub(crate) nanoseconds: i64,
    pub(crate) labels: HashMap<String, String>,
    /// The innermost first.
    pub(crate) functions: Vec<String>,
}

impl Sample {
    pub(crate) fn is_in(&self, function: &str) -> bool {
        self.functions.iter().any(|name| name.contains(function))
    }
}

#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) types: Vec<(String, String)>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) period: i64,
    pub(crate) seconds: f64,
}

impl Profile {
    pub(crate) fn read(gzip: &[u8]) -> Self {
        let mut bytes = Vec::new();
        GzDecoder::new(gzip).read_to_end(&mut bytes).unwrap();
        let pprof = Pprof::decode(&*bytes).unwrap();
        let text = |index: i64| pprof.strings[usize::try_from(index).unwrap()].clone();
        let functions: HashMap<u64, String> = pprof
            .functions
            .iter()
            .map(|function| (function.id, text(function.name)))
            .collect();
        let locations: HashMap<u64, String> = pprof
            .locations
            .iter()
            .map(|location| (location.id, functions[&location.lines[0].function].clone()))
            .collect();
        let samples = pprof.samples.iter().map(|sample| Sample {
            count: sample.values[0],
            nanoseconds: sample.values[1],
            labels: sample
                .labels
                .iter()
                .map(|label| (text(label.key), text(label.text)))
                .collect(),
            functions: sample
                .locations
                .iter()
                .map(|id| locations[id].clone())
                .collect(),
        });
        assert_eq!(pprof.strings[0], "");
        assert!(pprof.time_nanos > 1_700_000_000_000_000_000);
        Self {
            types: pprof
                .sample_types
                .iter()
                .map(|kind| (text(kind.kind), text(kind.unit)))
                .collect(),
            samples: samples.collect(),
            period: pprof.period,
            seconds: std::time::Duration::from_nanos(pprof.duration_nanos.unsigned_abs())
                .as_secs_f64(),
        }
    }

    /// Samples with this label, and how many of them are in `function`.
    pub(crate) fn counts(&self, label: (&str, &str), function: &str) -> (i64, i64) {
        let labelled = self
            .samples
            .iter()
            .filter(|sample| sample.labels.get(label.0).is_some_and(|v| v == label.1));
        labelled.fold((0, 0), |(all, within), sample| {
            let inside = if sample.is_in(function) {
                sample.count
            } else {
                0
            };
            (all + sample.count, within + inside)
        })
    }
}
