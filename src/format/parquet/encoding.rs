//! Which encoding suits the values of a column, and whether they compress, told from the first of them. How they are
//! written is left to the parent.

use ::parquet::basic::Encoding;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Int32Type, Int64Type, Time64NanosecondType, TimestampMillisecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Values of each column that are looked at.
const LOOKED_AT: usize = 2000;

/// Fewer values tell nothing.
const FEWEST: usize = 100;

/// How often a value must come, on average, for a dictionary to be worth its time.
const REPEATED: usize = 4;

/// Bytes of a column, and of each of its values, from which is told whether it compresses: at most, and at least.
const SAMPLE: usize = 64 << 10;
const OF_EACH: usize = 8 << 10;
const LEAST_SAMPLE: usize = 4 << 10;

/// Bits per byte, of 8, from which on bytes are noise. Random ones have 7.95 in a sample of 4 KiB, version 4 UUIDs 7.96.
const NOISE: f64 = 7.9;

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

/// How the values of a column are best stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// `None` for the plain one.
    pub encoding: Option<Encoding>,
    /// Whether compressing them saves anything.
    pub compresses: bool,
}

/// What suits these values.
pub fn storage(arrays: &[ArrayRef]) -> Storage {
    let (mut distinct, mut looked_at, mut sample) = (HashSet::new(), 0, Sample::default());
    for array in arrays {
        let counted = each_value(array.as_ref(), LOOKED_AT - looked_at, |value| {
            looked_at += 1;
            distinct.insert(hash(value));
            sample.add(value);
        });
        if counted.is_none() {
            return Storage { encoding: None, compresses: true };
        }
    }
    // Values that come again compress, however random each of them is.
    let compresses = distinct.len() < looked_at || !sample.is_noise();
    Storage { encoding: encoding(arrays, distinct.len(), looked_at), compresses }
}

fn encoding(arrays: &[ArrayRef], distinct: usize, looked_at: usize) -> Option<Encoding> {
    if looked_at < FEWEST {
        return None;
    }
    let steps = steps(arrays);
    // Bits that tell which of them a value is.
    let index = usize::BITS - (distinct - 1).leading_zeros();
    if distinct * REPEATED <= looked_at && steps.is_none_or(|steps| index < steps.bits) {
        return Some(Encoding::RLE_DICTIONARY);
    }
    // Steps cost no more time than what they save is worth if they take much less room than the values.
    steps.filter(|steps| 8 * steps.bits <= 5 * steps.of).map(|_| Encoding::DELTA_BINARY_PACKED)
}

fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// How often each byte occurs in a column.
struct Sample {
    counts: [u32; 256],
    bytes: usize,
}

impl Default for Sample {
    fn default() -> Sample {
        Sample { counts: [0; 256], bytes: 0 }
    }
}

impl Sample {
    /// Takes bytes from the middle of a value: what files of one kind begin with says little of the rest.
    fn add(&mut self, value: &[u8]) {
        let taken = value.len().min(OF_EACH).min(SAMPLE - self.bytes);
        let start = (value.len() - taken) / 2;
        for byte in &value[start..start + taken] {
            self.counts[usize::from(*byte)] += 1;
        }
        self.bytes += taken;
    }

    /// Whether the bytes are as good as random, as those of compressed or encrypted values are: whatever compresses them
    /// works for nothing.
    fn is_noise(&self) -> bool {
        let total = self.bytes as f64;
        let share = |count: &u32| f64::from(*count) / total;
        let bits: f64 = self.counts.iter().filter(|n| **n > 0).map(|n| -share(n) * share(n).log2()).sum();
        self.bytes >= LEAST_SAMPLE && bits >= NOISE
    }
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

/// Shows the bytes of an array's first values, so many at most, nulls left out; `None` for types that have no dictionary.
fn each_value(array: &dyn Array, most: usize, mut show: impl FnMut(&[u8])) -> Option<()> {
    let rows = (0..array.len()).filter(|row| array.is_valid(*row)).take(most);
    match array.data_type() {
        DataType::Utf8 => rows.for_each(|row| show(array.as_string::<i32>().value(row).as_bytes())),
        DataType::Binary => rows.for_each(|row| show(array.as_binary::<i32>().value(row))),
        DataType::FixedSizeBinary(_) => rows.for_each(|row| show(array.as_fixed_size_binary().value(row))),
        other => {
            let width = other.primitive_width()?;
            let data = array.to_data();
            let values = data.buffers().first()?;
            rows.for_each(|row| {
                let start = (data.offset() + row) * width;
                show(values.get(start..start + width).unwrap_or_default());
            });
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{
        BinaryArray, BooleanArray, Date32Array, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array,
        StringArray, TimestampMillisecondArray,
    };
    use std::sync::Arc;

    /// Numbers without an order.
    fn noise(n: i64) -> i64 {
        n.wrapping_mul(6_364_136_223_846_793_005).rotate_left(21).wrapping_mul(-7_046_029_254_386_353_131)
    }

    fn of(array: impl Array + 'static) -> Option<Encoding> {
        storage(&[Arc::new(array)]).encoding
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
        assert_eq!(storage(&[]), Storage { encoding: None, compresses: true });
    }

    #[test]
    fn values_of_random_bytes_are_not_compressed() {
        let bytes = |seed: i64, len: i64| -> Vec<u8> {
            (0..len / 8).flat_map(|n| noise(seed * 1000 + n).to_be_bytes()).collect()
        };
        let compresses =
            |values: Vec<Vec<u8>>| storage(&[Arc::new(BinaryArray::from_iter_values(values))]).compresses;
        assert!(!compresses((0..8).map(|n| bytes(n, 2048)).collect()));
        assert!(!compresses(vec![bytes(1, 1 << 20)]));
        assert!(compresses(vec![bytes(1, 2048)]), "too few bytes to tell");
        assert!(compresses(vec![bytes(1, 2048); 8]), "the same again and again");
        let hex = |n| bytes(n, 1024).iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
        assert!(compresses((0..8).map(hex).collect()), "random, but text");
        let behind_zeros = |n| [vec![0; 9000], bytes(n, 2048)].concat();
        assert!(compresses((0..8).map(behind_zeros).collect()));
        let floats = Float64Array::from_iter_values((0..2000_i32).map(|n| f64::from(n).sqrt()));
        assert!(storage(&[Arc::new(floats)]).compresses);
    }
}
