//! The command line: the subcommands, and the one rule for the variables of their options.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::{Command as Clap, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::demo::DemoOptions;
use crate::gateway::ServeOptions;
use crate::healthcheck::HealthcheckOptions;
use crate::options::problems::variable_of;

/// A gRPC gateway to the savepoint APIs of Huawei Cloud DLI and Alibaba Cloud Realtime Compute
/// for Apache Flink.
#[derive(Debug, Parser)]
#[command(name = "savepoint-gateway", version, max_term_width = 100, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve gRPC and call the configured providers
    ///
    /// At least one provider must be configured, by its region or its endpoint. Credentials come
    /// from the source that --huawei-credentials and --alibaba-credentials name, or else from
    /// the environment:
    ///
    ///   Huawei Cloud   HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK and, for temporary keys,
    ///                  HUAWEICLOUD_SDK_SECURITY_TOKEN
    ///   Alibaba Cloud  ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and, for
    ///                  temporary keys, ALIBABA_CLOUD_SECURITY_TOKEN
    ///
    /// SIGTERM and SIGINT drain and end the process; a second one ends it at once. SIGHUP reads
    /// credentials and certificates again.
    ///
    /// Exit codes: 0 after a drain, 1 when it could not start or was ended at once, 2 when the
    /// configuration is wrong.
    #[command(verbatim_doc_comment)]
    Serve(Box<ServeOptions>),
    /// Show both calls on built-in simulators, without any cloud account
    ///
    /// Starts simulators of both REST APIs and the gateway on loopback, makes both calls with
    /// a gRPC client, prints what happened, and keeps serving until it is interrupted.
    Demo(Box<DemoOptions>),
    /// Check the health of a running gateway; exit code 0 when it serves, 1 when not
    ///
    /// For exec probes in images without a shell. It calls grpc.health.v1 at the admin address,
    /// or at the gRPC address when only that one is set.
    Healthcheck(HealthcheckOptions),
}

impl Cli {
    /// The command line with its variables: every option of `serve` can also be set by
    /// `SAVEPOINT_GATEWAY_` and its name, in every subcommand that has it.
    pub fn command() -> Clap {
        let plain = <Self as CommandFactory>::command();
        let longs = |command: &Clap| -> BTreeSet<String> {
            command.get_arguments().filter_map(|arg| arg.get_long()).map(str::to_owned).collect()
        };
        let names: Vec<_> =
            plain.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        let of_serve = plain.find_subcommand("serve").map(longs).unwrap_or_default();
        let own = ["help", "version"];
        names.into_iter().fold(plain, |command, name| {
            command.mut_subcommand(name, |subcommand| {
                subcommand.mut_args(|arg| match arg.get_long() {
                    Some(long) if of_serve.contains(long) && !own.contains(&long) => {
                        let variable = variable_of(long);
                        arg.env(variable).hide_env_values(true)
                    }
                    _ => arg,
                })
            })
        })
    }

    /// Reads a command line; a wrong one ends the process with a message.
    pub fn from_args() -> Self {
        let matches = Self::command().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Reads these arguments.
    ///
    /// # Errors
    /// When they are not a command line of the gateway.
    pub fn try_from_args<T: Into<OsString> + Clone>(
        args: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        Self::from_arg_matches(&Self::command().try_get_matches_from(args)?)
    }
}
