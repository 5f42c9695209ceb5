//! Parsing the values of options and variables, and collecting all problems.

use std::fmt::{self, Display};
use std::str::FromStr;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::env::{Lookup, NotText};
use crate::secret::Secret;
use crate::text;

const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
#[error("invalid configuration:\n  {}", problems.join("\n  "))]
pub struct ConfigError {
    problems: Vec<String>,
}

impl ConfigError {
    /// Each problem, as one line.
    pub(crate) fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The error with these problems; there is at least one.
    pub(crate) fn new(problems: Vec<String>) -> Self {
        Self { problems }
    }
}

/// The variable of a flag, for example `SAVEPOINT_GATEWAY_MAX_TIMEOUT` of `--max-timeout`.
pub(crate) fn variable_of(flag: &str) -> String {
    let name = flag.trim_start_matches('-').to_uppercase().replace('-', "_");
    format!("{PREFIX}{name}")
}

/// What the variables of all options begin with.
pub(crate) const PREFIX: &str = "SAVEPOINT_GATEWAY_";

/// A flag with its variable, or a variable.
pub(crate) fn named(name: &str) -> String {
    if name.starts_with("--") { format!("{name} ({})", variable_of(name)) } else { name.to_owned() }
}

/// In place of a value that is never shown.
pub(crate) const HIDDEN: &str = "";

/// A value as a problem shows it; not if it could have a password in it, as URLs can.
pub(crate) fn shown(value: &str) -> String {
    if value.contains(['@', '?', '#']) || value.len() > 200 {
        "the value, which is not shown because it may have a password,".to_owned()
    } else {
        format!("{value:?}")
    }
}

/// The value of an option; empty counts as unset.
pub(crate) fn non_empty(option: &Option<String>) -> Option<&str> {
    option.as_deref().filter(|text| !text.is_empty())
}

/// The same for an option that may contain a secret.
pub(crate) fn non_empty_secret(option: &Option<Secret>) -> Option<&str> {
    option.as_ref().map(Secret::expose).filter(|text| !text.is_empty())
}

/// Collects problems instead of stopping at the first.
pub struct Problems<'a> {
    lookup: Lookup<'a>,
    found: Vec<String>,
    warnings: Vec<String>,
}

impl fmt::Debug for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.found.fmt(f)
    }
}

impl<'a> Problems<'a> {
    /// Starts without problems. `lookup` reads environment variables.
    pub fn new(lookup: Lookup<'a>) -> Self {
        Self { lookup, found: Vec::new(), warnings: Vec::new() }
    }

    /// The value, if there are no problems.
    pub(crate) fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.found.is_empty() { Ok(value) } else { Err(ConfigError { problems: self.found }) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Reports a problem that does not belong to one option.
    pub(crate) fn add(&mut self, text: String) {
        // A variable that two options need is reported once.
        if !self.found.contains(&text) {
            self.found.push(text);
        }
    }

    /// Reports a problem of a flag, which is printed with its variable, or of a variable.
    pub(crate) fn report(&mut self, name: &str, why: impl Display) {
        self.add(format!("{}: {why}", named(name)));
    }

    /// Reports what does not stop the start, such as a value that is meant for another program.
    pub(crate) fn warn(&mut self, name: &str, why: impl Display) {
        self.warnings.push(format!("{}: {why}", named(name)));
    }

    /// The warnings so far, to be logged once there is a log.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Parses the text with `read`, and reports a failure together with the text.
    pub(crate) fn read<T, E: Display>(
        &mut self,
        name: &str,
        text: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        read(text).map_err(|why| self.report(name, format_args!("{text:?} {why}"))).ok()
    }

    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, name: &str, text: &str) -> Option<T> {
        self.read(name, text, T::from_str)
    }

    /// A duration with a unit, so that nobody mistakes seconds for milliseconds.
    pub(crate) fn duration(&mut self, name: &str, text: &str) -> Duration {
        self.read(name, text, duration).unwrap_or_default()
    }

    /// The same, but above zero.
    pub(crate) fn positive_duration(&mut self, name: &str, text: &str) -> Duration {
        let positive = |text: &str| match duration(text) {
            Ok(Duration::ZERO) => Err("must be longer than zero"),
            other => other,
        };
        self.read(name, text, positive).unwrap_or_default()
    }

    /// A number from 1 to `most`.
    pub(crate) fn count(&mut self, name: &str, text: &str, most: usize) -> usize {
        let count = |text: &str| match text.trim().parse() {
            Ok(count) if (1..=most).contains(&count) => Ok(count),
            _ => Err(format!("is not a number from 1 to {most}")),
        };
        self.read(name, text, count).unwrap_or(1)
    }

    /// A number of bytes with a unit, from 1 MiB on.
    pub(crate) fn bytes(&mut self, name: &str, text: &str) -> usize {
        self.read(name, text, bytes).unwrap_or_default()
    }

    pub(crate) fn endpoint(&mut self, name: &str, text: &str, insecure: bool) -> Option<Endpoint> {
        let endpoint = Endpoint::parse(text, insecure);
        endpoint.map_err(|error| self.report(name, format_args!("{} {error}", shown(text)))).ok()
    }

    /// Two options that must be set together: both values, or none.
    pub(crate) fn pair<'t>(
        &mut self,
        first: (&str, Option<&'t str>),
        second: (&str, Option<&'t str>),
    ) -> Option<(&'t str, &'t str)> {
        let (missing, set) = match (first.1, second.1) {
            (Some(one), Some(other)) => return Some((one, other)),
            (Some(_), None) => (second.0, first.0),
            (None, Some(_)) => (first.0, second.0),
            (None, None) => return None,
        };
        self.report(missing, format_args!("is missing, while {set} is set: set both, or neither"));
        None
    }

    /// Reports those of these options that are set, because they have no effect unless something
    /// else is. The value of a secret is [`HIDDEN`].
    pub(crate) fn without_effect(&mut self, options: &[(&str, Option<&str>)], unless: &str) {
        for (name, value) in options {
            match value {
                None => {}
                Some(HIDDEN) => self.report(name, format_args!("has no effect {unless}")),
                Some(value) => {
                    self.report(name, format_args!("{} has no effect {unless}", shown(value)));
                }
            }
        }
    }

    /// A variable that holds a secret or a name; an empty one counts as unset. A fault of its text
    /// is reported without the text.
    pub(crate) fn variable(&mut self, name: &str) -> Option<String> {
        let value = match self.foreign_variable(name) {
            Ok(value) => value?,
            Err(NotText) => {
                self.report(name, "is not UTF-8 text");
                // It is set, and the text is never used, because there is a problem.
                return Some('\u{FEFF}'.to_string());
            }
        };
        if let Some(fault) = text::fault(&value) {
            self.report(name, fault);
        }
        Some(value)
    }

    /// A variable that other programs read, too; an empty one counts as unset.
    pub(crate) fn foreign_variable(&self, name: &str) -> Result<Option<String>, NotText> {
        Ok((self.lookup)(name)?.filter(|value| !value.is_empty()))
    }

    /// Whether any of these variables is set.
    pub(crate) fn any_variable(&mut self, names: &[&str]) -> bool {
        names.iter().any(|name| self.variable(name).is_some())
    }

    /// The values of all these variables. Reports those that are missing.
    pub(crate) fn variables<const N: usize>(&mut self, names: [&str; N]) -> Option<[String; N]> {
        let values = names.map(|name| {
            let value = self.variable(name);
            if value.is_none() {
                self.report(name, "is missing");
            }
            value
        });
        values.iter().all(Option::is_some).then(|| values.map(Option::unwrap_or_default))
    }

    /// Whether a variable is true, by the rule of the providers' own tools.
    pub(crate) fn switch(&mut self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }
}

fn bytes(text: &str) -> Result<usize, &'static str> {
    let text = text.trim();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: usize = match &text[digits.len()..] {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("is not a size with a unit, such as 16MiB"),
    };
    let number = digits.trim_end().parse::<usize>().ok();
    match number.and_then(|number| number.checked_mul(unit)) {
        Some(bytes) if (1 << 20..=1 << 40).contains(&bytes) => Ok(bytes),
        _ => Err("is not a size from 1MiB to 1024GiB"),
    }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    let text = text.trim();
    // Zero needs no unit.
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    match parsed.and_then(|duration| Duration::try_from(duration).ok()) {
        Some(duration) if duration > LONGEST => Err("is longer than a year"),
        Some(duration) => Ok(duration),
        None => Err("is not a duration with a unit, such as 500ms, 30s or 2m"),
    }
}
