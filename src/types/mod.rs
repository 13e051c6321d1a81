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

pub mod arrow;
pub mod blob;
pub mod boolean;
pub mod civil;
pub mod class;
pub mod cql;
pub mod date;
pub mod decimal;
pub mod duration;
pub mod elements;
pub mod float;
pub mod inet;
pub mod int;
pub mod json;
pub mod list;
pub mod map;
pub mod parts;
pub mod text;
pub mod time;
pub mod timestamp;
pub mod tuple;
pub mod udt;
pub mod uuid;
pub mod varint;
pub mod vector;
pub mod vint;

#[cfg(test)]
mod check;
#[cfg(test)]
mod property;

use crate::rows::{Cell, ColumnCells};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};
use cql::{CqlType, Native};
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
        let dots = if lossy.chars().nth(SHOWN).is_some() { "…" } else { "" };
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

impl Fidelity {
    /// Of a whole made of two parts.
    #[must_use]
    pub fn and(self, other: Fidelity) -> Fidelity {
        match self {
            Fidelity::Exact => other,
            Fidelity::Lossy => self,
        }
    }
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

/// Both directions of one CQL type. The bytes are a cell's value: never null, possibly empty. The Arrow form is the text
/// form, in a Utf8 column, unless a type has one of its own.
#[allow(clippy::wrong_self_convention)] // `from_text` makes bytes, not a codec.
pub trait Codec: Send + Sync {
    /// The Arrow type of the natural column.
    fn arrow_type(&self) -> DataType {
        DataType::Utf8
    }

    /// The Arrow field of the natural column: nullable, with the extension type where there is one.
    fn field(&self, name: &str) -> Field {
        Field::new(name, self.arrow_type(), true)
    }

    /// Wire to Arrow, a whole column. A cell that Arrow cannot show becomes null. Sets `lossy[i]` for each cell that
    /// [`Codec::arrow_cells`] would not give back byte for byte; leaves the others alone. `lossy` is as long as `cells`.
    fn to_arrow(&self, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
        arrow::text_column(self, cells, lossy)
    }

    /// Arrow to wire.
    ///
    /// # Errors
    /// `BadValue` if `array` is not of [`Codec::arrow_type`].
    fn arrow_cells<'a>(&'a self, array: &'a dyn Array) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
        arrow::text_cells(self, array)
    }

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

    /// Whether every text of it is printable ASCII without quotes, backslashes, commas and blanks, so that it stands in
    /// CSV and between the quotes of JSON as it is. Only what cannot be shown has an empty text then.
    fn is_plain(&self) -> bool {
        false
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

    /// Puts the cells of all `rows` rows.
    ///
    /// # Errors
    /// The first row whose value is outside the CQL type, and what is wrong with it.
    fn append_all(&self, rows: usize, out: &mut ColumnCells<'_>) -> Result<(), (usize, BadValue)> {
        for row in 0..rows {
            out.push_with(|out| self.append(row, out)).map_err(|bad| (row, bad))?;
        }
        Ok(())
    }
}

/// A type whose values cqlift cannot read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("values of the type {0} cannot be read")]
pub struct Unsupported(pub String);

/// The codec of a type.
///
/// # Errors
/// `Unsupported` for types given by their Java class, and for shapes that no server makes (a tuple or user type
/// without fields, a vector of no dimension or of more than Arrow can hold).
pub fn codec(cql_type: &CqlType) -> Result<Box<dyn Codec>, Unsupported> {
    let unsupported = || Unsupported(cql_type.to_string());
    Ok(match cql_type {
        CqlType::Native(native) => scalar(*native),
        CqlType::List(element, _) | CqlType::Set(element, _) => Box::new(list::List::new(codec(element)?)),
        CqlType::Map(key, value, _) => {
            let object = map::keys_are_names(key);
            Box::new(map::Map::new(codec(key)?, codec(value)?, object))
        }
        CqlType::Tuple(elements) if !elements.is_empty() => {
            let elements: Result<Vec<_>, _> = elements.iter().map(codec).collect();
            Box::new(tuple::Tuple::new(elements?))
        }
        CqlType::Udt(udt, _) if !udt.fields.is_empty() => {
            let fields = udt.fields.iter();
            let fields: Result<Vec<_>, _> = fields.map(|(name, t)| Ok((name.clone(), codec(t)?))).collect();
            Box::new(udt::UserType::new(fields?))
        }
        CqlType::Vector(element, dimension) => {
            let vector = vector::Vector::new(codec(element)?, *dimension);
            Box::new(vector.ok_or_else(unsupported)?)
        }
        CqlType::Tuple(_) | CqlType::Udt(..) | CqlType::Custom(_) => return Err(unsupported()),
    })
}

fn scalar(native: Native) -> Box<dyn Codec> {
    match native {
        Native::Ascii => Box::new(text::Ascii),
        Native::BigInt => Box::new(int::BIGINT),
        Native::Blob => Box::new(blob::Blob),
        Native::Boolean => Box::new(boolean::Boolean),
        Native::Counter => Box::new(int::COUNTER),
        Native::Date => Box::new(date::Date),
        Native::Decimal => Box::new(decimal::Decimal),
        Native::Double => Box::new(float::DOUBLE),
        Native::Duration => Box::new(duration::Duration),
        Native::Float => Box::new(float::FLOAT),
        Native::Inet => Box::new(inet::Inet),
        Native::Int => Box::new(int::INT),
        Native::SmallInt => Box::new(int::SMALLINT),
        Native::Text => Box::new(text::Text),
        Native::Time => Box::new(time::Time),
        Native::Timestamp => Box::new(timestamp::Timestamp),
        Native::TimeUuid => Box::new(uuid::Uuid { time: true }),
        Native::TinyInt => Box::new(int::TINYINT),
        Native::Uuid => Box::new(uuid::Uuid { time: false }),
        Native::VarInt => Box::new(varint::VarInt),
    }
}
