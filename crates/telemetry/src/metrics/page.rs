//! `GET /metrics`, in the format that the client accepts.

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::Metrics;

/// The route; empty when nothing is scraped.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(metrics: Metrics) -> Router<S> {
    if metrics.page.is_none() {
        return Router::new();
    }
    let page = move |headers: HeaderMap| async move {
        let Some(openmetrics) = metrics.exposition() else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let format = Format::accepted(&headers);
        let text = match format {
            Format::OpenMetrics => openmetrics,
            Format::Text => text_format(&openmetrics),
        };
        let headers = [
            (header::CONTENT_TYPE, format.content_type()),
            (header::VARY, "accept"),
        ];
        (headers, text).into_response()
    };
    Router::new().route("/metrics", get(page))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus' text format, version 0.0.4: without exemplars.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// By the weights of `Accept`. The text format is for every client that says nothing or accepts neither; OpenMetrics
    /// wins a tie only where it is named.
    fn accepted(headers: &HeaderMap) -> Self {
        let ranges: Vec<Range<'_>> = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(Range::read)
            .collect();
        // The narrowest range that covers a format decides, whatever the others weigh.
        let weigh = |media_type, version| {
            let matching = ranges.iter().filter_map(|range| {
                let narrow = range.covers(media_type, version)?;
                Some((narrow, range.weight))
            });
            matching
                .max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
                .unwrap_or((Narrow::Everything, 0.0))
        };
        let (named, openmetrics) = weigh("application/openmetrics-text", "1.0.0");
        let (_, text) = weigh("text/plain", "0.0.4");
        let wins_tie = named == Narrow::Type && openmetrics > 0.0;
        if openmetrics > text || (wins_tie && openmetrics >= text) {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }
}

/// How narrow a range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Narrow {
    Everything,
    Family,
    Type,
}

/// One range of `Accept`.
#[derive(Debug)]
struct Range<'a> {
    media_type: &'a str,
    version: Option<&'a str>,
    weight: f32,
}

impl<'a> Range<'a> {
    /// `None` for a range with a weight that is none.
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self {
            media_type: parts.next()?,
            version: None,
            weight: 1.0,
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => range.weight = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
                "version" => range.version = Some(value),
                _ => {}
            }
        }
        Some(range)
    }

    fn covers(&self, media_type: &str, version: &str) -> Option<Narrow> {
        let family = media_type.split('/').next().unwrap_or_default();
        if self.media_type.eq_ignore_ascii_case(media_type) {
            let fits = self.version.is_none_or(|wanted| wanted == version);
            fits.then_some(Narrow::Type)
        } else if self.media_type == "*/*" {
            Some(Narrow::Everything)
        } else {
            let wanted = self.media_type.strip_suffix("/*")?;
            wanted
                .eq_ignore_ascii_case(family)
                .then_some(Narrow::Family)
        }
    }
}

/// Prometheus' text format of an OpenMetrics page: `prometheus-client` writes that one only. A counter's family has the
/// name of its series, an info is a gauge, and units, exemplars and the end have no place in it.
pub(super) fn text_format(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.split_terminator('\n') {
        if let Some(of_family) = line.strip_prefix("# HELP ") {
            help = of_family.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap_or((family, "unknown"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            let help = help.replace("\\\"", "\"");
            text.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            text.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(without_exemplar(line));
            text.push('\n');
        }
    }
    text
}

/// The exemplar begins with the first `#` that is in no label.
fn without_exemplar(sample: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in sample.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '#' if !quoted => return sample[..at].trim_end(),
            _ => {}
        }
    }
    sample
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use axum::response::Response;
    use opentelemetry::KeyValue;
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use tower::ServiceExt;

    use super::super::strict;
    use super::*;
    use crate::settings::Signal;

    const PROMETHEUS_2: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

    #[test]
    fn the_format_is_the_one_that_weighs_most() {
        let accepted = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::ACCEPT, value.parse().unwrap());
            }
            Format::accepted(&headers)
        };
        for values in [
            &[PROMETHEUS_2][..],
            &[PROMETHEUS_3],
            &["application/openmetrics-text"],
            &["APPLICATION/OpenMetrics-Text; Version=\"1.0.0\""],
            &["text/plain;q=0.5", "application/openmetrics-text;q=0.7"],
            &["application/openmetrics-text, text/plain"],
            &["application/openmetrics-text;q=0.3, */*;q=0.3"],
            &["application/*"],
            &["text/plain;q=0.2, */*;q=0.4"],
            &["text/plain;q=0, */*"],
        ] {
            assert_eq!(accepted(values), Format::OpenMetrics, "{values:?}");
        }
        for values in [
            &[][..],
            &[""],
            &["*/*"],
            &["text/*"],
            &["text/plain;version=0.0.4"],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            &["application/json"],
            &["application/openmetrics-text;version=0.0.1"],
            &["application/openmetrics-text;q=0.3,text/plain;q=0.4"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=0,*/*"],
            &["application/openmetrics-text;q=nan"],
            &["application/openmetrics-text;q=2"],
            &["application/*;q=0.5, */*;q=0.5"],
            &[";;,=,;q", "nonsense"],
        ] {
            assert_eq!(accepted(values), Format::Text, "{values:?}");
        }
    }

    #[test]
    fn the_text_format_has_no_place_for_units_exemplars_and_the_end() {
        let openmetrics = r##"# HELP target Resource.
# TYPE target info
target_info{a="\" # {",b="\\"} 1
# HELP d_seconds Say \"d\" \\.
# TYPE d_seconds histogram
# UNIT d_seconds seconds
d_seconds_sum{r="#"} 0.2
d_seconds_count{r="#"} 1
d_seconds_bucket{le="1.0",r="#"} 1 # {trace_id="abc"} 0.2 1700000000.5
d_seconds_bucket{le="+Inf",r="#"} 1
# HELP c Count.
# TYPE c counter
c_total{} 3
# HELP g Level.
# TYPE g gauge
g 1.5
# EOF
"##;
        let text = r##"# HELP target_info Resource.
# TYPE target_info gauge
target_info{a="\" # {",b="\\"} 1
# HELP d_seconds Say "d" \\.
# TYPE d_seconds histogram
d_seconds_sum{r="#"} 0.2
d_seconds_count{r="#"} 1
d_seconds_bucket{le="1.0",r="#"} 1
d_seconds_bucket{le="+Inf",r="#"} 1
# HELP c_total Count.
# TYPE c_total counter
c_total{} 3
# HELP g Level.
# TYPE g gauge
g 1.5
"##;
        assert_eq!(text_format(openmetrics), text);
        assert_eq!(strict::samples(openmetrics, Format::OpenMetrics), Ok(7));
        assert_eq!(strict::samples(text, Format::Text), Ok(7));
    }

    async fn asked(metrics: &Metrics, method: &str, accept: &str) -> (Response, String) {
        let request = Request::builder()
            .method(method)
            .uri("/metrics")
            .header("accept", accept)
            .body(Body::empty())
            .unwrap();
        let response = router(metrics.clone()).oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let body = String::from_utf8(body.to_vec()).unwrap();
        (Response::from_parts(parts, Body::empty()), body)
    }

    #[tokio::test]
    async fn the_answer_says_its_format_and_what_it_depends_on() {
        let metrics = Metrics::new(None, true, &[("service.name".into(), "users".into())]);
        metrics.runtime();
        for (accept, kind) in [
            (
                PROMETHEUS_2,
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
            ),
            ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ] {
            let (response, body) = asked(&metrics, "GET", accept).await;
            assert_eq!(response.headers()["content-type"], kind);
            assert_eq!(response.headers()["vary"], "accept");
            assert_eq!(body.ends_with("# EOF\n"), accept == PROMETHEUS_2);
            assert_eq!(body.contains("# UNIT"), accept == PROMETHEUS_2);
            let (response, body) = asked(&metrics, "HEAD", accept).await;
            assert_eq!(response.headers()["content-type"], kind);
            assert_eq!(body, "");
        }
    }

    /// Pieces that names, values and descriptions are made of: what has a meaning on the page, and what has none.
    const PIECES: [&str; 22] = [
        "a",
        "B",
        "b_",
        ".",
        "_",
        "__",
        "0",
        "9x",
        "é",
        "\u{1f980}",
        "\"",
        "\\",
        "\n",
        "\r",
        "\0",
        "{",
        "}",
        ",",
        "=\"",
        " # {",
        "le",
        "name",
    ];

    fn text(random: &mut StdRng) -> String {
        let pieces = random.random_range(0..5);
        (0..pieces)
            .map(|_| PIECES[random.random_range(0..PIECES.len())])
            .collect()
    }

    /// A page of names that none chose well, the same for the same seed.
    fn page(seed: u64) -> String {
        let random = &mut StdRng::seed_from_u64(seed);
        let resource: Vec<_> = (0..6).map(|_| (text(random), text(random))).collect();
        let metrics = Metrics::new(None, true, &resource);
        metrics.exports(Signal::Traces, std::sync::Arc::default());
        metrics.runtime();
        let ids = (TraceId::from(0xabc_u128), SpanId::from(0xdef_u64));
        let (sampled, state) = (TraceFlags::SAMPLED, TraceState::default());
        let span = SpanContext::new(ids.0, ids.1, sampled, false, state);
        for _ in 0..4 {
            let (name, description) = (text(random).leak(), text(random).leak());
            let histogram = metrics.duration(name, description);
            for _ in 0..4 {
                let pairs: Vec<_> = (0..random.random_range(0..5))
                    .map(|_| KeyValue::new(text(random), text(random)))
                    .collect();
                let series = histogram.bind(&pairs);
                if random.random() {
                    series.record(random.random_range(0.0..60.0), Some(&span));
                }
            }
        }
        metrics.exposition().unwrap()
    }

    #[test]
    fn no_name_value_or_description_makes_an_invalid_page() {
        for seed in 0..500 {
            let openmetrics = page(seed);
            let count = strict::samples(&openmetrics, Format::OpenMetrics)
                .unwrap_or_else(|wrong| panic!("{wrong}, seed {seed}, in\n{openmetrics}"));
            let text = text_format(&openmetrics);
            let same = strict::samples(&text, Format::Text)
                .unwrap_or_else(|wrong| panic!("{wrong}, seed {seed}, in\n{text}"));
            assert_eq!(count, same, "seed {seed}");
        }
    }
}
