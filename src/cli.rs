//! The command line: the subcommands, and the rule that names the variable of each option.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Command as Clap, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::demo::DemoOptions;
use crate::descriptor_set::DescriptorOptions;
use crate::gateway::ServeOptions;
use crate::healthcheck::HealthcheckOptions;
use crate::options::environment;
use crate::options::problems::variable_of;

/// A gRPC gateway to the savepoint APIs of Huawei Cloud DLI and Alibaba Cloud Realtime Compute
/// for Apache Flink.
#[derive(Debug, Parser)]
#[command(name = "savepoint-gateway", version, max_term_width = 100, subcommand_required = true)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve gRPC and call the configured providers
    ///
    /// At least one provider must be configured, by its region or its endpoint. Credentials come
    /// from the source that --huawei-credentials and --alibaba-credentials select, or by default
    /// from the environment:
    ///
    ///   Huawei Cloud   HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK and, for temporary keys,
    ///                  HUAWEICLOUD_SDK_SECURITY_TOKEN
    ///   Alibaba Cloud  ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and, for
    ///                  temporary keys, ALIBABA_CLOUD_SECURITY_TOKEN
    ///
    /// SIGTERM and SIGINT drain, then exit; a second one exits immediately. SIGHUP reloads
    /// credentials and certificates.
    ///
    /// Exit codes: 0 after a drain, 1 when it could not start or was forced to exit, 2 when the
    /// configuration is invalid.
    #[command(verbatim_doc_comment)]
    Serve(Box<ServeOptions>),
    /// Show both calls on built-in simulators, without a provider account
    ///
    /// Starts the gateway and simulators of both REST APIs on loopback, makes both calls with a
    /// gRPC client, prints each step, and keeps serving until interrupted.
    Demo(Box<DemoOptions>),
    /// Check the health of a running gateway; exit code 0 if it serves, else 1
    ///
    /// For exec probes in images without a shell. Calls grpc.health.v1 at the admin address, or at
    /// the gRPC address if only that one is set.
    Healthcheck(HealthcheckOptions),
    /// Write the contract as one binary file, for tools without access to the gateway
    ///
    /// A google.protobuf.FileDescriptorSet that needs no other files: savepoint.v1,
    /// grpc.health.v1, the details of a status, and all that they import. For example for
    /// `grpcurl -protoset`, `buf generate` or `protoc --descriptor_set_in`.
    Descriptor(DescriptorOptions),
}

impl Cli {
    /// The command line with its variables: `SAVEPOINT_GATEWAY_` and the name of an option of
    /// `serve`, in every subcommand that has the option.
    pub fn command() -> Clap {
        Self::with_variables(|_| true)
    }

    /// The same with these variables only.
    fn with_variables(has: impl Fn(&str) -> bool) -> Clap {
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
                        if has(&variable) { arg.env(variable).hide_env_values(true) } else { arg }
                    }
                    _ => arg,
                })
            })
        })
    }

    /// Parses the arguments of the process; if they are invalid, prints a message and exits.
    pub fn from_args() -> Self {
        // clap would parse the empty text, which counts as unset.
        let is_set = |name: &str| !matches!(environment(name), Ok(None));
        let matches = Self::with_variables(is_set).try_get_matches().unwrap_or_else(|error| {
            // Help shows all variables.
            if error.kind() == ErrorKind::DisplayHelp {
                Self::command().get_matches();
            }
            error.exit()
        });
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Parses these arguments.
    ///
    /// # Errors
    /// If they are invalid.
    pub fn try_from_args<T: Into<OsString> + Clone>(
        args: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        Self::from_arg_matches(&Self::command().try_get_matches_from(args)?)
    }
}
