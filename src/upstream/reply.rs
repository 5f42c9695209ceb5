//! A provider's response, before it becomes a message or an error.

use std::borrow::Cow;
use std::cell::OnceCell;

use http::HeaderValue;
use serde::{Deserialize, Deserializer};

use crate::credential::{Credential, Redactor};
use crate::json;
use crate::rpc::operation::Provider;
use crate::transport::Response;
use crate::upstream::stack_trace;

const REQUEST_ID_BYTES: usize = 128;

/// A response, and the context for reading it.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(super) response: &'a Response,
    /// The part of the response's body that is about the call.
    pub(super) body: &'a [u8],
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

/// Parses a string; unlike other texts, it must not be a number.
pub(crate) fn string<'de: 'a, 'a, D: Deserializer<'de>>(
    from: D,
) -> Result<ProviderText<'a>, D::Error> {
    json::string(from).map(ProviderText)
}

impl ProviderText<'_> {
    /// Whether it is this word.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.0.as_deref() == Some(word)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_deref().is_none_or(str::is_empty)
    }

    /// The first line of a stack trace. What follows names hosts, paths and code of the provider.
    pub(crate) fn first_line(&self) -> ProviderText<'_> {
        ProviderText(self.0.as_deref().map(|text| Cow::Borrowed(stack_trace::first_line(text))))
    }

    /// The innermost exception that the first line of a stack trace names; empty if it names none.
    pub(crate) fn exception(&self) -> ProviderText<'_> {
        let text = self.0.as_deref().unwrap_or_default();
        ProviderText(stack_trace::read(text).exception.map(Cow::Borrowed))
    }
}

impl<'a> Reply<'a> {
    /// `authorization`: the header of the request, if it was signed.
    pub(super) fn new(
        response: &'a Response,
        body: &'a [u8],
        provider: &'static Provider,
        credential: &'a Credential,
        authorization: Option<&'a HeaderValue>,
    ) -> Self {
        let authorization = authorization.map(HeaderValue::as_bytes).unwrap_or_default();
        let redactor = Redactor::new(credential, authorization, provider.secret_labels);
        Self { response, body, provider, redactor, found_id: OnceCell::new() }
    }

    /// Parses the body of a complete 2xx response; none if it is not a JSON object of this shape.
    pub(crate) fn json<T: Deserialize<'a>>(&self) -> Option<T> {
        let is_readable = self.response.is_2xx() && self.response.whole;
        is_readable.then(|| json::read_object(self.body).ok()).flatten()
    }

    /// A text for the caller; empty if there is none.
    pub(crate) fn show(&self, text: ProviderText<'_>) -> String {
        text.0.map(|text| self.redactor.data(text).into_owned()).unwrap_or_default()
    }

    /// The same, in printable text of at most `bytes`.
    pub(crate) fn show_at_most(&self, text: &ProviderText<'_>, bytes: usize) -> String {
        text.0.as_deref().map(|text| self.redactor.text(text, bytes)).unwrap_or_default()
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
