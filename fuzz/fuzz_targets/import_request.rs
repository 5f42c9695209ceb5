//! ImportSavepointRequest: refused with exactly its invalid fields, or sent to exactly the right
//! URL.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use savepoint_gateway::pb::ImportSavepointRequest;
use savepoint_gateway_fuzz::{PROJECT_ID, PROVIDERS, Repeated, check_refusal, check_request};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = ImportSavepointRequest::decode(data) {
        check(&request);
    }
    if let Ok((job_id, project, path)) =
        <(i64, Repeated<'_>, Repeated<'_>)>::arbitrary(&mut Unstructured::new(data))
    {
        check(&ImportSavepointRequest {
            job_id,
            project_id: project.text(80),
            savepoint_path: path.text(1100),
        });
    }
});

fn check(request: &ImportSavepointRequest) {
    let project = match request.project_id.as_str() {
        "" => PROJECT_ID,
        given => given,
    };
    let may = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    let path = &request.savepoint_path;
    let fields = [
        ("project_id", (1..=64).contains(&project.len()) && project.chars().all(may)),
        ("job_id", request.job_id > 0),
        ("savepoint_path", (1..=1024).contains(&path.len()) && !path.contains(char::is_control)),
    ];
    match PROVIDERS.import(request) {
        Ok(sent) => {
            assert!(fields.iter().all(|(_, good)| *good), "{fields:?}");
            let path =
                format!("/v1.0/{project}/streaming/jobs/{}/import-savepoint", request.job_id);
            check_request(&sent, "https://huawei.example", &path);
            let body: serde_json::Value = serde_json::from_slice(sent.body()).expect("JSON");
            let expected = serde_json::json!({
                "job_id": request.job_id, "savepoint_path": request.savepoint_path,
            });
            assert_eq!(body, expected);
        }
        Err(error) => check_refusal(error, &fields),
    }
}
