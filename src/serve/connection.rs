//! One connection: handshake, requests, and the clocks that end it.

use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{ConnectionMetrics, Limits, Respond};

/// What all connections of one listener share.
#[derive(Clone)]
pub(super) struct Context<R> {
    pub tls: Option<TlsAcceptor>,
    pub responder: R,
    pub limits: Limits,
    pub metrics: ConnectionMetrics,
    pub stop: CancellationToken,
}

/// Serves one connection to its end, and says how it ended.
pub(super) async fn serve<R: Respond>(context: &Context<R>, stream: TcpStream) -> &'static str {
    // Answers are small and awaited.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &context.tls else { return requests(context, stream, false).await };
    let handshake = tokio::time::timeout(context.limits.handshake, tls.accept(stream));
    match context.stop.run_until_cancelled(handshake).await {
        Some(Ok(Ok(stream))) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            requests(context, stream, http2).await
        }
        Some(Ok(Err(_)) | Err(_)) => "handshake",
        None => "closed",
    }
}

async fn requests<R: Respond>(
    context: &Context<R>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http2: bool,
) -> &'static str {
    let activity = Arc::new(Activity::new());
    let builder = auto::Builder::new(TokioExecutor::new());
    // ALPN has decided; sniffing would be one more thing without a clock.
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    builder
        .http1()
        .timer(TokioTimer::new())
        // hyper's own clock runs on idle connections, too; ours tells the two apart.
        .header_read_timeout(None)
        .max_buf_size(64 * 1024)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(context.limits.streams)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10));

    let service = service_fn(|request: Request<Incoming>| {
        let running = Running::begin(&activity);
        let response = context.responder.respond(request);
        async move {
            let response = response.await;
            drop(running);
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(Observed { stream, activity: (!http2).then(|| Arc::clone(&activity)) });
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut clock = tokio::time::interval(Duration::from_millis(250));
    let mut stopping = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return if ended.is_ok() { "closed" } else { "error" },
            () = context.stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = clock.tick() => match activity.state(&context.limits) {
                State::Fine => {}
                State::SlowHead => return "slow",
                State::Idle if stopping => return "closed",
                State::Idle => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// When one connection last did something.
struct Activity {
    running: AtomicUsize,
    since: Mutex<Since>,
}

struct Since {
    /// The end of the last request, or the beginning of the connection.
    idle: Instant,
    /// The first byte of a request whose head is not complete yet. HTTP/1.1 only.
    head: Option<Instant>,
}

enum State {
    Fine,
    SlowHead,
    Idle,
}

impl Activity {
    fn new() -> Self {
        Self { running: AtomicUsize::new(0), since: Mutex::new(Since { idle: Instant::now(), head: None }) }
    }

    fn since(&self) -> MutexGuard<'_, Since> {
        self.since.lock()
    }

    fn state(&self, limits: &Limits) -> State {
        if self.running.load(Ordering::Acquire) > 0 {
            return State::Fine;
        }
        let since = self.since();
        if since.head.is_some_and(|at| at.elapsed() > limits.head) {
            State::SlowHead
        } else if since.idle.elapsed() > limits.idle {
            State::Idle
        } else {
            State::Fine
        }
    }

    fn read(&self) {
        if self.running.load(Ordering::Acquire) == 0 {
            self.since().head.get_or_insert_with(Instant::now);
        }
    }
}

/// One request that is being answered.
struct Running(Arc<Activity>);

impl Running {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.running.fetch_add(1, Ordering::AcqRel);
        activity.since().head = None;
        Self(Arc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.since() = Since { idle: Instant::now(), head: None };
        self.0.running.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A stream that notes when bytes come in.
struct Observed<S> {
    stream: S,
    activity: Option<Arc<Activity>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Some(activity) = &self.activity
            && buffer.filled().len() > before
        {
            activity.read();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
