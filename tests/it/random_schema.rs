//! Random user types and tables: any key, any column, any type that a server of a version takes there.

use crate::harness::quoted;
use crate::random_values::Chance;
use std::sync::Arc;

/// A CQL type; all but the outermost are frozen.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    Native(&'static str),
    List(Box<Type>),
    Set(Box<Type>),
    Map(Box<Type>, Box<Type>),
    Tuple(Vec<Type>),
    Udt(Arc<Udt>),
    Vector(Box<Type>, usize),
}

/// A user type.
#[derive(Debug, PartialEq)]
pub struct Udt {
    pub name: String,
    pub fields: Vec<(String, Type)>,
}

const NATIVES: [&str; 19] = [
    "ascii",
    "bigint",
    "blob",
    "boolean",
    "date",
    "decimal",
    "double",
    "duration",
    "float",
    "inet",
    "int",
    "smallint",
    "text",
    "time",
    "timestamp",
    "timeuuid",
    "tinyint",
    "uuid",
    "varint",
];

impl Type {
    fn any_native(chance: &mut Chance) -> Type {
        Type::Native(NATIVES[chance.below(NATIVES.len())])
    }

    /// As CQL writes it.
    pub fn cql(&self, frozen: bool) -> String {
        let text = match self {
            Type::Native(name) => return (*name).to_owned(),
            Type::Vector(element, n) => return format!("vector<{}, {n}>", element.cql(true)),
            Type::List(element) => format!("list<{}>", element.cql(true)),
            Type::Set(element) => format!("set<{}>", element.cql(true)),
            Type::Map(key, item) => format!("map<{}, {}>", key.cql(true), item.cql(true)),
            Type::Tuple(fields) => {
                let fields: Vec<String> = fields.iter().map(|f| f.cql(true)).collect();
                format!("tuple<{}>", fields.join(", "))
            }
            Type::Udt(udt) => quoted(&udt.name),
        };
        if frozen { format!("frozen<{text}>") } else { text }
    }

    fn has_duration(&self) -> bool {
        match self {
            Type::Native(name) => *name == "duration",
            Type::List(inner) | Type::Set(inner) | Type::Vector(inner, _) => inner.has_duration(),
            Type::Map(key, item) => key.has_duration() || item.has_duration(),
            Type::Tuple(fields) => fields.iter().any(Type::has_duration),
            Type::Udt(udt) => udt.fields.iter().any(|(_, field)| field.has_duration()),
        }
    }
}

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Partition,
    Clustering,
    Static,
    Regular,
}

/// A column of a random table.
#[derive(Debug)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub cql_type: Type,
    pub frozen: bool,
    descending: bool,
}

impl Column {
    /// The name as CQL takes it.
    pub fn cql(&self) -> String {
        quoted(&self.name)
    }

    /// Whether its elements are cells of their own.
    pub fn has_elements(&self) -> bool {
        let composed = matches!(self.cql_type, Type::List(_) | Type::Set(_) | Type::Map(..) | Type::Udt(_));
        composed && !self.frozen
    }
}

/// A random table.
#[derive(Debug)]
pub struct Table {
    pub name: String,
    pub columns: Vec<Column>,
    pub default_ttl: Option<u32>,
    pub counts: bool,
}

impl Table {
    /// The columns of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(move |c| c.kind == kind)
    }

    fn create(&self) -> String {
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|c| {
                let is_static = if c.kind == Kind::Static { " static" } else { "" };
                format!("{} {}{is_static}", c.cql(), c.cql_type.cql(c.frozen))
            })
            .collect();
        let names = |kind| self.of(kind).map(Column::cql).collect::<Vec<_>>().join(", ");
        let (partition, clustering) = (names(Kind::Partition), names(Kind::Clustering));
        let comma = if clustering.is_empty() { "" } else { ", " };
        let orders: Vec<String> = self
            .of(Kind::Clustering)
            .map(|c| format!("{} {}", c.cql(), if c.descending { "DESC" } else { "ASC" }))
            .collect();
        let mut options = Vec::new();
        if !orders.is_empty() {
            options.push(format!("CLUSTERING ORDER BY ({})", orders.join(", ")));
        }
        options.extend(self.default_ttl.map(|ttl| format!("default_time_to_live = {ttl}")));
        let with = if options.is_empty() { "" } else { " WITH " };
        let (name, columns, options) = (quoted(&self.name), columns.join(", "), options.join(" AND "));
        format!(
            "CREATE TABLE {name} ({columns}, PRIMARY KEY (({partition}){comma}{clustering})){with}{options}"
        )
    }
}

/// A random keyspace: types and tables.
#[derive(Debug)]
pub struct Schema {
    udts: Vec<Arc<Udt>>,
    pub tables: Vec<Table>,
    vectors: bool,
}

impl Schema {
    /// One for servers of a version.
    pub fn new(chance: &mut Chance, version: &str) -> Schema {
        let mut schema = Schema { udts: Vec::new(), tables: Vec::new(), vectors: version == "5.0" };
        for i in 0..chance.between(1, 3) {
            let count = chance.between(1, 4);
            let field = |j| format!("{}{j}", chance.pick(&["f", "F ", "key"]));
            let names: Vec<String> = (0..count).map(field).collect();
            let fields = names.into_iter().map(|name| (name, schema.any_type(chance, 1))).collect();
            let name = format!("{}{i}", chance.pick(&["udt", "Udt "]));
            schema.udts.push(Arc::new(Udt { name, fields }));
        }
        for i in 0..chance.between(1, 4) {
            let name = format!("{}{i}", chance.pick(&["t", "Table"]));
            let table = schema.table(chance, name);
            schema.tables.push(table);
        }
        schema
    }

    /// The statements that make it.
    pub fn statements(&self) -> Vec<String> {
        let udts = self.udts.iter().map(|udt| {
            let field =
                |(name, cql_type): &(String, Type)| format!("{} {}", quoted(name), cql_type.cql(true));
            let fields: Vec<String> = udt.fields.iter().map(field).collect();
            format!("CREATE TYPE {} ({})", quoted(&udt.name), fields.join(", "))
        });
        udts.chain(self.tables.iter().map(Table::create)).collect()
    }

    fn table(&self, chance: &mut Chance, name: String) -> Table {
        let counts = chance.one_in(5);
        let clustering = chance.below(4);
        let cells = if counts { chance.between(1, 3) } else { chance.below(8) };
        let statics = if clustering == 0 { 0 } else { chance.below(4) };
        let mut columns: Vec<Column> = Vec::new();
        for (kind, count) in [
            (Kind::Partition, chance.between(1, 3)),
            (Kind::Clustering, clustering),
            (Kind::Static, statics),
            (Kind::Regular, cells),
        ] {
            for _ in 0..count {
                let name = column_name(chance, &columns);
                columns.push(self.column(chance, name, kind, counts));
            }
        }
        let expires = !counts && chance.one_in(4);
        Table { name, columns, default_ttl: expires.then_some(1_000_000), counts }
    }

    fn column(&self, chance: &mut Chance, name: String, kind: Kind, counts: bool) -> Column {
        let is_key = matches!(kind, Kind::Partition | Kind::Clustering);
        let cql_type = match chance.below(10) {
            _ if !is_key && counts => Type::Native("counter"),
            0..6 if is_key => loop {
                let native = Type::any_native(chance);
                if !native.has_duration() {
                    break native;
                }
            },
            _ if is_key => loop {
                let any = self.any_type(chance, 2);
                if !any.has_duration() {
                    break any;
                }
            },
            0..3 => Type::any_native(chance),
            3..7 => self.composed(chance, 1),
            _ => self.any_type(chance, 2),
        };
        let frozen = is_key || chance.one_in(4) || !self.may_thaw(&cql_type);
        Column { name, kind, cql_type, frozen, descending: chance.one_in(2) }
    }

    /// Only collections and user types have a form that is not frozen.
    fn may_thaw(&self, cql_type: &Type) -> bool {
        matches!(cql_type, Type::List(_) | Type::Set(_) | Type::Map(..) | Type::Udt(_))
    }

    fn any_type(&self, chance: &mut Chance, depth: usize) -> Type {
        if depth == 0 || chance.one_in(2) {
            return Type::any_native(chance);
        }
        match chance.below(4) {
            0 => {
                let count = chance.between(1, 3);
                Type::Tuple((0..count).map(|_| self.any_type(chance, depth - 1)).collect())
            }
            1 if self.vectors => {
                Type::Vector(Box::new(self.any_type(chance, depth - 1)), chance.between(1, 4))
            }
            _ => self.composed(chance, depth),
        }
    }

    /// A collection, or a user type if there is one.
    fn composed(&self, chance: &mut Chance, depth: usize) -> Type {
        match chance.below(4) {
            0 => Type::List(Box::new(self.any_type(chance, depth - 1))),
            1 => Type::Set(Box::new(self.ordered(chance, depth - 1))),
            2 if !self.udts.is_empty() => Type::Udt(chance.pick(&self.udts).clone()),
            _ => {
                let key = self.ordered(chance, depth - 1);
                Type::Map(Box::new(key), Box::new(self.any_type(chance, depth - 1)))
            }
        }
    }

    /// What sets and the keys of maps may hold: all but durations.
    fn ordered(&self, chance: &mut Chance, depth: usize) -> Type {
        loop {
            let any = self.any_type(chance, depth);
            if any != Type::Native("duration") {
                return any;
            }
        }
    }
}

/// A name that the table does not have yet; now and then one that looks like a companion of another.
fn column_name(chance: &mut Chance, columns: &[Column]) -> String {
    let i = columns.len();
    match chance.below(12) {
        0 if i > 0 => format!("{}__writetime", columns[i - 1].name),
        1 if i > 0 => format!("{}__expires_at", columns[i - 1].name),
        2 => format!("Select {i}"),
        3 => format!("a \"quoted\" {i}"),
        _ => format!("c{i}"),
    }
}
