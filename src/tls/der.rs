//! Reads the few fields of a certificate (RFC 5280, 4.1) that decide anything here: how long it is valid, and whose it is.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};

use crate::core::rotation::Validity;

/// From when until when a certificate (DER) is valid: `tbsCertificate.validity` (RFC 5280, 4.1). `None` if it can't be
/// read.
#[must_use]
pub fn validity(certificate: &[u8]) -> Option<Validity> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
    let read = |at: i64| Timestamp::from_second(at).ok();
    Some(Validity { from: read(from.timestamp())?, until: read(until.timestamp())? })
}

/// A certificate (DER) as text (RFC 7468).
#[must_use]
pub fn pem(certificate: &[u8]) -> String {
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE-----\n"
}

/// What a certificate (DER) calls its owner: the common names of its subject, and its alternative names that are text
/// (DNS names, addresses of mail, URIs). Empty if it can't be read.
#[must_use]
pub fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let common = certificate.subject().iter_common_name();
    let common = common.filter_map(|name| std::str::from_utf8(name.as_slice()).ok());
    let alternatives = certificate.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(alternatives) => Some(&alternatives.general_names),
        _ => None,
    });
    let alternatives = alternatives.flatten().filter_map(|name| match name {
        GeneralName::RFC822Name(text) | GeneralName::DNSName(text) | GeneralName::URI(text) => Some(*text),
        _ => None,
    });
    common.chain(alternatives).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_certificate_says_whose_it_is() {
        let mut params = CertificateParams::new(["webhooks.example.com".to_owned(), "10.0.0.1".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://example.com/apiserver".try_into().unwrap()));
        params.distinguished_name.push(DnType::OrganizationName, "nobody asks");
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let mut names = names(certificate.der());
        names.retain(|name| name != "rcgen self signed cert");
        assert_eq!(names, ["kube-apiserver", "webhooks.example.com", "spiffe://example.com/apiserver"]);
        for length in 0..certificate.der().len() {
            // Half of one: less, and no panic.
            assert!(super::names(&certificate.der()[..length]).len() <= 4);
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_end_and_no_name() {
        for der in [&[][..], &[0x30], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], &[0x30, 0x02, 0x30, 0x00], b"hello"] {
            assert_eq!((validity(der), names(der)), (None, vec![]));
        }
    }
}
