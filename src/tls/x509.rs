//! What is read of a certificate besides its validation: its expiry and its subject.

use jiff::Timestamp;

use crate::text;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// The attributes of a subject that are shown.
const ATTRIBUTES: [(&str, &[u8]); 3] =
    [("CN", b"\x55\x04\x03"), ("O", b"\x55\x04\x0a"), ("OU", b"\x55\x04\x0b")];

/// The expiry of a certificate; none if the bytes are not a certificate.
///
/// # Format
/// ```text
/// Certificate    ::= SEQUENCE { tbsCertificate, ... }
/// TBSCertificate ::= SEQUENCE { [0] version OPTIONAL, serialNumber, signature, issuer,
///                               validity, subject, ... }
/// Validity       ::= SEQUENCE { notBefore Time, notAfter Time }
/// Name           ::= SEQUENCE OF SET OF SEQUENCE { OBJECT IDENTIFIER, value }
/// ```
///
/// # Reference
/// <https://www.rfc-editor.org/rfc/rfc5280#section-4.1>
pub(crate) fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (validity, _) = element(from_validity(der)?, SEQUENCE)?;
    let (_, _, rest) = any(validity)?;
    let (tag, time, _) = any(rest)?;
    let text = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let text = match tag {
        // A two-digit year, from 1950 to 2049.
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let (date, time) = (text.get(..8)?, text.get(8..14)?);
    format!("{date}T{time}Z").parse().ok()
}

/// The names in the subject of a certificate, such as `CN=Example Root, O=Example`; none if it has
/// none, or the bytes are not a certificate.
pub(super) fn subject(der: &[u8]) -> Option<String> {
    let (_, rest) = element(from_validity(der)?, SEQUENCE)?;
    let (mut names, _) = element(rest, SEQUENCE)?;
    let mut found = Vec::new();
    while let Some((set, after)) = element(names, SET) {
        names = after;
        let (attribute, _) = element(set, SEQUENCE)?;
        let (kind, rest) = element(attribute, OBJECT_IDENTIFIER)?;
        let (_, value, _) = any(rest)?;
        if let Some((name, _)) = ATTRIBUTES.iter().find(|(_, known)| *known == kind) {
            found.push(format!("{name}={}", text::clean(&String::from_utf8_lossy(value), 64)));
        }
    }
    (!found.is_empty()).then(|| found.join(", "))
}

/// The fields of a certificate from its validity on.
fn from_validity(der: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if let Some((_, after)) = element(rest, VERSION) {
        rest = after;
    }
    for _ in ["serialNumber", "signature", "issuer"] {
        (_, _, rest) = any(rest)?;
    }
    Some(rest)
}

/// The content of an element with this tag, and the bytes after it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(der)?;
    (found == tag).then_some((content, rest))
}

fn any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if count > 4 {
            return None;
        }
        let (bytes, rest) = rest.split_at_checked(count)?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expiry_is_read_from_both_time_formats() {
        for (year, want) in [(2030, "2030-06-01T00:00:00Z"), (2060, "2060-06-01T00:00:00Z")] {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(vec!["h.example".into()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 6, 1);
            let certificate = params.self_signed(&key).unwrap();
            let found = not_after(certificate.der());
            assert_eq!(found, Some(want.parse().unwrap()));
        }
    }

    #[test]
    fn a_subject_is_shown_by_its_names_and_safely() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["h.example".into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        assert_eq!(subject(params.self_signed(&key).unwrap().der()), None);
        for (kind, name) in [
            (rcgen::DnType::CountryName, "XX"),
            (rcgen::DnType::OrganizationName, "Example"),
            (rcgen::DnType::CommonName, "Root\n1"),
        ] {
            params.distinguished_name.push(kind, name);
        }
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(subject(certificate.der()).unwrap(), "O=Example, CN=Root 1");
        for length in 0..certificate.der().len() {
            subject(&certificate.der()[..length]);
        }
    }

    #[test]
    fn other_bytes_have_no_expiry() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["h.example".into()]).unwrap();
        let der = params.self_signed(&key).unwrap().der().to_vec();
        for length in 0..der.len() {
            assert_eq!(not_after(&der[..length]), None, "{length}");
        }
        assert_eq!(not_after(b"\x30\x84\xff\xff\xff\xff"), None);
    }
}
