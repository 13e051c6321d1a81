//! What codecs share on the Arrow side: columns made in one loop, typed access to arrays that come from files, and the
//! limit that 32-bit offsets set.

use super::{ArrowCells, BadValue, Codec, Fidelity};
use crate::rows::Cell;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, PrimitiveArray, StringArray, new_null_array,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;
use std::sync::Arc;

/// Bytes or elements that one array with 32-bit offsets can hold.
const LIMIT: usize = 0x7fff_ffff;

/// Validity, left out where nothing is null.
pub fn nulls(valid: Vec<bool>) -> Option<NullBuffer> {
    Some(NullBuffer::from(valid)).filter(|n| n.null_count() > 0)
}

/// A column of fixed-width values; a cell of which `read` makes nothing is lossy and null.
pub fn primitive<T: ArrowPrimitiveType>(
    cells: &[Cell<'_>],
    lossy: &mut [bool],
    read: impl Fn(&[u8]) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    let mut values = Vec::with_capacity(cells.len());
    // Most columns have a value in every row.
    values.extend(cells.iter().map_while(|cell| cell.and_then(&read)));
    if values.len() == cells.len() {
        return PrimitiveArray::new(ScalarBuffer::from(values), None);
    }
    let mut valid = Vec::with_capacity(cells.len());
    valid.resize(values.len(), true);
    for (cell, lossy) in cells.iter().zip(lossy).skip(values.len()) {
        let value = cell.and_then(&read);
        *lossy |= cell.is_some() && value.is_none();
        valid.push(value.is_some());
        values.push(value.unwrap_or_default());
    }
    PrimitiveArray::new(ScalarBuffer::from(values), nulls(valid))
}

/// A string or binary column of these very bytes; `None` if they are more than 32-bit offsets address.
pub fn bytes(cells: &[Cell<'_>]) -> Option<(OffsetBuffer<i32>, Buffer, Option<NullBuffer>)> {
    let len = cells.iter().flatten().map(|cell| cell.len()).sum();
    if len > LIMIT {
        return None;
    }
    let (mut offsets, mut values) = (Vec::with_capacity(cells.len() + 1), Vec::with_capacity(len));
    offsets.push(0);
    for cell in cells {
        values.extend_from_slice(cell.unwrap_or_default());
        offsets.push(i32::try_from(values.len()).ok()?);
    }
    let valid = || cells.iter().map(Option::is_some).collect();
    let nulls = cells.contains(&None).then(valid).and_then(nulls);
    Some((OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(values), nulls))
}

/// A string or binary column in the making. Cells beyond what 32-bit offsets address become null.
#[derive(Debug)]
pub struct Bytes {
    offsets: Vec<i32>,
    values: Vec<u8>,
    valid: Vec<bool>,
    limit: usize,
}

impl Bytes {
    /// An empty column with room for `rows` cells of together `bytes` bytes.
    pub fn with_capacity(rows: usize, bytes: usize) -> Bytes {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Bytes { offsets, values: Vec::with_capacity(bytes), valid: Vec::with_capacity(rows), limit: LIMIT }
    }

    /// Appends a null.
    pub fn push_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or(0));
        self.valid.push(false);
    }

    /// Appends what `write` appends, null if that answers false; answers false if it does not fit and is null therefore.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let start = self.values.len();
        let present = write(&mut self.values);
        let end = i32::try_from(self.values.len());
        match end {
            Ok(end) if present && self.values.len() <= self.limit => {
                self.offsets.push(end);
                self.valid.push(true);
                true
            }
            _ => {
                self.values.truncate(start);
                self.push_null();
                !present
            }
        }
    }

    /// The column as Utf8, `None` if a cell is not UTF-8.
    pub fn strings(self) -> Option<StringArray> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        StringArray::try_new(offsets, Buffer::from_vec(self.values), nulls(self.valid)).ok()
    }

    /// The column as Binary.
    pub fn binary(self) -> BinaryArray {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        BinaryArray::new(offsets, Buffer::from_vec(self.values), nulls(self.valid))
    }
}

/// The Utf8 column of a type whose Arrow form is its text form.
pub fn text_column<C: Codec + ?Sized>(codec: &C, cells: &[Cell<'_>], lossy: &mut [bool]) -> ArrayRef {
    let bytes: usize = cells.iter().flatten().map(|c| c.len()).sum();
    let mut column = Bytes::with_capacity(cells.len(), bytes);
    for (cell, lossy) in cells.iter().zip(lossy.iter_mut()) {
        let Some(cell) = cell else {
            column.push_null();
            continue;
        };
        let fits = column.push(|out| {
            let start = out.len();
            let exact = codec.to_text(cell, out) == Fidelity::Exact;
            *lossy |= !exact;
            exact || out.len() > start
        });
        *lossy |= !fits;
    }
    match column.strings() {
        Some(strings) => Arc::new(strings),
        // Text forms are UTF-8, so this does not happen; if it did, every cell would still travel as an exception.
        None => {
            for (cell, lossy) in cells.iter().zip(lossy) {
                *lossy |= cell.is_some();
            }
            new_null_array(&DataType::Utf8, cells.len())
        }
    }
}

/// The cells of such a column.
///
/// # Errors
/// `BadValue` if `array` is not Utf8.
pub fn text_cells<'a, C: Codec + ?Sized>(
    codec: &'a C,
    array: &'a dyn Array,
) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
    let array: &StringArray = typed(array, &DataType::Utf8)?;
    values(array, move |row, out| codec.from_text(array.value(row).as_bytes(), out))
}

/// Offsets of a list or map column in the making: counts elements and refuses what 32-bit offsets cannot address.
#[derive(Debug)]
pub struct Offsets(Vec<i32>);

impl Offsets {
    /// Room for `rows` cells.
    pub fn with_capacity(rows: usize) -> Offsets {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Offsets(offsets)
    }

    /// Ends a cell, `elements` being the number of elements of all cells so far; false, and nothing is done, if it
    /// does not fit.
    pub fn push(&mut self, elements: usize) -> bool {
        let end = i32::try_from(elements);
        self.0.extend(end.iter());
        end.is_ok()
    }

    /// Appends a cell without elements.
    pub fn push_empty(&mut self) {
        self.0.push(self.0.last().copied().unwrap_or(0));
    }

    /// The elements of each cell.
    pub fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        let at = |offset: i32| usize::try_from(offset).unwrap_or(0);
        self.0.windows(2).map(move |w| at(w[0])..at(w[1]))
    }

    /// As Arrow wants them.
    pub fn finish(self) -> OffsetBuffer<i32> {
        OffsetBuffer::new(ScalarBuffer::from(self.0))
    }
}

/// The elements of a row by its array's offsets.
///
/// # Errors
/// `BadValue` if the offsets run backwards.
pub fn range(offsets: &[i32], row: usize) -> Result<std::ops::Range<usize>, BadValue> {
    match offsets.get(row..row + 2) {
        Some([start, end]) if 0 <= *start && start <= end => {
            let at = |offset: i32| usize::try_from(offset).unwrap_or(0);
            Ok(at(*start)..at(*end))
        }
        _ => Err(BadValue("a column with broken offsets".to_owned())),
    }
}

/// `array` as the array type `A`, if it is of the Arrow type `expected`.
///
/// # Errors
/// `BadValue` if it is not.
pub fn typed<'a, A: Array + 'static>(array: &'a dyn Array, expected: &DataType) -> Result<&'a A, BadValue> {
    let found = array.data_type();
    match array.as_any().downcast_ref() {
        Some(typed) if found == expected => Ok(typed),
        _ => Err(unexpected(found, expected)),
    }
}

/// `array` as the array type `A`, whatever its child fields say; those are checked one by one.
///
/// # Errors
/// `BadValue` if it is not.
pub fn nested<'a, A: Array + 'static>(array: &'a dyn Array, expected: &DataType) -> Result<&'a A, BadValue> {
    let typed = array.as_any().downcast_ref();
    typed.ok_or_else(|| unexpected(array.data_type(), expected))
}

/// The message for an array of another type.
pub fn unexpected(found: &DataType, expected: &DataType) -> BadValue {
    BadValue(format!("a column of Arrow type {found}, not {expected}"))
}

/// The cells of `array`, `write` appending one that is not null.
///
/// # Errors
/// None; the result has the type that codecs answer with.
pub fn values<'a>(
    array: &'a dyn Array,
    write: impl Fn(usize, &mut Vec<u8>) -> Result<(), BadValue> + 'a,
) -> Result<Box<dyn ArrowCells + 'a>, BadValue> {
    let nulls = array.nulls();
    Ok(Box::new(Values { nulls, write }))
}

struct Values<'a, F> {
    nulls: Option<&'a NullBuffer>,
    write: F,
}

impl<F: Fn(usize, &mut Vec<u8>) -> Result<(), BadValue>> ArrowCells for Values<'_, F> {
    fn append(&self, row: usize, out: &mut Vec<u8>) -> Result<bool, BadValue> {
        if self.nulls.is_some_and(|n| n.is_null(row)) {
            return Ok(false);
        }
        (self.write)(row, out)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_beyond_the_limit_are_null_and_later_small_ones_still_fit() {
        let mut column = Bytes::with_capacity(4, 8);
        column.limit = 5;
        let mut push = |text: &str| {
            column.push(|out| {
                out.extend_from_slice(text.as_bytes());
                true
            })
        };
        assert_eq!([push("abc"), push("def"), push("gh"), push("")], [true, false, true, true]);
        let strings = column.strings().unwrap();
        let shown: Vec<_> = strings.iter().collect();
        assert_eq!(shown, [Some("abc"), None, Some("gh"), Some("")]);
    }

    #[test]
    fn offsets_end_where_32_bits_do() {
        let mut offsets = Offsets::with_capacity(2);
        assert!(offsets.push(LIMIT));
        assert!(!offsets.push(LIMIT + 1));
        offsets.push_empty();
        assert_eq!(offsets.ranges().collect::<Vec<_>>(), [0..LIMIT, LIMIT..LIMIT]);
    }
}
