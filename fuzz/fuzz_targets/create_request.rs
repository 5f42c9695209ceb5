//! CreateSavepointRequest: refused with exactly its invalid fields, or sent to exactly the right URL
//! with a body that says what was asked and nothing else.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use savepoint_gateway::pb::CreateSavepointRequest;
use savepoint_gateway_fuzz::{
    PROVIDERS, Repeated, WORKSPACE, check_refusal, check_request, is_name,
};
use serde_json::{Map, Value};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = CreateSavepointRequest::decode(data) {
        check(&request);
    }
    if let Ok((native_format, [workspace, namespace, deployment_id], description)) =
        <(Option<bool>, [Repeated<'_>; 3], Repeated<'_>)>::arbitrary(&mut Unstructured::new(data))
    {
        check(&CreateSavepointRequest {
            workspace: workspace.text(150),
            namespace: namespace.text(150),
            deployment_id: deployment_id.text(150),
            description: description.text(1100),
            native_format,
        });
    }
});

fn check(request: &CreateSavepointRequest) {
    let workspace = match request.workspace.as_str() {
        "" => WORKSPACE,
        given => given,
    };
    let fields = [
        ("workspace", is_name(workspace, "_.-")),
        ("namespace", is_name(&request.namespace, "_.~-")),
        ("deployment_id", is_name(&request.deployment_id, "_.~-")),
        ("description", request.description.len() <= 1024),
    ];
    match PROVIDERS.create(request) {
        Ok(sent) => {
            assert!(fields.iter().all(|(_, good)| *good), "{fields:?}");
            let path = format!("/api/v2/namespaces/{}/savepoints", request.namespace);
            check_request(&sent, "https://alibaba.example", &path);
            assert_eq!(sent.headers()["workspace"], workspace);
            let body: Value = serde_json::from_slice(sent.body()).expect("JSON");
            let mut expected = Map::new();
            expected.insert("deploymentId".to_owned(), request.deployment_id.clone().into());
            if !request.description.is_empty() {
                expected.insert("description".to_owned(), request.description.clone().into());
            }
            if let Some(native_format) = request.native_format {
                expected.insert("nativeFormat".to_owned(), native_format.into());
            }
            assert_eq!(body, Value::Object(expected));
        }
        Err(error) => check_refusal(error, &fields),
    }
}
