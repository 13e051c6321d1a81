//! CQL type names: parsed from what `system_schema` prints, printed again the same way. Which codec a type has is left
//! to [`super::codec`].

use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// A CQL type with its user types resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CqlType {
    /// A built-in scalar.
    Native(Native),
    /// `list<element>`.
    List(Box<CqlType>, Frozen),
    /// `set<element>`.
    Set(Box<CqlType>, Frozen),
    /// `map<key, value>`.
    Map(Box<CqlType>, Box<CqlType>, Frozen),
    /// `tuple<…>`, always frozen.
    Tuple(Vec<CqlType>),
    /// A user-defined type.
    Udt(Arc<Udt>, Frozen),
    /// `vector<element, dimensions>`, always frozen.
    Vector(Box<CqlType>, usize),
    /// A type given by its Java class, `'org.apache.cassandra.db.marshal.…'`, or the catalogue's `empty`.
    Custom(String),
}

/// Whether a collection or user type is one cell (frozen) or a cell per element.
pub type Frozen = bool;

/// A user-defined type: name without keyspace, fields in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Udt {
    /// True name, unquoted.
    pub name: String,
    /// Field names, unquoted, with their types.
    pub fields: Vec<(String, CqlType)>,
}

macro_rules! natives {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// The built-in scalar types.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Native { $(#[doc = concat!("`", $name, "`")] $variant),* }

        impl Native {
            /// All of them.
            pub const ALL: &'static [Native] = &[$(Native::$variant),*];

            /// The name as CQL spells it.
            pub fn name(self) -> &'static str {
                match self { $(Native::$variant => $name),* }
            }
        }
    };
}

natives! {
    Ascii "ascii", BigInt "bigint", Blob "blob", Boolean "boolean", Counter "counter", Date "date", Decimal "decimal",
    Double "double", Duration "duration", Float "float", Inet "inet", Int "int", SmallInt "smallint", Text "text",
    Time "time", Timestamp "timestamp", TimeUuid "timeuuid", TinyInt "tinyint", Uuid "uuid", VarInt "varint",
}

/// So deep may types stand in one another: what reads them calls itself.
pub(super) const DEEPEST: usize = 100;

/// So many types may stand in one, those in its user types counted each time: a codec is made for every one of them.
const MOST: usize = 10_000;

/// How large a type is, with its user types opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    depth: usize,
    types: usize,
}

impl Size {
    /// Of something that has this in it too.
    #[must_use]
    pub fn with(self, other: Size) -> Size {
        Size { depth: self.depth.max(other.depth), types: self.types.saturating_add(other.types) }
    }

    /// Whether what reads types can open it.
    ///
    /// # Errors
    /// `BadType` says in which way it is too large.
    pub fn check(self) -> Result<(), BadType> {
        match self {
            Size { depth, .. } if depth > DEEPEST => Err(BadType::Deep),
            Size { types, .. } if types > MOST => Err(BadType::Large),
            _ => Ok(()),
        }
    }
}

/// A type name that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadType {
    /// Not the grammar of a type.
    #[error("cannot read the type {text:?} at byte {at}")]
    Syntax {
        /// The whole type.
        text: String,
        /// Where reading stopped.
        at: usize,
    },
    /// Types within types without end.
    #[error("a type is nested more than {DEEPEST} deep")]
    Deep,
    /// User types that hold others more than once, and those again.
    #[error("a type has more than {MOST} types in it")]
    Large,
    /// A user type that the keyspace does not define.
    #[error("the type {text:?} names {name:?}, which is neither a built-in type nor a type of its keyspace")]
    Unknown {
        /// The whole type.
        text: String,
        /// The missing name.
        name: String,
    },
}

impl CqlType {
    /// Parses a type as `system_schema` prints it; `udt` finds the user types of the keyspace by true name.
    ///
    /// # Errors
    /// `BadType` names what could not be read.
    pub fn parse(text: &str, udt: &dyn Fn(&str) -> Option<Arc<Udt>>) -> Result<CqlType, BadType> {
        let mut parser = Parser { text, at: 0, depth: 0, udt };
        let parsed = parser.typ(false)?;
        if parser.at == text.len() { Ok(parsed) } else { Err(parser.syntax()) }
    }

    /// Whether a column of this type is one cell per element, each with a write time and expiry of its own.
    pub fn has_elements(&self) -> bool {
        matches!(
            self,
            CqlType::List(_, false)
                | CqlType::Set(_, false)
                | CqlType::Map(_, _, false)
                | CqlType::Udt(_, false)
        )
    }

    /// Elements that Arrow sets aside for a null of this type: the vectors in it keep the room of theirs.
    pub fn null_elements(&self) -> usize {
        let sum = |types: &mut dyn Iterator<Item = &CqlType>| -> usize {
            types.map(CqlType::null_elements).fold(0, usize::saturating_add)
        };
        match self {
            CqlType::Vector(element, n) => n.saturating_mul(element.null_elements().saturating_add(1)),
            CqlType::Tuple(elements) => sum(&mut elements.iter()),
            CqlType::Udt(udt, _) => sum(&mut udt.fields.iter().map(|(_, t)| t)),
            CqlType::Native(_)
            | CqlType::List(..)
            | CqlType::Set(..)
            | CqlType::Map(..)
            | CqlType::Custom(_) => 0,
        }
    }

    /// How large it is, `of` telling how large the fields of a user type are: those are not looked at, since types in types
    /// may double with each.
    pub fn size(&self, of: &dyn Fn(&Udt) -> Size) -> Size {
        let inner = match self {
            CqlType::Native(_) | CqlType::Custom(_) => Size::default(),
            CqlType::List(e, _) | CqlType::Set(e, _) | CqlType::Vector(e, _) => e.size(of),
            CqlType::Map(k, v, _) => k.size(of).with(v.size(of)),
            CqlType::Tuple(elements) => elements.iter().map(|e| e.size(of)).fold(Size::default(), Size::with),
            CqlType::Udt(udt, _) => of(udt),
        };
        Size { depth: inner.depth + 1, types: inner.types.saturating_add(1) }
    }

    /// Calls `visit` with every user type in this type, inner ones first.
    pub fn visit_udts(&self, visit: &mut dyn FnMut(&Arc<Udt>)) {
        match self {
            CqlType::Native(_) | CqlType::Custom(_) => {}
            CqlType::List(e, _) | CqlType::Set(e, _) | CqlType::Vector(e, _) => e.visit_udts(visit),
            CqlType::Map(k, v, _) => {
                k.visit_udts(visit);
                v.visit_udts(visit);
            }
            CqlType::Tuple(elements) => elements.iter().for_each(|e| e.visit_udts(visit)),
            CqlType::Udt(udt, _) => {
                udt.fields.iter().for_each(|(_, t)| t.visit_udts(visit));
                visit(udt);
            }
        }
    }
}

impl fmt::Display for CqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frozen = |f: &mut fmt::Formatter<'_>, frozen: bool, body: fmt::Arguments<'_>| {
            if frozen { write!(f, "frozen<{body}>") } else { write!(f, "{body}") }
        };
        match self {
            CqlType::Native(native) => f.write_str(native.name()),
            CqlType::List(e, z) => frozen(f, *z, format_args!("list<{e}>")),
            CqlType::Set(e, z) => frozen(f, *z, format_args!("set<{e}>")),
            CqlType::Map(k, v, z) => frozen(f, *z, format_args!("map<{k}, {v}>")),
            CqlType::Tuple(elements) => {
                let inner: Vec<String> = elements.iter().map(CqlType::to_string).collect();
                write!(f, "frozen<tuple<{}>>", inner.join(", "))
            }
            CqlType::Udt(udt, z) if is_built_in(&udt.name) => frozen(f, *z, format_args!("\"{}\"", udt.name)),
            CqlType::Udt(udt, z) => frozen(f, *z, format_args!("{}", Ident(&udt.name))),
            CqlType::Vector(e, n) => write!(f, "vector<{e}, {n}>"),
            CqlType::Custom(class) if class == "empty" => f.write_str(class),
            CqlType::Custom(class) => write!(f, "'{}'", class.replace('\'', "''")),
        }
    }
}

/// Whether an unquoted name stands for a type of CQL's own.
fn is_built_in(name: &str) -> bool {
    let constructors = ["frozen", "list", "set", "map", "tuple", "vector", "empty", "varchar"];
    constructors.contains(&name) || Native::ALL.iter().any(|native| native.name() == name)
}

/// An identifier, printed as CQL needs it: quoted unless it is plain lower case and not reserved.
#[derive(Clone, Copy, Debug)]
pub struct Ident<'a>(pub &'a str);

impl fmt::Display for Ident<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.0.bytes();
        let plain = bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if plain && !RESERVED.contains(&self.0) {
            f.write_str(self.0)
        } else {
            write!(f, "\"{}\"", self.0.replace('"', "\"\""))
        }
    }
}

/// Words that must be quoted as names: the union of the reserved words of Cassandra 3.11 to 5.0 and ScyllaDB. Quoting a
/// word that one of them does not reserve is harmless, as all are lower case.
const RESERVED: &[&str] = &[
    "add",
    "aggregate",
    "allow",
    "alter",
    "and",
    "any",
    "apply",
    "asc",
    "authorize",
    "batch",
    "begin",
    "by",
    "called",
    "clustering",
    "columnfamily",
    "compact",
    "counter",
    "create",
    "custom",
    "default",
    "delete",
    "desc",
    "describe",
    "distinct",
    "drop",
    "each_quorum",
    "entries",
    "execute",
    "exists",
    "filtering",
    "from",
    "full",
    "function",
    "grant",
    "if",
    "in",
    "index",
    "inet",
    "infinity",
    "initcond",
    "input",
    "insert",
    "into",
    "is",
    "json",
    "key",
    "keyspace",
    "keyspaces",
    "language",
    "limit",
    "local_one",
    "local_quorum",
    "masked",
    "materialized",
    "mbean",
    "mbeans",
    "modify",
    "nan",
    "norecursive",
    "not",
    "null",
    "of",
    "on",
    "one",
    "or",
    "order",
    "password",
    "permission",
    "primary",
    "quorum",
    "rename",
    "replace",
    "returns",
    "revoke",
    "scalar",
    "schema",
    "select",
    "set",
    "storage",
    "table",
    "three",
    "to",
    "token",
    "trigger",
    "truncate",
    "two",
    "unlogged",
    "unset",
    "update",
    "use",
    "using",
    "values",
    "view",
    "where",
    "with",
    "writetime",
];

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    udt: &'a dyn Fn(&str) -> Option<Arc<Udt>>,
}

impl Parser<'_> {
    fn typ(&mut self, frozen: bool) -> Result<CqlType, BadType> {
        match self.peek() {
            Some(b'\'') => return self.custom(),
            Some(b'"') => {
                let name = self.quoted(b'"')?;
                return self.user_type(&name, frozen);
            }
            _ => {}
        }
        let start = self.at;
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        while self.peek().is_some_and(is_word) {
            self.at += 1;
        }
        let word = self.text[start..self.at].to_ascii_lowercase();
        match word.as_str() {
            "" => Err(self.syntax()),
            "frozen" => self.inside(|p| p.typ(true)),
            "list" => Ok(CqlType::List(Box::new(self.inside(|p| p.element())?), frozen)),
            "set" => Ok(CqlType::Set(Box::new(self.inside(|p| p.element())?), frozen)),
            "map" => self.inside(|p| {
                let key = p.element()?;
                p.expect(b',')?;
                Ok(CqlType::Map(Box::new(key), Box::new(p.element()?), frozen))
            }),
            "tuple" => self.inside(|p| {
                let mut elements = vec![p.element()?];
                while p.take(b',') {
                    elements.push(p.element()?);
                }
                Ok(CqlType::Tuple(elements))
            }),
            "vector" => self.inside(|p| {
                let element = p.element()?;
                p.expect(b',')?;
                Ok(CqlType::Vector(Box::new(element), p.number()?))
            }),
            "empty" => Ok(CqlType::Custom(word)),
            "varchar" => Ok(CqlType::Native(Native::Text)),
            _ => match Native::ALL.iter().find(|n| n.name() == word) {
                Some(native) => Ok(CqlType::Native(*native)),
                None => self.user_type(&word, frozen),
            },
        }
    }

    /// A type inside another: always frozen there, whether the catalogue says so or not.
    fn element(&mut self) -> Result<CqlType, BadType> {
        self.typ(true)
    }

    fn inside<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T, BadType>) -> Result<T, BadType> {
        self.expect(b'<')?;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(BadType::Deep);
        }
        let inner = body(self)?;
        self.depth -= 1;
        self.expect(b'>')?;
        Ok(inner)
    }

    fn user_type(&mut self, name: &str, frozen: bool) -> Result<CqlType, BadType> {
        match (self.udt)(name) {
            Some(udt) => Ok(CqlType::Udt(udt, frozen)),
            None => Err(BadType::Unknown { text: self.text.to_owned(), name: name.to_owned() }),
        }
    }

    fn custom(&mut self) -> Result<CqlType, BadType> {
        Ok(CqlType::Custom(self.quoted(b'\'')?))
    }

    fn quoted(&mut self, quote: u8) -> Result<String, BadType> {
        self.expect(quote)?;
        let mut name = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(len) = rest.find(char::from(quote)) else {
                return Err(self.syntax());
            };
            name.push_str(&rest[..len]);
            self.at += len + 1;
            if self.peek() != Some(quote) {
                return Ok(name);
            }
            name.push(char::from(quote));
            self.at += 1;
        }
    }

    fn number(&mut self) -> Result<usize, BadType> {
        self.spaces();
        let digits: String = self.text[self.at..].chars().take_while(char::is_ascii_digit).collect();
        let number = digits.parse().map_err(|_| self.syntax())?;
        self.at += digits.len();
        Ok(number)
    }

    fn peek(&mut self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.spaces();
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
            self.spaces();
        }
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), BadType> {
        // Quotes open names, in which spaces count.
        if byte == b'"' || byte == b'\'' {
            self.at += 1;
            return Ok(());
        }
        // After the last `>` a space is no part of the type, but harmless.
        if self.take(byte) { Ok(()) } else { Err(self.syntax()) }
    }

    fn syntax(&self) -> BadType {
        BadType::Syntax { text: self.text.to_owned(), at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<CqlType, BadType> {
        let udt = |name: &str| {
            let known = ["zip", "My Type", "q\"uote"];
            let fields = vec![("a".to_owned(), CqlType::Native(Native::Int))];
            known.contains(&name).then(|| Arc::new(Udt { name: name.to_owned(), fields }))
        };
        CqlType::parse(text, &udt)
    }

    #[test]
    fn a_user_type_named_like_a_built_in_one_is_told_from_it() {
        for name in ["int", "list", "frozen", "varchar"] {
            let any = |name: &str| Some(Arc::new(Udt { name: name.to_owned(), fields: Vec::new() }));
            let parsed = CqlType::parse(&format!("list<frozen<\"{name}\">>"), &any).unwrap();
            assert_eq!(parsed.to_string(), format!("list<frozen<\"{name}\">>"));
            assert_eq!(CqlType::parse(&parsed.to_string(), &any), Ok(parsed));
        }
    }

    #[test]
    fn types_may_not_be_nested_without_end() {
        let nested = |n: usize| format!("{}int{}", "frozen<set<".repeat(n / 2), ">>".repeat(n / 2));
        assert!(parse(&nested(DEEPEST)).is_ok());
        assert_eq!(parse(&nested(DEEPEST + 2)), Err(BadType::Deep));
        assert_eq!(parse(&"list<".repeat(1_000_000)), Err(BadType::Deep));
    }

    #[test]
    fn printing_is_the_inverse_of_parsing() {
        for native in Native::ALL {
            assert_eq!(parse(native.name()), Ok(CqlType::Native(*native)));
        }
        for text in [
            "int",
            "list<int>",
            "frozen<list<frozen<list<text>>>>",
            "map<text, frozen<set<uuid>>>",
            "frozen<tuple<int, text, frozen<tuple<blob>>>>",
            "zip",
            "frozen<zip>",
            "frozen<\"My Type\">",
            "\"q\"\"uote\"",
            "map<text, frozen<\"My Type\">>",
            "vector<float, 3>",
            "vector<frozen<list<int>>, 8192>",
            "'it''s'",
            "'org.apache.cassandra.db.marshal.DynamicCompositeType(a=>org.apache.cassandra.db.marshal.BytesType)'",
            "empty",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_type_inside_another_is_frozen_however_it_is_written() {
        assert_eq!(
            parse("frozen<list<\"My Type\">>").unwrap().to_string(),
            "frozen<list<frozen<\"My Type\">>>"
        );
        assert_eq!(parse("tuple<list<int>>").unwrap().to_string(), "frozen<tuple<frozen<list<int>>>>");
    }

    #[test]
    fn what_is_no_type_is_refused_by_name() {
        for text in
            ["", "list", "list<", "list<int", "list<int>>", "map<int>", "vector<int>", "\"open", "int int"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("list<nope>").unwrap_err().to_string().contains("\"nope\""));
    }

    #[test]
    fn names_are_quoted_when_needed_only() {
        for (name, printed) in [
            ("a_1", "a_1"),
            ("A", "\"A\""),
            ("1a", "\"1a\""),
            ("select", "\"select\""),
            ("a\"b", "\"a\"\"b\""),
            ("é", "\"é\""),
        ] {
            assert_eq!(Ident(name).to_string(), printed);
        }
    }
}
