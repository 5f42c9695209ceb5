//! Reading the values of options, and collecting all that is wrong with them.

use std::fmt;
use std::time::Duration;

use http::HeaderValue;

use super::environment::{Lookup, NotText};
use crate::endpoint::Endpoint;
use crate::secret::Secret;
use crate::server::Address;

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigError {
    problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is wrong:")?;
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// An option that was given. An empty variable counts as none.
pub(super) fn given(option: &Option<String>) -> Option<&String> {
    option.as_ref().filter(|text| !text.is_empty())
}

pub(super) fn given_text(option: &Option<String>) -> Option<&str> {
    given(option).map(String::as_str)
}

/// The same for an option whose value may hold a secret.
pub(super) fn given_secret(option: &Option<Secret>) -> Option<&str> {
    option.as_ref().map(Secret::expose).filter(|text| !text.is_empty())
}

/// Collects problems instead of stopping at the first.
pub(super) struct Check<'a> {
    pub(super) lookup: Lookup<'a>,
    pub(super) problems: Vec<String>,
}

impl<'a> Check<'a> {
    pub(super) fn new(lookup: Lookup<'a>) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    pub(super) fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() {
            Ok(value)
        } else {
            Err(ConfigError { problems: self.problems })
        }
    }

    pub(super) fn problem(&mut self, text: &str) {
        self.problems.push(text.to_owned());
    }

    /// An option, by flag and variable, or a variable alone, is wrong.
    pub(super) fn wrong(&mut self, name: &str, why: &str) {
        let name = match name.strip_prefix("--") {
            Some(flag) => {
                let variable = flag.to_uppercase().replace('-', "_");
                format!("{name} (SAVEPOINT_GATEWAY_{variable})")
            }
            None => name.to_owned(),
        };
        let problem = format!("{name}: {why}");
        // A variable that two options need is told of once.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub(super) fn variable(&mut self, name: &str) -> Option<String> {
        match (self.lookup)(name) {
            Ok(value) => value.filter(|value| !value.is_empty()),
            Err(NotText) => {
                self.wrong(name, "is not UTF-8 text");
                None
            }
        }
    }

    pub(super) fn endpoint(
        &mut self,
        flag: &str,
        text: Option<&str>,
        insecure: bool,
    ) -> Option<Endpoint> {
        match Endpoint::parse(text?, insecure) {
            Ok(endpoint) => Some(endpoint),
            Err(error) => {
                self.wrong(flag, &error.to_string());
                None
            }
        }
    }

    /// Origins as a browser spells them: scheme, host and port, no slash at the end.
    pub(super) fn origins(&mut self, flag: &str, text: &str) -> Vec<HeaderValue> {
        let mut origins = Vec::new();
        for text in text.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            let is_origin = text == "*"
                || url::Url::parse(text).is_ok_and(|url| {
                    matches!(url.scheme(), "http" | "https")
                        && url.origin().ascii_serialization() == text
                });
            match HeaderValue::from_str(text) {
                Ok(origin) if is_origin => origins.push(origin),
                _ => self.wrong(
                    flag,
                    &format!("{text:?} is neither * nor an origin such as https://example.com"),
                ),
            }
        }
        origins
    }

    pub(super) fn address(&mut self, flag: &str, text: &str) -> Address {
        text.parse().unwrap_or_else(|error| {
            self.wrong(flag, &format!("{text:?} {error}"));
            Address::Tcp(String::new())
        })
    }

    /// A length of time, which needs a unit so that nobody takes seconds for milliseconds.
    pub(super) fn duration(&mut self, flag: &str, text: &str, positive: bool) -> Duration {
        let parsed = match text.trim() {
            // The one length of time that is clear without a unit.
            "0" => Ok(Duration::ZERO),
            text => text
                .parse::<jiff::SignedDuration>()
                .ok()
                .and_then(|duration| Duration::try_from(duration).ok())
                .ok_or("is not a length of time with a unit, such as 500ms, 30s or 2m"),
        };
        match parsed {
            Ok(duration) if positive && duration.is_zero() => {
                self.wrong(flag, &format!("{text:?} must be longer than nothing"));
            }
            Ok(duration) if duration > LONGEST => {
                self.wrong(flag, &format!("{text:?} is longer than a year"));
            }
            Ok(duration) => return duration,
            Err(why) => self.wrong(flag, &format!("{text:?} {why}")),
        }
        Duration::ZERO
    }

    pub(super) fn mode(&mut self, text: &str) -> Option<u32> {
        match u32::from_str_radix(text.trim(), 8) {
            Ok(mode) if mode <= 0o777 => Some(mode),
            _ => {
                self.wrong("--socket-mode", &format!("{text:?} is not a mode such as 0660"));
                None
            }
        }
    }

    pub(super) fn count(&mut self, flag: &str, text: &str, most: usize) -> usize {
        match text.trim().parse() {
            Ok(count) if (1..=most).contains(&count) => count,
            _ => {
                self.wrong(flag, &format!("{text:?} is not a number from 1 to {most}"));
                1
            }
        }
    }
}

/// No timeout needs to be longer, and no deadline overflows with it.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
