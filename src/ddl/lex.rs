//! Which tokens a CQL text is made of, every byte kept. What the tokens mean together is left to `anatomy`.

use std::ops::Range;
use thiserror::Error;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Blanks, tabs and line ends.
    Space,
    /// `-- …`, `// …` up to the line end, or `/* … */`.
    Comment,
    /// An unquoted name or keyword.
    Word,
    /// `"…"`, a quote inside doubled.
    QuotedName,
    /// `'…'`, a quote inside doubled.
    Text,
    /// `$$…$$`, everything inside literal.
    Body,
    /// A number, hexadecimal constant or duration, without its sign.
    Number,
    /// Any other single character.
    Punct,
}

/// A token and where it lies in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its bytes, always whole characters.
    pub range: Range<usize>,
}

impl Token {
    /// Whether it only separates other tokens.
    pub fn is_trivia(&self) -> bool {
        matches!(self.kind, TokenKind::Space | TokenKind::Comment)
    }
}

/// Something that begins and does not end.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the {what} that begins at byte {at} does not end")]
pub struct LexError {
    /// What begins there.
    pub what: &'static str,
    /// Where.
    pub at: usize,
}

/// Cuts `text` into tokens; their ranges follow each other from the first byte to the last.
///
/// # Errors
/// `LexError` if a string, body, quoted name or comment does not end.
pub fn lex(text: &str) -> Result<Vec<Token>, LexError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let (kind, len) = token(&text[at..], first).map_err(|what| LexError { what, at })?;
        tokens.push(Token { kind, range: at..at + len });
        at += len;
    }
    Ok(tokens)
}

/// A text as a string of CQL.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The true name that an unquoted or quoted one stands for.
pub fn true_name(written: &str) -> String {
    match written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inside) => inside.replace("\"\"", "\""),
        None => written.to_ascii_lowercase(),
    }
}

/// Kind and length of the token at the start of `rest`, or what does not end.
fn token(rest: &str, first: char) -> Result<(TokenKind, usize), &'static str> {
    let run = |is: fn(u8) -> bool| rest.bytes().position(|b| !is(b)).unwrap_or(rest.len());
    Ok(match first {
        ' ' | '\t' | '\r' | '\n' => (TokenKind::Space, run(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))),
        '-' | '/' if rest.starts_with("--") || rest.starts_with("//") => {
            (TokenKind::Comment, run(|b| !matches!(b, b'\r' | b'\n')))
        }
        '/' if rest.starts_with("/*") => {
            let end = rest[2..].find("*/").ok_or("comment")?;
            (TokenKind::Comment, end + 4)
        }
        '$' if rest.starts_with("$$") => {
            let end = rest[2..].find("$$").ok_or("$$ body")?;
            (TokenKind::Body, end + 4)
        }
        '\'' => (TokenKind::Text, quoted(rest, b'\'').ok_or("string")?),
        '"' => (TokenKind::QuotedName, quoted(rest, b'"').ok_or("quoted name")?),
        'a'..='z' | 'A'..='Z' => (TokenKind::Word, run(|b| b.is_ascii_alphanumeric() || b == b'_')),
        '0'..='9' => (TokenKind::Number, number(rest.as_bytes())),
        other => (TokenKind::Punct, other.len_utf8()),
    })
}

/// Length of the quoted token at the start of `rest`, where a doubled quote stands for one.
fn quoted(rest: &str, quote: u8) -> Option<usize> {
    let bytes = rest.as_bytes();
    let mut at = 1;
    loop {
        at += memchr::memchr(quote, &bytes[at..])? + 1;
        if bytes.get(at) != Some(&quote) {
            return Some(at);
        }
        at += 1;
    }
}

/// Length of the number at the start of `rest`: digits and letters, a point before a digit, the sign of an exponent.
fn number(rest: &[u8]) -> usize {
    let hex = rest.starts_with(b"0x") || rest.starts_with(b"0X");
    let digit_at = |i: usize| rest.get(i).is_some_and(u8::is_ascii_digit);
    let mut at = 1;
    while let Some(b) = rest.get(at) {
        let goes_on = match b {
            b'.' => digit_at(at + 1),
            b'+' | b'-' => !hex && matches!(rest[at - 1], b'e' | b'E') && digit_at(at + 1),
            _ => b.is_ascii_alphanumeric(),
        };
        if !goes_on {
            break;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds(text: &str) -> Vec<(TokenKind, &str)> {
        lex(text)
            .unwrap()
            .into_iter()
            .filter(|t| t.kind != TokenKind::Space)
            .map(|t| (t.kind, &text[t.range]))
            .collect()
    }

    #[test]
    fn each_kind_of_token_ends_where_the_server_ends_it() {
        use TokenKind::*;
        assert_eq!(
            kinds("a.\"q\"\"u;\" 'it''s \"x\"' $$ ';' $ -- $$ 1.5 1e-3 0x0e-1 1h30m -- c ; '\r;"),
            [
                (Word, "a"),
                (Punct, "."),
                (QuotedName, "\"q\"\"u;\""),
                (Text, "'it''s \"x\"'"),
                (Body, "$$ ';' $ -- $$"),
                (Number, "1.5"),
                (Number, "1e-3"),
                (Number, "0x0e"),
                (Punct, "-"),
                (Number, "1"),
                (Number, "1h30m"),
                (Comment, "-- c ; '"),
                (Punct, ";"),
            ]
        );
        assert_eq!(
            kinds("''''/* ' */é//x"),
            [(Text, "''''"), (Comment, "/* ' */"), (Punct, "é"), (Comment, "//x"),]
        );
    }

    #[test]
    fn what_does_not_end_is_named_with_its_place() {
        for (text, what) in [
            ("a 'b", "string"),
            ("a 'b''", "string"),
            ("a \"b", "quoted name"),
            ("a $$b$", "$$ body"),
            ("a /*b*", "comment"),
            ("a /*/", "comment"),
        ] {
            assert_eq!(lex(text), Err(LexError { what, at: 2 }), "{text}");
        }
    }

    proptest! {
        #[test]
        fn tokens_put_together_are_the_text(text in "([a-z0-9 é;.'\"$/*\n-]|--|\\$\\$|/\\*|\\*/|''){0,40}") {
            if let Ok(tokens) = lex(&text) {
                let mut at = 0;
                for token in tokens {
                    prop_assert_eq!(token.range.start, at);
                    prop_assert!(token.range.end > at);
                    prop_assert!(text.get(token.range.clone()).is_some());
                    at = token.range.end;
                }
                prop_assert_eq!(at, text.len());
            }
        }
    }
}
