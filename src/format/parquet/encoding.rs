//! Which encoding suits the values of a column, told from the first of them. How they are written is left to the parent.

use ::parquet::basic::Encoding;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use std::collections::HashSet;

/// Values of each column that are looked at.
const LOOKED_AT: usize = 2000;

/// Fewer values tell nothing.
const FEWEST: usize = 100;

/// How often a value must come, on average, for a dictionary to be worth its time.
const REPEATED: usize = 4;

/// The arrays that hold values, of each column of Parquet those of all batches: a list has one, a map two.
pub fn leaves(batches: &[RecordBatch]) -> Vec<Vec<ArrayRef>> {
    let mut all: Vec<Vec<ArrayRef>> = Vec::new();
    for batch in batches {
        let mut leaves = Vec::new();
        batch.columns().iter().for_each(|array| add_leaves(array, &mut leaves));
        all.resize_with(leaves.len(), Vec::new);
        all.iter_mut().zip(leaves).for_each(|(all, leaf)| all.push(leaf));
    }
    all
}

fn add_leaves(array: &ArrayRef, leaves: &mut Vec<ArrayRef>) {
    match array.data_type() {
        DataType::List(_) => add_leaves(array.as_list::<i32>().values(), leaves),
        DataType::FixedSizeList(..) => add_leaves(array.as_fixed_size_list().values(), leaves),
        DataType::Struct(_) => array.as_struct().columns().iter().for_each(|a| add_leaves(a, leaves)),
        DataType::Map(..) => {
            add_leaves(array.as_map().keys(), leaves);
            add_leaves(array.as_map().values(), leaves);
        }
        _ => leaves.push(array.clone()),
    }
}

/// The encoding that suits these values; `None` for the plain one.
pub fn encoding(arrays: &[ArrayRef]) -> Option<Encoding> {
    let mut seen = HashSet::new();
    let mut looked_at = 0;
    for array in arrays {
        let value = bytes(array.as_ref())?;
        for row in (0..array.len()).filter(|row| array.is_valid(*row)).take(LOOKED_AT - looked_at) {
            looked_at += 1;
            seen.insert(value(row));
        }
    }
    (looked_at >= FEWEST && seen.len() * REPEATED <= looked_at).then_some(Encoding::RLE_DICTIONARY)
}

/// The bytes of each value of an array; `None` for types that have no dictionary.
fn bytes<'a>(array: &'a dyn Array) -> Option<Box<dyn Fn(usize) -> Vec<u8> + 'a>> {
    Some(match array.data_type() {
        DataType::Utf8 => Box::new(|row| array.as_string::<i32>().value(row).as_bytes().to_vec()),
        DataType::Binary => Box::new(|row| array.as_binary::<i32>().value(row).to_vec()),
        DataType::FixedSizeBinary(_) => Box::new(|row| array.as_fixed_size_binary().value(row).to_vec()),
        other => {
            let width = other.primitive_width()?;
            let data = array.to_data();
            Box::new(move |row| {
                let start = (data.offset() + row) * width;
                let values = data.buffers().first().and_then(|values| values.get(start..start + width));
                values.unwrap_or_default().to_vec()
            })
        }
    })
}
