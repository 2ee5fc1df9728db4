//! What to do about a connection that TLS refuses.

use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError, Error, pki_types::UnixTime};

use super::Credentials;

impl Credentials {
    /// Says what is wrong with a connection to a server, and what to write instead.
    #[must_use]
    pub fn explain(&self, error: &Error) -> String {
        match error {
            Error::InvalidCertificate(error) => self.explain_certificate(error),
            Error::AlertReceived(alert) => self.explain_alert(*alert),
            Error::InvalidMessage(_) => {
                "doesn't speak TLS: write http:// if it isn't meant to, or set up TLS there".to_owned()
            }
            Error::PeerIncompatible(_) => {
                format!("has no TLS 1.2 or 1.3 in common with us ({error}): set up either there")
            }
            other => format!("TLS with it fails: {other}"),
        }
    }

    fn explain_certificate(&self, error: &CertificateError) -> String {
        let places = &self.places;
        match error {
            // A bad signature: an authority of the same name that was made anew.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => match &self.authorities {
                Some(_) => format!(
                    "its certificate is signed by no authority of {0}: add the one that signed it there",
                    places.authorities
                ),
                None => format!(
                    "its certificate is signed by no authority that this machine trusts: write the one that signed it into {}",
                    places.authorities
                ),
            },
            CertificateError::NotValidForNameContext { expected, presented } => {
                let (expected, names) =
                    (expected.to_str(), presented.iter().map(|name| bare(name)).collect::<Vec<_>>());
                let carries = match &names[..] {
                    [] => "no name at all (subjectAltName)".to_owned(),
                    names => names.join(", "),
                };
                let write = &places.server_name;
                match &self.server_name {
                    Some(_) => format!(
                        "its certificate carries {carries}, not {expected}, which is written as {write}: write one that it \
                         carries, or issue it anew"
                    ),
                    None => format!(
                        "its certificate carries {carries}, not {expected}: write a name that it carries as {write}, or \
                         issue it anew"
                    ),
                }
            }
            CertificateError::ExpiredContext { not_after, .. } => {
                format!("its certificate expired at {}: renew it there", time(*not_after))
            }
            CertificateError::Expired => "its certificate has expired: renew it there".to_owned(),
            CertificateError::NotValidYetContext { not_before, .. } => format!(
                "its certificate is valid only from {} on: compare the clocks of both machines",
                time(*not_before)
            ),
            CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => {
                "its certificate isn't a server's: issue one with extendedKeyUsage serverAuth".to_owned()
            }
            CertificateError::Other(other) => format!(
                "its certificate isn't accepted ({other}): issue one that is signed by an authority, and no authority's \
                 itself"
            ),
            other => format!("its certificate isn't accepted ({other}): issue it anew"),
        }
    }

    fn explain_alert(&self, alert: AlertDescription) -> String {
        use AlertDescription as Alert;
        let about_us = matches!(
            alert,
            Alert::CertificateRequired
                | Alert::NoCertificate
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::DecryptError
                // What servers of TLS 1.2 say when they miss a certificate.
                | Alert::HandshakeFailure
        );
        let identity = &self.places.identity;
        match &self.identity {
            None if about_us => {
                format!("asks for a client certificate (alert {alert:?}): write {}", into(identity))
            }
            Some(_) if about_us => format!(
                "doesn't accept our client certificate (alert {alert:?}): write another into {identity}: one for clients \
                 (clientAuth) that an authority of the server's signed and that hasn't expired"
            ),
            _ => format!("refuses TLS with us (alert {alert:?}): its log says why"),
        }
    }

    /// Says what a server may want that closes the connection without a word.
    #[must_use]
    pub fn explain_silence(&self, cause: &str) -> String {
        match &self.identity {
            None => format!(
                "gave no answer ({cause}): if it asks for a client certificate, write {}",
                into(&self.places.identity)
            ),
            Some(_) => format!(
                "gave no answer ({cause}): its log says why, such as a client certificate that \
                 it doesn't accept"
            ),
        }
    }

    /// Says what to do about an answer 401.
    #[must_use]
    pub fn explain_unauthorized(&self) -> String {
        match &self.basic_auth {
            None => {
                format!("answered 401, so it asks for a user and a password: write {}", into(&self.places.basic_auth))
            }
            Some(login) => format!(
                "answered 401, so it doesn't accept the password of {}: write the right ones into {}",
                login.user, self.places.basic_auth
            ),
        }
    }
}

/// `tls.crt and tls.key of the Secret …` → `tls.crt and tls.key into the Secret …`.
fn into(place: &str) -> String {
    place.replacen(" of ", " into ", 1)
}

/// `DnsName("pg1.example.com")` → `pg1.example.com`, `IpAddress(10.0.0.1)` → `10.0.0.1`.
fn bare(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"')
}

fn time(at: UnixTime) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_string()
}
