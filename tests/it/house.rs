//! Rules for the source as a whole. The checks read the text of `src` up to its unit tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use savepoint_gateway::pb;
use savepoint_gateway::service::OPERATIONS;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rooms from the top floor down. A room may import only from lower floors; rooms of one floor
/// do not import each other.
const FLOORS: [&[&str]; 17] = [
    &["main", "test_util"],
    &["cli"],
    &["demo"],
    &["check", "healthcheck", "descriptor_set"],
    &["gateway"],
    &["simulator", "service"],
    &["server"],
    &["providers"],
    &["upstream", "otlp"],
    &["credential", "call"],
    &["transport", "policy"],
    &["tls"],
    &["refresh", "telemetry", "watch"],
    &["signing"],
    &["rpc"],
    &["options"],
    &["caller", "clock", "files", "json", "secret", "text"],
];

/// Below every floor: generated code and constants of the crate.
const GROUND: [&str; 2] = ["pb", "USER_AGENT"];

/// A file of `src`, by its module path, with its text before the unit tests.
struct Source {
    module: Vec<String>,
    text: String,
}

impl Source {
    fn room(&self) -> &str {
        &self.module[0]
    }

    fn name(&self) -> String {
        self.module.join("::")
    }

    /// Every path that the file names, from the root of the crate.
    fn paths(&self) -> BTreeSet<Vec<String>> {
        let code: Vec<_> =
            self.text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        let parent = &self.module[..self.module.len() - 1];
        let mut found = BTreeSet::new();
        for (start, base) in [("crate::", &[][..]), ("super::", parent)] {
            for (at, _) in code.match_indices(start) {
                let before = code[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':')) {
                    continue;
                }
                expand(&code[at + start.len()..], base.to_vec(), &mut found);
            }
        }
        found
    }
}

/// Follows a path through its braces.
fn expand(text: &str, base: Vec<String>, found: &mut BTreeSet<Vec<String>>) {
    if let Some(list) = text.strip_prefix('{') {
        let (mut depth, mut item) = (0, 0);
        for (at, c) in list.char_indices() {
            match c {
                ',' | '}' if depth == 0 => {
                    expand(list[item..at].trim_start(), base.clone(), found);
                    item = at + 1;
                    if c == '}' {
                        return;
                    }
                }
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return;
    }
    if name == "super" {
        let above = base[..base.len().saturating_sub(1)].to_vec();
        return expand(rest.trim_start_matches("::"), above, found);
    }
    let path = [base, vec![name.to_owned()]].concat();
    match rest.strip_prefix("::") {
        Some(rest) => expand(rest, path, found),
        None => drop(found.insert(path)),
    }
}

/// The Rust files below a folder of the repository.
pub(crate) fn rust_files(folder: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    assert!(found.len() > 20, "{} files in {folder}", found.len());
    found
}

fn sources() -> Vec<Source> {
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
        let below = path.strip_prefix(root().join("src")).unwrap().with_extension("");
        let parts = below.iter().map(|part| part.to_str().unwrap().to_owned());
        let module: Vec<String> = parts.filter(|part| part != "mod").collect();
        // A file that has only tests may import everything, and `lib` declares the rooms.
        let counts = !text.starts_with("#![cfg(test)]") && module != ["lib"];
        counts.then_some(Source { module, text })
    };
    rust_files("src").into_iter().filter_map(source).collect()
}

/// Every import that runs upward or sideways.
fn wrong_directions(sources: &[Source]) -> Vec<String> {
    let floor = |room: &str| FLOORS.iter().position(|floor| floor.contains(&room));
    let mut wrong = Vec::new();
    for source in sources {
        let own = floor(source.room()).unwrap_or_else(|| panic!("no floor for {}", source.room()));
        for path in source.paths() {
            let room = path[0].as_str();
            if room == source.room() || GROUND.contains(&room) {
                continue;
            }
            if floor(room).is_none_or(|below| below <= own) {
                wrong.push(format!("{} names {}", source.name(), path.join("::")));
            }
        }
    }
    wrong
}

/// The files that import each other in a circle. A `mod.rs` declares its files, so that only what
/// they import of each other counts.
fn circles(sources: &[Source]) -> Vec<BTreeSet<String>> {
    let names: BTreeSet<String> = sources.iter().map(Source::name).collect();
    // The re-exports of each `mod.rs`.
    let mut handed_out = BTreeMap::new();
    for source in sources {
        let own = source.text.split(';').filter_map(|item| item.split_once("use "));
        for (_, item) in own {
            let mut items = BTreeSet::new();
            expand(item.trim(), source.module.clone(), &mut items);
            for path in items {
                let file = path[..path.len() - 1].join("::");
                if names.contains(&file) {
                    let item = format!("{}::{}", source.name(), path[path.len() - 1]);
                    handed_out.insert(item, file);
                }
            }
        }
    }
    let file_of = |path: &[String]| -> Option<String> {
        (1..=path.len())
            .rev()
            .map(|length| path[..length].join("::"))
            .find_map(|name| handed_out.get(&name).cloned().or_else(|| names.get(&name).cloned()))
    };
    let has_files = |name: &str| names.iter().any(|other| other.starts_with(&format!("{name}::")));
    let imports: BTreeMap<String, BTreeSet<String>> = sources
        .iter()
        .filter(|source| !has_files(&source.name()))
        .map(|source| {
            let files = source.paths().iter().filter_map(|path| file_of(path)).collect();
            (source.name(), files)
        })
        .collect();
    let reach = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(file) = next.pop() {
            for import in imports.get(&file).into_iter().flatten() {
                if import != &file && seen.insert(import.clone()) {
                    next.push(import.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<_, _> = imports.keys().map(|name| (name.clone(), reach(name))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (name, files) in &reached {
        let circle: BTreeSet<String> = files
            .iter()
            .filter(|other| reached.get(*other).is_some_and(|back| back.contains(name)))
            .cloned()
            .collect();
        if !circle.is_empty() && !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    circles
}

#[test]
fn every_import_names_a_lower_floor() {
    let wrong = wrong_directions(&sources());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let circles = circles(&sources());
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn a_planted_circle_is_found() {
    let plant = |file: &str, line: &str| {
        let mut sources = sources();
        let planted = sources.iter_mut().find(|source| source.name() == file).unwrap();
        planted.text.push_str(line);
        (wrong_directions(&sources).len(), circles(&sources).len())
    };
    for (file, line, wrong, circle) in [
        ("text", "", 0, 0),
        ("telemetry::log", "use crate::server::Shared;", 1, 0),
        ("tls::server", "fn f() { crate::upstream::retry::f() }", 1, 0),
        ("providers::huawei::sign", "use crate::simulator::{Api, Simulator};", 2, 0),
        ("tls::pem", "use super::server::TlsFiles;", 0, 1),
        ("tls::pem", "use super::{ServerTls, TlsMetrics};", 0, 1),
        ("transport::error", "use super::{super::tls::Trust, response::Response};", 0, 1),
    ] {
        let (found_wrong, found_circles) = plant(file, line);
        assert_eq!(found_wrong, wrong, "{file}: {line}");
        assert!(found_circles >= circle, "{file}: {line}");
    }
}

#[test]
fn providers_do_not_import_each_other() {
    for source in sources() {
        let ["providers", own, ..] =
            &source.module.iter().map(String::as_str).collect::<Vec<_>>()[..]
        else {
            continue;
        };
        for path in source.paths() {
            if path[0] == "providers" && path.len() > 2 {
                assert_eq!(path[1], *own, "{} names {}", source.name(), path.join("::"));
            }
        }
    }
}

/// Which files may name a library or do what others must not.
#[test]
fn each_library_is_named_only_in_its_modules() {
    let places: [(&str, &[&str]); 6] = [
        ("std::env::var", &["options::env"]),
        ("process::exit", &["main"]),
        ("SystemTime", &["clock"]),
        ("reqwest::", &["otlp::http"]),
        (
            "tonic::",
            &[
                "main",
                "server",
                "service",
                "rpc::status",
                "rpc::reason",
                "rpc::codec",
                "telemetry",
                "otlp",
                "demo",
                "healthcheck",
                "test_util",
            ],
        ),
        (
            "prometheus_client::",
            &["telemetry", "credential", "tls", "upstream", "providers", "policy"],
        ),
    ];
    for source in sources() {
        let name = source.name();
        for (library, allowed) in places {
            let is_allowed =
                allowed.iter().any(|at| name == *at || name.starts_with(&format!("{at}::")));
            let lines = source.text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let found: Vec<_> = lines.filter(|line| line.contains(library)).collect();
            assert!(is_allowed || found.is_empty(), "{name} names {library}: {found:?}");
        }
        if name.ends_with("::sign") || name == "signing" {
            for waits in ["async ", "tokio"] {
                assert!(!source.text.contains(waits), "{name} waits: {waits}");
            }
        }
    }
}

/// Hostile input 70.
#[test]
fn nothing_in_the_source_turns_verification_off() {
    for path in rust_files("src") {
        let text = fs::read_to_string(&path).unwrap();
        for word in ["danger_accept", ".dangerous()", "ServerCertVerifier", "tls10", "tls11"] {
            assert!(!text.contains(word), "{word} in {}", path.display());
        }
    }
}

#[test]
fn every_rpc_of_the_contract_is_an_operation() {
    let listed: BTreeSet<String> =
        OPERATIONS.iter().map(|operation| operation.to_string()).collect();
    assert_eq!(listed.len(), OPERATIONS.len());
    let files = <prost_types::FileDescriptorSet as prost::Message>::decode(pb::DESCRIPTOR).unwrap();
    let contract: BTreeSet<String> = files
        .file
        .iter()
        .filter(|file| file.package().starts_with("savepoint."))
        .flat_map(|file| file.service.iter().map(|service| (file.package(), service)))
        .flat_map(|(package, service)| {
            let name = format!("{package}.{}", service.name());
            service.method.iter().map(move |method| format!("{name}/{}", method.name()))
        })
        .collect();
    assert_eq!(listed, contract);
}

/// The packages of a lock file, with the versions of each.
fn locked(file: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    let text = fs::read_to_string(root().join(file)).unwrap();
    for package in text.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key));
            line.unwrap().trim_matches('"').to_owned()
        };
        found.entry(value("name = ")).or_default().insert(value("version = "));
    }
    assert!(found.len() > 50, "{file} lists {} packages", found.len());
    found
}

/// Otherwise `fuzz/run.sh` compiles other dependencies than are released, and all of them anew, and
/// the benchmark compares the gateway with other libraries than its own.
#[test]
fn the_fuzz_targets_and_the_bare_stack_have_the_dependencies_of_the_gateway() {
    let released = locked("Cargo.lock");
    for folder in ["fuzz", "bench/bare"] {
        let others: Vec<_> = locked(&format!("{folder}/Cargo.lock"))
            .into_iter()
            .filter(|(name, versions)| released.get(name).is_some_and(|of| !versions.is_subset(of)))
            .collect();
        assert!(
            others.is_empty(),
            "other versions in {folder}/Cargo.lock: {others:?}; copy Cargo.lock over it, then \
             `cargo update --workspace --manifest-path {folder}/Cargo.toml`"
        );
    }
}

/// Otherwise the benchmark compares builds, not programs, and what shares the folder of builds compiles
/// every dependency anew.
#[test]
fn what_is_built_beside_the_gateway_has_its_profiles() {
    let profile = |file: &str, name: &str| {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let (_, rest) = text.split_once(&format!("\n[profile.{name}]\n")).expect(file);
        let lines = rest.split("\n[").next().unwrap().lines();
        let settings = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        settings.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(profile("bench/bare/Cargo.toml", "release"), profile("Cargo.toml", "release"));
    for file in ["fuzz/Cargo.toml", "tests/conformance/server/Cargo.toml"] {
        for name in ["dev", "dev.package.\"*\""] {
            assert_eq!(profile(file, name), profile("Cargo.toml", name), "{file}, {name}");
        }
    }
}
