//! Which functions an aggregate calls: several may have its function's name, and arguments tell them apart.

use super::create::thawed;
use super::lex::{TokenKind, true_name};
use super::words::significant;
use super::{DdlError, Statement};

/// What begins a clause of an aggregate.
const CLAUSES: [&str; 5] = ["sfunc", "stype", "reducefunc", "finalfunc", "initcond"];

/// Whether the aggregate calls the function, which is of the same keyspace.
///
/// # Errors
/// `DdlError` if a text cannot be cut into tokens.
pub(super) fn calls(aggregate: &Statement, function: &Statement) -> Result<bool, DdlError> {
    let (arguments, clauses) = signature(aggregate)?;
    let (own, _) = signature(function)?;
    // A name stands before each type.
    let own: Vec<&[String]> = own.iter().map(|argument| argument.get(1..).unwrap_or_default()).collect();
    let state = clause(&clauses, "stype");
    let arguments = arguments.iter().map(Vec::as_slice);
    let takes =
        |word: &str, types: Vec<&[String]>| clause(&clauses, word) == [function.name.clone()] && own == types;
    Ok(takes("sfunc", [state].into_iter().chain(arguments).collect())
        || takes("reducefunc", vec![state, state])
        || takes("finalfunc", vec![state]))
}

/// The arguments, and what stands behind them; each token as what it stands for, and types as if nothing were frozen.
fn signature(statement: &Statement) -> Result<(Vec<Vec<String>>, Vec<String>), DdlError> {
    let text = thawed(&statement.cql);
    let mut tokens: Vec<String> = Vec::new();
    for token in significant(&text)? {
        let written = &text[token.range];
        let token = match token.kind {
            TokenKind::Word | TokenKind::QuotedName => true_name(written),
            _ => written.to_owned(),
        };
        let is_own = token == "." && tokens.last().is_some_and(|name| *name == statement.keyspace);
        match token.as_str() {
            // Types of the own keyspace may have it before them.
            _ if is_own => drop(tokens.pop()),
            "varchar" => tokens.push("text".to_owned()),
            _ => tokens.push(token),
        }
    }
    let (mut arguments, mut depth) = (vec![Vec::new()], 0usize);
    let open = tokens.iter().position(|token| token == "(").map_or(tokens.len(), |at| at + 1);
    let mut rest = tokens.split_off(open).into_iter();
    for token in rest.by_ref() {
        match token.as_str() {
            ")" if depth == 0 => break,
            "," if depth == 0 => {
                arguments.push(Vec::new());
                continue;
            }
            "(" | "<" => depth += 1,
            ")" | ">" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if let Some(argument) = arguments.last_mut() {
            argument.push(token);
        }
    }
    arguments.retain(|argument| !argument.is_empty());
    Ok((arguments, rest.collect()))
}

/// What stands behind a word, up to the next one that begins a clause.
fn clause<'a>(clauses: &'a [String], word: &str) -> &'a [String] {
    let Some(at) = clauses.iter().position(|token| token == word) else { return &[] };
    let rest = &clauses[at + 1..];
    // A function may have such a name: one token always belongs to the clause.
    let ends = |token: &String| CLAUSES.contains(&token.as_str()) || token == ";";
    let end = rest.iter().skip(1).position(ends).map_or(rest.len(), |end| end + 1);
    &rest[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overloads_are_told_apart() {
        let parse = |cql: &str| Statement::parse(cql).unwrap();
        let aggregate = parse(
            "CREATE AGGREGATE ks.avg(int, frozen<list<int>>) SFUNC add STYPE frozen<tuple<int, ks.\"M m\">> \
             REDUCEFUNC join FINALFUNC \"initcond\" INITCOND (0, {a: 1});",
        );
        let function = |signature: &str| {
            parse(&format!(
                "CREATE FUNCTION ks.{signature} CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$x$$;"
            ))
        };
        for (signature, called) in [
            ("add(s tuple<int, \"M m\">, a int, b list<int>)", true),
            ("add(s tuple<int, \"M m\">, a int, b list<text>)", false),
            ("add(s int)", false),
            ("add()", false),
            ("join(a frozen<tuple<int, frozen<\"M m\">>>, \"b \" tuple<int, \"M m\">)", true),
            ("join(a tuple<int, \"M m\">)", false),
            ("\"initcond\"(s tuple<int, ks.\"M m\">)", true),
            ("\"initcond\"(s tuple<int, \"M n\">)", false),
            ("other(s tuple<int, \"M m\">)", false),
        ] {
            assert_eq!(calls(&aggregate, &function(signature)), Ok(called), "{signature}");
        }
    }
}
