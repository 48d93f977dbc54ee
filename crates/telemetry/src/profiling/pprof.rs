//! A profile in the format of pprof: protobuf in gzip.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use super::symbols::Symbols;
use super::{PERIOD, Profile, Stack, tag};

/// Field numbers are those of pprof's `profile.proto`; text is an index of `strings`.
#[derive(Clone, PartialEq, Message)]
struct Pprof {
    #[prost(message, repeated, tag = "1")]
    sample_types: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mappings: Vec<Mapping>,
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
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
    #[prost(int64, repeated, tag = "13")]
    comments: Vec<i64>,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
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

#[derive(Clone, Copy, PartialEq, Message)]
struct Mapping {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    start: u64,
    #[prost(uint64, tag = "3")]
    end: u64,
    #[prost(uint64, tag = "4")]
    offset: u64,
    #[prost(int64, tag = "5")]
    file: i64,
    #[prost(bool, tag = "7")]
    has_functions: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(uint64, tag = "2")]
    mapping: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
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
    #[prost(int64, tag = "3")]
    system_name: i64,
}

/// What is known of addresses, for all profiles of the process.
static SYMBOLS: LazyLock<Mutex<Symbols>> = LazyLock::new(Mutex::default);

/// Names the functions, which may read files: not for async threads.
pub(super) fn encode(profile: &Profile) -> Vec<u8> {
    let mut symbols = SYMBOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let addresses = profile.stacks.keys().flat_map(|stack| &*stack.frames);
    symbols.resolve(addresses.copied());
    let pprof = Writer::new(&symbols).write(profile);
    drop(symbols);
    gzip(&pprof.encode_to_vec())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // The default level takes twice the time for a tenth of the size.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

struct Writer<'a> {
    symbols: &'a Symbols,
    pprof: Pprof,
    strings: HashMap<String, i64>,
    mappings: HashMap<usize, u64>,
    functions: HashMap<usize, u64>,
    /// The location of an address; `None` where there is no code.
    locations: HashMap<u64, Option<u64>>,
}

impl<'a> Writer<'a> {
    fn new(symbols: &'a Symbols) -> Self {
        let mut writer = Self {
            symbols,
            pprof: Pprof::default(),
            strings: HashMap::new(),
            mappings: HashMap::new(),
            functions: HashMap::new(),
            locations: HashMap::new(),
        };
        // The format wants it first.
        writer.string("");
        writer
    }

    fn write(mut self, profile: &Profile) -> Pprof {
        let count = self.value_type("samples", "count");
        let cpu = self.value_type("cpu", "nanoseconds");
        self.pprof.sample_types = vec![count, cpu];
        self.pprof.default_sample_type = cpu.kind;
        self.pprof.period_type = Some(cpu);
        self.pprof.period = signed(PERIOD.as_nanos());
        let at = profile.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.pprof.time_nanos = signed(at.as_nanos());
        self.pprof.duration_nanos = signed(profile.duration.as_nanos());
        if profile.dropped > 0 {
            let comment = self.string(&format!("{} samples did not fit", profile.dropped));
            self.pprof.comments.push(comment);
        }
        for (stack, count) in &profile.stacks {
            let sample = Sample {
                locations: self.stack(&stack.frames),
                values: vec![
                    signed(*count),
                    signed(u128::from(*count) * PERIOD.as_nanos()),
                ],
                labels: self.labels(stack),
            };
            self.pprof.samples.push(sample);
        }
        self.pprof
    }

    fn value_type(&mut self, kind: &str, unit: &str) -> ValueType {
        let (kind, unit) = (self.string(kind), self.string(unit));
        ValueType { kind, unit }
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(number) = self.strings.get(text) {
            return *number;
        }
        let number = signed(self.pprof.strings.len());
        self.pprof.strings.push(text.to_owned());
        self.strings.insert(text.to_owned(), number);
        number
    }

    /// What Pyroscope calls a span's samples: no trace id, which would only repeat what the span's does.
    fn labels(&mut self, stack: &Stack) -> Vec<Label> {
        let Some(name) = tag::name(stack.tag.name) else {
            return Vec::new();
        };
        let mut labels = vec![("span_name", name.to_string())];
        if stack.tag.span != 0 {
            labels.push(("span_id", format!("{:016x}", stack.tag.span)));
        }
        labels
            .into_iter()
            .map(|(key, text)| Label {
                key: self.string(key),
                text: self.string(&text),
            })
            .collect()
    }

    /// The locations of a stack, up to where it stops being one: a chain of frame pointers that went
    /// through code without them can end in something else.
    fn stack(&mut self, frames: &[u64]) -> Vec<u64> {
        let locations = frames.iter().map_while(|address| self.location(*address));
        locations.collect()
    }

    fn location(&mut self, address: u64) -> Option<u64> {
        if let Some(location) = self.locations.get(&address) {
            return *location;
        }
        let id = self.symbols.place(address).map(|(module, function)| {
            let (mapping, function) = (self.mapping(module), self.function(function));
            let id = self.pprof.locations.len() as u64 + 1;
            self.pprof.locations.push(Location {
                id,
                mapping,
                address,
                lines: vec![Line { function }],
            });
            id
        });
        self.locations.insert(address, id);
        id
    }

    fn mapping(&mut self, number: usize) -> u64 {
        if let Some(id) = self.mappings.get(&number) {
            return *id;
        }
        let Some(module) = self.symbols.module_at(number) else {
            return 0;
        };
        let id = self.pprof.mappings.len() as u64 + 1;
        let mapping = Mapping {
            id,
            start: module.start,
            end: module.end,
            offset: module.offset,
            file: self.string(&module.path),
            has_functions: true,
        };
        self.pprof.mappings.push(mapping);
        self.mappings.insert(number, id);
        id
    }

    fn function(&mut self, number: usize) -> u64 {
        if let Some(id) = self.functions.get(&number) {
            return *id;
        }
        let Some(function) = self.symbols.function_at(number) else {
            return 0;
        };
        let id = self.pprof.functions.len() as u64 + 1;
        let function = Function {
            id,
            name: self.string(&function.name),
            system_name: self.string(&function.system_name),
        };
        self.pprof.functions.push(function);
        self.functions.insert(number, id);
        id
    }
}

/// Numbers of the format are signed; none here comes near the limit.
fn signed(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
