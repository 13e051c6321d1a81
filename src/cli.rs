//! The command line: the list of subcommands and their dispatch. Each command's flags stand with it in `commands`.

use crate::commands::{OutputArgs, dump, export, import, inspect, load, schema, verify};
use crate::error::Result;
use clap::parser::ValueSource;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;

/// Logical dump and load for Apache Cassandra and ScyllaDB
#[derive(Parser)]
#[command(name = "cqlift", version, disable_help_flag = true, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    output: OutputArgs,
    /// Print help
    // Without a short form: -h is --host, as in cqlsh, psql and pg_dump.
    #[arg(long, global = true, action = ArgAction::Help, help_heading = "Output")]
    help: Option<bool>,
    /// Log what the tool and the driver do; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub verbose: u8,
}

#[derive(Subcommand)]
enum Command {
    Dump(dump::DumpArgs),
    Load(Box<load::LoadArgs>),
    Schema(schema::SchemaArgs),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Inspect(inspect::InspectArgs),
    Verify(Box<verify::VerifyArgs>),
}

impl Cli {
    /// Reads the command line; ends the process with help, a version or a usage error where clap does.
    pub fn read() -> Cli {
        Cli::read_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// Reads a command line.
    ///
    /// # Errors
    /// What clap says of one that cannot be meant.
    pub fn read_from(
        line: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Cli, clap::Error> {
        let matches = Cli::command().try_get_matches_from(line)?;
        let mut cli = Cli::from_arg_matches(&matches)?;
        if let (Command::Verify(args), Some((_, given))) = (&mut cli.command, matches.subcommand()) {
            args.asks_cluster = given.value_source("host") == Some(ValueSource::CommandLine);
        }
        Ok(cli)
    }

    /// Runs the chosen command.
    ///
    /// # Errors
    /// The command's error.
    pub async fn run(self) -> Result<()> {
        match self.command {
            Command::Dump(args) => dump::run(args, self.output).await,
            Command::Load(args) => load::run(*args, self.output).await,
            Command::Schema(args) => schema::run(args, self.output).await,
            Command::Import(args) => import::run(args, self.output).await,
            Command::Export(args) => export::run(args, self.output).await,
            Command::Inspect(args) => inspect::run(&args, self.output),
            Command::Verify(args) => verify::run(*args, self.output).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_h_is_the_host() {
        Cli::command().debug_assert();
        assert!(Cli::read_from(["cqlift", "schema", "-h", "db1", "-P", "9142"]).is_ok());
        assert!(Cli::read_from(["cqlift", "dump", "ks"]).is_err(), "dump needs -o");
    }

    #[test]
    fn verify_asks_a_cluster_that_the_command_line_names() {
        for (line, expected) in [(&["verify", "dir"][..], false), (&["verify", "dir", "-h", "db1"], true)] {
            let line = ["cqlift"].iter().chain(line);
            let Command::Verify(args) = Cli::read_from(line).unwrap().command else { panic!() };
            assert_eq!(args.asks_cluster, expected);
        }
    }
}
