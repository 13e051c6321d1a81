//! The masks of a table's columns (Cassandra 5.0), as DDL has them: `v text MASKED WITH system.mask_default()`.

use super::DdlError;
use super::lex::{Token, true_name};
use super::words::{is_word, significant};
use std::ops::Range;

/// A column's mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// The column, as it is written.
    pub column: String,
    /// `MASKED WITH …`.
    pub text: String,
    /// Where that lies, with the blanks before it.
    range: Range<usize>,
}

impl Mask {
    /// That the column is without it, and why, in words.
    pub fn lost(&self, why: &str) -> String {
        format!("the mask of column {}: {why}", self.column)
    }

    /// Whether it is this function that masks; one without a keyspace is that of the table's own, `home`.
    pub fn is_made_by(&self, home: &str, (keyspace, function): (&str, &str)) -> bool {
        let Ok(tokens) = significant(&self.text) else { return false };
        // Behind MASKED WITH, and before the arguments.
        let name = tokens.iter().skip(2).map(|token| &self.text[token.range.clone()]);
        let name: Vec<String> = name.take_while(|text| *text != "(").map(true_name).collect();
        match &name[..] {
            [of, dot, name] if dot == "." => of == keyspace && name == function,
            [name] => home == keyspace && name == function,
            _ => false,
        }
    }
}

/// The masks in what stands before a table's WITH.
///
/// # Errors
/// `DdlError` if the text cannot be cut into tokens.
pub fn masks(head: &str) -> Result<Vec<Mask>, DdlError> {
    let tokens = significant(head)?;
    let mut masks = Vec::new();
    let (mut depth, mut column, mut at) = (0usize, 0, 0);
    while let Some(token) = tokens.get(at) {
        let text = &head[token.range.clone()];
        match text {
            "(" | "<" => depth += 1,
            ")" | ">" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 1 && matches!(text, "(" | ",") {
            column = at + 1;
        }
        let masked = depth == 1
            && is_word(head, token, "masked")
            && tokens.get(at + 1).is_some_and(|next| is_word(head, next, "with"))
            // A column may be called so.
            && at > column;
        at += 1;
        if masked {
            let begin = at - 1;
            at = end(head, &tokens, at);
            masks.push(Mask {
                column: head[tokens[column].range.clone()].to_owned(),
                text: head[token.range.start..tokens[at - 1].range.end].to_owned(),
                range: tokens[begin - 1].range.end..tokens[at - 1].range.end,
            });
        }
    }
    Ok(masks)
}

/// The place behind a mask: of what ends its column, or makes it the key.
fn end(head: &str, tokens: &[Token], mut at: usize) -> usize {
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
    at
}

/// What stands before a table's WITH, without these masks of it, which are in the order that they stand in.
pub(super) fn strip(head: &str, masks: &[Mask]) -> String {
    let (mut out, mut copied) = (String::with_capacity(head.len()), 0);
    for Mask { range, .. } in masks {
        out.push_str(&head[copied..range.start]);
        copied = range.end;
    }
    out + &head[copied..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(table: &str) -> (String, Vec<String>) {
        let masks = masks(table).unwrap();
        (strip(table, &masks), masks.into_iter().map(|mask| mask.column).collect())
    }

    #[test]
    fn masks_go_and_everything_else_stays() {
        let table = "CREATE TABLE ks.t (\n    k int MASKED WITH system.mask_hash('a, b') PRIMARY KEY,\n    \
                     \"V v\" text MASKED WITH ks.f(1, '),', null),\n    masked text,\n    w int masked with DEFAULT,\n    \
                     m map<text, frozen<list<int>>> MASKED WITH DEFAULT,\n    x tuple<int, text> MASKED WITH DEFAULT\n)";
        let expected = "CREATE TABLE ks.t (\n    k int PRIMARY KEY,\n    \"V v\" text,\n    masked text,\n    w int,\n    \
                        m map<text, frozen<list<int>>>,\n    x tuple<int, text>\n)";
        let columns = ["k", "\"V v\"", "w", "m", "x"].map(str::to_owned).to_vec();
        assert_eq!(stripped(table), (expected.to_owned(), columns));
        assert_eq!(stripped(expected), (expected.to_owned(), Vec::new()));
    }

    #[test]
    fn a_mask_knows_its_function() {
        let table = "CREATE TABLE ks.t (k int, f text MASKED WITH \"Ks\".Hide('f', g(1)), PRIMARY KEY (k))";
        let masks = masks(table).unwrap();
        let [mask] = &masks[..] else { panic!("{masks:?}") };
        assert_eq!(mask.text, "MASKED WITH \"Ks\".Hide('f', g(1))");
        assert!(mask.is_made_by("ks", ("Ks", "hide")));
        for other in [("ks", "hide"), ("Ks", "f"), ("Ks", "g")] {
            assert!(!mask.is_made_by("ks", other), "{other:?}");
        }
        let own = Mask { text: "MASKED WITH hide(1)".to_owned(), ..mask.clone() };
        assert!(own.is_made_by("ks", ("ks", "hide")) && !own.is_made_by("ks", ("Ks", "hide")));
        let default = Mask { text: "MASKED WITH DEFAULT".to_owned(), ..mask.clone() };
        assert!(!default.is_made_by("ks", ("ks", "hide")));
    }
}
