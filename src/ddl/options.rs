//! The options of a statement, what follows its WITH, each as it stands in the text. What becomes of them is left to
//! `target`.

use super::lex::{Token, TokenKind, lex, literal};
use super::words::{is_word, outside, significant};
use super::{DdlError, Kind, Statement};

/// A statement taken apart at its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// All before WITH, without the blanks that end it.
    pub head: String,
    /// What WITH and AND separate.
    pub options: Vec<OptionText>,
    /// The semicolon, if there was one.
    pub tail: String,
}

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionText {
    /// Its name in small letters: `comment`, `clustering order by`, `compact storage`.
    pub name: String,
    /// The whole of it.
    pub text: String,
    /// What follows `=`; nothing of options without one.
    pub value: String,
}

impl OptionText {
    /// `name = value`.
    pub fn new(name: &str, value: &str) -> OptionText {
        OptionText { name: name.to_owned(), text: format!("{name} = {value}"), value: value.to_owned() }
    }
}

impl Parts {
    /// Takes a statement apart. Functions and aggregates have no options.
    ///
    /// # Errors
    /// `DdlError` if the text is not what a statement is.
    pub fn of(statement: &Statement) -> Result<Parts, DdlError> {
        let cql = &statement.cql;
        let mut tokens = significant(cql)?;
        let mut tail = "";
        while tokens.pop_if(|t| &cql[t.range.clone()] == ";").is_some() {
            tail = ";";
        }
        let end = tokens.last().map_or(0, |t| t.range.end);
        let whole = || Parts { head: cql[..end].to_owned(), options: Vec::new(), tail: tail.to_owned() };
        if statement.kind.is_function() || statement.kind == Kind::Type {
            return Ok(whole());
        }
        let is = |t: &Token, word: &str| is_word(cql, t, word);
        let outside = outside(cql, &tokens);
        let Some(with) = outside.iter().position(|at| is(&tokens[*at], "with")) else { return Ok(whole()) };
        let mut options = Vec::new();
        let mut begin = tokens[outside[with]].range.end;
        let ands = outside[with + 1..].iter().map(|at| &tokens[*at]).filter(|t| is(t, "and"));
        for (to, next) in ands.map(|t| (t.range.start, t.range.end)).chain([(end, end)]) {
            options.push(option(cql[begin..to].trim()));
            begin = next;
        }
        // Without a comment at its end, which would take in what follows.
        let before = outside[with].checked_sub(1).map_or(0, |at| tokens[at].range.end);
        let head = cql[..before].to_owned();
        Ok(Parts { head, options, tail: tail.to_owned() })
    }

    /// The option of this name.
    pub fn option(&self, name: &str) -> Option<&OptionText> {
        self.options.iter().find(|option| option.name == name)
    }

    /// The statement again.
    pub fn cql(&self) -> String {
        let options: Vec<&str> = self.options.iter().map(|option| option.text.as_str()).collect();
        let with = if options.is_empty() { "" } else { " WITH " };
        format!("{}{with}{}{}", self.head, options.join("\n    AND "), self.tail)
    }
}

fn option(text: &str) -> OptionText {
    let tokens: Vec<Token> = lex(text).unwrap_or_default().into_iter().filter(|t| !t.is_trivia()).collect();
    let words = tokens.iter().take_while(|t| t.kind == TokenKind::Word);
    let name: Vec<String> = words.map(|t| text[t.range.clone()].to_ascii_lowercase()).collect();
    let value = match tokens.get(name.len()) {
        Some(sign) if &text[sign.range.clone()] == "=" => text[sign.range.end..].trim(),
        _ => "",
    };
    OptionText { name: name.join(" "), text: text.to_owned(), value: value.to_owned() }
}

/// The entries of a map of texts and numbers, as `{'class': 'x', 'n': 4}`; `None` if it is anything else.
pub fn map(text: &str) -> Option<Vec<(String, String)>> {
    let tokens: Vec<Token> = lex(text).ok()?.into_iter().filter(|t| !t.is_trivia()).collect();
    let plain = |token: &Token| {
        let text = &text[token.range.clone()];
        match token.kind {
            TokenKind::Text => Some(text[1..text.len() - 1].replace("''", "'")),
            TokenKind::Word | TokenKind::Number => Some(text.to_owned()),
            _ => None,
        }
    };
    let is = |token: Option<&Token>, sign: &str| token.is_some_and(|t| &text[t.range.clone()] == sign);
    let (first, last) = (tokens.first(), tokens.last());
    if tokens.len() < 2 || !is(first, "{") || !is(last, "}") {
        return None;
    }
    let inside = &tokens[1..tokens.len() - 1];
    let mut entries = Vec::new();
    for entry in inside.split(|token| &text[token.range.clone()] == ",").filter(|entry| !entry.is_empty()) {
        let [key, colon, value] = entry else { return None };
        if !is(Some(colon), ":") {
            return None;
        }
        entries.push((plain(key)?, plain(value)?));
    }
    Some(entries)
}

/// The text of a map with each list in it, `['r1', 'r2']`, as the number of its items, quoted; `None` if it has no list.
pub fn counted(text: &str) -> Option<String> {
    let tokens = significant(text).ok()?;
    let (mut out, mut copied, mut found) = (String::new(), 0, false);
    let is = |token: &Token, sign: &str| &text[token.range.clone()] == sign;
    let mut rest = tokens.iter();
    while let Some(open) = rest.find(|token| is(token, "[")) {
        let items: Vec<&Token> = rest.by_ref().take_while(|token| !is(token, "]")).collect();
        let close = rest.as_slice().first().map_or(text.len(), |next| next.range.start);
        let count = items.iter().filter(|token| !is(token, ",")).count();
        out.push_str(&text[copied..open.range.start]);
        out.push_str(&format!("'{count}'"));
        (copied, found) = (close, true);
    }
    found.then(|| out + &text[copied..])
}

/// The map as CQL.
pub fn print_map(entries: &[(String, String)]) -> String {
    let each: Vec<String> =
        entries.iter().map(|(key, value)| format!("{}: {}", literal(key), literal(value))).collect();
    format!("{{{}}}", each.join(", "))
}
