//! The service with the database, asked directly: for CPU work, and for a profile of it.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;

use flate2::read::GzDecoder;
use prost::Message;
use reqwest::header::{HeaderMap, HeaderValue};
use url::Url;

use super::Answer;
use crate::http::{self, AskError, Http, Raw};

/// Unpacked, a profile of some seconds is far smaller.
const MAX_PROFILE: u64 = 64 << 20;

/// A client of users.
#[derive(Clone, Debug)]
pub struct Users {
    http: Http,
    base: Url,
}

/// A CPU profile, as far as it is looked at.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    pub stacks: Vec<Stack>,
}

/// Samples of one stack for one span.
#[derive(Clone, Debug, Default)]
pub struct Stack {
    pub samples: u64,
    pub labels: BTreeMap<String, String>,
    /// The innermost first.
    pub functions: Vec<String>,
}

impl Users {
    #[must_use]
    pub fn new(http: Http, base: Url) -> Self {
        Self { http, base }
    }

    fn profile_url(&self, seconds: u64) -> Url {
        let seconds = seconds.to_string();
        http::at(&self.base, "/debug/pprof/profile", &[("seconds", &seconds)])
    }

    #[must_use]
    pub fn asked(&self, seconds: u64) -> String {
        http::asked(&self.profile_url(seconds))
    }

    /// Has it work for so many seconds.
    ///
    /// # Errors
    /// When nothing answers. Any status is an answer.
    pub async fn work(&self, seconds: u64, traceparent: &str) -> Result<Answer, AskError> {
        let seconds = seconds.to_string();
        let url = http::at(&self.base, "/do_long_work", &[("sec", &seconds)]);
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(traceparent) {
            headers.insert("traceparent", value);
        }
        self.http.raw(&url, headers).await.map(Answer::from)
    }

    /// Profiles it for so many seconds.
    ///
    /// # Errors
    /// When nothing answers, or something else than a profile.
    pub async fn profile(&self, seconds: u64) -> Result<Profile, AskError> {
        let url = self.profile_url(seconds);
        let Raw { status, body, .. } = self.http.raw(&url, HeaderMap::new()).await?;
        let asked = http::asked(&url);
        if status != 200 {
            let body = http::quote(&body);
            return Err(AskError::Status {
                asked,
                status,
                body,
            });
        }
        Profile::read(&body).map_err(|cause| AskError::Shape {
            asked,
            cause,
            body: format!("{} bytes", body.len()),
        })
    }
}

/// Field numbers are those of pprof's `profile.proto`; text is an index of `strings`.
#[derive(Clone, PartialEq, Message)]
struct Pprof {
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    locations: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    functions: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    strings: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    locations: Vec<u64>,
    /// The first is a number of samples.
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

impl Profile {
    fn read(gzip: &[u8]) -> Result<Self, String> {
        let mut bytes = Vec::new();
        GzDecoder::new(gzip)
            .take(MAX_PROFILE)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("no gzip: {error}"))?;
        let pprof = Pprof::decode(&*bytes).map_err(|error| format!("no pprof: {error}"))?;
        let text = |index: i64| {
            let found = usize::try_from(index)
                .ok()
                .and_then(|i| pprof.strings.get(i));
            found.cloned().unwrap_or_default()
        };
        let names: HashMap<u64, String> = pprof
            .functions
            .iter()
            .map(|function| (function.id, text(function.name)))
            .collect();
        let functions: HashMap<u64, Vec<String>> = pprof
            .locations
            .iter()
            .map(|location| {
                let lines = location.lines.iter();
                let names = lines.filter_map(|line| names.get(&line.function).cloned());
                (location.id, names.collect())
            })
            .collect();
        let stacks = pprof.samples.iter().map(|sample| Stack {
            samples: sample
                .values
                .first()
                .and_then(|count| u64::try_from(*count).ok())
                .unwrap_or_default(),
            labels: sample
                .labels
                .iter()
                .map(|label| (text(label.key), text(label.text)))
                .collect(),
            functions: sample
                .locations
                .iter()
                .filter_map(|id| functions.get(id))
                .flatten()
                .cloned()
                .collect(),
        });
        Ok(Self {
            stacks: stacks.collect(),
        })
    }

    /// The stacks of a span.
    pub fn of_span<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a Stack> + Clone {
        let own = move |stack: &&Stack| stack.labels.get("span_id").is_some_and(|own| own == id);
        self.stacks.iter().filter(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_profile_says_what_is_wrong() {
        let failed = |bytes: &[u8]| Profile::read(bytes).expect_err("no profile");
        assert!(failed(b"<html>").starts_with("no gzip"));
        let mut gzip = flate2::read::GzEncoder::new(&b"\xff\xff"[..], flate2::Compression::fast());
        let mut bytes = Vec::new();
        gzip.read_to_end(&mut bytes).expect("memory");
        assert!(failed(&bytes).starts_with("no pprof"));
    }
}
