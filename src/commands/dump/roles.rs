//! The roles of a dump: all of them with all memberships, and of their permissions those on what is dumped.

use super::DumpArgs;
use super::plan::Plan;
use crate::cluster::Cluster;
use crate::cluster::catalogue::Schema;
use crate::ddl::Kind;
use crate::error::Result;
use crate::manifest::{Manifest, NotPreserved};
use crate::report;
use crate::roles::{Counts, Roles, Scope};
use crate::selector::is_system_keyspace;
use std::collections::BTreeSet;

/// What a dump holds of roles, and what it lacks of them.
pub struct DumpedRoles {
    roles: Roles,
    not_preserved: Vec<NotPreserved>,
}

impl DumpedRoles {
    /// What they are in numbers.
    pub fn counts(&self) -> Counts {
        self.roles.counts()
    }

    /// Adds them to the manifest.
    pub fn put_into(self, manifest: &mut Manifest) {
        manifest.roles = Some(self.roles);
        manifest.not_preserved.extend(self.not_preserved);
    }
}

/// Reads the roles, if they are asked for.
///
/// # Errors
/// `Error` names the permissions that are missing.
pub async fn read(
    cluster: &Cluster,
    schema: &Schema,
    plan: &Plan,
    args: &DumpArgs,
) -> Result<Option<DumpedRoles>> {
    if !args.roles {
        return Ok(None);
    }
    let (mut roles, not_preserved) = cluster.roles(schema, args.connect.username.as_deref()).await?;
    if !cluster.has_logins().await? {
        report::warn(
            "the server asks for no login: the roles are those that its tables hold, and mean nothing there",
        );
    }
    let cluster = args.selectors.is_empty();
    let selection = crate::commands::selection(&args.selectors, &args.exclude)?;
    let statements = plan.keyspaces.iter().flat_map(|keyspace| &keyspace.statements);
    let tables = statements.filter(|s| matches!(s.kind, Kind::Table | Kind::View));
    let tables: BTreeSet<(&str, &str)> = tables.map(|s| (s.keyspace.as_str(), s.name.as_str())).collect();
    // What belongs to the server has permissions too, though it is not dumped: the target has the same.
    let of_server = |keyspace: &str| cluster && is_system_keyspace(keyspace);
    let scope = Scope {
        cluster,
        keyspace: &|keyspace| of_server(keyspace) || selection.whole_keyspace(keyspace),
        table: &|keyspace, table| of_server(keyspace) || tables.contains(&(keyspace, table)),
        function: &|keyspace, _| of_server(keyspace) || selection.whole_keyspace(keyspace),
    };
    roles.grants.retain(|grant| grant.on.is_in(&scope));
    Ok(Some(DumpedRoles { roles, not_preserved }))
}
