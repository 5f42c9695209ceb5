use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use savepoint_gateway::config::Cli;
use savepoint_gateway::failure::{Failure, Outcome, Retry};
use savepoint_gateway::simulator::SCENARIOS;

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

/// A code as the protocol spells it: INVALID_ARGUMENT.
fn screaming(code: tonic::Code) -> String {
    format!("{code:?}").chars().fold(String::new(), |mut text, c| {
        if c.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.extend(c.to_uppercase());
        text
    })
}

#[test]
fn the_operations_page_says_what_to_do_for_every_reason() {
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let table = page.split("<!-- reasons:begin -->").nth(1).unwrap();
    let table = table.split("<!-- reasons:end -->").next().unwrap();
    let mut rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    for failure in Failure::ALL {
        let row = failure.row();
        let (reason, code) = (format!("`{}`", row.reason), screaming(row.code));
        let found = rows.iter().find(|cells| cells[0] == reason && cells[1] == code);
        let cells = found.unwrap_or_else(|| panic!("no row with {reason} and {code}"));
        assert_eq!(cells.len(), 6, "{reason}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{reason}");
        let (changed, again) = match row.outcome {
            Outcome::NotApplied => ("no", ["no use", "later"].as_slice()),
            Outcome::Unknown => ("perhaps", ["look first"].as_slice()),
        };
        assert_eq!(cells[2], changed, "{reason} {code}: job changed");
        assert!(again.contains(&cells[3]), "{reason} {code}: import again");
        if row.retry == Retry::Always {
            assert_eq!(cells[3], "later", "{reason}: the gateway itself tries it again");
        }
    }
    rows.retain(|cells| {
        !Failure::ALL.iter().any(|failure| {
            let row = failure.row();
            cells[0] == format!("`{}`", row.reason) && cells[1] == screaming(row.code)
        })
    });
    assert!(rows.is_empty(), "no such failures: {rows:?}");
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

#[test]
fn the_readme_lists_every_reason_with_its_code() {
    let readme = readme();
    for failure in Failure::ALL {
        if failure == Failure::Cancelled {
            continue;
        }
        let row = failure.row();
        let code = screaming(row.code);
        let found = readme
            .lines()
            .any(|line| line.contains(&format!("`{}`", row.reason)) && line.contains(&code));
        assert!(found, "no line with {} and {code}", row.reason);
    }
}

#[test]
fn the_readme_lists_every_scenario() {
    let readme = readme();
    for scenario in SCENARIOS {
        let line = format!("| `{}` | `simulate-{}` |", scenario.job_id, scenario.name);
        assert!(readme.lines().any(|found| found.starts_with(&line)), "no line begins {line}");
    }
}

#[test]
fn the_readme_lists_every_option_of_serve_with_its_default() {
    let readme = readme();
    let mut cli = Cli::command();
    let serve = cli.find_subcommand_mut("serve").unwrap();
    for option in serve.get_arguments() {
        let Some(flag) = option.get_long() else { continue };
        if matches!(flag, "help" | "version") {
            continue;
        }
        let line = readme.lines().find(|line| line.starts_with(&format!("| `--{flag}` |")));
        let line = line.unwrap_or_else(|| panic!("no line for --{flag}"));
        let variable = option.get_env().unwrap_or_else(|| panic!("--{flag} has no variable"));
        let expected = format!("SAVEPOINT_GATEWAY_{}", flag.to_uppercase().replace('-', "_"));
        assert_eq!(variable.to_str(), Some(expected.as_str()));
        for default in option.get_default_values() {
            let default = default.to_str().unwrap();
            assert!(line.contains(&format!("`{default}`")), "{line} lacks the default {default}");
        }
    }
}

/// The lines between the marks, without the indentation that they share.
fn snippet(file: &str) -> String {
    let text = fs::read_to_string(root().join(file)).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.contains("snippet:begin"))
        .skip(1)
        .take_while(|line| !line.contains("snippet:end"))
        .collect();
    assert!(!lines.is_empty(), "{file} has no snippet");
    let indentation = |line: &&str| line.len() - line.trim_start().len();
    let shared =
        lines.iter().filter(|line| !line.trim().is_empty()).map(indentation).min().unwrap_or(0);
    let lines: Vec<&str> =
        lines.iter().map(|line| line.get(shared..).unwrap_or_default()).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

#[test]
fn the_readme_quotes_the_tested_clients() {
    let readme = readme();
    for file in [
        "examples/python/savepoint_client.py",
        "examples/go/main.go",
        "examples/java/src/main/java/com/savepoint/example/SavepointClient.java",
        "examples/typescript/src/client.ts",
        "examples/web/src/client.ts",
    ] {
        assert!(readme.contains(&snippet(file)), "the snippet of {file} is another one");
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
