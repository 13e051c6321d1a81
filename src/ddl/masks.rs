//! The masks of a table's columns (Cassandra 5.0), as DDL has them: `v text MASKED WITH system.mask_default()`.

use super::DdlError;
use super::words::{is_word, significant};

/// What stands before a table's WITH, without masks; and the names of the columns that had one, as they are written.
pub(super) fn strip(head: &str) -> Result<(String, Vec<String>), DdlError> {
    let tokens = significant(head)?;
    let (mut out, mut masked) = (String::with_capacity(head.len()), Vec::new());
    let (mut depth, mut copied, mut column) = (0usize, 0, None);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let text = &head[token.range.clone()];
        match text {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let begins_column = depth == 1 && matches!(text, "(" | ",");
        let masks = depth == 1
            && is_word(head, token, "masked")
            && tokens.get(at + 1).is_some_and(|next| is_word(head, next, "with"))
            // A column may be called so.
            && column.is_some_and(|column| column != at);
        if begins_column {
            column = Some(at + 1);
        }
        at += 1;
        if !masks {
            continue;
        }
        let start = tokens[..at - 1].last().map_or(0, |before| before.range.end);
        out.push_str(&head[copied..start]);
        masked.extend(column.and_then(|at| tokens.get(at)).map(|name| head[name.range.clone()].to_owned()));
        let mut inside = 0usize;
        while let Some(token) = tokens.get(at) {
            let text = &head[token.range.clone()];
            let ends = matches!(text, "," | ")") || is_word(head, token, "primary");
            if inside == 0 && ends {
                break;
            }
            match text {
                "(" => inside += 1,
                ")" => inside = inside.saturating_sub(1),
                _ => {}
            }
            at += 1;
        }
        copied = tokens[..at].last().map_or(head.len(), |last| last.range.end);
    }
    out.push_str(&head[copied..]);
    Ok((out, masked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_go_and_everything_else_stays() {
        let table = "CREATE TABLE ks.t (\n    k int MASKED WITH system.mask_hash('a, b') PRIMARY KEY,\n    \
                     \"V v\" text MASKED WITH ks.f(1, '),', null),\n    masked text,\n    w int masked with DEFAULT\n)";
        let (stripped, columns) = strip(table).unwrap();
        let expected =
            "CREATE TABLE ks.t (\n    k int PRIMARY KEY,\n    \"V v\" text,\n    masked text,\n    w int\n)";
        assert_eq!(stripped, expected);
        assert_eq!(columns, ["k", "\"V v\"", "w"]);
        assert_eq!(strip(expected).unwrap(), (expected.to_owned(), Vec::new()));
    }
}
