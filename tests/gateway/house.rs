use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file with its path below `src` and its text before the unit tests.
fn rooms() -> Vec<(String, String)> {
    let mut found = Vec::new();
    sources(&root().join("src"), &mut found);
    assert!(found.len() > 20);
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            (path.strip_prefix(root().join("src")).unwrap().display().to_string(), text)
        })
        .collect()
}

#[test]
fn imports_keep_their_directions() {
    for (room, text) in rooms() {
        let refuse = |what: &str, why: &str| {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let found: Vec<_> = code.filter(|line| line.contains(what)).collect();
            assert!(found.is_empty(), "{room} names {what}, but {why}: {found:?}");
        };
        let is_in =
            |rooms: &[&str]| rooms.iter().any(|r| room == *r || room.starts_with(&format!("{r}/")));
        if room != "upstream/client.rs" {
            refuse("reqwest::", "only upstream/client.rs knows the HTTP library");
        }
        if is_in(&["huawei"]) {
            refuse("alibaba", "providers do not know each other");
        }
        if is_in(&["alibaba"]) {
            refuse("huawei", "providers do not know each other");
        }
        if is_in(&["huawei", "alibaba", "upstream", "credential"]) {
            refuse("tonic::", "providers and what they stand on know nothing of gRPC");
            refuse("crate::server", "the server is above");
            refuse("crate::service", "the handlers are above");
            refuse("crate::config", "the configuration is above");
        }
        if room.ends_with("/sign.rs") || room == "canonical.rs" {
            refuse("async ", "signing waits for nothing");
            refuse("tokio", "signing waits for nothing");
        }
        if !is_in(&["config"]) {
            refuse("std::env::var", "the environment is read in config/environment.rs");
        }
        if !is_in(&["main.rs"]) {
            refuse("process::exit", "only main ends the process");
        }
    }
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
    assert!(found.len() > 100, "{file} lists {} packages", found.len());
    found
}

/// Otherwise `fuzz/run.sh` compiles other dependencies than are released, and all of them anew.
#[test]
fn the_fuzz_targets_have_the_dependencies_of_the_gateway() {
    let (released, fuzzed) = (locked("Cargo.lock"), locked("fuzz/Cargo.lock"));
    let others: Vec<_> = fuzzed
        .iter()
        .filter(|(name, versions)| released.get(*name).is_some_and(|of| !versions.is_subset(of)))
        .collect();
    assert!(
        others.is_empty(),
        "other versions in fuzz/Cargo.lock: {others:?}; copy Cargo.lock over it, then \
         `cargo update --workspace --manifest-path fuzz/Cargo.toml`"
    );
}
