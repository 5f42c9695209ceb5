//! The options of the log.

use std::io::IsTerminal;

use clap::Args;

use super::{LevelFilter, LogFormat};
use crate::options::problems::non_empty;
use crate::options::{Problems, environment};

/// The options of the log, which is written to standard error.
#[derive(Debug, Args)]
#[command(next_help_heading = "Telemetry")]
pub(crate) struct LogOptions {
    /// json or text
    ///
    /// [default: text on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Least severe lines of the log
    ///
    /// off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

/// The format and the level of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    /// The minimum level: ERROR for bugs and wrong configuration, WARN also for problems of
    /// providers and the network, INFO also for calls, DEBUG also for attempts and connections.
    pub level: LevelFilter,
}

impl LogOptions {
    pub(crate) fn config(&self, problems: &mut Problems<'_>) -> LogConfig {
        let terminal = std::io::stderr().is_terminal();
        // https://no-color.org
        let colour = terminal && !matches!(environment("NO_COLOR"), Ok(Some(_)));
        let text = LogFormat::Text { colour };
        let format = match non_empty(&self.log_format) {
            None if terminal => Some(text),
            None => None,
            Some(name) => problems.read("--log-format", name, |name| match name {
                "json" => Ok(LogFormat::Json),
                "text" => Ok(text),
                _ => Err("is neither json nor text"),
            }),
        };
        let level = match self.log_level.as_str() {
            "" => None,
            name => problems.read("--log-level", name, |name| {
                // The type also accepts numbers and capital letters.
                let level =
                    name.parse().ok().filter(|level: &LevelFilter| level.to_string() == name);
                level.ok_or("is not one of off, error, warn, info, debug, trace")
            }),
        };
        LogConfig {
            format: format.unwrap_or(LogFormat::Json),
            level: level.unwrap_or(LevelFilter::INFO),
        }
    }
}
