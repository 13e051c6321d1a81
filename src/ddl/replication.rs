//! How often and where a keyspace's rows are kept: the replication map, and what a user may ask for instead of it. Where it
//! stands in a statement is left to [`super::rewrite`].

use super::lex::{Token, TokenKind, lex, literal, true_name};
use super::options::{self, Parts};
use super::{DdlError, Kind, Statement};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// A keyspace's replication, printed as the CQL map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    map: String,
}

/// A replication that cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "cannot read the replication {text:?}: {why}. It is one of: \
     3 (SimpleStrategy with that factor); \
     dc1=3,dc2=2 (NetworkTopologyStrategy with a factor per data centre); \
     {{'class': 'SimpleStrategy', 'replication_factor': 1}} (as in CREATE KEYSPACE); \
     same (the dump's factor in the target's data centres); each also as keyspace:… for one keyspace"
)]
pub struct BadReplication {
    text: String,
    why: &'static str,
}

impl Replication {
    /// Reads a CQL map (kept as written), a factor, or `dc=factor` separated by commas.
    ///
    /// # Errors
    /// `BadReplication` shows the three forms.
    pub fn parse(text: &str) -> Result<Replication, BadReplication> {
        let trimmed = text.trim();
        let map = if trimmed.starts_with('{') {
            check_map(trimmed).map(|()| trimmed.to_owned())
        } else if trimmed.contains('=') {
            per_data_centre(trimmed)
        } else {
            simple(trimmed)
        };
        map.map(|map| Replication { map }).map_err(|why| BadReplication { text: text.to_owned(), why })
    }
}

impl Replication {
    /// What a CREATE KEYSPACE asks for; `None` for other statements, and those that ask for nothing.
    ///
    /// # Errors
    /// `DdlError` if the statement's text is not one.
    pub fn of(statement: &Statement) -> Result<Option<Replication>, DdlError> {
        if statement.kind != Kind::Keyspace {
            return Ok(None);
        }
        let parts = Parts::of(statement)?;
        Ok(parts.option("replication").map(|option| Replication { map: option.value.clone() }))
    }

    /// The replicas in each datacenter, or under the name `*` in all of them together (SimpleStrategy). Strategies that
    /// take no number have none; see [`Self::expanded`] for what is not per datacenter.
    pub fn factors(&self) -> BTreeMap<String, u32> {
        let counted = options::counted(&self.map);
        let entries = options::map(counted.as_deref().unwrap_or(&self.map)).unwrap_or_default();
        let class = entries.iter().find(|(key, _)| key == "class").map_or("", |(_, class)| class.as_str());
        let simple = class.ends_with("SimpleStrategy");
        let network = class.ends_with("NetworkTopologyStrategy");
        let of = |(key, value): &(String, String)| {
            let name = if simple && key == FOR_ALL { "*" } else { key.as_str() };
            // Of transient replication, `3/1`, the first number are all replicas.
            let factor = value.split('/').next()?.parse().ok()?;
            ((simple && name == "*") || (network && key != "class")).then(|| (name.to_owned(), factor))
        };
        entries.iter().filter_map(of).collect()
    }

    /// The same number of replicas in each of these datacenters: what a cluster needs whose datacenters have other names.
    /// Those that the map names keep what they have there; others get the most that any has which is not among them.
    /// Strategies that know no datacenters stay as they are.
    #[must_use]
    pub fn in_datacenters(&self, names: &[&str]) -> Replication {
        let factors = self.expanded(names).factors();
        let unknown = factors.iter().filter(|(name, _)| *name != "*" && !names.contains(&name.as_str()));
        let Some(most) = unknown.map(|(_, factor)| *factor).max() else {
            return self.clone();
        };
        let each = names.iter().map(|name| (*name, factors.get(*name).copied().unwrap_or(most)));
        let each: Vec<(&str, u32)> = each.collect();
        // With no replica at all nothing would be kept: it stays, and is refused for the datacenters that it names.
        if each.iter().all(|(_, factor)| *factor == 0) { self.clone() } else { network(&each) }
    }

    /// With a factor for each of these datacenters in place of one for all of them, `replication_factor`, which servers since
    /// Cassandra 4.0 take (CASSANDRA-14303) and ScyllaDB too: it is for the datacenters that the map does not name.
    #[must_use]
    pub fn expanded(&self, names: &[&str]) -> Replication {
        let mut factors = self.factors();
        match factors.remove(FOR_ALL) {
            None => self.clone(),
            Some(all) => {
                for name in names {
                    factors.entry((*name).to_owned()).or_insert(all);
                }
                network(&factors.iter().map(|(name, factor)| (name.as_str(), *factor)).collect::<Vec<_>>())
            }
        }
    }
}

/// The key of a factor that is for no datacenter of its own.
const FOR_ALL: &str = "replication_factor";

fn network(factors: &[(&str, u32)]) -> Replication {
    let mut map = "{'class': 'NetworkTopologyStrategy'".to_owned();
    for (name, factor) in factors {
        map.push_str(&format!(", {}: '{factor}'", literal(name)));
    }
    Replication { map: map + "}" }
}

/// What the user asks for instead of the dump's replication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// For keyspaces that have none of their own here.
    all: Option<Wanted>,
    /// By true name, as the dump has it.
    keyspaces: BTreeMap<String, Wanted>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// The dump's factor, in the target's datacenters.
    Same,
    This(Replication),
}

impl FromStr for Wanted {
    type Err = BadReplication;

    fn from_str(text: &str) -> Result<Wanted, BadReplication> {
        if text.trim() == "same" { Ok(Wanted::Same) } else { text.parse().map(Wanted::This) }
    }
}

impl Overrides {
    /// Reads what was asked for: each for all keyspaces, or `keyspace:…` for one of them.
    ///
    /// # Errors
    /// `BadReplication` shows the forms.
    pub fn parse(texts: &[String]) -> Result<Overrides, BadReplication> {
        let mut overrides = Overrides::default();
        for text in texts {
            let twice = || BadReplication { text: text.clone(), why: "there is another one for the same" };
            let old = match of_keyspace(text) {
                Some((keyspace, rest)) => overrides.keyspaces.insert(keyspace, rest.parse()?),
                None => overrides.all.replace(text.parse()?),
            };
            if old.is_some() {
                return Err(twice());
            }
        }
        Ok(overrides)
    }

    /// The keyspaces named.
    pub fn keyspaces(&self) -> impl Iterator<Item = &String> {
        self.keyspaces.keys()
    }

    /// The replication that a keyspace gets instead of its own, in a cluster of these datacenters.
    ///
    /// # Errors
    /// `DdlError` if the statement's text is not one.
    pub fn of(
        &self,
        keyspace: &str,
        statement: &Statement,
        datacenters: &[&str],
    ) -> Result<Option<Replication>, DdlError> {
        Ok(match self.keyspaces.get(keyspace).or(self.all.as_ref()) {
            None => None,
            Some(Wanted::This(replication)) => Some(replication.clone()),
            Some(Wanted::Same) => Replication::of(statement)?.map(|own| own.in_datacenters(datacenters)),
        })
    }
}

/// The keyspace before a colon, and what follows it.
fn of_keyspace(text: &str) -> Option<(String, &str)> {
    let tokens = lex(text).ok()?;
    let [name, colon, ..] = &tokens[..] else { return None };
    let is_name = matches!(name.kind, TokenKind::Word | TokenKind::QuotedName);
    if !is_name || &text[colon.range.clone()] != ":" {
        return None;
    }
    Some((true_name(&text[name.range.clone()]), &text[colon.range.end..]))
}

impl FromStr for Replication {
    type Err = BadReplication;

    fn from_str(text: &str) -> Result<Replication, BadReplication> {
        Replication::parse(text)
    }
}

impl fmt::Display for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.map)
    }
}

fn simple(text: &str) -> Result<String, &'static str> {
    match factor(text) {
        None => Err("not a number"),
        Some(0) => Err("a factor of 0 keeps no data"),
        Some(n) => Ok(format!("{{'class': 'SimpleStrategy', 'replication_factor': '{n}'}}")),
    }
}

fn per_data_centre(text: &str) -> Result<String, &'static str> {
    let mut map = "{'class': 'NetworkTopologyStrategy'".to_owned();
    let mut seen = BTreeSet::new();
    let mut total = 0u64;
    for part in text.split(',') {
        let (dc, n) = part.split_once('=').ok_or("a data centre without its factor")?;
        let dc = dc.trim();
        if dc.is_empty() {
            return Err("a factor without its data centre");
        }
        if dc == "class" || !seen.insert(dc) {
            return Err("a data centre named twice, or named class");
        }
        let n = factor(n.trim()).ok_or("a factor that is not a number")?;
        total += u64::from(n);
        map.push_str(&format!(", {}: '{n}'", literal(dc)));
    }
    map.push('}');
    if total == 0 {
        return Err("a factor of 0 everywhere keeps no data");
    }
    Ok(map)
}

fn factor(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Whether the text is one map from strings to strings, numbers or lists of them (racks), with a class.
fn check_map(text: &str) -> Result<(), &'static str> {
    const SHAPE: &str = "not a map of quoted names to values";
    let tokens = lex(text).map_err(|_| "a quote or comment does not end")?;
    if tokens.iter().any(|t| t.kind == TokenKind::Comment) {
        return Err("a comment inside");
    }
    let tokens: Vec<Token> = tokens.into_iter().filter(|t| !t.is_trivia()).collect();
    let is = |at: usize, punct: &str| tokens.get(at).is_some_and(|t| &text[t.range.clone()] == punct);
    let kind = |at: usize| tokens.get(at).map(|t| t.kind);
    let is_scalar = |at: usize| matches!(kind(at), Some(TokenKind::Text | TokenKind::Number));
    let mut keys = BTreeSet::new();
    // Each round begins at the `{` or `,` before an entry.
    let mut at = 0;
    loop {
        let key = tokens.get(at + 1).ok_or(SHAPE)?;
        if key.kind != TokenKind::Text || !is(at + 2, ":") {
            return Err(SHAPE);
        }
        if !keys.insert(&text[key.range.clone()]) {
            return Err("a key twice");
        }
        at += 3;
        if is(at, "[") {
            at += 1;
            while is_scalar(at) && is(at + 1, ",") {
                at += 2;
            }
            if !is_scalar(at) || !is(at + 1, "]") {
                return Err(SHAPE);
            }
            at += 2;
        } else if is_scalar(at) {
            at += 1;
        } else {
            return Err(SHAPE);
        }
        if !is(at, ",") {
            break;
        }
    }
    if !is(at, "}") || at + 1 != tokens.len() {
        return Err(SHAPE);
    }
    if keys.contains("'class'") { Ok(()) } else { Err("no 'class'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(factors: &str) -> Replication {
        Replication::parse(&format!("{{'class': 'NetworkTopologyStrategy', {factors}}}")).unwrap()
    }

    #[test]
    fn one_factor_for_all_datacenters_is_one_for_each() {
        let all = network("'replication_factor': 3, 'b': '1'");
        assert_eq!(all.expanded(&["a", "b"]), network("'a': '3', 'b': '1'"));
        let own = network("'a': '3'");
        assert_eq!(own.expanded(&["a", "b"]), own);
        let simple = Replication::parse("2").unwrap();
        assert_eq!(simple.expanded(&["a"]), simple);
    }

    #[test]
    fn datacenters_of_the_same_name_keep_their_factors() {
        for (factors, names, expected) in [
            ("'a': '3', 'b': '1'", &["a", "x"][..], "'a': '3', 'x': '1'"),
            ("'a': '3', 'b': '1'", &["x", "y"], "'x': '3', 'y': '3'"),
            ("'a': '3', 'b': '1'", &["a", "b", "c"], "'a': '3', 'b': '1'"),
            ("'a': '1', 'b': '3'", &["a"], "'a': '1'"),
            ("'replication_factor': '2'", &["x", "y"], "'replication_factor': '2'"),
            ("'replication_factor': '2', 'b': '1'", &["x", "y"], "'x': '2', 'y': '2'"),
        ] {
            assert_eq!(network(factors).in_datacenters(names), network(expected), "{factors} in {names:?}");
        }
        let simple = Replication::parse("2").unwrap();
        assert_eq!(simple.in_datacenters(&["x"]), simple);
    }
}
