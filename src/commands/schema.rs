//! `cqlift schema`: the DDL of the selected keyspaces or tables on stdout, in replay order, for the cluster itself or for
//! another server.

use super::OutputArgs;
use super::dump::plan;
use crate::cluster::{Cluster, ConnectArgs};
use crate::ddl::fitting::{Fitted, fit};
use crate::ddl::servers::Target;
use crate::ddl::target::Choices;
use crate::ddl::{self, Statement};
use crate::error::{Context, Result};
use crate::manifest::StatementEntry;
use crate::report;
use crate::types::cql::Ident;
use clap::Args;
use serde::Serialize;

/// Print the DDL of keyspaces or tables in replay order
#[derive(Args)]
pub struct SchemaArgs {
    /// What to print: ks or ks.table, globs allowed, quoted as in CQL; all user keyspaces if none is named
    #[arg(value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// Leave these out: ks or ks.table, globs allowed; may repeat
    #[arg(long, value_name = "SELECTOR")]
    pub exclude: Vec<String>,
    /// Server to write it for, as in cassandra-4.1 or scylla-2025.1, with comments for what was changed [default: as the
    /// cluster prints it]
    #[arg(long = "for", value_name = "SERVER")]
    pub server: Option<Target>,
    /// Write tables that were made WITH COMPACT STORAGE without it
    #[arg(long, requires = "server")]
    pub drop_compact_storage: bool,
    /// How to reach the cluster
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Prints.
///
/// # Errors
/// `Error` says what could not be read.
pub async fn run(args: SchemaArgs, output: OutputArgs) -> Result<()> {
    let selection = super::selection(&args.selectors, &args.exclude)?;
    let cluster = Cluster::connect(&args.connect).await?;
    let schema = cluster.schema().await?;
    let plan = plan::plan(&cluster, &schema, &selection).await?;
    for keyspace in &plan.keyspaces {
        for untold in &keyspace.untold {
            let object = format!("{}.{}", Ident(&keyspace.name), Ident(&untold.name));
            report::warn(&format!("the schema of {object} lacks {}, which is not understood", untold.what));
        }
    }
    let statements: Vec<Statement> = plan.keyspaces.into_iter().flat_map(|k| k.statements).collect();
    let statements = match &args.server {
        None => statements.into_iter().map(Fitted::unchanged).collect::<Vec<_>>(),
        Some(server) => {
            let choices = Choices { drop_compact_storage: args.drop_compact_storage };
            fit(statements, server, choices, |_| false).doing(|| format!("write the schema for {server}"))?
        }
    };
    let held = statements.iter().all(|fitted| fitted.unsupported.is_empty());
    if let (false, Some(server)) = (held, &args.server) {
        report::warn(&format!("{server} cannot hold all of it: see the comments"));
    }
    if output.json {
        let entries: Vec<Entry> = statements.iter().map(Entry::of).collect();
        return report::json(&entries);
    }
    let texts: Vec<String> = statements.iter().map(|fitted| text(fitted, args.server.as_ref())).collect();
    report::result(&(texts.join("\n\n") + "\n"))
}

/// The statement with comments above it for what is otherwise than it was; one that cannot be run is a comment itself.
fn text(fitted: &Fitted, server: Option<&Target>) -> String {
    let mut text: String = fitted.changes.iter().map(|change| ddl::comment(change, server)).collect();
    for lost in &fitted.unsupported {
        text.push_str(&format!("-- cannot be held: {}\n", ddl::one_line(lost)));
    }
    let cql = fitted.statement.cql.trim_end();
    match fitted.runs {
        true => text + cql,
        false => text + "-- " + &cql.replace(['\n', '\r'], "\n-- "),
    }
}

/// A statement of the summary.
#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    statement: StatementEntry,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unsupported: Vec<String>,
}

impl Entry {
    fn of(fitted: &Fitted) -> Entry {
        let statement = super::statement_entry(&fitted.statement);
        Entry { statement, changes: fitted.changes.clone(), unsupported: fitted.unsupported.clone() }
    }
}
