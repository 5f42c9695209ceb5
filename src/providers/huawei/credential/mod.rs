//! Credential sources of Huawei Cloud.

mod ecs;
mod oidc;
mod password;

pub use ecs::EcsAgency;
pub(super) use ecs::METADATA;
pub use oidc::Oidc;
pub(super) use oidc::STS;
pub use password::{Password, PasswordOf, TokenScope};
