//! CQL types by the Java class names under which servers keep the arguments of functions in permissions:
//! `org.apache.cassandra.db.marshal.Int32Type`. CQL's own names are read and printed by [`super::cql`].

use super::cql::{BadType, CqlType, DEEPEST, Frozen, Native, Udt};
use std::sync::Arc;

/// Reads a class name with its parameters, if it has any.
///
/// # Errors
/// `BadType` if it is none, none of a CQL type, or nested without end.
pub fn parse(text: &str) -> Result<CqlType, BadType> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let parsed = parser.typ(false)?;
    if parser.at == text.len() { Ok(parsed) } else { Err(parser.syntax()) }
}

/// The classes of scalars, without their package.
const NATIVES: &[(&str, Native)] = &[
    ("AsciiType", Native::Ascii),
    ("BooleanType", Native::Boolean),
    ("ByteType", Native::TinyInt),
    ("BytesType", Native::Blob),
    ("CounterColumnType", Native::Counter),
    ("DateType", Native::Timestamp),
    ("DecimalType", Native::Decimal),
    ("DoubleType", Native::Double),
    ("DurationType", Native::Duration),
    ("FloatType", Native::Float),
    ("InetAddressType", Native::Inet),
    ("Int32Type", Native::Int),
    ("IntegerType", Native::VarInt),
    ("LongType", Native::BigInt),
    ("ShortType", Native::SmallInt),
    ("SimpleDateType", Native::Date),
    ("TimeType", Native::Time),
    ("TimeUUIDType", Native::TimeUuid),
    ("TimestampType", Native::Timestamp),
    ("UTF8Type", Native::Text),
    ("UUIDType", Native::Uuid),
];

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn typ(&mut self, frozen: Frozen) -> Result<CqlType, BadType> {
        let class = self.word();
        let class = class.rsplit('.').next().unwrap_or_default();
        if let Some((_, native)) = NATIVES.iter().find(|(name, _)| *name == class) {
            return Ok(CqlType::Native(*native));
        }
        self.expect('(')?;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(BadType::Deep);
        }
        let parsed = match class {
            "FrozenType" => self.typ(true)?,
            "ListType" => CqlType::List(Box::new(self.typ(true)?), frozen),
            "SetType" => CqlType::Set(Box::new(self.typ(true)?), frozen),
            "MapType" => {
                let key = self.typ(true)?;
                self.expect(',')?;
                CqlType::Map(Box::new(key), Box::new(self.typ(true)?), frozen)
            }
            "TupleType" => {
                let mut elements = vec![self.typ(true)?];
                while self.take(',') {
                    elements.push(self.typ(true)?);
                }
                CqlType::Tuple(elements)
            }
            "UserType" => CqlType::Udt(Arc::new(self.user_type()?), frozen),
            "VectorType" => {
                let element = self.typ(true)?;
                self.expect(',')?;
                let dimensions = self.word().parse().map_err(|_| self.syntax())?;
                CqlType::Vector(Box::new(element), dimensions)
            }
            _ => return Err(self.syntax()),
        };
        self.depth -= 1;
        self.expect(')')?;
        Ok(parsed)
    }

    /// `keyspace,name,field:type,…`, the names in hex.
    fn user_type(&mut self) -> Result<Udt, BadType> {
        self.word();
        self.expect(',')?;
        let name = self.hex()?;
        let mut fields = Vec::new();
        while self.take(',') {
            let field = self.hex()?;
            self.expect(':')?;
            fields.push((field, self.typ(true)?));
        }
        Ok(Udt { name, fields })
    }

    fn hex(&mut self) -> Result<String, BadType> {
        let digits = self.word();
        let byte = |at| digits.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
        bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| self.syntax())
    }

    fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let len = rest.find(|c: char| "(),: ".contains(c)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    fn take(&mut self, wanted: char) -> bool {
        let rest = &self.text[self.at..];
        // Some releases put spaces around commas.
        let Some(rest) = rest.trim_start_matches(' ').strip_prefix(wanted) else {
            return false;
        };
        self.at = self.text.len() - rest.trim_start_matches(' ').len();
        true
    }

    fn expect(&mut self, wanted: char) -> Result<(), BadType> {
        if self.take(wanted) { Ok(()) } else { Err(self.syntax()) }
    }

    fn syntax(&self) -> BadType {
        BadType::Syntax { text: self.text.to_owned(), at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_may_not_be_nested_without_end() {
        assert_eq!(parse(&"SetType(".repeat(1_000_000)), Err(BadType::Deep));
    }

    /// As Cassandra 5.0.6 keeps them for functions with such arguments, the package left out here.
    #[test]
    fn classes_are_read_as_the_types_they_stand_for() {
        let package = "org.apache.cassandra.db.marshal.";
        for (classes, expected) in [
            ("Int32Type", "int"),
            ("UTF8Type", "text"),
            ("TimeUUIDType", "timeuuid"),
            ("ListType(@UTF8Type)", "list<text>"),
            ("FrozenType(@ListType(@UTF8Type))", "frozen<list<text>>"),
            ("MapType(@UTF8Type,@FrozenType(@SetType(@Int32Type)))", "map<text, frozen<set<int>>>"),
            ("FrozenType(@MapType(@UTF8Type,@SetType(@Int32Type)))", "frozen<map<text, frozen<set<int>>>>"),
            ("TupleType(@Int32Type,@ListType(@Int32Type))", "frozen<tuple<int, frozen<list<int>>>>"),
            ("UserType(mm,4d792054797065,61:@Int32Type,62:@UTF8Type)", "\"My Type\""),
            ("VectorType(@FloatType , 3)", "vector<float, 3>"),
        ] {
            let text = format!("@{classes}").replace('@', package);
            assert_eq!(parse(&text).map(|t| t.to_string()).as_deref(), Ok(expected), "{text}");
        }
        let CqlType::Udt(udt, true) = parse("FrozenType(UserType(ks,75,61:Int32Type,62:UTF8Type))").unwrap()
        else {
            panic!()
        };
        let (a, b) = (CqlType::Native(Native::Int), CqlType::Native(Native::Text));
        assert_eq!(udt.fields, [("a".to_owned(), a), ("b".to_owned(), b)]);
    }

    #[test]
    fn every_native_type_but_none_twice_has_a_class() {
        for native in Native::ALL {
            let classes = NATIVES.iter().filter(|(_, known)| known == native).count();
            // `timestamp` had another one in old releases.
            assert_eq!(classes, 1 + usize::from(*native == Native::Timestamp), "{native:?}");
        }
    }

    #[test]
    fn what_is_no_class_of_a_type_is_refused() {
        for text in [
            "",
            "int",
            "NopeType",
            "ListType",
            "ListType(Int32Type",
            "ListType(Int32Type))",
            "MapType(Int32Type)",
            "VectorType(FloatType,x)",
            "UserType(ks,7,61:Int32Type)",
            "UserType(ks,é9,61:Int32Type)",
            "UserType(ks,ff)",
            "Int32Type ",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
