//! Asks the database itself, over SQL: every member by itself, over a connection that is kept, and with a time limit for
//! each connection and each answer.

mod session;
mod tls;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use self::{
    session::{Login, Session, SqlError},
    tls::MakeTls,
};
use super::{
    Member, TICK, Word, max_age,
    publish::{Look, Publisher},
    witness::Testimony,
};
use crate::{
    api::discovery::SqlDiscovery,
    core::primary::{Answer, Observation},
    credentials::{Access, Credentials, Sources},
};

/// The Secrets that a spec names.
#[must_use]
pub fn sources(spec: &SqlDiscovery, namespace: &str) -> Sources {
    let tls = spec.tls.clone().unwrap_or_default();
    Sources {
        field: "spec.discovery.sql",
        namespace: namespace.to_owned(),
        tls_secret: tls.secret_name,
        server_name: tls.server_name,
        basic_auth_secret: Some(spec.basic_auth.secret_name.clone()),
        ..Sources::default()
    }
}

/// How to ask.
#[derive(Debug, Clone)]
pub struct SqlConfig {
    pub spec: SqlDiscovery,
    /// The login, and by what servers are believed.
    pub access: Access,
}

impl SqlConfig {
    pub(super) fn max_age(&self) -> Duration {
        max_age(self.spec.interval.0, self.spec.timeout.0)
    }
}

/// An answer, of the member with this index.
struct Said {
    member: usize,
    answer: Answer,
    took: Duration,
}

pub(super) struct Task {
    members: Vec<Member>,
    latest: Vec<Observation>,
    said: mpsc::Receiver<Said>,
    access: Access,
    publisher: Publisher,
    /// One for each member. They end with the task.
    _asking: JoinSet<()>,
}

impl Task {
    pub fn new(config: SqlConfig, publisher: Publisher, now: Instant) -> Self {
        let mut members: Vec<Member> = config
            .spec
            .members
            .iter()
            .map(|member| Member {
                name: member.name.clone(),
                host: member.host.clone(),
                port: member.port,
                api_url: None,
            })
            .collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        let (sender, said) = mpsc::channel(members.len().max(1));
        let mut asking = JoinSet::new();
        for (index, member) in members.iter().enumerate() {
            let seat = Seat { index, member: member.clone(), config: config.clone(), session: None, tls: None };
            asking.spawn(seat.run(sender.clone()));
        }
        let latest = members.iter().map(|_| Observation { answer: Answer::Pending, at: now }).collect();
        let mut task = Self { members, latest, said, access: config.access, publisher, _asking: asking };
        task.publish(now);
        task
    }

    pub async fn run(mut self, mut spoken: mpsc::Receiver<Word>) {
        loop {
            tokio::select! {
                Some(Said { member, answer, took }) = self.said.recv() => {
                    self.publisher.count(self.members[member].name.clone(), &answer, took);
                    self.latest[member] = Observation { answer, at: Instant::now() };
                }
                Some(word) = spoken.recv() => self.publisher.heed(word),
                () = sleep(TICK) => {}
            }
            self.publish(Instant::now());
        }
    }

    fn publish(&mut self, now: Instant) {
        let names = self.members.iter().map(|member| member.name.clone());
        let look = Look {
            complete: self.latest.iter().all(|latest| latest.answer != Answer::Pending),
            observations: names.zip(self.latest.iter().cloned()).collect(),
            members: self.members.clone(),
            credentials: self.access.standing(),
            expires: self.access.held().credentials.and_then(|credentials| credentials.expires()),
            testimony: Testimony::default(),
        };
        self.publisher.publish(look, now);
    }
}

/// Asks one member, for ever.
struct Seat {
    index: usize,
    member: Member,
    config: SqlConfig,
    session: Option<Open>,
    tls: Option<(Arc<Credentials>, MakeTls)>,
}

/// A connection, and what it was opened with.
struct Open {
    session: Session,
    credentials: Arc<Credentials>,
}

impl Seat {
    async fn run(mut self, said: mpsc::Sender<Said>) {
        loop {
            let started = Instant::now();
            let answer = self.look().await;
            if answer == Answer::Pending {
                // The Secrets are being read.
                self.config.access.changed().await;
                continue;
            }
            if said.send(Said { member: self.index, answer, took: started.elapsed() }).await.is_err() {
                return;
            }
            sleep(self.config.spec.interval.0.saturating_sub(started.elapsed())).await;
        }
    }

    async fn look(&mut self) -> Answer {
        let held = self.config.access.held();
        let credentials = match (held.credentials, held.problem) {
            (Some(credentials), _) => credentials,
            (None, Some(error)) => return Answer::Unreachable { error },
            (None, None) => return Answer::Pending,
        };
        let open = self.session.take().filter(|open| Arc::ptr_eq(&open.credentials, &credentials));
        let limit = self.config.spec.timeout.0;
        match timeout(limit, self.ask(open.map(|open| open.session), &credentials)).await {
            Ok(Ok((session, answer))) => {
                self.session = Some(Open { session, credentials });
                answer
            }
            Ok(Err(error)) => {
                if error.doubts_credentials() {
                    self.config.access.doubt();
                }
                Answer::Unreachable { error: error.to_string() }
            }
            Err(_) => Answer::Unreachable { error: format!("no answer within {} ms", limit.as_millis()) },
        }
    }

    async fn ask(
        &mut self,
        session: Option<Session>,
        credentials: &Arc<Credentials>,
    ) -> Result<(Session, Answer), SqlError> {
        let session = match session {
            Some(session) => session,
            None => self.open(credentials).await?,
        };
        let sight = session.ask().await?;
        Ok((session, Answer::Seen(sight)))
    }

    async fn open(&mut self, credentials: &Arc<Credentials>) -> Result<Session, SqlError> {
        let tls = self.tls(credentials)?;
        let spec = &self.config.spec;
        let (user, password) = credentials.basic_auth().map_or(("", ""), |login| (&*login.user, login.password()));
        let login = Login {
            host: &self.member.host,
            port: self.member.port,
            database: &spec.database,
            user,
            password,
            tls,
            timeout: spec.timeout.0,
        };
        Session::open(login).await.map_err(|error| match &error {
            SqlError::Tls(refused) => SqlError::Connection(credentials.explain(refused)),
            _ => error,
        })
    }

    /// Made once for each of the credentials: the machine's root certificates take time to read.
    fn tls(&mut self, credentials: &Arc<Credentials>) -> Result<Option<MakeTls>, SqlError> {
        if self.config.spec.unencrypted {
            return Ok(None);
        }
        if let Some((made_of, tls)) = &self.tls
            && Arc::ptr_eq(made_of, credentials)
        {
            return Ok(Some(tls.clone()));
        }
        let config = credentials.client_config().map_err(|error| SqlError::Connection(error.to_string()))?;
        let tls = MakeTls::new(config);
        self.tls = Some((Arc::clone(credentials), tls.clone()));
        Ok(Some(tls))
    }
}
