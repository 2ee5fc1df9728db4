//! The newest good credentials of one database, for as long as it is followed.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::Client;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::{
    Credentials, CredentialsError, Files, Sources, TlsParts,
    secrets::{Material, Unread},
};

/// How often the Secrets are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Pause between two looks while all is well.
    pub regular: Duration,
    /// The same while the Secrets can't be used, and the least pause before a look that a refused connection asks for.
    pub soon: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { regular: Duration::from_secs(30), soon: Duration::from_secs(5) }
    }
}

/// What there is to connect with.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// The newest good ones. `None` until there were any.
    pub credentials: Option<Arc<Credentials>>,
    /// What is wrong with the Secrets as they are now, in one sentence.
    pub problem: Option<String>,
}

/// How the Secrets stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretState {
    /// These are in use as they are.
    Current { secrets: String },
    /// They can't be used as they are now, and what they were before is in use.
    Outdated { problem: String },
    /// They can't be used, and never could.
    Missing { problem: String },
}

impl SecretState {
    /// In one CamelCase word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Current { .. } => "Current",
            Self::Outdated { .. } => "Outdated",
            Self::Missing { .. } => "Missing",
        }
    }
}

impl fmt::Display for SecretState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current { secrets } => write!(f, "in use as it stands in {secrets}"),
            Self::Outdated { problem } => write!(f, "{problem}; what was there before is still in use"),
            Self::Missing { problem } => f.write_str(problem),
        }
    }
}

/// Hands out the newest good credentials. The Secrets are no longer read when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Access {
    held: watch::Receiver<Held>,
    doubt: Arc<Notify>,
    /// The Secrets in words; `None` if there are none.
    secrets: Option<Arc<str>>,
    _reading: Option<Arc<Reading>>,
}

impl Access {
    /// Credentials that never change.
    #[must_use]
    pub fn fixed(credentials: Arc<Credentials>) -> Self {
        let held = Held { credentials: Some(credentials), problem: None };
        // A channel keeps its last value when its sender is gone.
        let (_, held) = watch::channel(held);
        Self { held, doubt: Arc::default(), secrets: None, _reading: None }
    }

    /// Reads the Secrets of `database` now and whenever it is due. Needs a Tokio runtime.
    #[must_use]
    pub fn keep(database: &str, client: Client, sources: Sources, pace: Pace) -> Self {
        if !sources.named() {
            // Only what the spec says itself, which its schema has seen to.
            let credentials = sources.credentials(&Material::default());
            return match credentials {
                Ok(credentials) => Self::fixed(Arc::new(credentials)),
                Err(error) => Self::failed(error.to_string()),
            };
        }
        Self::follow(database, Origin::Secrets(client, sources), pace)
    }

    /// Reads the files for `database` now and whenever it is due. Needs a Tokio runtime.
    #[must_use]
    pub fn files(database: &str, files: Files, pace: Pace) -> Self {
        if !files.named() {
            return match files.load() {
                Ok(credentials) => Self::fixed(Arc::new(credentials)),
                Err(error) => Self::failed(error.to_string()),
            };
        }
        Self::follow(database, Origin::Files(files), pace)
    }

    fn follow(database: &str, origin: Origin, pace: Pace) -> Self {
        let (sender, held) = watch::channel(Held::default());
        let doubt: Arc<Notify> = Arc::default();
        let secrets = Some(origin.words().into());
        let keeper =
            Keeper { database: database.to_owned(), origin, pace, sender, doubt: Arc::clone(&doubt), content: None };
        let reading = Reading(tokio::spawn(keeper.run()));
        Self { held, doubt, secrets, _reading: Some(Arc::new(reading)) }
    }

    fn failed(problem: String) -> Self {
        let (_, held) = watch::channel(Held { credentials: None, problem: Some(problem) });
        Self { held, doubt: Arc::default(), secrets: None, _reading: None }
    }

    /// What there is now.
    #[must_use]
    pub fn held(&self) -> Held {
        self.held.borrow().clone()
    }

    /// How the Secrets stand. `None` if there are none, or before the first look at them is over.
    #[must_use]
    pub fn standing(&self) -> Option<SecretState> {
        let secrets = self.secrets.as_deref()?.to_owned();
        let held = self.held.borrow();
        match (&held.credentials, held.problem.clone()) {
            (Some(_), None) => Some(SecretState::Current { secrets }),
            (Some(_), Some(problem)) => Some(SecretState::Outdated { problem }),
            (None, Some(problem)) => Some(SecretState::Missing { problem }),
            (None, None) => None,
        }
    }

    /// Returns when something else is held. Never, if that can't be.
    pub async fn changed(&mut self) {
        if self.held.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Somebody was refused with these credentials: there may be new ones.
    pub fn doubt(&self) {
        self.doubt.notify_one();
    }
}

/// Ends with its last owner.
struct Reading(JoinHandle<()>);

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reading")
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where the credentials lie.
enum Origin {
    Secrets(Client, Sources),
    Files(Files),
}

/// What was read there. It has no `Debug`: nobody is to see it.
#[derive(PartialEq, Eq)]
enum Content {
    Secrets(Material),
    Files(TlsParts),
}

impl Origin {
    fn words(&self) -> String {
        match self {
            Self::Secrets(_, sources) => sources.secrets(),
            Self::Files(files) => files.words(),
        }
    }

    fn encrypted(&self) -> bool {
        !matches!(self, Self::Secrets(_, sources) if sources.unencrypted)
    }

    async fn read(&self) -> Result<(Content, Result<Credentials, CredentialsError>), Unread> {
        Ok(match self {
            Self::Secrets(client, sources) => {
                let material = sources.read(client).await?;
                let credentials = sources.credentials(&material);
                (Content::Secrets(material), credentials)
            }
            Self::Files(files) => {
                let parts = files.read().map_err(Unread::Wrong)?;
                let credentials = files.credentials(&parts);
                (Content::Files(parts), credentials)
            }
        })
    }
}

/// Also what only the setting up shows to be wrong must never replace what is good: where anything is set up, for TLS.
pub(super) fn usable(
    credentials: Result<Credentials, CredentialsError>,
    encrypted: bool,
) -> Result<Credentials, CredentialsError> {
    let credentials = credentials?;
    if encrypted {
        credentials.client_config()?;
    }
    Ok(credentials)
}

struct Keeper {
    database: String,
    origin: Origin,
    pace: Pace,
    sender: watch::Sender<Held>,
    doubt: Arc<Notify>,
    /// What the newest good ones were made of.
    content: Option<Content>,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            let looked = Instant::now();
            self.look().await;
            tokio::time::sleep_until((looked + self.pace.soon).into()).await;
            if self.sender.borrow().problem.is_none() {
                tokio::select! {
                    () = tokio::time::sleep_until((looked + self.pace.regular).into()) => {}
                    () = self.doubt.notified() => {}
                }
            }
        }
    }

    async fn look(&mut self) {
        match self.origin.read().await {
            Ok((content, _)) if self.content.as_ref() == Some(&content) && self.sender.borrow().problem.is_none() => {}
            Ok((content, credentials)) => {
                match usable(credentials, self.origin.encrypted()) {
                    // It is again what it was before something was wrong.
                    Ok(_) if self.content.as_ref() == Some(&content) && self.has_some() => self.well(None),
                    Ok(credentials) => {
                        self.content = Some(content);
                        self.well(Some(credentials));
                    }
                    Err(error) => self.wrong(error.to_string()),
                }
            }
            Err(Unread::Wrong(error)) => self.wrong(error.to_string()),
            Err(Unread::Unheard(error)) if self.has_some() => {
                tracing::debug!(database = self.database, %error, "the credentials could not be looked at");
            }
            Err(Unread::Unheard(error)) => self.wrong(error.to_string()),
        }
    }

    fn has_some(&self) -> bool {
        self.sender.borrow().credentials.is_some()
    }

    fn well(&self, new: Option<Credentials>) {
        let secrets = self.origin.words();
        match &new {
            Some(new) => {
                let expires = new.expires().map(|at| at.to_string());
                tracing::info!(database = self.database, secrets, expires, "using new credentials");
            }
            None => tracing::info!(database = self.database, secrets, "the credentials are good again"),
        }
        self.sender.send_modify(|held| {
            held.problem = None;
            if let Some(new) = new {
                held.credentials = Some(Arc::new(new));
            }
        });
    }

    /// Says it once, and keeps what was good.
    fn wrong(&self, problem: String) {
        if self.sender.borrow().problem.as_ref() == Some(&problem) {
            return;
        }
        if self.has_some() {
            tracing::warn!(
                database = self.database,
                problem,
                "the new credentials are refused; the old ones stay in use"
            );
        } else {
            tracing::warn!(database = self.database, problem, "there are no credentials yet; looking again");
        }
        self.sender.send_modify(|held| held.problem = Some(problem));
    }
}
