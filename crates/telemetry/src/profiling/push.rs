//! The push to Pyroscope: a profile every few seconds, by a thread of its own.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_semantic_conventions::attribute::{
    DEPLOYMENT_ENVIRONMENT_NAME, SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_VERSION,
};
use prost::Message;
use reqwest::header::CONTENT_TYPE;
use url::Url;

use super::{Session, pprof};
use crate::settings::{Pyroscope, Tls};
use crate::transport;

/// How long one push may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The one method of Pyroscope's push service, below the endpoint's own path.
const METHOD: [&str; 2] = ["push.v1.PusherService", "Push"];

/// The content type of the push and of its answer.
const PROTOBUF: &str = "application/proto";

/// Of the resource, what is worth a series: all else changes with every start, or tells nothing here.
const LABELS: [&str; 4] = [
    SERVICE_NAME,
    SERVICE_NAMESPACE,
    SERVICE_VERSION,
    DEPLOYMENT_ENVIRONMENT_NAME,
];

/// Field numbers are those of Pyroscope's `push.proto` and `types.proto`.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, repeated, tag = "1")]
    series: Vec<Series>,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(bytes = "vec", tag = "1")]
    profile: Vec<u8>,
}

/// Profiles for as long as it is kept.
#[derive(Debug)]
pub(crate) struct Pusher {
    /// Dropped to stop.
    stop: Option<Sender<()>>,
    stopped: Receiver<()>,
}

impl Pusher {
    /// Starts profiling. Where that is impossible the log says so, once, and nothing is pushed.
    pub(crate) fn start(target: &Pyroscope, resource: &Resource) -> Option<Self> {
        let session = match Session::start() {
            Ok(session) => session,
            Err(reason) => {
                tracing::warn!(reason, "no CPU profiles are pushed (PYROSCOPE_ENDPOINT)");
                return None;
            }
        };
        let (stop, asked) = channel();
        let (ended, stopped) = channel();
        let (target, labels) = (target.clone(), labels(resource));
        let thread = std::thread::Builder::new().name("pyroscope".to_owned());
        let spawned = thread.spawn(move || {
            run(&target, &labels, session, &asked);
            // Nobody listens when the process ends anyway.
            let _ = ended.send(());
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "no thread for the push of profiles");
            return None;
        }
        Some(Self {
            stop: Some(stop),
            stopped,
        })
    }

    /// Pushes what there is, and gives up after `timeout`.
    pub(crate) fn stop(&mut self, timeout: Duration) -> Result<(), String> {
        if self.stop.take().is_none() {
            return Ok(());
        }
        self.stopped
            .recv_timeout(timeout)
            .map_err(|_| format!("the last profile was not pushed in {timeout:?}"))
    }
}

fn run(target: &Pyroscope, labels: &[Label], session: Session, stop: &Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let secrets = target.user.is_some()
        || target.tenant.is_some()
        || !target.endpoint.username().is_empty()
        || target.endpoint.password().is_some();
    let client = transport::http_client(&target.endpoint, secrets, &Tls::default());
    let (runtime, client) = match (runtime, client) {
        (Ok(runtime), Ok(client)) => (runtime, client),
        (Err(error), _) => {
            tracing::error!(target: "opentelemetry", %error, "no runtime for the push of profiles");
            return;
        }
        (_, Err(error)) => {
            tracing::error!(target: "opentelemetry", error, "no client for the push of profiles");
            return;
        }
    };
    let url = address(&target.endpoint);
    let mut failing = false;
    loop {
        let last = stop.recv_timeout(target.interval) != Err(RecvTimeoutError::Timeout);
        let profile = session.take();
        if !profile.stacks.is_empty() {
            let sample = Sample {
                profile: pprof::encode(&profile),
            };
            let series = Series {
                labels: labels.to_vec(),
                samples: vec![sample],
            };
            let body = Request {
                series: vec![series],
            };
            let sent = send(&client, target, url.clone(), body.encode_to_vec());
            // A profile is a sample of what goes on: one that cannot be sent is not kept.
            match (runtime.block_on(sent), failing) {
                (Ok(()), true) => {
                    tracing::info!(target: "opentelemetry", "Pyroscope takes profiles again");
                    failing = false;
                }
                (Err(reason), false) => {
                    tracing::warn!(target: "opentelemetry", reason, "a profile was not pushed (PYROSCOPE_ENDPOINT); the next are tried too");
                    failing = true;
                }
                _ => {}
            }
        }
        if last {
            return;
        }
    }
}

async fn send(
    client: &reqwest::Client,
    target: &Pyroscope,
    url: Url,
    body: Vec<u8>,
) -> Result<(), String> {
    let mut request = client
        .post(url)
        .timeout(TIMEOUT)
        .header(CONTENT_TYPE, PROTOBUF);
    if let Some(user) = &target.user {
        request = request.basic_auth(user, target.password.as_ref().map(|secret| secret.get()));
    }
    if let Some(tenant) = &target.tenant {
        request = request.header("X-Scope-OrgID", tenant);
    }
    let answer = request
        .body(body)
        .send()
        .await
        .map_err(|error| transport::with_causes(&error.without_url()))?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = answer
        .text()
        .await
        .map_err(|error| transport::with_causes(&error.without_url()))?;
    if !status.is_success() {
        let refusal = transport::refusal(status, &headers);
        return Err(format!("{refusal}: {}", transport::printable(&body)));
    }
    // A login page is no answer of Pyroscope's.
    match transport::media_type(&headers).as_deref() {
        _ if body.is_empty() => Ok(()),
        Some(PROTOBUF) => Ok(()),
        other => Err(format!(
            "expected {PROTOBUF}, got {}",
            transport::printable(other.unwrap_or("a body without a type"))
        )),
    }
}

fn address(endpoint: &Url) -> Url {
    let mut url = endpoint.clone();
    // Only an address without a host has no segments; the settings do not let one through.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(METHOD);
    }
    url
}

fn labels(resource: &Resource) -> Vec<Label> {
    let mut labels = vec![Label {
        name: "__name__".to_owned(),
        value: "process_cpu".to_owned(),
    }];
    labels.extend(LABELS.iter().filter_map(|key| {
        Some(Label {
            name: key.replace('.', "_"),
            value: resource.get(&opentelemetry::Key::new(*key))?.to_string(),
        })
    }));
    labels
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};

    use super::*;
    use crate::settings::Settings;

    /// What a push makes of an answer.
    fn pushed(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Result<(), String> {
        let endpoint = crate::otlp::anywhere(Router::new().fallback(move || {
            let answer = answer();
            async move { answer }
        }));
        let settings =
            Settings::from_vars(|name| (name == "PYROSCOPE_ENDPOINT").then(|| endpoint.clone()));
        let target = settings.pyroscope.unwrap();
        let client = transport::http_client(&target.endpoint, false, &Tls::default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(send(&client, &target, address(&target.endpoint), vec![1]))
    }

    #[test]
    fn only_pyroscope_s_answer_is_success() {
        assert_eq!(pushed(|| ().into_response()), Ok(()));
        let typed = |kind: &'static str| move || ([("content-type", kind)], "x").into_response();
        assert_eq!(pushed(typed("application/proto")), Ok(()));
        let page = pushed(typed("text/html; charset=utf-8")).unwrap_err();
        assert_eq!(page, "expected application/proto, got text/html");
        let login =
            pushed(|| (StatusCode::FOUND, [("location", "/login")]).into_response()).unwrap_err();
        assert!(login.contains("a redirect to /login"), "{login}");
    }

    #[test]
    fn the_method_is_below_the_endpoint_s_path() {
        for (endpoint, expected) in [
            ("http://h:4040", "http://h:4040/push.v1.PusherService/Push"),
            ("http://h/a/", "http://h/a/push.v1.PusherService/Push"),
            ("http://h/a", "http://h/a/push.v1.PusherService/Push"),
        ] {
            let endpoint = endpoint.parse().unwrap();
            assert_eq!(address(&endpoint).as_str(), expected);
        }
    }
}
