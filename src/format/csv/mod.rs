//! CSV: RFC 4180 text in UTF-8 with a header line. The text of each value is left to the codecs of `types`.
//!
//! An unquoted empty field is null, `""` is empty text. Of a dump every record has at least two fields, since the
//! exceptions column is always there; so an empty line in one is an error. In a foreign file of a single column an
//! empty line is a record of one null.

mod sink;
mod source;
mod split;

pub use sink::CsvSink;
pub use source::{CsvOptions, CsvReader, CsvSource, Need};
pub use split::RecordTexts;

/// What stands between fields.
const DELIMITER: u8 = b',';

/// A quote, which stands doubled inside quotes.
const QUOTE: u8 = b'"';

/// The byte order mark that some programs put before UTF-8.
const BOM: &[u8] = "\u{feff}".as_bytes();
