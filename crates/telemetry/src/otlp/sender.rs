//! The thread that sends: takes batches from the queue, keeps each until the receiver took it or
//! refused it for good.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode};
use prost::Message;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::queue::{Body, Outcome, Queue};
use super::target::{Connection, Target};
use crate::redact;
use crate::transport::{self, ExportResponse};

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// What a receiver said of one request.
#[derive(Debug, PartialEq)]
enum Answer {
    /// It took all but so many.
    Taken { rejected: usize, message: String },
    /// It may take it later, not before so long.
    Later {
        reason: String,
        after: Option<Duration>,
    },
    /// It said nothing, or the connection broke before it did: it may have it. Tried again.
    Silent { reason: String },
    /// It never will.
    Refused { reason: String },
}

pub(super) fn run(target: &Target, queue: &Queue, head: &[u8], tail: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            queue.close();
            tracing::error!(target: "opentelemetry", %error, "no runtime for the OTLP exporter");
            return;
        }
    };
    let mut transport = runtime.block_on(async { Transport::new(target) });
    while let Some(batch) = queue.next() {
        let items = batch.items;
        let body = batch.encode(head, tail);
        let outcome = runtime.block_on(deliver(&mut transport, queue, body, items));
        queue.done(outcome);
    }
    // A name that is just being resolved must not hold up the end of the process.
    runtime.shutdown_background();
}

/// Sends one batch until the receiver took it or refused it for good, or the queue is closed.
async fn deliver(
    transport: &mut Transport<'_>,
    queue: &Queue,
    body: Body,
    items: usize,
) -> Outcome {
    let noun = transport.target.signal.noun();
    let mut backoff = FIRST_BACKOFF;
    let mut told = false;
    // An earlier attempt may have arrived.
    let mut unsure = false;
    loop {
        let answer = tokio::select! {
            biased;
            answer = transport.send(body.clone()) => answer,
            () = queue.closed() => return Outcome::Unanswered,
        };
        let (reason, after) = match answer {
            Answer::Taken { rejected, message } => {
                if rejected > 0 || !message.is_empty() {
                    tracing::warn!(target: "opentelemetry", rejected, message, "the receiver took a part");
                }
                if told {
                    tracing::info!(target: "opentelemetry", "the receiver takes {noun} again");
                }
                return Outcome::Taken { rejected };
            }
            Answer::Refused { reason } => {
                tracing::error!(target: "opentelemetry", reason, items, "the receiver refused a batch");
                return Outcome::Refused;
            }
            Answer::Silent { reason } => {
                unsure = true;
                (reason, None)
            }
            Answer::Later { reason, after } => (reason, after),
        };
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(
                target: "opentelemetry", reason, endpoint = &*redact::url(&transport.target.endpoint),
                "the receiver does not take {noun} now; they are kept and tried again"
            );
        }
        let pause = tokio::time::sleep(after.unwrap_or(backoff).min(LONGEST_BACKOFF));
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
        tokio::select! {
            () = pause => {}
            () = queue.closed() => {
                return if unsure { Outcome::Unanswered } else { Outcome::Dropped };
            }
        }
    }
}

struct Transport<'a> {
    target: &'a Target,
    client: Client,
}

enum Client {
    Grpc(Box<tonic::client::Grpc<Channel>>),
    Http(reqwest::Client),
}

impl<'a> Transport<'a> {
    /// Inside the runtime that it will be used in.
    fn new(target: &'a Target) -> Self {
        let client = match &target.connection {
            Connection::Grpc(endpoint) => Client::Grpc(Box::new(tonic::client::Grpc::new(
                transport::connect(endpoint),
            ))),
            Connection::Http(client) => Client::Http(client.clone()),
        };
        Self { target, client }
    }

    async fn send(&mut self, body: Body) -> Answer {
        let Some(timeout) = self.target.timeout else {
            return self.send_once(body).await;
        };
        tokio::time::timeout(timeout, self.send_once(body))
            .await
            .unwrap_or_else(|_| Answer::Silent {
                reason: format!("no answer in {timeout:?}"),
            })
    }

    async fn send_once(&mut self, body: Body) -> Answer {
        let Target {
            signal,
            endpoint,
            headers,
            ..
        } = self.target;
        match &mut self.client {
            Client::Grpc(client) => {
                let call = async {
                    client
                        .ready()
                        .await
                        .map_err(|error| Status::unavailable(transport::with_causes(&error)))?;
                    let mut request = tonic::Request::new(body);
                    *request.metadata_mut() = MetadataMap::from_headers(headers.clone());
                    let path = PathAndQuery::from_static(signal.grpc_path());
                    client.unary(request, path, Raw).await
                };
                match call.await {
                    Ok(response) => match ExportResponse::decode(response.into_inner()) {
                        Ok(response) => taken(response),
                        Err(error) => Answer::Refused {
                            reason: format!(
                                "expected an OTLP response, got a body that is none: {error}"
                            ),
                        },
                    },
                    Err(status) => judge(&status),
                }
            }
            Client::Http(client) => {
                let request = client
                    .post(endpoint.clone())
                    .header(
                        CONTENT_TYPE,
                        HeaderValue::from_static("application/x-protobuf"),
                    )
                    .headers(headers.clone())
                    .body(body.joined());
                match request.send().await {
                    Ok(response) => judge_http(response).await,
                    Err(error) => {
                        let not_sent = error.is_connect();
                        let reason = transport::with_causes(&error.without_url());
                        if not_sent {
                            Answer::Later {
                                reason,
                                after: None,
                            }
                        } else {
                            Answer::Silent { reason }
                        }
                    }
                }
            }
        }
    }
}

fn taken(response: ExportResponse) -> Answer {
    let partial = response.partial_success.unwrap_or_default();
    Answer::Taken {
        rejected: usize::try_from(partial.rejected).unwrap_or(0),
        message: partial.error_message,
    }
}

/// Which codes may be tried again is OTLP's list. `RESOURCE_EXHAUSTED` is on it only when the
/// receiver says when; a receiver that is merely busy often does not, so that it is tried as well.
fn judge(status: &Status) -> Answer {
    let mut reason = format!("{}: {}", status.code(), status.message());
    // What this end says itself has a cause; what came from the receiver has none.
    if let Some(cause) = std::error::Error::source(status) {
        reason = format!("{reason}: {}", transport::with_causes(cause));
        if !not_connected(cause) {
            return Answer::Silent { reason };
        }
    }
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss
        | Code::ResourceExhausted => Answer::Later {
            reason,
            after: None,
        },
        _ => Answer::Refused { reason },
    }
}

/// Nothing was sent: there was no connection.
fn not_connected(cause: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(cause);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

async fn judge_http(response: reqwest::Response) -> Answer {
    let status = response.status();
    if status.is_success() {
        let headers = response.headers().clone();
        return match response.bytes().await {
            Ok(body) => match transport::export_response(&headers, &body) {
                Ok(response) => taken(response),
                Err(reason) => Answer::Refused { reason },
            },
            Err(error) => Answer::Silent {
                reason: transport::with_causes(&error.without_url()),
            },
        };
    }
    let reason = transport::refusal(status, response.headers());
    let again = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    if !again {
        return Answer::Refused { reason };
    }
    let after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    Answer::Later {
        reason,
        after: after.map(Duration::from_secs),
    }
}

/// Messages that are bytes already.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Body;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Body;
    type Error = Status;

    fn encode(&mut self, item: Body, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(item.len());
        item.0.into_iter().for_each(|part| out.put(part));
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
