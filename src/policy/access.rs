//! The policy as one call meets it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::metrics::PolicyMetrics;
use super::options::Enforcement;
use super::rules::{Policy, Scope};
use crate::caller::Caller;
use crate::rpc::Error;
use crate::rpc::operation::{Kind, Operation};
use crate::rpc::reason::{Outcome, Reason};

/// What the policy says of one call.
#[derive(Debug)]
pub(crate) struct Access {
    enforcement: Enforcement,
    metrics: PolicyMetrics,
    caller: Caller,
    operation: &'static Operation,
    /// Whether its scope was allowed.
    judged: AtomicBool,
    would_refuse: AtomicBool,
    /// Of a stream, which may lose its right while it goes on.
    scope: OnceLock<OwnedScope>,
}

#[derive(Debug)]
struct OwnedScope([Option<String>; 4]);

impl OwnedScope {
    fn of(scope: &Scope<'_>) -> Self {
        let Scope { workspace, namespace, project, cluster } = *scope;
        Self([workspace, namespace, project, cluster].map(|value| value.map(str::to_owned)))
    }

    fn get(&self) -> Scope<'_> {
        let [workspace, namespace, project, cluster] = self.0.each_ref().map(Option::as_deref);
        Scope { workspace, namespace, project, cluster }
    }
}

impl Access {
    pub(crate) fn new(
        enforcement: &Enforcement,
        metrics: &PolicyMetrics,
        caller: &Caller,
        operation: &'static Operation,
    ) -> Self {
        Self {
            enforcement: enforcement.clone(),
            metrics: metrics.clone(),
            caller: caller.clone(),
            operation,
            judged: AtomicBool::new(false),
            would_refuse: AtomicBool::new(false),
            scope: OnceLock::new(),
        }
    }

    /// Judges caller and RPC, before the message is read.
    ///
    /// # Errors
    /// [`Reason::CallerNotAllowed`]
    pub(crate) fn judge_caller(&self) -> Result<(), Error> {
        let allows = |policy: &Policy| policy.may_call(self.caller.as_str(), self.operation);
        self.decide(allows(&self.enforcement.file.current()))
    }

    /// Judges the whole call, before anything of it reaches a provider or its limits.
    ///
    /// # Errors
    /// [`Reason::CallerNotAllowed`]
    pub(crate) fn judge(&self, scope: &Scope<'_>) -> Result<(), Error> {
        self.decide(self.allows(&self.enforcement.file.current(), scope))?;
        if self.operation.kind == Kind::ServerStream {
            let _ = self.scope.set(OwnedScope::of(scope));
        }
        self.judged.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the whole call was judged.
    pub(crate) fn is_judged(&self) -> bool {
        self.judged.load(Ordering::Relaxed)
    }

    /// Whether it was let pass only because nothing is refused.
    pub(crate) fn would_refuse(&self) -> bool {
        self.would_refuse.load(Ordering::Relaxed)
    }

    /// Returns once a stream is no longer allowed, with the error.
    pub(crate) async fn lost(&self) -> Error {
        if self.enforcement.dry_run {
            return std::future::pending().await;
        }
        let refuses = |policy: &Policy| match self.scope.get() {
            Some(scope) => !self.allows(policy, &scope.get()),
            // It ends before it was judged, by its request.
            None => !policy.may_call(self.caller.as_str(), self.operation),
        };
        self.enforcement.file.until(refuses).await;
        self.metrics.refused(false);
        self.refusal()
    }

    fn allows(&self, policy: &Policy, scope: &Scope<'_>) -> bool {
        policy.allows(self.caller.as_str(), self.operation, scope)
    }

    fn decide(&self, allowed: bool) -> Result<(), Error> {
        // A call is counted once.
        if allowed || self.would_refuse() {
            return Ok(());
        }
        let dry_run = self.enforcement.dry_run;
        self.metrics.refused(dry_run);
        if dry_run {
            self.would_refuse.store(true, Ordering::Relaxed);
            return Ok(());
        }
        Err(self.refusal())
    }

    /// It names nothing that the caller does not know.
    fn refusal(&self) -> Error {
        let text = format!("{} may not make this call of {}", self.caller.as_str(), self.operation);
        Error::new(Reason::CallerNotAllowed, text).with_outcome(Outcome::NotApplied)
    }
}
