//! `POST /mutate`: one request in, one answer out.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderValue},
};
use moka::sync::Cache as Expiring;
use tokio::sync::Semaphore;

use super::{WebhookConfig, WebhookMetrics};
use crate::{
    admission::{self, Answer, Failure, View},
    serve::Respond,
};

/// Answers requests from the current [`View`].
#[derive(Debug)]
pub struct Handler {
    view: Arc<ArcSwap<View>>,
    metrics: WebhookMetrics,
    requests: Semaphore,
    bytes: Semaphore,
    max_body_bytes: usize,
    body_timeout: Duration,
    /// What was said in the log lately: a Deployment with a wrong value and a thousand pods is one line, not a thousand.
    logged: Expiring<u64, ()>,
}

impl Handler {
    #[must_use]
    pub fn new(view: Arc<ArcSwap<View>>, metrics: WebhookMetrics, config: &WebhookConfig) -> Arc<Self> {
        Arc::new(Self {
            view,
            metrics,
            requests: Semaphore::new(config.max_requests),
            bytes: Semaphore::new(config.max_bytes.max(config.max_body_bytes)),
            max_body_bytes: config.max_body_bytes,
            body_timeout: config.body_timeout,
            logged: Expiring::builder().max_capacity(10_000).time_to_live(Duration::from_secs(600)).build(),
        })
    }

    async fn answer(&self, announced: Option<usize>, body: Incoming) -> Answer {
        // Who does not say how long the request is may send as much as is allowed.
        let length = announced.unwrap_or(usize::MAX).min(self.max_body_bytes);
        let room = u32::try_from(length).unwrap_or(u32::MAX);
        let (Ok(_request), Ok(_bytes)) = (self.requests.try_acquire(), self.bytes.try_acquire_many(room)) else {
            let answer = admission::failed(&[], Failure::Overloaded);
            self.metrics.answered(&answer, Duration::ZERO);
            return answer;
        };
        let mut received = Received::default();
        let complete = self.read(announced.unwrap_or(0), body, &mut received).await;
        let now = Instant::now();
        let answer = match complete {
            Ok(()) => admission::review(received.bytes(), &self.view.load(), now),
            Err(failure) => admission::failed(received.bytes(), failure),
        };
        self.metrics.answered(&answer, now.elapsed());
        self.log(&answer);
        answer
    }

    async fn read(&self, announced: usize, body: Incoming, received: &mut Received) -> Result<(), Failure> {
        let mut read = pin!(read(announced, body, self.max_body_bytes, received));
        // Most requests are there as a whole when they are looked at first; only the others need a clock.
        match futures::poll!(read.as_mut()) {
            Poll::Ready(result) => result,
            Poll::Pending => tokio::time::timeout(self.body_timeout, read).await.unwrap_or(Err(Failure::Body)),
        }
    }

    fn log(&self, answer: &Answer) {
        for warning in &answer.warnings {
            let sentence = warning.to_string();
            let mut hasher = DefaultHasher::new();
            (&answer.subject, &sentence).hash(&mut hasher);
            if self.logged.entry(hasher.finish()).or_insert(()).is_fresh() {
                tracing::warn!(pod = answer.subject, "{sentence}");
            }
        }
    }
}

impl Respond for Arc<Handler> {
    type Body = Full<Bytes>;

    fn respond(&self, request: Request<Incoming>) -> impl Future<Output = Response<Full<Bytes>>> + Send + 'static {
        // What is awaited is moved several times on its way into a task; without the request's head it is small.
        let (refused, announced) = (refused(&request), announced(request.headers()));
        let (handler, body) = (Arc::clone(self), request.into_body());
        async move {
            match refused {
                Some(response) => response,
                None => written(handler.answer(announced, body).await),
            }
        }
    }
}

/// The answer to whatever is no admission request.
fn refused<B>(request: &Request<B>) -> Option<Response<Full<Bytes>>> {
    let mut response = Response::default();
    match (request.uri().path(), request.method()) {
        ("/mutate", &Method::POST) => return None,
        ("/mutate", _) => {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        _ => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    Some(response)
}

fn written(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    response
}

/// What came of a body. One that came in one piece, as most do, is not copied.
#[derive(Default)]
struct Received {
    /// The only piece, until there is a second.
    only: Bytes,
    joined: Vec<u8>,
}

impl Received {
    fn bytes(&self) -> &[u8] {
        if self.joined.is_empty() { &self.only } else { &self.joined }
    }

    /// `expected`: bytes in all.
    fn add(&mut self, piece: Bytes, expected: usize) {
        if self.bytes().is_empty() {
            self.only = piece;
            return;
        }
        if self.joined.is_empty() {
            self.joined.reserve(expected);
            self.joined.extend_from_slice(&std::mem::take(&mut self.only));
        }
        self.joined.extend_from_slice(&piece);
    }
}

/// Reads the body; what was read is there also after a failure, because the uid stands at its beginning.
async fn read(announced: usize, mut body: Incoming, most: usize, received: &mut Received) -> Result<(), Failure> {
    /// Of a request that is announced as too large, enough to find the uid.
    const BEGINNING: usize = 4096;
    let keep = if announced > most { BEGINNING } else { most };
    while let Some(frame) = body.frame().await {
        // Whatever is no data is a trailer.
        let Ok(mut piece) = frame.map_err(|_| Failure::Body)?.into_data() else { continue };
        let room = keep - received.bytes().len();
        let fits = piece.len() <= room;
        piece.truncate(room);
        received.add(piece, announced.min(most));
        if !fits {
            return Err(Failure::TooLarge);
        }
    }
    Ok(())
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
}
