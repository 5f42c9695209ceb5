//! Compiles the protos of the suites, which `run.sh` takes out of their Go modules:
//! `CONFORMANCE_PROTO` names a folder of .proto files, `INTEROP_DESCRIPTORS` a descriptor set.

use std::{env, fs};

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-env-changed=CONFORMANCE_PROTO");
    println!("cargo::rerun-if-env-changed=INTEROP_DESCRIPTORS");
    let folder = env::var("CONFORMANCE_PROTO")?;
    let descriptors = env::var("INTEROP_DESCRIPTORS")?;
    println!("cargo::rerun-if-changed={descriptors}");
    let mut compiler = protox::Compiler::new([folder])?;
    compiler.include_imports(true).open_files([
        "connectrpc/conformance/v1/service.proto",
        "connectrpc/conformance/v1/server_compat.proto",
    ])?;
    let interop = prost_types::FileDescriptorSet::decode(&*fs::read(descriptors)?)?;
    for descriptors in [compiler.file_descriptor_set(), interop] {
        tonic_prost_build::configure()
            .build_client(false)
            .build_transport(false)
            .compile_fds(descriptors)?;
    }
    Ok(())
}
