use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use savepoint_gateway::credential::Credential;
use savepoint_gateway::providers::{alibaba, huawei};
use savepoint_gateway::secret::Secret;
use serde_json::Value;

/// Headers that signing adds by itself.
const ADDED: [&str; 8] = [
    "x-sdk-date",
    "x-security-token",
    "x-sdk-content-sha256",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-content-sha256",
    "x-acs-accesskey-id",
    "x-acs-security-token",
];

struct Vector {
    name: String,
    request: Request<Bytes>,
    credential: Credential,
    input: Value,
    stages: [String; 3],
}

fn vectors(scheme: &str) -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(scheme);
    let mut cases: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases.iter().map(|case| vector(case)).collect()
}

fn vector(case: &Path) -> Vector {
    let read = |name: &str| fs::read_to_string(case.join(name)).unwrap();
    let input: Value = serde_json::from_str(&read("request.json")).unwrap();
    let text = |key: &str| input[key].as_str().unwrap();
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let query: Vec<String> = input["query"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| {
            let part = |i: usize| encode(pair[i].as_str().unwrap());
            format!("{}={}", part(0), part(1))
        })
        .collect();
    let mut uri = format!("https://{}{}", text("host"), text("path"));
    if !query.is_empty() {
        uri = format!("{uri}?{}", query.join("&"));
    }
    let mut request = Request::builder().method(text("method")).uri(uri);
    for header in input["headers"].as_array().unwrap() {
        let (name, value) = (header[0].as_str().unwrap(), header[1].as_str().unwrap());
        if !ADDED.contains(&name.to_lowercase().as_str()) {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request = request.header(name.parse::<HeaderName>().unwrap(), value);
        }
    }
    let token = input["security_token"].as_str().map(Secret::new);
    let secret = Secret::new(text("access_key_secret"));
    Vector {
        name: case.file_name().unwrap().to_string_lossy().into_owned(),
        request: request.body(Bytes::from(text("body").to_owned())).unwrap(),
        credential: Credential::new(text("access_key_id"), secret, token).unwrap(),
        stages: [
            read("canonical_request.txt"),
            read("string_to_sign.txt"),
            read("authorization.txt"),
        ],
        input,
    }
}

/// The first stage that is wrong is named: the later ones follow from it.
fn check(vector: &Vector, got: [&str; 3]) {
    let stages = ["canonical request", "string to sign", "authorization"];
    for ((stage, got), want) in stages.iter().zip(got).zip(&vector.stages) {
        assert_eq!(got, want, "{}: the {stage} is the first that differs", vector.name);
    }
}

#[test]
fn huaweis_signer_agrees_at_every_stage() {
    let vectors = vectors("sdk-hmac-sha256");
    assert!(vectors.len() >= 16);
    for vector in vectors {
        let date = vector.input["date"].as_str().unwrap();
        let date = DateTime::strptime("%Y%m%dT%H%M%SZ", date).unwrap();
        let now = date.to_zoned(TimeZone::UTC).unwrap().timestamp();
        let stages = huawei::sign::stages(&vector.request, &vector.credential, now).unwrap();
        let stages = [&stages.canonical_request, &stages.string_to_sign, &stages.authorization];
        check(&vector, stages.map(String::as_str));
        let mut signed = vector.request.clone();
        huawei::sign::sign(&mut signed, &vector.credential, now).unwrap();
        assert_eq!(signed.headers()["authorization"], vector.stages[2], "{}", vector.name);
    }
}

#[test]
fn alibabas_signer_agrees_at_every_stage() {
    let vectors = vectors("acs3-hmac-sha256");
    assert!(vectors.len() >= 12);
    for vector in vectors {
        let now: Timestamp = vector.input["date"].as_str().unwrap().parse().unwrap();
        let nonce = u128::from_str_radix(vector.input["nonce"].as_str().unwrap(), 16).unwrap();
        let nonce = nonce.to_be_bytes();
        let stages =
            alibaba::sign::stages(&vector.request, &vector.credential, now, nonce).unwrap();
        let stages = [&stages.canonical_request, &stages.string_to_sign, &stages.authorization];
        check(&vector, stages.map(String::as_str));
        let mut signed = vector.request.clone();
        alibaba::sign::sign(&mut signed, &vector.credential, now, nonce).unwrap();
        assert_eq!(signed.headers()["authorization"], vector.stages[2], "{}", vector.name);
    }
}

fn credential() -> Credential {
    Credential::new("EXAMPLEID", Secret::new("exampleSecret"), Some(Secret::new("exampleToken")))
        .unwrap()
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

type Sign = fn(&mut Request<Bytes>) -> Result<(), savepoint_gateway::rpc::Error>;

const SIGNERS: [Sign; 2] = [
    |request| huawei::sign::sign(request, &credential(), NOW),
    |request| alibaba::sign::sign(request, &credential(), NOW, [7; 16]),
];

proptest! {
    #[test]
    fn signing_changes_neither_the_uri_nor_the_body_nor_a_header(
        path in "(/[a-zA-Z0-9._~%-]{0,20}){1,5}",
        query in proptest::option::of("[a-z]{1,5}=[a-z0-9]{0,5}(&[a-z]{1,5}=[a-z0-9]{0,5}){0,3}"),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        headers in proptest::collection::btree_map("[a-z][a-z0-9-]{0,10}", "[ -~]{0,30}", 0..6),
    ) {
        let uri = match query {
            Some(query) => format!("https://h.example{path}?{query}"),
            None => format!("https://h.example{path}"),
        };
        let Ok(uri) = uri.parse::<http::Uri>() else { return Ok(()) };
        let mut request = Request::new(Bytes::from(body));
        *request.uri_mut() = uri;
        for (name, value) in &headers {
            let name: HeaderName = format!("a-{name}").parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        for sign in SIGNERS {
            let mut signed = request.clone();
            sign(&mut signed).unwrap();
            prop_assert_eq!(signed.uri(), request.uri());
            prop_assert_eq!(signed.method(), request.method());
            prop_assert_eq!(signed.body(), request.body());
            for (name, value) in request.headers() {
                prop_assert_eq!(signed.headers().get_all(name).iter().collect::<Vec<_>>(), vec![value]);
            }
            prop_assert!(signed.headers()["authorization"].is_sensitive());
        }
    }

    #[test]
    fn the_order_of_headers_does_not_matter(
        headers in proptest::collection::btree_map("a-[a-z]{1,10}", "[!-~]{1,20}", 2..6),
    ) {
        let request = |names: &mut dyn Iterator<Item = (&String, &String)>| {
            let mut request = Request::new(Bytes::new());
            for (name, value) in names {
                let name: HeaderName = name.parse().unwrap();
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            request
        };
        for sign in SIGNERS {
            let mut forwards = request(&mut headers.iter());
            let mut backwards = request(&mut headers.iter().rev());
            sign(&mut forwards).unwrap();
            sign(&mut backwards).unwrap();
            prop_assert_eq!(
                &forwards.headers()["authorization"],
                &backwards.headers()["authorization"]
            );
        }
    }
}

#[test]
fn an_error_leaves_the_request_as_it_was() {
    let mut request = Request::new(Bytes::from_static(b"body"));
    let unsignable = HeaderValue::from_bytes(b"\xff").unwrap();
    request.headers_mut().insert("x-not-text", unsignable);
    for sign in SIGNERS {
        let mut signed = request.clone();
        sign(&mut signed).unwrap_err();
        assert_eq!(signed.headers(), request.headers());
        assert_eq!(signed.uri(), request.uri());
    }
}
