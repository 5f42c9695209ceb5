use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Where a row is proved: `file::test` below `tests/` or `src/`, or the reason why there is
/// nothing to prove.
enum Proof {
    Tests(&'static [&'static str]),
    /// It cannot happen to this gateway, or the contract decides otherwise.
    DoesNotApply(&'static str),
}

use Proof::{DoesNotApply, Tests};

const ANSWERS: [&str; 2] = [
    "tests/it/failures.rs::imports_tell_every_other_answer_truthfully",
    "tests/it/failures.rs::gets_tell_every_other_answer_truthfully",
];

#[rustfmt::skip]
const TABLE: [(u8, &str, Proof); 78] = [
    (1, "namespace `../../x`", Tests(&["tests/it/hostile/fields.rs::an_id_that_could_mean_another_place_is_refused_by_name"])),
    (2, "namespace `..` or `.`", Tests(&["tests/it/hostile/fields.rs::an_id_that_could_mean_another_place_is_refused_by_name"])),
    (3, "`%2e%2e`, `%2F`, `a%2Fb`", Tests(&["tests/it/hostile/fields.rs::an_id_that_could_mean_another_place_is_refused_by_name"])),
    (4, "`a/b`, a backslash", Tests(&["tests/it/hostile/fields.rs::an_id_that_could_mean_another_place_is_refused_by_name"])),
    (5, "`a?b#c`", Tests(&["tests/it/hostile/fields.rs::an_id_that_could_mean_another_place_is_refused_by_name"])),
    (6, "CR, LF, TAB, NUL in any id", Tests(&["tests/it/hostile/fields.rs::an_id_that_could_mean_another_place_is_refused_by_name"])),
    (7, "another host or URL as an id", Tests(&["tests/it/hostile/fields.rs::an_id_that_could_mean_another_place_is_refused_by_name"])),
    (8, "empty or blank fields", Tests(&["tests/it/hostile/fields.rs::an_id_that_could_mean_another_place_is_refused_by_name"])),
    (9, "ids of 10 KB and 1 MB", Tests(&["tests/it/hostile/fields.rs::an_id_that_could_mean_another_place_is_refused_by_name"])),
    (10, "confusable and invisible characters in ids", Tests(&["tests/it/hostile/fields.rs::an_id_that_could_mean_another_place_is_refused_by_name"])),
    (11, "path parameters, `ns;x=1`", Tests(&["tests/it/hostile/fields.rs::an_id_that_could_mean_another_place_is_refused_by_name"])),
    (12, "a workspace that would break its header", Tests(&["tests/it/hostile/fields.rs::an_id_that_could_mean_another_place_is_refused_by_name"])),
    (13, "project_id of another tenant", DoesNotApply("the contract lets a request name its project; which projects the gateway's key may touch is for the provider's permissions, and PROVIDER_PERMISSION_DENIED tells")),
    (14, "job_id at and beyond its bounds", Tests(&["tests/it/hostile/fields.rs::a_job_id_is_positive_and_exact_to_the_last_digit"])),
    (15, "job_id beyond 2^53", Tests(&["tests/it/hostile/fields.rs::a_job_id_is_positive_and_exact_to_the_last_digit", "tests/it/calls.rs::values_arrive_exactly"])),
    (16, "savepoint_path of every scheme", Tests(&["tests/it/hostile/fields.rs::a_path_is_forwarded_byte_for_byte_or_refused"])),
    (17, "savepoint_path with quotes, backslash, NUL", Tests(&["tests/it/hostile/fields.rs::a_path_is_forwarded_byte_for_byte_or_refused"])),
    (18, "invalid UTF-8 in a string", Tests(&["tests/it/hostile/messages.rs::a_message_that_is_none_is_refused_without_an_echo_and_without_a_call"])),
    (19, "3 MB of unknown fields", Tests(&["tests/it/hostile/messages.rs::a_message_that_is_none_is_refused_without_an_echo_and_without_a_call"])),
    (20, "5,000 nested groups", Tests(&["tests/it/hostile/messages.rs::a_message_that_is_none_is_refused_without_an_echo_and_without_a_call"])),
    (21, "a varint of 12 bytes", Tests(&["tests/it/hostile/messages.rs::a_message_that_is_none_is_refused_without_an_echo_and_without_a_call"])),
    (22, "a length prefix of 0xffffffff", Tests(&["tests/it/hostile/messages.rs::a_message_that_is_none_is_refused_without_an_echo_and_without_a_call"])),
    (23, "a gzip bomb", Tests(&["tests/it/hostile/messages.rs::a_message_that_is_none_is_refused_without_an_echo_and_without_a_call"])),
    (24, "gzip garbage, flag 2, flag 1 without an encoding", Tests(&["tests/it/hostile/messages.rs::a_message_that_is_none_is_refused_without_an_echo_and_without_a_call"])),
    (25, "grpc-encoding br", Tests(&["tests/it/hostile/messages.rs::an_unknown_encoding_is_answered_with_those_that_are_known"])),
    (26, "no message or two", Tests(&["tests/it/hostile/messages.rs::a_message_that_is_none_is_refused_without_an_echo_and_without_a_call"])),
    (27, "a message that is cut short", Tests(&["tests/it/hostile/messages.rs::a_message_that_is_none_is_refused_without_an_echo_and_without_a_call"])),
    (28, "another content-type or none", Tests(&["tests/it/hostile/messages.rs::what_is_no_grpc_gets_an_answer_in_http"])),
    (29, "another HTTP method", Tests(&["tests/it/hostile/messages.rs::what_is_no_grpc_gets_an_answer_in_http"])),
    (30, "no `te: trailers`", Tests(&["tests/it/hostile/messages.rs::what_is_no_grpc_gets_an_answer_in_http"])),
    (31, "grpc-timeout that means nothing", Tests(&["tests/it/hostile/messages.rs::a_timeout_that_means_nothing_is_no_timeout_and_a_spent_one_calls_nothing"])),
    (32, "grpc-timeout that is spent", Tests(&["tests/it/hostile/messages.rs::a_timeout_that_means_nothing_is_no_timeout_and_a_spent_one_calls_nothing"])),
    (33, "17 KB of metadata", Tests(&["tests/it/hostile/messages.rs::metadata_that_is_too_much_gets_a_status_and_odd_metadata_does_no_harm"])),
    (34, "uppercase, CR or NUL in headers", Tests(&["tests/it/hostile/messages.rs::malformed_headers_cost_their_sender_a_stream_or_a_connection_and_nobody_else"])),
    (35, "connection headers, no :method", Tests(&["tests/it/hostile/messages.rs::malformed_headers_cost_their_sender_a_stream_or_a_connection_and_nobody_else"])),
    (36, "metadata that means something to a provider", Tests(&["tests/it/calls.rs::nothing_that_a_caller_puts_into_metadata_reaches_a_provider", "tests/it/hostile/messages.rs::metadata_that_is_too_much_gets_a_status_and_odd_metadata_does_no_harm"])),
    (37, "`-bin` metadata that is no base64", Tests(&["tests/it/hostile/messages.rs::metadata_that_is_too_much_gets_a_status_and_odd_metadata_does_no_harm"])),
    (38, "rapid reset", Tests(&["tests/it/hostile/floods.rs::a_flood_of_resets_is_told_to_calm_down"])),
    (39, "a flood of CONTINUATION", Tests(&["tests/it/hostile/floods.rs::a_flood_of_continuations_is_told_to_calm_down"])),
    (40, "an HPACK bomb of 30 MB", Tests(&["tests/it/hostile/floods.rs::headers_that_expand_to_megabytes_are_not_kept"])),
    (41, "a flood of empty DATA", Tests(&["tests/it/hostile/floods.rs::a_flood_of_empty_data_ends_the_connection"])),
    (42, "a flood of PING", Tests(&["tests/it/hostile/floods.rs::a_flood_of_control_frames_ends_the_connection_after_few_answers"])),
    (43, "a flood of SETTINGS", Tests(&["tests/it/hostile/floods.rs::a_flood_of_control_frames_ends_the_connection_after_few_answers"])),
    (44, "connections without a preface", Tests(&["tests/it/hostile/floods.rs::connections_that_never_begin_are_closed_and_others_are_served", "tests/it/hostile/floods.rs::more_connections_than_allowed_are_closed_at_once"])),
    (45, "one byte now and then", Tests(&["tests/it/hostile/floods.rs::whoever_drips_is_closed", "src/server/h2_guard.rs::single_bytes_do_not_extend_the_time_limit"])),
    (46, "never reading answers", Tests(&["tests/it/hostile/floods.rs::whoever_makes_no_room_for_answers_is_closed", "src/server/in_flight.rs::only_an_unread_response_counts_as_stalled"])),
    (47, "1,000 streams on one connection", Tests(&["tests/it/hostile/floods.rs::more_streams_than_allowed_are_refused_one_by_one"])),
    (48, "HTTP/1.1", Tests(&["tests/it/hostile/floods.rs::other_protocols_are_told_or_closed", "tests/it/tls.rs::calls_come_over_tls_and_not_beside_it"])),
    (49, "TLS on the plaintext port", Tests(&["tests/it/hostile/floods.rs::other_protocols_are_told_or_closed"])),
    (50, "client certificate expired, wrong or missing", Tests(&["tests/it/tls.rs::callers_show_a_good_certificate_or_are_not_served"])),
    (51, "a panic in a handler", Tests(&["tests/it/hostile/isolation.rs::a_panic_ends_its_own_call_alone"])),
    (52, "a redirect to another host", Tests(&["tests/it/hostile/answers.rs::a_redirect_takes_nothing_to_another_host"])),
    (53, "a redirect to http", Tests(&["tests/it/hostile/answers.rs::a_redirect_takes_nothing_to_another_host"])),
    (54, "an answer without an end", Tests(&["tests/it/hostile/answers.rs::an_answer_without_an_end_is_given_up_at_the_cap"])),
    (55, "a gzip bomb as an answer", Tests(&["tests/it/hostile/answers.rs::compression_is_not_asked_for_and_not_undone"])),
    (56, "is_success as text, number or null", Tests(&["tests/it/failures.rs::a_reported_failure_is_a_failure_however_it_is_spelled", ANSWERS[0], ANSWERS[1]])),
    (57, "200 with is_success false", Tests(&["tests/it/failures.rs::a_reported_failure_is_a_failure_however_it_is_spelled"])),
    (58, "JSON that is no object, a BOM, a trailing comma", Tests(&ANSWERS)),
    (59, "duplicate keys", Tests(&ANSWERS)),
    (60, "createdAt in every form", Tests(&["tests/it/hostile/answers.rs::a_time_is_right_or_absent_and_never_wrong"])),
    (61, "lone surrogates, invalid UTF-8, NUL", Tests(&["tests/it/hostile/answers.rs::text_that_is_no_text_is_malformed_and_controls_are_taken_out_of_messages"])),
    (62, "JSON nested 100,000 deep", Tests(&["tests/it/hostile/answers.rs::nesting_without_end_overflows_nothing"])),
    (63, "a state that is not known", Tests(&["tests/it/calls.rs::words_that_the_contract_does_not_know_are_kept"])),
    (64, "another savepoint than asked for", DoesNotApply("the provider's own published example answers with another id than was asked for, so a difference proves nothing")),
    (65, "COMPLETED with a failure, FAILED without one", Tests(&["tests/it/hostile/answers.rs::the_state_decides_and_failure_only_explains"])),
    (66, "an error code of two quotes, 200 inside of 403", Tests(&["tests/it/hostile/answers.rs::codes_that_say_nothing_leave_the_word_to_the_http_status"])),
    (67, "an error text with secrets, controls, 1 MB", Tests(&["tests/it/secrets.rs::a_provider_that_echoes_everything_betrays_nothing", "tests/it/hostile/answers.rs::text_that_is_no_text_is_malformed_and_controls_are_taken_out_of_messages"])),
    (68, "two lengths, 600 KB of headers, 500 interim answers", Tests(&[ANSWERS[0], ANSWERS[1], "tests/it/hostile/answers.rs::interim_answers_without_end_do_not_hold_a_call"])),
    (69, "an import whose answer breaks off", Tests(&["tests/it/hostile/answers.rs::an_import_whose_answer_breaks_off_is_unknown_and_sent_once"])),
    (70, "a provider's certificate that is not to be trusted", Tests(&["tests/it/failures.rs::a_certificate_that_cannot_be_trusted_is_no_connection_trouble", "tests/it/hostile/table.rs::nothing_in_the_source_turns_verification_off"])),
    (71, "DNS that points inside", DoesNotApply("the operator names the host, callers cannot, and endpoints are https: whoever answers must show that host's certificate")),
    (72, "an http endpoint, an endpoint with a password", Tests(&["src/options/endpoint.rs::only_an_origin_is_accepted"])),
    (73, "the HTTP library's error texts", Tests(&["tests/it/failures.rs::a_provider_that_cannot_be_reached_was_not_called"])),
    (74, "Debug of what holds secrets", Tests(&["tests/it/secrets.rs::no_type_that_holds_a_secret_shows_it"])),
    (75, "strangers in metrics", Tests(&["tests/it/hostile/isolation.rs::what_strangers_ask_for_makes_no_new_metric"])),
    (76, "1,000 imports cancelled at once", Tests(&["tests/it/hostile/isolation.rs::a_thousand_imports_that_are_left_at_once_are_sent_once_or_not_at_all"])),
    (77, "a clock that is wrong", Tests(&["tests/it/failures.rs::huaweis_own_codes_decide_first", "tests/it/failures.rs::alibabas_own_codes_decide_first"])),
    (78, "credential files of every defect", Tests(&["tests/it/rotation.rs::files_that_cannot_be_used_change_nothing"])),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_row_is_proved_by_a_test_that_exists_or_says_why_not() {
    let mut numbers = BTreeSet::new();
    for (number, input, proof) in TABLE {
        assert!(numbers.insert(number), "{number} twice");
        match proof {
            DoesNotApply(reason) => assert!(reason.len() > 10, "{number} {input}: why?"),
            Tests(tests) => {
                assert!(!tests.is_empty(), "{number} {input}");
                for test in tests {
                    let (file, name) = test.split_once("::").unwrap();
                    let text = fs::read_to_string(root().join(file))
                        .unwrap_or_else(|error| panic!("{number} {input}: {file}: {error}"));
                    let at = text.find(&format!("fn {name}()"));
                    let at = at.unwrap_or_else(|| panic!("{number} {input}: no {test}"));
                    let before = text[..at].lines().rev().take(3);
                    let is_test = before.into_iter().any(|line| {
                        line.trim_start().starts_with("#[test]")
                            || line.trim_start().starts_with("#[tokio::test")
                    });
                    assert!(is_test, "{number} {input}: {test} is no test");
                }
            }
        }
    }
    assert_eq!(numbers, (1..=78).collect());
}

#[test]
fn nothing_in_the_source_turns_verification_off() {
    fn search(folder: &Path) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                search(&path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for word in ["danger_accept", ".dangerous()", "ServerCertVerifier", "tls10", "tls11"] {
                assert!(!text.contains(word), "{word} in {}", path.display());
            }
        }
    }
    search(&root().join("src"));
}
