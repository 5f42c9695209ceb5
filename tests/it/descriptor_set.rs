use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use prost_reflect::{DescriptorPool, Value};

use crate::support::Folder;

fn descriptor(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_savepoint-gateway"));
    command.arg("descriptor").args(args).stdin(Stdio::null());
    command
}

fn written(args: &[&str]) -> Output {
    let output = descriptor(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    output
}

/// A pool accepts a file only after all that it imports, and only once.
#[test]
fn the_descriptor_set_needs_no_other_files() {
    let pool = DescriptorPool::decode(&*written(&[]).stdout).unwrap();
    for file in pool.files() {
        assert_eq!(pool.files().filter(|other| other.name() == file.name()).count(), 1);
    }
    for message in ["ErrorInfo", "BadRequest", "RequestInfo", "RetryInfo", "Status"] {
        let name = format!("google.rpc.{message}");
        assert!(pool.get_message_by_name(&name).is_some(), "no {name}");
    }
    let services: BTreeSet<_> =
        pool.services().map(|service| service.full_name().to_owned()).collect();
    let expected = [
        "grpc.health.v1.Health",
        "savepoint.dli.v1.DliService",
        "savepoint.flink.v1.FlinkService",
        "savepoint.v1.SavepointService",
    ];
    assert!(services.iter().eq(expected), "{services:?}");
}

/// An encoder that does not know an option drops it.
#[test]
fn the_descriptor_set_keeps_the_options_of_the_contract() {
    let pool = DescriptorPool::decode(&*written(&[]).stdout).unwrap();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    let service = pool.get_service_by_name("savepoint.v1.SavepointService").unwrap();
    assert!(service.methods().len() > 0);
    for method in service.methods() {
        assert!(method.options().has_extension(&http), "{}", method.full_name());
    }
    let behavior = pool.get_extension_by_name("google.api.field_behavior").unwrap();
    let request = pool.get_message_by_name("savepoint.v1.GetSavepointRequest").unwrap();
    let options = request.get_field_by_name("namespace").unwrap().options();
    const REQUIRED: i32 = 2;
    let required = Value::List(vec![Value::EnumNumber(REQUIRED)]);
    assert_eq!(*options.get_extension(&behavior), required);
}

#[test]
fn the_descriptor_set_goes_to_a_file_or_to_standard_output() {
    let folder = Folder::new();
    let file = folder.path().join("savepoint.binpb");
    // Longer than what replaces it.
    fs::write(&file, vec![0; 1 << 20]).unwrap();
    let output = written(&["--output", file.to_str().unwrap()]);
    assert!(output.stdout.is_empty());
    assert_eq!(fs::read(&file).unwrap(), written(&[]).stdout);
}

#[test]
fn a_descriptor_set_that_cannot_be_written_is_an_error() {
    let folder = Folder::new();
    let file = folder.path().join("missing").join("savepoint.binpb");
    let output = descriptor(&["--output", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    for part in ["--output", file.to_str().unwrap(), "No such file"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    // Where there is a device that is always full.
    if Path::new("/dev/full").exists() {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = descriptor(&[]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("standard output: No space left"), "{said}");
    }
}
