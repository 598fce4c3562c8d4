//! SQL identifiers: the one place that quotes them.
//!
//! In: names from the plan. Out: text that is safe inside a statement. Deliberately absent: values,
//! which are always bound as parameters.

/// A quoted identifier.
pub(crate) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted name in a schema.
pub(crate) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// Quoted identifiers, each behind a prefix such as `staged.`, with commas between.
pub(crate) fn list<'n>(prefix: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let items: Vec<String> =
        names.into_iter().map(|name| format!("{prefix}{}", ident(name))).collect();
    items.join(", ")
}

/// Whether two rows, by their aliases, have the same values in these columns.
pub(crate) fn same<'n>(names: impl IntoIterator<Item = &'n str>, one: &str, other: &str) -> String {
    let items: Vec<String> =
        names.into_iter().map(|name| format!("{one}.{0} = {other}.{0}", ident(name))).collect();
    items.join(" and ")
}

/// A text literal, of a name: values are bound.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
