//! Media types: what is written by the grammar is read as it was meant, and nothing else is read as
//! another type.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use savepoint_gateway::test_util::media_type_parameter;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    anything: &'a str,
    name: &'a str,
    value: &'a str,
    before: u8,
    is_quoted: bool,
}

fn is_token(text: &str) -> bool {
    let marks = "!#$%&'*+-.^_`|~";
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

fuzz_target!(|input: Input<'_>| {
    let Input { anything, name, value, before, is_quoted } = input;
    let whole = "application/grpc";
    if media_type_parameter(anything, whole, "a").is_some() {
        let trimmed = anything.trim_matches([' ', '\t']).to_ascii_lowercase();
        let rest = trimmed.strip_prefix(whole).expect("that type");
        assert!(rest.is_empty() || rest.starts_with([';', ' ', '\t']), "{anything:?}");
    }

    // The grammar allows no other name, and no other value without quotes.
    if !is_token(name) || !(is_quoted || is_token(value)) {
        return;
    }
    let quoted: String = value.chars().flat_map(|c| ['\\', c]).collect();
    let value_text = if is_quoted { format!("\"{quoted}\"") } else { value.to_owned() };
    let others = ["", ";", " ; ", "\t;b=c", ";b=\",;\\\"\" ", ";;"][usize::from(before % 6)];
    let other = if name.eq_ignore_ascii_case("b") { "" } else { others };
    let text = format!(" Application/GRPC{other} ; {name}={value_text} ;");
    let found = media_type_parameter(&text, whole, &name.to_ascii_uppercase());
    assert_eq!(found, Some(Some(value.to_owned())), "{text:?}");
    assert_eq!(media_type_parameter(&text, "application/grpcx", name), None, "{text:?}");
});
