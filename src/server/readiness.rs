//! Whether calls should be sent here, as far as credentials decide it.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::health::Stage;
use super::worker::Shared;
use crate::huawei::ProjectLookup;

/// Sets the stage as credentials come and end, for ever.
///
/// At the start every configured cloud must have a credential, so that a rollout with a wrong
/// one stops; later one cloud's trouble does not keep callers from the other.
pub(super) async fn tell(shared: &Shared) {
    for (_, provider) in shared.config.providers() {
        provider.credentials.ready().await;
    }
    if let Some(lookup) = &shared.config.huawei_project {
        // Whatever came of it: requests that name their project can be served.
        lookup.asked().await;
    }
    loop {
        shared.health.set(Stage::Serving);
        all_ended(shared).await;
        shared.health.set(Stage::Ended);
        tracing::warn!("every credential has ended, and no source has another");
        one_usable(shared).await;
        tracing::info!("a credential serves again");
    }
}

async fn all_ended(shared: &Shared) {
    let clock = &*shared.clock;
    let mut clouds = shared.config.providers().map(|(_, provider)| &provider.credentials);
    if clouds.next().is_none() {
        return std::future::pending().await;
    }
    loop {
        for (_, provider) in shared.config.providers() {
            provider.credentials.ended(clock).await;
        }
        // The first may have another by now.
        if !shared.config.providers().any(|(_, provider)| provider.credentials.is_usable(clock)) {
            return;
        }
    }
}

async fn one_usable(shared: &Shared) {
    let mut waiting = JoinSet::new();
    for (_, provider) in shared.config.providers() {
        let (credentials, clock) = (provider.credentials.clone(), Arc::clone(&shared.clock));
        waiting.spawn(async move { credentials.usable(&*clock).await });
    }
    waiting.join_next().await;
}

/// What is missing to serve every call, a line for each.
pub(super) fn missing(shared: &Shared) -> Vec<String> {
    let because = |why: Option<String>| why.map(|why| format!(": {why}")).unwrap_or_default();
    let mut lines = Vec::new();
    for (name, provider) in shared.config.providers() {
        if !provider.credentials.is_usable(&*shared.clock) {
            let why = provider.credentials.last_error().map(|error| error.to_string());
            lines.push(format!("{name}: no credential{}", because(why)));
        }
    }
    if let Some(lookup) =
        shared.config.huawei_project.as_ref().filter(|lookup| lookup.id().is_none())
    {
        let why = ProjectLookup::last_error(lookup).map(|error| error.to_string());
        let provider = crate::operation::Provider::HuaweiDli;
        lines.push(format!("{provider}: no project for requests that name none{}", because(why)));
    }
    lines
}
