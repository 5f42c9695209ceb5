//! ListSavepointsRequest: refused with exactly its invalid fields, or sent to exactly the right URL.
//! A page token is valid only if the gateway made it for the same list.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use savepoint_gateway::pb::ListSavepointsRequest;
use savepoint_gateway_fuzz::{
    PROVIDERS, Repeated, WORKSPACE, check_refusal, check_request, is_name, whole,
};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    fields: [Repeated<'a>; 4],
    page_size: i32,
    token: Option<&'a str>,
    /// Where one bit of a right token is changed.
    flip: Option<(u8, u8)>,
}

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = ListSavepointsRequest::decode(data) {
        check(&request, false);
    }
    let Ok(input) = Input::arbitrary(&mut Unstructured::new(data)) else { return };
    let [workspace, namespace, deployment_id, job_id] = input.fields.map(|field| field.text(150));
    let request = ListSavepointsRequest {
        workspace,
        namespace,
        deployment_id,
        job_id,
        page_size: input.page_size,
        page_token: input.token.unwrap_or_default().to_owned(),
    };
    check(&request, false);

    // The token of its own list is valid, and no other that is almost the same.
    let first = ListSavepointsRequest { page_token: String::new(), ..request };
    let answer = whole(br#"{"success":true,"data":[{"savepointId":"s"}],"totalSize":1000}"#);
    let Ok(listed) = PROVIDERS.listed(&first, &answer) else { return };
    let mut token = listed.next_page_token;
    assert!(!token.is_empty());
    check(&ListSavepointsRequest { page_token: token.clone(), ..first.clone() }, true);
    if let Some((at, bit)) = input.flip {
        let at = usize::from(at) % token.len();
        let mut bytes = token.into_bytes();
        // Not the bit that makes a letter a capital, which is the same digit.
        bytes[at] ^= 1 << (bit % 5);
        token = String::from_utf8(bytes).expect("ASCII");
        // The page index is the caller's to choose, and so is a size that the request leaves out.
        let chosen = if first.page_size == 0 { 2..12 } else { 4..12 };
        if !chosen.contains(&at) {
            check(&ListSavepointsRequest { page_token: token, ..first }, false);
        }
    }
});

/// `has_token`: its token is one that the gateway made for this list.
fn check(request: &ListSavepointsRequest, has_token: bool) {
    let workspace = match request.workspace.as_str() {
        "" => WORKSPACE,
        given => given,
    };
    let is_filter = |text: &str| text.is_empty() || is_name(text, "_.~-");
    let fields = [
        ("workspace", is_name(workspace, "_.-")),
        ("namespace", is_name(&request.namespace, "_.~-")),
        ("deployment_id", is_filter(&request.deployment_id)),
        ("job_id", is_filter(&request.job_id)),
        ("page_size", (0..=100).contains(&request.page_size)),
        ("page_token", request.page_token.is_empty() || has_token),
    ];
    match PROVIDERS.list(request) {
        Ok(sent) => {
            assert!(fields.iter().all(|(_, good)| *good), "{fields:?}");
            let mut query = String::new();
            for (name, value) in
                [("deploymentId", &request.deployment_id), ("jobId", &request.job_id)]
            {
                if !value.is_empty() {
                    query.push_str(&format!("{name}={value}&"));
                }
            }
            let index = if has_token { 2 } else { 1 };
            let size = if request.page_size == 0 { 50 } else { request.page_size };
            let namespace = &request.namespace;
            let path = format!(
                "/api/v2/namespaces/{namespace}/savepoints?{query}pageIndex={index}&pageSize={size}"
            );
            check_request(&sent, "https://alibaba.example", &path);
            assert_eq!(sent.headers()["workspace"], workspace);
            assert!(sent.body().is_empty());
        }
        Err(error) => check_refusal(error, &fields),
    }
}
