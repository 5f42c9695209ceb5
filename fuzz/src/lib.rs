//! What several targets state.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt;
use std::sync::LazyLock;

use arbitrary::Arbitrary;
use http::{HeaderMap, HeaderName, HeaderValue};
use savepoint_gateway::pb::Savepoint;
use savepoint_gateway::rpc::Error;
use savepoint_gateway::rpc::reason::Reason;
use savepoint_gateway::test_util::{Providers, SECRETS};
use savepoint_gateway::transport::Response;
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::de::StrRead;
use tonic::{Code, Status};
use tonic_types::StatusExt;

pub const PROJECT_ID: &str = "0605767b3300d5762fb7c0186d9e1779";
pub const WORKSPACE: &str = "a14bd5d90a0001";

pub static PROVIDERS: LazyLock<Providers> = LazyLock::new(|| Providers::new(PROJECT_ID, WORKSPACE));

/// Counts the bytes that each thread allocates, and those that it holds at most.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static HELD_AT_MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(allocated: usize, freed: usize) {
    ALLOCATED.set(ALLOCATED.get().wrapping_add(allocated));
    let held = HELD.get().wrapping_add_unsigned(allocated).wrapping_sub_unsigned(freed);
    HELD.set(held);
    HELD_AT_MOST.set(HELD_AT_MOST.get().max(held));
}

// SAFETY: everything is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs this, which must not take more memory than a small multiple of the input: neither at a
/// time, nor, as a measure of the work, in total.
pub fn within_bounds<T>(input: usize, run: impl FnOnce() -> T) -> T {
    /// What a status takes, whatever the input is.
    const ALWAYS: usize = 256 * 1024;
    const HELD_FOR_A_BYTE: usize = 8;
    const ALLOCATED_FOR_A_BYTE: usize = 256;
    // What all inputs share is not counted.
    LazyLock::force(&PROVIDERS);
    ALLOCATED.set(0);
    HELD.set(0);
    HELD_AT_MOST.set(0);
    let result = run();
    let held = HELD_AT_MOST.get().unsigned_abs();
    let allocated = ALLOCATED.get();
    assert!(held <= ALWAYS + HELD_FOR_A_BYTE * input, "{held} bytes held for {input}");
    let most = ALWAYS + ALLOCATED_FOR_A_BYTE * input;
    assert!(allocated <= most, "{allocated} bytes allocated for {input}");
    result
}

/// A text and how often, because a fuzzer takes long to write out one that is about as long as a
/// bound.
#[derive(Debug, Arbitrary)]
pub struct Repeated<'a> {
    text: &'a str,
    times: u16,
}

impl Repeated<'_> {
    /// The text once or more often, at most so many times.
    pub fn text(&self, most: u16) -> String {
        self.text.repeat(usize::from(self.times % most) + 1)
    }
}

const STATUSES: [u16; 24] = [
    200, 201, 204, 299, 301, 307, 400, 401, 403, 404, 405, 408, 409, 412, 413, 418, 422, 429, 494,
    500, 501, 502, 503, 504,
];

/// An answer of these bytes: which status, what else, and the rest is the body. Seeds begin with
/// two spaces, which is a whole 200.
///
/// The second byte's bits say: 1 cut short; 2, 4, 8 with the first line of the body as a request
/// id, a wait in milliseconds, a wait in seconds.
pub fn answer(data: &[u8]) -> Option<Response> {
    let [status, flags, rest @ ..] = data else { return None };
    let mut headers = HeaderMap::new();
    let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
    let flags = flags.wrapping_sub(b' ');
    for (flag, names) in [
        (2, &["x-request-id", "x-acs-request-id"][..]),
        (4, &["x-acs-retry-after"]),
        (8, &["retry-after"]),
    ] {
        if flags & flag != 0
            && let Ok(value) = HeaderValue::from_bytes(line)
        {
            for name in names {
                headers.insert(HeaderName::from_static(name), value.clone());
            }
        }
    }
    let body = if flags & 14 == 0 { rest } else { rest.get(line.len() + 1..).unwrap_or_default() };
    let index = usize::from(status.wrapping_sub(b' ')) % STATUSES.len();
    Some(Response {
        status: STATUSES[index],
        headers,
        body: body.to_vec().into(),
        whole: flags & 1 == 0,
    })
}

/// A whole answer of status 200 with this body.
pub fn whole(body: &'static [u8]) -> Response {
    let headers = HeaderMap::new();
    Response { status: 200, headers, body: bytes::Bytes::from_static(body), whole: true }
}

/// Whether the body is an object that says success in this field, as the contract takes it.
pub fn says_success(answer: &Response, field: &str) -> bool {
    is_true(value_of(answer, field))
}

/// Whether the only element of the list says so, or the object that came without a list.
pub fn element_says_success(answer: &Response, field: &str) -> bool {
    says_success(answer, field)
        || is_true(found(answer, |reader| reader.deserialize_seq(OnlyOf(field))))
}

fn is_true(says: Option<Value>) -> bool {
    match says {
        Some(Value::Bool(says)) => says,
        Some(Value::String(says)) => says.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// What the body of a whole 2xx says in this field; none if that cannot be read.
pub fn value_of(answer: &Response, field: &str) -> Option<Value> {
    found(answer, |reader| reader.deserialize_map(ValueOf(field)))
}

fn found<'a>(
    answer: &'a Response,
    find: impl FnOnce(&mut serde_json::Deserializer<StrRead<'a>>) -> serde_json::Result<Value>,
) -> Option<Value> {
    let body = str::from_utf8(&answer.body).ok()?;
    let mut reader = serde_json::Deserializer::from_str(body);
    let says = find(&mut reader).ok()?;
    let is_success = answer.whole && (200..300).contains(&answer.status);
    (reader.end().is_ok() && is_success).then_some(says)
}

/// Reads one field of an object. A reader of everything would refuse what JSON allows elsewhere in
/// it: half a surrogate pair, or a number that no float holds.
struct ValueOf<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for ValueOf<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ValueOf<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut found = Value::Null;
        while let Some(name) = map.next_key::<String>()? {
            if name == self.0 {
                found = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Reads one field of the only element of a list; null if there are more or none.
struct OnlyOf<'a>(&'a str);

impl<'de> Visitor<'de> for OnlyOf<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let found = list.next_element_seed(ValueOf(self.0))?.unwrap_or_default();
        let more = list.next_element::<IgnoredAny>()?.is_some();
        Ok(if more { Value::Null } else { found })
    }
}

/// A request id goes into headers, logs and a status.
pub fn check_request_id(id: &str) {
    assert!(id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic()), "{id:?}");
    check_no_secret("a request id", id);
}

/// What every savepoint keeps to: states and origins that are the provider's own, and valid
/// Timestamps.
pub fn check_savepoint(savepoint: &Savepoint) {
    let status = savepoint.status.clone().unwrap_or_default();
    if status.state != 0 {
        let state = status.state().as_str_name();
        assert_eq!(state, format!("SAVEPOINT_STATE_{}", status.provider_state));
    }
    if savepoint.origin != 0 {
        let origin = savepoint.origin().as_str_name();
        assert_eq!(origin, format!("SAVEPOINT_ORIGIN_{}", savepoint.provider_origin));
    }
    let failed = status.failure.and_then(|failure| failure.fail_time);
    [savepoint.create_time, savepoint.update_time, failed]
        .into_iter()
        .flatten()
        .for_each(|time| check_time(time.seconds, time.nanos));
}

/// That it is one that every library can read.
pub fn check_time(seconds: i64, nanos: i32) {
    assert!((-62_135_596_800..=253_402_300_799).contains(&seconds), "{seconds}");
    assert!((0..1_000_000_000).contains(&nanos), "{nanos}");
}

/// What every status keeps to, whatever a provider said.
pub fn check_error(error: Error) -> Status {
    let failure = error.reason();
    let status = Status::from(error);
    assert_ne!(status.code(), Code::Ok);
    assert_eq!(status.code(), failure.row().code);
    check_text("the message", status.message());
    assert!(status.message().len() <= 1024, "{} bytes of message", status.message().len());

    let details = status.get_error_details_vec();
    let infos =
        details.iter().filter(|detail| matches!(detail, tonic_types::ErrorDetail::ErrorInfo(_)));
    assert_eq!(infos.count(), 1, "{details:?}");
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    assert_eq!(info.domain, "savepoint-gateway");
    assert!(Reason::ALL.iter().any(|failure| failure.row().name == info.reason));
    for (name, value) in &info.metadata {
        check_text(name, value);
    }
    if let Some(id) = details.request_info() {
        check_request_id(&id.request_id);
    }
    if let Some(wait) = details.retry_info() {
        let wait = wait.retry_delay.expect("a wait").as_millis();
        assert!((1..=24 * 60 * 60 * 1000).contains(&wait), "{wait} ms");
    }

    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).expect("trailers");
    let size: usize =
        trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    assert!(size < 4096, "{size} bytes of trailers");
    status
}

/// What every text keeps to that is made for people.
pub fn check_text(what: &str, text: &str) {
    assert!(!text.chars().any(char::is_control), "{what}: {text:?}");
    check_no_secret(what, text);
}

fn check_no_secret(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} holds {secret}: {text:?}");
    }
}

/// `^[0-9A-Za-z][0-9A-Za-z…]{0,127}$`
pub fn is_name(text: &str, others: &str) -> bool {
    let may = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    (1..=128).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(may)
}

/// What a refusal of a request for its fields keeps to.
pub fn check_refusal(error: Error, expected: &[(&str, bool)]) {
    assert_eq!(error.reason(), Reason::InvalidRequest);
    let named: Vec<_> = error.violations().iter().map(|violation| violation.field).collect();
    let bad: Vec<_> = expected.iter().filter(|(_, good)| !good).map(|(field, _)| *field).collect();
    assert_eq!(named, bad);
    check_error(error);
}

/// What every request to a provider keeps to: exactly this path at this origin, however a
/// library reads the URL, and headers that are text.
pub fn check_request(request: &http::Request<bytes::Bytes>, origin: &str, path: &str) {
    let uri = request.uri().to_string();
    assert_eq!(uri, format!("{origin}{path}"));
    assert_eq!(url::Url::parse(&uri).expect("a URL").as_str(), uri, "it reads otherwise");
    assert!(!path.split('/').any(|segment| segment == "." || segment == ".."), "{path}");
    for (name, value) in request.headers() {
        assert!(value.as_bytes().iter().all(|b| (0x20..0x7f).contains(b)), "{name}: {value:?}");
        assert!(!value.is_empty(), "{name}");
    }
    assert!(request.headers().contains_key("authorization"));
}
