//! Endpoints: only an origin, which parses to itself, and unencrypted only on loopback.
#![no_main]

use libfuzzer_sys::fuzz_target;
use savepoint_gateway::options::{Endpoint, InvalidEndpoint};

fuzz_target!(|text: &str| {
    let strict = Endpoint::parse(text, false);
    let lenient = Endpoint::parse(text, true);
    match (&strict, &lenient) {
        (Ok(a), Ok(b)) => assert_eq!(a, b),
        (Err(InvalidEndpoint::Insecure), Ok(endpoint)) => assert!(!endpoint.is_tls()),
        (Err(a), Err(b)) => assert_eq!(a, b),
        (strict, lenient) => panic!("{strict:?} {lenient:?}"),
    }
    let Ok(endpoint) = lenient else { return };
    let origin = endpoint.origin();
    assert_eq!(Endpoint::parse(origin, true).as_ref(), Ok(&endpoint), "{origin}");
    let url = url::Url::parse(origin).expect("a URL");
    assert_eq!(url.as_str(), format!("{origin}/"));
    assert_eq!(
        (url.username(), url.password(), url.query(), url.fragment()),
        ("", None, None, None)
    );
    assert_eq!(endpoint.is_tls(), url.scheme() == "https");
    let host = endpoint.host().to_str().expect("text");
    assert_eq!(origin, format!("{}://{host}", url.scheme()));
    if let Ok(strict) = strict
        && !strict.is_tls()
    {
        let loopback = match url.host().expect("a host") {
            url::Host::Domain(name) => name == "localhost",
            url::Host::Ipv4(address) => address.is_loopback(),
            url::Host::Ipv6(address) => address.is_loopback(),
        };
        assert!(loopback, "{origin}");
    }
});
