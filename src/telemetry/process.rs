//! Metrics of the process itself, with the names that all Prometheus clients use, read from the
//! kernel when they are asked for.
//!
//! # Reference
//! - <https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>
//! - <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// The places of values in `/proc/self/stat`, counted after the name in parentheses.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const START_TICKS: usize = 19;
const VIRTUAL_BYTES: usize = 20;
const RESIDENT_PAGES: usize = 21;

#[derive(Debug)]
pub(super) struct Process;

/// What the kernel says. What it does not say is left out.
#[derive(Debug, Default)]
struct Values {
    cpu_seconds: Option<f64>,
    start_time: Option<f64>,
    virtual_bytes: Option<f64>,
    resident_bytes: Option<f64>,
    open_files: Option<f64>,
    max_files: Option<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
fn read() -> Values {
    let text = |path| std::fs::read_to_string(path).ok();
    let stat = text("/proc/self/stat").unwrap_or_default();
    // The name may have blanks and parentheses.
    let stat: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let value = |place: usize| stat.get(place)?.parse::<u64>().ok().map(|value| value as f64);
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let page = rustix::param::page_size() as f64;
    let boot = text("/proc/stat").and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok())
    });
    let open_files = std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    Values {
        cpu_seconds: value(USER_TICKS)
            .zip(value(SYSTEM_TICKS))
            .map(|(user, system)| (user + system) / ticks),
        start_time: boot.zip(value(START_TICKS)).map(|(boot, start)| boot + start / ticks),
        virtual_bytes: value(VIRTUAL_BYTES),
        resident_bytes: value(RESIDENT_PAGES).map(|pages| pages * page),
        open_files: open_files.map(|count| count as f64),
        max_files: limit.map(|limit| limit as f64),
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let values = read();
        if let Some(seconds) = values.cpu_seconds {
            let counter = ConstCounter::new(seconds);
            let unit = Some(&Unit::Seconds);
            let help = "Processor time of the process";
            let metric =
                encoder.encode_descriptor("process_cpu", help, unit, counter.metric_type())?;
            counter.encode(metric)?;
        }
        for (name, unit, value, help) in [
            (
                "process_start_time",
                Some(&Unit::Seconds),
                values.start_time,
                "When the process started",
            ),
            (
                "process_virtual_memory",
                Some(&Unit::Bytes),
                values.virtual_bytes,
                "Virtual memory of the process",
            ),
            (
                "process_resident_memory",
                Some(&Unit::Bytes),
                values.resident_bytes,
                "Resident memory of the process",
            ),
            ("process_open_fds", None, values.open_files, "Open file descriptors"),
            ("process_max_fds", None, values.max_files, "Limit of open file descriptors"),
        ] {
            if let Some(value) = value {
                let gauge = ConstGauge::new(value);
                let metric = encoder.encode_descriptor(name, help, unit, gauge.metric_type())?;
                gauge.encode(metric)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_all_of_them() {
        let values = read();
        let now = crate::clock::Clock::now(&crate::clock::SystemClock).as_second();
        let started = values.start_time.unwrap();
        assert!(values.cpu_seconds.unwrap() >= 0.0);
        #[expect(clippy::cast_precision_loss, reason = "seconds fit")]
        let age = now as f64 - started;
        assert!((-60.0..86_400.0).contains(&age), "{started}");
        assert!(values.resident_bytes.unwrap() > 1e6);
        assert!(values.virtual_bytes > values.resident_bytes);
        assert!(values.open_files.unwrap() >= 1.0 && values.max_files > values.open_files);
    }
}
