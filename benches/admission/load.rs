//! The load generator: one thread that never sleeps, on a CPU of its own.
//!
//! Closed loop: so many requests are always on the way. Open loop: a request is due every so often, whatever became of
//! the others, and its latency counts from when it was due: a server that stalls can't hide what waited (coordinated
//! omission).

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde::{Deserialize, Serialize};

use crate::{
    frames::{self, Incoming, Request},
    process,
};

const AUTHORITY: &str = "switchover-webhook.switchover-system.svc";

#[derive(clap::Args, Clone)]
pub(crate) struct LoadArgs {
    #[arg(long)]
    pub address: SocketAddr,
    /// The server's process, whose CPU time is read.
    #[arg(long)]
    pub pid: u32,
    /// The authority (PEM) that signed the server's certificate.
    #[arg(long)]
    pub authority: PathBuf,
    /// One review a line; they are sent in turn.
    #[arg(long)]
    pub reviews: PathBuf,
    #[arg(long, default_value_t = 8)]
    pub connections: usize,
    /// Requests on the way on each connection.
    #[arg(long, default_value_t = 4)]
    pub streams: usize,
    #[arg(long)]
    pub warm_up_ms: u64,
    #[arg(long)]
    pub measure_ms: u64,
    /// Requests a second in all: an open loop. Without it the loop is closed.
    #[arg(long)]
    pub rate: Option<f64>,
}

/// What one round measured.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub(crate) struct Measured {
    pub requests: u64,
    /// Also those of the warm-up and of the end.
    pub requests_in_all: u64,
    pub seconds: f64,
    /// Requests a second.
    pub rate: f64,
    /// CPU time of the server in the measured time.
    pub cpu_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub max_us: f64,
    /// The first answer's body.
    pub answer: String,
}

impl Measured {
    pub(crate) fn cpu_us_per_request(&self) -> f64 {
        self.cpu_s * 1e6 / self.requests as f64
    }
}

pub(crate) fn run(args: &LoadArgs) -> anyhow::Result<Measured> {
    let reviews = std::fs::read_to_string(&args.reviews).with_context(|| args.reviews.display().to_string())?;
    let requests = reviews.lines().map(|line| Request::post(AUTHORITY, "/mutate?timeout=1s", line.as_bytes()));
    let mut load = Load {
        connections: connect(args)?,
        requests: requests.collect(),
        next: 0,
        window: Window { begin: Instant::now(), end: Instant::now() },
        latencies: Vec::with_capacity(1 << 20),
        completed: 0,
        in_all: 0,
    };
    load.settle()?;
    let begin = Instant::now() + Duration::from_millis(args.warm_up_ms);
    load.window = Window { begin, end: begin + Duration::from_millis(args.measure_ms) };
    let cpu_s = match args.rate {
        None => load.closed(args.pid, args.streams)?,
        Some(rate) => load.open(args.pid, Duration::from_secs_f64(1.0 / rate))?,
    };
    Ok(load.measured(cpu_s))
}

struct Window {
    begin: Instant,
    end: Instant,
}

struct Load {
    connections: Vec<Connection>,
    requests: Vec<Request>,
    next: usize,
    window: Window,
    /// In nanoseconds.
    latencies: Vec<u64>,
    /// Answers that came within the window.
    completed: u64,
    in_all: u64,
}

impl Load {
    /// Until every server has said what it takes.
    fn settle(&mut self) -> anyhow::Result<()> {
        let most = self.requests.iter().map(|request| request.body_bytes).max().unwrap_or_default();
        let deadline = Instant::now() + Duration::from_secs(5);
        for connection in &mut self.connections {
            while connection.incoming.stream_window.is_none() {
                connection.turn(|_, _| {})?;
                ensure!(Instant::now() < deadline, "the server did not say what it takes within 5 s");
            }
            ensure!(connection.incoming.stream_window >= Some(most), "a stream's window is smaller than a review");
        }
        Ok(())
    }

    fn closed(&mut self, pid: u32, streams: usize) -> anyhow::Result<f64> {
        let mut cpu = CpuTime::default();
        loop {
            let now = Instant::now();
            cpu.look(pid, &self.window, now)?;
            if now >= self.window.end {
                return cpu.spent(pid);
            }
            for at in 0..self.connections.len() {
                self.turn(at)?;
                while self.connections[at].waiting.len() < streams && self.send(at, Instant::now())? {}
            }
        }
    }

    fn open(&mut self, pid: u32, pause: Duration) -> anyhow::Result<f64> {
        let mut cpu = CpuTime::default();
        let mut due = Instant::now();
        let mut at_connection = 0;
        let mut spent = None;
        loop {
            let now = Instant::now();
            cpu.look(pid, &self.window, now)?;
            if now >= self.window.end && spent.is_none() {
                spent = Some(cpu.spent(pid)?);
            }
            while due <= now && due < self.window.end {
                if !self.send(at_connection, due)? {
                    break;
                }
                at_connection = (at_connection + 1) % self.connections.len();
                due += pause;
            }
            for at in 0..self.connections.len() {
                self.turn(at)?;
            }
            let idle = self.connections.iter().all(|connection| connection.waiting.is_empty());
            if let Some(spent) = spent
                && (idle && due >= self.window.end || now > self.window.end + Duration::from_secs(3))
            {
                ensure!(idle, "requests were left without an answer for 3 s");
                return Ok(spent);
            }
        }
    }

    /// False when the server takes nothing more now.
    fn send(&mut self, at: usize, due: Instant) -> anyhow::Result<bool> {
        let request = &mut self.requests[self.next];
        let sent = self.connections[at].send(request, due)?;
        if sent {
            self.next = (self.next + 1) % self.requests.len();
        }
        Ok(sent)
    }

    fn turn(&mut self, at: usize) -> anyhow::Result<()> {
        let Self { connections, window, latencies, completed, in_all, .. } = self;
        connections[at].turn(|due, now| {
            *in_all += 1;
            *completed += u64::from(now >= window.begin && now < window.end);
            if due >= window.begin {
                latencies.push(u64::try_from((now - due).as_nanos()).unwrap_or(u64::MAX));
            }
        })
    }

    fn measured(mut self, cpu_s: f64) -> Measured {
        self.latencies.sort_unstable();
        let quantile = |q: f64| {
            let last = self.latencies.len().saturating_sub(1);
            self.latencies.get((last as f64 * q).round() as usize).map_or(0.0, |&ns| ns as f64 / 1e3)
        };
        let seconds = (self.window.end - self.window.begin).as_secs_f64();
        Measured {
            requests: self.completed,
            requests_in_all: self.in_all,
            seconds,
            rate: self.completed as f64 / seconds,
            cpu_s,
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            max_us: quantile(1.0),
            answer: String::from_utf8_lossy(&self.connections[0].incoming.first).into_owned(),
        }
    }
}

/// The server's CPU time at the beginning of the window.
#[derive(Default)]
struct CpuTime(Option<f64>);

impl CpuTime {
    fn look(&mut self, pid: u32, window: &Window, now: Instant) -> anyhow::Result<()> {
        if self.0.is_none() && now >= window.begin {
            self.0 = Some(process::cpu_s(pid)?);
        }
        Ok(())
    }

    fn spent(&self, pid: u32) -> anyhow::Result<f64> {
        Ok(process::cpu_s(pid)? - self.0.unwrap_or_default())
    }
}

fn connect(args: &LoadArgs) -> anyhow::Result<Vec<Connection>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&args.authority)?)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    (0..args.connections).map(|_| Connection::open(args.address, &config)).collect()
}

struct Connection {
    socket: TcpStream,
    tls: ClientConnection,
    incoming: Incoming,
    /// Streams without an answer, and since when.
    waiting: Vec<(u32, Instant)>,
    next_stream: u32,
}

impl Connection {
    fn open(address: SocketAddr, config: &Arc<ClientConfig>) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let mut tls = ClientConnection::new(Arc::clone(config), ServerName::try_from(AUTHORITY)?)?;
        tls.set_buffer_limit(None);
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        ensure!(tls.alpn_protocol() == Some(b"h2"), "the server does not speak HTTP/2");
        socket.set_nonblocking(true)?;
        tls.writer().write_all(&frames::hello())?;
        Ok(Self { socket, tls, incoming: Incoming::new(), waiting: Vec::new(), next_stream: 1 })
    }

    fn send(&mut self, request: &mut Request, due: Instant) -> anyhow::Result<bool> {
        /// Below what servers allow by default.
        const MOST_STREAMS: usize = 100;
        let body = i64::from(request.body_bytes);
        if self.incoming.window < body || self.waiting.len() >= MOST_STREAMS {
            return Ok(false);
        }
        self.incoming.window -= body;
        self.tls.writer().write_all(request.on(self.next_stream))?;
        self.waiting.push((self.next_stream, due));
        self.next_stream += 2;
        self.flush()?;
        Ok(true)
    }

    /// Takes what came in, and tells of each answer since when it was awaited and when it came.
    fn turn(&mut self, mut answered: impl FnMut(Instant, Instant)) -> anyhow::Result<()> {
        loop {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => anyhow::bail!("the server closed the connection"),
                Ok(_) => {
                    let state = self.tls.process_new_packets()?;
                    let length = self.incoming.bytes.len();
                    self.incoming.bytes.resize(length + state.plaintext_bytes_to_read(), 0);
                    self.tls.reader().read_exact(&mut self.incoming.bytes[length..])?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        if !self.incoming.bytes.is_empty() {
            let (waiting, now) = (&mut self.waiting, Instant::now());
            self.incoming.take(|stream| {
                if let Some(at) = waiting.iter().position(|(waiting, _)| *waiting == stream) {
                    answered(waiting.swap_remove(at).1, now);
                }
            })?;
            if !self.incoming.replies.is_empty() {
                let replies = std::mem::take(&mut self.incoming.replies);
                self.tls.writer().write_all(&replies)?;
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
