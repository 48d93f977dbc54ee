//! The page on which a person sees what a question is about: Prometheus' own for its queries, the console's for all else. The
//! console leads its walk the same way, by `services/console/web/src/pages/incidents/ways.ts`.

use url::Url;

use super::model::{Link, Question, TraceSearch};
use super::place::Place;
use super::template::TRACE;
use crate::http;

/// What is looked at happened in the last minutes.
const MINUTES: &str = "15";

/// A page, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) of: &'static str,
    pub(super) url: Url,
}

/// The page for a question. The trace of an earlier step is not known: what names one is shown for all of them.
pub(super) fn view(question: &Question, place: &Place) -> Result<View, String> {
    let (part, of) = match question {
        Question::Promql(_) => ("prometheus", "Prometheus"),
        _ => ("console", "the console"),
    };
    let base = place.addresses.get(part);
    let base = base.ok_or_else(|| format!("no {part} here"))?;
    let url = match question {
        Question::Promql(query) => {
            // The table, which has the numbers.
            let query = query.fill(&place.values());
            http::at(base, "/graph", &[("g0.expr", &query), ("g0.tab", "1")])
        }
        Question::Logs(query) => {
            let of_one_trace = format!(" | trace_id=`${{{TRACE}}}`");
            let query = query.fill(&place.values()).replace(&of_one_trace, "");
            http::at(base, "/logs", &[("query", &query), ("last", MINUTES)])
        }
        Question::Traces(search) => traces(base, search),
        // A profile is taken for as long as the page offers, and at once.
        Question::Profile(_) => {
            let query = [("service", "users"), ("seconds", "5"), ("span", "")];
            http::at(base, "/profiles", &query)
        }
        Question::Link(link) => http::at(base, &behind(link)?, &[]),
    };
    Ok(View { of, url })
}

fn traces(console: &Url, search: &TraceSearch) -> Url {
    let mut query = vec![
        ("service", search.service.clone()),
        ("lookback", MINUTES.to_owned()),
        ("sort", "slowest".to_owned()),
    ];
    if let Some(operation) = &search.operation {
        query.push(("operation", operation.clone()));
    }
    if let Some(time) = search.min_duration {
        query.push(("min", format!("{}ms", time.as_millis())));
    }
    let attributes: Vec<String> = search
        .tags
        .iter()
        .map(|(name, value)| match value.contains(char::is_whitespace) {
            true => format!("{name}=\"{value}\""),
            false => format!("{name}={value}"),
        })
        .collect();
    if !attributes.is_empty() {
        query.push(("attributes", attributes.join(" ")));
    }
    let query: Vec<(&str, &str)> = query
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    http::at(console, "/traces", &query)
}

/// The console's page about what an API tells.
fn behind(link: &Link) -> Result<String, String> {
    let url = link.url.to_string();
    let scraped = url
        .strip_prefix("${prometheus}/api/v1/targets?")
        .and_then(|query| {
            query
                .split('&')
                .find_map(|each| each.strip_prefix("scrapePool="))
        });
    if let Some(service) = scraped {
        return Ok(format!("/services/{service}"));
    }
    if url.starts_with("${alertmanager}/api/v2/alerts") {
        return Ok("/slos".to_owned());
    }
    Err(format!(
        "no page shows {url}: expected a trace of ${{jaeger}}, alerts of ${{alertmanager}} or ${{prometheus}}'s targets with `scrapePool=`"
    ))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use yaml_file::FromText;

    use super::*;
    use crate::scenario::Template;

    fn shown(question: &Question) -> Result<String, String> {
        let mut place = Place::default();
        for (name, port) in [("prometheus", 9090), ("console", 8088)] {
            let url = Url::parse(&format!("http://localhost:{port}")).unwrap();
            place.addresses.insert(name.to_owned(), url);
        }
        let view = view(question, &place)?;
        Ok(format!("{}: {}", view.of, view.url))
    }

    fn text(text: &str) -> Template {
        Template::from_text(text).unwrap()
    }

    fn link(url: &str) -> Question {
        Question::Link(Link {
            url: text(url),
            shows: None,
            lacks: None,
        })
    }

    #[test]
    fn every_question_has_a_page_for_a_person() {
        let search = TraceSearch {
            service: "users".to_owned(),
            operation: Some("GET /users".to_owned()),
            tags: [("a", "500"), ("b", "two words")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            min_duration: Some(Duration::from_millis(1500)),
            with: None,
        };
        for (question, page) in [
            (
                Question::Promql(text("up{job=\"a\"} > 0")),
                "Prometheus: http://localhost:9090/graph?g0.expr=up%7Bjob%3D%22a%22%7D+%3E+0&g0.tab=1",
            ),
            (
                Question::Logs(text("{a=\"b\"} | trace_id=`${trace_id}` |= `x`")),
                "the console: http://localhost:8088/logs?query=%7Ba%3D%22b%22%7D+%7C%3D+%60x%60&last=15",
            ),
            (
                Question::Traces(search),
                "the console: http://localhost:8088/traces?service=users&lookback=15&sort=slowest&operation=GET+%2Fusers&min=1500ms&attributes=a%3D500+b%3D%22two+words%22",
            ),
            (
                link("${prometheus}/api/v1/targets?state=active&scrapePool=otel-collector"),
                "the console: http://localhost:8088/services/otel-collector",
            ),
            (
                link("${alertmanager}/api/v2/alerts?active=true"),
                "the console: http://localhost:8088/slos",
            ),
        ] {
            assert_eq!(shown(&question), Ok(page.to_owned()));
        }
        let unknown = shown(&link("${users}/metrics")).unwrap_err();
        assert!(
            unknown.starts_with("no page shows ${users}/metrics"),
            "{unknown}"
        );
    }
}
