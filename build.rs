//! Compiles the protos without protoc, and writes the descriptor set for reflection.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo configures build scripts by environment variables"
)]

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The gateway's own protos. Each file below it is served.
const OWN: &str = "proto/savepoint";
const HEALTH: &str = "grpc/health/v1/health.proto";
/// What decodes the details of a status.
const DETAILS: [&str; 2] = ["google/rpc/error_details.proto", "google/rpc/status.proto"];
/// OTLP messages, which the gateway sends but does not serve.
const OTLP: [&str; 1] = ["opentelemetry/proto/collector/trace/v1/trace_service.proto"];
const ROOTS: [&str; 2] = ["proto", "proto/third_party"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut files = vec![PathBuf::from(HEALTH)];
    find_protos(Path::new(OWN), &mut files)?;

    // Two runs: comments are needed for the docs of the generated code, but would double the
    // download of reflection clients, and tonic-types has the code for the details. Only
    // `encode_file_descriptor_set` keeps the (google.api.http) options.
    let mut served = files.clone();
    served.extend(DETAILS.map(PathBuf::from));
    let served = compiler(&served, false)?.encode_file_descriptor_set();
    fs::write(out.join("descriptor.bin"), served)?;

    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        // Clients create their own channels; the generated code needs no transport.
        .build_transport(false)
        .codec_path("crate::rpc::codec::SmallMessages")
        .extern_path(".google.api", "crate::pb::google::api")
        .include_file("pb.rs")
        .compile_fds(compiler(&files, true)?.file_descriptor_set())?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .include_file("otlp.rs")
        .compile_fds(compiler(&OTLP, false)?.file_descriptor_set())?;
    Ok(())
}

/// Finds the protos below a folder, in an order that does not depend on the file system.
fn find_protos(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut paths: Vec<_> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            find_protos(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    Ok(())
}

fn compiler(
    files: &[impl AsRef<Path>],
    source_info: bool,
) -> Result<protox::Compiler, protox::Error> {
    let mut compiler = protox::Compiler::new(ROOTS)?;
    compiler.include_imports(true).include_source_info(source_info);
    compiler.open_files(files)?;
    Ok(compiler)
}
