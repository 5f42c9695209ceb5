//! A provider's response on its way to become a message or an error.

use std::cell::OnceCell;

use serde::Deserialize;

use crate::credential::{Credential, Redactor};
use crate::json;
use crate::rpc::operation::Provider;
use crate::text::identifier;
use crate::transport::Response;

const REQUEST_ID_BYTES: usize = 128;

/// A response, with what it takes to read it.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(super) response: &'a Response,
    pub(super) provider: &'static Provider,
    pub(super) redactor: Redactor<'a>,
    /// The request id, once it was read: the log needs it, too.
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

    /// The body of a 2xx response that arrived to its end; none when it is not a JSON object of
    /// this shape.
    pub(crate) fn json<T: Deserialize<'a>>(&self) -> Option<T> {
        let is_readable = self.response.is_2xx() && self.response.whole;
        is_readable.then(|| json::read_object(&self.response.body).ok()).flatten()
    }

    /// The provider's id of the request, given the fields of the body that may hold it.
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

    /// The request id that was read, if any.
    pub(super) fn into_found_id(self) -> Option<String> {
        self.found_id.into_inner()
    }

    /// A request id in the form in which callers get it; none when it holds a secret.
    fn usable_id(&self, text: Option<&str>) -> Option<String> {
        let id = identifier(meant(text?)?, REQUEST_ID_BYTES)?;
        (!self.redactor.finds_secret(&id)).then_some(id)
    }
}

/// A text without its outer spaces, unless it is empty. Alibaba's published example has two
/// quote characters where the service sends nothing.
pub(super) fn meant(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty() && *text != "\"\"")
}
