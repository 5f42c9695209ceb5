//! What is read of a certificate besides its validation: its expiry, its subject and its names.

use jiff::Timestamp;

use crate::caller::Names;
use crate::text;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const EXTENSIONS: u8 = 0xa3;

/// The types of a common name that are UTF-8: UTF8String, PrintableString and IA5String.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

const COMMON_NAME: &[u8] = b"\x55\x04\x03";
const SUBJECT_ALT_NAME: &[u8] = b"\x55\x1d\x11";

/// The kinds of a subject alternative name.
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;

/// The attributes of a subject that are shown.
const ATTRIBUTES: [(&str, &[u8]); 3] =
    [("CN", COMMON_NAME), ("O", b"\x55\x04\x0a"), ("OU", b"\x55\x04\x0b")];

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

/// The names that can tell who holds a certificate; none if the bytes are not a certificate.
///
/// # Format
/// ```text
/// TBSCertificate ::= SEQUENCE { ..., validity, subject, subjectPublicKeyInfo, ...,
///                               [3] SEQUENCE OF Extension }
/// Extension      ::= SEQUENCE { OBJECT IDENTIFIER, critical OPTIONAL, OCTET STRING }
/// SubjectAltName ::= SEQUENCE OF { [2] dNSName | [6] uniformResourceIdentifier | ... }
/// ```
///
/// # Reference
/// <https://www.rfc-editor.org/rfc/rfc5280#section-4.2.1.6>
pub(super) fn names(der: &[u8]) -> Option<Names<'_>> {
    let mut names = Names::default();
    let (_, rest) = element(from_validity(der)?, SEQUENCE)?;
    let (mut subject, mut rest) = element(rest, SEQUENCE)?;
    while !subject.is_empty() {
        let (mut set, after) = element(subject, SET)?;
        subject = after;
        while !set.is_empty() {
            let (attribute, after) = element(set, SEQUENCE)?;
            set = after;
            let (kind, value) = element(attribute, OBJECT_IDENTIFIER)?;
            if kind == COMMON_NAME {
                let (tag, value, _) = any(value)?;
                // An empty name is not used, and makes another one ambiguous.
                names.common_names.push(if TEXTS.contains(&tag) { value } else { b"" });
            }
        }
    }
    while !rest.is_empty() {
        let (tag, content, after) = any(rest)?;
        rest = after;
        if tag == EXTENSIONS {
            let (mut extensions, _) = element(content, SEQUENCE)?;
            while !extensions.is_empty() {
                let (extension, after) = element(extensions, SEQUENCE)?;
                extensions = after;
                alt_names(extension, &mut names)?;
            }
        }
    }
    Some(names)
}

/// Adds the names of an extension, if it is that of alternative names.
fn alt_names<'a>(extension: &'a [u8], names: &mut Names<'a>) -> Option<()> {
    let (kind, mut rest) = element(extension, OBJECT_IDENTIFIER)?;
    if kind != SUBJECT_ALT_NAME {
        return Some(());
    }
    if element(rest, OCTET_STRING).is_none() {
        (_, _, rest) = any(rest)?;
    }
    let (value, _) = element(rest, OCTET_STRING)?;
    let (mut found, _) = element(value, SEQUENCE)?;
    while !found.is_empty() {
        let (tag, name, after) = any(found)?;
        found = after;
        match tag {
            DNS_NAME => names.dns.push(name),
            URI => names.uris.push(name),
            _ => {}
        }
    }
    Some(())
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
    fn the_names_of_a_holder_are_read_in_their_order() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Example");
        params.distinguished_name.push(rcgen::DnType::CommonName, "jobs");
        let uri = |text: &str| rcgen::SanType::URI(text.try_into().unwrap());
        let dns = |text: &str| rcgen::SanType::DnsName(text.try_into().unwrap());
        params.subject_alt_names = vec![
            dns("b.example"),
            uri("spiffe://prod.example/a"),
            rcgen::SanType::IpAddress([127, 0, 0, 1].into()),
            dns("a.example"),
            uri("https://a.example"),
        ];
        let certificate = params.self_signed(&key).unwrap();
        let found = names(certificate.der()).unwrap();
        assert_eq!(found.uris, [&b"spiffe://prod.example/a"[..], b"https://a.example"]);
        assert_eq!(found.dns, [b"b.example", b"a.example"]);
        assert_eq!(found.common_names, [b"jobs"]);
        for length in 0..certificate.der().len() {
            assert!(names(&certificate.der()[..length]).is_none(), "{length}");
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
