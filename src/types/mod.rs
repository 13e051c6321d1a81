//! CQL types: how the wire bytes of each travel to Arrow and to text, and back. One file per type or family, both
//! directions side by side.
//!
//! A codec is chosen once per column. Writing a cell has three outcomes: the form gives it back exactly, the form shows
//! it but would give back other bytes, or the form cannot show it (null then). The last two make the cell an
//! *exception*: its raw bytes travel beside it in the exceptions column, which is `format`'s work. Servers accept all
//! such cells (an empty int, text that is not UTF-8, boolean 0x02, a non-minimal varint), so a dump keeps them all.
//!
//! | CQL | Arrow | text |
//! |---|---|---|
//! | tinyint smallint int bigint counter | Int8 Int16 Int32 Int64 | digits |
//! | varint, decimal | Utf8 | digits; a decimal keeps its scale, `123E-52` beyond 40 digits |
//! | float double | Float32 Float64 | shortest digits, `NaN`, `Infinity`, `-Infinity` |
//! | boolean | Boolean | `true` `false` |
//! | ascii text | Utf8 | itself |
//! | blob | Binary | `0x…` |
//! | uuid timeuuid | FixedSizeBinary(16), `arrow.uuid` | hyphenated hex |
//! | timestamp | Timestamp(ms, UTC) | RFC 3339 with milliseconds; signed years outside 0-9999 |
//! | date | Date32 | `2026-11-23`; signed years outside 0-9999 |
//! | time | Time64(ns) | `14:52:41.000000000` |
//! | duration | Struct{months, days, nanoseconds} | `1y2mo3d4h5m6s7ms8us9ns` |
//! | inet | Utf8 | dotted or RFC 5952; `::ffff:1.2.3.4` stays 16 bytes |
//! | list set | List(element) | JSON array |
//! | map | Map(key, value) | JSON object for text, number and uuid keys, else array of pairs |
//! | tuple | Struct{f0, f1, …} | JSON array |
//! | UDT | Struct{fields by name} | JSON object |
//! | vector | FixedSizeList(element) | JSON array |

pub mod cql;
pub mod json;

use crate::rows::Cell;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};
use thiserror::Error;

/// Why a text or an Arrow value is not a value of its CQL type. Place (file, line, column name) is added by the caller.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct BadValue(pub String);

impl BadValue {
    /// `text` is not a `what`; long texts are cut for the message.
    pub fn not(text: &[u8], what: impl std::fmt::Display) -> BadValue {
        const SHOWN: usize = 60;
        let lossy = String::from_utf8_lossy(text);
        let shown: String = lossy.chars().take(SHOWN).collect();
        let dots = if lossy.chars().nth(SHOWN).is_some() {
            "…"
        } else {
            ""
        };
        BadValue(format!("{shown:?}{dots} is not {what}"))
    }
}

/// Whether a text form gives the cell back byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fidelity {
    /// Reading the text again gives the same bytes.
    Exact,
    /// The text stands for the value (null where nothing was written), but reading it again gives other bytes.
    Lossy,
}

/// How the text of a type stands inside JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonForm {
    /// Quoted and escaped.
    String,
    /// As it is when it is a JSON number, true or false, else quoted (`NaN`).
    Bare,
    /// The text is JSON itself.
    Nested,
}

/// Both directions of one CQL type. The bytes are a cell's value: never null, possibly empty.
pub trait Codec: Send + Sync {
    /// The Arrow type of the natural column.
    fn arrow_type(&self) -> DataType;

    /// The Arrow field of the natural column: nullable, with the extension type where there is one.
    fn field(&self, name: &str) -> Field {
        Field::new(name, self.arrow_type(), true)
    }

    /// Wire to Arrow, a whole column. A cell that Arrow cannot show becomes null. Sets `lossy[i]` for each cell that
    /// [`Codec::arrow_cells`] would not give back byte for byte; leaves the others alone. `lossy` is as long as `cells`.
    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef;

    /// Arrow to wire.
    ///
    /// # Errors
    /// `BadValue` if `array` is not of [`Codec::arrow_type`].
    fn arrow_cells<'a>(
        &'a self,
        array: &'a dyn Array,
    ) -> Result<Box<dyn ArrowCells + 'a>, BadValue>;

    /// Wire to text, appended to `out`. What text cannot show at all appends nothing and is `Lossy`.
    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity;

    /// Text to wire, appended to `out`.
    ///
    /// # Errors
    /// `BadValue` if the text is no value of the type; what was appended to `out` is then meaningless.
    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue>;

    /// How the text stands inside JSON.
    fn json_form(&self) -> JsonForm {
        JsonForm::String
    }

    /// Bytes of every value inside a vector, if the server stores them without a length (Cassandra's
    /// `valueLengthIfFixed`; tinyint, smallint, date and time are not among them, measured on 5.0).
    fn vector_width(&self) -> Option<usize> {
        None
    }
}

/// The cells of one Arrow array in wire bytes.
pub trait ArrowCells {
    /// Appends the bytes of `row`; answers false, and appends nothing, if it is null.
    ///
    /// # Errors
    /// `BadValue` if the value is outside the CQL type (a text-coded varint that is no number, say).
    fn append(&self, row: usize, out: &mut Vec<u8>) -> Result<bool, BadValue>;
}
