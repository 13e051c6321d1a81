//! `cqlift schema`: the DDL of the selected keyspaces or tables on stdout, in replay order.

use super::OutputArgs;
use super::dump::plan;
use crate::cluster::{Cluster, ConnectArgs};
use crate::error::Result;
use crate::report;
use clap::Args;

/// Print the DDL of keyspaces or tables in replay order
#[derive(Args)]
pub struct SchemaArgs {
    /// What to print: ks or ks.table, globs allowed, quoted as in CQL; all user keyspaces if none is named
    #[arg(value_name = "SELECTOR")]
    pub selectors: Vec<String>,
    /// Leave these out: ks or ks.table, globs allowed; may repeat
    #[arg(long, value_name = "SELECTOR")]
    pub exclude: Vec<String>,
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
    let statements: Vec<_> = plan.keyspaces.iter().flat_map(|k| &k.statements).collect();
    if output.json {
        let entries: Vec<_> = statements.iter().map(|s| super::statement_entry(s)).collect();
        return report::json(&entries);
    }
    let texts: Vec<&str> = statements.iter().map(|s| s.cql.trim_end()).collect();
    report::result(&(texts.join("\n\n") + "\n"))
}
