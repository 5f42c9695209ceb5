//! The log line of a call.

use std::fmt::Display;
use std::io::Write as _;

use serde::Serialize;

use crate::telemetry::{SpanId, TraceId};

/// The fields of a log line, which `docs/operations.md` describes.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) timestamp: jiff::Timestamp,
    pub(super) level: &'static str,
    pub(super) message: &'static str,
    pub(super) service: &'static str,
    pub(super) method: &'static str,
    pub(super) code: &'static str,
    pub(super) reason: Option<&'static str>,
    pub(super) error: Option<&'a str>,
    pub(super) fields: &'a [&'static str],
    pub(super) outcome: Option<&'static str>,
    pub(super) provider: Option<&'static str>,
    pub(super) endpoint: Option<&'a str>,
    pub(super) project_id: Option<&'a str>,
    pub(super) job_id: Option<&'a str>,
    pub(super) workspace: Option<&'a str>,
    pub(super) namespace: Option<&'a str>,
    pub(super) deployment_id: Option<&'a str>,
    pub(super) cluster: Option<&'a str>,
    pub(super) http_status: Option<u16>,
    pub(super) provider_code: Option<&'a str>,
    pub(super) provider_request_id: Option<&'a str>,
    pub(super) attempts: u32,
    pub(super) messages: Option<u32>,
    pub(super) polls: Option<u32>,
    pub(super) duration_ms: f64,
    pub(super) deadline_ms: Option<u64>,
    pub(super) peer: Option<std::net::SocketAddr>,
    pub(super) caller: &'a str,
    /// Whether it was let pass only because of `--policy-dry-run`.
    pub(super) policy: Option<&'static str>,
    pub(super) trace_id: Option<TraceId>,
    pub(super) span_id: Option<SpanId>,
}

impl Line<'_> {
    /// Writes it as a JSON object.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        let mut json = JsonObject(out);
        json.display("timestamp", self.timestamp)?;
        for (name, text) in [
            ("level", self.level),
            ("message", self.message),
            ("service", self.service),
            ("method", self.method),
            ("code", self.code),
        ] {
            json.text(name, text)?;
        }
        json.texts([("reason", self.reason), ("error", self.error)])?;
        if !self.fields.is_empty() {
            json.value("fields", &self.fields)?;
        }
        json.texts([
            ("outcome", self.outcome),
            ("provider", self.provider),
            ("endpoint", self.endpoint),
            ("project_id", self.project_id),
            ("job_id", self.job_id),
            ("workspace", self.workspace),
            ("namespace", self.namespace),
            ("deployment_id", self.deployment_id),
            ("cluster", self.cluster),
        ])?;
        if let Some(status) = self.http_status {
            json.value("http_status", &status)?;
        }
        json.texts([
            ("provider_code", self.provider_code),
            ("provider_request_id", self.provider_request_id),
        ])?;
        json.value("attempts", &self.attempts)?;
        for (name, number) in [("messages", self.messages), ("polls", self.polls)] {
            if let Some(number) = number {
                json.value(name, &number)?;
            }
        }
        json.value("duration_ms", &self.duration_ms)?;
        if let Some(deadline) = self.deadline_ms {
            json.value("deadline_ms", &deadline)?;
        }
        if let Some(peer) = self.peer {
            json.display("peer", peer)?;
        }
        json.text("caller", self.caller)?;
        json.texts([("policy", self.policy)])?;
        if let Some(id) = self.trace_id {
            json.display("trace_id", id)?;
        }
        if let Some(id) = self.span_id {
            json.display("span_id", id)?;
        }
        json.end();
        Ok(())
    }

    /// Writes it for people.
    pub(super) fn write_text(&self, out: &mut Vec<u8>, colour: bool) -> std::io::Result<()> {
        let (on, off) = match (colour, self.level) {
            (false, _) => ("", ""),
            (true, "ERROR") => ("\x1b[31m", "\x1b[0m"),
            (true, "WARN") => ("\x1b[33m", "\x1b[0m"),
            (true, _) => ("\x1b[32m", "\x1b[0m"),
        };
        write!(
            out,
            "{} {on}{:>5}{off} {} {} in {} ms",
            self.timestamp, self.level, self.method, self.code, self.duration_ms
        )?;
        let http_status = self.http_status.map(|status| status.to_string());
        let trace_id = self.trace_id.map(|id| id.to_string());
        let attempts = (self.attempts > 1).then(|| self.attempts.to_string());
        let [messages, polls] =
            [self.messages, self.polls].map(|number| number.map(|number| number.to_string()));
        for (name, value) in [
            ("reason", self.reason),
            ("outcome", self.outcome),
            ("provider", self.provider),
            ("endpoint", self.endpoint),
            ("project_id", self.project_id),
            ("job_id", self.job_id),
            ("workspace", self.workspace),
            ("namespace", self.namespace),
            ("deployment_id", self.deployment_id),
            ("cluster", self.cluster),
            ("http_status", http_status.as_deref()),
            ("provider_code", self.provider_code),
            ("provider_request_id", self.provider_request_id),
            ("attempts", attempts.as_deref()),
            ("messages", messages.as_deref()),
            ("polls", polls.as_deref()),
            ("policy", self.policy),
            ("trace_id", trace_id.as_deref()),
        ] {
            if let Some(value) = value {
                write!(out, " {name}={value}")?;
            }
        }
        if !self.fields.is_empty() {
            write!(out, " fields={}", self.fields.join(","))?;
        }
        if let Some(deadline) = self.deadline_ms {
            write!(out, " deadline_ms={deadline}")?;
        }
        if let Some(peer) = self.peer {
            write!(out, " peer={peer}")?;
        }
        if let Some(error) = self.error {
            write!(out, " error={error:?}")?;
        }
        match self.caller {
            // A name with spaces must not look like further fields.
            name if name.contains([' ', '"']) => write!(out, " caller={name:?}")?,
            name => write!(out, " caller={name}")?,
        }
        Ok(())
    }
}

/// An object that is written field by field. serde_json looks at each byte of each name and text; few of
/// them need that.
struct JsonObject<'a>(&'a mut Vec<u8>);

impl JsonObject<'_> {
    /// A text, which is escaped where it must be.
    fn text(&mut self, name: &'static str, text: &str) -> std::io::Result<()> {
        // Without an early end, so that many bytes are looked at at once.
        let is_plain = |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\');
        if text.bytes().fold(true, is_plain) {
            self.quoted(name, |out| {
                out.extend_from_slice(text.as_bytes());
                Ok(())
            })
        } else {
            self.value(name, &text)
        }
    }

    /// Those texts that there are.
    fn texts<const N: usize>(
        &mut self,
        fields: [(&'static str, Option<&str>); N],
    ) -> std::io::Result<()> {
        for (name, text) in fields {
            if let Some(text) = text {
                self.text(name, text)?;
            }
        }
        Ok(())
    }

    /// Something whose text needs no escaping.
    fn display(&mut self, name: &'static str, shown: impl Display) -> std::io::Result<()> {
        self.quoted(name, |out| write!(out, "{shown}"))
    }

    fn value(&mut self, name: &'static str, value: &impl Serialize) -> std::io::Result<()> {
        self.name(name);
        Ok(serde_json::to_writer(&mut *self.0, value)?)
    }

    fn quoted(
        &mut self,
        name: &'static str,
        write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>,
    ) -> std::io::Result<()> {
        self.name(name);
        self.0.push(b'"');
        write(self.0)?;
        self.0.push(b'"');
        Ok(())
    }

    fn name(&mut self, name: &'static str) {
        self.0.extend_from_slice(if self.0.is_empty() { b"{\"" } else { b",\"" });
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn end(self) {
        self.0.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_text_becomes_the_json_that_it_is() {
        for text in [
            "",
            "plain",
            "\"",
            "\\",
            "a\nb\u{0}",
            "\u{1f}\u{7f}",
            "点 é",
            "0123456789abcdef\t",
            "</x>\u{2028}",
        ] {
            let mut out = Vec::new();
            let mut object = JsonObject(&mut out);
            object.text("first", text).unwrap();
            object.texts([("none", None), ("second", Some(text))]).unwrap();
            object.value("number", &1.5).unwrap();
            object.display("third", 7).unwrap();
            object.end();
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(
                read,
                json!({"first": text, "second": text, "number": 1.5, "third": "7"}),
                "{text:?}"
            );
        }
    }
}
