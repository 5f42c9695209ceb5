//! Mistakes of a command line: all of them, not only the first that the parser finds.

use std::ffi::{OsStr, OsString};

use clap::Command as Clap;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::options::problems::{PREFIX, named, shown, variable_of};
use crate::text;

/// How alike two names must be to be called similar, as the parser has it.
const ALIKE: f64 = 0.7;

/// A mistake that the parser found: what it is, and where, so that parsing can go on without it.
pub(super) struct Mistake {
    pub(super) text: String,
    /// The argument, without a value.
    argument: String,
}

impl Mistake {
    /// `known`: the variables that there are. None if it is not a mistake of one option, but a request for help, for example.
    pub(super) fn of(error: &Error, known: &[String]) -> Option<Self> {
        let context = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.as_str()),
            Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
            _ => None,
        };
        // With the name of its value: `--listen <ADDRESS>`.
        let argument = context(ContextKind::InvalidArg)?;
        let argument = argument.split_once(' ').map_or(argument, |(flag, _)| flag).to_owned();
        let value = context(ContextKind::InvalidValue).filter(|value| !value.is_empty());
        let why = match (error.kind(), value) {
            (ErrorKind::UnknownArgument, _) => {
                let similar = context(ContextKind::SuggestedArg);
                let text = unknown(&argument, similar.map(|flag| flag.to_owned()));
                return Some(Self { text, argument });
            }
            (ErrorKind::InvalidValue, None) => "needs a value".to_owned(),
            (ErrorKind::InvalidValue, Some(value)) => {
                let valid = match error.get(ContextKind::ValidValue) {
                    Some(ContextValue::Strings(texts)) => texts.join(", "),
                    _ => String::new(),
                };
                format!("{} is not one of {valid}", shown(value))
            }
            (ErrorKind::TooManyValues, Some(value)) => {
                format!("{} must be left out: the option alone turns it on", shown(value))
            }
            (ErrorKind::ArgumentConflict, _) => {
                match context(ContextKind::PriorArg).filter(|other| !other.starts_with(&argument)) {
                    Some(other) => format!("cannot be used together with {other}"),
                    None => "is given more than once".to_owned(),
                }
            }
            (_, value) => {
                let text = error.to_string();
                let first = text.lines().next().unwrap_or_default();
                let why = first.rsplit(": ").next().unwrap_or_default();
                value.map_or_else(|| why.to_owned(), |value| format!("{}: {why}", shown(value)))
            }
        };
        let has_variable = known.contains(&variable_of(&argument));
        let name = if has_variable { named(&argument) } else { argument.clone() };
        Some(Self { text: format!("{name}: {why}"), argument })
    }

    /// Takes the argument, and a value that follows it, from a command line. Returns whether it was
    /// there; else it comes from a variable.
    pub(super) fn take(&self, args: &mut Vec<OsString>) -> bool {
        let is_it = |arg: &OsString| {
            let arg = arg.to_string_lossy();
            let rest = arg.strip_prefix(&self.argument);
            rest.is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('=') || !self.argument.starts_with("--")
            })
        };
        // After the program and the subcommand.
        let Some(index) = args.iter().skip(1).position(is_it).map(|index| index + 1) else {
            return false;
        };
        let removed = args.remove(index);
        let is_value = |next: &OsString| !next.to_string_lossy().starts_with('-');
        if removed.to_string_lossy() == *self.argument
            && self.argument.starts_with("--")
            && args.get(index).is_some_and(is_value)
        {
            args.remove(index);
        }
        true
    }

    pub(super) fn argument(&self) -> &str {
        &self.argument
    }
}

fn unknown(argument: &str, similar: Option<String>) -> String {
    let argument = text::clean(argument, 64);
    match similar {
        Some(similar) => format!("{argument}: there is no such option; did you mean {similar}?"),
        None if argument.starts_with('-') => {
            format!("{argument}: there is no such option; --help lists all")
        }
        None => format!("{:?}: is not an option; their names begin with --", &*argument),
    }
}

/// Takes the arguments that are not UTF-8 from a command line, and tells of them.
pub(super) fn not_text(args: &mut Vec<OsString>) -> Vec<String> {
    let mut found = Vec::new();
    args.retain(|arg| {
        let is_text = arg.to_str().is_some();
        if !is_text {
            found.push(of_bytes(arg));
        }
        is_text
    });
    found
}

fn of_bytes(arg: &OsStr) -> String {
    let text = arg.to_string_lossy();
    match text.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => {
            format!("{}: {} is not UTF-8 text", named(flag), shown(value))
        }
        _ => format!("an argument is not UTF-8 text: {}", shown(&text)),
    }
}

/// Warnings of variables that are named like options, but are none.
pub(super) fn strangers(names: &[String], known: &[String]) -> Vec<String> {
    let is_strange = |name: &&String| !known.contains(name) && !is_of_kubernetes(name);
    let warning = |name: &String| {
        let alike = |known: &&String| strsim::jaro(name, known);
        let best = known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
        // The prefix is alike in all of them.
        let rest = |name: &str| name.trim_start_matches(PREFIX).to_owned();
        let best = best.filter(|best| strsim::jaro(&rest(name), &rest(best)) > ALIKE);
        let hint = best.map(|best| format!("; did you mean {best}?")).unwrap_or_default();
        format!(
            "{}: is not the variable of any option, and is ignored{hint}",
            text::clean(name, 128)
        )
    };
    names.iter().filter(is_strange).map(warning).collect()
}

/// Whether Kubernetes sets a variable with this name, for a Service whose name begins with
/// `savepoint-gateway`.
///
/// # Reference
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_of_kubernetes(name: &str) -> bool {
    let is_port = |rest: &str| {
        let mut parts = rest.split('_');
        let number = parts.next().unwrap_or_default();
        let protocol = parts.next().unwrap_or_default();
        !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && matches!(protocol, "TCP" | "UDP" | "SCTP")
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || name.ends_with("_PORT")
        || name.split_once("_PORT_").is_some_and(|(_, rest)| is_port(rest))
}

/// The variables of all options of these subcommands.
pub(super) fn variables(command: &Clap) -> Vec<String> {
    let mut names: Vec<_> = command
        .get_subcommands()
        .flat_map(Clap::get_arguments)
        .filter_map(|arg| Some(arg.get_env()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_kubernetes_makes_are_not_strange_and_similar_names_are_told() {
        let known =
            ["SAVEPOINT_GATEWAY_LISTEN", "SAVEPOINT_GATEWAY_MAX_TIMEOUT"].map(str::to_owned);
        for (name, want) in [
            ("SAVEPOINT_GATEWAY_LISTEN", None),
            ("SAVEPOINT_GATEWAY_SERVICE_HOST", None),
            ("SAVEPOINT_GATEWAY_SERVICE_PORT", None),
            ("SAVEPOINT_GATEWAY_SERVICE_PORT_GRPC", None),
            ("SAVEPOINT_GATEWAY_PORT", None),
            ("SAVEPOINT_GATEWAY_PORT_50051_TCP", None),
            ("SAVEPOINT_GATEWAY_PORT_50051_TCP_ADDR", None),
            ("SAVEPOINT_GATEWAY_ADMIN_SERVICE_HOST", None),
            ("SAVEPOINT_GATEWAY_ADMIN_PORT_9464_TCP", None),
            ("SAVEPOINT_GATEWAY_PORT_RANGE", Some("ignored")),
            ("SAVEPOINT_GATEWAY_LISTNE", Some("mean SAVEPOINT_GATEWAY_LISTEN?")),
            ("SAVEPOINT_GATEWAY_MAXTIMEOUT", Some("mean SAVEPOINT_GATEWAY_MAX_TIMEOUT?")),
            ("SAVEPOINT_GATEWAY_\u{1b}[2J", Some("SAVEPOINT_GATEWAY_ [2J: is not")),
            ("SAVEPOINT_GATEWAY_", Some("ignored")),
        ] {
            let found = strangers(&[name.to_owned()], &known);
            match want {
                None => assert!(found.is_empty(), "{found:?}"),
                Some(want) => assert!(found[0].contains(want), "{found:?}"),
            }
        }
        let far = strangers(&["SAVEPOINT_GATEWAY_QQQ".to_owned()], &known);
        assert!(!far[0].contains("did you mean"), "{far:?}");
    }
}
