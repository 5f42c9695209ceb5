//! The command line: the subcommands, and the rule that names the variable of each option.

mod usage;

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Command as Clap, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::check::CheckOptions;
use crate::demo::DemoOptions;
use crate::descriptor_set::DescriptorOptions;
use crate::gateway::{ServeOptions, Usage};
use crate::healthcheck::HealthcheckOptions;
use crate::options::env::names;
use crate::options::problems::{PREFIX, variable_of};
use crate::options::{ConfigError, NotText, environment};
use usage::Mistake;

/// A gRPC gateway to the savepoint APIs of Huawei Cloud DLI and Alibaba Cloud Realtime Compute
/// for Apache Flink.
#[derive(Debug, Parser)]
#[command(name = "savepoint-gateway", version, max_term_width = 80, subcommand_required = true)]
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
    /// At least one provider must be configured: a cloud by its region or its
    /// endpoint, clusters of Apache Flink by --flink-cluster. Credentials of clouds
    /// come from the source that --huawei-credentials and --alibaba-credentials
    /// select, or by default from the environment:
    ///
    ///   Huawei Cloud   HUAWEICLOUD_SDK_AK, HUAWEICLOUD_SDK_SK and, for
    ///                  temporary keys, HUAWEICLOUD_SDK_SECURITY_TOKEN
    ///   Alibaba Cloud  ALIBABA_CLOUD_ACCESS_KEY_ID,
    ///                  ALIBABA_CLOUD_ACCESS_KEY_SECRET and, for temporary keys,
    ///                  ALIBABA_CLOUD_SECURITY_TOKEN
    ///
    /// SIGTERM and SIGINT drain, then exit; a second one exits immediately. SIGHUP
    /// reloads credentials, certificates and the policy.
    ///
    /// Exit codes: 0 after a drain, 1 when it could not start or was forced to exit,
    /// 2 when the configuration is invalid.
    #[command(verbatim_doc_comment)]
    Serve(Box<ServeOptions>),
    /// Show both calls on built-in simulators, without a provider account
    ///
    /// Starts the gateway and simulators of both REST APIs on loopback, makes both calls with a
    /// gRPC client, prints each step, and keeps serving until interrupted.
    Demo(Box<DemoOptions>),
    /// Check that a configuration works, before it is deployed; changes nothing
    ///
    /// Takes the options and variables of serve, and makes every step from the configuration to a
    /// request that each provider accepts. Prints one line for each step; what fails has what to do
    /// about it.
    ///
    /// Exit codes: 0 when no step failed, 1 when one failed, which the last line names, 2 when the
    /// configuration is invalid.
    Check(Box<CheckOptions>),
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

/// The rule of the variables, for the end of a help text.
const VARIABLES: &str = "Each option of serve is also a variable: --max-timeout is \
                         SAVEPOINT_GATEWAY_MAX_TIMEOUT. An option takes precedence, and an empty \
                         variable counts as unset. --help lists all options.";

impl Command {
    /// Where the mistakes of the command line are told with those of the configuration.
    fn usage(&mut self) -> Option<&mut Usage> {
        match self {
            Self::Serve(options) => Some(&mut options.usage),
            Self::Check(options) => Some(&mut options.serve.usage),
            Self::Demo(_) | Self::Healthcheck(_) | Self::Descriptor(_) => None,
        }
    }
}

/// Why there is no command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A request for help or the version, or no subcommand.
    #[error(transparent)]
    Clap(#[from] clap::Error),
    #[error(transparent)]
    Usage(#[from] ConfigError),
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
                let has_variables = longs(&subcommand)
                    .iter()
                    .any(|long| of_serve.contains(long) && !own.contains(&&**long));
                let subcommand =
                    if has_variables { subcommand.after_help(VARIABLES) } else { subcommand };
                subcommand.mut_args(|arg| match arg.get_long() {
                    Some(long) if of_serve.contains(long) && !own.contains(&long) => {
                        let variable = variable_of(long);
                        // They are told once, as one rule.
                        if has(&variable) {
                            arg.env(variable).hide_env_values(true).hide_env(true)
                        } else {
                            arg
                        }
                    }
                    _ => arg,
                })
            })
        })
    }

    /// Parses the arguments of the process.
    ///
    /// # Errors
    /// All mistakes, or a request for help. Mistakes of `serve` are told with what is wrong with its
    /// configuration.
    pub fn from_args() -> Result<Self, CliError> {
        Self::from_args_and_variables(std::env::args_os().collect())
    }

    fn from_args_and_variables(mut args: Vec<OsString>) -> Result<Self, CliError> {
        let all = Self::command();
        let known = usage::variables(&all);
        let mut problems = usage::not_text(&mut args);
        // clap would parse the empty text, which counts as unset.
        let mut set: BTreeSet<String> = BTreeSet::new();
        for name in &known {
            match environment(name) {
                Ok(None) => {}
                Ok(Some(_)) => drop(set.insert(name.clone())),
                Err(NotText) => problems.push(format!("{name}: is not UTF-8 text")),
            }
        }
        let matches = loop {
            let command = Self::with_variables(|name| set.contains(name));
            let error = match command.try_get_matches_from(&args) {
                Ok(matches) => break matches,
                // Help shows all variables.
                Err(error) if error.kind() == ErrorKind::DisplayHelp => {
                    return Err(all.try_get_matches_from(args).err().unwrap_or(error).into());
                }
                Err(error) => error,
            };
            let Some(mistake) = Mistake::of(&error, &known) else { return Err(error.into()) };
            // On without it. What is left gets shorter each time.
            if !mistake.take(&mut args) && !set.remove(&variable_of(mistake.argument())) {
                return Err(error.into());
            }
            problems.push(mistake.text);
        };
        let mut cli = Self::from_arg_matches(&matches)?;
        let warnings = usage::strangers(&names(PREFIX), &known);
        match cli.command.usage() {
            Some(usage) => *usage = Usage { problems, warnings },
            None if problems.is_empty() => {}
            None => return Err(ConfigError::new(problems).into()),
        }
        Ok(cli)
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
