//! text and ascii. Servers keep some text that is not UTF-8 (surrogates, overlong forms): shown with replacement
//! characters, an exception.

use super::{BadValue, Codec, Fidelity, arrow};
use crate::rows::Cell;
use arrow_array::ArrayRef;
use std::sync::Arc;

/// text.
#[derive(Debug)]
pub struct Text;

/// ascii.
#[derive(Debug)]
pub struct Ascii;

impl Codec for Text {
    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        // UTF-8 is checked for the column as a whole, and cell by cell only if that fails.
        match whole(cells) {
            Some(strings) => strings,
            None => arrow::text_column(self, cells, lossy),
        }
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        match std::str::from_utf8(cell) {
            Ok(_) => {
                out.extend_from_slice(cell);
                Fidelity::Exact
            }
            Err(_) => {
                out.extend_from_slice(String::from_utf8_lossy(cell).as_bytes());
                Fidelity::Lossy
            }
        }
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        if std::str::from_utf8(text).is_err() {
            return Err(BadValue::not(text, "UTF-8"));
        }
        out.extend_from_slice(text);
        Ok(())
    }
}

/// The column, if all of it is UTF-8 and fits.
fn whole(cells: &[Cell<'_>]) -> Option<ArrayRef> {
    let bytes = cells.iter().flatten().map(|c| c.len()).sum();
    let mut column = arrow::Bytes::with_capacity(cells.len(), bytes);
    for cell in cells {
        let fits = column.push(|out| {
            out.extend_from_slice(cell.unwrap_or_default());
            cell.is_some()
        });
        if !fits {
            return None;
        }
    }
    Some(Arc::new(column.strings()?))
}

impl Codec for Ascii {
    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        if cell.is_ascii() {
            out.extend_from_slice(cell);
            return Fidelity::Exact;
        }
        out.extend_from_slice(String::from_utf8_lossy(cell).as_bytes());
        Fidelity::Lossy
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        if !text.is_ascii() {
            return Err(BadValue::not(text, "ASCII"));
        }
        out.extend_from_slice(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, lossy, refuses};

    #[test]
    fn texts() {
        exact(&Text, b"", "");
        exact(&Text, b"null", "null");
        exact(&Text, b"\xf0\x9f\xa6\x80\0\"\n", "🦀\0\"\n");
        exact(&Ascii, b"\x7f\0a", "\x7f\0a");
        let shown = "a\u{fffd}\u{fffd}\u{fffd}";
        lossy(&Text, b"a\xed\xa0\x80", shown, Some(shown.as_bytes()));
        assert!(Text.from_text(b"\xc0\x80", &mut Vec::new()).is_err());
        refuses(&Ascii, &["é"]);
    }

    #[test]
    fn ascii_beyond_ascii_is_an_exception() {
        let mut flags = [false];
        Ascii.to_arrow(&[Some("é".as_bytes())], &mut flags);
        assert!(flags[0]);
        let mut out = Vec::new();
        assert_eq!(Ascii.to_text("é".as_bytes(), &mut out), Fidelity::Lossy);
    }
}
