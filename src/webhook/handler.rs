//! `POST /mutate`: one request in, one answer out.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, Request, Response, StatusCode, header},
    routing::post,
};
use futures::StreamExt;
use moka::sync::Cache as Expiring;
use tokio::sync::{Semaphore, watch};

use super::{Cache, WebhookConfig, WebhookMetrics};
use crate::{
    admission::{self, Answer, Failure, Outcome, View},
    core::{affinity::SkipReason, follow::NotFollowing},
};

/// The API server asks about pods of namespaces with the label alone. One that is not known here got its label a moment
/// ago (`kubectl apply` of a namespace and what runs in it), and the watch tells of it any moment: so long is waited for
/// that, a quarter of the time that the API server gives us.
const NEW_NAMESPACE: Duration = Duration::from_millis(250);

/// Answers requests from the current [`View`].
#[derive(Debug)]
pub struct Handler {
    view: Arc<ArcSwap<View>>,
    /// Tells that the view has other namespaces, if anybody keeps it current.
    news: Option<watch::Receiver<()>>,
    metrics: WebhookMetrics,
    requests: Semaphore,
    bytes: Semaphore,
    max_body_bytes: usize,
    body_timeout: Duration,
    /// What was said in the log lately: a Deployment with a wrong value and a thousand pods is one line, not a thousand.
    logged: Expiring<u64, ()>,
}

impl Handler {
    /// Answers from a view as it is.
    #[must_use]
    pub fn new(view: Arc<ArcSwap<View>>, metrics: WebhookMetrics, config: &WebhookConfig) -> Arc<Self> {
        Self::hearing(view, None, metrics, config)
    }

    /// Answers from the view that a cache keeps current.
    #[must_use]
    pub fn following(cache: &Cache, metrics: WebhookMetrics, config: &WebhookConfig) -> Arc<Self> {
        Self::hearing(Arc::clone(cache.view()), Some(cache.namespace_news()), metrics, config)
    }

    fn hearing(
        view: Arc<ArcSwap<View>>,
        news: Option<watch::Receiver<()>>,
        metrics: WebhookMetrics,
        config: &WebhookConfig,
    ) -> Arc<Self> {
        Arc::new(Self {
            view,
            news,
            metrics,
            requests: Semaphore::new(config.max_requests),
            bytes: Semaphore::new(config.max_bytes.max(config.max_body_bytes)),
            max_body_bytes: config.max_body_bytes,
            body_timeout: config.body_timeout,
            logged: Expiring::builder().max_capacity(10_000).time_to_live(Duration::from_secs(600)).build(),
        })
    }

    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().route("/mutate", post(mutate)).with_state(Arc::clone(self))
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        // Who does not say how long the request is may send as much as is allowed.
        let length = announced(request.headers()).unwrap_or(usize::MAX).min(self.max_body_bytes);
        let room = u32::try_from(length).unwrap_or(u32::MAX);
        let (Ok(_request), Ok(_bytes)) = (self.requests.try_acquire(), self.bytes.try_acquire_many(room)) else {
            let answer = admission::failed(&[], Failure::Overloaded);
            self.metrics.answered(&answer, Duration::ZERO);
            return answer;
        };
        let mut bytes = Vec::new();
        let read = read(request, self.max_body_bytes, &mut bytes);
        let complete = tokio::time::timeout(self.body_timeout, read).await.unwrap_or(Err(Failure::Body));
        let now = Instant::now();
        let answer = match complete {
            Ok(()) => self.decide(&bytes, now).await,
            Err(failure) => admission::failed(&bytes, failure),
        };
        self.metrics.answered(&answer, now.elapsed());
        self.log(&answer);
        answer
    }

    async fn decide(&self, bytes: &[u8], now: Instant) -> Answer {
        let answer = admission::review(bytes, &self.view.load(), now);
        if answer.outcome != Outcome::Skipped(SkipReason::NotFollowing(NotFollowing::NotOptedIn)) {
            return answer;
        }
        let Some(mut news) = self.news.clone() else { return answer };
        news.mark_unchanged();
        // What came between the look and the wait is seen by a second look.
        let mut answer = admission::review(bytes, &self.view.load(), now);
        let end = tokio::time::Instant::now() + NEW_NAMESPACE;
        while answer.outcome == Outcome::Skipped(SkipReason::NotFollowing(NotFollowing::NotOptedIn)) {
            let Ok(Ok(())) = tokio::time::timeout_at(end, news.changed()).await else { break };
            answer = admission::review(bytes, &self.view.load(), now);
        }
        answer
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

async fn mutate(State(handler): State<Arc<Handler>>, request: Request<Body>) -> Response<Body> {
    let answer = handler.answer(request).await;
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(answer.content_type));
    response
}

/// Reads the body into `bytes`; what was read stays there also on failure, because the uid stands at its beginning.
async fn read(request: Request<Body>, most: usize, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    /// Of a request that is announced as too large, enough to find the uid.
    const BEGINNING: usize = 4096;
    let announced = announced(request.headers()).unwrap_or(0);
    let keep = if announced > most { BEGINNING } else { most };
    bytes.reserve(announced.min(most));
    let mut body = request.into_body().into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Failure::Body)?;
        let room = keep - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Err(Failure::TooLarge);
        }
    }
    Ok(())
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
}
