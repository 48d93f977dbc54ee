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
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::queue::{Body, Outcome, Queue};
use super::settings::Target;
use crate::settings::OtlpProtocol;

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
    let mut transport = match runtime.block_on(async { Transport::new(target) }) {
        Ok(transport) => transport,
        Err(error) => {
            queue.close();
            tracing::error!(target: "opentelemetry", error, "no client for the OTLP exporter");
            return;
        }
    };
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
                target: "opentelemetry", reason, endpoint = %transport.target.endpoint,
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
    fn new(target: &'a Target) -> Result<Self, String> {
        let client = if target.protocol == OtlpProtocol::Grpc {
            let endpoint = Endpoint::from_shared(target.endpoint.to_string())
                .map_err(|error| error.to_string())?
                .connect_timeout(target.timeout);
            Client::Grpc(Box::new(tonic::client::Grpc::new(endpoint.connect_lazy())))
        } else {
            let client = reqwest::Client::builder()
                .timeout(target.timeout)
                .no_proxy()
                .build()
                .map_err(|error| error.to_string())?;
            Client::Http(client)
        };
        Ok(Self { target, client })
    }

    async fn send(&mut self, body: Body) -> Answer {
        let Target {
            signal,
            endpoint,
            headers,
            timeout,
            ..
        } = self.target;
        match &mut self.client {
            Client::Grpc(client) => {
                let call = async {
                    client
                        .ready()
                        .await
                        .map_err(|error| Status::unavailable(error.to_string()))?;
                    let mut request = tonic::Request::new(body);
                    *request.metadata_mut() = MetadataMap::from_headers(headers.clone());
                    let path = PathAndQuery::from_static(signal.grpc_path());
                    client.unary(request, path, Raw).await
                };
                match tokio::time::timeout(*timeout, call).await {
                    Ok(Ok(response)) => taken(response.get_ref()),
                    Ok(Err(status)) => judge(&status),
                    Err(_) => Answer::Silent {
                        reason: format!("no answer in {timeout:?}"),
                    },
                }
            }
            Client::Http(client) => {
                let request = client
                    .post(endpoint.clone())
                    .headers(headers.clone())
                    .header(
                        CONTENT_TYPE,
                        HeaderValue::from_static("application/x-protobuf"),
                    )
                    .body(body.joined());
                match request.send().await {
                    Ok(response) => judge_http(response).await,
                    Err(error) if error.is_connect() => Answer::Later {
                        reason: error.to_string(),
                        after: None,
                    },
                    Err(error) => Answer::Silent {
                        reason: error.to_string(),
                    },
                }
            }
        }
    }
}

/// `Export...ServiceResponse`: the same shape for all signals.
#[derive(Clone, PartialEq, Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

fn taken(body: &Bytes) -> Answer {
    let partial = ExportResponse::decode(body.clone())
        .unwrap_or_default()
        .partial_success;
    let partial = partial.unwrap_or_default();
    let rejected = usize::try_from(partial.rejected).unwrap_or(0);
    Answer::Taken {
        rejected,
        message: partial.error_message,
    }
}

/// Which codes may be tried again is OTLP's list. `RESOURCE_EXHAUSTED` is on it only when the
/// receiver says when; a receiver that is merely busy often does not, so that it is tried as well.
fn judge(status: &Status) -> Answer {
    let reason = format!("{}: {}", status.code(), status.message());
    // What this end says itself has a cause; what came from the receiver has none.
    let own = std::error::Error::source(status);
    if let Some(cause) = own
        && !not_connected(cause)
    {
        return Answer::Silent { reason };
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
        return match response.bytes().await {
            Ok(body) => taken(&body),
            Err(error) => Answer::Silent {
                reason: error.to_string(),
            },
        };
    }
    let reason = format!("HTTP status {status}");
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
