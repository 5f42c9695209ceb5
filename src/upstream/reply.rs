//! A provider's response, before it becomes a message or an error.

use std::cell::OnceCell;

use serde::Deserialize;

use crate::credential::{Credential, Redactor};
use crate::json;
use crate::rpc::operation::Provider;
use crate::text::identifier;
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

impl<'a> Reply<'a> {
    pub(super) fn new(
        response: &'a Response,
        provider: &'static Provider,
        credential: &'a Credential,
    ) -> Self {
        let redactor = Redactor::new(credential, provider.secret_labels);
        Self { response, provider, redactor, found_id: OnceCell::new() }
    }

    /// Parses the body of a complete 2xx response; none if it is not a JSON object of this shape.
    pub(crate) fn json<T: Deserialize<'a>>(&self) -> Option<T> {
        let is_readable = self.response.is_2xx() && self.response.whole;
        is_readable.then(|| json::read_object(&self.response.body).ok()).flatten()
    }

    /// The provider's request id: `fields` are candidates from the body.
    pub(crate) fn request_id<'b>(
        &self,
        fields: impl IntoIterator<Item = Option<&'b str>>,
    ) -> Option<String> {
        let names = &self.provider.request_id;
        let header = || self.usable_id(self.response.header(names.header));
        let field = || fields.into_iter().find_map(|id| self.usable_id(id));
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

    /// A cleaned request id; none if it contains a secret.
    fn usable_id(&self, text: Option<&str>) -> Option<String> {
        let id = identifier(meant(text?)?, REQUEST_ID_BYTES)?;
        (!self.redactor.finds_secret(&id)).then_some(id)
    }
}

/// A trimmed text, none if empty. Alibaba's published example has two quote characters where the
/// service sends nothing.
pub(super) fn meant(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty() && *text != "\"\"")
}
