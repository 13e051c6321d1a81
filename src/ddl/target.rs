//! How a statement reads on another server: options that it does not know dropped, those it spells otherwise mapped,
//! each change told; and what of a statement a server cannot hold. What is known of servers is in [`super::servers`]; what
//! becomes of a statement that cannot be held is left to the caller.

use super::options::{self, OptionText, Parts};
use super::servers::{Feature, Target};
use super::{DdlError, Kind, Mask, Statement, masks, words};

/// A statement for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapted {
    /// The statement; `None` if the target cannot hold what it creates.
    pub statement: Option<Statement>,
    /// What was changed, each in words, with the reason.
    pub changes: Vec<String>,
    /// What the target cannot hold: the whole of it, or a part that the statement now lacks.
    pub unsupported: Vec<String>,
}

impl Adapted {
    /// A statement that the target cannot run.
    pub fn impossible(why: &str) -> Adapted {
        Adapted { statement: None, changes: Vec::new(), unsupported: vec![why.to_owned()] }
    }
}

/// What the user decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// Tables WITH COMPACT STORAGE are made without it.
    pub drop_compact_storage: bool,
}

/// The statement as the target takes it.
///
/// # Errors
/// `DdlError` if the statement's text is not one.
pub fn adapt(statement: &Statement, target: &Target, choices: Choices) -> Result<Adapted, DdlError> {
    if let Some(why) = misfit(statement, target)? {
        return Ok(Adapted::impossible(&why));
    }
    let mut parts = Parts::of(statement)?;
    let (mut changes, mut unsupported) = (Vec::new(), Vec::new());
    if statement.kind == Kind::Table && target.lacks(Feature::Masks) {
        let masked = masks::masks(&parts.head)?;
        parts.head = masks::strip(&parts.head, &masked);
        let lost = |mask: &Mask| mask.lost(&target.lacking(Feature::Masks));
        unsupported.extend(masked.iter().map(lost));
    }
    if statement.kind == Kind::Table && parts.option("compact storage").is_some() {
        if choices.drop_compact_storage {
            drop_compact_storage(&mut parts, &mut changes);
        } else if target.lacks(Feature::CompactStorage) {
            return Ok(Adapted::impossible(&target.lacking(Feature::CompactStorage)));
        }
    }
    if matches!(statement.kind, Kind::Table | Kind::View | Kind::Keyspace) {
        adapt_options(&mut parts, statement.kind, target, &mut changes);
    }
    let unchanged = changes.is_empty() && unsupported.is_empty();
    let adapted = if unchanged { statement.clone() } else { Statement::parse(&parts.cql())? };
    Ok(Adapted { statement: Some(adapted), changes, unsupported })
}

/// The statement as it is, but for what the user decides.
///
/// # Errors
/// `DdlError` if the statement's text is not one.
pub fn decided(statement: &Statement, choices: Choices) -> Result<Adapted, DdlError> {
    let (mut parts, mut changes) = (Parts::of(statement)?, Vec::new());
    let compact = statement.kind == Kind::Table && parts.option("compact storage").is_some();
    let mut decided = statement.clone();
    if compact && choices.drop_compact_storage {
        drop_compact_storage(&mut parts, &mut changes);
        decided = Statement::parse(&parts.cql())?;
    }
    Ok(Adapted { statement: Some(decided), changes, unsupported: Vec::new() })
}

fn drop_compact_storage(parts: &mut Parts, changes: &mut Vec<String>) {
    parts.options.retain(|option| option.name != "compact storage");
    changes.push("COMPACT STORAGE dropped, as asked for".to_owned());
}

/// Why the target cannot hold what the statement creates; `None` if it can.
fn misfit(statement: &Statement, target: &Target) -> Result<Option<String>, DdlError> {
    let lacking = |feature: Feature| target.lacks(feature).then(|| target.lacking(feature));
    if matches!(statement.kind, Kind::Table | Kind::Type | Kind::Function | Kind::Aggregate)
        && words::names_vector(&statement.cql)?
    {
        return Ok(lacking(Feature::Vectors));
    }
    Ok(match statement.kind {
        Kind::Function => match words::after(&statement.cql, "language")? {
            Some(language) if !target.runs(&language) => {
                Some(format!("{target} runs no functions in {language}"))
            }
            _ => lacking(Feature::Functions),
        },
        Kind::Aggregate => lacking(Feature::Functions),
        Kind::View => lacking(Feature::Views).or_else(|| too_long(&statement.name, target)),
        Kind::Table => too_long(&statement.name, target),
        Kind::Index => match words::after(&statement.cql, "using")? {
            Some(class) => lacking(index_feature(&class)),
            // The partition key in brackets of its own, as in `((k), v)`.
            None if words::bracket(&statement.cql)?.starts_with("((") => lacking(Feature::LocalIndexes),
            None => None,
        },
        Kind::Keyspace | Kind::Type => None,
    })
}

fn too_long(name: &str, target: &Target) -> Option<String> {
    let most = target.longest_name()?;
    (name.chars().count() > most).then(|| format!("{target} takes names of at most {most} characters"))
}

fn index_feature(class: &str) -> Feature {
    match class.rsplit('.').next().unwrap_or(class).to_ascii_lowercase().as_str() {
        "sai" | "storageattachedindex" => Feature::StorageAttachedIndexes,
        "sasiindex" => Feature::SasiIndexes,
        "vector_index" => Feature::VectorIndexes,
        _ => Feature::OtherCustomIndexes,
    }
}

fn adapt_options(parts: &mut Parts, kind: Kind, target: &Target, changes: &mut Vec<String>) {
    let mut kept: Vec<OptionText> = Vec::with_capacity(parts.options.len());
    for option in std::mem::take(&mut parts.options) {
        let known = match kind {
            Kind::Keyspace => target.has_keyspace_option(&option.name),
            _ => target.has_option(&option.name),
        };
        if known == Some(false) {
            changes.push(format!("{} dropped: {target} has no such option", option.text));
            continue;
        }
        if kind == Kind::View && option.name == "default_time_to_live" && target.lacks_expiry_of_views() {
            changes.push(format!("{} dropped: rows of a view expire as those of its table", option.text));
            continue;
        }
        match mapped(&option, target) {
            None => kept.push(option),
            Some(Mapped { options, why }) if options.is_empty() => {
                changes.push(format!("{} dropped: {why}", option.text));
            }
            Some(Mapped { options, why }) => {
                let texts: Vec<&str> = options.iter().map(|option| option.text.as_str()).collect();
                changes.push(format!("{} instead of {}: {why}", texts.join(" AND "), option.text));
                kept.extend(options);
            }
        }
    }
    parts.options = kept;
}

/// What stands for an option, nothing if the statement is better without it, and why.
struct Mapped {
    options: Vec<OptionText>,
    why: String,
}

impl Mapped {
    fn to(name: &str, value: &str, why: impl Into<String>) -> Option<Mapped> {
        Some(Mapped { options: vec![OptionText::new(name, value)], why: why.into() })
    }

    fn dropped(why: impl Into<String>) -> Option<Mapped> {
        Some(Mapped { options: Vec::new(), why: why.into() })
    }
}

/// What the target takes instead of the option; `None` if it takes the option itself.
fn mapped(option: &OptionText, target: &Target) -> Option<Mapped> {
    let value = option.value.as_str();
    match option.name.as_str() {
        "speculative_retry" | "additional_write_policy" => speculation(option, target),
        "compaction" => compaction(value, target),
        "compression" => compression(value, target),
        "caching" => caching(value, target),
        "replication" if !target.is_scylla() => {
            let counted = options::counted(value)?;
            Mapped::to("replication", &counted, format!("{target} takes numbers of replicas, not racks"))
        }
        "index_interval" => Mapped::to("min_index_interval", value, "it is called so since Cassandra 2.1"),
        "cdc" if target.is_scylla() && !value.starts_with('{') => {
            Mapped::dropped(format!("the option of {target} is another one: it makes log tables"))
        }
        "cdc" if !target.is_scylla() && value.starts_with('{') => {
            Mapped::dropped(format!("the option of {target} is another one: it keeps commit logs"))
        }
        _ => None,
    }
}

/// 3.11 and ScyllaDB ask for `99PERCENTILE` and `NONE`; later ones take those too, and print `99p` and `NEVER`.
fn speculation(option: &OptionText, target: &Target) -> Option<Mapped> {
    if !target.spells_speculation_out() {
        return None;
    }
    let text = option.value.trim_matches('\'');
    let percent = text.strip_suffix(['p', 'P']).filter(|number| number.parse::<f64>().is_ok());
    if let Some(percent) = percent {
        return Mapped::to(&option.name, &format!("'{percent}PERCENTILE'"), format!("{target} spells it so"));
    }
    match text.to_ascii_lowercase().as_str() {
        "never" => Mapped::to(&option.name, "'NONE'", format!("{target} spells it so")),
        two if two.starts_with("min(") || two.starts_with("max(") => {
            Mapped::dropped(format!("{target} takes a single policy"))
        }
        _ => None,
    }
}

fn compaction(value: &str, target: &Target) -> Option<Mapped> {
    let mut entries = options::map(value)?;
    let class = short(&entries, "class")?;
    let Some(instead) = target.compaction_for(&class) else {
        let before = entries.len();
        entries.retain(|(key, _)| !target.lacks_suboption(&class, key));
        let why = format!("{target} takes fewer sub-options for {class}");
        return (entries.len() < before)
            .then(|| Mapped::to("compaction", &options::print_map(&entries), why))
            .flatten();
    };
    // What is scaled to be levelled is so elsewhere, too: `L4`, `L4, N`.
    let scaling = entries.iter().find(|(key, _)| key == "scaling_parameters");
    let instead = match scaling {
        Some((_, scaling)) if scaling.trim_start().starts_with(['L', 'l']) => "LeveledCompactionStrategy",
        _ => instead,
    };
    // The sub-options of one strategy mean nothing to another.
    let entries = [("class".to_owned(), instead.to_owned())];
    Mapped::to("compaction", &options::print_map(&entries), format!("{target} has no {class}"))
}

fn compression(value: &str, target: &Target) -> Option<Mapped> {
    let mut entries = options::map(value)?;
    let mut why = Vec::new();
    let off = || match target.is_scylla() {
        true => Vec::new(),
        false => vec![("enabled".to_owned(), "false".to_owned())],
    };
    let is_off =
        entries.is_empty() || entries.iter().any(|(key, of)| key == "sstable_compression" && of.is_empty());
    if is_off && !target.is_scylla() {
        return Mapped::to("compression", &options::print_map(&off()), format!("{target} spells it so"));
    }
    let lacking = entries.extract_if(.., |(key, _)| target.lacks_suboption("compression", key));
    why.extend(lacking.map(|(key, _)| format!("{target} has no {key}")));
    for (from, to) in target.compression_names() {
        for (key, _) in entries.iter_mut().filter(|(key, _)| key == from) {
            (*to).clone_into(key);
            why.push(format!("{target} calls {from} {to}"));
        }
    }
    let name = target.compressor_name();
    if let Some(class) = short(&entries, name)
        && let Some(instead) = target.compressor_for(&class)
    {
        why.push(format!("{target} has no {class}"));
        // The level of one compressor means nothing to another; a dictionary makes it no other.
        let is_another = class.trim_end_matches("Compressor").trim_end_matches("WithDicts")
            != instead.trim_end_matches("Compressor");
        entries.retain(|(key, _)| !(is_another && key == "compression_level"));
        for (_, of) in entries.iter_mut().filter(|(key, _)| key == name) {
            instead.clone_into(of);
        }
        if instead.is_empty() {
            entries = off();
        }
    }
    // Inside until Cassandra 2.2, beside since 3.0.
    let chance = entries.iter().position(|(key, _)| key == "crc_check_chance").map(|at| entries.remove(at));
    if target.is_scylla() && entries.iter().any(|(key, _)| key == "enabled") {
        // It is on if there is any entry.
        if entries.iter().any(|(key, value)| key == "enabled" && value == "false") {
            entries.clear();
        }
        entries.retain(|(key, _)| key != "enabled");
        why.push(format!("{target} has no sub-option enabled"));
    }
    let mut options = Vec::new();
    if let Some((key, value)) = chance {
        why.push(format!("{key} is an option of its own"));
        options.push(OptionText::new(&key, &value));
    }
    options.insert(0, OptionText::new("compression", &options::print_map(&entries)));
    (!why.is_empty()).then(|| Mapped { options, why: why.join("; ") })
}

/// A JSON text or a word until Cassandra 2.1, a map since. ScyllaDB has a map of its own as well.
fn caching(value: &str, target: &Target) -> Option<Mapped> {
    let enabled = options::map(value).and_then(|entries| match &entries[..] {
        [(key, on)] if key == "enabled" => Some(on.eq_ignore_ascii_case("true")),
        _ => None,
    });
    if let (Some(enabled), false) = (enabled, target.is_scylla()) {
        let keys = if enabled { "ALL" } else { "NONE" };
        let entries =
            [("keys".to_owned(), keys.to_owned()), ("rows_per_partition".to_owned(), "NONE".to_owned())];
        return Mapped::to(
            "caching",
            &options::print_map(&entries),
            format!("{target} has no sub-option enabled"),
        );
    }
    let text = value.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'");
    let (keys, rows) = match text.to_ascii_lowercase().as_str() {
        "all" => ("ALL".to_owned(), "ALL".to_owned()),
        "keys_only" => ("ALL".to_owned(), "NONE".to_owned()),
        "rows_only" => ("NONE".to_owned(), "ALL".to_owned()),
        "none" => ("NONE".to_owned(), "NONE".to_owned()),
        _ => {
            let json: serde_json::Value = serde_json::from_str(&text).ok()?;
            let of = |key: &str| json.get(key).and_then(serde_json::Value::as_str).map(str::to_owned);
            (of("keys")?, of("rows_per_partition")?)
        }
    };
    let entries = [("keys".to_owned(), keys), ("rows_per_partition".to_owned(), rows)];
    Mapped::to("caching", &options::print_map(&entries), "it is a map since Cassandra 3.0")
}

/// The entry's class without its package.
fn short(entries: &[(String, String)], key: &str) -> Option<String> {
    let (_, class) = entries.iter().find(|(name, _)| name == key)?;
    Some(class.rsplit('.').next().unwrap_or(class).to_owned())
}

#[cfg(test)]
mod tests;
