//! text and ascii. Servers keep some text that is not UTF-8 (surrogates, overlong forms): shown with replacement
//! characters, an exception.

use super::{BadValue, Codec, Fidelity, arrow};
use crate::rows::Cell;
use arrow_array::{ArrayRef, StringArray};
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
        if is_utf8(cell) {
            out.extend_from_slice(cell);
            return Fidelity::Exact;
        }
        out.extend_from_slice(String::from_utf8_lossy(cell).as_bytes());
        Fidelity::Lossy
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        if !is_utf8(text) {
            return Err(BadValue::not(text, "UTF-8"));
        }
        out.extend_from_slice(text);
        Ok(())
    }
}

/// Whether bytes are UTF-8. Most texts are ASCII, which is told sooner.
pub fn is_utf8(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

/// The column, if all of it is UTF-8 and fits.
fn whole(cells: &[Cell<'_>]) -> Option<ArrayRef> {
    let (offsets, values, nulls) = arrow::bytes(cells)?;
    Some(Arc::new(StringArray::try_new(offsets, values, nulls).ok()?))
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
    use arrow_array::cast::AsArray;

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
    fn a_column_that_is_not_all_utf8_keeps_the_rest() {
        let cells = [Some(&b"a"[..]), None, Some(b"\xff"), Some(b"")];
        let mut flags = [false; 4];
        let column = Text.to_arrow(&cells, &mut flags);
        assert_eq!(flags, [false, false, true, false]);
        let shown: Vec<_> = column.as_string::<i32>().iter().collect();
        assert_eq!(shown, [Some("a"), None, Some("\u{fffd}"), Some("")]);
        // Half a character at the end of one cell is not made whole by the next.
        let mut flags = [false; 2];
        Text.to_arrow(&[Some(b"\xc3"), Some(b"\xa9")], &mut flags);
        assert_eq!(flags, [true, true]);
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
