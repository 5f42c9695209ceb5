//! Alibaba's response to a list: OK only if it reports success with a list of savepoints, a next
//! page only after a page that is not empty, a total that is not negative, and page tokens that lead
//! to just the next page.
#![no_main]

use libfuzzer_sys::fuzz_target;
use savepoint_gateway::pb::ListSavepointsRequest;
use savepoint_gateway_fuzz::{
    PROVIDERS, answer, check_error, check_request_id, check_savepoint, says_success, within_bounds,
};

fuzz_target!(|data: &[u8]| {
    let [size, rest @ ..] = data else { return };
    let Some(answer) = answer(rest) else { return };
    // Seeds begin with a space, which is the default size.
    let page_size = i32::from(size.wrapping_sub(b' ') % 101);
    let size = if page_size == 0 { 50 } else { page_size };
    let first = ListSavepointsRequest {
        namespace: "n".to_owned(),
        page_size,
        ..ListSavepointsRequest::default()
    };
    let mut request = first.clone();
    // The same answer to each page: its end depends on nothing but how many pages there were.
    for index in 1..=4 {
        let sent = PROVIDERS.list(&request).expect("a valid request");
        let query = format!("pageIndex={index}&pageSize={size}");
        assert_eq!(sent.uri().query(), Some(&*query));
        let response = match within_bounds(data.len(), || PROVIDERS.listed(&request, &answer)) {
            Ok(response) => response,
            Err(error) => {
                assert_eq!(index, 1, "the same answer was a success before");
                check_error(error);
                return;
            }
        };
        assert!(says_success(&answer, "success"));
        check_request_id(&response.request_id);
        response.savepoints.iter().for_each(check_savepoint);
        assert!(response.total_size >= 0, "{}", response.total_size);
        if response.next_page_token.is_empty() {
            return;
        }
        assert!(!response.savepoints.is_empty(), "a page after an empty one");
        // An unknown total is 0: then the page must be full.
        let listed = index * size;
        match response.total_size {
            0 => assert!(response.savepoints.len() >= usize::try_from(size).expect("positive")),
            total => assert!(listed < total, "a page after {listed} of {total}"),
        }
        let other = ListSavepointsRequest {
            job_id: "j".to_owned(),
            page_token: response.next_page_token.clone(),
            ..first.clone()
        };
        PROVIDERS.check_list(&other).expect_err("a token of another list");
        request = ListSavepointsRequest { page_token: response.next_page_token, ..first.clone() };
    }
});
