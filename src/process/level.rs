//! What is logged, and how that changes while the program runs: by a file.
//!
//! A file is what every place has that this program runs in: a ConfigMap in a pod, `/etc` beside a systemd unit. It asks for no shell in
//! the image, no listener, and no right.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use tracing_subscriber::EnvFilter;

use super::Failure;

/// Say of a request or a watch that failed nothing that isn't said elsewhere.
const QUIET: [&str; 2] = ["kube_client=off", "kube_runtime=off"];
/// Between two looks at the file.
const EVERY: Duration = Duration::from_secs(2);
/// A longer file is none of these.
const LONGEST: u64 = 4096;

/// What to log, in the words of `--log`.
pub(super) fn read(text: &str) -> Result<EnvFilter, Failure> {
    let filter =
        EnvFilter::try_new(text).map_err(|error| format!("{error}: write a level such as info, or module=level"))?;
    // kube logs each request that fails, as an error; whoever made the request says what it means. Unless it was asked for.
    if text.contains("kube") {
        return Ok(filter);
    }
    QUIET.iter().try_fold(filter, |filter, quiet| Ok(filter.add_directive(quiet.parse()?)))
}

/// What is logged now. Changed by [`Level::follow`] alone.
pub(super) struct Level {
    /// What was typed.
    typed: String,
    /// What was last read from the file, if there was one.
    said: Option<String>,
    set: Box<dyn FnMut(EnvFilter) -> bool + Send>,
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Level").field("typed", &self.typed).field("said", &self.said).finish_non_exhaustive()
    }
}

impl Level {
    /// `set` is what changes it.
    pub(super) fn new(typed: &str, set: impl FnMut(EnvFilter) -> bool + Send + 'static) -> Self {
        Self { typed: typed.to_owned(), said: None, set: Box::new(set) }
    }

    /// Looks at the file again and again.
    pub(super) async fn follow(mut self, file: PathBuf) {
        loop {
            // What can't be read just now changes nothing: only a file that is gone says so.
            if let Ok(said) = look(&file) {
                self.take(said, &file);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Takes what the file says, if that is news; without a file what was typed counts again.
    fn take(&mut self, said: Option<String>, file: &Path) {
        if said == self.said {
            return;
        }
        self.said = said;
        let wanted = self.said.as_deref().unwrap_or(&self.typed);
        let (wanted, file) = (wanted.to_owned(), file.display());
        match read(&wanted) {
            Ok(filter) => {
                if (self.set)(filter) {
                    tracing::info!(%file, filter = wanted, "what is logged has changed");
                }
            }
            Err(error) => {
                let error: &dyn std::error::Error = &*error;
                tracing::warn!(%file, error, "what is logged stays as it is");
            }
        }
    }
}

/// What the file says; none where there is no file, or an empty one.
fn look(file: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    match fs::File::open(file).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(length) if length as u64 > LONGEST => return Err(io::ErrorKind::FileTooLarge.into()),
        Ok(_) => {}
    }
    let text = text.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn a_file_says_what_is_logged_while_it_is_there() {
        let file = std::env::temp_dir().join(format!("switchover-log-{}", std::process::id()));
        let set = Arc::<Mutex<Vec<String>>>::default();
        let sets = Arc::clone(&set);
        let mut level = Level::new("info", move |filter| {
            sets.lock().push(filter.to_string());
            true
        });
        let mut course = Vec::new();
        for text in [None, Some("debug\n"), Some("debug"), Some("kube=trace"), Some("no level=="), Some(" \n"), None] {
            match text {
                Some(text) => fs::write(&file, text).unwrap(),
                None => drop(fs::remove_file(&file)),
            }
            level.take(look(&file).unwrap(), &file);
            course.push(set.lock().drain(..).collect::<Vec<_>>());
        }
        let quiet = |level: &str| vec![read(level).unwrap().to_string()];
        let none = Vec::<String>::new;
        assert_eq!(course, [none(), quiet("debug"), none(), quiet("kube=trace"), none(), quiet("info"), none()]);
        assert!(quiet("debug")[0].contains("kube_client=off") && !quiet("kube=trace")[0].contains("off"));

        fs::write(&file, "x".repeat(5000)).unwrap();
        assert_eq!(look(&file).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        fs::remove_file(&file).unwrap();
    }
}
