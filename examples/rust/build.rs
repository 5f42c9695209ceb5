//! Generates the client from the gateway's proto files, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const PROTO: &str = "../../proto";
    println!("cargo::rerun-if-changed={PROTO}");
    let protos = protox::compile(
        [
            "savepoint/v1/savepoint.proto",
            "savepoint/dli/v1/dli.proto",
            "savepoint/flink/v1/flink.proto",
        ],
        [PROTO.to_owned(), format!("{PROTO}/third_party")],
    )?;
    // The types of google.protobuf come from prost-types.
    tonic_prost_build::configure().build_server(false).compile_fds(protos)?;
    Ok(())
}
