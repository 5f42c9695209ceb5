//! What a caller can ask for, and which provider does it.

use std::fmt;

/// A cloud service that the gateway calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// Huawei Cloud Data Lake Insight.
    HuaweiDli,
    /// Alibaba Cloud Realtime Compute for Apache Flink.
    AlibabaFlink,
}

impl Provider {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::HuaweiDli, Self::AlibabaFlink];

    /// The name that status details, metrics and logs carry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HuaweiDli => "huawei-dli",
            Self::AlibabaFlink => "alibaba-flink",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An RPC of `savepoint.v1.SavepointService`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Imports a savepoint into a job of Huawei Cloud DLI.
    ImportSavepoint,
    /// Gets a savepoint of Alibaba Cloud Realtime Compute.
    GetSavepoint,
}

impl Operation {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::ImportSavepoint, Self::GetSavepoint];

    /// The name of the RPC.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ImportSavepoint => "ImportSavepoint",
            Self::GetSavepoint => "GetSavepoint",
        }
    }

    /// The RPC with its service, as OpenTelemetry names it.
    pub const fn full_name(self) -> &'static str {
        match self {
            Self::ImportSavepoint => "savepoint.v1.SavepointService/ImportSavepoint",
            Self::GetSavepoint => "savepoint.v1.SavepointService/GetSavepoint",
        }
    }

    /// The method of the REST call.
    pub const fn http_method(self) -> &'static str {
        match self {
            Self::ImportSavepoint => "POST",
            Self::GetSavepoint => "GET",
        }
    }

    /// The path of the REST call, with the names of its parameters instead of their values.
    pub const fn url_template(self) -> &'static str {
        match self {
            Self::ImportSavepoint => "/v1.0/{project_id}/streaming/jobs/{job_id}/import-savepoint",
            Self::GetSavepoint => "/api/v2/namespaces/{namespace}/savepoints/{savepointId}",
        }
    }

    /// The provider that does it.
    pub const fn provider(self) -> Provider {
        match self {
            Self::ImportSavepoint => Provider::HuaweiDli,
            Self::GetSavepoint => Provider::AlibabaFlink,
        }
    }

    /// Whether doing it twice is the same as doing it once, so that a lost answer may be
    /// asked for again.
    pub const fn is_idempotent(self) -> bool {
        match self {
            Self::ImportSavepoint => false,
            Self::GetSavepoint => true,
        }
    }
}
