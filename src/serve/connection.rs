//! One connection: handshake, requests, and the clocks that end it.

use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use hyper::{
    Request,
    body::Incoming,
    header::{self, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    ConnectionMetrics, Limits, Respond,
    activity::{Activity, Order, Running, State},
};

/// What all connections of one listener share.
#[derive(Clone)]
pub(super) struct Context<R> {
    pub tls: Option<TlsAcceptor>,
    pub responder: R,
    pub limits: Limits,
    pub metrics: ConnectionMetrics,
}

/// Serves one connection to its end, and says how it ended.
pub(super) async fn serve<R: Respond>(
    context: &Context<R>,
    stream: TcpStream,
    activity: &Arc<Activity>,
) -> &'static str {
    // Answers are small and awaited.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &context.tls else { return requests(context, stream, false, activity).await };
    match shake_hands(tls, stream, context.limits.handshake, activity).await {
        Ok(stream) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            requests(context, stream, http2, activity).await
        }
        Err(end) => end,
    }
}

async fn shake_hands(
    tls: &TlsAcceptor,
    stream: TcpStream,
    time: Duration,
    activity: &Activity,
) -> Result<TlsStream<TcpStream>, &'static str> {
    let mut handshake = pin!(tokio::time::timeout(time, tls.accept(stream)));
    loop {
        tokio::select! {
            shaken = handshake.as_mut() => return shaken.ok().and_then(Result::ok).ok_or("handshake"),
            () = activity.told() => match activity.order() {
                Order::GoOn | Order::Drain => {}
                Order::Stop => return Err("closed"),
                Order::MakeRoom => return Err("displaced"),
            },
        }
    }
}

async fn requests<R: Respond>(
    context: &Context<R>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http2: bool,
    activity: &Arc<Activity>,
) -> &'static str {
    let builder = auto::Builder::new(TokioExecutor::new());
    // ALPN has decided; sniffing would be one more thing without a clock.
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    builder
        .http1()
        .keep_alive(context.limits.keep_alive)
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
        let running = Running::begin(activity);
        let response = context.responder.respond(request);
        async move {
            let mut response = response.await;
            if !http2 && running.order() != Order::GoOn {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            drop(running);
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(Observed { stream, activity: (!http2).then(|| Arc::clone(activity)) });
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut clock = tokio::time::interval(Duration::from_millis(250));
    let mut told = pin!(activity.told());
    let mut stopping = false;
    loop {
        let stop = tokio::select! {
            ended = connection.as_mut() => return if ended.is_ok() { "closed" } else { "error" },
            () = told.as_mut() => {
                told.set(activity.told());
                match activity.order() {
                    Order::MakeRoom => return "displaced",
                    Order::Stop => true,
                    // Who speaks HTTP/2 is told now, and what is on the way is still answered. Of HTTP/1.1 an idle connection
                    // would be closed under a request that is on its way: its next answer says so instead.
                    Order::Drain => http2,
                    Order::GoOn => false,
                }
            }
            _ = clock.tick() => match activity.state(&context.limits) {
                State::Fine => false,
                State::SlowHead => return "slow",
                State::Idle if stopping => return "closed",
                State::Idle => true,
            },
        };
        if stop && !stopping {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
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
