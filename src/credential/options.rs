//! The options for credential sources that are the same for every provider.
//!
//! There is no fallback to another source: a gateway that calls with an unintended identity is
//! worse than one that does not start.

use super::{Credential, Credentials, Directory, Lease};
use crate::options::Problems;
use crate::rpc::operation::Provider;
use crate::secret::Secret;
use crate::text;

/// The session name in the providers' audit logs.
pub(crate) const SESSION_NAME: &str = "savepoint-gateway";

/// The sources of a provider, and how one is selected.
pub(crate) struct Sources<W: 'static> {
    pub(crate) provider: &'static Provider,
    pub(crate) flag: &'static str,
    /// The variables of an access key: its id, its secret and its token.
    pub(crate) key: [&'static str; 3],
    pub(crate) rows: &'static [SourceRow<W>],
}

/// A source: its form, `kind` or `kind:rest`; the variables, each of which selects it if the option
/// is not set; and a function that builds it from the rest.
pub(crate) type SourceRow<W> = (
    &'static str,
    &'static [&'static str],
    fn(&mut Problems<'_>, Option<&str>, &W) -> Option<Credentials>,
);

impl<W> Sources<W> {
    pub(crate) fn forms(&self) -> Vec<&'static str> {
        self.rows.iter().map(|(form, ..)| *form).collect()
    }

    /// The credentials of the source that `text` selects, else of the first whose variables are set.
    pub(crate) fn credentials(
        &self,
        problems: &mut Problems<'_>,
        text: Option<&str>,
        with: &W,
    ) -> Option<Credentials> {
        if let Some(fault) = text.and_then(text::fault) {
            problems.report(self.flag, fault);
            return None;
        }
        let chosen = match text {
            Some(text) => self.rows.iter().find(|(form, ..)| fits(text, form)),
            None => self.rows.iter().find(|(_, names, _)| problems.any_variable(names)),
        };
        match (chosen, text) {
            (Some((form, _, make)), text) => {
                let rest = text.and_then(|text| text.split_once(':'));
                let credentials = make(problems, rest.map(|(_, rest)| rest), with)?;
                return Some(credentials.of_source(shown(text.unwrap_or(form))));
            }
            (None, Some(text)) => {
                let forms = self.forms().join(", ");
                let kind = text.split_once(':').map_or(text, |(kind, _)| kind);
                // Anything else may be a secret that was set in the wrong place.
                let is_word = kind.len() < 20
                    && kind.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'-' | b'_'));
                let shown = if is_word { format!("{kind:?} ") } else { String::new() };
                problems.report(self.flag, format_args!("{shown}is not one of {forms}"));
            }
            (None, None) => problems.add(format!(
                "{}, or select another source with {}",
                no_credential(self.provider, self.key),
                self.flag
            )),
        }
        None
    }
}

/// The name of a source. A URI may contain a secret, a path does not.
fn shown(text: &str) -> &str {
    match text.split_once(':') {
        Some((kind, rest)) if rest.contains("://") => kind,
        _ => text,
    }
}

/// Whether the text has the shape of this form: the same kind, with or without a rest.
fn fits(text: &str, form: &str) -> bool {
    match (text.split_once(':'), form.split_once(':')) {
        (Some((kind, rest)), Some((known, _))) => kind == known && !rest.is_empty(),
        (None, None) => text == form,
        _ => false,
    }
}

/// An access key from the variables of the provider's own tools.
pub(crate) fn key_from_environment(
    problems: &mut Problems<'_>,
    provider: &'static Provider,
    names: [&str; 3],
) -> Option<Credentials> {
    let [id, secret, token] = names.map(|name| problems.variable(name));
    if id.is_none() && secret.is_none() {
        problems.add(no_credential(provider, names));
    }
    let (id, secret) = problems.pair((names[0], id.as_deref()), (names[1], secret.as_deref()))?;
    let is_reported = [Some(id), Some(secret), token.as_deref()]
        .into_iter()
        .flatten()
        .any(|part| text::fault(part).is_some());
    match Credential::new(id, Secret::new(secret), token.map(Secret::new)) {
        Ok(credential) => return Some(Credentials::fixed(credential)),
        Err(_) if is_reported => {}
        Err(error) => problems.report(&names.join(", "), error),
    }
    None
}

fn no_credential(provider: &'static Provider, [id, secret, _]: [&str; 3]) -> String {
    format!("{provider} is configured without a credential: set {id} and {secret}")
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
            found.iter().for_each(|problem| problems.report(flag, problem));
            None
        }
    }
}
