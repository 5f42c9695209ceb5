//! The gateway as a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::LONG;

pub(crate) struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reading: Option<std::thread::JoinHandle<()>>,
}

impl Process {
    /// Runs `serve`, on free ports of loopback unless told otherwise, with these arguments and
    /// variables alone.
    pub(crate) fn serve(args: &[String], variables: &[(&str, &str)]) -> Self {
        Self::serve_after(":", args, variables)
    }

    /// The same after this shell command, such as `ulimit -n 64`.
    pub(crate) fn serve_after(command: &str, args: &[String], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("{command} && exec \"$0\" \"$@\"")])
            .args([env!("CARGO_BIN_EXE_savepoint-gateway"), "serve"])
            .args(args)
            .args(["--listen", "--admin-listen"].iter().filter_map(|flag| {
                let given = args.iter().any(|arg| arg.starts_with(&format!("{flag}=")));
                (!given).then(|| format!("{flag}=127.0.0.1:0"))
            }))
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let reading = std::thread::spawn({
            let lines = Arc::clone(&lines);
            move || {
                for line in stderr.lines().map_while(Result::ok) {
                    lines.lock().unwrap().push(line);
                }
            }
        });
        Self { child, lines, reading: Some(reading) }
    }

    /// Everything on standard error so far.
    pub(crate) fn said(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The address of its gRPC port, once it serves.
    pub(crate) async fn address(&self) -> String {
        let line = self.line("listening").await;
        line["listen"].as_str().unwrap().to_owned()
    }

    /// The first line with this message, once there is one.
    pub(crate) async fn line(&self, message: &str) -> serde_json::Value {
        let end = Instant::now() + LONG;
        loop {
            let found = self.lines.lock().unwrap().iter().find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                (line["message"].as_str()?.contains(message)).then_some(line)
            });
            if let Some(line) = found {
                return line;
            }
            assert!(Instant::now() < end, "it never says {message}:\n{}", self.said());
            tokio::task::yield_now().await;
        }
    }

    /// The most memory that it had since [`Self::forget_peak`], in bytes, without the pages of its
    /// program, which a debug build has many of.
    pub(crate) fn peak(&self) -> u64 {
        self.memory("VmHWM") - self.memory("RssFile")
    }

    /// The memory that it has now, in the same way.
    pub(crate) fn resident(&self) -> u64 {
        self.memory("RssAnon")
    }

    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.id()), "5").unwrap();
    }

    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        1024 * kib.unwrap()
    }

    /// Sends it a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// Its exit status and its standard error.
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let end = Instant::now() + LONG;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(Instant::now() < end, "it does not end:\n{}", self.said()),
            }
            tokio::task::yield_now().await;
        };
        self.reading.take().unwrap().join().unwrap();
        (status, self.said())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
