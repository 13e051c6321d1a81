//! Properties of every codec, over random types nested up to three deep: canonical cells are exact, whatever is not
//! flagged is exact, and nothing panics. Cells are made here at the wire level, without the codecs.

use super::cql::{CqlType, Native, Udt};
use super::{BadValue, Codec, Fidelity, codec};
use crate::rows::Cell;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::Schema;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::BoxedStrategy;
use std::sync::Arc;

type Bytes = BoxedStrategy<Vec<u8>>;

fn types() -> BoxedStrategy<CqlType> {
    let native = prop::sample::select(Native::ALL).prop_map(CqlType::Native);
    native
        .prop_recursive(3, 12, 3, |inner| {
            let boxed = inner.clone().prop_map(Box::new);
            prop_oneof![
                boxed.clone().prop_map(|t| CqlType::List(t, true)),
                boxed.clone().prop_map(|t| CqlType::Set(t, true)),
                (boxed.clone(), boxed.clone()).prop_map(|(k, v)| CqlType::Map(k, v, true)),
                vec(inner.clone(), 1..4).prop_map(CqlType::Tuple),
                vec(inner, 1..4).prop_map(|types| {
                    let names = ["b", "A b", "\"é"].map(str::to_owned);
                    let (name, fields) = ("u".to_owned(), names.into_iter().zip(types).collect());
                    CqlType::Udt(Arc::new(Udt { name, fields }), true)
                }),
                (boxed, 1..4usize).prop_map(|(t, n)| CqlType::Vector(t, n)),
            ]
        })
        .boxed()
}

/// Cells as servers hold them in ordinary tables: exact in every form.
fn canonical(cql_type: &CqlType) -> Bytes {
    match cql_type {
        CqlType::Native(native) => canonical_scalar(*native),
        CqlType::List(e, _) | CqlType::Set(e, _) => vec(part(canonical(e)), 0..4).prop_map(counted).boxed(),
        CqlType::Map(k, v, _) => {
            let key = canonical(k).prop_map(|k| prefixed(Some(k)));
            let entry = (key, part(canonical(v))).prop_map(|(k, v)| [k, v].concat());
            vec(entry, 0..4).prop_map(counted).boxed()
        }
        CqlType::Tuple(fields) => all(fields.iter().map(|t| part(canonical(t))).collect()),
        CqlType::Udt(udt, _) => all(udt.fields.iter().map(|(_, t)| part(canonical(t))).collect()),
        CqlType::Vector(e, n) => {
            let fixed = fixed_width(e).is_some();
            let element = canonical(e).prop_map(move |e| match (fixed, u8::try_from(e.len())) {
                (true, _) => e,
                (false, Ok(len @ 0..0x80)) => [vec![len], e].concat(),
                (false, _) => {
                    let len = u16::try_from(e.len()).unwrap();
                    assert!(len < 0x4000, "two bytes hold the length");
                    [(len | 0x8000).to_be_bytes().to_vec(), e].concat()
                }
            });
            vec(element, *n).prop_map(|e| e.concat()).boxed()
        }
        CqlType::Custom(_) => unreachable!(),
    }
}

fn all(parts: Vec<Bytes>) -> Bytes {
    parts.prop_map(|parts| parts.concat()).boxed()
}

fn part(value: Bytes) -> Bytes {
    prop::option::weighted(0.8, value).prop_map(prefixed).boxed()
}

fn prefixed(value: Option<Vec<u8>>) -> Vec<u8> {
    match value {
        None => vec![0xff; 4],
        Some(value) => {
            let len = u32::try_from(value.len()).unwrap().to_be_bytes();
            [len.to_vec(), value].concat()
        }
    }
}

fn counted(parts: Vec<Vec<u8>>) -> Vec<u8> {
    let count = u32::try_from(parts.len()).unwrap().to_be_bytes();
    [count.to_vec(), parts.concat()].concat()
}

fn fixed_width(cql_type: &CqlType) -> Option<usize> {
    use Native::{BigInt, Boolean, Double, Float, Int, TimeUuid, Timestamp, Uuid};
    match cql_type {
        CqlType::Native(Boolean) => Some(1),
        CqlType::Native(Int | Float) => Some(4),
        CqlType::Native(BigInt | Double | Timestamp) => Some(8),
        CqlType::Native(Uuid | TimeUuid) => Some(16),
        CqlType::Vector(e, n) => Some(fixed_width(e)? * n),
        _ => None,
    }
}

fn canonical_scalar(native: Native) -> Bytes {
    fn number(range: impl Strategy<Value = i64> + 'static) -> Bytes {
        range.prop_map(|n| n.to_be_bytes().to_vec()).boxed()
    }
    let limit = i64::MAX / 1000;
    match native {
        Native::TinyInt => vec(any::<u8>(), 1).boxed(),
        Native::SmallInt => vec(any::<u8>(), 2).boxed(),
        Native::Int | Native::Date => vec(any::<u8>(), 4).boxed(),
        Native::BigInt | Native::Counter => number(any::<i64>()),
        Native::Uuid => vec(any::<u8>(), 16).boxed(),
        Native::TimeUuid => vec(any::<u8>(), 16)
            .prop_map(|mut bytes| {
                bytes[6] = bytes[6] & 15 | 16;
                bytes
            })
            .boxed(),
        Native::Timestamp => {
            prop_oneof![number(-limit..=limit), number(-100_000_000_000_000..=100_000_000_000_000i64)].boxed()
        }
        Native::Time => number(0..86_400_000_000_000i64),
        Native::Boolean => prop_oneof![Just(vec![0]), Just(vec![1])].boxed(),
        Native::Ascii => vec(0..0x80u8, 0..8).boxed(),
        Native::Text => ".{0,8}".prop_map(String::into_bytes).boxed(),
        Native::Blob => vec(any::<u8>(), 0..8).boxed(),
        Native::VarInt => varint(),
        Native::Decimal => {
            let scale = prop_oneof![-3..60i32, any::<i32>()];
            let both = (scale, varint());
            both.prop_map(|(s, v)| [s.to_be_bytes().to_vec(), v].concat()).boxed()
        }
        Native::Float => any::<u32>()
            .prop_map(|b| if f32::from_bits(b).is_nan() { 0x7fc0_0000 } else { b })
            .prop_map(|b| b.to_be_bytes().to_vec())
            .boxed(),
        Native::Double => {
            let whole = (-1_000_000..1_000_000i32).prop_map(|n| (f64::from(n) / 100.0).to_bits());
            prop_oneof![any::<u64>(), whole]
                .prop_map(|b| if f64::from_bits(b).is_nan() { 0x7ff8 << 48 } else { b })
                .prop_map(|b| b.to_be_bytes().to_vec())
                .boxed()
        }
        Native::Duration => {
            let size = |n: u64| prop_oneof![Just(0), Just(n), 0..1000u64, 0..=n];
            let months = i32::MAX.unsigned_abs().into();
            let nanos = i64::MAX.unsigned_abs();
            (any::<bool>(), size(months), size(months), size(nanos))
                .prop_map(|(negative, m, d, n)| {
                    let fold = |n: u64| if negative && n > 0 { 2 * n - 1 } else { 2 * n };
                    [m, d, n].iter().flat_map(|n| vint(fold(*n))).collect()
                })
                .boxed()
        }
        Native::Inet => {
            let mapped = vec(any::<u8>(), 4).prop_map(|v4| [vec![0; 10], vec![0xff; 2], v4].concat());
            prop_oneof![vec(any::<u8>(), 4), vec(any::<u8>(), 16), mapped, vec(0..2u8, 16)].boxed()
        }
    }
}

fn varint() -> Bytes {
    let bytes = prop_oneof![vec(any::<u8>(), 1..10), vec(any::<u8>(), 14..20), vec(any::<u8>(), 1..60)];
    let spread = prop_oneof![4 => Just(false), 1 => Just(true)];
    (bytes, spread)
        .prop_map(|(mut bytes, near_power)| {
            if near_power {
                bytes[1..].fill(0);
            }
            while bytes.len() > 1 && (bytes[0] == 0 && bytes[1] < 128 || bytes[0] == 255 && bytes[1] >= 128) {
                bytes.remove(0);
            }
            bytes
        })
        .boxed()
}

/// Bit by bit: seven value bits per byte, and a one in front for each byte more.
fn vint(value: u64) -> Vec<u8> {
    let bits = 64 - value.leading_zeros().min(63);
    let bytes = bits.div_ceil(7).min(9);
    let mut out = u128::from(value).to_be_bytes()[16 - usize::try_from(bytes).unwrap()..].to_vec();
    for bit in 0..bytes - 1 {
        out[0] |= 0x80u8 >> bit;
    }
    out
}

/// A change to a canonical cell: cut, lengthened, a byte inserted or some altered.
fn mutated(cell: Vec<u8>) -> Bytes {
    let len = cell.len();
    let (cut, longer, inserted, altered) = (cell.clone(), cell.clone(), cell.clone(), cell);
    let interesting =
        prop_oneof![any::<u8>(), Just(0), Just(1), Just(0x7f), Just(0x80), Just(0xff), Just(0xfe)];
    prop_oneof![
        1 => Just(Vec::new()),
        2 => (0..=len).prop_map(move |n| cut[..n].to_vec()),
        2 => vec(any::<u8>(), 1..5).prop_map(move |more| [longer.clone(), more].concat()),
        2 => (0..=len, interesting.clone()).prop_map(move |(at, byte)| {
            let mut bytes = inserted.clone();
            bytes.insert(at, byte);
            bytes
        }),
        5 => vec((any::<prop::sample::Index>(), interesting), 1..4).prop_map(move |changes| {
            let mut bytes = altered.clone();
            if !bytes.is_empty() {
                for (at, byte) in changes {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            bytes
        }),
        1 => vec(any::<u8>(), 0..24),
    ]
    .boxed()
}

fn hostile(cql_type: &CqlType) -> Bytes {
    prop_oneof![
        1 => canonical(cql_type),
        4 => canonical(cql_type).prop_flat_map(mutated),
    ]
    .boxed()
}

type Column = Vec<Option<Vec<u8>>>;

fn columns(cells: fn(&CqlType) -> Bytes) -> impl Strategy<Value = (CqlType, Column)> {
    types().prop_flat_map(move |cql_type| {
        let cell = prop::option::weighted(0.85, cells(&cql_type));
        (Just(cql_type), vec(cell, 0..8))
    })
}

fn shown(column: &Column) -> Vec<Cell<'_>> {
    column.iter().map(Option::as_deref).collect()
}

/// What the text gives back, and whether it claims to be exact.
fn through_text(codec: &dyn Codec, cell: &[u8]) -> (Fidelity, Result<Vec<u8>, BadValue>) {
    let mut text = b"\xff".to_vec();
    let fidelity = codec.to_text(cell, &mut text);
    assert!(std::str::from_utf8(&text[1..]).is_ok());
    let mut back = b"\xff".to_vec();
    let read = codec.from_text(&text[1..], &mut back);
    (fidelity, read.map(|()| back[1..].to_vec()))
}

/// What the array gives back.
fn from_arrow(codec: &dyn Codec, array: &ArrayRef) -> Vec<Result<Option<Vec<u8>>, BadValue>> {
    let cells = codec.arrow_cells(array).unwrap();
    (0..array.len())
        .map(|row| {
            let mut out = b"\xff".to_vec();
            let present = cells.append(row, &mut out)?;
            assert!(present || out.len() == 1);
            Ok(present.then(|| out[1..].to_vec()))
        })
        .collect()
}

fn check_column(cql_type: &CqlType, column: &Column, canonical: bool) {
    let codec = codec(cql_type).unwrap();
    let mut lossy = vec![false; column.len()];
    let array = codec.to_arrow(&shown(column), &mut lossy);
    assert_eq!(array.data_type(), &codec.arrow_type());
    assert_eq!(array.len(), column.len());
    array.to_data().validate_full().unwrap();
    let back = from_arrow(&*codec, &array);
    for (row, cell) in column.iter().enumerate() {
        assert!(!canonical || !lossy[row], "{cql_type}: {cell:x?} is flagged in Arrow");
        assert!(cell.is_some() || !lossy[row], "{cql_type}: a null is flagged");
        if !lossy[row] {
            assert_eq!(back[row].as_ref(), Ok(cell), "{cql_type} through Arrow");
        }
        if let Some(cell) = cell {
            let (fidelity, back) = through_text(&*codec, cell);
            assert!(!canonical || fidelity == Fidelity::Exact, "{cql_type}: {cell:x?} is flagged in text");
            if fidelity == Fidelity::Exact {
                assert_eq!(back.as_ref(), Ok(cell), "{cql_type} through text");
            }
        }
    }
    check_parts(&*codec, &array, &lossy, column);
}

/// A slice of the array gives the same cells.
fn check_parts(codec: &dyn Codec, array: &ArrayRef, lossy: &[bool], column: &Column) {
    let half = column.len() / 2;
    let back = from_arrow(codec, &array.slice(half, column.len() - half));
    for (i, back) in back.iter().enumerate() {
        if !lossy[half + i] {
            assert_eq!(back.as_ref(), Ok(&column[half + i]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn canonical_cells_are_exact((cql_type, column) in columns(canonical)) {
        check_column(&cql_type, &column, true);
    }

    #[test]
    fn what_is_not_flagged_is_exact((cql_type, column) in columns(hostile)) {
        check_column(&cql_type, &column, false);
    }

    #[test]
    fn hostile_text_is_refused_or_read(
        cql_type in types(),
        text in prop_oneof![
            ".{0,12}",
            r#"[-+]?[0-9.eE:TZ+-]{0,24}"#,
            r#"[-pP0-9ymowdhsutnµ]{0,12}"#,
            r#"[\[\]{}",:0-9a nul]{0,16}"#,
            r#"\[(([0-9]|null|"a"|\[\]|\{\}),){0,3}1\]"#,
        ],
    ) {
        let codec = codec(&cql_type).unwrap();
        let _ = codec.from_text(text.as_bytes(), &mut Vec::new());
        let _ = codec.from_text(&[text.as_bytes(), b"\xff"].concat(), &mut Vec::new());
    }

    #[test]
    fn an_array_of_another_type_is_refused((cql_type, column) in columns(canonical), other in types()) {
        let codec_of = codec(&cql_type).unwrap();
        let other = codec(&other).unwrap();
        let array = codec_of.to_arrow(&shown(&column), &mut vec![false; column.len()]);
        if other.arrow_type() == codec_of.arrow_type() {
            from_arrow(&*other, &array);
        } else {
            prop_assert!(other.arrow_cells(&array).is_err());
        }
    }
}

/// Parquet gives back the types, and every cell that is not flagged.
fn check_parquet(cql_type: &CqlType, column: &Column) {
    let codec = codec(cql_type).unwrap();
    let mut lossy = vec![false; column.len()];
    let array = codec.to_arrow(&shown(column), &mut lossy);
    let schema = Arc::new(Schema::new(vec![codec.field("c")]));
    let batch = RecordBatch::try_new(schema.clone(), vec![array]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    let file = bytes::Bytes::from(writer.into_inner().unwrap());
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let batches = reader.with_batch_size(3).build().unwrap();
    let back = batches.flat_map(|batch| from_arrow(&*codec, batch.unwrap().column(0)));
    let back: Vec<_> = back.collect();
    assert_eq!(back.len(), column.len());
    for ((back, cell), lossy) in back.iter().zip(column).zip(lossy) {
        if !lossy {
            assert_eq!(back.as_ref(), Ok(cell), "{cql_type} through Parquet");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn parquet_keeps_types_and_cells(
        (cql_type, column) in prop_oneof![columns(canonical), columns(hostile)],
    ) {
        check_parquet(&cql_type, &column);
    }
}

/// Random types seldom pair a scalar with many cells, so each scalar has a run of its own.
#[test]
fn every_scalar_is_exact_or_flagged() {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    for native in Native::ALL {
        let cql_type = CqlType::Native(*native);
        let exact = vec(prop::option::weighted(0.9, canonical(&cql_type)), 0..40);
        let odd = vec(prop::option::weighted(0.9, hostile(&cql_type)), 0..40);
        let run = runner.run(&(exact, odd), |(exact, odd)| {
            check_column(&cql_type, &exact, true);
            check_column(&cql_type, &odd, false);
            Ok(())
        });
        run.unwrap_or_else(|e| panic!("{cql_type}: {e}"));
    }
}

#[test]
fn every_native_has_a_codec_and_no_custom_type_has() {
    for native in Native::ALL {
        assert!(codec(&CqlType::Native(*native)).is_ok(), "{}", native.name());
    }
    let class = "org.apache.cassandra.db.marshal.LexicalUUIDType".to_owned();
    let custom = CqlType::List(Box::new(CqlType::Custom(class)), false);
    let error = codec(&custom).err().unwrap().to_string();
    assert!(error.contains("LexicalUUIDType"), "{error}");
    assert!(codec(&CqlType::Custom("empty".to_owned())).is_err());
    assert!(codec(&CqlType::Tuple(Vec::new())).is_err());
    assert!(codec(&CqlType::Vector(Box::new(CqlType::Native(Native::Int)), 0)).is_err());
}
