//! Makes the webhook's authority and serving certificate. No openssl anywhere.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{
    core::rotation::{AuthorityId, Validity},
    tls::{self, der::validity},
};

/// A serving certificate and the authority that signed it.
#[derive(Clone)]
pub struct Made {
    pub ca_pem: String,
    pub certificate_pem: String,
    pub key_pem: String,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").field("certificate_pem", &self.certificate_pem).finish_non_exhaustive()
    }
}

/// Makes an authority and a serving certificate of it that hold equally long from now. The authority's key is thrown
/// away: nothing else can ever be signed by it.
///
/// # Errors
/// When a name can't stand in a certificate.
pub fn generate(service: &str, namespace: &str, lifetime: Duration) -> Result<Made, rcgen::Error> {
    let now = Timestamp::now();
    Authority::generate(lifetime, now)?.issue(service, namespace, lifetime, now)
}

/// Certificates are valid from a day before they are made, because clocks differ; short-lived ones from less.
const BACKDATED: Duration = Duration::from_secs(86_400);

/// Signs serving certificates.
pub struct Authority {
    pub certificate_pem: String,
    pub key_pem: String,
    pub validity: Validity,
    /// The certificate again.
    pub id: AuthorityId,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("validity", &self.validity).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes an authority with a new key.
    ///
    /// # Errors
    /// When the process has no randomness.
    pub fn generate(lifetime: Duration, now: Timestamp) -> Result<Self, rcgen::Error> {
        let validity = validity_from(now, lifetime);
        let mut params = authority_params()?;
        (params.not_before, params.not_after) =
            (SystemTime::from(validity.from).into(), SystemTime::from(validity.until).into());
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            validity,
            id: AuthorityId(certificate.der().to_vec()),
        })
    }

    /// An authority that was made before. `None` if it isn't one, if the key is another one's, or if it was made
    /// elsewhere and can't be signed for here: whatever is wrong, a new one has to take its place.
    #[must_use]
    pub fn load(certificate_pem: &[u8], key_pem: &[u8]) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(certificate_pem).ok()?;
        let authority = Self {
            certificate_pem: String::from_utf8(certificate_pem.to_vec()).ok()?,
            key_pem: String::from_utf8(key_pem.to_vec()).ok()?,
            validity: validity(&der)?,
            id: AuthorityId(der.to_vec()),
        };
        // The proof is a certificate that it signs.
        let Validity { from, until } = authority.validity;
        let lifetime = until.duration_since(from).try_into().ok()?;
        let probe = authority.issue("probe", "probe", lifetime, from).ok()?;
        let probe = CertificateDer::from_pem_slice(probe.certificate_pem.as_bytes()).ok()?;
        signed_by(&[probe], &authority.id, "probe", "probe").then_some(authority)
    }

    /// Makes a serving certificate for a Service, with a new key. The API server asks for the name
    /// `SERVICE.NAMESPACE.svc`. It holds no longer than the authority does.
    ///
    /// # Errors
    /// When a name can't stand in a certificate, or the authority's key can't be read.
    pub fn issue(
        &self,
        service: &str,
        namespace: &str,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Made, rcgen::Error> {
        let name = format!("{service}.{namespace}");
        let names = [format!("{name}.svc"), format!("{name}.svc.cluster.local"), name, service.to_owned()];
        let mut params = CertificateParams::new(names)?;
        // A common name has at most 64 characters (RFC 5280); the names that count are in the certificate's list.
        params.distinguished_name = named("switchover webhook");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let mut validity = validity_from(now, lifetime);
        validity.from = validity.from.max(self.validity.from);
        validity.until = validity.until.min(self.validity.until);
        (params.not_before, params.not_after) =
            (SystemTime::from(validity.from).into(), SystemTime::from(validity.until).into());
        let key = KeyPair::generate()?;
        let issuer = Issuer::new(authority_params()?, KeyPair::from_pem(&self.key_pem)?);
        let certificate_pem = params.signed_by(&key, &issuer)?.pem();
        Ok(Made { ca_pem: self.certificate_pem.clone(), certificate_pem, key_pem: key.serialize_pem() })
    }
}

/// What every authority of ours has in common; its name is what certificates call their issuer.
fn authority_params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = named("switchover webhook CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn validity_from(now: Timestamp, lifetime: Duration) -> Validity {
    // A certificate's times have whole seconds.
    let whole = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
    let plus = |span: Duration| SignedDuration::try_from(span).ok().and_then(|span| now.checked_add(span).ok());
    let backdated = SignedDuration::try_from(BACKDATED.min(lifetime / 12)).unwrap_or_default();
    Validity {
        from: whole(now.checked_sub(backdated).unwrap_or(now)),
        // The last time that a certificate can state.
        until: whole(plus(lifetime).unwrap_or(Timestamp::MAX).min(LAST)),
    }
}

/// 9999-12-30, the day before RFC 5280 knows no end.
const LAST: Timestamp = Timestamp::constant(253_402_128_000, 0);

/// Whether an authority signed a chain (the server's own certificate first) for the name that the API server asks for.
/// Says nothing of whether it has expired.
#[must_use]
pub fn signed_by(chain: &[CertificateDer<'_>], authority: &AuthorityId, service: &str, namespace: &str) -> bool {
    let check = || {
        let (leaf, intermediates) = chain.split_first()?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.0.as_slice())).ok()?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), tls::provider()).build().ok()?;
        let inside = u64::try_from(validity(leaf)?.until.as_second() - 1).ok()?;
        let at = UnixTime::since_unix_epoch(Duration::from_secs(inside));
        verifier.verify_server_cert(leaf, intermediates, &server_name(service, namespace)?, &[], at).ok()
    };
    check().is_some()
}

/// The name that the API server asks for. In a test bed the webhook may be called by an address in place of a Service.
fn server_name(service: &str, namespace: &str) -> Option<ServerName<'static>> {
    let name = match service.parse::<IpAddr>() {
        Ok(_) => service.to_owned(),
        Err(_) => format!("{service}.{namespace}.svc"),
    };
    ServerName::try_from(name).ok()
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn der(pem: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
    }

    #[test]
    fn a_made_certificate_is_valid_as_long_as_it_should() {
        let rows = [
            (Duration::from_secs(3), 1),
            (Duration::from_secs(120), 10),
            (DAY, 7200),
            (12 * DAY, 86_400),
            (365 * DAY, 86_400),
            (3650 * DAY, 86_400),
            (20_000 * DAY, 86_400),
        ];
        check_rows(rows, |(lifetime, before)| {
            let now = Timestamp::now();
            let authority = Authority::generate(lifetime, now).unwrap();
            let made = authority.issue("switchover-webhook", "switchover-system", 2 * lifetime, now).unwrap();
            for pem in [&made.ca_pem, &made.certificate_pem] {
                let Validity { from, until } = validity(&der(pem)).unwrap();
                let (begun, left) = (now.duration_since(from), until.duration_since(now));
                assert!((begun.as_secs() - before).abs() <= 1, "{lifetime:?}: {begun}");
                let lifetime = i64::try_from(lifetime.as_secs()).unwrap();
                assert!(lifetime - left.as_secs() <= 1, "{lifetime}: no longer than the authority: {left}");
            }
        });
    }

    #[test]
    fn an_authority_that_was_kept_goes_on_signing() {
        let now = Timestamp::now();
        let (first, second) = (Authority::generate(DAY, now).unwrap(), Authority::generate(DAY, now).unwrap());
        let load = |certificate: &Authority, key: &Authority| {
            Authority::load(certificate.certificate_pem.as_bytes(), key.key_pem.as_bytes())
        };
        let again = load(&first, &first).unwrap();
        assert_eq!((&again.id, again.validity), (&first.id, first.validity));
        let made = again.issue("switchover-webhook", "switchover-system", DAY, now).unwrap();
        let chain = [der(&made.certificate_pem)];
        let by = |authority: &Authority, service, namespace| signed_by(&chain, &authority.id, service, namespace);
        assert!(by(&first, "switchover-webhook", "switchover-system"));
        assert!(!by(&second, "switchover-webhook", "switchover-system"), "another authority of the same name");
        assert!(!by(&first, "switchover-webhook", "elsewhere"));
        assert!(!by(&first, "127.0.0.1", "switchover-system"));

        assert!(load(&first, &second).is_none(), "another one's key");
        assert!(Authority::load(made.certificate_pem.as_bytes(), made.key_pem.as_bytes()).is_none(), "no authority");
        assert!(Authority::load(b"", b"").is_none());
    }

    #[test]
    fn an_address_is_certified_as_one() {
        let now = Timestamp::now();
        let authority = Authority::generate(DAY, now).unwrap();
        let made = authority.issue("127.0.0.1", "switchover-system", DAY, now).unwrap();
        assert!(signed_by(&[der(&made.certificate_pem)], &authority.id, "127.0.0.1", "switchover-system"));
    }
}
