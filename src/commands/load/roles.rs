//! The roles of a load, its last step: which statements bring them back under the target's names, and what became of them.

use super::plan::Request;
use crate::cluster::Cluster;
use crate::cluster::roles::{Outcome, Target};
use crate::commands::plural;
use crate::ddl::{Kind, Statement};
use crate::error::{Error, Result};
use crate::manifest::Manifest;
use crate::report;
use crate::roles::{DEFAULT_SUPERUSER, Grant, Hashes, Resource, Role, Scope, Step};
use crate::selector::is_system_keyspace;
use crate::types::cql::Ident;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a node may take to hear of a role that was made by way of another.
const SETTLING: Duration = Duration::from_secs(1);

/// What a load will do about roles.
pub struct RolePlan {
    steps: Vec<Step>,
    hashes: Hashes,
    /// Roles that the target has already.
    kept: Vec<String>,
    /// What is not brought back, in words.
    left_out: Vec<String>,
}

/// Checks that the dump has roles if they are asked for, and says so if they are not.
///
/// # Errors
/// A usage error if they are asked for in vain.
pub fn check(manifest: &Manifest, wanted: bool, quiet: bool) -> Result<()> {
    match (&manifest.roles, wanted) {
        (None, true) => {
            Err(Error::usage("the dump holds no roles").hint("they are dumped with `cqlift dump --roles`"))
        }
        (Some(roles), false) if !quiet => {
            let count = plural(roles.roles.len() as u64, "role");
            report::note(&format!("the dump holds {count}, which were not asked for; --roles loads them"));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Decides what to do, if roles are asked for: permissions on what is loaded, under the names of the target.
///
/// # Errors
/// `Error` if the target takes no roles.
pub async fn plan(
    cluster: &Cluster,
    manifest: &Manifest,
    (request, gone): (&Request, &[Statement]),
    wanted: bool,
) -> Result<Option<RolePlan>> {
    if !wanted {
        return Ok(None);
    }
    let target = cluster.role_target().await?;
    Ok(manifest.roles.is_some().then(|| decide(manifest, (request, gone), target)))
}

fn decide(manifest: &Manifest, (request, gone): (&Request, &[Statement]), target: Target) -> RolePlan {
    let mut roles = manifest.roles.clone().unwrap_or_default();
    let mut left_out = Vec::new();
    // To make it would open the target to a password that everybody knows.
    if !target.existing.contains(DEFAULT_SUPERUSER) {
        let is_default = |name: &String| name == DEFAULT_SUPERUSER;
        let before = roles.roles.len();
        roles.roles.retain(|role| !is_default(&role.name));
        roles.roles.iter_mut().for_each(|role| role.member_of.retain(|of| !is_default(of)));
        let about = |on: &Resource| matches!(on, Resource::Role { role } if is_default(role));
        roles.grants.retain(|grant| !is_default(&grant.role) && !about(&grant.on));
        if roles.roles.len() < before {
            left_out.push(format!(
                "the role {DEFAULT_SUPERUSER}, the superuser that servers make by themselves: the target has none"
            ));
        }
    }
    let bases = views(manifest);
    let base = |keyspace: &str, name: &str| bases.get(&(keyspace, name)).map(|base| (*base).to_owned());
    let all = request.selection.include.is_empty() && request.list.is_none();
    let of_server = |keyspace: &str| all && is_system_keyspace(keyspace);
    let held = |keyspace: &str| manifest.keyspaces.iter().any(|k| k.name == keyspace);
    let listed = |kinds: [Kind; 2], k: &str, name: &str| {
        request.list.as_ref().is_none_or(|list| kinds.iter().any(|kind| list.names(*kind, k, name)))
    };
    let scope = Scope {
        cluster: all,
        keyspace: &|k| {
            let listed = listed([Kind::Keyspace; 2], k, "");
            of_server(k) || held(k) && request.selection.whole_keyspace(k) && listed
        },
        table: &|k, name| {
            let table = base(k, name).unwrap_or_else(|| name.to_owned());
            let listed = listed([Kind::Table, Kind::View], k, name);
            of_server(k) || held(k) && request.selection.wants_table(k, &table) && listed
        },
        function: &|k, name| {
            let listed = listed([Kind::Function, Kind::Aggregate], k, name);
            of_server(k) || held(k) && request.selection.whole_keyspace(k) && listed
        },
    };
    roles.grants.retain(|grant| grant.on.is_in(&scope));
    for Grant { on, .. } in &mut roles.grants {
        *on = on.renamed(&request.renames, base);
    }
    // What the target cannot hold has been told of.
    roles.grants.retain(|grant| !gone.iter().any(|statement| is_on(&grant.on, statement)));
    let (mut steps, unsaid) = roles.steps();
    steps.retain(|step| !matches!(step, Step::Create(role) if target.existing.contains(&role.name)));
    left_out.extend(unsaid);
    let names = roles.roles.iter().map(|role| role.name.clone());
    let kept = names.filter(|name| target.existing.contains(name)).collect();
    RolePlan { steps, hashes: target.hashes, kept, left_out }
}

/// Whether it is what the statement makes.
fn is_on(resource: &Resource, statement: &Statement) -> bool {
    let (kinds, keyspace, name) = match resource {
        Resource::Table { keyspace, table } => ([Kind::Table, Kind::View], keyspace, table),
        Resource::Function { keyspace, name, .. } => ([Kind::Function, Kind::Aggregate], keyspace, name),
        _ => return false,
    };
    kinds.contains(&statement.kind) && (keyspace, name) == (&statement.keyspace, &statement.name)
}

/// The base tables of the dump's materialized views.
fn views(manifest: &Manifest) -> BTreeMap<(&str, &str), &str> {
    let mut views = BTreeMap::new();
    for keyspace in &manifest.keyspaces {
        for view in keyspace.statements.iter().filter(|s| s.kind == Kind::View.name()) {
            views.extend(
                view.table.as_deref().map(|table| ((keyspace.name.as_str(), view.name.as_str()), table)),
            );
        }
    }
    views
}

impl RolePlan {
    /// The plan for people, and for `--dry-run`: without hashes.
    pub fn text(&self) -> String {
        let kept = self.kept.iter().map(|name| format!("-- exists: role {}\n\n", Ident(name)));
        let steps = self.steps.iter().map(|step| format!("{};\n\n", step.shown(self.hashes)));
        let left_out = self.left_out.iter().map(|what| format!("-- left out: {what}\n\n"));
        std::iter::once("\n".to_owned()).chain(kept).chain(steps).chain(left_out).collect()
    }
}

/// What became of roles.
#[derive(Default, Serialize)]
pub struct Restored {
    created: u64,
    kept: Vec<String>,
    memberships: u64,
    permissions: u64,
    /// Roles that may log in, but have no password.
    without_password: Vec<String>,
    /// Why the target did not take the hash of a password, if it said so.
    #[serde(skip)]
    refused_hash: Option<String>,
    /// What the target has no words for, and what is not brought back by choice.
    left_out: Vec<String>,
    failed: Vec<String>,
}

/// Brings the roles back. What fails does not keep the rest from being tried, and is told at the end.
pub async fn run(cluster: &Cluster, plan: RolePlan) -> Restored {
    let RolePlan { steps, hashes, kept, left_out } = plan;
    let mut restored = Restored { kept, left_out, ..Restored::default() };
    let failed = restored.pass(cluster, steps, hashes).await;
    if failed.is_empty() {
        return restored;
    }
    tokio::time::sleep(SETTLING).await;
    restored.failed.clear();
    restored.pass(cluster, failed, hashes).await;
    restored
}

impl Restored {
    /// Runs the statements one after another; answers those that failed.
    async fn pass(&mut self, cluster: &Cluster, steps: Vec<Step>, hashes: Hashes) -> Vec<Step> {
        let mut failed = Vec::new();
        let mut unmade: BTreeSet<String> = BTreeSet::new();
        for step in steps {
            let lacks = step.needs().into_iter().find(|role| unmade.contains(*role));
            let outcome = match lacks {
                Some(role) => Outcome::Failed(format!("the role {} was not made", Ident(role))),
                None => cluster.bring_back(&step, hashes).await,
            };
            match (&step, outcome) {
                (step, Outcome::Failed(reason)) => {
                    self.failed.push(format!("{}: {reason}", step.shown(hashes)));
                    if let Step::Create(role) = step {
                        unmade.insert(role.name.clone());
                    }
                    failed.push(step.clone());
                }
                (step, Outcome::Unknown(reason)) => {
                    self.left_out
                        .push(format!("{}: the target does not know it ({reason})", step.shown(hashes)));
                }
                (Step::Create(role), Outcome::There) => self.kept.push(role.name.clone()),
                (_, Outcome::There) => {}
                (Step::Create(role), Outcome::Done) => {
                    let has_none = role.password_hash.is_none() || hashes == Hashes::Untaken;
                    self.made(role, has_none);
                }
                (Step::Create(role), Outcome::NoPassword(reason)) => {
                    self.refused_hash = Some(reason);
                    self.made(role, true);
                }
                (Step::Member { .. }, _) => self.memberships += 1,
                (Step::Grant { .. }, _) => self.permissions += 1,
            }
        }
        failed
    }

    fn made(&mut self, role: &Role, without_password: bool) {
        self.created += 1;
        if role.login && without_password {
            self.without_password.push(role.name.clone());
        }
    }

    /// Whether anything is not as it was.
    pub fn is_lacking(&self) -> bool {
        !self.left_out.is_empty() || !self.without_password.is_empty()
    }

    /// Tells of it.
    pub fn tell(&self) {
        report::note(&format!(
            "brought back {}, {} and {}",
            plural(self.created, "role"),
            plural(self.memberships, "membership"),
            plural(self.permissions, "permission")
        ));
        if !self.kept.is_empty() {
            report::note(&format!(
                "exist and are kept as they are, but for what the dump grants them: {}",
                names(&self.kept)
            ));
        }
        if !self.without_password.is_empty() {
            let reason = match &self.refused_hash {
                Some(reason) => format!(" (the target refused its hash: {reason})"),
                None => String::new(),
            };
            report::note(&format!(
                "without a password{reason}, so that they cannot log in until ALTER ROLE … WITH PASSWORD gives them one: {}",
                names(&self.without_password)
            ));
        }
        self.left_out.iter().for_each(|what| report::note(&format!("left out: {what}")));
    }

    /// The failures as one.
    ///
    /// # Errors
    /// `Error` names every statement that failed.
    pub fn result(&self) -> Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        let count = plural(self.failed.len() as u64, "statement");
        Err(Error::failed(format!("{count} about roles failed:\n{}", self.failed.join("\n"))).hint(
            "the data is loaded whole; load again with --roles --schema-only, as a superuser if permissions are what lacks",
        ))
    }
}

fn names(roles: &[String]) -> String {
    let roles: Vec<String> = roles.iter().map(|name| Ident(name).to_string()).collect();
    roles.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::load::IfExists;
    use crate::commands::load::list::List;
    use crate::commands::load::plan::ForArg;
    use crate::ddl::Overrides;
    use crate::ddl::target::Choices;
    use crate::selector::{Mapping, Selection, Selector};
    use serde_json::json;

    fn manifest() -> Manifest {
        let table = |name: &str| {
            json!({"name": name, "path": "data", "columns": [], "exceptions_column": "__wire", "rows": 0, "cells": 0, "bytes": 0,
                   "parts": []})
        };
        let on = |table: &str| json!({"kind": "table", "keyspace": "ks", "table": table});
        let grant = |role: &str, on| json!({"role": role, "on": on, "permissions": ["SELECT"]});
        let role = |name: &str, of: &[&str]| json!({"name": name, "login": true, "superuser": false, "member_of": of, "password_hash": "secret"});
        let view = "CREATE MATERIALIZED VIEW ks.v AS SELECT * FROM ks.t WHERE k IS NOT NULL PRIMARY KEY (k)";
        let view = json!({"section": "post-data", "kind": "materialized_view", "name": "v", "table": "t", "cql": view});
        let value = json!({
            "format": "1.0", "capabilities": [], "tool": "", "id": "", "started": "", "finished": "",
            "cluster": {"name": "", "version": "", "partitioner": "", "datacenters": []},
            "options": {"format": "csv", "preserve": "none", "consistency": "ONE", "selectors": [], "exclude": []},
            "not_preserved": [],
            "keyspaces": [{"name": "ks", "statements": [view], "types": [], "tables": [table("t"), table("u")]}],
            "roles": {
                "roles": [role("app", &["cassandra", "old"]), role("cassandra", &[]), role("old", &[])],
                "grants": [
                    grant("app", on("t")),
                    grant("app", on("u")),
                    grant("app", on("v")),
                    grant("app", json!({"kind": "keyspace", "keyspace": "ks"})),
                    grant("app", json!({"kind": "keyspace", "keyspace": "elsewhere"})),
                    grant("app", json!({"kind": "keyspace", "keyspace": "system"})),
                    grant("app", json!({"kind": "all_keyspaces"})),
                    grant("app", json!({"kind": "role", "role": "cassandra"})),
                    grant("cassandra", on("t")),
                ],
            },
        });
        serde_json::from_value(value).unwrap()
    }

    fn plan(selectors: &[&str], existing: &[&str]) -> RolePlan {
        plan_without(selectors, existing, &[])
    }

    /// What a list asks for; those of a manifest without statements name rows.
    fn listed(list: &str) -> RolePlan {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        std::fs::write(&path, list).unwrap();
        let list = List::read(&path, &manifest()).unwrap();
        plan_of(&[], Some(list), &["app", "cassandra", "old"], &[])
    }

    fn plan_without(selectors: &[&str], existing: &[&str], gone: &[Statement]) -> RolePlan {
        plan_of(selectors, None, existing, gone)
    }

    fn plan_of(selectors: &[&str], list: Option<List>, existing: &[&str], gone: &[Statement]) -> RolePlan {
        let include = selectors.iter().map(|s| Selector::parse(s).unwrap()).collect();
        let mappings = vec![Mapping::parse("ks=ks2").unwrap(), Mapping::parse("ks.t=ks3.t3").unwrap()];
        let request = Request {
            selection: Selection { include, exclude: Vec::new() },
            renames: Mapping::renames(&mappings).unwrap(),
            mappings,
            overrides: Overrides::default(),
            server: ForArg::Nobody,
            choices: Choices::default(),
            skip_unsupported: false,
            list,
            role: None,
            if_exists: IfExists::Fail,
            schema: true,
            data: true,
        };
        let existing = existing.iter().map(|name| (*name).to_owned()).collect();
        decide(&manifest(), (&request, gone), Target { existing, hashes: Hashes::Hashed })
    }

    fn said(plan: &RolePlan) -> Vec<String> {
        plan.steps.iter().map(|step| step.shown(plan.hashes)).collect()
    }

    #[test]
    fn the_default_superuser_is_not_made_where_there_is_none() {
        let plan = plan(&["ks.u"], &["old"]);
        let create = "CREATE ROLE app WITH HASHED PASSWORD = '…' AND LOGIN = true AND SUPERUSER = false";
        assert_eq!(said(&plan), [create, "GRANT old TO app", "GRANT SELECT ON TABLE ks2.u TO app"]);
        assert_eq!(plan.kept, ["old"]);
        assert!(plan.left_out[0].contains("cassandra"), "{:?}", plan.left_out);
        assert!(
            plan.text().contains("-- exists: role old")
                && plan.text().contains("-- left out: the role cassandra")
        );
    }

    #[test]
    fn permissions_follow_what_is_loaded() {
        let all = plan(&[], &["app", "cassandra", "old"]);
        let grants = [
            "TABLE ks3.t3 TO app",
            "TABLE ks2.u TO app",
            "TABLE ks3.v TO app",
            "KEYSPACE ks2 TO app",
            "KEYSPACE system TO app",
            "ALL KEYSPACES TO app",
            "ROLE cassandra TO app",
            "TABLE ks3.t3 TO cassandra",
        ];
        let expected: Vec<String> = grants.iter().map(|grant| format!("GRANT SELECT ON {grant}")).collect();
        let members = ["GRANT cassandra TO app".to_owned(), "GRANT old TO app".to_owned()];
        assert_eq!(said(&all), [&members[..], &expected[..]].concat());
        let one = plan(&["ks.t"], &["app", "cassandra", "old"]);
        let expected: Vec<&String> = [0, 2, 6, 7].iter().map(|at| &expected[*at]).collect();
        assert_eq!(said(&one)[2..].iter().collect::<Vec<_>>(), expected);
        let of_list = said(&listed("data ks.t ; its rows don't matter"));
        assert_eq!(
            of_list[2..],
            [
                "GRANT SELECT ON TABLE ks3.t3 TO app",
                "GRANT SELECT ON ROLE cassandra TO app",
                "GRANT SELECT ON TABLE ks3.t3 TO cassandra"
            ]
        );
        let gone = Statement::parse("CREATE TABLE ks3.t3 (k int PRIMARY KEY)").unwrap();
        let without = plan_without(&[], &["app", "cassandra", "old"], &[gone]);
        assert!(!without.text().contains("TABLE ks3.t3") && without.text().contains("TABLE ks3.v"));
    }
}
