use std::collections::BTreeSet;
use std::fs;

use crate::house::rust_files;

/// The inputs that no test proves, with the reason.
const DOES_NOT_APPLY: [(u8, &str); 3] = [
    (
        13,
        "the provider's permissions decide which projects a key may use: PROVIDER_PERMISSION_DENIED",
    ),
    (64, "the provider's own example answers with another id, so a difference proves nothing"),
    (71, "callers cannot name the host, and its certificate must be valid for that host"),
];

/// The numbers in the comments `/// Hostile input 3.` and `/// Hostile inputs 1-12, 14.` of a file.
fn numbers(text: &str) -> Result<BTreeSet<u8>, String> {
    let mut found = BTreeSet::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(list) = line.strip_prefix("/// Hostile input") else { continue };
        let list = list.trim_start_matches('s').trim().strip_suffix('.').ok_or(line)?;
        for part in list.split(", ") {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.parse::<u8>().map_err(|error| format!("{line} {error}"));
            found.extend(number(first)?..=number(last)?);
        }
        let next = lines.next().unwrap_or_default();
        if next != "#[test]" && !next.starts_with("#[tokio::test") {
            return Err(format!("{line} stands above {next:?}, which is not a test"));
        }
    }
    Ok(found)
}

#[test]
fn every_input_has_a_test_or_a_reason_to_have_none() {
    let mut covered: BTreeSet<u8> = BTreeSet::new();
    for path in [rust_files("tests/it"), rust_files("src")].concat() {
        let found = numbers(&fs::read_to_string(&path).unwrap());
        covered.extend(found.unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display())));
    }
    for (number, reason) in DOES_NOT_APPLY {
        assert!(covered.insert(number), "{number} has a test; it need not say that {reason}");
    }
    assert_eq!(covered, (1..=92).collect());
}

#[test]
fn a_number_counts_only_directly_above_a_test() {
    let test = "/// Hostile inputs 1-3, 5.\n#[tokio::test]\nasync fn f() {}\n";
    assert_eq!(numbers(test), Ok([1, 2, 3, 5].into()));
    for wrong in [
        "/// Hostile input 7.\nfn helper() {}\n",
        "/// Hostile input 7.\n\n#[test]\nfn f() {}\n",
        "/// Hostile input 7.",
        "/// Hostile input 7\n#[test]\nfn f() {}\n",
        "/// Hostile input seven.\n#[test]\nfn f() {}\n",
    ] {
        assert!(numbers(wrong).is_err(), "{wrong}");
    }
}
