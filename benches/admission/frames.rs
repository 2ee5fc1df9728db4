//! The little of HTTP/2 (RFC 9113) that a load generator needs: requests that differ in nothing but the stream are made
//! once and copied, so that the generator costs less than any server and is never what is measured.

use anyhow::{bail, ensure};

/// The greatest payload of a frame that every server takes.
const MOST: usize = 16_384;
/// Windows for answers that are never used up: 2 GiB for the life of a connection.
const WINDOW: u32 = (1 << 31) - 1;
const DEFAULT_WINDOW: u32 = 65_535;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(&u32::try_from(payload.len()).unwrap_or_default().to_be_bytes()[1..]);
    to.extend_from_slice(&[kind, flags]);
    to.extend_from_slice(&stream.to_be_bytes());
    to.extend_from_slice(payload);
}

/// What a client says first.
pub(crate) fn hello() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut settings = Vec::new();
    for (id, value) in [(2_u16, 0), (4, WINDOW)] {
        settings.extend_from_slice(&id.to_be_bytes());
        settings.extend_from_slice(&value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &settings, &mut bytes);
    frame(WINDOW_UPDATE, 0, 0, &(WINDOW - DEFAULT_WINDOW).to_be_bytes(), &mut bytes);
    bytes
}

/// A request, all but its stream.
pub(crate) struct Request {
    bytes: Vec<u8>,
    /// Where the stream's number goes.
    streams: Vec<usize>,
    pub body_bytes: u32,
}

impl Request {
    pub(crate) fn post(authority: &str, path: &str, body: &[u8]) -> Self {
        // HPACK (RFC 7541) without a dynamic table. `:method: POST`, `:scheme: https`, then names by their index.
        let mut head = vec![0x83, 0x87];
        for (index, value) in [
            (4, path),
            (1, authority),
            (19, "application/json, */*"),
            (31, "application/json"),
            (28, &body.len().to_string()),
            (58, "kube-apiserver-admission"),
        ] {
            if index < 15 {
                head.push(index);
            } else {
                head.extend_from_slice(&[15, index - 15]);
            }
            head.push(u8::try_from(value.len()).unwrap_or(127));
            head.extend_from_slice(value.as_bytes());
        }
        let (mut bytes, mut streams) = (Vec::new(), vec![5]);
        frame(HEADERS, END_HEADERS, 0, &head, &mut bytes);
        let chunks = body.chunks(MOST);
        let last = chunks.len() - 1;
        for (n, chunk) in chunks.enumerate() {
            streams.push(bytes.len() + 5);
            frame(DATA, if n == last { END_STREAM } else { 0 }, 0, chunk, &mut bytes);
        }
        Self { bytes, streams, body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX) }
    }

    /// Its bytes on this stream.
    pub(crate) fn on(&mut self, stream: u32) -> &[u8] {
        for &at in &self.streams {
            self.bytes[at..at + 4].copy_from_slice(&stream.to_be_bytes());
        }
        &self.bytes
    }
}

/// What has come in on one connection, and what its server allows.
pub(crate) struct Incoming {
    pub bytes: Vec<u8>,
    /// What the server takes now, over all streams. Each request takes its body off.
    pub window: i64,
    /// `None` until the server's settings are there.
    pub stream_window: Option<u32>,
    /// The body of the answer to the first request.
    pub first: Vec<u8>,
    /// Acknowledgements to send.
    pub replies: Vec<u8>,
}

impl Incoming {
    pub(crate) fn new() -> Self {
        Self {
            bytes: Vec::with_capacity(1 << 20),
            window: i64::from(DEFAULT_WINDOW),
            stream_window: None,
            first: Vec::new(),
            replies: Vec::new(),
        }
    }

    /// Takes the complete frames off `bytes` and tells which streams ended.
    pub(crate) fn take(&mut self, mut ended: impl FnMut(u32)) -> anyhow::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        let mut rest = &bytes[..];
        while let Some((head, after)) = rest.split_at_checked(9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            self.frame(head[3], head[4], stream, payload)?;
            if matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM != 0 {
                ended(stream);
            }
            rest = after;
        }
        let left = rest.len();
        self.bytes = bytes;
        let begin = self.bytes.len() - left;
        self.bytes.copy_within(begin.., 0);
        self.bytes.truncate(left);
        Ok(())
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> anyhow::Result<()> {
        let number =
            |at: usize| payload.get(at..at + 4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
        match kind {
            HEADERS => {
                // Changes of the table's size may stand before `:status: 200`, whose index is 8.
                let status = payload.iter().find(|&&byte| byte & 0xe0 != 0x20);
                ensure!(status == Some(&0x88) && flags & PADDED == 0, "an answer that is not 200: {payload:02x?}");
            }
            DATA if stream == 1 => self.first.extend_from_slice(payload),
            SETTINGS if flags & ACK == 0 => {
                let mut window = DEFAULT_WINDOW;
                for (at, setting) in payload.chunks_exact(6).enumerate() {
                    if setting[..2] == [0, 4] {
                        window = number(at * 6 + 2).unwrap_or(window);
                    }
                }
                self.stream_window = Some(window);
                frame(SETTINGS, ACK, 0, &[], &mut self.replies);
            }
            PING if flags & ACK == 0 => frame(PING, ACK, 0, payload, &mut self.replies),
            WINDOW_UPDATE if stream == 0 => self.window += i64::from(number(0).unwrap_or_default()),
            RST_STREAM => bail!("stream {stream} was reset: {:?}", number(0)),
            GOAWAY => bail!("the server ended the connection: {:?}", number(4)),
            _ => {}
        }
        Ok(())
    }
}
