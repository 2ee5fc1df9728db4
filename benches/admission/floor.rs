//! The least that a webhook can do: hyper and rustls read the body, of which nothing is looked at but the uid, and send
//! an answer that was made beforehand. No router, no limits, no metrics, no decision.

use std::{borrow::Cow, convert::Infallible, net::SocketAddr, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[derive(Deserialize)]
struct Review<'a> {
    #[serde(borrow)]
    request: ReviewRequest<'a>,
}

#[derive(Deserialize)]
struct ReviewRequest<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
}

/// What stands before and after the uid.
struct Canned {
    before: String,
    after: String,
}

impl Canned {
    fn new() -> Self {
        let patch = r#"[{"op":"add","path":"/spec/affinity","value":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":100,"preference":{"matchExpressions":[{"key":"switchover","operator":"In","values":["closely"]}]}},{"weight":50,"preference":{"matchExpressions":[{"key":"switchover","operator":"In","values":["intermediate"]}]}}]}}},{"op":"add","path":"/metadata/annotations/switchover.dev~1injected","value":"[{\"database\":\"default\",\"mode\":\"preferred\",\"epoch\":1}]"}]"#;
        let patch = STANDARD.encode(patch);
        Self {
            before: r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":""#.to_owned(),
            after: format!(r#"","allowed":true,"patchType":"JSONPatch","patch":"{patch}"}}}}"#),
        }
    }

    fn answer(&self, body: &[u8]) -> Vec<u8> {
        let Ok(review) = serde_json::from_slice::<Review<'_>>(body) else { return Vec::new() };
        let uid = review.request.uid;
        let mut answer = Vec::with_capacity(self.before.len() + uid.len() + self.after.len());
        for part in [&self.before, &*uid, &self.after] {
            answer.extend_from_slice(part.as_bytes());
        }
        answer
    }
}

pub(crate) async fn serve(tls: Arc<ServerConfig>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let (tls, canned) = (TlsAcceptor::from(tls), Arc::new(Canned::new()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tls, canned) = (tls.clone(), Arc::clone(&canned));
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let Ok(stream) = tls.accept(stream).await else { return };
                let service = service_fn(|request| respond(request, Arc::clone(&canned)));
                let _ = http2::Builder::new(TokioExecutor::new())
                    .max_concurrent_streams(128)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(address)
}

async fn respond(request: Request<Incoming>, canned: Arc<Canned>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut response = Response::new(Full::new(canned.answer(&body).into()));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}
