//! One signed request that changes nothing, to prove that a provider accepts what the gateway signs.

use http::header::{AUTHORIZATION, DATE};
use jiff::{SignedDuration, Timestamp};

use super::{RestCall, Upstream};
use crate::rpc::Error;
use crate::rpc::operation::Operation;
use crate::transport::{Response, WriteStarted};

/// What the response to a probe proves.
#[derive(Debug)]
pub(crate) enum Proof {
    /// The provider accepts the credential and the signature. The text says how that shows.
    Accepted(String),
    /// It does not, or that cannot be told.
    Failed(Error),
    /// There was no request, because this is missing.
    NotTried(String),
}

#[derive(Debug)]
pub(crate) struct Probed {
    pub(crate) proof: Proof,
    /// The provider's clock minus the gateway's, if there was a response with a date.
    pub(crate) clock_offset: Option<SignedDuration>,
}

impl Probed {
    pub(crate) fn not_tried(missing: impl Into<String>) -> Self {
        Self { proof: Proof::NotTried(missing.into()), clock_offset: None }
    }
}

impl Upstream {
    /// Makes exactly one attempt of a REST call, whose result `judge` turns into a proof.
    ///
    /// There is no retry: too many wrong signatures lock a key.
    pub(crate) async fn probe<C: RestCall>(
        &self,
        operation: &'static Operation,
        rest: &C,
        judge: impl FnOnce(Result<C::Output, Error>) -> Proof,
    ) -> Probed {
        let mut clock_offset = None;
        let result = self.attempt_once(operation, rest, &mut clock_offset).await;
        let proof = judge(result.map_err(|error| error.with_operation(operation)));
        Probed { proof, clock_offset }
    }

    async fn attempt_once<C: RestCall>(
        &self,
        operation: &'static Operation,
        rest: &C,
        clock_offset: &mut Option<SignedDuration>,
    ) -> Result<C::Output, Error> {
        let credential = self.credentials.current(&*self.clock).await?;
        let request = self.request(rest, &credential)?;
        let authorization = request.headers().get(AUTHORIZATION).cloned();
        let response = self.pool.fetch(request, &WriteStarted::default()).await?;
        // Of when the response arrived: providers write the date last.
        *clock_offset = date(&response).map(|date| date.duration_since(self.clock.now()));
        let reply = self.reply(rest, &response, &credential, authorization.as_ref());
        rest.response(&reply).map_err(|failed| reply.error(operation, &failed, self.clock.now()))
    }
}

/// # Reference
/// <https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1>
fn date(response: &Response) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(response.header(DATE.as_str())?).ok()?.timestamp())
}
