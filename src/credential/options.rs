//! The options for credential sources that are the same for every provider.
//!
//! There is no fallback to another source: a gateway that calls with an unintended identity is
//! worse than one that does not start.

use super::{Credential, Credentials, Directory, Lease};
use crate::options::Problems;
use crate::rpc::operation::Provider;
use crate::secret::Secret;

/// The session name in the providers' audit logs.
pub(crate) const SESSION_NAME: &str = "savepoint-gateway";

/// A source as an option selects it: `kind` or `kind:rest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice<'a>(pub(crate) &'a str, pub(crate) Option<&'a str>);

impl<'a> Choice<'a> {
    /// Parses the text, which must have the shape of one of these forms: the same kind, with or
    /// without a rest.
    pub(crate) fn parse(text: &'a str, forms: &[&'static str]) -> Option<Self> {
        let found = Self::split(text)?;
        let known = forms.iter().filter_map(|form| Choice::split(form));
        let mut fitting =
            known.filter(|form| form.0 == found.0 && form.1.is_some() == found.1.is_some());
        fitting.next().map(|_| found)
    }

    fn split(text: &'a str) -> Option<Self> {
        match text.split_once(':') {
            Some((_, "")) => None,
            Some((kind, rest)) => Some(Self(kind, Some(rest))),
            None => Some(Self(text, None)),
        }
    }
}

/// An access key from the variables of the provider's own tools.
pub(crate) fn key_from_environment(
    problems: &mut Problems<'_>,
    provider: &'static Provider,
    [id, secret, token]: [&str; 3],
) -> Option<Credentials> {
    let values = [id, secret, token].map(|name| problems.variable(name));
    match values {
        [Some(id_value), Some(secret_value), token_value] => {
            let token_value = token_value.map(Secret::new);
            match Credential::new(id_value, Secret::new(secret_value), token_value) {
                Ok(credential) => return Some(Credentials::fixed(credential)),
                Err(error) => problems.report(&format!("{id}, {secret}, {token}"), error),
            }
        }
        [None, None, _] => problems
            .add(format!("{provider} is configured without a credential: set {id} and {secret}")),
        [Some(_), None, _] => {
            problems.report(secret, format_args!("is missing, while {id} is set"))
        }
        [None, Some(_), _] => {
            problems.report(id, format_args!("is missing, while {secret} is set"))
        }
    }
    None
}

/// Reports that no source is configured.
pub(crate) fn no_credential(
    problems: &mut Problems<'_>,
    provider: &'static Provider,
    [id, secret, _]: [&str; 3],
    flag: &str,
) -> Option<Credentials> {
    problems.add(format!(
        "{provider} is configured without a credential: set {id} and {secret}, or select another \
         source with {flag}"
    ));
    None
}

/// Credentials from files. Reads them once, so that a wrong path stops the start.
pub(crate) fn of_files(
    problems: &mut Problems<'_>,
    flag: &str,
    source: Directory,
) -> Option<Credentials> {
    match source.read() {
        Ok(credential) => Some(Credentials::refreshed(source, Some(Lease::open(credential)))),
        Err(found) => {
            for problem in found.iter() {
                problems.report(flag, problem);
            }
            None
        }
    }
}
