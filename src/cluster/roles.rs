//! Roles of a cluster: reading them from the tables in which servers keep them, and running the statements that bring
//! them back. Which of them a dump or load is about, and what is told of them, is left to `commands`.

use super::Cluster;
use super::catalogue::Schema;
use super::retry::{self, Unprepared, verdict};
use crate::error::{Context, Error, Result};
use crate::manifest::NotPreserved;
use crate::roles::{Grant, Hash, Hashes, Resource, Role, Roles, Step, permission};
use crate::types::cql::Ident;
use scylla::deserialize::row::{ColumnIterator, DeserializeRow};
use scylla::errors::{
    DbError, ExecutionError, NextPageError, PagerExecutionError, PrepareError, RequestAttemptError,
    RequestError,
};
use scylla::response::query_result::QueryResult;
use scylla::statement::Statement;
use std::collections::{BTreeMap, BTreeSet};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

/// What servers keep of roles that no statement of CQL brings back, or none that is built here: table, column, what it
/// is, why it is not dumped.
const BESIDE: [(&str, &str, &str, &str); 3] = [
    ("identity_to_role", "identity", "identities of certificates", "make them again with ADD IDENTITY"),
    ("cidr_groups", "cidr_group", "definitions of CIDR groups", "they are made by nodetool, not by CQL"),
    ("role_attributes", "name", "attributes of roles", "attach service levels again"),
];

/// Role, whether it may log in, whether it is a superuser, what it is a member of, the hash of its password.
type RoleRow = (String, Option<bool>, Option<bool>, Option<Vec<String>>, Option<String>);
/// Role, resource, permissions.
type PermissionRow = (String, String, Option<Vec<String>>);
/// Role and the names that it is limited to.
type LimitRow = (String, Option<Vec<String>>);

/// How a statement ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran.
    Done,
    /// What it makes was there.
    There,
    /// The role was made, but without its password, for this reason of the server.
    NoPassword(String),
    /// The server does not know what the statement is about.
    Unknown(String),
    /// The server refused it, or could not be asked.
    Failed(String),
}

/// What a target has and takes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The roles that it shows.
    pub existing: BTreeSet<String>,
    /// How it takes hashes of passwords.
    pub hashes: Hashes,
}

impl Cluster {
    /// Reads all roles and permissions, and what is kept of them that a dump cannot hold. `schema` says which tables
    /// there are, `user` as whom they are read.
    ///
    /// # Errors
    /// `Error` names the permissions that are missing.
    pub async fn roles(&self, schema: &Schema, user: Option<&str>) -> Result<(Roles, Vec<NotPreserved>)> {
        let home = Home::of(schema);
        let mut missing = Vec::new();
        let read = async {
            let mut roles = self.read_roles(&home, user, &mut missing).await?;
            self.read_limits(&home, &mut roles, &mut missing).await?;
            let query = format!("SELECT role, resource, permissions FROM {}", home.table("role_permissions"));
            let mut rows = self.rows::<PermissionRow>(&query).await?;
            rows.sort();
            let grants = rows.into_iter().filter_map(|(role, resource, permissions)| {
                grant(role, &resource, permissions.unwrap_or_default(), &mut missing)
            });
            Ok(Roles { grants: grants.collect(), roles: roles.into_values().collect() })
        };
        let roles = read.await.map_err(|unread: Unread| unread.told(&home, user))?;
        missing.extend(self.beside(&home).await?);
        Ok((roles, missing))
    }

    /// The roles by name, without what they are limited to.
    async fn read_roles(
        &self,
        home: &Home<'_>,
        user: Option<&str>,
        missing: &mut Vec<NotPreserved>,
    ) -> Result<BTreeMap<String, Role>, Unread> {
        let columns = "SELECT role, can_login, is_superuser, member_of";
        let table = home.table("roles");
        let read = self.rows::<RoleRow>(&format!("{columns}, salted_hash FROM {table}")).await;
        let hashes = !matches!(read, Err(Unread::Refused));
        let rows = match read {
            // The same shape without hashes.
            Err(Unread::Refused) => self.rows::<RoleRow>(&format!("{columns}, role FROM {table}")).await,
            read => read,
        };
        let role = |(name, login, superuser, member_of, hash): RoleRow| Role {
            name,
            login: login.unwrap_or(false),
            superuser: superuser.unwrap_or(false),
            member_of: member_of.unwrap_or_default(),
            password_hash: hash.filter(|hash| hashes && !hash.is_empty()).map(Hash::new),
            ..Role::default()
        };
        let roles: Vec<Role> = rows?.into_iter().map(role).collect();
        if !hashes {
            missing.extend(no_hashes(&roles, user));
        }
        Ok(roles.into_iter().map(|role| (role.name.clone(), role)).collect())
    }

    /// Adds the datacenters and CIDR groups that roles are limited to.
    async fn read_limits(
        &self,
        home: &Home<'_>,
        roles: &mut BTreeMap<String, Role>,
        missing: &mut Vec<NotPreserved>,
    ) -> Result<(), Unread> {
        const NETWORK: &str = "network_permissions";
        let tables = [(NETWORK, "dcs"), ("cidr_permissions", "cidr_groups")];
        for (table, column) in tables.into_iter().filter(|(table, _)| home.has(table)) {
            let query = format!("SELECT role, {column} FROM {}", home.table(table));
            for (role, names) in self.rows::<LimitRow>(&query).await? {
                // The first table calls a role by its resource (5.0.6), the second one by its name.
                let name = match table {
                    NETWORK => role.strip_prefix("roles/").unwrap_or(&role),
                    _ => role.as_str(),
                };
                // Empty is no limit, and what a role that was dropped leaves behind.
                match (roles.get_mut(name), names.filter(|names| !names.is_empty())) {
                    (_, None) => {}
                    (Some(role), Some(names)) if table == NETWORK => role.datacenters = names,
                    (Some(role), Some(names)) => role.cidr_groups = names,
                    (None, Some(names)) => missing.push(NotPreserved {
                        object: format!("role {}", Ident(name)),
                        what: format!("its limits in {table}: {}", names.join(", ")),
                        count: None,
                        reason: "there is no such role".to_owned(),
                    }),
                }
            }
        }
        Ok(())
    }

    /// What is kept beside roles, as far as there is any or it cannot be told.
    async fn beside(&self, home: &Home<'_>) -> Result<Vec<NotPreserved>> {
        let mut missing = Vec::new();
        for (table, column, what, reason) in BESIDE {
            if !home.has(table) {
                continue;
            }
            let query = format!("SELECT {column} FROM {}", home.table(table));
            let (count, reason) = match self.rows::<(Option<String>,)>(&query).await {
                Ok(rows) => (Some(rows.len() as u64), reason.to_owned()),
                Err(Unread::Refused) => {
                    (None, format!("the role may not read {}, in which they would be", home.table(table)))
                }
                Err(Unread::Failed(error)) => return Err(error),
            };
            if count != Some(0) {
                missing.push(NotPreserved {
                    object: "roles".to_owned(),
                    what: what.to_owned(),
                    count,
                    reason,
                });
            }
        }
        Ok(missing)
    }

    /// Whether the server asks for logins; one that does not knows no roles, whatever its tables hold.
    ///
    /// # Errors
    /// `Error` if it cannot be asked.
    pub async fn has_logins(&self) -> Result<bool> {
        match self.run("LIST ROLES").await {
            // Whoever is logged in is shown at least his own.
            Err(error) if db_error(&error).is_some_and(|(kind, _)| *kind == DbError::Unauthorized) => {
                Ok(false)
            }
            answer => answer.doing(|| "ask for the roles").map(|_| true),
        }
    }

    /// What the target of a load has and takes.
    ///
    /// # Errors
    /// `Error` if it knows no roles or cannot be asked.
    pub async fn role_target(&self) -> Result<Target> {
        if !self.has_logins().await? {
            return Err(Error::failed(
                "the server asks for no login, so it takes no roles; nothing was written",
            )
            .hint("leave --roles away, or set its authenticator to PasswordAuthenticator"));
        }
        let mut hashes = Hashes::Untaken;
        for taken in [Hashes::Hashed, Hashes::Salted] {
            if hashes == Hashes::Untaken && self.takes(taken).await? {
                hashes = taken;
            }
        }
        let existing = self.listed("LIST ROLES").await?.into_iter().collect();
        Ok(Target { existing, hashes })
    }

    /// Whether the server can parse such a statement, which is prepared and never run.
    async fn takes(&self, hashes: Hashes) -> Result<bool> {
        let words = hashes.words().unwrap_or_default();
        match self.prepare(&format!("CREATE ROLE cqlift WITH {words} = ''")).await {
            Err(Unprepared::Refused(PrepareError::AllAttemptsFailed {
                first_attempt: RequestAttemptError::DbError(DbError::SyntaxError, _),
            })) => Ok(false),
            Err(Unprepared::Refused(PrepareError::AllAttemptsFailed {
                first_attempt: RequestAttemptError::DbError(..),
            }))
            | Ok(_) => Ok(true),
            Err(error) => Err(error).doing(|| "ask how hashes of passwords are taken"),
        }
    }

    /// Runs a statement that brings roles back. Nothing of it is logged.
    pub async fn bring_back(&self, step: &Step, hashes: Hashes) -> Outcome {
        let error = match self.run(&step.cql(hashes)).await {
            Ok(_) => return Outcome::Done,
            Err(error) => error,
        };
        let kind = db_error(&error).map(|(kind, _)| kind.clone());
        let message = db_error(&error).map_or(error.to_string(), |(_, message)| message.to_owned());
        match (step, kind) {
            (Step::Create(role), Some(DbError::Invalid)) => {
                if message.contains("already exists") {
                    return Outcome::There;
                }
                let (Some(hash), true) = (&role.password_hash, hashes != Hashes::Untaken) else {
                    return Outcome::Failed(message);
                };
                // Servers of another kind take other hashes.
                let message = hash.hide_in(&message);
                match self.run(&step.cql(Hashes::Untaken)).await {
                    Ok(_) => Outcome::NoPassword(message),
                    Err(_) => Outcome::Failed(message),
                }
            }
            (Step::Create(Role { password_hash: Some(hash), .. }), _) => {
                Outcome::Failed(hash.hide_in(&message))
            }
            (Step::Member { role, of }, Some(DbError::Invalid)) if self.is_member(role, of).await => {
                Outcome::There
            }
            // A function that is missing is an error of syntax too (5.0.6).
            (Step::Grant { on, .. }, Some(DbError::SyntaxError)) if !on.starts_with("FUNCTION ") => {
                Outcome::Unknown(message)
            }
            _ => Outcome::Failed(message),
        }
    }

    /// Whether the role is a member of another, itself or by way of others; not if the server does not tell.
    async fn is_member(&self, role: &str, of: &str) -> bool {
        let listed = self.listed(&format!("LIST ROLES OF {}", Ident(role))).await;
        listed.is_ok_and(|roles| roles.iter().any(|role| role == of))
    }

    /// The names in what LIST ROLES answers.
    async fn listed(&self, query: &str) -> Result<Vec<String>> {
        let answer = self.run(query).await.doing(|| query.to_owned())?;
        let rows = answer.into_rows_result().doing(|| query.to_owned())?;
        let mut names = Vec::new();
        for row in rows.rows::<ColumnIterator>().doing(|| query.to_owned())? {
            for column in row.doing(|| query.to_owned())? {
                let column = column.doing(|| query.to_owned())?;
                if let ("role", Some(name)) = (column.spec.name(), column.slice) {
                    names.extend(String::from_utf8(name.as_slice().to_vec()));
                }
            }
        }
        Ok(names)
    }

    /// Runs a statement unlogged, again if the cluster was busy: each makes what may be there already.
    async fn run(&self, cql: &str) -> Result<QueryResult, ExecutionError> {
        let run = || self.session.query_unpaged(cql, ()).with_subscriber(NoSubscriber::new());
        self.persist(run, verdict).await
    }

    /// Reads a table of roles; they are data like any other, so replicas may differ.
    async fn rows<T>(&self, query: &str) -> Result<Vec<T>, Unread>
    where
        T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + 'static,
    {
        let mut statement = Statement::new(query);
        statement.set_execution_profile_handle(Some(self.data.clone()));
        match self.read_with(statement, ()).await {
            Err(error) if is_refused(&error) => Err(Unread::Refused),
            rows => rows.doing(|| query.to_owned()).map_err(Unread::Failed),
        }
    }
}

/// Why a table was not read.
enum Unread {
    /// For want of a permission.
    Refused,
    /// For any other reason.
    Failed(Error),
}

impl Unread {
    fn told(self, home: &Home<'_>, user: Option<&str>) -> Error {
        let Unread::Failed(error) = self else {
            let user = user.unwrap_or("anonymous");
            let tables = ["roles", "role_permissions", "network_permissions", "cidr_permissions"];
            let grants = tables.iter().filter(|table| home.has(table));
            let grants: Vec<String> = grants
                .map(|table| format!("GRANT SELECT ON TABLE {} TO {}", home.table(table), Ident(user)))
                .collect();
            return Error::failed(format!(
                "the role {user} may not read the cluster's roles; nothing was written"
            ))
            .hint(format!("dump as a superuser, or let it read them: {}", grants.join("; ")));
        };
        error
    }
}

/// Where a server keeps roles.
struct Home<'a> {
    schema: &'a Schema,
    keyspace: &'static str,
}

impl Home<'_> {
    /// ScyllaDB keeps them in `system` since 6.0; what may be left in `system_auth` there is old.
    fn of(schema: &Schema) -> Home<'_> {
        let keyspace = if schema.table("system", "roles").is_some() { "system" } else { "system_auth" };
        Home { schema, keyspace }
    }

    fn has(&self, table: &str) -> bool {
        self.schema.table(self.keyspace, table).is_some()
    }

    fn table(&self, table: &str) -> String {
        format!("{}.{table}", self.keyspace)
    }
}

/// A row of permissions; what is not known of it is named.
fn grant(
    role: String,
    resource: &str,
    permissions: Vec<String>,
    missing: &mut Vec<NotPreserved>,
) -> Option<Grant> {
    let mut lacks = |what: String, reason: &str| {
        let object = format!("role {}", Ident(&role));
        missing.push(NotPreserved { object, what, count: None, reason: reason.to_owned() });
    };
    let Some(on) = Resource::of_server(resource) else {
        let names = permissions.join(", ");
        lacks(format!("{names} on {resource:?}"), "cqlift does not know what this is");
        return None;
    };
    let (known, unknown): (Vec<String>, Vec<String>) =
        permissions.into_iter().partition(|name| permission(name).is_some());
    for name in unknown {
        lacks(format!("{name} on {resource:?}"), "cqlift does not know this permission");
    }
    (!known.is_empty()).then_some(Grant { role, on, permissions: known })
}

/// The roles that lose their password because the server shows no hashes.
fn no_hashes(roles: &[Role], user: Option<&str>) -> Option<NotPreserved> {
    let names: Vec<String> = roles.iter().filter(|r| r.login).map(|r| Ident(&r.name).to_string()).collect();
    (!names.is_empty()).then(|| NotPreserved {
        object: "roles".to_owned(),
        what: "hashes of passwords".to_owned(),
        count: Some(names.len() as u64),
        reason: format!(
            "the server does not show them to the role {}; once loaded, these cannot log in until they are given a password: \
             {}",
            user.unwrap_or("anonymous"),
            names.join(", ")
        ),
    })
}

/// What the server said, if it is the server that refused.
fn db_error(error: &ExecutionError) -> Option<(&DbError, &str)> {
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(kind, message)) => {
            Some((kind, message))
        }
        _ => None,
    }
}

fn is_refused(error: &retry::Unread) -> bool {
    matches!(
        error,
        retry::Unread::First(PagerExecutionError::NextPageError(NextPageError::RequestFailure(
            RequestError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, _))
        )))
    )
}
