//! Reads the few fields of a certificate (RFC 5280, 4.1) that decide anything here: how long it is valid, and whose it is.

use jiff::{Timestamp, civil, tz::TimeZone};

use crate::core::rotation::Validity;

const SEQUENCE: u8 = 0x30;

/// From when until when a certificate (DER) is valid: `tbsCertificate.validity` (RFC 5280, 4.1). `None` if it can't be
/// read.
#[must_use]
pub fn validity(certificate: &[u8]) -> Option<Validity> {
    let (_, validity, _) = element(from_validity(certificate)?)?;
    let (from_tag, not_before, rest) = element(validity)?;
    let (until_tag, not_after, _) = element(rest)?;
    let read = |tag, text| time_of(tag, std::str::from_utf8(text).ok()?);
    Some(Validity { from: read(from_tag, not_before)?, until: read(until_tag, not_after)? })
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
fn time_of(tag: u8, text: &str) -> Option<Timestamp> {
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

/// What a certificate (DER) calls its owner: the common names of its subject, and its alternative names that are text
/// (DNS names, addresses of mail, URIs). Empty if it can't be read.
#[must_use]
pub fn names(certificate: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    // Whatever was read until the first thing that can't be.
    let _ = collect_names(certificate, &mut names);
    names
}

fn collect_names(certificate: &[u8], names: &mut Vec<String>) -> Option<()> {
    const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
    const EXTENSIONS: u8 = 0xa3;
    const OCTET_STRING: u8 = 0x04;
    let mut keep = |text: &[u8]| names.extend(std::str::from_utf8(text).map(str::to_owned));

    let (_, _, rest) = element(from_validity(certificate)?)?;
    let (_, mut subject, mut rest) = element(rest)?;
    while !subject.is_empty() {
        let (_, attribute, next) = element(subject)?;
        let (_, attribute, _) = element(attribute)?;
        let (_, kind, value) = element(attribute)?;
        if kind == COMMON_NAME {
            keep(element(value)?.1);
        }
        subject = next;
    }
    while !rest.is_empty() {
        let (tag, content, next) = element(rest)?;
        rest = next;
        if tag != EXTENSIONS {
            continue;
        }
        let (_, mut extensions, _) = element(content)?;
        while !extensions.is_empty() {
            let (_, extension, next) = element(extensions)?;
            extensions = next;
            let (_, kind, mut value) = element(extension)?;
            // Whether it is critical may stand between the two.
            while kind == ALTERNATIVE_NAMES && !value.is_empty() {
                let (tag, content, next) = element(value)?;
                value = next;
                if tag != OCTET_STRING {
                    continue;
                }
                let (_, mut alternatives, _) = element(content)?;
                while !alternatives.is_empty() {
                    let (tag, name, next) = element(alternatives)?;
                    // rfc822Name, dNSName, uniformResourceIdentifier
                    if [0x81, 0x82, 0x86].contains(&tag) {
                        keep(name);
                    }
                    alternatives = next;
                }
            }
        }
    }
    Some(())
}

/// The fields of a certificate from its validity on; subject and key follow.
fn from_validity(certificate: &[u8]) -> Option<&[u8]> {
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
    Some(fields)
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
