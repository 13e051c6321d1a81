//! `cqlift schema`: the DDL of the selected keyspaces or tables on stdout, in replay order, for the cluster itself or for
//! another server.

use super::OutputArgs;
use super::dump::plan;
use crate::cluster::{Cluster, ConnectArgs};
use crate::ddl::servers::Target;
use crate::ddl::target::{Adapted, Choices, adapt};
use crate::ddl::{self, Statement};
use crate::error::{Context, Result};
use crate::manifest::StatementEntry;
use crate::report;
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
    #[arg(long = "for", env = "CQLIFT_FOR", value_name = "SERVER")]
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
    let statements: Vec<Statement> = plan.keyspaces.into_iter().flat_map(|k| k.statements).collect();
    let statements = match &args.server {
        None => statements.into_iter().map(Written::unchanged).collect(),
        Some(server) => {
            let choices = Choices { drop_compact_storage: args.drop_compact_storage };
            written(statements, server, choices)?
        }
    };
    let held = statements.iter().all(|written| written.unsupported.is_empty());
    if let (false, Some(server)) = (held, &args.server) {
        report::warn(&format!("{server} cannot hold all of it: see the comments"));
    }
    if output.json {
        let entries: Vec<Entry> = statements.iter().map(Entry::of).collect();
        return report::json(&entries);
    }
    let texts: Vec<String> = statements.iter().map(|written| written.text(args.server.as_ref())).collect();
    report::result(&(texts.join("\n\n") + "\n"))
}

/// A statement as another server takes it.
struct Written {
    statement: Statement,
    changes: Vec<String>,
    /// What that server cannot hold of it.
    unsupported: Vec<String>,
    /// Whether it can run it at all.
    runs: bool,
}

impl Written {
    fn unchanged(statement: Statement) -> Written {
        Written { statement, changes: Vec::new(), unsupported: Vec::new(), runs: true }
    }

    /// With comments above it for what is otherwise than it was; a statement that cannot be run is a comment itself.
    fn text(&self, server: Option<&Target>) -> String {
        let mut text: String = self.changes.iter().map(|change| ddl::comment(change, server)).collect();
        for lost in &self.unsupported {
            text.push_str(&format!("-- cannot be held: {}\n", lost.replace('\n', " ")));
        }
        let cql = self.statement.cql.trim_end();
        match self.runs {
            true => text + cql,
            false => text + "-- " + &cql.replace('\n', "\n-- "),
        }
    }
}

fn written(statements: Vec<Statement>, server: &Target, choices: Choices) -> Result<Vec<Written>> {
    let mut all: Vec<Written> = Vec::new();
    for statement in statements {
        let gone = all.iter().find(|other| !other.runs && statement.needs(&other.statement));
        let adapted = match gone {
            Some(other) => Adapted::impossible(&format!("it needs {}", other.statement.label())),
            None => adapt(&statement, server, choices)
                .doing(|| format!("write {} for {server}", statement.label()))?,
        };
        let Adapted { statement: adapted, changes, unsupported } = adapted;
        let runs = adapted.is_some();
        all.push(Written { statement: adapted.unwrap_or(statement), changes, unsupported, runs });
    }
    Ok(all)
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
    fn of(written: &Written) -> Entry {
        let statement = super::statement_entry(&written.statement);
        Entry { statement, changes: written.changes.clone(), unsupported: written.unsupported.clone() }
    }
}
