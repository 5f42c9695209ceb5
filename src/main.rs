//! The command line of the gateway.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use savepoint_gateway::cli::{Cli, CliError, Command};
use savepoint_gateway::clock::SystemClock;
use savepoint_gateway::gateway::{
    Config, Gateway, ServeOptions, StartError, raise_descriptor_limit,
};
use savepoint_gateway::options::environment;
use savepoint_gateway::service::OPERATIONS;
use savepoint_gateway::telemetry::{LogConfig, LogSink, Telemetry, install};
use savepoint_gateway::{check, demo, descriptor_set, healthcheck};
use tikv_jemallocator::Jemalloc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The system's allocator makes a call a fifth slower, and keeps most of the memory after a burst
/// of connections (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const USAGE: u8 = 2;

/// Minimum time between two reloads.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = match Cli::from_args() {
        Ok(cli) => cli,
        Err(CliError::Clap(error)) => error.exit(),
        Err(error @ CliError::Usage(_)) => return fail(USAGE, &error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // For name lookups and file reads, so that hung ones cannot accumulate.
        .max_blocking_threads(32)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    let code = runtime.block_on(async {
        match cli.command {
            Command::Serve(options) => serve(&options).await,
            Command::Demo(options) => match demo::run(&options).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(error.exit_code(), &error),
            },
            Command::Check(options) => {
                let (config, clock) = (options.config(&environment), Arc::new(SystemClock));
                match check::run(
                    config,
                    clock,
                    &mut std::io::stdout(),
                    options.style(),
                    options.caller(),
                )
                .await
                {
                    Ok(code) => ExitCode::from(code),
                    Err(error) => fail(1, &error),
                }
            }
            Command::Healthcheck(options) => match options.target() {
                Err(error) => fail(USAGE, &error),
                Ok((address, timeout)) => {
                    match healthcheck::ask(&address, &options.service, timeout).await {
                        Ok(()) => ExitCode::SUCCESS,
                        Err(error) => fail(1, &error),
                    }
                }
            },
            Command::Descriptor(options) => match descriptor_set::write(&options) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(error.exit_code(), &error),
            },
        }
    });
    // A hung name lookup must not delay the exit.
    runtime.shutdown_background();
    code
}

async fn serve(options: &ServeOptions) -> ExitCode {
    let (config, log) = match options.config(&environment) {
        Ok(configs) => configs,
        Err(error) => return fail(USAGE, &error),
    };
    // Otherwise it ends a process whose log has reached the maximum size of files.
    let _too_large = signal(SignalKind::from_raw(libc::SIGXFSZ));
    let sink = match start_log(log) {
        Ok(sink) => sink,
        Err(error) => return fail(1, &*error),
    };
    let code = serve_until_signal(config, Telemetry::new(sink.clone(), OPERATIONS)).await;
    sink.end(Duration::from_secs(1));
    code
}

async fn serve_until_signal(config: Config, telemetry: Telemetry) -> ExitCode {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        tracing::error!("cannot listen for signals");
        return ExitCode::FAILURE;
    };
    let config = within_descriptors(config);
    config.log_start();
    let gateway = match Gateway::bind(config, telemetry, Arc::new(SystemClock)).await {
        Ok(gateway) => gateway,
        Err(error) => return cannot_start(&error),
    };
    tracing::info!(
        listen = %gateway.address(),
        admin_listen = %gateway.admin_address(),
        "listening"
    );
    let reloader = gateway.reloader();
    let reloading = async {
        while hangup.recv().await.is_some() {
            reloader.reload();
            // Signals of the meantime are one.
            tokio::time::sleep(RELOAD_INTERVAL).await;
        }
        // No further signals will arrive.
        std::future::pending::<()>().await;
    };
    let (shutdown, begin_drain) = tokio::sync::oneshot::channel::<()>();
    let running = gateway.run(async {
        let _ = begin_drain.await;
    });
    let second_signal = async {
        either(&mut terminate, &mut interrupt).await;
        let _ = shutdown.send(());
        either(&mut terminate, &mut interrupt).await;
    };
    tokio::select! {
        result = running => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => cannot_start(&error),
        },
        () = reloading => ExitCode::FAILURE,
        () = second_signal => {
            tracing::warn!("second signal received, exiting immediately");
            ExitCode::FAILURE
        }
    }
}

/// Lowers limits that the process could not keep for want of file descriptors.
fn within_descriptors(config: Config) -> Config {
    let Some(limit) = raise_descriptor_limit() else { return config };
    let (config, shortage) = config.within_descriptors(limit);
    if let Some(shortage) = shortage {
        tracing::warn!(
            limit = shortage.limit,
            needed = shortage.needed,
            max_connections = config.server.max_connections,
            max_in_flight = config.max_in_flight,
            max_idle = config.max_idle,
            "the process may not open as many files as --max-connections, --max-in-flight and \
             --workers can need, and uses lower limits: raise its limit (ulimit -n, LimitNOFILE), \
             or lower the options"
        );
    }
    config
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn start_log(config: LogConfig) -> Result<LogSink, Box<dyn std::error::Error>> {
    let sink = LogSink::new(std::io::stderr(), config.format, config.level)?;
    install(&sink)?;
    Ok(sink)
}

/// Reports in the log that the gateway does not start.
fn cannot_start(error: &StartError) -> ExitCode {
    tracing::error!(option = error.flag(), error = with_causes(error), "cannot start");
    ExitCode::FAILURE
}

/// Reports an error and its causes on standard error.
fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    let text = format!("savepoint-gateway: {}\n", with_causes(error));
    // Standard error may be closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        // Libraries often repeat the text of a cause in their own.
        if !text.ends_with(&why) {
            text.push_str(&format!(": {why}"));
        }
        cause = error.source();
    }
    text
}
