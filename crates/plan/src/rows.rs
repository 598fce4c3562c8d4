//! The `[rows]` section of a source: how a response becomes rows.
//!
//! In: the TOML table. Out: a [`RowsSpec`]. Deliberately absent: the layouts `keyed`, `grid` and
//! `csv` of DESIGN.md section 4, which come with the ingest issue; [`Layout`] is where they go.

use crate::json_path::JsonPath;
use crate::problem::Problem;
use crate::section::{Section, choose};

/// How the values of a response lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Parallel arrays of equal length, zipped into rows.
    Columns,
    /// An array of objects, one row each.
    Records,
}

/// The type of a mapped field: what a JSON value must be to be accepted, and its PostgreSQL type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// A JSON string, or a number or boolean in its own text.
    Text,
    /// `true` or `false`.
    Boolean,
    /// A whole number of 16 bits.
    Smallint,
    /// A whole number of 32 bits.
    Integer,
    /// A whole number of 64 bits.
    Bigint,
    /// A number as a 64-bit float.
    Double,
    /// A number with every digit kept.
    Numeric,
    /// `YYYY-MM-DD`.
    Date,
    /// `HH:MM[:SS[.ffffff]]`.
    Time,
    /// A wall clock `YYYY-MM-DD[T ]HH:MM[:SS]` without offset.
    Timestamp,
    /// An instant: RFC 3339 with an offset or `Z`.
    Timestamptz,
    /// Seconds since 1970-01-01 UTC, whole or with a fraction.
    EpochSeconds,
    /// Milliseconds since 1970-01-01 UTC.
    EpochMilliseconds,
    /// Microseconds since 1970-01-01 UTC.
    EpochMicroseconds,
    /// A UUID.
    Uuid,
    /// Any JSON, kept as it is for the model to take apart.
    Jsonb,
}

impl FieldType {
    /// Every type with the word for it in `[rows.fields]`.
    pub const ALL: [(&'static str, Self); 16] = [
        ("text", Self::Text),
        ("boolean", Self::Boolean),
        ("smallint", Self::Smallint),
        ("integer", Self::Integer),
        ("bigint", Self::Bigint),
        ("double", Self::Double),
        ("numeric", Self::Numeric),
        ("date", Self::Date),
        ("time", Self::Time),
        ("timestamp", Self::Timestamp),
        ("timestamptz", Self::Timestamptz),
        ("epoch_seconds", Self::EpochSeconds),
        ("epoch_milliseconds", Self::EpochMilliseconds),
        ("epoch_microseconds", Self::EpochMicroseconds),
        ("uuid", Self::Uuid),
        ("jsonb", Self::Jsonb),
    ];

    /// The PostgreSQL type of its column in `raw_<source>`.
    pub fn postgres(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Boolean => "boolean",
            Self::Smallint => "smallint",
            Self::Integer => "integer",
            Self::Bigint => "bigint",
            Self::Double => "double precision",
            Self::Numeric => "numeric",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::Timestamptz
            | Self::EpochSeconds
            | Self::EpochMilliseconds
            | Self::EpochMicroseconds => "timestamptz",
            Self::Uuid => "uuid",
            Self::Jsonb => "jsonb",
        }
    }
}

/// One mapped field: a column of `raw_<source>`.
#[derive(Debug, Clone)]
pub struct Field {
    /// The column's name.
    pub name: String,
    /// Where the value is; the first of them that exists is taken.
    pub paths: Vec<JsonPath>,
    /// What it must be.
    pub field_type: FieldType,
    /// Whether a response may lack it altogether; its column is then null. A field that is not
    /// optional and stands nowhere in a response makes the response a refused one.
    pub optional: bool,
}

/// How a response becomes rows.
#[derive(Debug, Clone)]
pub struct RowsSpec {
    /// How the values lie.
    pub layout: Layout,
    /// The place or places the rows are at.
    pub at: JsonPath,
    /// The mapped fields, in the order of the file; never empty.
    pub fields: Vec<Field>,
}

/// The columns of `raw_<source>` that stand before the mapped fields, in order, with their types.
pub const SYSTEM_COLUMNS: [(&str, &str); 5] = [
    ("_fetch_id", "uuid"),
    ("_fetch_row", "bigint"),
    ("_data_date", "date"),
    ("_fetched_at", "timestamptz"),
    ("_entity", "text"),
];

impl RowsSpec {
    /// The columns of `raw_<source>`, in the order extraction writes them, with their types.
    pub fn raw_columns(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let fields =
            self.fields.iter().map(|field| (field.name.as_str(), field.field_type.postgres()));
        SYSTEM_COLUMNS.into_iter().chain(fields)
    }
}

/// Reads `[rows]`.
pub(crate) fn read(mut section: Section<'_>, problems: &mut Vec<Problem>) -> Option<RowsSpec> {
    let layout = choose(
        &mut section,
        "layout",
        &[("columns", Layout::Columns), ("records", Layout::Records)],
        None,
        problems,
    );
    let at = match section.optional_string("at", problems) {
        Some(text) => path(&section, "at", &text, problems),
        None => JsonPath::parse("$").ok(),
    };
    if let Some(at) = &at
        && !at.is_from_root()
    {
        let message = format!("`at` must start at the root, found `{}`", at.text());
        problems.push(section.problem("at", message).hint("write it from `$`, such as `$.daily`"));
    }
    let mut fields = Vec::new();
    if let Some(mut table) = section.required_table("fields", problems) {
        for name in table.keys() {
            crate::sql_text::check_column_name(&table, &name, problems);
            fields.extend(field(&mut table, name, problems));
        }
        if fields.is_empty() && table.keys().is_empty() {
            problems.push(
                table.problem_here("`[rows.fields]` maps no field").hint(
                    "add at least one, such as `date = { path = \"time\", type = \"date\" }`",
                ),
            );
        }
    }
    section.finish(problems);
    Some(RowsSpec { layout: layout?, at: at?, fields })
}

fn field(table: &mut Section<'_>, name: String, problems: &mut Vec<Problem>) -> Option<Field> {
    let mut section = table.required_table(&name, problems)?;
    let texts = section.required_strings("path", problems)?;
    let paths: Option<Vec<JsonPath>> =
        texts.iter().map(|text| path(&section, "path", text, problems)).collect();
    let field_type = choose(&mut section, "type", &FieldType::ALL, None, problems);
    let optional = section.optional_bool("optional", problems).unwrap_or(false);
    section.finish(problems);
    Some(Field { name, paths: paths?, field_type: field_type?, optional })
}

/// Parses a path of `section`, reporting one that is none.
pub(crate) fn path(
    section: &Section<'_>,
    key: &str,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Option<JsonPath> {
    match JsonPath::parse(text) {
        Ok(path) => Some(path),
        Err(reason) => {
            let message = format!("`{text}` is not a JSON path: {reason}");
            problems.push(
                section
                    .problem(key, message)
                    .hint("RFC 9535, such as `$.daily` or `indicators.quote[0].close`"),
            );
            None
        }
    }
}
