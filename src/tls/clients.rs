//! Who may call the webhook, where that is restricted: whoever shows a certificate of one of these authorities, and
//! bears one of these names if any are given.

use std::{fmt, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use parking_lot::Mutex;
use rustls::{
    CertificateError, DistinguishedName, RootCertStore,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{
    TlsError, der,
    reloaded::{FromFiles, Reload, Reloaded},
    signatures::signatures_as_always,
};

/// The authorities of one file.
struct Authorities(Arc<dyn ClientCertVerifier>);

/// Verifies clients by the newest good authorities of a file.
pub struct Clients {
    /// While there are none, nobody is let in.
    authorities: Reloaded<Authorities, 1>,
    /// Any of these; anybody if empty.
    names: Vec<String>,
    /// Who was turned away last, so that a client that tries again and again is one log line.
    stranger: Mutex<Vec<String>>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (files, names) = (&self.authorities.files(), &self.names);
        f.debug_struct("Clients").field("files", files).field("names", names).finish_non_exhaustive()
    }
}

impl Clients {
    /// Reads the file. If it is missing or not good, nobody is let in until [`Self::reload`] finds a good one.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>, names: Vec<String>) -> Self {
        let clients = Self { authorities: Reloaded::of([file.into()]), names, stranger: Mutex::default() };
        clients.reload();
        clients
    }

    /// Whether anybody can be let in.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.authorities.get(|_| ()).is_some()
    }

    /// Looks at the file once and takes it if it changed and is good. Open connections are not touched.
    pub fn reload(&self) -> Reload {
        let reload = self.authorities.reload(Timestamp::now());
        if reload == Reload::Swapped {
            let files = self.authorities.files();
            tracing::info!(?files, names = ?self.names, "verifying clients by these authorities");
        }
        reload
    }

    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
        let verifier = self.authorities.get(|authorities| Arc::clone(&authorities.0));
        Ok(verifier.ok_or(CertificateError::UnknownIssuer)?)
    }

    fn turned_away(&self, names: Vec<String>, why: &dyn fmt::Display) {
        let mut stranger = self.stranger.lock();
        if *stranger != names {
            tracing::warn!(client = ?names, %why, "a client is not let in");
            *stranger = names;
        }
    }
}

impl FromFiles<1> for Authorities {
    const REFUSED: &str = "the new authorities of clients are refused; the old ones stay";
    const NONE_YET: &str = "there are no authorities of clients yet, so that none is let in";

    fn make([file]: &[PathBuf; 1], [pem]: &[Vec<u8>; 1]) -> Result<Self, TlsError> {
        let bad = |problem: String| TlsError::Authorities { path: file.clone(), problem };
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(pem) {
            roots.add(authority.map_err(|error| bad(error.to_string()))?).map_err(|error| bad(error.to_string()))?;
        }
        // Without any authority this is an error, too.
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), super::provider())
            .build()
            .map(Self)
            .map_err(|error| bad(error.to_string()))
    }
}

impl ClientCertVerifier for Clients {
    /// No hints: they would be those of the file as it was when the connection began, and API servers have one
    /// certificate for us or none.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        client: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = match self.verifier()?.verify_client_cert(client, intermediates, now) {
            Ok(verified) => verified,
            Err(error) => {
                self.turned_away(der::names(client), &error);
                return Err(error);
            }
        };
        let names = der::names(client);
        if self.names.is_empty() || names.iter().any(|name| self.names.contains(name)) {
            return Ok(verified);
        }
        self.turned_away(names, &format_args!("it bears none of the names {}", self.names.join(", ")));
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    signatures_as_always!();
}
