//! Whether two statements say the same, also where servers of several versions print them: what each has of its own, and
//! how it is written, is not looked at.

use super::create::thawed;
use super::lex::{TokenKind, true_name};
use super::options::{self, OptionText, Parts};
use super::words::significant;
use super::{DdlError, Kind, Statement};
use std::collections::{BTreeMap, BTreeSet};

/// Whether two statements say the same, as far as both say something: options that only one of them has are defaults of
/// the other server, or nothing that it knows.
pub fn same(a: &Statement, b: &Statement) -> bool {
    a.cql == b.cql || Meaning::of(a).is_ok_and(|a| Meaning::of(b).is_ok_and(|b| a.is(&b)))
}

/// Options whose map has more entries on one server than on another.
const PARTIAL: [&str; 3] = ["compaction", "compression", "caching"];

/// What a statement says.
struct Meaning {
    /// Before the options, in order.
    head: Vec<String>,
    /// Columns and key of a table, columns of a view: servers put them in orders of their own.
    columns: BTreeSet<Vec<String>>,
    /// Options that have no value: they are there or not.
    words: BTreeSet<String>,
    options: BTreeMap<String, Value>,
}

#[derive(PartialEq, Eq)]
enum Value {
    Plain(String),
    Map(BTreeMap<String, String>),
}

impl Meaning {
    fn of(statement: &Statement) -> Result<Meaning, DdlError> {
        let parts = Parts::of(statement)?;
        let head = match statement.kind.is_function() {
            // Servers differ in whether they print what is frozen in arguments: all of it is.
            true => thawed(&parts.head),
            false => parts.head.clone(),
        };
        let tokens = tokens(&head)?;
        let (head, columns) = match statement.kind {
            Kind::Table => table(tokens),
            Kind::View => view(tokens),
            _ => (tokens, BTreeSet::new()),
        };
        let (plain, valued): (Vec<OptionText>, Vec<OptionText>) =
            parts.options.into_iter().partition(|option| option.value.is_empty());
        let words = plain.iter().map(|option| Ok(self::tokens(&option.text)?.join(" ")));
        Ok(Meaning {
            head,
            columns,
            words: words.collect::<Result<_, DdlError>>()?,
            options: valued.into_iter().map(|option| (option.name.clone(), value(&option))).collect(),
        })
    }

    fn is(&self, other: &Meaning) -> bool {
        let said = (&self.head, &self.columns, &self.words) == (&other.head, &other.columns, &other.words);
        let agrees = |(name, value): (&String, &Value)| {
            let partial = PARTIAL.contains(&name.as_str());
            other.options.get(name).is_none_or(|other| value.agrees(other, partial))
        };
        said && self.options.iter().all(agrees)
    }
}

impl Value {
    fn agrees(&self, other: &Value, partial: bool) -> bool {
        match (self, other) {
            (Value::Map(a), Value::Map(b)) if partial => {
                a.iter().all(|(key, value)| b.get(key).is_none_or(|other| other == value))
            }
            _ => self == other,
        }
    }
}

/// The tokens, each as what it stands for: names without their quotes, a body as the text that it is.
fn tokens(text: &str) -> Result<Vec<String>, DdlError> {
    let token = |token: super::lex::Token| {
        let written = &text[token.range];
        match token.kind {
            TokenKind::Word | TokenKind::QuotedName => true_name(written),
            TokenKind::Body => format!("'{}'", &written[2..written.len() - 2]),
            TokenKind::Text => written.replace("''", "'"),
            _ => written.to_owned(),
        }
    };
    Ok(significant(text)?.into_iter().map(token).collect())
}

/// What stands before a table's columns, and these, whichever way the key is told.
fn table(mut tokens: Vec<String>) -> (Vec<String>, BTreeSet<Vec<String>>) {
    let Some(open) = tokens.iter().position(|token| token == "(") else { return (tokens, BTreeSet::new()) };
    let mut inside = tokens.split_off(open);
    inside.pop();
    let mut columns: Vec<Vec<String>> = vec![Vec::new()];
    let mut depth = 0usize;
    for token in inside.into_iter().skip(1) {
        match token.as_str() {
            "(" | "<" => depth += 1,
            ")" | ">" => depth = depth.saturating_sub(1),
            "," if depth == 0 => {
                columns.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if let Some(column) = columns.last_mut() {
            column.push(token);
        }
    }
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let mut keys = Vec::new();
    for column in &mut columns {
        if column.ends_with(&words(&["primary", "key"])) {
            column.truncate(column.len() - 2);
            keys.push([words(&["primary", "key", "("]), vec![column[0].clone()], words(&[")"])].concat());
        }
    }
    columns.extend(keys);
    (tokens, columns.into_iter().collect())
}

/// What a view is, and the columns that it selects.
fn view(mut tokens: Vec<String>) -> (Vec<String>, BTreeSet<Vec<String>>) {
    let select = tokens.iter().position(|token| token == "select").map(|at| at + 1);
    let from = tokens.iter().position(|token| token == "from");
    let Some((select, from)) = select.zip(from).filter(|(select, from)| select <= from) else {
        return (tokens, BTreeSet::new());
    };
    let columns = tokens.drain(select..from).map(|column| vec![column]).collect();
    (tokens, columns)
}

/// An option's value: of classes the last name alone, and percentiles as Cassandra prints them since 4.0.
fn value(option: &OptionText) -> Value {
    if let Some(entries) = options::map(&option.value) {
        let class = |key: &str, value: String| match key {
            "class" => value.rsplit('.').next().unwrap_or(&value).to_owned(),
            _ => value,
        };
        return Value::Map(entries.into_iter().map(|(key, of)| (key.clone(), class(&key, of))).collect());
    }
    let plain = match option.name.as_str() {
        "speculative_retry" | "additional_write_policy" => policy(&option.value),
        _ => option.value.clone(),
    };
    Value::Plain(plain)
}

fn policy(text: &str) -> String {
    let text = text.to_ascii_lowercase().replace("percentile", "p").replace(".0", "");
    if text == "'none'" { "'never'".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says_the_same(a: &str, b: &str) -> bool {
        let parse = |cql: &str| Statement::parse(cql).unwrap();
        let (one, other) = (same(&parse(a), &parse(b)), same(&parse(b), &parse(a)));
        assert_eq!(one, other, "{a}\n{b}");
        one
    }

    /// The first of each pair as it is made from the catalogue of 3.11, the second as 5.0 prints it.
    #[test]
    fn the_same_in_other_words_is_the_same() {
        for (old, new) in [
            (
                "CREATE TABLE ks.t (k int, \"b\" frozen<list<int>>, a map<int, text>, PRIMARY KEY (k)) WITH comment = 'x' \
                 AND speculative_retry = '99PERCENTILE' AND compaction = {'class': 'org.apache.cassandra.db.compaction.LeveledCompactionStrategy'}",
                "CREATE TABLE ks.t (\n    k int PRIMARY KEY,\n    a map<int, text>,\n    b frozen<list<int>>\n) WITH memtable = 'default' \
                 AND comment = 'x' AND compaction = {'max_threshold': '32', 'class': 'LeveledCompactionStrategy'} AND speculative_retry = '99p';",
            ),
            (
                "CREATE FUNCTION ks.f(a money) CALLED ON NULL INPUT RETURNS text LANGUAGE java AS 'it''s';",
                "CREATE FUNCTION ks.f(a frozen<money>)\n    CALLED ON NULL INPUT RETURNS text LANGUAGE java AS $$it's$$",
            ),
            (
                "CREATE MATERIALIZED VIEW ks.v AS SELECT k, c, \"V\" FROM ks.t WHERE k IS NOT NULL PRIMARY KEY ((k), c)",
                "CREATE MATERIALIZED VIEW ks.v AS SELECT \"V\", c, k FROM ks.t WHERE k IS NOT NULL PRIMARY KEY ((k), c)",
            ),
        ] {
            assert!(says_the_same(old, new), "{old}\n{new}");
        }
    }

    #[test]
    fn what_both_say_must_agree() {
        let table = |columns: &str, with: &str| format!("CREATE TABLE ks.t ({columns}) WITH {with}");
        let base = table("k int, c int, v int, PRIMARY KEY (k, c)", "comment = 'a'");
        for other in [
            table("k int, c int, v text, PRIMARY KEY (k, c)", "comment = 'a'"),
            table("k int, c int, v int, PRIMARY KEY (c, k)", "comment = 'a'"),
            table("k int, c int, v int, PRIMARY KEY ((k, c))", "comment = 'a'"),
            table("k int, c int, v int, w int, PRIMARY KEY (k, c)", "comment = 'a'"),
            table("k int, c int, v int, PRIMARY KEY (k, c)", "comment = 'A'"),
            table("k int, c int, v int, PRIMARY KEY (k, c)", "comment = 'a' AND COMPACT STORAGE"),
        ] {
            assert!(!says_the_same(&base, &other), "{other}");
        }
        let keyspace = |map: &str| format!("CREATE KEYSPACE ks WITH replication = {map}");
        let (one, two) = (
            "{'class': 'NetworkTopologyStrategy', 'a': '1'}",
            "{'class': 'NetworkTopologyStrategy', 'b': '1'}",
        );
        assert!(!says_the_same(&keyspace(one), &keyspace(two)));
        let full = one.replace("'Net", "'org.apache.cassandra.locator.Net");
        assert!(says_the_same(&keyspace(one), &keyspace(&full)));
        let index =
            |options: &str| format!("CREATE CUSTOM INDEX i ON ks.t (v) USING 'sai' WITH OPTIONS = {options}");
        assert!(!says_the_same(&index("{'a': 'true'}"), &index("{'a': 'false'}")));
    }
}
