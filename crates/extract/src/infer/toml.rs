//! A draft in the words of the folder.
//!
//! In: a [`Draft`], the other guesses, what each response turned out to be. Out: TOML with remarks, and
//! SQL. Deliberately absent: any decision.

use daymark_plan::{CsvFormat, FieldType, Layout, Reading};

use super::Finding;
use super::draft::{Draft, FieldDraft, Header};

/// How many responses are told one by one.
const TOLD: usize = 12;

/// A text as TOML's string.
pub(super) fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A character as TOML's string.
fn sign(byte: u8) -> String {
    string(&char::from(byte).to_string())
}

/// `[expect]`, `[rows]` and `[rows.fields]`.
pub(super) fn section(
    draft: &Draft,
    others: &[Draft],
    names: &[&str],
    findings: &[Finding],
) -> String {
    let mut text = String::new();
    remarks(&mut text, names, findings);
    if !draft.absent.is_empty() || draft.min_rows_zero {
        text.push_str("[expect]\n");
        if !draft.absent.is_empty() {
            let paths: Vec<String> = draft.absent.iter().map(|path| string(path)).collect();
            text.push_str(&format!("absent = [{}]\n", paths.join(", ")));
        }
        if draft.min_rows_zero {
            text.push_str(
                "min_rows = 0                       # a response without rows was seen\n",
            );
        }
        text.push('\n');
    }
    text.push_str("[rows]\n");
    let tabs = draft.layout == Layout::Csv && draft.csv.separator == b'\t';
    let layout = if tabs { "tsv" } else { draft.layout.word() };
    text.push_str(&format!("layout = \"{layout}\"\n"));
    if draft.at != "$" {
        text.push_str(&format!("at = {}\n", string(&draft.at)));
    }
    if draft.at_optional {
        text.push_str("at_optional = true\n");
    }
    match &draft.header {
        Header::None => {}
        Header::FirstRow => text.push_str("header = \"first_row\"\n"),
        Header::At(path) => text.push_str(&format!("header = {}\n", string(path))),
    }
    if draft.layout == Layout::Csv {
        table(&mut text, draft.csv, tabs);
    }
    let common = common_missing(draft);
    if !common.is_empty() {
        text.push_str(&format!("missing = {}\n", list(&common)));
    }
    text.push_str("\n[rows.fields]\n");
    let width = draft.fields.iter().map(|field| field.name.len()).max().unwrap_or(0).min(32);
    for field in &draft.fields {
        let FieldDraft { name, place, typed, optional } = field;
        text.push_str(&format!(
            "{name:width$} = {{ {place}, type = \"{}\"",
            word(typed.field_type)
        ));
        reading(&mut text, &typed.reading, &common);
        if *optional {
            text.push_str(", optional = true");
        }
        text.push_str(" }");
        if let Some(note) = typed.note {
            text.push_str(&format!("   # {note}"));
        }
        text.push('\n');
    }
    if !others.is_empty() {
        text.push_str("\n# It can be read in other ways too:\n");
    }
    for other in others {
        let fields: Vec<&str> =
            other.fields.iter().take(6).map(|field| field.name.as_str()).collect();
        let more = if other.fields.len() > 6 { ", ..." } else { "" };
        text.push_str(&format!(
            "#   layout = \"{}\", at = {}: {}{more}\n",
            other.layout.word(),
            string(&other.at),
            fields.join(", ")
        ));
    }
    text
}

fn remarks(text: &mut String, names: &[&str], findings: &[Finding]) {
    let many = names.len() > TOLD;
    let rows: u64 = findings
        .iter()
        .map(|finding| if let Finding::Rows(rows) = finding { *rows } else { 0 })
        .sum();
    if many {
        text.push_str(&format!("# {rows} rows in {} responses.\n", names.len()));
    }
    for (name, finding) in names.iter().zip(findings) {
        // A name may hold anything, and a remark is one line.
        let name = name.replace(char::is_control, "?");
        let said = match finding {
            Finding::Rows(_) if many => continue,
            Finding::Rows(1) => "1 row".to_owned(),
            Finding::Rows(rows) => format!("{rows} rows"),
            Finding::Rejects { rejected, first } => {
                format!("{rejected} rows are set aside, the first: {first}")
            }
            Finding::Error(Some(path)) => format!("an error, told by `{path}`"),
            Finding::Error(None) => "an error in words, which has no rows".to_owned(),
            Finding::Other(reason) => format!("not read by this: {reason}"),
        };
        let said = said.replace(char::is_control, " ");
        text.push_str(&format!("# {name}: {said}\n"));
    }
    if !names.is_empty() {
        text.push('\n');
    }
}

fn table(text: &mut String, csv: CsvFormat, tabs: bool) {
    let usual = CsvFormat::default();
    if !tabs && csv.separator != usual.separator {
        text.push_str(&format!("separator = {}\n", sign(csv.separator)));
    }
    if let Some(comment) = csv.comment {
        text.push_str(&format!("comment = {}\n", sign(comment)));
    }
    if !csv.header {
        text.push_str("header = false\n");
    }
    if csv.skip_lines > 0 {
        text.push_str(&format!("skip_lines = {}\n", csv.skip_lines));
    }
}

/// The words for null that a table uses throughout.
fn common_missing(draft: &Draft) -> Vec<String> {
    if draft.layout != Layout::Csv {
        return Vec::new();
    }
    let mut words: Vec<String> = Vec::new();
    for word in draft.fields.iter().flat_map(|field| &field.typed.reading.missing) {
        if !words.contains(word) {
            words.push(word.clone());
        }
    }
    words
}

fn list(words: &[String]) -> String {
    match words {
        [word] => string(word),
        words => {
            let words: Vec<String> = words.iter().map(|word| string(word)).collect();
            format!("[{}]", words.join(", "))
        }
    }
}

fn reading(text: &mut String, reading: &Reading, common: &[String]) {
    if !reading.missing.is_empty() && common.is_empty() {
        text.push_str(&format!(", missing = {}", list(&reading.missing)));
    }
    if reading.decimal != '.' {
        text.push_str(&format!(", decimal = {}", string(&reading.decimal.to_string())));
    }
    if let Some(grouping) = reading.grouping {
        text.push_str(&format!(", grouping = {}", string(&grouping.to_string())));
    }
    if let Some(format) = &reading.format {
        text.push_str(&format!(", format = {}", string(format)));
    }
}

fn word(field_type: FieldType) -> &'static str {
    let found = FieldType::ALL.iter().find(|(_, other)| *other == field_type);
    found.map_or("text", |(word, _)| word)
}

/// PostgreSQL's reserved words that APIs use for names.
const RESERVED: [&str; 36] = [
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "both", "case", "cast",
    "check", "column", "create", "default", "desc", "do", "else", "end", "for", "from", "grant",
    "group", "in", "leading", "limit", "not", "offset", "on", "only", "or", "order", "table", "to",
    "user", "when",
];

/// A column in SQL.
fn in_sql(name: &str) -> String {
    if RESERVED.contains(&name) { format!("\"{name}\"") } else { name.to_owned() }
}

/// A first model: the fields as they are, under the key they seem to have.
pub(super) fn model(draft: &Draft, id: &str) -> String {
    let is_when = |field: &&FieldDraft| {
        let epoch = field.typed.field_type.is_epoch();
        epoch
            || matches!(
                field.typed.field_type,
                FieldType::Date | FieldType::Timestamp | FieldType::Timestamptz
            )
    };
    let is_whose = |field: &&FieldDraft| {
        field.place.starts_with("key")
            || matches!(
                field.name.as_str(),
                "id" | "symbol" | "ticker" | "station" | "station_id" | "code"
            )
    };
    let mut key: Vec<&str> = Vec::new();
    key.extend(draft.fields.iter().find(is_whose).map(|field| field.name.as_str()));
    if key.first() != Some(&"id") {
        let when = draft.fields.iter().find(is_when).map(|field| field.name.as_str());
        key.extend(when.filter(|when| key.first() != Some(when)));
    }
    if key.is_empty() {
        key.extend(draft.fields.first().map(|field| field.name.as_str()));
    }
    let width = draft.fields.iter().map(|field| field.name.len()).max().unwrap_or(0).min(32);
    let mut columns = String::new();
    for field in &draft.fields {
        let not_null = if key.contains(&field.name.as_str()) { " not null" } else { "" };
        let postgres = field.typed.field_type.postgres();
        columns.push_str(&format!("{:width$} = \"{postgres}{not_null}\"\n", field.name));
    }
    let quoted: Vec<String> = key.iter().map(|name| string(name)).collect();
    let names: Vec<String> = draft.fields.iter().map(|field| in_sql(&field.name)).collect();
    let selected = names.join(",\n       ");
    let on: Vec<String> = key.iter().map(|name| in_sql(name)).collect();
    let on = on.join(", ");
    format!(
        "/* model\ntable = \"{id}_daily\"\nkey   = [{}]\n\n[columns]\n{columns}*/\n\
         select distinct on ({on})\n       _fetch_id, _fetch_row,\n       {selected}\n\
         from raw_{id}\norder by {on}, _fetch_row desc\n",
        quoted.join(", ")
    )
}
