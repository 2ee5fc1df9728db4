//! Makes the webhook's serving certificate, and reads when one expires. No openssl anywhere.

use std::time::{Duration, SystemTime};

use jiff::{Timestamp, civil, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A serving certificate and the authority that signed it. The authority's own key is thrown away: nothing else can ever
/// be signed by it, and the next certificate brings an authority of its own.
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

/// Makes a serving certificate for a Service, valid from a little before now (clocks differ) for so many days. The API
/// server asks for the name `SERVICE.NAMESPACE.svc`.
///
/// # Errors
/// When a name can't stand in a certificate.
pub fn generate(service: &str, namespace: &str, days: u32) -> Result<Made, rcgen::Error> {
    let now = SystemTime::now();
    let from = now - Duration::from_secs(3600);
    let until = now + Duration::from_secs(u64::from(days) * 86_400);

    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name = named("switchover webhook CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (ca.not_before, ca.not_after) = (from.into(), until.into());
    let ca_key = KeyPair::generate()?;
    let ca_pem = ca.self_signed(&ca_key)?.pem();

    let name = format!("{service}.{namespace}");
    let mut server =
        CertificateParams::new([format!("{name}.svc"), format!("{name}.svc.cluster.local"), name, service.to_owned()])?;
    // A common name has at most 64 characters (RFC 5280); the names that count are in the certificate's list.
    server.distinguished_name = named("switchover webhook");
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    (server.not_before, server.not_after) = (from.into(), until.into());
    let key = KeyPair::generate()?;
    let certificate_pem = server.signed_by(&key, &Issuer::new(ca, ca_key))?.pem();
    Ok(Made { ca_pem, certificate_pem, key_pem: key.serialize_pem() })
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// When a certificate (DER) expires: `tbsCertificate.validity.notAfter` (RFC 5280, 4.1). `None` if it can't be read.
#[must_use]
pub fn expires(certificate: &[u8]) -> Option<Timestamp> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (tag, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = (tag == SEQUENCE).then(|| element(certificate))??;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.2;
    }
    // serialNumber, signature, issuer
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (_, validity, _) = element(fields)?;
    let (_, _, rest) = element(validity)?;
    let (tag, not_after, _) = element(rest)?;
    time(tag, std::str::from_utf8(not_after).ok()?)
}

/// Splits the first DER element off: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.len() > 4 {
            return None;
        }
        length = bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `UTCTime` (`YYMMDDHHMMSSZ`, 1950 to 2049) or `GeneralizedTime` (`YYYYMMDDHHMMSSZ`).
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    const UTC_TIME: u8 = 0x17;
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let (year, rest) = if tag == UTC_TIME {
        let year: i16 = digits.get(..2)?.parse().ok()?;
        (if year < 50 { 2000 + year } else { 1900 + year }, digits.get(2..)?)
    } else {
        (digits.get(..4)?.parse().ok()?, digits.get(4..)?)
    };
    let two = |at: usize| rest.get(at..at + 2).and_then(|two| two.parse::<i8>().ok());
    let at = civil::DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?, 0).ok()?;
    Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    use super::*;

    #[test]
    fn a_made_certificate_expires_when_it_should() {
        for days in [1_u32, 365, 3650, 20_000] {
            let made = generate("switchover-webhook", "switchover-system", days).unwrap();
            for pem in [&made.ca_pem, &made.certificate_pem] {
                let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
                let left = expires(&der).unwrap().duration_since(Timestamp::now()).as_secs();
                assert!((left - i64::from(days) * 86_400).abs() < 60, "{days}: {left}");
            }
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        for der in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x02, 0x30, 0x00], b"hello"] {
            assert_eq!(expires(der), None);
        }
    }
}
