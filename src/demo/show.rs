//! What the demo prints.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use crate::simulator::{Seen, Simulator};

pub(super) struct Show {
    text: String,
    colour: bool,
    /// Whether the headers of REST requests are shown.
    verbose: bool,
}

impl Show {
    pub(super) fn new(verbose: bool) -> Self {
        Self { text: String::new(), colour: io::stdout().is_terminal(), verbose }
    }

    pub(super) fn title(&mut self, text: &str) {
        let (on, off) = if self.colour { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        let _ = writeln!(self.text, "\n{on}{text}{off}");
    }

    pub(super) fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "  {text}");
    }

    /// A name, and a text whose further lines are below its first one.
    pub(super) fn item(&mut self, name: &str, text: &str) {
        for (at, line) in text.lines().enumerate() {
            let name = if at == 0 { name } else { "" };
            self.line(format!("{name:<9} {line}").trim_end());
        }
    }

    /// The last REST request, whose signature the simulator has verified.
    pub(super) fn rest(&mut self, simulator: &Simulator) {
        if let Some(seen) = simulator.seen().pop() {
            self.request(&seen);
        }
    }

    fn request(&mut self, seen: &Seen) {
        let Seen { method, path, headers, body, status } = seen;
        self.item("REST", &format!("{method} {path}"));
        if self.verbose {
            for (name, value) in headers {
                self.item("", &format!("{name}: {value}"));
            }
        }
        let body = String::from_utf8_lossy(body);
        self.item("", format!("{body} → HTTP {status}, signature verified").trim_start());
    }

    pub(super) fn print(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(self.text.as_bytes())?;
        self.text.clear();
        out.flush()
    }
}
