//! `switchover simulate`: plays a script, or an invented month, and tells what came of it.

use std::{
    fs,
    io::{self, Read, Write},
    path::Path,
    time::Instant,
};

use crate::{
    cli::SimulateArgs,
    simulate::{HEAD, Report, Script, ScriptError, SettingError, grid, invent, play, shrink},
};

/// Why a simulation can't be played, or what came of it.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    #[error("can't read {file}: {source}")]
    Read { file: String, source: io::Error },
    #[error("{file}: {source}")]
    Script { file: String, source: ScriptError },
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error("can't write to standard output: {0}")]
    Write(#[from] io::Error),
    #[error("what must hold didn't: {0}")]
    Broken(String),
}

/// Plays what `args` name, and prints what came of it.
///
/// # Errors
/// The script can't be read, or something that must hold, or was expected, didn't.
pub fn run(args: &SimulateArgs) -> Result<(), SimulateError> {
    match simulate(args, &mut io::stdout().lock()) {
        // Whoever read the output has seen enough.
        Err(SimulateError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}

fn simulate(args: &SimulateArgs, out: &mut impl Write) -> Result<(), SimulateError> {
    // Nothing depends on what this instant is: the script's times are counted from it.
    let begin = Instant::now();
    if args.grid {
        writeln!(out, "{HEAD}")?;
        for row in grid(args.seed.unwrap_or(1), args.days.div_ceil(30), begin)? {
            writeln!(out, "{row}")?;
        }
        return Ok(());
    }
    let Some(file) = &args.file else { return months(args, out, begin) };
    let script: Script = {
        let name = file.display().to_string();
        let text = read(file).map_err(|source| SimulateError::Read { file: name.clone(), source })?;
        text.parse().map_err(|source| SimulateError::Script { file: name, source })?
    };
    let report = play(&script, begin)?;
    writeln!(out, "{report}")?;
    judge(&report)
}

/// Invented ones, from one seed on.
fn months(args: &SimulateArgs, out: &mut impl Write, begin: Instant) -> Result<(), SimulateError> {
    let first = args.seed.unwrap_or(1);
    let mut steps = 0;
    for seed in first..first.saturating_add(u64::from(args.seeds)) {
        let script = invent(seed, args.days);
        if args.print {
            writeln!(out, "{script}")?;
        }
        let report = play(&script, begin)?;
        steps += report.steps;
        if let Some(broken) = report.broken.first() {
            writeln!(out, "seed {seed}: {broken}\nshrinking it to a smaller script that breaks the same:\n")?;
            let small = shrink(&script, begin);
            writeln!(out, "{small}\n{}", play(&small, begin)?)?;
            return judge(&report);
        }
        let Report { evictions, restarts, refused, evaluations, .. } = report;
        writeln!(
            out,
            "seed {seed}: every law holds; {} steps, {evaluations} evaluations, {evictions} evictions, {restarts} restarts, \
             {refused} refused",
            report.steps
        )?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    writeln!(out, "{steps} steps in {seconds:.1} s: {:.0} a second", steps as f64 / seconds)?;
    Ok(())
}

fn judge(report: &Report) -> Result<(), SimulateError> {
    report.broken.first().map_or(Ok(()), |broken| Err(SimulateError::Broken(broken.to_string())))
}

fn read(file: &Path) -> io::Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(file)
}
