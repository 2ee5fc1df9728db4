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
use tokio::sync::{Semaphore, watch};

use super::{
    Cache, WebhookConfig, WebhookMetrics,
    events::Events,
    room::{Held, NoRoom, Room},
};
use crate::{
    admission::{self, Answer, Failure, Outcome, View},
    cluster::Notices,
    core::{
        affinity::{SkipReason, Warning},
        follow::{NotFollowing, Place},
    },
    serve::Respond,
};

/// The API server asks about pods of namespaces with the label alone. One that is not known here got its label a moment
/// ago (`kubectl apply` of a namespace and what runs in it), and the watch tells of it any moment: so long is waited for
/// that, a quarter of the time that the API server gives us.
const NEW_NAMESPACE: Duration = Duration::from_millis(250);
/// So many requests wait for that at the same time; one more is answered by what is known.
const MOST_WAITING: usize = 64;

/// Answers requests from the current [`View`].
#[derive(Debug)]
pub struct Handler {
    view: Arc<ArcSwap<View>>,
    /// Tells that the view has other namespaces, if anybody keeps it current.
    news: Option<watch::Receiver<()>>,
    /// Tells of wrong values, if anybody publishes events.
    events: Option<Events>,
    metrics: WebhookMetrics,
    waiting: Semaphore,
    room: Room,
    max_body_bytes: usize,
    body_timeout: Duration,
    /// What was said in the log and in events lately: a Deployment with a wrong value and a thousand pods is one line, not
    /// a thousand.
    logged: Expiring<u64, ()>,
}

impl Handler {
    /// Answers from a view as it is.
    #[must_use]
    pub fn new(view: Arc<ArcSwap<View>>, metrics: WebhookMetrics, config: &WebhookConfig) -> Arc<Self> {
        Self::hearing(view, None, None, metrics, config)
    }

    /// Answers from the view that a cache keeps current, and tells of wrong values in events.
    #[must_use]
    pub fn following(cache: &Cache, notices: Notices, metrics: WebhookMetrics, config: &WebhookConfig) -> Arc<Self> {
        let events = Events::new(notices, metrics.clone());
        Self::hearing(Arc::clone(cache.view()), Some(cache.namespace_news()), Some(events), metrics, config)
    }

    fn hearing(
        view: Arc<ArcSwap<View>>,
        news: Option<watch::Receiver<()>>,
        events: Option<Events>,
        metrics: WebhookMetrics,
        config: &WebhookConfig,
    ) -> Arc<Self> {
        Arc::new(Self {
            view,
            news,
            events,
            metrics,
            waiting: Semaphore::new(MOST_WAITING),
            room: Room::new(config.max_bytes, config.max_body_bytes),
            max_body_bytes: config.max_body_bytes,
            body_timeout: config.body_timeout,
            logged: Expiring::builder().max_capacity(10_000).time_to_live(Duration::from_secs(600)).build(),
        })
    }

    async fn answer(&self, is_json: bool, announced: Option<usize>, body: Incoming) -> Answer {
        let (mut held, mut received) = (self.room.hold(), Received::default());
        let complete = self.read(announced.unwrap_or(0), body, &mut received, &mut held).await;
        let now = Instant::now();
        let answer = match complete {
            Ok(()) if is_json => self.decide(received.bytes(), now, &mut held).await,
            Ok(()) => admission::failed(received.bytes(), Failure::MediaType),
            Err(failure) => admission::failed(received.bytes(), failure),
        };
        self.metrics.answered(&answer, now.elapsed());
        self.tell(&answer, now);
        answer
    }

    /// `held`: the room that the bytes take.
    async fn decide(&self, bytes: &[u8], now: Instant, held: &mut Held<'_>) -> Answer {
        let answer = admission::review(bytes, &self.view.load(), now);
        match &self.news {
            // Boxed, because it is rare, and what every request awaits is to stay small.
            Some(news) if of_unknown_namespace(&answer) => {
                let known = Box::pin(self.wait_for_namespace(bytes, news.clone(), held)).await;
                if known { admission::review(bytes, &self.view.load(), now) } else { answer }
            }
            _ => answer,
        }
    }

    #[cfg(test)]
    pub(super) async fn decide_alone(&self, bytes: &[u8], now: Instant) -> Answer {
        self.decide(bytes, now, &mut self.room.hold()).await
    }

    /// Whether the request's namespace becomes known in time. The request gives way to others meanwhile, and is not read
    /// again before.
    async fn wait_for_namespace(&self, bytes: &[u8], mut news: watch::Receiver<()>, held: &mut Held<'_>) -> bool {
        let Ok(_place) = self.waiting.try_acquire() else { return false };
        let Some(name) = admission::namespace(bytes) else { return false };
        let gives_way = held.wait();
        let known = async {
            loop {
                news.mark_unchanged();
                if self.view.load().namespaces.contains_key(&*name) {
                    return true;
                }
                if news.changed().await.is_err() {
                    return false;
                }
            }
        };
        let known = tokio::select! {
            known = tokio::time::timeout(NEW_NAMESPACE, known) => known.unwrap_or(false),
            () = gives_way.notified() => false,
        };
        // What was given away is not read any more.
        held.keep().is_ok() && known
    }

    async fn read(
        &self,
        announced: usize,
        body: Incoming,
        received: &mut Received,
        held: &mut Held<'_>,
    ) -> Result<(), Failure> {
        let mut body = Body { announced, rest: body, most: self.max_body_bytes, received };
        // Most requests are there as a whole when they are looked at first; only the others need a clock, and give way.
        let whole = futures::poll!(pin!(body.read(held)));
        if let Poll::Ready(result) = whole {
            return result;
        }
        let gives_way = held.wait();
        let result = tokio::select! {
            read = tokio::time::timeout(self.body_timeout, body.read(held)) => read.unwrap_or(Err(Failure::Body)),
            () = gives_way.notified() => Err(Failure::Overloaded),
        };
        if held.keep().is_err() {
            return Err(Failure::Overloaded);
        }
        result
    }

    /// Tells people of warnings that they have not been told of lately.
    pub(super) fn tell(&self, answer: &Answer, now: Instant) {
        let Some(subject) = &answer.subject else { return };
        for warning in &answer.warnings {
            let sentence = warning.to_string();
            let mut hasher = DefaultHasher::new();
            (subject, &sentence).hash(&mut hasher);
            if !self.logged.entry(hasher.finish()).or_insert(()).is_fresh() {
                continue;
            }
            tracing::warn!(pod = %subject, dry_run = subject.dry_run, "{sentence}");
            if let (Warning::Mistake(mistake), Some(events)) = (warning, &self.events)
                && mistake.place == Place::PodAnnotation
                && !subject.dry_run
            {
                events.tell(subject, mistake, now);
            }
        }
    }
}

fn of_unknown_namespace(answer: &Answer) -> bool {
    answer.outcome == Outcome::Skipped(SkipReason::NotFollowing(NotFollowing::NotOptedIn))
}

impl Respond for Arc<Handler> {
    type Body = Full<Bytes>;

    fn respond(&self, request: Request<Incoming>) -> impl Future<Output = Response<Full<Bytes>>> + Send + 'static {
        // What is awaited is moved several times on its way into a task; without the request's head it is small.
        let (refused, announced) = (refused(&request), announced(request.headers()));
        let is_json = is_json(request.headers());
        let (handler, body) = (Arc::clone(self), request.into_body());
        async move {
            match refused {
                Some(response) => response,
                None => written(handler.answer(is_json, announced, body).await),
            }
        }
    }
}

/// The answer to whatever is no admission request.
fn refused<B>(request: &Request<B>) -> Option<Response<Full<Bytes>>> {
    const SENTENCE: &[u8] = b"switchover answers POST /mutate here\n";
    if (request.uri().path(), request.method()) == ("/mutate", &Method::POST) {
        return None;
    }
    let mut response = Response::new(Full::from(Bytes::from_static(SENTENCE)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(admission::TEXT));
    if request.uri().path() == "/mutate" {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    } else {
        *response.status_mut() = StatusCode::NOT_FOUND;
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

    /// `expected`: bytes in all, by the sender's word. A word costs nothing: no more is reserved than twice what has come.
    fn add(&mut self, piece: Bytes, expected: usize) {
        if self.bytes().is_empty() {
            self.only = piece;
            return;
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&std::mem::take(&mut self.only));
        }
        let (have, need) = (self.joined.len(), self.joined.len() + piece.len());
        if need > self.joined.capacity() {
            self.joined.reserve_exact(expected.min(2 * need).max(need + have / 2) - have);
        }
        self.joined.extend_from_slice(&piece);
    }
}

/// A body that is being read.
struct Body<'r> {
    announced: usize,
    rest: Incoming,
    most: usize,
    received: &'r mut Received,
}

impl Body<'_> {
    /// Reads on to the end; what was read is there also after a failure, because the uid stands at its beginning. May be
    /// dropped and called again: no frame is lost.
    async fn read(&mut self, held: &mut Held<'_>) -> Result<(), Failure> {
        /// Of a request that is announced as too large, enough to find the uid.
        const BEGINNING: usize = 4096;
        let keep = if self.announced > self.most { BEGINNING } else { self.most };
        while let Some(frame) = self.rest.frame().await {
            // Whatever is no data is a trailer.
            let Ok(mut piece) = frame.map_err(|_| Failure::Body)?.into_data() else { continue };
            let room = keep - self.received.bytes().len();
            let fits = piece.len() <= room;
            piece.truncate(room);
            held.take(piece.len()).map_err(|NoRoom| Failure::Overloaded)?;
            self.received.add(piece, self.announced.min(self.most));
            if !fits {
                return Err(Failure::TooLarge);
            }
        }
        Ok(())
    }
}

/// Whether the body is JSON as it is, as far as its sender says. Who says nothing about it is believed to send JSON.
fn is_json(headers: &HeaderMap) -> bool {
    const JSON: &[u8] = b"application/json";
    let json = headers.get(header::CONTENT_TYPE).is_none_or(|of| {
        let essence = of.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        essence.trim_ascii().eq_ignore_ascii_case(JSON)
    });
    let plain = headers.get(header::CONTENT_ENCODING).is_none_or(|coding| coding == "identity");
    json && plain
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
}

#[cfg(test)]
mod tests;
