//! Single words of a statement, found outside of strings, bodies and quoted names.

use super::DdlError;
use super::lex::{Token, TokenKind, lex, true_name};

/// The tokens that mean something.
pub(super) fn significant(cql: &str) -> Result<Vec<Token>, DdlError> {
    Ok(lex(cql)?.into_iter().filter(|token| !token.is_trivia()).collect())
}

/// Whether the token is this word, in any case.
pub(super) fn is_word(cql: &str, token: &Token, word: &str) -> bool {
    token.kind == TokenKind::Word && cql[token.range.clone()].eq_ignore_ascii_case(word)
}

/// What follows the word at its first place outside of brackets: another word, or a text without its quotes.
pub(super) fn after(cql: &str, word: &str) -> Result<Option<String>, DdlError> {
    let tokens = significant(cql)?;
    let outside = outside(cql, &tokens);
    let found = outside.windows(2).find(|pair| is_word(cql, &tokens[pair[0]], word));
    Ok(found.map(|pair| cql[tokens[pair[1]].range.clone()].trim_matches('\'').to_owned()))
}

/// Whether the type `vector` is named: the word with its elements behind it.
pub(super) fn names_vector(cql: &str) -> Result<bool, DdlError> {
    let tokens = significant(cql)?;
    let opens = |token: &Token| &cql[token.range.clone()] == "<";
    Ok(tokens.windows(2).any(|pair| is_word(cql, &pair[0], "vector") && opens(&pair[1])))
}

/// Whether a name stands anywhere in the statement.
///
/// # Errors
/// `DdlError` if the text cannot be cut into tokens.
pub fn names(cql: &str, name: &str) -> Result<bool, DdlError> {
    let is = |token: &Token| {
        let is_name = matches!(token.kind, TokenKind::Word | TokenKind::QuotedName);
        is_name && true_name(&cql[token.range.clone()]) == name
    };
    Ok(significant(cql)?.iter().any(is))
}

/// The first bracket with what is in it, each run of blanks and comments as one blank.
pub(super) fn bracket(cql: &str) -> Result<String, DdlError> {
    let (mut out, mut depth, mut end) = (String::new(), 0usize, None);
    for token in significant(cql)? {
        let text = &cql[token.range.clone()];
        if depth == 0 && text != "(" {
            continue;
        }
        if end.is_some_and(|end| end < token.range.start) {
            out.push(' ');
        }
        end = Some(token.range.end);
        out.push_str(text);
        match text {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    Ok(out)
}

/// The places of the tokens that are in no bracket, the brackets themselves left out.
pub(super) fn outside(cql: &str, tokens: &[Token]) -> Vec<usize> {
    let mut depth = 0usize;
    let mut out = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match &cql[token.range.clone()] {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ if depth == 0 => out.push(at),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_where_they_mean_something() {
        let index = "CREATE CUSTOM INDEX using ON ks.t (v) USING 'sai' WITH OPTIONS = {'using': 'x'};";
        // The index's own name comes first: no server takes the reserved word unquoted there.
        assert_eq!(after(index, "with"), Ok(Some("OPTIONS".to_owned())));
        let index = index.replace("INDEX using", "INDEX \"using\"");
        assert_eq!(after(&index, "using"), Ok(Some("sai".to_owned())));
        let function = "CREATE FUNCTION ks.f(language int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$language x$$;";
        assert_eq!(after(function, "language"), Ok(Some("java".to_owned())));
        assert_eq!(after("CREATE INDEX ON ks.t (v)", "using"), Ok(None));
    }

    #[test]
    fn vectors_are_told_from_columns_of_that_name() {
        for (cql, is) in [
            ("CREATE TABLE ks.t (k int PRIMARY KEY, v vector<float, 3>)", true),
            ("CREATE TABLE ks.t (k int PRIMARY KEY, v list<frozen<VECTOR <float, 3>>>)", true),
            ("CREATE TABLE ks.t (vector int PRIMARY KEY)", false),
            ("CREATE TABLE ks.t (k int PRIMARY KEY) WITH comment = 'vector<float, 3>'", false),
            ("CREATE TABLE ks.t (k int PRIMARY KEY, v \"vector\")", false),
        ] {
            assert_eq!(names_vector(cql), Ok(is), "{cql}");
        }
    }

    #[test]
    fn names_are_told_from_texts() {
        let cql = "CREATE TABLE ks.t (k int PRIMARY KEY, a frozen<\"My T\">, b Zip) WITH comment = 'street'";
        for (name, is) in [("My T", true), ("zip", true), ("street", false), ("my t", false)] {
            assert_eq!(names(cql, name), Ok(is), "{name}");
        }
    }
}
