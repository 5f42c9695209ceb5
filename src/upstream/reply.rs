//! A provider's response, before it becomes a message or an error.

use std::borrow::Cow;
use std::cell::OnceCell;

use http::HeaderValue;
use serde::{Deserialize, Deserializer};

use crate::credential::{Credential, Redactor};
use crate::json;
use crate::rpc::operation::Provider;
use crate::transport::Response;

const REQUEST_ID_BYTES: usize = 128;

/// A response, and the context for reading it.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(super) response: &'a Response,
    pub(super) provider: &'static Provider,
    pub(super) redactor: Redactor<'a>,
    /// The request id, kept for the log.
    found_id: OnceCell<String>,
}

/// A text of a successful response. It leaves this type only through [`Reply::show`], which
/// redacts it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ProviderText<'a>(Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for ProviderText<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        json::text(from).map(Self)
    }
}

impl ProviderText<'_> {
    /// Whether it is this word.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.0.as_deref() == Some(word)
    }
}

impl<'a> Reply<'a> {
    /// `authorization`: the header of the request, if it was signed.
    pub(super) fn new(
        response: &'a Response,
        provider: &'static Provider,
        credential: &'a Credential,
        authorization: Option<&'a HeaderValue>,
    ) -> Self {
        let authorization = authorization.map(HeaderValue::as_bytes).unwrap_or_default();
        let redactor = Redactor::new(credential, authorization, provider.secret_labels);
        Self { response, provider, redactor, found_id: OnceCell::new() }
    }

    /// Parses the body of a complete 2xx response; none if it is not a JSON object of this shape.
    pub(crate) fn json<T: Deserialize<'a>>(&self) -> Option<T> {
        let is_readable = self.response.is_2xx() && self.response.whole;
        is_readable.then(|| json::read_object(&self.response.body).ok()).flatten()
    }

    /// A text for the caller; empty if there is none.
    pub(crate) fn show(&self, text: ProviderText<'_>) -> String {
        text.0.map(|text| self.redactor.data(text).into_owned()).unwrap_or_default()
    }

    /// The provider's request id: `fields` are candidates from the body.
    pub(crate) fn request_id<'b>(
        &self,
        fields: impl IntoIterator<Item = &'b ProviderText<'b>>,
    ) -> Option<String> {
        self.first_id(fields.into_iter().map(|text| text.0.as_deref()))
    }

    pub(super) fn first_id<'b>(
        &self,
        fields: impl IntoIterator<Item = Option<&'b str>>,
    ) -> Option<String> {
        let names = &self.provider.request_id;
        let headers = self.response.headers.get_all(names.header);
        let header = || headers.iter().find_map(|id| self.usable_id(id.as_bytes()));
        let field = || fields.into_iter().flatten().find_map(|id| self.usable_id(id.as_bytes()));
        let id = if names.body_first { field().or_else(header) } else { header().or_else(field) };
        if let Some(id) = &id {
            let _ = self.found_id.set(id.clone());
        }
        id
    }

    /// The request id, if one was read.
    pub(super) fn into_found_id(self) -> Option<String> {
        self.found_id.into_inner()
    }

    /// A cleaned and redacted request id; none if it is empty.
    fn usable_id(&self, id: &[u8]) -> Option<String> {
        let is_meant = |id: &String| json::meant(id).is_some();
        self.redactor.identifier(id, REQUEST_ID_BYTES).filter(is_meant)
    }
}
