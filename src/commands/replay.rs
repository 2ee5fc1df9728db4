//! `switchover replay`: runs the decision over a recording, offline, and prints every change of view.

mod verdict;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read as _, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use self::verdict::{Movement, Verdict};
use super::bundle::archive;
use crate::{
    cli::{Output, ReplayArgs},
    discover::recording::{RecordingError, Replay},
};

/// Why a recording can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("can't read {file}: {source}")]
    Read { file: String, source: io::Error },
    #[error("{file}: {source}")]
    Recording { file: String, source: RecordingError },
    #[error("can't write to standard output: {0}")]
    Write(io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Prints the changes of view in the recording that `args` name.
///
/// # Errors
/// The file can't be read, or is no recording.
pub fn run(args: &ReplayArgs) -> Result<(), ReplayError> {
    let out = &mut io::stdout().lock();
    match replay(args, out, &mut io::stderr().lock()) {
        // Whoever read the output has seen enough.
        Err(ReplayError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn replay(args: &ReplayArgs, out: &mut impl Write, notes: &mut impl Write) -> Result<(), ReplayError> {
    let file = name(&args.file);
    let unreadable = |source| ReplayError::Read { file: file.clone(), source };
    let refused = |source| ReplayError::Recording { file: file.clone(), source };
    let mut input = open(&args.file, args.database.as_deref()).map_err(unreadable)?;
    // Nothing depends on what this instant is: the recording's times are counted from it.
    let base = Instant::now();
    let mut replay = Replay::new(base).with_sentences(args.sentences);
    let mut movement = args.move_.then(|| Movement::new(args.settle_rules(), base));
    let mut print = |verdicts: Vec<Verdict>| -> Result<(), ReplayError> {
        for verdict in verdicts {
            let line = match args.output {
                Output::Json => verdict.json()?,
                Output::Text => verdict.text(),
            };
            writeln!(out, "{line}").map_err(ReplayError::Write)?;
        }
        // A recording may come through a pipe while it is made.
        out.flush().map_err(ReplayError::Write)
    };
    let verdicts = |movement: &mut Option<Movement>, change| match movement {
        Some(movement) => movement.next(change),
        None => vec![Verdict::from(change)],
    };

    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
            break;
        }
        match replay.line(&line) {
            Ok(Some(change)) => print(verdicts(&mut movement, change))?,
            Ok(None) => {}
            // Whoever recorded was stopped in the middle of a line.
            Err(RecordingError::NoAnswer { line: number, cut_off: true, .. }) if !line.ends_with(b"\n") => {
                let _ = writeln!(notes, "{file}: line {number}, the last one, is cut off and was left out");
            }
            Err(error) => return Err(refused(error)),
        }
    }
    let (changes, instead) = replay.finish().map_err(refused)?;
    for change in changes {
        print(verdicts(&mut movement, change))?;
    }
    print(movement.map(Movement::finish).unwrap_or_default())?;
    if !instead.is_empty() {
        let paths: Vec<_> = instead.into_iter().collect();
        let _ = writeln!(
            notes,
            "{file}: no line is an answer to /primary: judged by {}, which may be less certain",
            paths.join(", ")
        );
    }
    Ok(())
}

fn name(file: &Path) -> String {
    if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() }
}

/// The recording, or the one of a report.
fn open(file: &PathBuf, database: Option<&str>) -> io::Result<Box<dyn BufRead>> {
    let mut input: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(file)?))
    };
    if !archive::is_one(input.fill_buf()?) {
        return Ok(input);
    }
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    Ok(Box::new(Cursor::new(archive::recording(&bytes, database)?)))
}

#[cfg(test)]
mod tests;
