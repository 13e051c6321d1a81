//! Which keyspaces and tables the user means, and under which names they are loaded. Which exist, and whether system
//! keyspaces are allowed at all, is left to the caller.

use crate::ddl::Renames;
use crate::types::cql::Ident;
use std::fmt;
use std::iter::Peekable;
use std::str::{CharIndices, FromStr};
use thiserror::Error;

/// A selector or mapping that cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SelectorError {
    /// Not `ks` or `ks.table`.
    #[error(
        "cannot read {text:?}: {why}. A selector is a keyspace or keyspace.table; * and ? stand for any characters and \
         for any one, names with other characters than letters, digits and _ stand in double quotes"
    )]
    Selector {
        /// As typed.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Not `old=new`.
    #[error(
        "cannot read {text:?}: {why}. A mapping is old_keyspace=new_keyspace or keyspace.table=keyspace.table"
    )]
    Mapping {
        /// As typed.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Not `ks.table`.
    #[error("cannot read {text:?}: {why}. A table is named as keyspace.table")]
    Table {
        /// As typed.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Not `name,name`.
    #[error(
        "cannot read {text:?}: {why}. Names stand between commas, in double quotes if they have other characters than \
             letters, digits and _"
    )]
    Names {
        /// As typed.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Two mappings that cannot both be meant.
    #[error("{first} and {second} contradict each other")]
    Contradiction {
        /// One of them.
        first: Box<Mapping>,
        /// The other.
        second: Box<Mapping>,
    },
}

/// Whether the keyspace belongs to the server or its vendor, not to the user.
pub fn is_system_keyspace(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "audit",
        "solr_admin",
        "system",
        "system_auth",
        "system_auth_v2",
        "system_distributed",
        "system_distributed_everywhere",
        "system_replicated_keys",
        "system_schema",
        "system_traces",
        "system_views",
        "system_virtual_schema",
    ];
    NAMES.contains(&name) || name.starts_with("dse_")
}

/// `ks` or `ks.table`, each part a name or a glob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    keyspace: Pattern,
    table: Option<Pattern>,
}

impl Selector {
    /// Reads a selector as typed. Unquoted letters fold to lower case as in CQL; inside quotes everything is literal.
    ///
    /// # Errors
    /// `SelectorError` says what is wrong and what a selector looks like.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        let error = |why| SelectorError::Selector { text: text.to_owned(), why };
        let mut chars = text.char_indices().peekable();
        let (keyspace, table) = path(&mut chars).map_err(error)?;
        if chars.next().is_some() {
            return Err(error(AFTER_NAME));
        }
        Ok(Selector { keyspace, table })
    }

    /// Whether the keyspace part matches. A system keyspace is matched by its exact name only, never by a glob.
    pub fn matches_keyspace(&self, keyspace: &str) -> bool {
        self.covers_keyspace(keyspace) && (self.keyspace.literal().is_some() || !is_system_keyspace(keyspace))
    }

    /// Whether the table is one of those selected.
    pub fn matches_table(&self, keyspace: &str, table: &str) -> bool {
        self.matches_keyspace(keyspace) && self.covers_name(table)
    }

    /// Whether it is `ks`, not `ks.table`.
    pub fn is_whole_keyspace(&self) -> bool {
        self.table.is_none()
    }

    /// As `matches_keyspace`, but a glob matches a system keyspace too.
    fn covers_keyspace(&self, keyspace: &str) -> bool {
        self.keyspace.matches(keyspace)
    }

    fn covers_name(&self, table: &str) -> bool {
        self.table.as_ref().is_none_or(|t| t.matches(table))
    }

    fn covers_all_tables(&self) -> bool {
        self.table.as_ref().is_none_or(Pattern::is_all)
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Selector, SelectorError> {
        Selector::parse(text)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.keyspace)?;
        self.table.as_ref().map_or(Ok(()), |t| write!(f, ".{t}"))
    }
}

/// What is selected: anything that an include matches (everything but system keyspaces if there is none) and no exclude.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// What is wanted.
    pub include: Vec<Selector>,
    /// What is left out of that.
    pub exclude: Vec<Selector>,
}

impl Selection {
    /// Whether this table is selected.
    pub fn wants_table(&self, keyspace: &str, table: &str) -> bool {
        self.includes(keyspace, |s| s.covers_name(table))
            && !self.excludes(keyspace, |s| s.covers_name(table))
    }

    /// Whether any table of the keyspace might be selected.
    pub fn wants_keyspace(&self, keyspace: &str) -> bool {
        self.includes(keyspace, |_| true) && !self.excludes(keyspace, Selector::covers_all_tables)
    }

    /// Whether the keyspace itself is selected, not only tables of it.
    pub fn whole_keyspace(&self, keyspace: &str) -> bool {
        self.wants_keyspace(keyspace) && self.includes(keyspace, Selector::is_whole_keyspace)
    }

    /// The selectors, including or excluding, that match none of these; `ks` also matches a keyspace without tables.
    pub fn unmatched(
        &self,
        keyspaces: &[impl AsRef<str>],
        tables: &[(impl AsRef<str>, impl AsRef<str>)],
    ) -> Vec<&Selector> {
        let matches_any = |s: &Selector| {
            (s.is_whole_keyspace() && keyspaces.iter().any(|k| s.matches_keyspace(k.as_ref())))
                || tables.iter().any(|(k, t)| s.matches_table(k.as_ref(), t.as_ref()))
        };
        self.include.iter().chain(&self.exclude).filter(|s| !matches_any(s)).collect()
    }

    fn includes(&self, keyspace: &str, also: impl Fn(&Selector) -> bool) -> bool {
        if self.include.is_empty() {
            return !is_system_keyspace(keyspace);
        }
        self.include.iter().any(|s| s.matches_keyspace(keyspace) && also(s))
    }

    fn excludes(&self, keyspace: &str, also: impl Fn(&Selector) -> bool) -> bool {
        self.exclude.iter().any(|s| s.covers_keyspace(keyspace) && also(s))
    }
}

/// A new name for a keyspace or table, `--map old=new`. All names are true names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// `ks=ks2`.
    Keyspace {
        /// Old name.
        from: String,
        /// New name.
        to: String,
    },
    /// `ks.t=ks2.t2`.
    Table {
        /// Old keyspace and table.
        from: (String, String),
        /// New keyspace and table.
        to: (String, String),
    },
}

impl Mapping {
    /// Reads a mapping as typed.
    ///
    /// # Errors
    /// `SelectorError` says what is wrong and what a mapping looks like.
    pub fn parse(text: &str) -> Result<Mapping, SelectorError> {
        let error = |why| SelectorError::Mapping { text: text.to_owned(), why };
        let mut chars = text.char_indices().peekable();
        let from = path(&mut chars).map_err(error)?;
        match chars.next() {
            Some((_, '=')) => {}
            Some(_) => return Err(error(AFTER_NAME)),
            None => return Err(error("there is no =")),
        }
        let to = path(&mut chars).map_err(error)?;
        if chars.next().is_some() {
            return Err(error(AFTER_NAME));
        }
        let name = |pattern: Pattern| pattern.literal().ok_or(error("a name cannot be a glob"));
        Ok(match (from, to) {
            ((from, None), (to, None)) => Mapping::Keyspace { from: name(from)?, to: name(to)? },
            ((ks, Some(t)), (ks2, Some(t2))) => {
                Mapping::Table { from: (name(ks)?, name(t)?), to: (name(ks2)?, name(t2)?) }
            }
            _ => return Err(error("one side is a keyspace, the other a table")),
        })
    }

    /// All mappings together.
    ///
    /// # Errors
    /// `SelectorError::Contradiction` if one name gets two new ones, or two tables get the same.
    pub fn renames(mappings: &[Mapping]) -> Result<Renames, SelectorError> {
        let mut renames = Renames::default();
        for (i, mapping) in mappings.iter().enumerate() {
            if let Some(first) = mappings[..i].iter().find(|m| m.contradicts(mapping)) {
                return Err(SelectorError::Contradiction {
                    first: Box::new(first.clone()),
                    second: Box::new(mapping.clone()),
                });
            }
            match mapping.clone() {
                Mapping::Keyspace { from, to } => {
                    renames.keyspaces.insert(from, to);
                }
                Mapping::Table { from, to } => {
                    renames.tables.insert(from, to);
                }
            }
        }
        Ok(renames)
    }

    fn contradicts(&self, other: &Mapping) -> bool {
        match (self, other) {
            (Mapping::Keyspace { from, to }, Mapping::Keyspace { from: f, to: t }) => from == f && to != t,
            (Mapping::Table { from, to }, Mapping::Table { from: f, to: t }) => (from == f) != (to == t),
            _ => false,
        }
    }
}

/// Reads `ks.table`, both names in full, and answers their true names.
///
/// # Errors
/// `SelectorError` says what is wrong and what a table's name looks like.
pub fn table_name(text: &str) -> Result<(String, String), SelectorError> {
    let error = |why| SelectorError::Table { text: text.to_owned(), why };
    let mut chars = text.char_indices().peekable();
    let (keyspace, table) = path(&mut chars).map_err(error)?;
    if chars.next().is_some() {
        return Err(error(AFTER_NAME));
    }
    let table = table.ok_or(error("it needs a keyspace and a table"))?;
    let name = |pattern: Pattern| pattern.literal().ok_or(error("a name cannot be a glob"));
    Ok((name(keyspace)?, name(table)?))
}

/// Reads names separated by commas, each in full, and answers their true forms.
///
/// # Errors
/// `SelectorError` says what is wrong.
pub fn names(text: &str) -> Result<Vec<String>, SelectorError> {
    let error = |why| SelectorError::Names { text: text.to_owned(), why };
    let mut chars = text.char_indices().peekable();
    let mut names = Vec::new();
    loop {
        while chars.next_if(|(_, c)| *c == ' ').is_some() {}
        let name = pattern(&mut chars).map_err(error)?;
        names.push(name.literal().ok_or(error("a name cannot be a glob"))?);
        while chars.next_if(|(_, c)| *c == ' ').is_some() {}
        match chars.next() {
            None => return Ok(names),
            Some((_, ',')) => {}
            Some(_) => return Err(error(AFTER_NAME)),
        }
    }
}

impl FromStr for Mapping {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Mapping, SelectorError> {
        Mapping::parse(text)
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mapping::Keyspace { from, to } => write!(f, "{}={}", Ident(from), Ident(to)),
            Mapping::Table { from, to } => {
                write!(f, "{}.{}={}.{}", Ident(&from.0), Ident(&from.1), Ident(&to.0), Ident(&to.1))
            }
        }
    }
}

/// A name with wildcards in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(Vec<Piece>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Char(char),
    /// `?`
    One,
    /// `*`
    Any,
}

impl Pattern {
    /// The name, if it is one and no glob.
    fn literal(&self) -> Option<String> {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Char(c) => Some(*c),
                _ => None,
            })
            .collect()
    }

    fn is_all(&self) -> bool {
        self.0.iter().all(|piece| *piece == Piece::Any)
    }

    fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut piece, mut at) = (0, 0);
        // The last `*` passed and how much it takes; when the rest does not fit, it takes one more.
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.0.get(piece) {
                Some(Piece::Any) => {
                    star = Some((piece, at));
                    piece += 1;
                    continue;
                }
                Some(Piece::One) => {}
                Some(Piece::Char(c)) if *c == name[at] => {}
                _ => {
                    let Some((after, taken)) = &mut star else {
                        return false;
                    };
                    *taken += 1;
                    (piece, at) = (*after + 1, *taken);
                    continue;
                }
            }
            piece += 1;
            at += 1;
        }
        self.0[piece..].iter().all(|piece| *piece == Piece::Any)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.literal() {
            return write!(f, "{}", Ident(&name));
        }
        for run in self.0.chunk_by(|a, b| literal(*a) && literal(*b)) {
            let text: String = run.iter().map(|piece| piece.char()).collect();
            if !literal(run[0]) || text.chars().all(plain) {
                f.write_str(&text)?;
            } else {
                write!(f, "\"{}\"", text.replace('"', "\"\""))?;
            }
        }
        Ok(())
    }
}

impl Piece {
    fn char(self) -> char {
        match self {
            Piece::Char(c) => c,
            Piece::One => '?',
            Piece::Any => '*',
        }
    }
}

fn literal(piece: Piece) -> bool {
    matches!(piece, Piece::Char(_))
}

fn plain(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

const AFTER_NAME: &str = "after the name comes something that does not belong to it";

type Chars<'a> = Peekable<CharIndices<'a>>;

/// `name` or `name.name`.
fn path(chars: &mut Chars<'_>) -> Result<(Pattern, Option<Pattern>), &'static str> {
    let first = pattern(chars)?;
    let second = match chars.next_if(|(_, c)| *c == '.') {
        Some(_) => Some(pattern(chars)?),
        None => None,
    };
    Ok((first, second))
}

fn pattern(chars: &mut Chars<'_>) -> Result<Pattern, &'static str> {
    let mut pieces = Vec::new();
    while let Some((_, c)) =
        chars.next_if(|(_, c)| c.is_ascii_alphanumeric() || matches!(c, '_' | '*' | '?' | '"'))
    {
        match c {
            '*' => pieces.push(Piece::Any),
            '?' => pieces.push(Piece::One),
            '"' => quoted(chars, &mut pieces)?,
            other => pieces.push(Piece::Char(other.to_ascii_lowercase())),
        }
    }
    if pieces.is_empty() {
        return Err(if chars.peek().is_some() {
            "a name is missing, or needs double quotes"
        } else {
            "a name is missing"
        });
    }
    Ok(Pattern(pieces))
}

fn quoted(chars: &mut Chars<'_>, pieces: &mut Vec<Piece>) -> Result<(), &'static str> {
    loop {
        match chars.next() {
            None => return Err("a quote does not end"),
            Some((_, '"')) if chars.next_if(|(_, c)| *c == '"').is_none() => return Ok(()),
            Some((_, c)) => pieces.push(Piece::Char(c)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sel(text: &str) -> Selector {
        Selector::parse(text).unwrap()
    }

    fn selection(include: &[&str], exclude: &[&str]) -> Selection {
        Selection {
            include: include.iter().map(|s| sel(s)).collect(),
            exclude: exclude.iter().map(|s| sel(s)).collect(),
        }
    }

    #[test]
    fn names_fold_and_quotes_are_literal() {
        assert!(sel("Shop").matches_keyspace("shop"));
        assert!(sel("Shop").matches_table("shop", "anything"));
        assert!(!sel("Shop").matches_keyspace("Shop"));
        assert!(sel("\"KdMix\".\"a\"\"b.*\"").matches_table("KdMix", "a\"b.*"));
        assert!(!sel("\"KdMix\".\"a*\"").matches_table("KdMix", "ab"));
        assert!(sel("\"Kd\"*.t").matches_table("KdMix", "t"));
        assert!(sel("s?op.o*e*s").matches_table("shop", "order_entries"));
        assert!(!sel("s?op.o*e*s").matches_table("shop", "orders2"));
        assert!(sel("shop").is_whole_keyspace() && !sel("shop.*").is_whole_keyspace());
    }

    #[test]
    fn what_is_not_a_selector_is_explained() {
        for (text, part) in [
            ("", "missing"),
            ("a.", "missing"),
            (".a", "missing"),
            ("a.b.c", "after the name"),
            ("a b", "after the name"),
            ("é", "double quotes"),
            ("\"a", "does not end"),
            ("\"\"", "missing"),
        ] {
            let message = Selector::parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
            assert!(message.contains("keyspace.table"), "{message}");
        }
    }

    #[test]
    fn system_keyspaces_are_selected_by_their_exact_name_only() {
        assert!(!sel("*").matches_keyspace("system_auth"));
        assert!(!sel("system*").matches_keyspace("system_auth"));
        assert!(sel("system_auth").matches_table("system_auth", "roles"));
        assert!(!Selection::default().wants_keyspace("dse_perf"));
        assert!(Selection::default().wants_table("OpsCenter", "t"));
        assert!(!selection(&["system"], &["sys*"]).wants_keyspace("system"));
    }

    #[test]
    fn a_selection_is_includes_without_excludes() {
        let s = selection(&["a", "b.t*", "none.x"], &["a.tmp_*", "b.t2", "c"]);
        assert!(s.wants_table("a", "t") && !s.wants_table("a", "tmp_1"));
        assert!(s.wants_table("b", "t1") && !s.wants_table("b", "t2") && !s.wants_table("b", "x"));
        assert!(s.wants_keyspace("b") && !s.whole_keyspace("b") && s.whole_keyspace("a"));
        assert!(!s.wants_keyspace("c"));
        let left = s.unmatched(&["a", "empty"], &[("b", "t2")]);
        assert_eq!(left, [&sel("none.x"), &sel("a.tmp_*"), &sel("c")]);
        let all = selection(&[], &["a.*"]);
        assert!(all.whole_keyspace("b") && !all.wants_keyspace("a"));
        assert!(all.unmatched(&["a"], &[("a", "t")]).is_empty());
    }

    #[test]
    fn mappings_have_the_same_shape_on_both_sides() {
        assert_eq!(
            Mapping::parse("Shop=\"Shop=2\"").unwrap(),
            Mapping::Keyspace { from: "shop".into(), to: "Shop=2".into() }
        );
        let table = Mapping::parse("a.t=b.\"T.2\"").unwrap();
        assert_eq!(table.to_string(), "a.t=b.\"T.2\"");
        for (text, part) in [
            ("a", "no ="),
            ("a=b.c", "one side"),
            ("a.b=c", "one side"),
            ("a*=b", "glob"),
            ("a=b=c", "after the name"),
            ("a=", "missing"),
            ("=a", "missing"),
        ] {
            let message = Mapping::parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn renames_refuse_contradictions() {
        let renames = |texts: &[&str]| {
            let mappings: Vec<_> = texts.iter().map(|t| Mapping::parse(t).unwrap()).collect();
            Mapping::renames(&mappings)
        };
        let ok = renames(&["a=b", "a.t=c.u", "a=b"]).unwrap();
        assert_eq!(ok.keyspace("a"), "b");
        assert_eq!(ok.table("a", "t"), ("c", "u"));
        assert_eq!(ok.table("a", "x"), ("b", "x"));
        assert_eq!(ok.table("x", "t"), ("x", "t"));
        assert!(renames(&["a=b", "a=c"]).is_err());
        assert!(renames(&["a.t=b.t", "a.t=c.t"]).is_err());
        let both = renames(&["a.t=c.t", "b.t=c.t"]).unwrap_err();
        assert_eq!(both.to_string(), "a.t=c.t and b.t=c.t contradict each other");
    }

    proptest! {
        #[test]
        fn a_printed_selector_reads_the_same(text in "[a-cA-C0-9_*?]{1,6}(\"[aB*.é ]{1,4}\")?(\\.[a-c*]{0,3}(\"[A\\.*]{1,3}\")[a-c*]{0,3})?") {
            let parsed = sel(&text);
            prop_assert_eq!(sel(&parsed.to_string()), parsed);
        }

        #[test]
        fn a_name_is_selected_by_itself_quoted(ks in "\\PC{1,8}", t in "\\PC{1,8}") {
            let s = sel(&format!("{}.{}", Ident(&ks), Ident(&t)));
            prop_assert!(s.matches_table(&ks, &t));
        }

        #[test]
        fn globs_match_as_defined(pattern in "[ab*?]{1,7}", name in "[ab]{0,8}") {
            fn slow(p: &[u8], n: &[u8]) -> bool {
                match (p.first(), n.first()) {
                    (None, _) => n.is_empty(),
                    (Some(b'*'), _) => slow(&p[1..], n) || (!n.is_empty() && slow(p, &n[1..])),
                    (Some(b'?'), Some(_)) => slow(&p[1..], &n[1..]),
                    (Some(c), Some(d)) => c == d && slow(&p[1..], &n[1..]),
                    _ => false,
                }
            }
            prop_assert_eq!(sel(&pattern).keyspace.matches(&name), slow(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
