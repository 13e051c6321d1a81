//! Chance, and the bytes that servers take for a type: plain ones, extreme ones, and ones nobody would write.

use crate::random_schema::Type;

/// A stream of numbers that a seed decides (splitmix64).
pub struct Chance(u64);

impl Chance {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}

/// Where a value stands, which decides what servers take there.
#[derive(Clone, Copy)]
pub struct Place {
    /// Zero bytes, if the type takes them.
    pub empty: bool,
    /// Text that is not UTF-8.
    pub odd_text: bool,
    /// Other bytes for the same value, and sets and maps that are not in order.
    pub odd_spelling: bool,
    /// Null and empty elements, if it is a list.
    pub null_elements: bool,
}

impl Place {
    /// The only column of a partition key.
    pub const LONE_KEY: Place =
        Place { empty: false, odd_text: true, odd_spelling: true, null_elements: false };
    /// A key column beside others, or a clustering column.
    pub const KEY: Place = Place { empty: true, ..Place::LONE_KEY };
    /// A whole cell; null elements are taken by frozen lists only.
    pub const fn cell(frozen: bool) -> Place {
        Place { null_elements: frozen, ..Place::KEY }
    }
    /// A field of a tuple or user type.
    pub const FIELD: Place = Place::KEY;
    /// A field of a user type that is not frozen. Written alone, as it must be if it has a time of its own, a collection in
    /// it is spelt anew (see `spelling`).
    pub const SINGLE_FIELD: Place = Place { odd_spelling: false, ..Place::FIELD };
    /// An element of a list, unless that may hold nulls, or of a vector.
    pub const LIST_ELEMENT: Place = Place { odd_text: false, ..Place::LONE_KEY };
    /// An element of any other collection.
    pub const ELEMENT: Place = Place { empty: true, ..Place::LIST_ELEMENT };
    /// A key or value in `m[?] = ?`, where the server keeps the bytes that it is given; as part of a map it spells them anew
    /// (see `spelling`).
    pub const ENTRY: Place = Place { odd_spelling: false, ..Place::ELEMENT };
}

/// A value of a type, in wire bytes. A collection that is not `frozen` is never without elements: that would be null.
pub fn value(chance: &mut Chance, cql_type: &Type, frozen: bool, place: Place) -> Vec<u8> {
    const EMPTY_ONE_IN: usize = 12;
    if place.empty && takes_empty(cql_type, frozen, place) && chance.one_in(EMPTY_ONE_IN) {
        return Vec::new();
    }
    let least = usize::from(!frozen);
    let most = if place.odd_spelling { 3 } else { 1 };
    let element = match place.odd_spelling {
        true => Place::ELEMENT,
        false => Place { odd_spelling: false, ..Place::LIST_ELEMENT },
    };
    match cql_type {
        Type::Native(name) => native(chance, name, place),
        Type::List(inner) => {
            // An empty element of most types becomes a null one.
            let place_of = Place { empty: place.null_elements, ..element };
            let count = chance.between(least, 3);
            counted((0..count).map(|_| {
                let null = place.null_elements && chance.one_in(8);
                (!null).then(|| value(chance, inner, true, place_of))
            }))
        }
        Type::Set(inner) => {
            let count = chance.between(least, most);
            counted((0..count).map(|_| Some(value(chance, inner, true, element))))
        }
        Type::Map(key, item) => {
            let count = chance.between(least, most);
            let entries = (0..count).flat_map(|_| [key, item]).map(|t| value(chance, t, true, element));
            let mut bytes = counted(entries.map(Some));
            bytes[..4].copy_from_slice(&u32::try_from(count).unwrap().to_be_bytes());
            bytes
        }
        Type::Tuple(fields) => parts(chance, fields.iter(), Place::FIELD),
        Type::Udt(udt) => {
            let place = if frozen { Place::FIELD } else { Place::SINGLE_FIELD };
            parts(chance, udt.fields.iter().map(|(_, field)| field), place)
        }
        Type::Vector(component, dimension) => {
            let width = fixed_width(component);
            let inner = Place { empty: false, null_elements: false, ..place };
            let mut bytes = Vec::new();
            for _ in 0..*dimension {
                let element = value(chance, component, true, inner);
                match width {
                    Some(width) => assert_eq!(element.len(), width),
                    None => put_vint(&mut bytes, element.len() as u64),
                }
                bytes.extend(element);
            }
            bytes
        }
    }
}

/// A set or list of one value: what `+` takes.
pub fn collection_of(element: Vec<u8>) -> Vec<u8> {
    counted([Some(element)].into_iter())
}

/// A map of one entry.
pub fn map_of(key: Vec<u8>, item: Vec<u8>) -> Vec<u8> {
    let mut bytes = counted([Some(key), Some(item)].into_iter());
    bytes[3] = 1;
    bytes
}

fn takes_empty(cql_type: &Type, frozen: bool, place: Place) -> bool {
    const NEVER: [&str; 5] = ["date", "time", "smallint", "tinyint", "duration"];
    match cql_type {
        Type::Native(name) => !NEVER.contains(name),
        // An empty element of these is measured nowhere; a cell and a field are.
        Type::Tuple(_) => place.odd_text,
        Type::Udt(_) => frozen && place.odd_text,
        _ => false,
    }
}

/// A count, and each element behind its length.
fn counted(elements: impl Iterator<Item = Option<Vec<u8>>>) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    let mut count = 0u32;
    for element in elements {
        put(&mut bytes, element.as_deref());
        count += 1;
    }
    bytes[..4].copy_from_slice(&count.to_be_bytes());
    bytes
}

/// The fields of a tuple or user type: some null, now and then the last ones not there at all.
fn parts<'a>(chance: &mut Chance, fields: impl ExactSizeIterator<Item = &'a Type>, place: Place) -> Vec<u8> {
    let len = fields.len();
    let kept = if chance.one_in(6) { chance.between(1, len) } else { len };
    let mut bytes = Vec::new();
    for field in fields.take(kept) {
        let null = chance.one_in(5);
        put(&mut bytes, (!null).then(|| value(chance, field, true, place)).as_deref());
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, part: Option<&[u8]>) {
    let len = part.map_or(-1, |part| i32::try_from(part.len()).unwrap());
    bytes.extend(len.to_be_bytes());
    bytes.extend(part.unwrap_or_default());
}

/// An unsigned vint: the ones before the first zero tell how many bytes follow the first.
fn put_vint(bytes: &mut Vec<u8>, value: u64) {
    let bits = 64 - (value | 1).leading_zeros();
    let more = ((bits - 1) / 7).min(8);
    let all = value.to_be_bytes();
    if more == 8 {
        bytes.push(0xff);
        bytes.extend(all);
        return;
    }
    let from = all.len() - 1 - usize::try_from(more).unwrap();
    let start = bytes.len();
    bytes.extend(&all[from..]);
    bytes[start] |= !(0xffu8 >> more);
}

fn fixed_width(cql_type: &Type) -> Option<usize> {
    match cql_type {
        Type::Native("boolean") => Some(1),
        Type::Native("int" | "float") => Some(4),
        Type::Native("bigint" | "double" | "timestamp") => Some(8),
        Type::Native("uuid" | "timeuuid") => Some(16),
        Type::Vector(element, dimension) => Some(fixed_width(element)? * dimension),
        _ => None,
    }
}

const TEXTS: [&str; 16] = [
    "",
    "a",
    "null",
    "NULL",
    " ",
    "x,\"y\"",
    "two\nlines",
    "a\r\nb",
    "tab\t",
    "0x",
    "{\"a\": [1]}",
    "😀",
    "\u{feff}b",
    "\0",
    "\\N",
    "é'\u{2028}",
];

fn native(chance: &mut Chance, name: &str, place: Place) -> Vec<u8> {
    match name {
        "ascii" => {
            let plain: Vec<&str> = TEXTS.into_iter().filter(|text| text.is_ascii()).collect();
            chance.pick(&plain).as_bytes().to_vec()
        }
        "text" if place.odd_text && chance.one_in(12) => {
            let texts = [&b"\xed\xa0\x80"[..], b"a\xc0\x80b", b"\xf4\x90\x80\x80"];
            chance.pick(&texts).to_vec()
        }
        "text" if chance.one_in(20) => "long ".repeat(chance.below(800)).into_bytes(),
        "text" => chance.pick(&TEXTS).as_bytes().to_vec(),
        "blob" => {
            let len = if chance.one_in(20) { 3000 } else { chance.below(20) };
            chance.bytes(len)
        }
        "boolean" if !place.odd_spelling => vec![*chance.pick(&[0, 1])],
        "boolean" => vec![*chance.pick(&[0, 1, 0, 1, 2, 0xff])],
        "tinyint" => integer(chance, 1),
        "smallint" => integer(chance, 2),
        "int" => integer(chance, 4),
        "bigint" => integer(chance, 8),
        "date" => {
            let any = u32::try_from(chance.next() >> 32).unwrap();
            chance.pick(&[0, u32::MAX, 1 << 31, (1 << 31) + 20_000, any]).to_be_bytes().to_vec()
        }
        "time" => {
            let any = i64::try_from(chance.next() % 86_400_000_000_000).unwrap();
            chance.pick(&[0, 86_399_999_999_999, any, any, -1, 86_400_000_000_000]).to_be_bytes().to_vec()
        }
        "timestamp" => {
            let any = i64::try_from(chance.next() % 2_000_000_000_000).unwrap();
            let extremes = [0, -1, i64::MIN, i64::MAX, 253_402_300_800_000, -62_167_219_200_001, any, any];
            chance.pick(&extremes).to_be_bytes().to_vec()
        }
        "float" => {
            let any = u32::try_from(chance.next() >> 32).unwrap();
            let odd =
                [0, 0x8000_0000, 0x7fc0_0000, 0x7fc0_0001, 0x7f80_0000, 0xff80_0000, 1, 0x3dcc_cccd, any];
            chance.pick(&odd).to_be_bytes().to_vec()
        }
        "double" => {
            let any = chance.next();
            let odd = [0, 1 << 63, 0x7ff8 << 48, 0x7ff8 << 48 | 1, 0x7ff0 << 48, 0xfff0 << 48, 1, any, any];
            chance.pick(&odd).to_be_bytes().to_vec()
        }
        "varint" => varint(chance, place.odd_spelling),
        "decimal" => {
            let any = i32::try_from(chance.below(80)).unwrap() - 40;
            let mut bytes = chance.pick(&[0, 2, -5, 400, any]).to_be_bytes().to_vec();
            bytes.extend(varint(chance, place.odd_spelling));
            bytes
        }
        "inet" => {
            let (four, sixteen) = (chance.bytes(4), chance.bytes(16));
            let mapped = [&[0; 10][..], &[0xff; 2], &four].concat();
            let all = [four, sixteen, mapped];
            chance.pick(&all[..if place.odd_spelling { 3 } else { 2 }]).clone()
        }
        "uuid" => chance.bytes(16),
        "timeuuid" => {
            let mut bytes = chance.bytes(16);
            bytes[6] = bytes[6] & 0x0f | 0x10;
            bytes[8] = bytes[8] & 0x3f | 0x80;
            bytes
        }
        "duration" => {
            let sign = chance.below(2) as u64;
            let mut bytes = Vec::new();
            for limit in [1000, 40, 86_400_000_000_000] {
                // Zigzag: the sign is the lowest bit.
                let amount = chance.next() % limit;
                put_vint(&mut bytes, (amount << 1).saturating_sub(if amount > 0 { sign } else { 0 }));
            }
            bytes
        }
        _ => panic!("no values of type {name}"),
    }
}

/// An integer of that many bytes: any, or one of those at the ends.
fn integer(chance: &mut Chance, width: usize) -> Vec<u8> {
    let mut bytes = chance.bytes(width);
    match chance.below(6) {
        0 => bytes.fill(0),
        1 => bytes.fill(0xff),
        2 => {
            bytes.fill(0xff);
            bytes[0] = 0x7f;
        }
        3 => {
            bytes.fill(0);
            bytes[0] = 0x80;
        }
        _ => {}
    }
    bytes
}

/// Any bytes are a varint; now and then there are more of them than it takes.
fn varint(chance: &mut Chance, odd: bool) -> Vec<u8> {
    let len = if chance.one_in(4) { 1 } else { chance.between(1, 18) };
    let mut bytes = chance.bytes(len);
    match bytes[0] {
        // Else the second byte alone might do.
        0 | 0xff if !odd => bytes[0] = 1,
        _ if odd && chance.one_in(8) => bytes.splice(0..0, [0, 0]).for_each(drop),
        _ => {}
    }
    bytes
}

#[test]
fn a_seed_decides_everything() {
    let stream = |seed| {
        let mut chance = Chance::new(seed);
        [(); 4].map(|()| chance.next())
    };
    assert_eq!(stream(7), stream(7));
    assert_ne!(stream(7), stream(8));
}

#[test]
fn vints_are_as_servers_read_them() {
    for (number, expected) in [
        (0, &[0][..]),
        (127, &[0x7f]),
        (128, &[0x80, 0x80]),
        (16_383, &[0xbf, 0xff]),
        (16_384, &[0xc0, 0x40, 0]),
        (u64::MAX, &[0xff; 9]),
    ] {
        let mut bytes = Vec::new();
        put_vint(&mut bytes, number);
        assert_eq!(bytes, expected, "{number}");
    }
}
