//! Calls every RPC of a running savepoint gateway and prints what comes back.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use savepoint_gateway_example::pb::{
    CreateSavepointRequest, GetSavepointRequest, ImportSavepointRequest, ListSavepointsRequest,
    Savepoint, WatchSavepointRequest,
};
use savepoint_gateway_example::{
    DEADLINE, WatchError, connect, create_savepoint, details_of, get_savepoint, import_savepoint,
    list_savepoints, tls_from_environment, watch_savepoint,
};
use tonic::{Code, Status};

const PROJECT: &str = "0605767b3300d5762fb7c0186d9e1779";
const WORKSPACE: &str = "a14bd5d90a0001";
const NAMESPACE: &str = "default-namespace";
const DEPLOYMENT: &str = "58718c99-3b29-4c5e-93bb-c9fc4ec60001";

fn print_savepoint(savepoint: &Savepoint) {
    let status = savepoint.status.clone().unwrap_or_default();
    println!(
        "  {}: {} ({})",
        savepoint.savepoint_id,
        status.state().as_str_name(),
        status.provider_state
    );
    if !savepoint.savepoint_location.is_empty() {
        println!("  at {}", savepoint.savepoint_location);
    }
    if let Some(created) = &savepoint.create_time {
        println!("  created {created}");
    }
    // An option, because absent and false are different answers.
    if let Some(native) = savepoint.native_format {
        println!("  native format: {native}");
    }
}

/// A failure with its details, one line each.
fn describe(failure: &Status) -> String {
    let mut lines = vec![format!("  {:?}: {}", failure.code(), failure.message())];
    let details = details_of(failure);
    if let Some(info) = details.error_info() {
        lines.push(format!("  reason {} of {}", info.reason, info.domain));
        for (key, value) in info.metadata.iter().collect::<BTreeMap<_, _>>() {
            lines.push(format!("    {key}: {value}"));
        }
    }
    for violation in details.bad_request().iter().flat_map(|bad| &bad.field_violations) {
        lines.push(format!("  field {}: {}", violation.field, violation.description));
    }
    if let Some(request) = details.request_info() {
        lines.push(format!("  the provider's request id: {}", request.request_id));
    }
    if let Some(delay) = details.retry_info().and_then(|retry| retry.retry_delay) {
        lines.push(format!("  try again in {delay:?}"));
    }
    lines.join("\n")
}

async fn run() -> Result<(), Box<dyn Error>> {
    let address = std::env::var("SAVEPOINT_GATEWAY_ADDRESS");
    let address = address.as_deref().unwrap_or("127.0.0.1:50051");
    let client = connect(address, tls_from_environment()?)?;

    println!("ImportSavepoint");
    let request = ImportSavepointRequest {
        project_id: PROJECT.into(),
        job_id: 137_228,
        savepoint_path: "obs://bucket-name/dir/savepoint/".into(),
    };
    let imported = import_savepoint(&client, request).await?;
    println!("  {} (request {})", imported.message, imported.request_id);

    println!("GetSavepoint");
    let request = GetSavepointRequest {
        workspace: WORKSPACE.into(),
        namespace: NAMESPACE.into(),
        savepoint_id: "88a8fc49-e090-430a-85d8-3ee8c79c0001".into(),
    };
    let got = get_savepoint(&client, request, DEADLINE).await?;
    print_savepoint(&got.savepoint.unwrap_or_default());

    println!("CreateSavepoint");
    let request = CreateSavepointRequest {
        workspace: WORKSPACE.into(),
        namespace: NAMESPACE.into(),
        deployment_id: DEPLOYMENT.into(),
        description: "before the upgrade".into(),
        native_format: None,
    };
    let created = create_savepoint(&client, request).await?.savepoint.unwrap_or_default();
    print_savepoint(&created);

    println!("WatchSavepoint");
    let request = WatchSavepointRequest {
        workspace: WORKSPACE.into(),
        namespace: NAMESPACE.into(),
        savepoint_id: created.savepoint_id,
    };
    print_savepoint(&watch_savepoint(&client, request, Duration::from_secs(600)).await?);

    println!("ListSavepoints");
    let request = ListSavepointsRequest {
        workspace: WORKSPACE.into(),
        namespace: NAMESPACE.into(),
        deployment_id: DEPLOYMENT.into(),
        ..Default::default()
    };
    for savepoint in list_savepoints(&client, request).await? {
        print_savepoint(&savepoint);
    }

    println!("ImportSavepoint with an empty request, to show what a failure carries");
    match import_savepoint(&client, ImportSavepointRequest::default()).await {
        Ok(_) => Err("an empty request was accepted, which the contract rules out".into()),
        Err(failure) if failure.code() == Code::InvalidArgument => {
            println!("{}", describe(&failure));
            Ok(())
        }
        Err(failure) => Err(failure.into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    let status = match error.downcast_ref() {
        Some(WatchError::Call(status)) => Some(status),
        _ => error.downcast_ref::<Status>(),
    };
    match status {
        Some(status) => eprintln!("{}", describe(status)),
        None => eprintln!("  {error}"),
    }
    ExitCode::FAILURE
}
