//! Which encoding suits the values of a column, told from the first of them. How they are written is left to the parent.

use ::parquet::basic::Encoding;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int32Type, Int64Type, Time64NanosecondType, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use std::collections::HashSet;

/// Values of each column that are looked at.
const LOOKED_AT: usize = 2000;

/// Fewer values tell nothing.
const FEWEST: usize = 100;

/// How often a value must come, on average, for a dictionary to be worth its time.
const REPEATED: usize = 4;

/// Integers that the library encodes together.
const BLOCK: usize = 32;

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
    let (mut distinct, mut looked_at) = (HashSet::new(), 0);
    for array in arrays {
        let value = bytes(array.as_ref())?;
        for row in (0..array.len()).filter(|row| array.is_valid(*row)).take(LOOKED_AT - looked_at) {
            looked_at += 1;
            distinct.insert(value(row));
        }
    }
    if looked_at < FEWEST {
        return None;
    }
    let steps = steps(arrays);
    // Bits that tell which of them a value is.
    let index = usize::BITS - (distinct.len() - 1).leading_zeros();
    if distinct.len() * REPEATED <= looked_at && steps.is_none_or(|steps| index < steps.bits) {
        return Some(Encoding::RLE_DICTIONARY);
    }
    // Steps cost no more time than what they save is worth if they take much less room than the values.
    steps.filter(|steps| 8 * steps.bits <= 5 * steps.of).map(|_| Encoding::DELTA_BINARY_PACKED)
}

/// Bits that the step from one integer to the next takes, on average, and bits of the integers.
#[derive(Clone, Copy)]
struct Steps {
    bits: u32,
    of: u32,
}

/// The steps between the values of columns that may be encoded by them; `None` for others.
fn steps(arrays: &[ArrayRef]) -> Option<Steps> {
    let (mut bits, mut blocks, mut of) = (0, 0, 0);
    for array in arrays {
        let values: Vec<i64> = match array.data_type() {
            DataType::Int32 => array.as_primitive::<Int32Type>().iter().flatten().map(i64::from).collect(),
            DataType::Date32 => array.as_primitive::<Date32Type>().iter().flatten().map(i64::from).collect(),
            DataType::Int64 => array.as_primitive::<Int64Type>().iter().flatten().collect(),
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                array.as_primitive::<TimestampMillisecondType>().iter().flatten().collect()
            }
            DataType::Time64(TimeUnit::Nanosecond) => {
                array.as_primitive::<Time64NanosecondType>().iter().flatten().collect()
            }
            _ => return None,
        };
        of = array.data_type().primitive_width().and_then(|n| u32::try_from(8 * n).ok())?;
        for block in values[..values.len().min(LOOKED_AT)].chunks(BLOCK) {
            // What the library stores of each is how much it is more than the least of its block.
            let steps = || block.windows(2).map(|pair| i128::from(pair[1]) - i128::from(pair[0]));
            let spread = steps().max().unwrap_or(0) - steps().min().unwrap_or(0);
            bits += i128::BITS - spread.leading_zeros();
            blocks += 1;
        }
    }
    (blocks > 0).then(|| Steps { bits: bits / blocks, of })
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{
        BooleanArray, Date32Array, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array, StringArray,
        TimestampMillisecondArray,
    };
    use std::sync::Arc;

    /// Numbers without an order.
    fn noise(n: i64) -> i64 {
        n.wrapping_mul(6_364_136_223_846_793_005).rotate_left(21).wrapping_mul(-7_046_029_254_386_353_131)
    }

    fn of(array: impl Array + 'static) -> Option<Encoding> {
        encoding(&[Arc::new(array)])
    }

    #[test]
    fn few_distinct_values_have_a_dictionary() {
        let dictionary = Some(Encoding::RLE_DICTIONARY);
        let texts =
            |distinct: i64| StringArray::from_iter_values((0..1000).map(|n| format!("{}", n % distinct)));
        assert_eq!(of(texts(1)), dictionary);
        assert_eq!(of(texts(250)), dictionary);
        assert_eq!(of(texts(251)), None);
        let uuid = |n: i64| [noise(n).to_be_bytes(), n.to_be_bytes()].concat();
        let uuids = |distinct: i64| {
            FixedSizeBinaryArray::try_from_iter((0..1000).map(|n| uuid(n / (1000 / distinct)))).unwrap()
        };
        assert_eq!(of(uuids(10)), dictionary);
        assert_eq!(of(uuids(1000)), None);
        let floats =
            |distinct: i32| Float64Array::from_iter_values((0..1000).map(|n| f64::from(n % distinct)));
        assert_eq!((of(floats(9)), of(floats(1000))), (dictionary, None));
        assert_eq!(of(Int64Array::from_iter_values((0..1000).map(|n| noise(noise(n) % 8)))), dictionary);
        assert_eq!(of(BooleanArray::from(vec![true; 1000])), None, "a boolean is a bit already");
    }

    #[test]
    fn integers_in_small_steps_are_stored_as_those() {
        let steps = Some(Encoding::DELTA_BINARY_PACKED);
        let start = 1_790_000_000_000_i64;
        let moments = |spread: i64| (0..1000).map(move |n| start + noise(n).rem_euclid(spread));
        assert_eq!(of(Int64Array::from_iter_values((0..1000).map(|n| start + n))), steps);
        assert_eq!(of(Int64Array::from_iter_values([start; 1000])), steps, "of no step at all");
        assert_eq!(
            of(TimestampMillisecondArray::from_iter_values(moments(1 << 30)).with_timezone("UTC")),
            steps
        );
        assert_eq!(of(Int64Array::from_iter_values(moments(1 << 50))), None);
        assert_eq!(of(Int64Array::from_iter_values((0..1000).map(noise))), None);
        assert_eq!(of(Int32Array::from_iter_values(0..1000)), steps);
        assert_eq!(of(Date32Array::from_iter_values((0..1000).map(|n| 20_000 + n / 3))), steps);
        let ends = [i64::MIN, i64::MAX].into_iter().cycle().take(1000);
        assert_eq!(of(Int64Array::from_iter_values(ends)), Some(Encoding::RLE_DICTIONARY));
    }

    #[test]
    fn nulls_and_few_values_tell_nothing() {
        assert_eq!(of(StringArray::from(vec!["a"; 99])), None);
        assert_eq!(of(StringArray::from(vec!["a"; 100])), Some(Encoding::RLE_DICTIONARY));
        assert_eq!(of(StringArray::from(vec![None::<&str>; 1000])), None);
        let mut some = vec![None; 900];
        some.extend([Some("a"); 100]);
        assert_eq!(of(StringArray::from(some)), Some(Encoding::RLE_DICTIONARY));
        assert_eq!(encoding(&[]), None);
    }
}
