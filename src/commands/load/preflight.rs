//! What is checked of a target before anything is written to it, beside the tables themselves: whether it can keep what it
//! is asked to keep, and whether the role may write. Each check tells what was found also when nothing is wrong, for
//! `--dry-run`.

use super::plan::{TableLoad, Treatment};
use super::schema::{Existing, Step};
use crate::cluster::Cluster;
use crate::cluster::connect::Level;
use crate::cluster::permissions::Grants;
use crate::ddl::options::Parts;
use crate::ddl::servers::{Feature, Target};
use crate::ddl::{Kind, Replication, Statement};
use crate::error::{Context, Result};
use crate::types::cql::Ident;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

/// How far this machine's clock may be from the cluster's, s, without a word.
const SKEW: u64 = 30;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// How it matters.
    pub verdict: Verdict,
    /// In words.
    pub text: String,
}

/// How a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not at all.
    Fine,
    /// The load goes on.
    Warning,
    /// The load would fail; what to do about it.
    Problem(&'static str),
}

impl Check {
    fn fine(text: impl Into<String>) -> Check {
        Check { verdict: Verdict::Fine, text: text.into() }
    }

    fn warning(text: impl Into<String>) -> Check {
        Check { verdict: Verdict::Warning, text: text.into() }
    }

    fn problem(text: impl Into<String>, hint: &'static str) -> Check {
        Check { verdict: Verdict::Problem(hint), text: text.into() }
    }

    /// In one line, as `--dry-run` has it.
    pub fn line(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Fine => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem(_) => "problem",
        };
        format!("-- {verdict}: {}", self.text)
    }
}

/// What a load is about to do.
pub struct Intent<'a> {
    /// The statements.
    pub steps: &'a [Step],
    /// The tables.
    pub loads: &'a [TableLoad],
    /// What statements are written for; `None` if they run as they are.
    pub target: Option<&'a Target>,
    /// What the target's configuration switches off, as far as it tells.
    pub off: &'a BTreeSet<Feature>,
    /// The role, if there is a login.
    pub role: Option<&'a str>,
}

/// Checks the target.
///
/// # Errors
/// `Error` if it cannot be asked.
pub async fn checks(cluster: &Cluster, intent: &Intent<'_>) -> Result<Vec<Check>> {
    let mut checks = vec![server(cluster, intent.target)];
    checks.extend(replication(cluster, intent)?);
    let settings = cluster.settings().await;
    checks.extend(switches(&settings, intent));
    checks.extend(write_times(&settings, intent));
    checks.push(clock(cluster.now(), SystemTime::now()));
    checks.extend(permissions(cluster, intent).await);
    Ok(checks)
}

fn server(cluster: &Cluster, target: Option<&Target>) -> Check {
    let about = &cluster.about;
    let nodes: Vec<String> =
        about.datacenters.iter().map(|dc| format!("{} in {}", dc.nodes, dc.name)).collect();
    let ddl = target.map_or("run as it is in the dump".to_owned(), |target| format!("written for {target}"));
    Check::fine(format!(
        "the target is cluster {:?}, release {}, nodes: {}; DDL is {ddl}",
        about.name,
        about.version,
        nodes.join(", ")
    ))
}

/// Whether keyspaces that will be made can be written at the level asked for.
fn replication(cluster: &Cluster, intent: &Intent<'_>) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    let made =
        intent.steps.iter().filter(|s| s.statement.kind == Kind::Keyspace && s.existing == Existing::No);
    let writes = |keyspace: &str| intent.loads.iter().any(|l| l.target.0 == keyspace && l.treatment.loads());
    for step in made {
        let keyspace = &step.statement.keyspace;
        let replication =
            Replication::of(&step.statement).doing(|| format!("read the replication of {keyspace}"))?;
        let Some(replication) = replication else { continue };
        let known = intent.target.is_none_or(Target::knows_datacenters);
        checks.push(judge(&replication, keyspace, cluster, (writes(keyspace), known)));
    }
    Ok(checks)
}

/// `known`: the server asks for datacenters that are there, also where they are to have no replicas.
fn judge(
    replication: &Replication,
    keyspace: &str,
    cluster: &Cluster,
    (writes, known): (bool, bool),
) -> Check {
    let keyspace = Ident(keyspace);
    let centers = &cluster.about.datacenters;
    let names: Vec<&str> = centers.iter().map(|dc| dc.name.as_str()).collect();
    let factors = replication.expanded(&names).factors();
    let all: usize = centers.iter().map(|dc| dc.nodes).sum();
    let nodes = |name: &str| match name {
        "*" => Some(all),
        _ => centers.iter().find(|dc| dc.name == name).map(|dc| dc.nodes),
    };
    let unknown: Vec<&str> = factors
        .iter()
        .filter(|(name, n)| (known || **n > 0) && nodes(name).is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    if !unknown.is_empty() {
        return Check::problem(
            format!(
                "keyspace {keyspace} is to have replicas in {}, which the cluster has not; it has {}",
                unknown.join(", "),
                names.join(", ")
            ),
            "give the keyspaces another replication with --replication, for instance --replication same",
        );
    }
    let datacenters: Vec<Datacenter> = factors
        .iter()
        .map(|(name, factor)| Datacenter {
            name,
            factor: usize::try_from(*factor).unwrap_or(usize::MAX),
            nodes: nodes(name).unwrap_or(0),
        })
        .collect();
    let own = cluster.dc.as_deref();
    if let (true, Some(lack)) = (writes, lack(cluster.consistency, &datacenters, own)) {
        return Check::problem(
            format!("keyspace {keyspace}: {lack}"),
            "give it other replicas with --replication, or load at another level with --consistency, or elsewhere with --dc",
        );
    }
    let high = datacenters.iter().find(|dc| dc.factor > dc.nodes);
    match high {
        Some(dc) => Check::warning(format!("keyspace {keyspace} is to have {}", dc.shown())),
        None => Check::fine(format!("keyspace {keyspace} is to have the replication {replication}")),
    }
}

/// Replicas in a datacenter, or under the name `*` in all of them, and the nodes that there are.
struct Datacenter<'a> {
    name: &'a str,
    factor: usize,
    nodes: usize,
}

impl Datacenter<'_> {
    /// The replicas that it can hold: one per node.
    fn held(&self) -> usize {
        self.factor.min(self.nodes)
    }

    fn shown(&self) -> String {
        let place =
            if self.name == "*" { "the cluster".to_owned() } else { format!("datacenter {}", self.name) };
        let nodes = if self.nodes == 1 { "node" } else { "nodes" };
        format!("{} replicas, and {place} has {} {nodes}", self.factor, self.nodes)
    }
}

/// Why rows cannot be written at this level; `None` if they can, as far as nodes are up. Levels of a datacenter go by that
/// of the nodes that are asked, `own` if it was said; others by all datacenters together.
fn lack(level: Level, datacenters: &[Datacenter<'_>], own: Option<&str>) -> Option<String> {
    let written = |factor: usize| match level.name() {
        "LOCAL_QUORUM" | "QUORUM" => factor / 2 + 1,
        "TWO" => 2,
        "THREE" => 3,
        "ALL" => factor,
        _ => 1,
    };
    let name = level.name();
    if name.starts_with("LOCAL") {
        let is_own = |dc: &Datacenter<'_>| dc.factor > 0 && (dc.name == "*" || own == Some(dc.name));
        if let Some(own) = own.filter(|_| !datacenters.iter().any(is_own)) {
            return Some(format!("it is to have no replicas in datacenter {own}, whose nodes are asked"));
        }
        let asked =
            |dc: &&Datacenter<'_>| dc.factor > 0 && (dc.name == "*" || own.is_none_or(|own| own == dc.name));
        let short = |dc: &&Datacenter<'_>| written(dc.factor) > dc.held();
        let dc = datacenters.iter().filter(asked).find(short)?;
        return Some(format!(
            "it is to have {}: writing at {name} takes {} of them",
            dc.shown(),
            written(dc.factor)
        ));
    }
    let factor: usize = datacenters.iter().map(|dc| dc.factor).fold(0, usize::saturating_add);
    let there: usize = datacenters.iter().map(Datacenter::held).sum();
    (factor > 0 && written(factor) > there).then(|| {
        format!(
            "it is to have {factor} replicas, of which nodes can hold {there}: writing at {name} takes {}",
            written(factor)
        )
    })
}

/// A server that shows no settings (before 4.0, or to a role that may not read them) may have switched off what is about
/// to be made.
fn switches(settings: &BTreeMap<String, String>, intent: &Intent<'_>) -> Option<Check> {
    let switched = |statement: &Statement| match statement.kind {
        Kind::Function | Kind::Aggregate | Kind::View => true,
        Kind::Table => Parts::of(statement).is_ok_and(|parts| parts.option("compact storage").is_some()),
        _ => false,
    };
    let mut made = intent.steps.iter().filter(|step| step.existing == Existing::No);
    let step = made.find(|step| switched(&step.statement)).filter(|_| settings.is_empty())?;
    let way = match intent.role {
        Some(role) => format!(" (GRANT SELECT ON system_views.settings TO {})", Ident(role)),
        None => String::new(),
    };
    Some(Check::warning(format!(
        "the server does not tell what is enabled{way}: {} may be refused when it is made",
        step.label()
    )))
}

/// Whether the target takes write times that a client gives: a load gives them with every row, since rows that are sent
/// twice must stay one.
fn write_times(settings: &BTreeMap<String, String>, intent: &Intent<'_>) -> Vec<Check> {
    if !intent.loads.iter().any(|load| load.treatment.loads() && !load.table.is_counter()) {
        return Vec::new();
    }
    if let Some(refused) = user_timestamps(intent.off) {
        return vec![refused];
    }
    let bounds = ["minimum_timestamp_fail_threshold", "maximum_timestamp_fail_threshold"];
    let set = |name: &&&str| settings.get(**name).is_some_and(|value| !value.is_empty() && value != "null");
    let set: Vec<String> =
        bounds.iter().filter(set).map(|name| format!("{name} = {}", settings[*name])).collect();
    match set.is_empty() {
        true => Vec::new(),
        false => vec![Check::warning(format!(
            "the target's guardrails bound write times: {}; rows beyond are refused",
            set.join(", ")
        ))],
    }
}

fn user_timestamps(off: &BTreeSet<Feature>) -> Option<Check> {
    off.contains(&Feature::UserTimestamps).then(|| {
        Check::problem(
            "the target's guardrail user_timestamps_enabled is off, and a load gives every row its write time",
            "switch the guardrail on while loading",
        )
    })
}

/// Both in one measure: µs since 1970, and this machine's own.
fn clock(cluster: i64, own: SystemTime) -> Check {
    let own = own
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    let seconds = cluster.abs_diff(own) / 1_000_000;
    let text =
        format!("the cluster's clock and this machine's differ by {seconds} s; expiries go by the cluster's");
    if seconds > SKEW { Check::warning(text) } else { Check::fine(text) }
}

/// Whether the role may do what the load will do. Whoever makes something may do anything with it.
async fn permissions(cluster: &Cluster, intent: &Intent<'_>) -> Vec<Check> {
    let Some(role) = intent.role else {
        return Vec::new();
    };
    let Some(grants) = cluster.grants(role).await else {
        return vec![Check::warning(format!("the server does not tell what the role {role} may do"))];
    };
    let missing = missing(&grants, intent);
    if missing.is_empty() {
        return vec![Check::fine(format!("the role {role} may do what the load does"))];
    }
    let lacks = |text: &String| {
        Check::problem(
            format!("the role {role} lacks the permission {text}"),
            "GRANT it; nodes may go on for some seconds by what they have cached",
        )
    };
    missing.iter().map(lacks).collect()
}

fn missing(grants: &Grants, intent: &Intent<'_>) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    let mut ask = |permission: &str, resources: &[String], shown: String| {
        if !grants.may(permission, resources) {
            missing.insert(format!("{permission} ON {shown}"));
        }
    };
    let all = || "<all keyspaces>".to_owned();
    let of_keyspace = |keyspace: &str| {
        [all(), format!("<keyspace {keyspace}>"), format!("<all tables in {keyspace}>")].to_vec()
    };
    let steps = || intent.steps.iter().filter(|step| step.existing == Existing::No);
    let new: BTreeSet<&str> = steps()
        .filter(|step| step.statement.kind == Kind::Keyspace)
        .map(|step| step.statement.keyspace.as_str())
        .collect();
    let made: BTreeSet<(&str, &str)> = steps()
        .filter(|step| step.statement.kind == Kind::Table)
        .map(|step| (step.statement.keyspace.as_str(), step.statement.name.as_str()))
        .collect();
    if !new.is_empty() {
        ask("CREATE", &[all()], "ALL KEYSPACES".to_owned());
    }
    for step in steps().filter(|step| !new.contains(step.statement.keyspace.as_str())) {
        let keyspace = step.statement.keyspace.as_str();
        let shown = format!("KEYSPACE {}", Ident(keyspace));
        match step.statement.kind {
            Kind::Type | Kind::Table => ask("CREATE", &of_keyspace(keyspace), shown),
            Kind::Function | Kind::Aggregate => {
                let functions = ["<all functions>".to_owned(), format!("<all functions in {keyspace}>")];
                ask("CREATE", &functions, format!("ALL FUNCTIONS IN {shown}"));
            }
            // What belongs to a table that this load makes is its maker's.
            Kind::Index | Kind::View => {
                let table = step.statement.table.as_deref().unwrap_or_default();
                if !made.contains(&(keyspace, table)) {
                    let mut resources = of_keyspace(keyspace);
                    resources.push(format!("<table {keyspace}.{table}>"));
                    ask("ALTER", &resources, format!("{}.{}", Ident(keyspace), Ident(table)));
                }
            }
            Kind::Keyspace => {}
        }
    }
    let there = |load: &&TableLoad| {
        matches!(load.treatment, Treatment::Fill | Treatment::Truncate | Treatment::Append)
            || load.begun.is_some()
    };
    for load in intent.loads.iter().filter(there) {
        let (keyspace, table) = &load.target;
        let mut resources = of_keyspace(keyspace);
        resources.push(format!("<table {keyspace}.{table}>"));
        ask("MODIFY", &resources, format!("{}.{}", Ident(keyspace), Ident(table)));
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_level_that_no_write_can_reach_is_seen() {
        let level = |name: &str| name.parse::<Level>().unwrap();
        let dc = |name, factor, nodes| Datacenter { name, factor, nodes };
        let short = |name: &str, all: &[Datacenter<'_>], own| lack(level(name), all, own).is_some();
        let all = [dc("a", 3, 2), dc("b", 3, 1)];
        assert!(short("LOCAL_QUORUM", &all, None), "b cannot");
        assert!(!short("LOCAL_QUORUM", &all, Some("a")));
        assert!(short("LOCAL_QUORUM", &all, Some("b")));
        assert!(short("LOCAL_ONE", &all, Some("c")), "none is in c");
        assert!(!short("QUORUM", &[dc("a", 3, 3)], Some("c")));
        assert!(short("QUORUM", &all, Some("a")), "3 of 6, where 4 are needed");
        assert!(!short("QUORUM", &[dc("a", 3, 3), dc("b", 3, 1)], None), "4 of 6");
        assert!(!short("LOCAL_QUORUM", &[dc("a", 2, 2), dc("b", 0, 0)], None));
        assert!(short("LOCAL_QUORUM", &[dc("*", 3, 1)], Some("a")));
        assert!(!short("ONE", &[dc("*", 3, 1)], None));
        assert!(short("ALL", &[dc("*", 3, 2)], None));
    }

    #[test]
    fn a_guardrail_against_write_times_is_in_the_way() {
        assert_eq!(user_timestamps(&BTreeSet::from([Feature::Views])), None);
        let refused = user_timestamps(&BTreeSet::from([Feature::UserTimestamps])).unwrap();
        assert!(matches!(refused.verdict, Verdict::Problem(_)), "{refused:?}");
    }

    #[test]
    fn a_clock_that_is_off_is_warned_of() {
        let own = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let at = |seconds: i64| clock((1_800_000_000 + seconds) * 1_000_000, own).verdict;
        assert_eq!([at(0), at(30), at(-30)], [Verdict::Fine; 3]);
        assert_eq!([at(31), at(-31)], [Verdict::Warning; 2]);
    }
}
