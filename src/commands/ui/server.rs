//! What the page's address answers: its files, which lie in the program, the rows of nodes, and what changes, as server-sent events
//! (WHATWG HTML, 9.2).

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response, Sse, sse::Event},
    routing::get,
};
use futures::Stream;
use jiff::Timestamp;
use tokio::{sync::watch as channel, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    nodes::{self, Asked},
    page::page,
    watched::Watched,
};

/// What is drawn needs no more often.
const PACE: Duration = Duration::from_millis(500);
/// Watches that fail, and time alone, are looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// That the program is still there is told this often.
const SIGN: Duration = Duration::from_secs(5);

/// Scripts and styles come from here alone, nothing else is loaded, nobody frames the page, and no text becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

const FILES: [(&str, &str, &str); 4] = [
    ("", "text/html; charset=utf-8", include_str!("assets/index.html")),
    ("page.css", "text/css; charset=utf-8", include_str!("assets/page.css")),
    ("page.js", "text/javascript; charset=utf-8", include_str!("assets/page.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// What every answer is made from.
#[derive(Debug)]
pub(super) struct Shared {
    pub watched: Watched,
    pub port: u16,
    pub shutdown: CancellationToken,
}

impl Shared {
    fn state(&self, database: Option<&str>) -> String {
        let now = Timestamp::now();
        let tables = self.watched.picture();
        let page = page(&tables, self.watched.unseen(now), self.watched.warning(), database, now);
        // Names and numbers always serialise.
        serde_json::to_string(&page).unwrap_or_default()
    }
}

/// All paths below the secret one; everything else is not found.
pub(super) fn router(shared: Arc<Shared>, secret: &str) -> Router {
    let mut router = Router::new();
    for (name, kind, text) in FILES {
        let file = move || async move { ([(header::CONTENT_TYPE, kind)], text) };
        router = router.route(&format!("/{secret}/{name}"), get(file));
    }
    router
        .route(&format!("/{secret}/state"), get(state))
        .route(&format!("/{secret}/events"), get(events))
        .route(&format!("/{secret}/nodes"), get(rows))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard))
        .with_state(shared)
}

/// A page of another host that had its name point at this machine (DNS rebinding) says that name: it gets nothing.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let ours = ["127.0.0.1", "localhost"].map(|host| format!("{host}:{}", shared.port));
    let is_ours = |name: &str| ours.iter().any(|ours| ours.eq_ignore_ascii_case(name));
    let named_in_uri = request.uri().authority().is_none_or(|authority| is_ours(authority.as_str()));
    let mut response = if !named.is_some_and(is_ours) || !named_in_uri {
        (StatusCode::MISDIRECTED_REQUEST, "this is not the host that you asked for\n").into_response()
    } else if request.method() != Method::GET {
        (StatusCode::METHOD_NOT_ALLOWED, "this page changes nothing\n").into_response()
    } else {
        next.run(request).await
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn asked(uri: &Uri, key: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    pairs.find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
}

async fn state(State(shared): State<Arc<Shared>>, uri: Uri) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], shared.state(asked(&uri, "database").as_deref()))
}

async fn rows(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let from = asked(&uri, "from").and_then(|from| from.parse().ok()).unwrap_or_default();
    let text = asked(&uri, "text").unwrap_or_default();
    let asked = Asked { database: asked(&uri, "database").unwrap_or_default(), text, from };
    axum::Json(nodes::rows(&shared.watched.picture(), &asked)).into_response()
}

async fn events(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
) -> Sse<impl Stream<Item = Result<Event, Infallible>> + Send> {
    let changes = shared.watched.changes();
    let feed = Feed { database: asked(&uri, "database"), changes, told: String::new(), at: None, looked: None, shared };
    Sse::new(futures::stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok(event), feed))
    }))
}

/// What one browser is told.
struct Feed {
    shared: Arc<Shared>,
    database: Option<String>,
    changes: channel::Receiver<u64>,
    told: String,
    /// When it was last told something.
    at: Option<Instant>,
    /// When the cluster was last looked at for it.
    looked: Option<Instant>,
}

impl Feed {
    /// The next event; `None` when the program ends.
    async fn next(&mut self) -> Option<Event> {
        let shutdown = self.shared.shutdown.clone();
        loop {
            if let Some(looked) = self.looked {
                tokio::select! {
                    () = shutdown.cancelled() => return None,
                    () = wait(looked, &mut self.changes) => {}
                }
            }
            self.changes.mark_unchanged();
            let state = self.shared.state(self.database.as_deref());
            let now = Instant::now();
            self.looked = Some(now);
            if state != self.told {
                self.at = Some(now);
                self.told.clone_from(&state);
                return Some(Event::default().event("state").data(state));
            }
            if self.at.is_some_and(|at| now.duration_since(at) >= SIGN) {
                self.at = Some(now);
                return Some(Event::default().event("sign").data("here"));
            }
        }
    }
}

/// For news, but not at once; and for a while where there are none.
async fn wait(looked: Instant, changes: &mut channel::Receiver<u64>) {
    tokio::time::sleep_until(looked + PACE).await;
    // Without a sender there are no news.
    let _ = tokio::time::timeout(LOOK, changes.changed()).await;
}

#[cfg(test)]
mod tests;
