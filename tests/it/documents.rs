use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use prost::Message as _;
use prost_types::method_options::IdempotencyLevel;
use prost_types::{FileDescriptorSet, MethodOptions};
use savepoint_gateway::cli::Cli;
use savepoint_gateway::pb::DESCRIPTOR;
use savepoint_gateway::rpc::reason::{Outcome, Reason, Retry};
use savepoint_gateway::rpc::status::code_names;
use savepoint_gateway::simulator::SCENARIOS;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The part of a page from a heading to the next one of the same level.
fn section(page: &str, heading: &str) -> String {
    let (_, rest) =
        page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    rest.split_once("\n## ").map_or(rest, |(section, _)| section).to_owned()
}

/// The cells of the table rows whose first cell begins with this.
fn rows<'a>(text: &'a str, first: &str) -> Vec<Vec<&'a str>> {
    text.lines()
        .filter(|line| line.starts_with(&format!("| {first}")))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn the_reference_lists_all_commands() {
    let page = section(&read("docs/reference.md"), "Commands");
    let listed: Vec<_> =
        rows(&page, "`savepoint-gateway ").iter().map(|row| row[0].to_owned()).collect();
    let commands: Vec<_> = Cli::command()
        .get_subcommands()
        .map(|command| format!("`savepoint-gateway {}`", command.get_name()))
        .collect();
    assert_eq!(listed, commands);
}

#[test]
fn the_operations_page_says_what_to_do_for_every_reason() {
    let page = read("docs/operations.md");
    let table = page.split("<!-- reasons:begin -->").nth(1).unwrap();
    let table = table.split("<!-- reasons:end -->").next().unwrap();
    let mut rows = rows(table, "`");
    for reason in Reason::ALL {
        let row = reason.row();
        let (reason, code) = (format!("`{}`", row.name), code_names(row.code).screaming);
        let found = rows.iter().find(|cells| cells[0] == reason && cells[1] == code);
        let cells = found.unwrap_or_else(|| panic!("no row with {reason} and {code}"));
        assert_eq!(cells.len(), 6, "{reason}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{reason}");
        let (changed, again) = match row.outcome {
            Outcome::NotApplied => ("no", ["do not retry", "later"].as_slice()),
            Outcome::Unknown => ("unknown", ["check the job first"].as_slice()),
        };
        assert_eq!(cells[2], changed, "{reason} {code}: job changed");
        assert!(again.contains(&cells[3]), "{reason} {code}: retry an import");
        if row.retry == Retry::Always {
            assert_eq!(cells[3], "later", "{reason}: the gateway itself retries it");
        }
    }
    rows.retain(|cells| {
        !Reason::ALL.iter().any(|reason| {
            let row = reason.row();
            cells[0] == format!("`{}`", row.name) && cells[1] == code_names(row.code).screaming
        })
    });
    assert!(rows.is_empty(), "no such failures: {rows:?}");
}

#[test]
fn the_reference_lists_every_reason_with_its_code_outcome_and_retries() {
    let page = read("docs/reference.md");
    let page = section(&page, "Errors");
    // The tables of details before it have fewer columns.
    let rows: Vec<_> = rows(&page, "`").into_iter().filter(|cells| cells.len() == 5).collect();
    let is_of = |cells: &Vec<&str>, reason: Reason| {
        let row = reason.row();
        let retried = match row.retry {
            Retry::Never => "no",
            Retry::IfIdempotent => "reads",
            Retry::Always => "all RPCs",
        };
        cells[0] == format!("`{}`", row.name)
            && cells[1] == code_names(row.code).screaming
            && cells[2].starts_with(&format!("`{}`", row.outcome.as_str()))
            && cells[4] == retried
    };
    for reason in Reason::ALL {
        let found = rows.iter().any(|cells| is_of(cells, reason));
        assert!(found, "no row for {:?}", reason.row());
    }
    for cells in &rows {
        let known = Reason::ALL.into_iter().any(|reason| is_of(cells, reason));
        assert!(known, "no such failure: {cells:?}");
    }
}

#[test]
fn the_reference_lists_every_scenario() {
    let page = read("docs/reference.md");
    let page = section(&page, "Simulator scenarios");
    for scenario in SCENARIOS {
        let line = format!("| `{}` | `simulate-{}` |", scenario.job_id, scenario.name);
        assert!(page.lines().any(|found| found.starts_with(&line)), "no line begins {line}");
    }
    assert_eq!(rows(&page, "`9").len(), SCENARIOS.len(), "a scenario that does not exist");
}

/// On a terminal of the usual size.
#[test]
fn help_fits_80_columns_and_its_short_form_one_screen() {
    let help = |args: &[&str]| {
        let binary = env!("CARGO_BIN_EXE_savepoint-gateway");
        let output = Command::new(binary).args(args).env_clear().output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let mut cli = Cli::command();
    let names: Vec<_> =
        cli.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for name in names.iter().map(String::as_str).chain([""]) {
        for flag in ["-h", "--help"] {
            let args: Vec<_> = [name, flag].into_iter().filter(|arg| !arg.is_empty()).collect();
            let text = help(&args);
            let wide = text.lines().find(|line| line.chars().count() > 80);
            assert_eq!(wide, None, "{args:?}");
            assert!(!text.contains("[env"), "{args:?}: variables have one rule");
            let lines = text.lines().count();
            assert!(flag == "--help" || lines <= 50, "{args:?}: {lines} lines");
        }
    }
    let (short, long) = (help(&["serve", "-h"]), help(&["serve", "--help"]));
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for text in [&short, &long] {
        assert!(words(text).contains("--max-timeout is SAVEPOINT_GATEWAY_MAX_TIMEOUT"), "{text}");
    }
    for option in cli.find_subcommand_mut("serve").unwrap().get_arguments() {
        let flag = format!("--{}", option.get_long().unwrap());
        assert!(words(&long).split(' ').any(|word| word == flag), "{flag}");
    }
    // What belongs together is together.
    let headings: Vec<_> = long
        .lines()
        .filter_map(|line| line.strip_suffix(':').filter(|line| !line.starts_with(' ')))
        .collect();
    assert!(
        headings.ends_with(&["All providers", "Listeners", "Limits", "Telemetry"]),
        "{headings:?}"
    );
}

#[test]
fn the_reference_lists_every_option_of_serve_with_its_default() {
    let page = read("docs/reference.md");
    let page = section(&page, "Options of `serve`");
    let mut cli = Cli::command();
    let serve = cli.find_subcommand_mut("serve").unwrap();
    let mut flags = Vec::new();
    for option in serve.get_arguments() {
        let Some(flag) = option.get_long() else { continue };
        if matches!(flag, "help" | "version") {
            continue;
        }
        let line = page.lines().find(|line| line.starts_with(&format!("| `--{flag}` |")));
        let line = line.unwrap_or_else(|| panic!("no line for --{flag}"));
        let variable = option.get_env().unwrap_or_else(|| panic!("--{flag} has no variable"));
        let expected = format!("SAVEPOINT_GATEWAY_{}", flag.to_uppercase().replace('-', "_"));
        assert_eq!(variable.to_str(), Some(expected.as_str()));
        for default in option.get_default_values() {
            let default = default.to_str().unwrap();
            assert!(line.contains(&format!("`{default}`")), "{line} lacks the default {default}");
        }
        flags.push(format!("`--{flag}`"));
    }
    for cells in rows(&page, "`--") {
        assert!(flags.iter().any(|flag| flag == cells[0]), "no such option: {}", cells[0]);
    }
}

/// The lines between the marks, without the indentation that they share.
fn snippet(file: &str) -> String {
    let text = read(file);
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
fn the_examples_page_quotes_the_tested_clients() {
    let page = read("examples/README.md");
    for file in [
        "python/savepoint_client.py",
        "go/main.go",
        "java/src/main/java/com/savepoint/example/SavepointClient.java",
        "typescript/src/client.ts",
        "rust/src/lib.rs",
        "web/src/client.ts",
    ] {
        let snippet = snippet(&format!("examples/{file}"));
        assert!(page.contains(&snippet), "the snippet of {file} differs");
    }
}

/// Two pages and a script install it, in three ways.
#[test]
fn every_way_to_install_buf_has_the_same_version() {
    let package = |name: &str| -> serde_json::Value {
        serde_json::from_str(&read(&format!("examples/{name}/package.json"))).unwrap()
    };
    let version = |name: &str| {
        let version = &package(name)["devDependencies"]["@bufbuild/buf"];
        version.as_str().expect("a version").to_owned()
    };
    assert_eq!(version("typescript"), version("web"));
    let go = format!("buf/cmd/buf@v{}\n", version("web"));
    assert!(read("examples/go/README.md").contains(&go), "examples/go/README.md is not at {go}");
    assert!(read("examples/install-tools").contains("npm_pin typescript @bufbuild/buf"));
}

/// A config that differs by language would retry differently by language. A read that is not retried
/// looks less available than it is, and a change that is may be made twice.
#[test]
fn the_examples_have_the_service_config_of_their_page_which_retries_all_reads_and_nothing_else() {
    let without_indentation =
        |text: &str| text.lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
    let page = read("examples/README.md");
    let config = page.split("```json\n").nth(1).unwrap().split("\n```").next().unwrap();
    let parsed: serde_json::Value = serde_json::from_str(config).unwrap();
    let names = parsed["methodConfig"][0]["name"].as_array().unwrap().iter();
    let retried: BTreeSet<_> = names
        .map(|name| format!("{}/{}", name["service"], name["method"]).replace('"', ""))
        .collect();
    let contract = FileDescriptorSet::decode(DESCRIPTOR).unwrap();
    let mut reads = BTreeSet::new();
    for file in &contract.file {
        for service in &file.service {
            for method in &service.method {
                let level = method.options.as_ref().map(MethodOptions::idempotency_level);
                // A watch is retried by the loop that reads it.
                if level == Some(IdempotencyLevel::NoSideEffects) && !method.server_streaming() {
                    reads.insert(format!(
                        "{}.{}/{}",
                        file.package(),
                        service.name(),
                        method.name()
                    ));
                }
            }
        }
    }
    assert_eq!(retried, reads);
    for file in [
        "python/savepoint_client.py",
        "go/main.go",
        "java/src/main/java/com/savepoint/example/SavepointClient.java",
        "typescript/src/client.ts",
    ] {
        let client = without_indentation(&read(&format!("examples/{file}")));
        assert!(
            client.contains(&without_indentation(config)),
            "the service config of {file} differs"
        );
    }
}

#[test]
fn the_readme_takes_its_reasons_from_the_reference() {
    let (readme, reference) = (read("README.md"), read("docs/reference.md"));
    let section = section(&readme, "Errors");
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
    assert!((1..=5).contains(&rows.len()), "{} rows", rows.len());
    for row in rows {
        assert!(reference.lines().any(|line| line == row), "docs/reference.md has no line {row}");
    }
}

/// Each quoted line is in the output of `demo --once`, in this order; `…` stands for anything.
#[test]
fn the_readme_quotes_the_demo() {
    let readme = read("README.md");
    let section = section(&readme, "Try it");
    let quoted = section.split("```text\n").nth(1).unwrap();
    let quoted = quoted.split("```").next().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_savepoint-gateway"))
        .args(["demo", "--once", "--admin-listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let output = String::from_utf8(output.stdout).unwrap();
    let mut left = output.lines();
    for line in quoted.lines().filter(|line| line.trim() != "…") {
        let found = left.any(|printed| is_abridged(line, printed));
        assert!(found, "the demo does not print {line:?} there:\n{output}");
    }
}

fn is_abridged(quoted: &str, printed: &str) -> bool {
    let mut pieces = quoted.split('…');
    let Some(mut left) = printed.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let mut open = false;
    for piece in pieces {
        let Some(at) = left.find(piece) else { return false };
        left = left.get(at + piece.len()..).unwrap_or_default();
        open = piece.is_empty();
    }
    open || left.is_empty()
}

#[test]
fn the_first_pages_stay_short() {
    for (file, most) in [("README.md", 160), ("ARCHITECTURE.md", 150)] {
        let lines = read(file).lines().count();
        assert!(lines <= most, "{file} has {lines} lines, more than {most}");
    }
}

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') || matches!(name.as_str(), "target" | "node_modules" | "corpus") {
            continue;
        }
        if path.is_dir() {
            pages(&path, found);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
}

/// The anchor that code hosts make of each heading.
fn anchors(page: &str) -> Vec<String> {
    page.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept =
                title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.collect::<String>().replace(' ', "-")
        })
        .collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut found = Vec::new();
    pages(root(), &mut found);
    assert!(found.len() > 20, "{} pages", found.len());
    for page in found {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.contains(char::is_whitespace) {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(to.exists(), "{}: no {target}", page.display());
            if !anchor.is_empty() {
                let known = anchors(&fs::read_to_string(&to).unwrap());
                assert!(known.iter().any(|a| a == anchor), "{}: no {target}", page.display());
            }
        }
    }
}
