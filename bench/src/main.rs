//! `limits`: what one server can give and take, with no work of our own beside it. What it takes to fetch a table and to
//! write it is the floor for any dump and load on that machine.
//!
//! It shares no code with cqlift, which is measured against it. `scripts/bench` drives both. Every subcommand prints one
//! line of JSON; `seconds` is the wall time of the work alone, without connecting and preparing.
//!
//! | file | answers |
//! |---|---|
//! | `server` | a session, the columns of a table, and when the server has nothing left to do |
//! | `row` | a row as the wire has it |
//! | `data` | the tables of the benchmark and their pseudo-random rows |
//! | `make` | fills a table |
//! | `drain` | fetches a table and throws it away |
//! | `push` | writes a table that is in memory |

mod data;
mod drain;
mod make;
mod push;
mod row;
mod server;

use clap::{Parser, Subcommand};
use scylla::client::session::Session;
use serde_json::{Value, json};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// Whatever went wrong ends the run, with its words on standard error.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Fills tables of a server, drains them and pushes them: the floor for a dump and a load.
#[derive(Parser)]
#[command(name = "limits", disable_help_flag = true)]
struct Arguments {
    /// Print help.
    #[arg(long, action = clap::ArgAction::Help, global = true)]
    help: Option<bool>,
    /// Address of the server.
    #[arg(short = 'h', long, global = true, default_value = "127.0.0.1")]
    host: String,
    /// Port of the native protocol. Another one than 9042 is taken for a mapped one: then nothing but it is connected to.
    #[arg(short = 'P', long, global = true, default_value_t = server::PORT)]
    port: u16,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a table anew, with its keyspace if need be, and fill it.
    Make(make::Make),
    /// Fetch a table by token ranges and throw it away.
    Drain(drain::Drain),
    /// Read a table into memory and write it to another; only the writing is timed.
    Push(push::Push),
    /// Write what a table has in memory to its files, and wait until the server has nothing left to do.
    Flush {
        /// The table, as keyspace.table.
        table: String,
    },
    /// Run statements, then wait until the server has nothing left to do.
    Cql {
        /// The statements.
        statements: Vec<String>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let told = match run(&arguments).await {
        Ok(summary) => writeln!(std::io::stdout(), "{summary}"),
        Err(error) => {
            writeln!(std::io::stderr(), "error: {error}").and(Err(std::io::ErrorKind::Other.into()))
        }
    };
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(arguments: &Arguments) -> Result<Value> {
    let session = server::connect(&arguments.host, arguments.port).await?;
    match &arguments.command {
        Command::Make(make) => make.run(&session).await,
        Command::Drain(drain) => drain.run(&session).await,
        Command::Push(push) => push.run(&session).await,
        Command::Flush { table } => flush(&session, table).await,
        Command::Cql { statements } => cql(&session, statements).await,
    }
}

async fn flush(session: &Session, table: &str) -> Result<Value> {
    server::flush(session, table).await?;
    server::calm(session).await?;
    Ok(json!({ "flushed": table }))
}

async fn cql(session: &Session, statements: &[String]) -> Result<Value> {
    for statement in statements {
        session.query_unpaged(statement.as_str(), ()).await?;
    }
    server::calm(session).await?;
    Ok(json!({ "statements": statements.len() }))
}
