//! GetSavepointRequest: refused with exactly its invalid fields, or sent to exactly the right URL.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use savepoint_gateway::pb::GetSavepointRequest;
use savepoint_gateway_fuzz::{
    PROVIDERS, Repeated, WORKSPACE, check_refusal, check_request, is_name,
};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = GetSavepointRequest::decode(data) {
        check(&request);
    }
    if let Ok([workspace, namespace, id]) =
        <[Repeated<'_>; 3]>::arbitrary(&mut Unstructured::new(data))
    {
        check(&GetSavepointRequest {
            workspace: workspace.text(150),
            namespace: namespace.text(150),
            savepoint_id: id.text(150),
        });
    }
});

fn check(request: &GetSavepointRequest) {
    let workspace = match request.workspace.as_str() {
        "" => WORKSPACE,
        given => given,
    };
    let fields = [
        ("workspace", is_name(workspace, "_.-")),
        ("namespace", is_name(&request.namespace, "_.~-")),
        ("savepoint_id", is_name(&request.savepoint_id, "_.~-")),
    ];
    match PROVIDERS.get(request) {
        Ok(sent) => {
            assert!(fields.iter().all(|(_, good)| *good), "{fields:?}");
            let (namespace, id) = (&request.namespace, &request.savepoint_id);
            let path = format!("/api/v2/namespaces/{namespace}/savepoints/{id}");
            check_request(&sent, "https://alibaba.example", &path);
            assert_eq!(sent.headers()["workspace"], workspace);
            assert!(sent.body().is_empty());
        }
        Err(error) => check_refusal(error, &fields),
    }
}
