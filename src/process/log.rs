//! The log's lines on their way to stderr.
//!
//! Whoever logs never waits: a pipe that nobody empties would stop requests, leases and watches otherwise. A thread of its own
//! writes; what it is too slow for is dropped and counted (`switchover_log_lines_dropped_total`).

use std::{
    io::{self, Write},
    sync::mpsc::{self, Receiver, SyncSender, TrySendError},
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use crate::metrics;

/// Lines that may wait. Longer ones are as many as fit into the memory of so many short ones.
const MOST_LINES: usize = 2048;
/// What is left of a longer one.
const LONGEST: usize = 8 * 1024;
/// How long the end of a program waits for its last lines.
const FAREWELL: Duration = Duration::from_secs(2);

/// Takes lines. Clones write to the same end.
#[derive(Debug, Clone)]
pub(super) struct Lines(SyncSender<Line>);

#[derive(Debug)]
enum Line {
    Text(Vec<u8>),
    /// All that came before was written.
    Written(SyncSender<()>),
}

impl Lines {
    /// Lines to `end`, written by a thread that lasts as long as the program does.
    pub(super) fn to(end: impl Write + Send + 'static) -> Self {
        let (lines, waiting) = mpsc::sync_channel(MOST_LINES);
        // Without a thread nothing is written, and all of it is counted.
        let _ = thread::Builder::new().name("log".to_owned()).spawn(move || write(&waiting, end));
        Self(lines)
    }

    /// Waits a moment until all lines are written.
    pub(super) fn flush(&self) {
        let (written, heard) = mpsc::sync_channel(1);
        // The lines before it may fill the queue, and nobody may be emptying it.
        let begin = std::time::Instant::now();
        let mut line = Line::Written(written);
        while let Err(TrySendError::Full(again)) = self.0.try_send(line) {
            if begin.elapsed() > FAREWELL {
                return;
            }
            line = again;
            thread::sleep(Duration::from_millis(10));
        }
        let _ = heard.recv_timeout(FAREWELL.saturating_sub(begin.elapsed()));
    }
}

fn write(waiting: &Receiver<Line>, mut end: impl Write) {
    for line in waiting {
        match line {
            // Whom nobody hears can tell nobody so.
            Line::Text(text) => drop(end.write_all(&text)),
            Line::Written(written) => {
                let _ = end.flush();
                let _ = written.try_send(());
            }
        }
    }
}

/// One line, which tracing writes in one piece.
impl Write for &Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let kept = if text.len() > LONGEST { [&text[..LONGEST], b"...\n"].concat() } else { text.to_vec() };
        if self.0.try_send(Line::Text(kept)).is_err() {
            metrics::log_line_dropped();
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// The lines of this program, once its log is open.
pub(super) static OPEN: Mutex<Option<Lines>> = Mutex::new(None);

/// Waits a moment until all lines of this program are written.
pub(super) fn flush() {
    let lines = OPEN.lock().clone();
    if let Some(lines) = lines {
        lines.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// An end that takes nothing until it may.
    struct Stuck(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Stuck {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.lock().extend_from_slice(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_pipe_that_nobody_empties_stops_nobody_and_what_is_lost_is_counted() {
        let (go, stuck) = mpsc::channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let lines = Lines::to(Stuck(stuck, Arc::clone(&written)));
        let dropped = metrics::log_lines_dropped();
        for number in 0..MOST_LINES + 100 {
            (&lines).write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        // One may be in the writer's hands.
        assert!(metrics::log_lines_dropped() >= dropped + 99);
        drop(go);
        lines.flush();
        let text = String::from_utf8(written.lock().clone()).unwrap();
        let first: Vec<_> = text.lines().take(MOST_LINES).map(|line| line.parse::<usize>().unwrap()).collect();
        assert_eq!(first, (0..MOST_LINES).collect::<Vec<_>>(), "what had room came, in order, to the last line");
    }

    #[test]
    fn a_line_has_an_end() {
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let (go, stuck) = mpsc::channel();
        drop(go);
        let lines = Lines::to(Stuck(stuck, Arc::clone(&written)));
        (&lines).write_all(&vec![b'x'; 3 * LONGEST]).unwrap();
        lines.flush();
        let written = written.lock();
        assert_eq!((written.len(), written.last()), (LONGEST + 4, Some(&b'\n')));
    }
}
