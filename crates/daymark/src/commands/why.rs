//! `daymark why`: the way back from a published row to the bytes the API sent.
//!
//! In: a table and a key. Out: the row, the publish, the fetch, the archived response and in it the place of
//! each value; what readers had been shown before. Deliberately absent: changing anything.

use std::process::ExitCode;

use daymark_extract::Traced;
use daymark_ingest::{Manifest, Page, RawStore};
use daymark_plan::{Clock, Model, Plan, Source, one_line};
use daymark_warehouse::{Asked, NoRow, Origin, Reader, Restated, Warehouse, WhyError};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::Why;
use crate::commands;
use crate::failure::Failure;
use crate::output;

/// What the raw store knows of a row.
#[derive(Serialize)]
struct Evidence {
    manifest: Box<Manifest>,
    /// The page the row is on.
    page: Page,
    /// The row's number on that page.
    row: u64,
    /// Where its values are, or why that cannot be told.
    values: Result<Vec<Traced>, String>,
    /// Whether the source's file is another than at the time of the fetch: places are told by today's.
    mapping_changed: bool,
}

/// Tells where a row came from.
pub(crate) async fn why(arguments: &Why) -> Result<ExitCode, Failure> {
    let plan = commands::load(&arguments.folder)?;
    let model = model_of(&plan, &arguments.table)?;
    let key = key_of(model, &arguments.key)?;
    let warehouse = Warehouse::open(&plan).await?;
    let reader = Reader::new(warehouse.clone(), Clock::System);
    let found = reader.why(model, &key, arguments.date).await;
    warehouse.close().await;
    let origin = match found.map_err(failure)? {
        Ok(origin) => origin,
        Err(no_row) => return Err(no_such_row(&plan, model, &key, arguments, &no_row)),
    };
    let evidence = match &origin.manifest_key {
        Some(manifest_key) => evidence(&plan, model, manifest_key, origin.fetch_row).await,
        None => Err("the ledger does not know its fetch any more; `daymark rebuild` makes it anew from the raw store".to_owned()),
    };
    if arguments.json {
        let (raw, raw_error) = match &evidence {
            Ok(evidence) => (Some(evidence_json(evidence)), None),
            Err(reason) => (None, Some(reason)),
        };
        output::json(&json!({
            "table": origin.table,
            "row": as_object(&origin.row),
            "settled": origin.settled,
            "data_date": origin.data_date,
            "fetch": { "id": origin.fetch_id, "row": origin.fetch_row, "manifest": origin.manifest_key },
            "publish": origin.publish,
            "checks": origin.checks,
            "raw": raw,
            "raw_error": raw_error,
            "restatements": origin.restatements,
        }))?;
    } else {
        output::to_stdout(&text(&plan, model, &origin, &evidence))?;
    }
    Ok(if evidence.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The model that makes a table.
fn model_of<'p>(plan: &'p Plan, table: &str) -> Result<&'p Model, Failure> {
    if let Some(model) = plan.models.iter().find(|model| model.table == table) {
        return Ok(model);
    }
    let tables: Vec<&str> = plan.models.iter().map(|model| model.table.as_str()).collect();
    if let Some(mart) = plan.marts.iter().find(|mart| mart.name == table) {
        let reads: Vec<String> = mart
            .reads
            .keys()
            .chain(&mart.reads_elsewhere)
            .map(|name| {
                let is_mart = plan.marts.iter().any(|mart| mart.name == *name);
                if is_mart { format!("the mart `{name}`") } else { format!("`{name}`") }
            })
            .collect();
        let reads = if reads.is_empty() { "no table".to_owned() } else { reads.join(", ") };
        let under = under(plan, &mart.name);
        return Err(Failure::usage(
            format!(
                "`{table}` is a mart ({}): its rows are worked out in {} from {reads}",
                mart.materialized.as_str(),
                mart.file
            ),
            format!("ask for a row of one of the tables under it: {}", under.join(", ")),
        ));
    }
    let near = daymark_plan::did_you_mean(table, tables.iter().copied());
    Err(Failure::usage(format!("no model makes a table `{table}`"), near))
}

/// The models' tables that a mart reads, also through other marts.
fn under<'p>(plan: &'p Plan, mart: &str) -> Vec<&'p str> {
    let tables = plan.models.iter().filter(|model| {
        let mut changed = std::collections::BTreeSet::from([model.table.clone()]);
        changed.extend(model.history.then(|| model.history_table()));
        plan.marts_reading(&changed).contains(mart)
    });
    tables.map(|model| model.table.as_str()).collect()
}

/// The values of a key in the order of its columns.
fn key_of(model: &Model, given: &[String]) -> Result<Vec<String>, Failure> {
    let wanted = || {
        let names: Vec<String> = model.key.iter().map(|name| name.to_uppercase()).collect();
        format!("daymark why {} {}", model.table, names.join(" "))
    };
    if given.len() != model.key.len() {
        let columns = if model.key.len() == 1 { "column" } else { "columns" };
        return Err(Failure::usage(
            format!(
                "the key of `{}` has {} {columns} ({}), and {} given",
                model.table,
                model.key.len(),
                model.key.join(", "),
                if given.len() == 1 {
                    "1 value is".to_owned()
                } else {
                    format!("{} values are", given.len())
                }
            ),
            wanted(),
        ));
    }
    let named = |value: &str| {
        let (name, value) = value.split_once('=')?;
        let at = model.key.iter().position(|column| column == name)?;
        Some((at, value.to_owned()))
    };
    let by_name: Vec<Option<(usize, String)>> = given.iter().map(|value| named(value)).collect();
    if by_name.iter().any(Option::is_none) {
        // A value may hold an equals sign itself.
        return Ok(given.to_vec());
    }
    let mut key = vec![None; given.len()];
    for (at, value) in by_name.into_iter().flatten() {
        if key[at].replace(value).is_some() {
            let message = format!("the key's column `{}` is given twice", model.key[at]);
            return Err(Failure::usage(message, wanted()));
        }
    }
    Ok(key.into_iter().flatten().collect())
}

fn failure(error: WhyError) -> Failure {
    match error {
        WhyError::BadKey { .. } => Failure::usage(
            error.to_string(),
            "give the key's values in the order of the model's `key`",
        ),
        WhyError::NoTable { .. } => {
            Failure::failed(error, Some("`daymark run` makes and fills it".to_owned()))
        }
        WhyError::Warehouse(error) => error.into(),
    }
}

fn no_such_row(
    plan: &Plan,
    model: &Model,
    key: &[String],
    arguments: &Why,
    no_row: &NoRow,
) -> Failure {
    let key = said(model, key);
    let of = arguments.date.map(|date| format!(" of the data date {date}")).unwrap_or_default();
    let mut message = format!("`{}` has no row with {key}{of}", model.table);
    if let Some(last) = no_row.restatements.first().filter(|last| last.kind == "deleted") {
        let by =
            last.new_manifest.as_deref().unwrap_or("a fetch the ledger does not know any more");
        message.push_str(&format!(
            ": it had one, which publish {} deleted on {}, because `{by}` covers that key and lacks it",
            last.publish_id,
            local(plan, last.at),
        ));
    }
    let examples: Vec<String> = no_row
        .examples
        .iter()
        .map(|key| {
            let values = key.iter().map(|value| value.as_deref().unwrap_or("null"));
            values.collect::<Vec<_>>().join(" ")
        })
        .collect();
    let hint = match examples.first() {
        Some(_) => format!("keys that are there: {}", examples.join("; ")),
        None => "the table is empty: `daymark run` fills it".to_owned(),
    };
    Failure::failed(anyhow::anyhow!(message), Some(hint))
}

/// Looks the row up in the raw store.
async fn evidence(
    plan: &Plan,
    model: &Model,
    manifest_key: &str,
    fetch_row: i64,
) -> Result<Evidence, String> {
    let store = RawStore::open(&plan.settings.raw).map_err(|error| one_line(&error))?;
    let stored = store.manifest(manifest_key).await.map_err(|error| one_line(&error))?;
    let manifest = Box::new(stored.manifest);
    let source = plan
        .source(&model.source)
        .ok_or_else(|| format!("the folder has no source `{}`", model.source))?;
    let number = u64::try_from(fetch_row).unwrap_or_default();
    let (page, row) = page_of(&manifest, number)
        .ok_or_else(|| format!("`{manifest_key}` has no page with the row {fetch_row}"))?;
    // Reading a page compares its hash with the manifest's.
    let body = store.read_page(&page).await.map_err(|error| one_line(&error))?;
    let mapping_changed = manifest.source_file_sha256 != source.file_sha256;
    let values = traced(source, &page, &body, row);
    Ok(Evidence { manifest, page, row, values, mapping_changed })
}

/// The page a row of a fetch is on, and its number there.
fn page_of(manifest: &Manifest, number: u64) -> Option<(Page, u64)> {
    let mut before = 0;
    for page in &manifest.pages {
        // The only page of an older manifest may not say how many rows it has.
        let rows = page.rows.unwrap_or(u64::MAX);
        if number - before < rows {
            return Some((page.clone(), number - before));
        }
        before += rows;
    }
    None
}

fn traced(source: &Source, page: &Page, body: &[u8], row: u64) -> Result<Vec<Traced>, String> {
    let (body, _) = daymark_extract::to_utf8(body, page.encoding.as_deref())
        .map_err(|error| one_line(&error))?;
    let traced = daymark_extract::trace(&source.rows, &body, row);
    traced.map_err(|error| one_line(&error))?.ok_or_else(|| {
        format!("by today's `[rows]` of {} the response has no such row", source.file)
    })
}

fn evidence_json(evidence: &Evidence) -> Value {
    let (values, values_error) = match &evidence.values {
        Ok(values) => (Some(values), None),
        Err(reason) => (None, Some(reason)),
    };
    let manifest = &evidence.manifest;
    json!({
        "request": manifest.request,
        "status": manifest.status,
        "attempts": manifest.attempts,
        "fetched_at": manifest.fetched_at,
        "data_date": manifest.data_date,
        "entity": manifest.entity,
        "page": evidence.page,
        "row": evidence.row,
        "values": values,
        "values_error": values_error,
        "mapping_changed": evidence.mapping_changed,
    })
}

fn as_object(row: &[(String, Option<String>)]) -> Value {
    row.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
}

fn local(plan: &Plan, at: Timestamp) -> String {
    at.to_zoned(plan.settings.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// A key as people say it.
fn said(model: &Model, key: &[String]) -> String {
    let parts: Vec<String> =
        model.key.iter().zip(key).map(|(name, value)| format!("{name} = {value}")).collect();
    parts.join(", ")
}

fn text(
    plan: &Plan,
    model: &Model,
    origin: &Origin,
    evidence: &Result<Evidence, String>,
) -> String {
    let key: Vec<String> = model
        .key
        .iter()
        .map(|name| {
            let value = origin.row.iter().find(|(column, _)| column == name);
            value.and_then(|(_, value)| value.clone()).unwrap_or_default()
        })
        .collect();
    let mut text = format!("{}: {}\n\n", origin.table, said(model, &key));
    for (name, value) in origin.row.iter().filter(|(name, _)| !model.key.contains(name)) {
        text.push_str(&format!("  {name} = {}\n", value.as_deref().unwrap_or("null")));
    }
    if let Some(date) = origin.data_date {
        text.push_str(&format!(
            "  (of the data date {date}; {} others have this key)\n",
            origin.others
        ));
    }
    if origin.settled == Some(false) {
        text.push_str("  (not final yet, as the model's `settled` says)\n");
    }
    text.push('\n');
    text.push_str(&published(plan, origin));
    text.push_str(&checked(&origin.checks));
    match evidence {
        Ok(evidence) => text.push_str(&fetched(plan, evidence)),
        Err(reason) => text.push_str(&line("fetched", &format!("not to be told: {reason}"))),
    }
    text.push_str(&before(plan, &origin.restatements));
    text
}

/// A line of the story under its heading.
fn line(heading: &str, words: &str) -> String {
    format!("{heading:<10} {words}\n")
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn published(plan: &Plan, origin: &Origin) -> String {
    let by = &origin.publish;
    let at = by.published_at.map(|at| format!(" on {}", local(plan, at))).unwrap_or_default();
    let mut text = line("published", &format!("publish {}{at}", by.publish_id));
    if let (Some(run), Some(kind)) = (&by.run_id, &by.run_kind) {
        let kind = match kind.as_str() {
            "catch_up" => "catch-up",
            other => other,
        };
        let of = by.scheduled_at.map(|at| format!(" of {}", local(plan, at))).unwrap_or_default();
        let version = by.program_version.as_deref().unwrap_or("?");
        text.push_str(&line("", &format!("by the {kind} run {run}{of}, daymark {version}")));
    }
    if let (Some(file), Some(then)) = (&by.model_file, &by.model_sha256) {
        let now = plan.models.iter().find(|model| model.file == *file);
        let changed = match now {
            Some(model) if model.file_sha256 == *then => "the file as it is now",
            Some(model) if by.rebuilt_model_sha256.as_ref() == Some(&model.file_sha256) => {
                "the file has changed since; a rebuild by the one of now gives the same row"
            }
            Some(_) => "the file has changed since: `daymark rebuild` brings its rows over",
            None => "the file is gone",
        };
        text.push_str(&line("model", &format!("{file}, sha256 {} ({changed})", short(then))));
    }
    text
}

/// What the checks said, a line for each.
fn checked(checks: &[Asked]) -> String {
    let mut text = String::new();
    for (at, asked) in checks.iter().enumerate() {
        let rows = output::counted(u64::try_from(asked.failing).unwrap_or_default(), "row");
        let outcome = match (asked.outcome.as_str(), asked.severity.as_str()) {
            ("passed", _) => "passed".to_owned(),
            ("failed", "reject") => format!("{rows} set aside"),
            ("failed" | "released", _) => format!("{rows} found"),
            _ => "could not be asked".to_owned(),
        };
        let reason = asked.reason.as_ref().map(|reason| format!("; {reason}")).unwrap_or_default();
        let heading = if at == 0 { "checks" } else { "" };
        let words = format!("{} ({}): {outcome}{reason}", asked.check, asked.severity);
        text.push_str(&line(heading, &words));
    }
    text
}

fn fetched(plan: &Plan, evidence: &Evidence) -> String {
    let Evidence { manifest, page, row, values, mapping_changed } = evidence;
    let entity =
        manifest.entity.as_ref().map(|entity| format!(", entity {entity}")).unwrap_or_default();
    let mut text = line(
        "fetched",
        &format!(
            "{}, source {}{entity}, data date {}",
            local(plan, manifest.fetched_at),
            manifest.source,
            manifest.data_date
        ),
    );
    let url = page.url.as_deref().unwrap_or(&manifest.request.url);
    text.push_str(&line("request", &format!("{} {url}", manifest.request.method)));
    let status = manifest.status.map(|status| format!("HTTP {status}, ")).unwrap_or_default();
    let attempts = manifest.attempts.len();
    let noun = if attempts == 1 { "request" } else { "requests" };
    text.push_str(&line("answer", &format!("{status}{attempts} {noun} in all")));
    for failed in manifest.attempts.iter().filter(|attempt| attempt.message.is_some()) {
        let message = failed.message.as_deref().unwrap_or_default();
        text.push_str(&line("", &format!("request {} failed: {message}", failed.number)));
    }
    text.push_str(&line("raw", &page.archive_key));
    text.push_str(&line(
        "",
        &format!("{} bytes, sha256 {} (hashed again: the same)", page.bytes, page.sha256),
    ));
    match values {
        Ok(values) => {
            text.push_str(&line("row", &format!("{row} of that response (counted from 0)")));
            if *mapping_changed {
                text.push_str(&line(
                    "",
                    "the source's file has changed since; places are by today's",
                ));
            }
            text.push('\n');
            let rows: Vec<Vec<String>> = values
                .iter()
                .map(|traced| {
                    let value = traced.value.clone().unwrap_or_else(|| "(absent)".to_owned());
                    vec![traced.field.clone(), traced.path.clone(), shortened(&value)]
                })
                .collect();
            text.push_str(&output::table(&["field", "place", "value"], &rows, &[]));
        }
        Err(reason) => text.push_str(&line("row", &format!("not to be found: {reason}"))),
    }
    text
}

/// A value on one line of a bounded length.
fn shortened(value: &str) -> String {
    const LONGEST: usize = 80;
    let flat: String = value.split_whitespace().collect::<Vec<_>>().join(" ");
    match flat.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &flat[..end]),
        None => flat,
    }
}

fn before(plan: &Plan, restatements: &[Restated]) -> String {
    if restatements.is_empty() {
        return "\nNothing that was final was said otherwise before.\n".to_owned();
    }
    let shown = |value: &Option<Value>| match value {
        None | Some(Value::Null) => "null".to_owned(),
        Some(Value::String(text)) => shortened(text),
        Some(other) => shortened(&other.to_string()),
    };
    let rows: Vec<Vec<String>> = restatements
        .iter()
        .map(|restated| {
            let what = restated.column.clone().unwrap_or_else(|| format!("row {}", restated.kind));
            let id = restated.publish_id.to_string();
            vec![local(plan, restated.at), id, what, shown(&restated.old), shown(&restated.new)]
        })
        .collect();
    let header = ["restated", "publish", "column", "was", "became"];
    format!("\n{}", output::table(&header, &rows, &[1]))
}
