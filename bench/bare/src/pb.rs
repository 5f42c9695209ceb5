//! The messages of both RPCs, as proto/savepoint/v1/savepoint.proto has them.

use prost::Message;

#[derive(Message)]
pub struct ImportRequest {
    #[prost(string, tag = "1")]
    pub project_id: String,
    #[prost(int64, tag = "2")]
    pub job_id: i64,
    #[prost(string, tag = "3")]
    pub savepoint_path: String,
}

#[derive(Message)]
pub struct ImportResponse {
    #[prost(string, tag = "1")]
    pub message: String,
    #[prost(string, tag = "2")]
    pub request_id: String,
}

#[derive(Message)]
pub struct GetRequest {
    #[prost(string, tag = "1")]
    pub workspace: String,
    #[prost(string, tag = "2")]
    pub namespace: String,
    #[prost(string, tag = "3")]
    pub savepoint_id: String,
}

#[derive(Message)]
pub struct GetResponse {
    #[prost(message, optional, tag = "1")]
    pub savepoint: Option<Savepoint>,
    #[prost(string, tag = "2")]
    pub request_id: String,
}

#[derive(Message)]
pub struct Savepoint {
    #[prost(string, tag = "1")]
    pub savepoint_id: String,
    #[prost(string, tag = "2")]
    pub deployment_id: String,
    #[prost(string, tag = "3")]
    pub job_id: String,
    #[prost(string, tag = "4")]
    pub namespace: String,
    #[prost(int32, tag = "5")]
    pub origin: i32,
    #[prost(string, tag = "6")]
    pub provider_origin: String,
    #[prost(bool, optional, tag = "7")]
    pub native_format: Option<bool>,
    #[prost(string, tag = "8")]
    pub description: String,
    #[prost(bool, optional, tag = "9")]
    pub stop_with_drain_enabled: Option<bool>,
    #[prost(string, tag = "10")]
    pub savepoint_location: String,
    #[prost(message, optional, tag = "11")]
    pub status: Option<Status>,
    #[prost(message, optional, tag = "12")]
    pub create_time: Option<Timestamp>,
    #[prost(message, optional, tag = "13")]
    pub update_time: Option<Timestamp>,
}

#[derive(Message)]
pub struct Status {
    #[prost(int32, tag = "1")]
    pub state: i32,
    #[prost(string, tag = "2")]
    pub provider_state: String,
    #[prost(message, optional, tag = "3")]
    pub failure: Option<Failed>,
}

#[derive(Message)]
pub struct Failed {
    #[prost(string, tag = "1")]
    pub message: String,
    #[prost(string, tag = "2")]
    pub reason: String,
    #[prost(message, optional, tag = "3")]
    pub fail_time: Option<Timestamp>,
}

#[derive(Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

fn timestamp(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

impl From<crate::Data> for Savepoint {
    fn from(data: crate::Data) -> Self {
        Self {
            savepoint_id: data.savepoint_id,
            deployment_id: data.deployment_id,
            job_id: data.job_id,
            namespace: data.namespace,
            origin: i32::from(data.savepoint_origin == "USER_REQUEST"),
            provider_origin: data.savepoint_origin,
            native_format: data.native_format,
            description: data.description,
            stop_with_drain_enabled: data.stop_with_drain_enabled,
            savepoint_location: data.savepoint_location,
            status: Some(Status {
                state: if data.status.state == "COMPLETED" { 2 } else { 1 },
                provider_state: data.status.state,
                failure: data.status.failure.map(|failed| Failed {
                    message: failed.message,
                    reason: failed.reason,
                    fail_time: timestamp(failed.failed_at),
                }),
            }),
            create_time: timestamp(data.created_at),
            update_time: timestamp(data.modified_at),
        }
    }
}
