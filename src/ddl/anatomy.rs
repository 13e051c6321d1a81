//! Which parts of one CREATE statement are names, and where they lie. What becomes of them is left to
//! [`super::rewrite`].

use super::lex::{Token, TokenKind, lex, true_name};
use super::{DdlError, Kind};
use std::ops::Range;

/// A name in the text: its bytes there and its true, unquoted form.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub range: Range<usize>,
    pub text: String,
}

/// A name with or without a keyspace before it.
#[derive(Clone, Debug)]
pub(super) struct Qualified {
    pub keyspace: Option<Name>,
    pub name: Name,
}

/// Where the replication map of a CREATE KEYSPACE is, or belongs.
#[derive(Clone, Debug)]
pub(super) enum Replication {
    /// The value after `replication =`.
    Value(Range<usize>),
    /// There are options without it: before the first of them, at this byte.
    Among(usize),
    /// There are no options: after the name, at this byte.
    NoOptions(usize),
}

/// The statement's parts; all ranges are of the text it was read from.
#[derive(Clone, Debug)]
pub(super) struct Anatomy {
    pub kind: Kind,
    /// First to last significant token, the final semicolon included.
    pub span: Range<usize>,
    /// The keyspace the object lives in; the keyspace itself for CREATE KEYSPACE.
    pub keyspace: String,
    /// The object's name; an index may have none.
    pub name: Option<Qualified>,
    /// The indexed table, or the view's base table.
    pub table: Option<Qualified>,
    /// Keyspaces before the names of types and functions.
    pub references: Vec<Name>,
    /// The true names of user types that fields or columns may name (built-in ones among them).
    pub field_types: Vec<String>,
    /// Only for CREATE KEYSPACE.
    pub replication: Option<Replication>,
}

impl Anatomy {
    pub fn read(cql: &str) -> Result<Anatomy, DdlError> {
        let all = lex(cql)?;
        let commented = all.iter().any(|t| t.kind == TokenKind::Comment);
        let mut tokens: Vec<Token> = all.into_iter().filter(|t| !t.is_trivia()).collect();
        let mut end = tokens.last().map_or(0, |t| t.range.end);
        while let Some(semicolon) = tokens.pop_if(|t| &cql[t.range.clone()] == ";") {
            end = semicolon.range.end;
        }
        let Some(first) = tokens.first() else {
            return Err(if commented { DdlError::OnlyComment } else { DdlError::Empty });
        };
        let span = first.range.start..end;
        let mut cursor = Cursor { cql, tokens: &tokens, at: 0 };
        let kind = cursor.kind()?;
        if let Some(end) = tokens.iter().position(|t| &cql[t.range.clone()] == ";") {
            let second = tokens.get(end + 1..).unwrap_or_default();
            return Err(DdlError::Several { second: leading_words(cql, second) });
        }
        cursor.check_brackets()?;
        cursor.body(kind, span)
    }
}

struct Cursor<'a> {
    cql: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn text(&self, at: usize) -> Option<&'a str> {
        self.tokens.get(at).map(|t| &self.cql[t.range.clone()])
    }

    fn is_word(&self, at: usize, word: &str) -> bool {
        self.tokens.get(at).is_some_and(|t| t.kind == TokenKind::Word)
            && self.text(at).is_some_and(|t| t.eq_ignore_ascii_case(word))
    }

    /// `text` is one character, so only a punctuation token can equal it.
    fn is_punct(&self, at: usize, text: &str) -> bool {
        self.text(at) == Some(text) && self.tokens[at].kind == TokenKind::Punct
    }

    fn take_words(&mut self, words: &[&str]) -> bool {
        let all = (self.at..).zip(words).all(|(at, word)| self.is_word(at, word));
        if all {
            self.at += words.len();
        }
        all
    }

    fn expected(&self, what: &'static str) -> DdlError {
        DdlError::Expected {
            what,
            found: self.text(self.at).map_or_else(|| "the end".to_owned(), |t| format!("{:?}", shorten(t))),
            at: self.tokens.get(self.at).map_or(self.cql.len(), |t| t.range.start),
        }
    }

    fn kind(&mut self) -> Result<Kind, DdlError> {
        let unsupported = || DdlError::Unsupported { found: leading_words(self.cql, self.tokens) };
        if !self.is_word(0, "create") {
            return Err(unsupported());
        }
        let forms: &[(&[&str], Kind)] = &[
            (&["keyspace"], Kind::Keyspace),
            (&["schema"], Kind::Keyspace),
            (&["type"], Kind::Type),
            (&["function"], Kind::Function),
            (&["aggregate"], Kind::Aggregate),
            (&["table"], Kind::Table),
            (&["columnfamily"], Kind::Table),
            (&["index"], Kind::Index),
            (&["custom", "index"], Kind::Index),
            (&["materialized", "view"], Kind::View),
        ];
        let found =
            forms.iter().find(|(words, _)| (1..).zip(*words).all(|(at, word)| self.is_word(at, word)));
        let Some((words, kind)) = found else {
            return Err(unsupported());
        };
        self.at = 1 + words.len();
        self.take_words(&["if", "not", "exists"]);
        Ok(*kind)
    }

    fn name_at(&self, at: usize) -> Option<Name> {
        let token = self.tokens.get(at)?;
        let text = self.text(at)?;
        if !matches!(token.kind, TokenKind::Word | TokenKind::QuotedName) {
            return None;
        }
        let text = true_name(text);
        (!text.is_empty()).then(|| Name { range: token.range.clone(), text })
    }

    fn name(&mut self, what: &'static str) -> Result<Name, DdlError> {
        let name = self.name_at(self.at).ok_or_else(|| self.expected(what))?;
        self.at += 1;
        Ok(name)
    }

    fn qualified(&mut self, what: &'static str) -> Result<Qualified, DdlError> {
        let first = self.name(what)?;
        if !self.is_punct(self.at, ".") {
            return Ok(Qualified { keyspace: None, name: first });
        }
        self.at += 1;
        Ok(Qualified { keyspace: Some(first), name: self.name(what)? })
    }

    fn body(mut self, kind: Kind, span: Range<usize>) -> Result<Anatomy, DdlError> {
        let mut anatomy = Anatomy {
            kind,
            span,
            keyspace: String::new(),
            name: None,
            table: None,
            references: Vec::new(),
            field_types: Vec::new(),
            replication: None,
        };
        match kind {
            Kind::Keyspace => {
                let name = self.name("the keyspace's name")?;
                anatomy.keyspace.clone_from(&name.text);
                anatomy.replication = Some(self.replication(name.range.end)?);
                anatomy.name = Some(Qualified { keyspace: None, name });
                return Ok(anatomy);
            }
            Kind::Index => {
                // ON is reserved: an unquoted ON here means that the index has no name.
                if !self.is_word(self.at, "on") {
                    anatomy.name = Some(self.qualified("the index's name or ON")?);
                }
                if !self.take_words(&["on"]) {
                    return Err(self.expected("ON"));
                }
                anatomy.table = Some(self.qualified("the indexed table's name")?);
                self.expect_bracket()?;
            }
            Kind::View => {
                anatomy.name = Some(self.qualified("the view's name")?);
                let start = self.at;
                if !self.take_words(&["as", "select"]) {
                    return Err(self.expected("AS SELECT"));
                }
                // FROM is reserved: unquoted it cannot be a column.
                while self.at < self.tokens.len() && !self.is_word(self.at, "from") {
                    self.at += 1;
                }
                if !self.take_words(&["from"]) {
                    return Err(self.expected("FROM"));
                }
                let from = self.at;
                anatomy.table = Some(self.qualified("the base table's name")?);
                anatomy.references = self.references(start..from, true);
                anatomy.references.extend(self.references(self.at..self.tokens.len(), true));
            }
            Kind::Table | Kind::Type => {
                anatomy.name = Some(self.qualified("the name")?);
                self.expect_bracket()?;
                let inside = self.at + 1..self.closing(self.at);
                anatomy.field_types = self.field_types(inside.clone());
                anatomy.references = self.references(inside, false);
            }
            Kind::Function | Kind::Aggregate => {
                anatomy.name = Some(self.qualified("the name")?);
                self.expect_bracket()?;
                anatomy.references = self.references(self.at..self.tokens.len(), false);
            }
        }
        anatomy.keyspace = home(kind, anatomy.name.as_ref(), anatomy.table.as_ref())?;
        Ok(anatomy)
    }

    fn expect_bracket(&self) -> Result<(), DdlError> {
        if self.is_punct(self.at, "(") { Ok(()) } else { Err(self.expected("(")) }
    }

    /// Keyspaces in `keyspace.name` within the tokens `within`; `called` asks for a `(` after it.
    fn references(&self, within: Range<usize>, called: bool) -> Vec<Name> {
        within
            .filter(|&at| self.is_punct(at + 1, ".") && self.name_at(at + 2).is_some())
            .filter(|&at| !called || self.is_punct(at + 3, "("))
            .filter(|&at| at == 0 || !self.is_punct(at - 1, "."))
            .filter_map(|at| self.name_at(at))
            .collect()
    }

    /// Every name in the types of the fields within; the first name of each field is the field's own, and what a table's
    /// PRIMARY KEY names are columns.
    fn field_types(&self, within: Range<usize>) -> Vec<String> {
        let mut names = Vec::new();
        let mut depth = 0usize;
        let mut field_begins = true;
        let mut key_ends = within.start;
        for at in within {
            if std::mem::take(&mut field_begins) {
                let is_key =
                    self.is_word(at, "primary") && self.is_word(at + 1, "key") && self.is_punct(at + 2, "(");
                if is_key {
                    key_ends = self.closing(at + 2) + 1;
                }
                continue;
            }
            if at < key_ends {
                continue;
            }
            match self.text(at) {
                Some("<" | "(") => depth += 1,
                Some(">" | ")") => depth = depth.saturating_sub(1),
                Some(",") if depth == 0 => field_begins = true,
                _ if self.is_punct(at + 1, ".") => {}
                _ => names.extend(self.name_at(at).map(|n| n.text)),
            }
        }
        names
    }

    fn replication(&self, name_end: usize) -> Result<Replication, DdlError> {
        if self.at == self.tokens.len() {
            return Ok(Replication::NoOptions(name_end));
        }
        if !self.is_word(self.at, "with") {
            return Err(self.expected("WITH"));
        }
        let mut at = self.at + 1;
        let first = self.tokens.get(at).map_or(name_end, |t| t.range.start);
        while at < self.tokens.len() {
            if self.is_punct(at, "{") {
                at = self.closing(at);
            } else if self.is_punct(at + 1, "=") && self.name_at(at).is_some_and(|n| n.text == "replication")
            {
                if !self.is_punct(at + 2, "{") {
                    let value = Cursor { at: at + 2, ..*self };
                    return Err(value.expected("the replication map"));
                }
                let close = self.closing(at + 2);
                let (open, close) = (&self.tokens[at + 2], &self.tokens[close]);
                return Ok(Replication::Value(open.range.start..close.range.end));
            }
            at += 1;
        }
        Ok(Replication::Among(first))
    }

    /// The bracket that closes the one at `open`; brackets have been checked to match.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0usize;
        for at in open..self.tokens.len() {
            match self.text(at) {
                Some("(" | "[" | "{") => depth += 1,
                Some(")" | "]" | "}") => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return at;
            }
        }
        open
    }

    fn check_brackets(&self) -> Result<(), DdlError> {
        let mut open: Vec<(&str, usize)> = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            let start = token.range.start;
            match self.text(at) {
                Some("(") => open.push((")", start)),
                Some("[") => open.push(("]", start)),
                Some("{") => open.push(("}", start)),
                Some(text @ (")" | "]" | "}")) => {
                    let matches = open.pop().is_some_and(|(closing, _)| closing == text);
                    if !matches {
                        return Err(DdlError::Bracket { at: start });
                    }
                }
                _ => {}
            }
        }
        open.pop().map_or(Ok(()), |(_, at)| Err(DdlError::Bracket { at }))
    }
}

/// The one keyspace that the names agree on.
fn home(kind: Kind, name: Option<&Qualified>, table: Option<&Qualified>) -> Result<String, DdlError> {
    let shown = || {
        let named = name.or(table);
        named.map_or_else(String::new, |q| q.name.text.clone())
    };
    let of_name = name.and_then(|q| q.keyspace.as_ref());
    let of_table = table.and_then(|q| q.keyspace.as_ref());
    match (of_name, of_table) {
        (Some(a), Some(b)) if a.text != b.text => Err(DdlError::Apart {
            kind,
            name: shown(),
            keyspace: a.text.clone(),
            table_keyspace: b.text.clone(),
        }),
        (Some(keyspace), _) => Ok(keyspace.text.clone()),
        // An index lives where its table does; a view without a keyspace lives where the session happens to be.
        (None, Some(keyspace)) if kind == Kind::Index => Ok(keyspace.text.clone()),
        _ => Err(DdlError::NoKeyspace { kind, name: shown() }),
    }
}

/// What a statement is, from its first words: `DROP TABLE`, `GRANT SELECT`.
fn leading_words(cql: &str, tokens: &[Token]) -> String {
    let words: Vec<String> = tokens
        .iter()
        .take_while(|t| t.kind == TokenKind::Word)
        .take(2)
        .map(|t| shorten(&cql[t.range.clone()]).to_ascii_uppercase())
        .collect();
    match (words.is_empty(), tokens.first()) {
        (true, Some(token)) => shorten(&cql[token.range.clone()]).to_owned(),
        _ => words.join(" "),
    }
}

/// The first characters of a text that may be long.
pub(super) fn shorten(text: &str) -> &str {
    text.char_indices().nth(40).map_or(text, |(end, _)| &text[..end])
}
