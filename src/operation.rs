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
