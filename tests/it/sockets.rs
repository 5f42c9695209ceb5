use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use savepoint_gateway::pb::savepoint_service_client::SavepointServiceClient;
use tokio::net::UnixStream;

use crate::support::gateway::Wire;
use crate::support::{FakeCloud, Folder, Process, Reply, get_request};

const SAVEPOINT: &str = r#"{"success":true,"requestId":"R","data":{"savepointId":"s"}}"#;

const KEY: [(&str, &str); 2] = [
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "EXAMPLEID"),
    ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "exampleSecret"),
];

/// A gateway with its ports on sockets of these names in this folder.
fn serve_at(cloud: &FakeCloud, folder: &Folder, names: [&str; 2], more: &[String]) -> Process {
    let [grpc, admin] = names.map(|name| folder.path().join(name).display().to_string());
    let mut args = vec![
        format!("--alibaba-endpoint={}", cloud.endpoint()),
        format!("--listen=unix:{grpc}"),
        format!("--admin-listen=unix:{admin}"),
    ];
    args.extend_from_slice(more);
    Process::serve(&args, &KEY)
}

fn serve(cloud: &FakeCloud, folder: &Folder) -> Process {
    serve_at(cloud, folder, ["grpc.sock", "admin.sock"], &[])
}

async fn call(path: &Path) {
    let wire = Wire::over(UnixStream::connect(path).await.unwrap()).await.unwrap();
    SavepointServiceClient::new(wire).get_savepoint(get_request()).await.unwrap();
}

async fn refused(process: Process) -> String {
    ended_with(1, process).await
}

async fn ended_with(code: i32, process: Process) -> String {
    let (status, said) = process.ended().await;
    assert_eq!(status.code(), Some(code), "{said}");
    said
}

fn files(folder: &Folder) -> Vec<PathBuf> {
    std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn a_second_gateway_at_the_same_sockets_does_not_start_and_the_first_stays_reachable() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let folder = Folder::new();
    let (grpc, admin) = (folder.path().join("grpc.sock"), folder.path().join("admin.sock"));
    let first = serve(&cloud, &folder);
    first.address().await;
    let inodes = || [&grpc, &admin].map(|path| std::fs::metadata(path).unwrap().ino());
    let before = inodes();
    let said = refused(serve(&cloud, &folder)).await;
    assert!(said.contains("another gateway uses this path"), "{said}");
    // One whose admin port alone is taken leaves nothing of its own.
    refused(serve_at(&cloud, &folder, ["other.sock", "admin.sock"], &[])).await;
    assert!(!folder.path().join("other.sock").exists());
    assert_eq!(inodes(), before);
    call(&grpc).await;

    // A killed one leaves its files, which the next one replaces.
    first.signal("KILL");
    first.ended().await;
    let next = serve(&cloud, &folder);
    next.address().await;
    call(&grpc).await;
    next.signal("TERM");
    let (status, said) = next.ended().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
}

#[tokio::test]
async fn a_gateway_that_ends_leaves_the_sockets_of_its_successor() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let folder = Folder::new();
    let grpc = folder.path().join("grpc.sock");
    let first = serve(&cloud, &folder);
    first.address().await;
    for file in files(&folder) {
        std::fs::remove_file(file).unwrap();
    }
    let second = serve(&cloud, &folder);
    second.address().await;
    first.signal("TERM");
    first.ended().await;
    call(&grpc).await;
    UnixStream::connect(folder.path().join("admin.sock")).await.unwrap();
}

#[tokio::test]
async fn a_socket_of_another_program_is_kept() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    for name in ["grpc.sock", "admin.sock"] {
        let folder = Folder::new();
        let path = folder.path().join(name);
        let other = UnixDatagram::bind(&path).unwrap();
        let said = refused(serve(&cloud, &folder)).await;
        assert!(said.contains(name) && said.contains("is kept"), "{said}");
        assert!(std::fs::metadata(&path).unwrap().file_type().is_socket());
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"still here", &path).unwrap();
        other.recv(&mut [0; 16]).unwrap();
    }
}

#[tokio::test]
async fn both_ports_can_be_sockets_with_a_mode_but_not_the_same_one() {
    let cloud = FakeCloud::answering(Reply::json(200, SAVEPOINT)).await;
    let folder = Folder::new();
    let names = ["grpc.sock", "admin.sock"];
    let process = serve_at(&cloud, &folder, names, &["--socket-mode=0660".to_owned()]);
    process.address().await;
    for name in names {
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o660, "{name}");
    }
    let folder = Folder::new();
    let said = ended_with(2, serve_at(&cloud, &folder, ["grpc.sock"; 2], &[])).await;
    assert!(said.contains("--admin-listen (SAVEPOINT_GATEWAY_ADMIN_LISTEN): "), "{said}");
    assert!(said.contains("is the address of --listen, too"), "{said}");
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
}
