//! What `check` prints: one line for each step.

use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use serde::Serialize;

use crate::options::environment;
use crate::providers::Setup;
use crate::rpc::Error;
use crate::text;

/// Maximum length of a text. Longer ones are only those of a hostile provider.
const TEXT_BYTES: usize = 2048;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Ok,
    /// The gateway starts and serves, but someone should look at it.
    Warning,
    Failed,
    /// It could not be tried.
    Skipped,
}

/// A step, and how it ended.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    result: Outcome,
    provider: Option<&'static str>,
    /// The one of several that a provider has.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    step: &'static str,
    text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
    /// The reason that a call would fail with.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// When a certificate or a credential expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

impl Step {
    pub(super) fn new(step: &'static str, result: Outcome, text: impl AsRef<str>) -> Self {
        let text = text::clean(text.as_ref(), TEXT_BYTES);
        Self {
            result,
            provider: None,
            cluster: None,
            step,
            text,
            fix: None,
            reason: None,
            expires: None,
        }
    }

    pub(super) fn ok(step: &'static str, text: impl AsRef<str>) -> Self {
        Self::new(step, Outcome::Ok, text)
    }

    /// A failure with the reason of this error.
    pub(super) fn failed(step: &'static str, error: &Error) -> Self {
        Self::of_error(step, Outcome::Failed, error, error.to_string())
    }

    /// The same with this outcome and text.
    pub(super) fn of_error(
        step: &'static str,
        result: Outcome,
        error: &Error,
        text: impl AsRef<str>,
    ) -> Self {
        Self { reason: Some(error.reason().row().name), ..Self::new(step, result, text) }
    }

    #[must_use]
    pub(super) fn of(self, setup: &Setup) -> Self {
        Self { provider: Some(setup.provider.name), cluster: setup.cluster.clone(), ..self }
    }

    #[must_use]
    pub(super) fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    #[must_use]
    pub(super) fn expires(self, expires: Option<Timestamp>) -> Self {
        Self { expires, ..self }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.result == Outcome::Failed
    }

    /// The step by its name, with the provider and its cluster.
    fn name(&self) -> String {
        let parts = [self.provider, self.cluster.as_deref(), Some(self.step)];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// How steps are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Lines with signs, for terminals.
    Signs,
    /// Lines in ASCII, which every log and terminal can show.
    Words,
    /// One JSON object on each line.
    Json,
}

impl Style {
    /// Signs for a terminal that can show them, else words.
    pub(super) fn of_standard_output() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(|name| environment(name).ok().flatten().filter(|locale| !locale.is_empty()));
        let is_utf8 = locale.is_some_and(|locale| {
            let locale = locale.to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        if io::stdout().is_terminal() && is_utf8 { Self::Signs } else { Self::Words }
    }

    fn sign(self, outcome: Outcome) -> &'static str {
        match (self, outcome) {
            (Self::Signs, Outcome::Ok) => "✓",
            (Self::Signs, Outcome::Warning) => "⚠",
            (Self::Signs, Outcome::Failed) => "✗",
            (Self::Signs, Outcome::Skipped) => "–",
            (_, Outcome::Ok) => "ok  ",
            (_, Outcome::Warning) => "WARN",
            (_, Outcome::Failed) => "FAIL",
            (_, Outcome::Skipped) => "skip",
        }
    }

    fn line(self, step: &Step) -> io::Result<String> {
        if self == Self::Json {
            return Ok(serde_json::to_string(step)?);
        }
        let mut line = format!("{} {}: {}", self.sign(step.result), step.name(), step.text);
        if let Some(reason) = step.reason {
            line.push_str(&format!(" ({reason})"));
        }
        if let Some(expires) = step.expires {
            let seconds = expires.as_second();
            let expires = Timestamp::from_second(seconds).unwrap_or(expires);
            line.push_str(&format!(", expires {expires}"));
        }
        if let Some(fix) = &step.fix {
            line.push_str(if self == Self::Signs { " → " } else { " -> " });
            line.push_str(fix);
        }
        if self == Self::Words {
            line = line.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
        }
        Ok(line)
    }
}

/// Writes steps, and counts them.
pub(super) struct Report<'a> {
    out: &'a mut (dyn Write + Send),
    style: Style,
    failed: Vec<String>,
    warnings: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut (dyn Write + Send), style: Style) -> Self {
        Self { out, style, failed: Vec::new(), warnings: 0 }
    }

    /// Writes a step at once.
    ///
    /// # Errors
    /// If the output is closed.
    pub(super) fn tell(&mut self, step: Step) -> io::Result<()> {
        match step.result {
            Outcome::Failed => self.failed.push(step.name()),
            Outcome::Warning => self.warnings += 1,
            Outcome::Ok | Outcome::Skipped => {}
        }
        self.write(&step)
    }

    fn write(&mut self, step: &Step) -> io::Result<()> {
        let line = self.style.line(step)? + "\n";
        self.out.write_all(line.as_bytes())?;
        self.out.flush()
    }

    /// Writes the result as the last line. Returns whether no step has failed.
    pub(super) fn end(mut self) -> io::Result<bool> {
        let is_good = self.failed.is_empty();
        let warnings = match self.warnings {
            0 => String::new(),
            1 => ", 1 warning".to_owned(),
            many => format!(", {many} warnings"),
        };
        let step = match &self.failed[..] {
            [] => Step::ok("result", format!("no step failed{warnings}")),
            [only] => {
                Step::new("result", Outcome::Failed, format!("1 step failed: {only}{warnings}"))
            }
            [first, ..] => {
                let count = self.failed.len();
                let text = format!("{count} steps failed, the first is {first}{warnings}");
                Step::new("result", Outcome::Failed, text)
            }
        };
        self.write(&step)?;
        Ok(is_good)
    }
}
