//! Drift: what a source changes about the shape of its responses.
//!
//! In: the outline of each fetch (its manifest has it) and the shape the source's published responses have
//! had. Out: what is new, missing or of another type, in the ledger; and, where `[schema]` says so, fetches
//! that are held back, with a verdict in the raw store as a check's (DESIGN.md section 7). Quiet on purpose:
//! null is no type, an empty array says nothing, what came and went before is optional, of something new or
//! missing only the topmost path is told, and each thing once. Deliberately absent: rows, which
//! extraction and checks judge.

use std::collections::{BTreeMap, BTreeSet};

use daymark_plan::{Severity, Source, one_line, sha256_hex};
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;
use tokio_postgres::Transaction;
use uuid::Uuid;

use super::{
    Answer, CheckOutcome, CheckResult, Context, FetchPath, FetchResult, FetchShape, NotDone,
    PendingFetch, Verdict,
};
use crate::error::WarehouseError;

/// The check that `[schema]` is, in verdicts and results.
const CHECK: &str = "[schema]";

/// So many fetches a source must have published before a field that no column reads can be missed.
const LEARNED: i64 = 5;

/// How many paths a reason names.
const NAMED: usize = 3;

/// How a response differs from those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// A path that was never there.
    New,
    /// A path that was always there is not.
    Missing,
    /// A path whose values are of another type.
    Changed,
}

impl DriftKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Missing => "missing",
            Self::Changed => "changed",
        }
    }
}

/// One thing that a response has otherwise.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Drift {
    /// The source.
    pub source: String,
    /// The day of the fetch that had it first.
    pub data_date: Date,
    /// The fetch's entity; empty for a source without.
    pub entity: String,
    /// What it is.
    pub kind: DriftKind,
    /// Where.
    pub path: String,
    /// The types there were.
    pub old_types: Vec<String>,
    /// The types there are.
    pub new_types: Vec<String>,
    /// A value.
    pub example: Option<String>,
    /// Whether a field of `[rows]` reads it.
    pub is_mapped: bool,
    /// When that fetch was made.
    pub fetched_at: Timestamp,
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let types = |types: &[String]| types.join(" or ");
        let example = self.example.as_ref().map(|value| format!(", such as {value}"));
        let example = example.unwrap_or_default();
        let read = if self.is_mapped { ", which `[rows]` reads," } else { "" };
        let path = &self.path;
        match self.kind {
            DriftKind::New if self.new_types.is_empty() => {
                write!(f, "`{path}`{read} is new (null)")
            }
            DriftKind::New => {
                write!(f, "`{path}`{read} is new ({}{example})", types(&self.new_types))
            }
            DriftKind::Missing => write!(f, "`{path}`{read} is missing"),
            DriftKind::Changed => write!(
                f,
                "`{path}`{read} became {}, it was {}{example}",
                types(&self.new_types),
                types(&self.old_types)
            ),
        }
    }
}

/// What is known of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    types: BTreeSet<String>,
    is_mapped: bool,
    /// Whether every response had it since it came.
    is_always: bool,
}

/// What a source's published responses have looked like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shape {
    paths: BTreeMap<String, Known>,
    /// Whether so much was published that what is always there is known.
    is_learned: bool,
}

/// The path a path stands in, and whether it is a name of its own there.
fn parent(path: &str) -> Option<(&str, bool)> {
    if let Some(parent) = path.strip_suffix("[*]").or_else(|| path.strip_suffix(".*")) {
        return Some((parent, false));
    }
    if path.starts_with("line column ") {
        return Some(("line", true));
    }
    if path.ends_with("']") {
        return path.rfind("['").map(|at| (&path[..at], true));
    }
    path.rfind('.').map(|at| (&path[..at], true))
}

/// Whether something stands directly under a path.
fn has_members<V>(paths: &BTreeMap<String, V>, path: &str) -> bool {
    let under = paths.range(path.to_owned()..).take_while(|(other, _)| other.starts_with(path));
    under.skip(1).any(|(other, _)| parent(other).is_some_and(|(within, _)| within == path))
}

impl Shape {
    /// How a response differs, the topmost paths only.
    fn compare(&self, source: &Source, fetch: &PendingFetch, shape: &FetchShape) -> Vec<Drift> {
        let mut drifts = Vec::new();
        if self.paths.is_empty() {
            return drifts;
        }
        let found: BTreeMap<String, &FetchPath> =
            shape.paths.iter().map(|path| (path.path.clone(), path.as_ref())).collect();
        let mut tell =
            |kind, path: &str, old: &BTreeSet<String>, now: Option<&FetchPath>, mapped| {
                drifts.push(Drift {
                    source: source.id.to_string(),
                    data_date: fetch.data_date,
                    entity: fetch.entity.clone().unwrap_or_default(),
                    kind,
                    path: path.to_owned(),
                    old_types: old.iter().cloned().collect(),
                    new_types: now.map(|now| now.types.clone()).unwrap_or_default(),
                    example: now.and_then(|now| now.example.clone()),
                    is_mapped: mapped,
                    fetched_at: fetch.fetched_at,
                });
            };
        for (path, now) in &found {
            if let Some(known) = self.paths.get(path) {
                let is_other = |word: &String| !known.types.contains(word);
                if !known.types.is_empty() && now.types.iter().any(is_other) {
                    tell(DriftKind::Changed, path, &known.types, Some(now), now.is_mapped);
                }
                continue;
            }
            // What was empty or null until now says nothing of what may stand in it.
            let is_new = parent(path).is_some_and(|(within, is_named)| {
                is_named
                    && self.paths.contains_key(within)
                    && has_members(&self.paths, within)
                    && !self.paths.contains_key(&format!("{within}.*"))
            });
            if is_new {
                tell(DriftKind::New, path, &BTreeSet::new(), Some(now), now.is_mapped);
            }
        }
        for (path, known) in &self.paths {
            if is_missed(path, known, shape, &found) && (self.is_learned || known.is_mapped) {
                tell(DriftKind::Missing, path, &known.types, None, known.is_mapped);
            }
        }
        drifts
    }

    /// Takes in what a published response has. Gives the paths of which more is known now.
    fn learn(&mut self, shape: &FetchShape, is_first_publish: bool) -> BTreeSet<String> {
        let mut learned = BTreeSet::new();
        let is_first = self.paths.is_empty();
        let found: BTreeMap<String, &FetchPath> =
            shape.paths.iter().map(|path| (path.path.clone(), path.as_ref())).collect();
        let missed: Vec<String> = self
            .paths
            .iter()
            .filter(|(path, known)| is_missed(path, known, shape, &found))
            .map(|(path, _)| path.clone())
            .collect();
        for path in missed {
            if let Some(known) = self.paths.get_mut(&path) {
                known.is_always = false;
                learned.insert(path);
            }
        }
        for (path, now) in found {
            let types: BTreeSet<String> = now.types.iter().cloned().collect();
            if let Some(known) = self.paths.get_mut(&path) {
                if !types.is_subset(&known.types) || known.is_mapped != now.is_mapped {
                    known.types.extend(types);
                    known.is_mapped = now.is_mapped;
                    learned.insert(path);
                }
            } else {
                let is_always = is_first || !is_first_publish;
                let known = Known { types, is_mapped: now.is_mapped, is_always };
                self.paths.insert(path.clone(), known);
                learned.insert(path);
            }
        }
        learned
    }
}

/// Whether a path was always there, and is not where what it stands in is.
fn is_missed(
    path: &str,
    known: &Known,
    shape: &FetchShape,
    found: &BTreeMap<String, &FetchPath>,
) -> bool {
    if !known.is_always || shape.cut || found.contains_key(path) {
        return false;
    }
    parent(path).is_some_and(|(within, is_named)| {
        is_named && has_members(found, within) && !found.contains_key(&format!("{within}.*"))
    })
}

/// What became of the shapes of a source's fetches.
#[derive(Default)]
pub(super) struct Compared {
    shape: Shape,
    /// Of each fetch that differs.
    drifts: BTreeMap<String, Vec<Drift>>,
    /// Why fetches are held back, by their manifests' keys.
    pub(super) held_back: BTreeMap<String, NotDone>,
    /// What `[schema]` said of fetches.
    pub(super) results: Vec<CheckResult>,
}

/// Compares fetches with what was published before this publish, and asks `[schema]` about them.
pub(super) async fn compare(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    fetches: &[&PendingFetch],
) -> Result<Compared, WarehouseError> {
    let mut compared = Compared::default();
    if fetches.iter().all(|fetch| fetch.shape.is_none()) {
        return Ok(compared);
    }
    compared.shape = read(transaction, source).await?;
    for fetch in fetches {
        let Some(shape) = &fetch.shape else { continue };
        let drifts = compared.shape.compare(source, fetch, shape);
        if let Some(rules) = source.schema.holding() {
            let asked = ask(context, source, fetch, &drifts, &rules).await;
            match asked {
                Ok(result) => {
                    if result.outcome == CheckOutcome::Failed {
                        let reason = result.reason.clone().unwrap_or_default();
                        let held = NotDone::Quarantined(reason);
                        compared.held_back.insert(fetch.manifest_key.clone(), held);
                    }
                    compared.results.push(result);
                }
                Err(postponed) => {
                    compared.held_back.insert(fetch.manifest_key.clone(), postponed);
                }
            }
        }
        if !drifts.is_empty() {
            compared.drifts.insert(fetch.manifest_key.clone(), drifts);
        }
    }
    Ok(compared)
}

async fn read(transaction: &Transaction<'_>, source: &Source) -> Result<Shape, WarehouseError> {
    let doing = WarehouseError::statement("reading the shape of a source's responses");
    let rows = transaction
        .query(
            "select path, types, is_mapped, is_always from daymark.shape where source_id = $1",
            &[&source.id.as_str()],
        )
        .await
        .map_err(&doing)?;
    let fetches: i64 = transaction
        .query_one(
            "select count(*) from (
                 select 1 from daymark.fetch where source_id = $1 and state = 'published' limit $2
             ) as counted",
            &[&source.id.as_str(), &LEARNED],
        )
        .await
        .map_err(&doing)?
        .get(0);
    let paths = rows.iter().map(|row| {
        let types: Vec<String> = row.get(1);
        let known = Known {
            types: types.into_iter().collect(),
            is_mapped: row.get(2),
            is_always: row.get(3),
        };
        (row.get(0), known)
    });
    Ok(Shape { paths: paths.collect(), is_learned: fetches >= LEARNED })
}

/// Asks `[schema]` about a fetch, once: what it said before, or a person did, stands.
async fn ask(
    context: &Context<'_>,
    source: &Source,
    fetch: &PendingFetch,
    drifts: &[Drift],
    rules: &str,
) -> Result<CheckResult, NotDone> {
    let table = format!("raw_{}", source.id);
    let question = sha256_hex(rules.as_bytes());
    let holds = |drift: &&Drift| match drift.kind {
        DriftKind::New => source.schema.fail_on_new,
        DriftKind::Changed => source.schema.fail_on_change && drift.is_mapped,
        DriftKind::Missing => false,
    };
    let offending: Vec<&Drift> = drifts.iter().filter(holds).collect();
    let mut result = CheckResult {
        manifest_key: fetch.manifest_key.clone(),
        fetch_id: fetch.fetch_id,
        data_date: fetch.data_date,
        entity: fetch.entity.clone().unwrap_or_default(),
        table: table.clone(),
        check: CHECK.to_owned(),
        severity: Severity::Block,
        outcome: CheckOutcome::Passed,
        rows: fetch.extracted,
        failing: 0,
        sample: Vec::new(),
        sql: None,
        reason: None,
    };
    let reason = |found: &[serde_json::Value], failing: i64| {
        let said = found.iter().filter_map(|one| one["said"].as_str()).take(NAMED);
        let said: Vec<&str> = said.collect();
        let more = usize::try_from(failing).unwrap_or(0).saturating_sub(said.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(
            "{}: the shape of the response changed ({rules}): {}{more}",
            source.file,
            said.join("; ")
        )
    };
    if let Some(found) = verdict(context, source, fetch.fetch_id, &question).await? {
        result.failing = found.failing;
        result.outcome = match found.answer {
            Answer::Passed => CheckOutcome::Passed,
            Answer::Blocked => CheckOutcome::Failed,
            Answer::Released => CheckOutcome::Released,
        };
        if found.answer != Answer::Passed {
            result.sql = Some(rules.to_owned());
            result.reason = Some(match found.answer {
                Answer::Released => found.in_words(),
                Answer::Passed | Answer::Blocked => reason(&found.sample, found.failing),
            });
            result.sample = found.sample;
        }
        return Ok(result);
    }
    if !offending.is_empty() {
        result.outcome = CheckOutcome::Failed;
        result.failing = i64::try_from(offending.len()).unwrap_or(i64::MAX);
        result.sample = offending
            .iter()
            .take(20)
            .map(|drift| json!({ "path": drift.path, "said": drift.to_string() }))
            .collect();
        result.sql = Some(rules.to_owned());
        result.reason = Some(reason(&result.sample, result.failing));
    }
    if context.is_kept {
        let given = Verdict {
            table,
            check: CHECK.to_owned(),
            check_sha256: question,
            answer: if offending.is_empty() { Answer::Passed } else { Answer::Blocked },
            failing: result.failing,
            sample: result.sample.clone(),
            at: context.now,
            by: "daymark".to_owned(),
            why: None,
        };
        let keep = context.verdicts.keep;
        keep(source.id.clone(), fetch.fetch_id, vec![given]).await.map_err(|error| {
            let error = one_line(error.as_ref());
            NotDone::Postponed(format!("the verdict on its shape cannot be kept: {error}"))
        })?;
    }
    Ok(result)
}

/// What was said of a fetch before under the same rules; a person's word outlives a change of them.
async fn verdict(
    context: &Context<'_>,
    source: &Source,
    fetch_id: Uuid,
    question: &str,
) -> Result<Option<Verdict>, NotDone> {
    let read = context.verdicts.read;
    let known = read(source.id.clone(), fetch_id).await.map_err(|error| {
        let error = one_line(error.as_ref());
        NotDone::Postponed(format!("the verdicts on it cannot be read: {error}"))
    })?;
    let table = format!("raw_{}", source.id);
    let of_shape = known.into_iter().filter(|found| found.table == table && found.check == CHECK);
    let of_shape: Vec<Verdict> = of_shape.collect();
    let released = of_shape.iter().rfind(|found| found.answer == Answer::Released);
    let same = of_shape.iter().rfind(|found| found.check_sha256 == question);
    Ok(released.or(same).cloned())
}

/// Whether a fetch is held back by what `[schema]` said of it: a rebuild that asks checks again does not ask
/// this one, since what was published before the fetch is not known any more.
pub(super) async fn is_held_back(
    context: &Context<'_>,
    source: &Source,
    fetch_id: Uuid,
) -> Result<Option<String>, NotDone> {
    let Some(rules) = source.schema.holding() else { return Ok(None) };
    let question = sha256_hex(rules.as_bytes());
    let found = verdict(context, source, fetch_id, &question).await?;
    Ok(found.filter(|found| found.answer == Answer::Blocked).map(|found| {
        let said = found.sample.first().and_then(|one| one["said"].as_str()).unwrap_or_default();
        format!("{}: the shape of the response changed ({rules}): {said}", source.file)
    }))
}

/// Records what differs, and takes the shapes of what was published in. Gives what was recorded.
pub(super) async fn record(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    compared: &mut Compared,
    fetches: &[&PendingFetch],
    results: &BTreeMap<String, FetchResult>,
) -> Result<Vec<Drift>, WarehouseError> {
    let mut fetches: Vec<&PendingFetch> = fetches.to_vec();
    fetches.sort_by(|a, b| a.manifest_key.cmp(&b.manifest_key));
    let is_first_publish = compared.shape.paths.is_empty();
    let mut told: BTreeSet<(&str, String, Vec<String>)> = BTreeSet::new();
    let mut recorded = Vec::new();
    let mut learned: BTreeMap<String, String> = BTreeMap::new();
    for fetch in fetches {
        let result = results.get(&fetch.manifest_key);
        let is_published = result == Some(&FetchResult::Published);
        let is_held = compared.results.iter().any(|result| {
            result.manifest_key == fetch.manifest_key && result.outcome == CheckOutcome::Failed
        });
        if !is_published && !is_held {
            continue;
        }
        for drift in compared.drifts.remove(&fetch.manifest_key).unwrap_or_default() {
            // Of several fetches that are published together the first is told, and each that is held back.
            let thing = (drift.kind.as_str(), drift.path.clone(), drift.new_types.clone());
            if is_held || told.insert(thing) {
                let publish_id = is_published.then_some(context.publish_id);
                write(transaction, context, fetch, &drift, publish_id).await?;
                recorded.push(drift);
            }
        }
        if let (true, Some(shape)) = (is_published, &fetch.shape) {
            for path in compared.shape.learn(shape, is_first_publish) {
                learned.entry(path).or_insert_with(|| fetch.manifest_key.clone());
            }
        }
    }
    remember(transaction, source, &compared.shape, &learned).await?;
    Ok(recorded)
}

async fn write(
    transaction: &Transaction<'_>,
    context: &Context<'_>,
    fetch: &PendingFetch,
    drift: &Drift,
    publish_id: Option<i64>,
) -> Result<(), WarehouseError> {
    transaction
        .execute(
            "insert into daymark.drift (source_id, kind, path, old_types, new_types, example, is_mapped,
                                        manifest_key, fetch_id, data_date, entity, fetched_at, publish_id,
                                        run_id, at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
             on conflict (source_id, manifest_key, path, kind) do update set publish_id = excluded.publish_id",
            &[
                &drift.source,
                &drift.kind.as_str(),
                &drift.path,
                &drift.old_types,
                &drift.new_types,
                &drift.example,
                &drift.is_mapped,
                &fetch.manifest_key,
                &fetch.fetch_id,
                &drift.data_date,
                &drift.entity,
                &drift.fetched_at,
                &publish_id,
                &context.run_id,
                &context.now,
            ],
        )
        .await
        .map_err(WarehouseError::statement("recording a changed shape"))?;
    Ok(())
}

/// Keeps what became known of paths, each with the fetch it is known from.
async fn remember(
    transaction: &Transaction<'_>,
    source: &Source,
    shape: &Shape,
    learned: &BTreeMap<String, String>,
) -> Result<(), WarehouseError> {
    if learned.is_empty() {
        return Ok(());
    }
    let known: Vec<(&str, &Known, &str)> = learned
        .iter()
        .filter_map(|(path, key)| Some((path.as_str(), shape.paths.get(path)?, key.as_str())))
        .collect();
    let paths: Vec<&str> = known.iter().map(|(path, _, _)| *path).collect();
    let types: Vec<String> = known
        .iter()
        .map(|(_, known, _)| known.types.iter().cloned().collect::<Vec<_>>().join("|"))
        .collect();
    let mapped: Vec<bool> = known.iter().map(|(_, known, _)| known.is_mapped).collect();
    let always: Vec<bool> = known.iter().map(|(_, known, _)| known.is_always).collect();
    let keys: Vec<&str> = known.iter().map(|(_, _, key)| *key).collect();
    transaction
        .execute(
            "insert into daymark.shape (source_id, path, types, is_mapped, is_always, manifest_key)
             select $1, path, coalesce(string_to_array(nullif(types, ''), '|'), '{}'), is_mapped, is_always, manifest_key
             from unnest($2::text[], $3::text[], $4::boolean[], $5::boolean[], $6::text[])
                  as known(path, types, is_mapped, is_always, manifest_key)
             on conflict (source_id, path) do update
             set types = excluded.types, is_mapped = excluded.is_mapped, is_always = excluded.is_always,
                 manifest_key = excluded.manifest_key",
            &[&source.id.as_str(), &paths, &types, &mapped, &always, &keys],
        )
        .await
        .map_err(WarehouseError::statement("keeping the shape of a source's responses"))?;
    Ok(())
}
