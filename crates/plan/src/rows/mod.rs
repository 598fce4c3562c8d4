//! The `[rows]` section of a source: how a response becomes rows.
//!
//! In: the TOML table. Out: a [`RowsSpec`]. Deliberately absent: reading responses; that is
//! `extract`'s.

mod field;
mod field_type;
mod reading;

pub use field::{ColumnRef, Field, FieldPlace};
pub use field_type::FieldType;
pub use reading::Reading;

use crate::json_path::JsonPath;
use crate::problem::Problem;
use crate::section::{Section, choose};

/// How the values of a response lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Parallel arrays of equal length, zipped into rows.
    Columns,
    /// An array of objects, one row each.
    Records,
    /// An object whose members are the rows, each under a name that is a value too.
    Keyed,
    /// An array of arrays, one row each.
    Grid,
    /// Lines of cells with a separator between them.
    Csv,
    /// An object on each line.
    Ndjson,
}

impl Layout {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Columns => "columns",
            Self::Records => "records",
            Self::Keyed => "keyed",
            Self::Grid => "grid",
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

/// Where the names of a grid's columns are.
#[derive(Debug, Clone)]
pub enum GridHeader {
    /// Nowhere: columns are numbered.
    None,
    /// In the first row of each place.
    FirstRow,
    /// At a path from the root: an array of names, or several names.
    At(JsonPath),
}

/// How the text of a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CsvFormat {
    /// What stands between two cells.
    pub separator: u8,
    /// What a cell that holds a separator or a line break is wrapped in, if anything is.
    pub quote: Option<u8>,
    /// What a line that is a remark starts with, if there are such lines.
    pub comment: Option<u8>,
    /// Whether the first line names the columns.
    pub header: bool,
    /// How many lines stand before the table.
    pub skip_lines: u32,
}

impl Default for CsvFormat {
    fn default() -> Self {
        Self { separator: b',', quote: Some(b'"'), comment: None, header: true, skip_lines: 0 }
    }
}

/// How a response becomes rows.
#[derive(Debug, Clone)]
pub struct RowsSpec {
    /// How the values lie.
    pub layout: Layout,
    /// The place or places the rows are at; the root for [`Layout::Csv`] and [`Layout::Ndjson`].
    pub at: JsonPath,
    /// Whether a response without that place has no rows rather than being refused.
    pub at_optional: bool,
    /// Where the names of a grid's columns are.
    pub grid: GridHeader,
    /// How the text of a table is written.
    pub csv: CsvFormat,
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

/// The one of them that differs from row to row, and so is written with each.
pub const ROW_COLUMN: (&str, &str) = ("_fetch_row", "bigint");

impl RowsSpec {
    /// Rows of a layout with every option at its default.
    pub fn new(layout: Layout, at: JsonPath, fields: Vec<Field>) -> Self {
        Self {
            layout,
            at,
            at_optional: false,
            grid: GridHeader::None,
            csv: CsvFormat::default(),
            fields,
        }
    }

    /// The columns of `raw_<source>`, in the order extraction writes them, with their types.
    pub fn raw_columns(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let fields =
            self.fields.iter().map(|field| (field.name.as_str(), field.field_type.postgres()));
        SYSTEM_COLUMNS.into_iter().chain(fields)
    }
}

/// The layouts by their words, and whether a word means tabs.
const LAYOUTS: [(&str, (Layout, bool)); 7] = [
    ("columns", (Layout::Columns, false)),
    ("records", (Layout::Records, false)),
    ("keyed", (Layout::Keyed, false)),
    ("grid", (Layout::Grid, false)),
    ("csv", (Layout::Csv, false)),
    ("tsv", (Layout::Csv, true)),
    ("ndjson", (Layout::Ndjson, false)),
];

/// The options that belong to some layouts only.
const OPTIONS: [(&str, &[Layout]); 7] = [
    ("at", &[Layout::Columns, Layout::Records, Layout::Keyed, Layout::Grid]),
    ("at_optional", &[Layout::Columns, Layout::Records, Layout::Keyed, Layout::Grid]),
    ("header", &[Layout::Grid, Layout::Csv]),
    ("separator", &[Layout::Csv]),
    ("comment", &[Layout::Csv]),
    ("quote", &[Layout::Csv]),
    ("skip_lines", &[Layout::Csv]),
];

/// Reads `[rows]`.
pub(crate) fn read(mut section: Section<'_>, problems: &mut Vec<Problem>) -> Option<RowsSpec> {
    let chosen = choose(&mut section, "layout", &LAYOUTS, None, problems);
    let layout = chosen.map(|(layout, _)| layout);
    let before = problems.len();
    if let Some(layout) = layout {
        check_options(&mut section, layout, problems);
    }
    let misplaced = problems.len() > before;

    let at = match section.optional_string("at", problems) {
        Some(text) => path(&section, "at", &text, problems),
        None => JsonPath::parse("$").ok(),
    };
    if let Some(at) = &at {
        check_from_root(&section, "at", at, problems);
    }
    let at_optional = section.optional_bool("at_optional", problems).unwrap_or(false);
    // An option that is misplaced was reported above; what it says does not matter.
    let unheard = &mut Vec::new();
    let heard = if misplaced { unheard } else { &mut *problems };
    let grid = match layout {
        Some(Layout::Grid) => grid_header(&mut section, heard),
        _ => Some(GridHeader::None),
    };
    let csv = match chosen {
        Some((Layout::Csv, tabs)) => csv_format(&mut section, tabs, heard),
        _ => Some(CsvFormat::default()),
    };
    let reading = Reading::read(&mut section, None, problems);

    let mut fields = Vec::new();
    if let Some(mut table) = section.required_table("fields", problems) {
        for name in table.keys() {
            crate::sql_text::check_column_name(&table, &name, problems);
            let rules = field::Rules {
                layout,
                at: at.as_ref(),
                named: match layout {
                    Some(Layout::Grid) => !matches!(grid, Some(GridHeader::None)),
                    _ => csv.is_none_or(|csv| csv.header),
                },
                reading: &reading,
            };
            fields.extend(field::read(&mut table, name, &rules, problems));
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
    Some(RowsSpec { layout: layout?, at: at?, at_optional, grid: grid?, csv: csv?, fields })
}

/// Reports the options that mean nothing in this layout.
fn check_options(section: &mut Section<'_>, layout: Layout, problems: &mut Vec<Problem>) {
    for (key, layouts) in OPTIONS {
        if section.optional_value(key).is_some() && !layouts.contains(&layout) {
            let words: Vec<String> =
                layouts.iter().map(|layout| format!("`{}`", layout.word())).collect();
            let message = format!("`rows.{key}` means nothing in the layout `{}`", layout.word());
            let hint = format!("leave it out; it is for {}", words.join(", "));
            problems.push(section.problem(key, message).hint(hint));
        }
    }
}

fn check_from_root(section: &Section<'_>, key: &str, path: &JsonPath, problems: &mut Vec<Problem>) {
    if !path.is_from_root() {
        let message = format!("`{key}` must start at the root, found `{}`", path.text());
        problems.push(section.problem(key, message).hint("write it from `$`, such as `$.daily`"));
    }
}

fn grid_header(section: &mut Section<'_>, problems: &mut Vec<Problem>) -> Option<GridHeader> {
    let word = match section.optional_string("header", problems) {
        Some(word) => word,
        None if section.has("header") => return None,
        None => return Some(GridHeader::None),
    };
    match word.as_str() {
        "none" => Some(GridHeader::None),
        "first_row" => Some(GridHeader::FirstRow),
        text if text.starts_with('$') => {
            path(section, "header", text, problems).map(GridHeader::At)
        }
        other => {
            let message = format!("`rows.header` is `{other}`");
            let hint =
                "accepted: `none`, `first_row`, or the path of the names, such as `$.columns`";
            problems.push(section.problem("header", message).hint(hint));
            None
        }
    }
}

fn csv_format(
    section: &mut Section<'_>,
    tabs: bool,
    problems: &mut Vec<Problem>,
) -> Option<CsvFormat> {
    let before = problems.len();
    let mut format = CsvFormat::default();
    if tabs {
        format.separator = b'\t';
        if section.optional_value("separator").is_some() {
            let problem = section.problem("separator", "`rows.separator` is a tab in `tsv`");
            problems.push(problem.hint("leave it out, or write `layout = \"csv\"`"));
        }
    } else if let Some(separator) = sign(section, "separator", problems) {
        format.separator = separator;
    }
    if let Some(quote) = section.optional_value("quote") {
        format.quote = match quote.as_str() {
            Some("") => None,
            _ => sign(section, "quote", problems),
        };
    }
    format.comment = sign(section, "comment", problems);
    format.header = section.optional_bool("header", problems).unwrap_or(true);
    format.skip_lines = section.optional_whole("skip_lines", 0..=1000, problems).unwrap_or(0);
    let signs = [Some(format.separator), format.quote, format.comment];
    let twice = (1..3).any(|at| signs[at].is_some() && signs[..at].contains(&signs[at]));
    if twice && problems.len() == before {
        let message = "`rows.separator`, `rows.quote` and `rows.comment` must differ";
        problems.push(section.problem_here(message).hint("give each its own character"));
    }
    (problems.len() == before).then_some(format)
}

/// One ASCII character that can stand between or around cells.
fn sign(section: &mut Section<'_>, key: &str, problems: &mut Vec<Problem>) -> Option<u8> {
    let text = section.optional_string(key, problems)?;
    let byte = match *text.as_bytes() {
        [byte] if byte == b'\t' || (byte.is_ascii() && !byte.is_ascii_control()) => Some(byte),
        _ => None,
    };
    let byte = byte.filter(|byte| !byte.is_ascii_alphanumeric());
    if byte.is_none() {
        let hint = "accepted: one ASCII character that is neither letter nor digit, such as `;`";
        problems.push(section.problem(key, format!("`rows.{key}` is `{text}`")).hint(hint));
    }
    byte
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
