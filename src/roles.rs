//! Roles, what they are members of and what they may do: how a manifest states them, how servers name what permissions
//! are on, and the statements that bring all of it back. Pure; reading and running them is left to `cluster`.
//!
//! A manifest is not trusted: every statement is built here from names, each quoted, and from words that are known.

use crate::ddl::Renames;
use crate::types::class;
use crate::types::cql::{CqlType, Ident, Udt};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

/// The superuser that servers make by themselves, with a password that everybody knows.
pub const DEFAULT_SUPERUSER: &str = "cassandra";

/// Roles of a cluster and what they may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roles {
    /// The roles, by name.
    pub roles: Vec<Role>,
    /// What they may do, by role.
    pub grants: Vec<Grant>,
}

/// A role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// True name, unquoted.
    pub name: String,
    /// Whether it may log in.
    pub login: bool,
    /// Whether it may do everything.
    pub superuser: bool,
    /// The roles that it was granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub member_of: Vec<String>,
    /// The hash of its password, as far as the server has and shows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_hash: Option<Hash>,
    /// The only datacenters that it may log in to; none is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datacenters: Vec<String>,
    /// The only CIDR groups that it may log in from; none is all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cidr_groups: Vec<String>,
}

/// The hash of a password, which shows itself to none but a file and a server.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(String);

impl Hash {
    /// What stands for a hash wherever people look.
    const SHOWN: &str = "…";

    /// A hash as a server keeps it.
    pub fn new(text: String) -> Hash {
        Hash(text)
    }

    /// What stands for it.
    pub fn hidden() -> Hash {
        Hash(Hash::SHOWN.to_owned())
    }

    /// A message without it.
    pub fn hide_in(&self, message: &str) -> String {
        if self.0.is_empty() { message.to_owned() } else { message.replace(&self.0, Hash::SHOWN) }
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Hash::SHOWN)
    }
}

/// What a role may do with one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The role's true name.
    pub role: String,
    /// What it is about.
    pub on: Resource,
    /// Which permissions it has there: words of CQL.
    pub permissions: Vec<String>,
}

/// The permissions that servers know: Cassandra 3.11 to 5.0, and ScyllaDB as documented.
const PERMISSIONS: &[&str] = &[
    "CREATE",
    "ALTER",
    "DROP",
    "SELECT",
    "MODIFY",
    "AUTHORIZE",
    "DESCRIBE",
    "EXECUTE",
    "UNMASK",
    "SELECT_MASKED",
];

/// The permission of this name.
pub fn permission(name: &str) -> Option<&'static str> {
    PERMISSIONS.iter().find(|known| **known == name).copied()
}

/// What permissions are on. All names are true names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Resource {
    /// All keyspaces and all that is in them.
    AllKeyspaces,
    /// A keyspace and all tables in it.
    Keyspace {
        /// Its name.
        keyspace: String,
    },
    /// The tables of a keyspace, without the keyspace itself (Cassandra 4.1 and later).
    AllTables {
        /// The keyspace.
        keyspace: String,
    },
    /// A table or materialized view.
    Table {
        /// Its keyspace.
        keyspace: String,
        /// Its name.
        table: String,
    },
    /// All functions and aggregates.
    AllFunctions,
    /// The functions and aggregates of a keyspace.
    KeyspaceFunctions {
        /// The keyspace.
        keyspace: String,
    },
    /// A function or aggregate.
    Function {
        /// Its keyspace.
        keyspace: String,
        /// Its name.
        name: String,
        /// The CQL types of its arguments.
        arguments: Vec<String>,
    },
    /// All roles.
    AllRoles,
    /// A role.
    Role {
        /// Its name.
        role: String,
    },
    /// All MBeans of the server.
    AllMbeans,
    /// An MBean, or those of a pattern.
    Mbean {
        /// Its object name.
        name: String,
    },
    /// Something that a later version of the tool wrote.
    #[serde(other)]
    Unknown,
}

/// Which resources a run is about.
pub struct Scope<'a> {
    /// Whether it is about the whole cluster, and so about what belongs neither to a keyspace nor to roles.
    pub cluster: bool,
    /// Whether it is about the whole of a keyspace.
    pub keyspace: &'a dyn Fn(&str) -> bool,
    /// Whether it is about a table or view.
    pub table: &'a dyn Fn(&str, &str) -> bool,
    /// Whether it is about a function or aggregate.
    pub function: &'a dyn Fn(&str, &str) -> bool,
}

impl Resource {
    /// Reads the name under which servers keep it; `None` if it is of no known kind.
    pub fn of_server(name: &str) -> Option<Resource> {
        let (kind, path) = name.split_once('/').map_or((name, None), |(kind, path)| (kind, Some(path)));
        let keyspace = |keyspace: &str| keyspace.to_owned();
        Some(match (kind, path) {
            ("data", None) => Resource::AllKeyspaces,
            ("data", Some(path)) => match path.split_once('/') {
                None => Resource::Keyspace { keyspace: keyspace(path) },
                Some((ks, "*")) => Resource::AllTables { keyspace: keyspace(ks) },
                Some((ks, table)) => Resource::Table { keyspace: keyspace(ks), table: table.to_owned() },
            },
            ("functions", None) => Resource::AllFunctions,
            ("functions", Some(path)) => match path.split_once('/') {
                None => Resource::KeyspaceFunctions { keyspace: keyspace(path) },
                Some((ks, function)) => {
                    let (name, arguments) = function.strip_suffix(']')?.split_once('[')?;
                    let classes = arguments.split('^').filter(|class| !class.is_empty());
                    let arguments = classes.map(|c| Some(class::parse(c).ok()?.to_string()));
                    Resource::Function {
                        keyspace: keyspace(ks),
                        name: name.to_owned(),
                        arguments: arguments.collect::<Option<_>>()?,
                    }
                }
            },
            ("roles", None) => Resource::AllRoles,
            ("roles", Some(role)) => Resource::Role { role: role.to_owned() },
            ("mbean", None) => Resource::AllMbeans,
            ("mbean", Some(name)) => Resource::Mbean { name: name.to_owned() },
            _ => return None,
        })
    }

    /// How GRANT names it; `None` for what is not known, or has arguments of no known type.
    pub fn cql(&self) -> Option<String> {
        Some(match self {
            Resource::AllKeyspaces => "ALL KEYSPACES".to_owned(),
            Resource::Keyspace { keyspace } => format!("KEYSPACE {}", Ident(keyspace)),
            Resource::AllTables { keyspace } => format!("ALL TABLES IN KEYSPACE {}", Ident(keyspace)),
            Resource::Table { keyspace, table } => format!("TABLE {}.{}", Ident(keyspace), Ident(table)),
            Resource::AllFunctions => "ALL FUNCTIONS".to_owned(),
            Resource::KeyspaceFunctions { keyspace } => {
                format!("ALL FUNCTIONS IN KEYSPACE {}", Ident(keyspace))
            }
            Resource::Function { keyspace, name, arguments } => {
                let arguments: Option<Vec<String>> = arguments.iter().map(|a| argument(a)).collect();
                format!("FUNCTION {}.{}({})", Ident(keyspace), Ident(name), arguments?.join(", "))
            }
            Resource::AllRoles => "ALL ROLES".to_owned(),
            Resource::Role { role } => format!("ROLE {}", Ident(role)),
            Resource::AllMbeans => "ALL MBEANS".to_owned(),
            Resource::Mbean { name } => format!("MBEAN {}", literal(name)),
            Resource::Unknown => return None,
        })
    }

    /// Whether a run is about it. Every run that is about roles is about all of them; what is not known belongs to every
    /// run too, so that it is told of.
    pub fn is_in(&self, scope: &Scope<'_>) -> bool {
        match self {
            Resource::AllKeyspaces
            | Resource::AllFunctions
            | Resource::AllMbeans
            | Resource::Mbean { .. } => scope.cluster,
            Resource::Keyspace { keyspace }
            | Resource::AllTables { keyspace }
            | Resource::KeyspaceFunctions { keyspace } => (scope.keyspace)(keyspace),
            Resource::Function { keyspace, name, .. } => (scope.function)(keyspace, name),
            Resource::Table { keyspace, table } => (scope.table)(keyspace, table),
            Resource::AllRoles | Resource::Role { .. } | Resource::Unknown => true,
        }
    }

    /// The same under other names; `base` tells the table of a materialized view.
    #[must_use]
    pub fn renamed(&self, renames: &Renames, base: impl Fn(&str, &str) -> Option<String>) -> Resource {
        let mut renamed = self.clone();
        match &mut renamed {
            Resource::Keyspace { keyspace }
            | Resource::AllTables { keyspace }
            | Resource::KeyspaceFunctions { keyspace }
            | Resource::Function { keyspace, .. } => *keyspace = renames.keyspace(keyspace).to_owned(),
            Resource::Table { keyspace, table } => {
                let (new_keyspace, new_table) = match base(keyspace, table) {
                    Some(base) => renames.view(keyspace, table, &base),
                    None => {
                        let (keyspace, table) = renames.table(keyspace, table);
                        (keyspace.to_owned(), table.to_owned())
                    }
                };
                (*keyspace, *table) = (new_keyspace, new_table);
            }
            _ => {}
        }
        renamed
    }
}

/// The type of an argument as CQL spells it, if it is one; user types are those of the function's keyspace.
fn argument(text: &str) -> Option<String> {
    let udt = |name: &str| Some(Arc::new(Udt { name: name.to_owned(), fields: Vec::new() }));
    let parsed = CqlType::parse(text, &udt).ok()?;
    is_spelled(&parsed).then(|| parsed.to_string())
}

/// Whether CQL has a name for the type and all that is in it.
fn is_spelled(cql_type: &CqlType) -> bool {
    match cql_type {
        CqlType::Native(_) | CqlType::Udt(..) => true,
        CqlType::List(e, _) | CqlType::Set(e, _) | CqlType::Vector(e, _) => is_spelled(e),
        CqlType::Map(k, v, _) => is_spelled(k) && is_spelled(v),
        CqlType::Tuple(elements) => elements.iter().all(is_spelled),
        CqlType::Custom(_) => false,
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn set(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| literal(text)).collect();
    format!("{{{}}}", texts.join(", "))
}

/// How a server takes the hash of a password in CREATE ROLE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashes {
    /// `HASHED PASSWORD`: Cassandra 4.1 and later, ScyllaDB.
    Hashed,
    /// `SALTED HASH`: some releases of ScyllaDB.
    Salted,
    /// Not at all.
    Untaken,
}

impl Hashes {
    /// The option's words.
    pub fn words(self) -> Option<&'static str> {
        match self {
            Hashes::Hashed => Some("HASHED PASSWORD"),
            Hashes::Salted => Some("SALTED HASH"),
            Hashes::Untaken => None,
        }
    }
}

/// One statement that brings roles back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes a role.
    Create(Role),
    /// Makes a role a member of another.
    Member {
        /// The member.
        role: String,
        /// The role that it is granted.
        of: String,
    },
    /// Grants a permission.
    Grant {
        /// The role.
        role: String,
        /// What the permission is on, in CQL.
        on: String,
        /// The permission.
        permission: &'static str,
    },
}

impl Step {
    /// The statement.
    pub fn cql(&self, hashes: Hashes) -> String {
        match self {
            Step::Create(role) => role.create(hashes),
            Step::Member { role, of } => format!("GRANT {} TO {}", Ident(of), Ident(role)),
            Step::Grant { role, on, permission } => format!("GRANT {permission} ON {on} TO {}", Ident(role)),
        }
    }

    /// The statement for people: without the hash.
    pub fn shown(&self, hashes: Hashes) -> String {
        match self {
            Step::Create(role) if role.password_hash.is_some() => {
                Role { password_hash: Some(Hash::hidden()), ..role.clone() }.create(hashes)
            }
            _ => self.cql(hashes),
        }
    }

    /// The roles that must be there for it.
    pub fn needs(&self) -> Vec<&str> {
        match self {
            Step::Create(_) => Vec::new(),
            Step::Member { role, of } => vec![role, of],
            Step::Grant { role, .. } => vec![role],
        }
    }
}

impl Role {
    fn create(&self, hashes: Hashes) -> String {
        let mut options = Vec::new();
        if let (Some(Hash(hash)), Some(words)) = (&self.password_hash, hashes.words()) {
            options.push(format!("{words} = {}", literal(hash)));
        }
        options.push(format!("LOGIN = {}", self.login));
        options.push(format!("SUPERUSER = {}", self.superuser));
        if !self.datacenters.is_empty() {
            options.push(format!("ACCESS TO DATACENTERS {}", set(&self.datacenters)));
        }
        if !self.cidr_groups.is_empty() {
            options.push(format!("ACCESS FROM CIDRS {}", set(&self.cidr_groups)));
        }
        format!("CREATE ROLE {} WITH {}", Ident(&self.name), options.join(" AND "))
    }
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Roles.
    pub roles: u64,
    /// Roles with the hash of a password.
    pub passwords: u64,
    /// Roles granted to roles.
    pub memberships: u64,
    /// Permissions granted to roles.
    pub permissions: u64,
}

impl Roles {
    /// What they are in numbers.
    pub fn counts(&self) -> Counts {
        Counts {
            roles: self.roles.len() as u64,
            passwords: self.roles.iter().filter(|role| role.password_hash.is_some()).count() as u64,
            memberships: self.roles.iter().map(|role| role.member_of.len() as u64).sum(),
            permissions: self.grants.iter().map(|grant| grant.permissions.len() as u64).sum(),
        }
    }

    /// Replaces the hashes by what stands for them.
    pub fn hide_hashes(&mut self) {
        for role in self.roles.iter_mut().filter(|role| role.password_hash.is_some()) {
            role.password_hash = Some(Hash::hidden());
        }
    }

    /// The statements that bring them back, roles first; and what cannot be said in one, in words.
    pub fn steps(&self) -> (Vec<Step>, Vec<String>) {
        let mut steps: Vec<Step> = self.roles.iter().cloned().map(Step::Create).collect();
        let mut unsaid = Vec::new();
        for role in members_first(&self.roles) {
            let member = |of: &String| Step::Member { role: role.name.clone(), of: of.clone() };
            steps.extend(role.member_of.iter().map(member));
        }
        for Grant { role, on, permissions } in &self.grants {
            for name in permissions {
                match (permission(name), on.cql()) {
                    (Some(permission), Some(on)) => {
                        steps.push(Step::Grant { role: role.clone(), on, permission });
                    }
                    _ => unsaid.push(format!(
                        "the permission {name:?} of the role {} on {on:?}: this cqlift does not know it",
                        Ident(role)
                    )),
                }
            }
        }
        (steps, unsaid)
    }
}

/// Members before what they are members of: servers refuse to grant a role that a member has already by way of another,
/// and nothing comes by way of a role that was granted nothing yet. Circles, which no server makes, come last.
fn members_first(roles: &[Role]) -> Vec<&Role> {
    let places: BTreeMap<&str, usize> = roles.iter().enumerate().map(|(i, r)| (r.name.as_str(), i)).collect();
    let parents =
        |role: usize| roles[role].member_of.iter().filter_map(|of| places.get(of.as_str()).copied());
    let mut members = vec![0usize; roles.len()];
    for role in 0..roles.len() {
        parents(role).for_each(|parent| members[parent] += 1);
    }
    let mut ready: VecDeque<usize> = (0..roles.len()).filter(|role| members[*role] == 0).collect();
    let mut ordered = Vec::with_capacity(roles.len());
    while let Some(role) = ready.pop_front() {
        ordered.push(role);
        for parent in parents(role) {
            members[parent] -= 1;
            if members[parent] == 0 {
                ready.push_back(parent);
            }
        }
    }
    let circles = (0..roles.len()).filter(|role| members[*role] > 0);
    ordered.into_iter().chain(circles).map(|role| &roles[role]).collect()
}

#[cfg(test)]
mod tests;
