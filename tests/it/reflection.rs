use std::collections::BTreeSet;

use prost::Message as _;
use prost_types::FileDescriptorProto;
use savepoint_gateway::server::MESSAGE_BYTES;
use tonic::{Code, Status};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest as Asked;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse as Told;
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionRequest, ServerReflectionRequest, ServerReflectionResponse,
};
use tonic_reflection::pb::v1alpha;
use tonic_types::StatusExt as _;

use crate::hostile::wire::{grpc, prefixed};
use savepoint_gateway::pb::savepoint_service_server::SERVICE_NAME;
use savepoint_gateway::service::OPERATIONS;

use crate::support::{Gateway, Options};

/// The number of `google.api.http`.
const HTTP: i32 = 72_295_728;

fn request(asked: Asked) -> ServerReflectionRequest {
    ServerReflectionRequest { host: "h".into(), message_request: Some(asked) }
}

fn symbol(name: &str) -> Asked {
    Asked::FileContainingSymbol(name.into())
}

fn extension(containing_type: &str, extension_number: i32) -> Asked {
    let containing_type = containing_type.into();
    Asked::FileContainingExtension(ExtensionRequest { containing_type, extension_number })
}

/// What is told on one stream, and how the stream ends.
async fn stream(gateway: &Gateway, asked: Vec<Option<Asked>>) -> (Vec<Told>, Result<(), Status>) {
    let requests: Vec<_> = asked
        .into_iter()
        .map(|asked| ServerReflectionRequest { message_request: asked, host: "h".into() })
        .collect();
    let mut client = ServerReflectionClient::new(gateway.channel().await);
    let answers = client.server_reflection_info(tokio_stream::iter(requests.clone())).await;
    let mut answers = match answers {
        Ok(answers) => answers.into_inner(),
        Err(status) => return (Vec::new(), Err(status)),
    };
    let mut told = Vec::new();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                let ServerReflectionResponse { valid_host, original_request, message_response } =
                    answer;
                assert_eq!(valid_host, "h");
                assert_eq!(original_request.as_ref(), requests.get(told.len()));
                told.push(message_response.unwrap());
            }
            Ok(None) => return (told, Ok(())),
            Err(status) => return (told, Err(status)),
        }
    }
}

async fn ask(gateway: &Gateway, asked: Vec<Asked>) -> Vec<Told> {
    let count = asked.len();
    let (told, ended) = stream(gateway, asked.into_iter().map(Some).collect()).await;
    ended.unwrap();
    assert_eq!(told.len(), count);
    told
}

/// The names of the files that were sent, in their order.
fn files(told: &Told) -> Vec<String> {
    let Told::FileDescriptorResponse(files) = told else { panic!("{told:?}") };
    let files = files.file_descriptor_proto.iter();
    files.map(|bytes| FileDescriptorProto::decode(&bytes[..]).unwrap().name().into()).collect()
}

fn services(told: &Told) -> Vec<&str> {
    let Told::ListServicesResponse(list) = told else { panic!("{told:?}") };
    list.service.iter().map(|service| service.name.as_str()).collect()
}

#[track_caller]
fn is_error(told: &Told, code: Code) {
    let Told::ErrorResponse(ErrorResponse { error_code, error_message }) = told else {
        panic!("{told:?}")
    };
    assert_eq!(*error_code, code as i32);
    assert!(!error_message.is_empty());
}

/// How many services are listed.
pub(crate) async fn listed(gateway: &Gateway) -> usize {
    services(&ask(gateway, vec![Asked::ListServices(String::new())]).await[0]).len()
}

#[tokio::test]
async fn reflection_lists_the_public_services_in_both_versions() {
    let gateway = Gateway::start(Options::none()).await;
    let list = Asked::ListServices(String::new());
    let told = ask(&gateway, vec![list.clone()]).await;
    let all = |version| {
        let (dli, flink) = ("savepoint.dli.v1.DliService", "savepoint.flink.v1.FlinkService");
        ["grpc.health.v1.Health", version, dli, flink, SERVICE_NAME]
    };
    assert_eq!(services(&told[0]), all("grpc.reflection.v1.ServerReflection"));

    // The same bytes are a request of v1alpha.
    let bytes = request(list).encode_to_vec();
    let list = v1alpha::ServerReflectionRequest::decode(&bytes[..]).unwrap();
    let channel = gateway.channel().await;
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let answers = client.server_reflection_info(tokio_stream::once(list)).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let answer = ServerReflectionResponse::decode(&answer.encode_to_vec()[..]).unwrap();
    let told = answer.message_response.unwrap();
    assert_eq!(services(&told), all("grpc.reflection.v1alpha.ServerReflection"));
}

#[tokio::test]
async fn a_stream_goes_on_after_what_is_not_known() {
    let gateway = Gateway::start(Options::none()).await;
    let list = Asked::ListServices("*".into());
    let unknown = [
        symbol("savepoint.v1.Unknown"),
        symbol(""),
        symbol("."),
        symbol(&"x".repeat(10_000)),
        Asked::FileByFilename("../../etc/passwd".into()),
        extension("google.protobuf.MethodOptions", 1),
        extension("google.protobuf.MethodOptions", -1),
        extension("unknown.Type", HTTP),
        Asked::AllExtensionNumbersOfType("unknown.Type".into()),
    ];
    for asked in unknown {
        let told = ask(&gateway, vec![asked.clone(), list.clone(), asked, list.clone()]).await;
        for (answer, is_list) in told.iter().zip([false, true, false, true]) {
            if is_list {
                assert_eq!(services(answer).len(), 5);
            } else {
                is_error(answer, Code::NotFound);
            }
        }
    }
    let (told, ended) = stream(&gateway, vec![None, Some(list)]).await;
    ended.unwrap();
    is_error(&told[0], Code::InvalidArgument);
    assert_eq!(services(&told[1]).len(), 5);
}

#[tokio::test]
async fn every_kind_of_symbol_leads_to_its_file() {
    let gateway = Gateway::start(Options::none()).await;
    let own = "savepoint/v1/savepoint.proto";
    let descriptor = "google/protobuf/descriptor.proto";
    for (name, file) in [
        ("savepoint.v1.SavepointService", own),
        (".savepoint.v1.SavepointService", own),
        ("savepoint.v1.SavepointService.GetSavepoint", own),
        ("savepoint.v1.Savepoint", own),
        ("savepoint.v1.Savepoint.savepoint_id", own),
        ("savepoint.v1.SavepointState", own),
        ("savepoint.v1.SAVEPOINT_STATE_COMPLETED", own),
        ("savepoint.v1.SavepointState.SAVEPOINT_STATE_COMPLETED", own),
        ("google.api.http", "google/api/annotations.proto"),
        ("google.api.HttpRule.pattern", "google/api/http.proto"),
        ("google.protobuf.MethodOptions", descriptor),
        ("google.protobuf.FieldDescriptorProto.Type", descriptor),
        ("google.protobuf.FieldDescriptorProto.TYPE_INT64", descriptor),
        ("grpc.health.v1.Health.Watch", "grpc/health/v1/health.proto"),
    ] {
        let told = ask(&gateway, vec![symbol(name)]).await;
        assert_eq!(files(&told[0])[0], file, "{name}");
    }
    // Tools decode the details of a status with these.
    for name in ["ErrorInfo", "RetryInfo", "BadRequest", "RequestInfo", "Status"] {
        let told = ask(&gateway, vec![symbol(&format!("google.rpc.{name}"))]).await;
        assert!(!files(&told[0]).is_empty(), "{name}");
    }
    for version in ["v1", "v1alpha"] {
        let name = format!("grpc.reflection.{version}.ServerReflection.ServerReflectionInfo");
        let told = ask(&gateway, vec![symbol(&name)]).await;
        assert_eq!(files(&told[0]).len(), 1, "{name}");
    }
}

#[tokio::test]
async fn extensions_are_known_with_the_rest_bindings() {
    let gateway = Gateway::start(Options::none()).await;
    let told = ask(
        &gateway,
        vec![
            Asked::AllExtensionNumbersOfType("google.protobuf.MethodOptions".into()),
            extension("google.protobuf.MethodOptions", HTTP),
            extension(".google.protobuf.MethodOptions", HTTP),
            Asked::AllExtensionNumbersOfType("savepoint.v1.Savepoint".into()),
            symbol("savepoint.v1.SavepointService"),
        ],
    )
    .await;
    let numbers = |told: &Told| {
        let Told::AllExtensionNumbersResponse(numbers) = told else { panic!("{told:?}") };
        numbers.extension_number.clone()
    };
    assert_eq!(numbers(&told[0]), [HTTP]);
    assert_eq!(files(&told[1])[0], "google/api/annotations.proto");
    assert_eq!(files(&told[2])[0], "google/api/annotations.proto");
    assert_eq!(numbers(&told[3]), [0; 0]);
    // Some compilers lose extensions: field 72295728 of a method's options, as the wire spells it.
    let Told::FileDescriptorResponse(files) = &told[4] else { panic!("{told:?}") };
    let http = [0x82, 0xd3, 0xe4, 0x93, 0x02];
    let found = files.file_descriptor_proto[0].windows(http.len()).filter(|w| *w == http).count();
    let of_the_file = OPERATIONS.iter().filter(|operation| operation.service == SERVICE_NAME);
    assert_eq!(found, of_the_file.count());
}

#[tokio::test]
async fn a_file_comes_with_all_it_needs_and_nothing_twice() {
    let gateway = Gateway::start(Options::none()).await;
    let own = || symbol("savepoint.v1.Savepoint");
    let annotations = Asked::FileByFilename("google/api/annotations.proto".into());
    let told = ask(&gateway, vec![annotations, own(), own()]).await;
    let [first, second, third] = [files(&told[0]), files(&told[1]), files(&told[2])];
    let needed = ["google/api/annotations.proto", "google/api/http.proto"];
    assert_eq!(first[..2], needed, "{first:?}");
    assert!(first.contains(&"google/protobuf/descriptor.proto".to_owned()), "{first:?}");
    assert!(second.contains(&"google/protobuf/timestamp.proto".to_owned()), "{second:?}");
    // What is asked for by name is sent again; what it needs is there already.
    assert_eq!(third, ["savepoint/v1/savepoint.proto"]);
    let all = [first, second].concat();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
}

#[tokio::test]
async fn a_request_that_cannot_be_read_ends_the_stream_with_its_reason() {
    let gateway = Gateway::start(Options::none()).await;
    let large = symbol(&"x".repeat(MESSAGE_BYTES));
    let (told, ended) = stream(&gateway, vec![Some(symbol("x")), Some(large)]).await;
    is_error(&told[0], Code::NotFound);
    let status = ended.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let info = status.get_details_error_info().unwrap();
    assert_eq!(info.reason, "MESSAGE_TOO_LARGE");

    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    for (body, code) in [
        (prefixed(&[0xff; 10]), Code::Internal),
        (vec![0, 0, 0, 0], Code::Internal),
        (vec![0, 0xff, 0xff, 0xff, 0xff], Code::ResourceExhausted),
    ] {
        let answer = grpc(gateway.address(), path, &[], body).await;
        assert_eq!(answer.code(), Some(code as i32), "{answer:?}");
        assert!(answer.trailers.contains_key("grpc-status-details-bin"), "{answer:?}");
    }
}

#[tokio::test]
async fn reflection_can_be_turned_off() {
    let gateway =
        Gateway::start(Options::none().with(|config| config.server.reflection = false)).await;
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let list = request(Asked::ListServices(String::new())).encode_to_vec();
        let answer = grpc(gateway.address(), &path, &[], prefixed(&list)).await;
        assert_eq!(answer.code(), Some(Code::Unimplemented as i32), "{answer:?}");
        assert!(answer.headers.contains_key("grpc-status-details-bin"), "{answer:?}");
    }
    // Tools keep their stream open while they wait for the first answer.
    let mut client = ServerReflectionClient::new(gateway.channel().await);
    let status = client.server_reflection_info(tokio_stream::pending()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "{status:?}");
}
