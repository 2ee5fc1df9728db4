//! How Patroni's members are asked.
//!
//! Patroni answers in HTTP/1.0 without a length and closes the connection after each answer. A redirect or a proxy would
//! mean that somebody else answers, so neither is followed. Nothing outlives an answer: no connection is kept, no TLS
//! session is resumed, and every connection asks the system's resolver anew (`getaddrinfo`, which tries IPv6 and IPv4), so
//! that a host name which moves to another address is followed with the next question.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use reqwest::{
    dns::{Addrs, Name, Resolve, Resolving},
    header::{AUTHORIZATION, HeaderValue},
};

use super::lookups;
use crate::{
    cluster::watch::cause,
    core::hosts::{HostRules, RefusedHost},
    credentials::{Access, Credentials, CredentialsError, SecretState},
};

/// Largest body that is read, in bytes. `/cluster` of a hundred members has about 40 kB.
pub const MAX_BODY: usize = 1 << 20;

/// Why an answer is not Patroni's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatroniError {
    #[error("{0}")]
    Connection(String),
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("answered {0}, which Patroni doesn't: is this the address of its REST API?")]
    Status(u16),
    /// What TLS refuses, and what to do about it.
    #[error("{0}")]
    Tls(String),
    /// 401, and what to do about it.
    #[error("{0}")]
    Unauthorized(String),
    #[error("answered with more than {MAX_BODY} bytes")]
    TooLarge,
    #[error("answered with a body that isn't Patroni's: {0}")]
    Body(String),
}

/// An answer as it came: status and body.
pub type Raw = (u16, Vec<u8>);

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("HTTP can't be set up: {0}")]
    Setup(#[from] reqwest::Error),
}

/// Asks the members of one database, with its credentials as they were when this was made.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    /// Whether `https://` can be asked.
    tls: bool,
    credentials: Arc<Credentials>,
    /// Shown over TLS, and only to hosts that people wrote or that the credentials vouch for.
    login: Option<HeaderValue>,
    hosts: Arc<HostRules>,
    /// To be told when these credentials are refused.
    access: Access,
}

impl Http {
    /// `tls` says whether there is anybody to ask over TLS; the machine's root certificates take time and memory that plain
    /// HTTP has no use for. With credentials nobody is asked in any other way.
    ///
    /// # Errors
    /// There is nothing to believe servers by, or TLS can't be set up.
    pub fn new(
        credentials: Arc<Credentials>,
        access: &Access,
        tls: bool,
        hosts: Arc<HostRules>,
    ) -> Result<Self, HttpError> {
        crate::tls::install_provider();
        let tls = tls || credentials.want_tls();
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .http1_only()
            .dns_resolver(Arc::new(Names { hosts: Arc::clone(&hosts) }))
            .https_only(credentials.want_tls())
            .user_agent(concat!("switchover/", env!("CARGO_PKG_VERSION")));
        builder = if tls {
            builder.tls_backend_preconfigured(credentials.client_config()?)
        } else {
            builder.tls_certs_only([])
        };
        // A login holds no control characters, so that it always makes a header.
        let mut login = credentials.basic_auth().and_then(|login| HeaderValue::from_str(&login.header()).ok());
        if let Some(login) = &mut login {
            login.set_sensitive(true);
        }
        Ok(Self { client: builder.build()?, tls, credentials, login, hosts, access: access.clone() })
    }


    /// Whatever a URL answers.
    ///
    /// # Errors
    /// No answer in time, or one that is too large; a connection that TLS refuses; an answer 401.
    pub async fn get(&self, url: &str, timeout: Duration) -> Result<Raw, PatroniError> {
        let https = url.starts_with("https:");
        if self.credentials.want_tls() && !https {
            return Err(PatroniError::Tls(
                "its address begins with http://, and credentials go over TLS only: set up TLS there (restapi.certfile), so \
                 that Patroni states an address with https://"
                    .to_owned(),
            ));
        }
        if https && !self.tls {
            return Err(PatroniError::Tls(
                "its address begins with https://, and no URL that was given does: write https:// there, too"
                    .to_owned(),
            ));
        }
        let login = self.login.as_ref().filter(|_| https && may_log_in(self.credentials.vouch(), &self.hosts, url));
        let request = match login {
            Some(login) => self.client.get(url).header(AUTHORIZATION, login.clone()),
            None => self.client.get(url),
        };
        let fetch = async {
            let mut response = request.send().await.map_err(|error| self.failed(&error, https, true))?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(&error, https, false))? {
                if body.len() + chunk.len() > MAX_BODY {
                    return Err(PatroniError::TooLarge);
                }
                body.extend_from_slice(&chunk);
            }
            Ok((response.status().as_u16(), body))
        };
        match tokio::time::timeout(timeout, fetch).await {
            Ok(Ok((401, _))) if login.is_none() && self.login.is_some() => Err(PatroniError::Unauthorized(
                "asks for a login, which is shown only to hosts that spec.discovery.patroni.urls names, or that a ca.crt or a \
                 serverName of spec.discovery.patroni.tls vouches for: write it there"
                    .to_owned(),
            )),
            Ok(Ok((401, _))) => {
                self.access.doubt();
                Err(PatroniError::Unauthorized(self.credentials.explain_unauthorized()))
            }
            Ok(answer) => answer,
            Err(_) => Err(PatroniError::Timeout(timeout)),
        }
    }

    /// `first`: nothing has come yet.
    fn failed(&self, error: &reqwest::Error, https: bool, first: bool) -> PatroniError {
        if let Some(refused) = find::<rustls::Error>(error) {
            self.access.doubt();
            return PatroniError::Tls(self.credentials.explain(refused));
        }
        if https && first && !error.is_connect() {
            // TLS 1.3 lets a client begin before the server has looked at its certificate; what the server says then may
            // be lost with the connection.
            self.access.doubt();
            return PatroniError::Tls(self.credentials.explain_silence(&cause(error)));
        }
        let no_http = |error: &hyper::Error| error.is_parse() || error.is_incomplete_message();
        if !https && first && find::<hyper::Error>(error).is_some_and(no_http) {
            return PatroniError::Connection(format!(
                "doesn't answer in HTTP ({}): if it speaks TLS, write https://",
                cause(error)
            ));
        }
        PatroniError::Connection(cause(error))
    }
}

/// The host of a base URL, without the brackets of an IPv6 address.
#[must_use]
pub fn host_of(url: &str) -> Option<String> {
    let parsed = reqwest::Url::parse(url.trim()).ok()?;
    let host = parsed.host_str()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    Some(bare.parse::<IpAddr>().map_or_else(|_| bare.to_owned(), |ip| ip.to_string()))
}

/// Whether a login may go there: members list whom they like, and public authorities vouch for anybody's host.
fn may_log_in(vouched: bool, hosts: &HostRules, url: &str) -> bool {
    vouched || host_of(url).is_some_and(|host| hosts.is_written(&host))
}

/// Looks host names up, and says so when that is what fails: a name server that is gone is often only slow.
#[derive(Debug)]
struct Names {
    hosts: Arc<HostRules>,
}

/// Less than a request may take unless people write otherwise, so that it ends with a reason.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
enum NameError {
    #[error("its name can't be looked up: {0}")]
    Lookup(String),
    #[error("its name can't be looked up: no name server answers within {} s", LOOKUP_TIMEOUT.as_secs())]
    Late,
    #[error("its name leads to {0}, which {1}")]
    Refused(IpAddr, RefusedHost),
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let hosts = Arc::clone(&self.hosts);
        Box::pin(async move {
            // The port is the URL's, whatever is said here.
            match tokio::time::timeout(LOOKUP_TIMEOUT, lookups::addresses(name.as_str())).await {
                Ok(Ok(addresses)) => {
                    let refused = |address: &SocketAddr| hosts.refuse_address(name.as_str(), address.ip());
                    let (taken, left_out): (Vec<_>, Vec<_>) =
                        addresses.into_iter().partition(|address| refused(address).is_none());
                    match left_out.first() {
                        Some(address) if taken.is_empty() => {
                            let why = refused(address).unwrap_or(RefusedHost::NotAllowed);
                            Err(NameError::Refused(address.ip(), why).into())
                        }
                        _ => Ok(Box::new(taken.into_iter()) as Addrs),
                    }
                }
                Ok(Err(error)) => Err(NameError::Lookup(error).into()),
                Err(_) => Err(NameError::Late.into()),
            }
        })
    }
}

/// The way to the members of one database, made anew whenever there are new credentials.
#[derive(Debug)]
pub(super) struct MemberClient {
    access: Access,
    tls: bool,
    hosts: Arc<HostRules>,
    made_of: Option<Arc<Credentials>>,
    /// `Err`: why nobody can be asked, in one sentence. `None` until the first look at the credentials is over.
    http: Option<Result<Http, String>>,
}

impl MemberClient {
    /// `tls` as in [`Http::new`].
    pub(super) fn new(access: Access, tls: bool, hosts: Arc<HostRules>) -> Self {
        let mut way = Self { access, tls, hosts, made_of: None, http: None };
        way.refresh();
        way
    }

    pub(super) fn http(&self) -> Option<&Result<Http, String>> {
        self.http.as_ref()
    }

    /// How the credentials stand, if there are Secrets to speak of.
    pub(super) fn standing(&self) -> Option<SecretState> {
        self.access.standing()
    }

    /// When the client certificate expires that is in use.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        self.made_of.as_ref().and_then(|credentials| credentials.expires())
    }

    /// Returns when there is something new, after taking it over. Dropping it half-way loses nothing.
    pub(super) async fn changed(&mut self) {
        self.access.changed().await;
        self.refresh();
    }

    fn refresh(&mut self) {
        let held = self.access.held();
        match (held.credentials, held.problem) {
            (Some(new), _) if self.made_of.as_ref().is_some_and(|used| Arc::ptr_eq(used, &new)) => {}
            (Some(new), _) => {
                let http = Http::new(Arc::clone(&new), &self.access, self.tls, Arc::clone(&self.hosts));
                self.http = Some(http.map_err(|error| error.to_string()));
                self.made_of = Some(new);
            }
            (None, Some(problem)) => self.http = Some(Err(problem)),
            (None, None) => {}
        }
    }
}

/// The first cause of one type. An I/O error that wraps another error doesn't call it its source.
pub(super) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(found) = find(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_goes_where_people_wrote_or_their_own_authority_vouches() {
        let hosts = HostRules::new(["pg1.example".to_owned(), "10.0.0.1".to_owned()], ["*.example"]);
        for (url, written) in [
            ("https://pg1.example:8008/primary", true),
            ("https://10.0.0.1:8008/cluster", true),
            ("https://pg2.example:8008/primary", false),
            ("https://attacker.test:443/primary", false),
            ("https://10.0.0.1.attacker.test/primary", false),
            ("https://pg1.example@attacker.test/primary", false),
        ] {
            assert_eq!((may_log_in(false, &hosts, url), may_log_in(true, &hosts, url)), (written, true), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_can_not_be_looked_up_is_told_as_that() {
        let names = Names { hosts: Arc::new(HostRules::new(["localhost".to_owned()], [])) };
        let known = names.resolve("localhost".parse().unwrap()).await.unwrap();
        assert!(known.map(|address| address.ip()).all(|ip| ip.is_loopback()));
        // RFC 6761, 6.4 keeps .invalid free of names; where no name server answers, that is said.
        let Err(error) = names.resolve("pg1.invalid".parse().unwrap()).await else { panic!("it has an address") };
        assert!(cause(&*error).starts_with("its name can't be looked up: "), "{error}");
        let stated = Names { hosts: Arc::default() };
        let Err(error) = stated.resolve("localhost".parse().unwrap()).await else { panic!("it may be asked") };
        assert!(cause(&*error).ends_with("which every machine takes for itself (loopback)"), "{error}");
    }
}
