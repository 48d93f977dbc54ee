//! Where the parts of a lab are that a scenario asks.

use std::collections::BTreeMap;
use std::time::Duration;

use url::Url;

use super::model::{Question, Scenario};
use super::template::Values;
use crate::backend::{Edge, Jaeger, Loki, Prometheus, Search, Users, Webhook};
use crate::http::{self, AskError, Http};

/// A backend answers within this time; edge may wait for its upstreams.
const BACKEND_TIMEOUT: Duration = Duration::from_secs(10);
const EDGE_TIMEOUT: Duration = Duration::from_secs(35);

/// Addresses by the names of the parts, and why a part has none.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub addresses: BTreeMap<String, Url>,
    pub absent: BTreeMap<String, String>,
}

impl Place {
    /// Why a scenario cannot run here.
    #[must_use]
    pub fn lacks(&self, scenario: &Scenario) -> Option<String> {
        let missing: Vec<String> = scenario
            .needs()
            .into_iter()
            .filter_map(|part| match self.absent.get(part) {
                Some(why) => Some(format!("no {part} here: {why}")),
                None if self.addresses.contains_key(part) => None,
                None => Some(format!("no {part} here")),
            })
            .collect();
        (!missing.is_empty()).then(|| missing.join("; "))
    }

    /// Every address, for templates: without a slash at its end.
    #[must_use]
    pub fn values(&self) -> Values {
        self.addresses
            .iter()
            .map(|(name, url)| (name.clone(), url.as_str().trim_end_matches('/').to_owned()))
            .collect()
    }

    /// The address that answers a question, as a person can open or fetch it.
    ///
    /// # Errors
    /// When a part is absent, or the link is no address.
    pub fn address(&self, question: &Question, values: &Values) -> Result<Url, String> {
        let base = |part: &str| {
            let url = self.addresses.get(part);
            url.ok_or_else(|| format!("no {part} here"))
        };
        Ok(match question {
            Question::Promql(query) => {
                let query = query.fill(values);
                http::at(base("prometheus")?, "/api/v1/query", &[("query", &query)])
            }
            Question::Logs(query) => {
                let query = query.fill(values);
                http::at(
                    base("loki")?,
                    "/loki/api/v1/query_range",
                    &[("query", &query)],
                )
            }
            Question::Traces(search) => {
                let jaeger = Jaeger::new(
                    Http::new(BACKEND_TIMEOUT).map_err(text)?,
                    base("jaeger")?.clone(),
                );
                jaeger.search_url(&Search {
                    service: &search.service,
                    operation: search.operation.as_deref(),
                    tags: &search.tags,
                    min_duration: search.min_duration,
                    since: None,
                })
            }
            Question::Profile(profile) => http::at(
                base("users")?,
                "/debug/pprof/profile",
                &[("seconds", &profile.seconds.to_string())],
            ),
            Question::Link(link) => {
                let address = link.url.fill(values);
                Url::parse(&address).map_err(|error| format!("{address}: {error}"))?
            }
        })
    }
}

fn text(error: AskError) -> String {
    error.to_string()
}

/// A client of everything that a scenario asks.
pub(super) struct Clients {
    pub(super) http: Http,
    pub(super) edge: Edge,
    pub(super) prometheus: Prometheus,
    pub(super) webhook: Webhook,
    pub(super) jaeger: Option<Jaeger>,
    pub(super) loki: Option<Loki>,
    pub(super) users: Option<Users>,
}

impl Clients {
    pub(super) fn of(place: &Place) -> Result<Self, String> {
        let url = |part: &str| {
            let url = place.addresses.get(part).cloned();
            url.ok_or_else(|| format!("no {part} here"))
        };
        let http = Http::new(BACKEND_TIMEOUT).map_err(text)?;
        let patient = Http::new(EDGE_TIMEOUT).map_err(text)?;
        Ok(Self {
            edge: Edge::new(patient.clone(), url("edge")?),
            prometheus: Prometheus::new(http.clone(), url("prometheus")?),
            webhook: Webhook::new(http.clone(), &url("webhook")?),
            jaeger: url("jaeger").ok().map(|url| Jaeger::new(http.clone(), url)),
            loki: url("loki").ok().map(|url| Loki::new(http.clone(), url)),
            // A profile takes as long as it lasts.
            users: url("users").ok().map(|url| Users::new(patient, url)),
            http,
        })
    }
}
