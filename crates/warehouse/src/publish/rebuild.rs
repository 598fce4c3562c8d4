//! Rebuild: the curated tables and histories once more, from the raw store alone.
//!
//! In: the fetches the ledger calls published, read again from the raw store, in their order. Out: tables
//! that equal what folding them gives, by the difference, in one transaction; or, when only verifying,
//! what differs. The fold is made in a schema of its own, in batches, so readers see the old tables until
//! the difference is there. Marts that are tables follow. Restatements, publishes and days are a log of what readers saw, and stay.
//! Deliberately absent: publishing what is new in the raw store; an ordinary publish does that first.

use std::collections::{BTreeMap, BTreeSet};

use daymark_plan::{Model, Plan, Source, SourceId};
use jiff::Timestamp;
use jiff::civil::Date;
use tokio_postgres::Transaction;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{
    Context, NotDone, Progress, Purpose, ReadRows, Statement, TableCounts, Verdicts, Watch, checks,
    difference, drift, lock_tables, marts, record, stage,
};
use crate::contract;
use crate::error::WarehouseError;
use crate::older;
use crate::session::Session;
use crate::sql::{ident, list, literal, qualified, same};

/// Where folds are made: each session in a schema of its own, whose name begins so.
const SCRATCH: &str = "daymark_scratch_";
/// Fetches folded in one transaction.
const BATCH: usize = 50;
/// How often it starts over when something was published meanwhile.
const TRIES: usize = 3;
/// Keys that are named of a table that differs.
const SHOWN: i64 = 10;

/// What to rebuild.
#[derive(Debug)]
pub struct Rebuild {
    /// The run that does it.
    pub run_id: Uuid,
    /// Now.
    pub now: Timestamp,
    /// The tables and marts; all when there are none.
    pub tables: BTreeSet<String>,
    /// Only rows of fetches for this data date or later.
    pub from: Option<Date>,
    /// Only rows of fetches for this data date or earlier.
    pub to: Option<Date>,
    /// Whether to compare and change nothing.
    pub verify: bool,
    /// Whether checks that look beyond a fetch are asked again, instead of obeying their verdicts.
    pub recheck: bool,
}

/// How a table compares with what the raw store gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    /// Rows that the raw store gives and the table lacked.
    pub missing: i64,
    /// Rows whose values differed.
    pub different: i64,
    /// Rows the raw store does not give.
    pub extra: i64,
    /// Some of their keys.
    pub keys: Vec<String>,
    /// How many of them were published by another model, source file or version of daymark than there are
    /// now: that is why they differ.
    pub by_older_model: i64,
}

impl Rebuilt {
    /// Whether the table is what the raw store gives.
    pub fn is_equal(&self) -> bool {
        self.missing + self.different + self.extra == 0
    }
}

/// Rebuilds tables, or only compares them. The inner error is why it could not be done.
pub async fn rebuild(
    session: &mut Session,
    plan: &Plan,
    request: &Rebuild,
    read_rows: &ReadRows<'_>,
    verdicts: Verdicts<'_>,
    watch: &Watch<'_>,
) -> Result<Result<BTreeMap<String, Rebuilt>, String>, WarehouseError> {
    let refused = contract::ensure(session, plan).await?;
    let chosen =
        |model: &&Model| request.tables.is_empty() || request.tables.contains(&model.table);
    let sources: BTreeSet<SourceId> =
        plan.models.iter().filter(chosen).map(|model| model.source.clone()).collect();
    if let Some(failure) = sources.iter().find_map(|id| refused.sources.get(id)) {
        return Ok(Err(failure.with_hint()));
    }
    let made_in = scratch_schema(session).await?;
    let schema = session.schema().to_owned();
    let mut result = Ok(None);
    for _ in 0..TRIES {
        let scratch = Context {
            plan,
            schema: made_in.clone(),
            run_id: request.run_id,
            now: request.now,
            publish_id: 0,
            is_told: false,
            is_kept: !request.verify,
            read_rows,
            verdicts,
            watch,
        };
        let done = once(session, &scratch, &schema, &sources, request).await;
        result = session.close_if_out_of_step(done)?;
        if !matches!(result, Ok(None)) {
            break;
        }
    }
    let drop = format!("drop schema if exists {} cascade", ident(&made_in));
    session
        .client()
        .batch_execute(&drop)
        .await
        .map_err(WarehouseError::statement("clearing up after a rebuild"))?;
    Ok(result.and_then(|tables| {
        tables.ok_or_else(|| "publishes came between each time; run it again".to_owned())
    }))
}

/// The name of this session's scratch schema. Those of sessions that are no more (a rebuild that was killed)
/// are dropped.
async fn scratch_schema(session: &mut Session) -> Result<String, WarehouseError> {
    let doing = WarehouseError::statement("making room for a rebuild");
    let started = "(extract(epoch from backend_start) * 1000000)::bigint";
    let row = session
        .client()
        .query_one(
            &format!(
                "with living as (
                     select format('%s%s_%s', $1::text, pid, {started}) as name, pid
                     from pg_stat_activity where datname = current_database()
                 )
                 select coalesce((select name from living where pid = pg_backend_pid()), $1 || 'only'),
                        array(select nspname::text from pg_namespace
                              where starts_with(nspname, $1) and nspname not in (select name from living))"
            ),
            &[&SCRATCH],
        )
        .await
        .map_err(&doing)?;
    for left in row.get::<_, Vec<String>>(1) {
        let drop = format!("drop schema if exists {} cascade", ident(&left));
        session.client().batch_execute(&drop).await.map_err(&doing)?;
    }
    Ok(row.get(0))
}

/// Folds and compares once. Nothing in the inner value: something was published meanwhile.
async fn once(
    session: &mut Session,
    scratch: &Context<'_>,
    schema: &str,
    sources: &BTreeSet<SourceId>,
    request: &Rebuild,
) -> Result<Result<Option<BTreeMap<String, Rebuilt>>, String>, WarehouseError> {
    let doing = WarehouseError::statement("rebuilding");
    let plan = scratch.plan;
    let made_in = scratch.schema.as_str();
    let begin = format!("drop schema if exists {0} cascade; create schema {0}", ident(made_in));
    session.client().batch_execute(&begin).await.map_err(&doing)?;
    let mut folded: BTreeMap<SourceId, usize> = BTreeMap::new();
    let mut held_back: BTreeMap<String, String> = BTreeMap::new();
    for source_id in sources {
        let source = plan.source(source_id).expect("a model reads a source of its plan");
        let transaction = session.client().transaction().await.map_err(&doing)?;
        // A contract may name types and collations of the curated schema.
        let path = format!("{}, {}", contract::search_path(made_in), ident(schema));
        transaction.batch_execute(&path).await.map_err(&doing)?;
        for model in plan.models_of(source_id) {
            if let Err(failure) = contract::make_scratch(&transaction, made_in, model).await? {
                return Ok(Err(failure.with_hint()));
            }
        }
        let mut statements = folded_ones(&transaction, source, request).await?;
        transaction.commit().await.map_err(&doing)?;
        folded.insert(source_id.clone(), statements.len());
        // A check that is asked again sees what the fetches before its own left.
        for batch in statements.chunks_mut(if request.recheck { 1 } else { BATCH }) {
            let mut transaction = session.client().transaction().await.map_err(&doing)?;
            transaction.batch_execute(&path).await.map_err(&doing)?;
            let purpose = Purpose::Rebuild { recheck: request.recheck };
            match fold(&mut transaction, scratch, source, batch, purpose).await? {
                Ok(held) => held_back.extend(held),
                Err(reason) => return Ok(Err(reason)),
            }
            transaction.commit().await.map_err(&doing)?;
        }
    }

    let mut transaction = session.client().transaction().await.map_err(&doing)?;
    transaction.batch_execute(&contract::search_path(schema)).await.map_err(&doing)?;
    lock_tables(&transaction, plan, schema, sources.iter(), scratch.watch).await?;
    for (source_id, count) in &folded {
        let source = plan.source(source_id).expect("it was found above");
        if folded_ones(&transaction, source, request).await?.len() != *count {
            return Ok(Ok(None));
        }
    }
    let publish_id = if request.verify {
        None
    } else {
        Some(record::start(&transaction, request.run_id, request.now).await?)
    };
    let mut tables = BTreeMap::new();
    let mut changed = false;
    if let Some(publish_id) = publish_id {
        for source_id in sources {
            let states =
                record::settle_states(&transaction, source_id, request, publish_id, &held_back);
            changed |= states.await?;
        }
    }
    for model in &plan.models {
        let chosen = request.tables.is_empty() || request.tables.contains(&model.table);
        if !chosen || !sources.contains(&model.source) {
            continue;
        }
        for compared in Compared::of(model) {
            (scratch.watch)(Progress::Writing { table: compared.table.clone() });
            let rebuilt = compare(&transaction, scratch, schema, model, &compared, request).await?;
            if let Some(publish_id) = publish_id.filter(|_| !rebuilt.is_equal()) {
                apply(&transaction, (made_in, schema), &compared, publish_id, &rebuilt).await?;
                changed = true;
                if !compared.is_history {
                    let counts = TableCounts {
                        inserted: rebuilt.missing,
                        updated: rebuilt.different,
                        deleted: rebuilt.extra,
                        ..TableCounts::default()
                    };
                    let source = plan.source(&model.source).expect("it is one of the sources");
                    record::table(&transaction, publish_id, source, model, counts).await?;
                }
            }
            tables.insert(compared.table.clone(), rebuilt);
        }
    }
    if publish_id.is_some() && request.from.is_none() && request.to.is_none() {
        for model in plan.models.iter().filter(|model| tables.contains_key(&model.table)) {
            record::brought_over(&transaction, plan, model).await?;
        }
    }
    match marts::rebuild(&mut transaction, scratch, schema, request, publish_id).await? {
        Ok(marts) => {
            changed |= marts.iter().any(|(_, rebuilt)| !rebuilt.is_equal());
            tables.extend(marts);
        }
        Err(reason) => return Ok(Err(reason)),
    }
    if let Some(publish_id) = publish_id.filter(|_| !changed) {
        record::withdraw(&transaction, publish_id).await?;
    }
    (scratch.watch)(Progress::Committing);
    transaction.commit().await.map_err(&doing)?;
    Ok(Ok(Some(tables)))
}

/// The fetches to fold, oldest first: those that are published and, where their checks are asked again,
/// those that are held back.
async fn folded_ones(
    transaction: &Transaction<'_>,
    source: &Source,
    request: &Rebuild,
) -> Result<Vec<Statement>, WarehouseError> {
    let states: &[&str] =
        if request.recheck { &["published", "quarantined"] } else { &["published"] };
    record::in_states(transaction, source, None, states).await
}

/// Folds some fetches, all newer than those folded before, into the scratch tables. Gives those that a
/// check holds back, each with the reason.
async fn fold(
    transaction: &mut Transaction<'_>,
    scratch: &Context<'_>,
    source: &Source,
    batch: &mut [Statement],
    purpose: Purpose,
) -> Result<Result<BTreeMap<String, String>, String>, WarehouseError> {
    let mut staging = match stage::create_tables(transaction, scratch, source).await? {
        Ok(staging) => staging,
        Err(not_done) => return Ok(Err(not_done.reason())),
    };
    staging.expect(batch);
    let mut held_back = BTreeMap::new();
    for (ordinal, statement) in (0..).zip(batch.iter_mut()) {
        statement.ordinal = ordinal;
        if purpose == (Purpose::Rebuild { recheck: true }) {
            match drift::is_held_back(scratch, source, statement.fetch_id).await {
                Ok(None) => {}
                Ok(Some(reason)) => {
                    held_back.insert(statement.manifest_key.clone(), reason);
                    continue;
                }
                Err(not_done) => return Ok(Err(not_done.reason())),
            }
        }
        let staged =
            stage::fetch(transaction, scratch, source, statement, purpose, &mut staging).await?;
        let told = std::mem::take(&mut staging.told);
        match staged {
            Ok(()) => {}
            Err(NotDone::Quarantined(reason)) => {
                held_back.insert(statement.manifest_key.clone(), reason);
                if scratch.is_kept {
                    checks::results(transaction, scratch, source, &told, &|_| false).await?;
                }
            }
            Err(not_done) => {
                let key = &statement.manifest_key;
                return Ok(Err(format!("the published fetch `{key}`: {}", not_done.reason())));
            }
        }
    }
    for model in scratch.plan.models_of(&source.id) {
        let staged = difference::Staged::count(transaction, model, batch.len()).await?;
        let written =
            difference::write(transaction, scratch, source, model, &staged, false).await?;
        if let Err(not_done) = written {
            return Ok(Err(not_done.reason()));
        }
    }
    Ok(Ok(held_back))
}

/// A table to compare: a model's, or its history.
struct Compared {
    table: String,
    is_history: bool,
    key: Vec<String>,
    /// The columns in which its rows can differ.
    values: Vec<String>,
    /// All columns that are taken over.
    columns: Vec<String>,
}

impl Compared {
    fn of(model: &Model) -> Vec<Self> {
        let values: Vec<String> = difference::compared(model).map(str::to_owned).collect();
        let key: Vec<String> = model.row_key().map(str::to_owned).collect();
        let with = |values: &[String], more: &[&str]| {
            let more = more.iter().map(|name| (*name).to_owned());
            let mut columns: Vec<String> = values.to_vec();
            columns.extend(more.filter(|name| !values.contains(name)));
            columns
        };
        let mut all = vec![Self {
            table: model.table.clone(),
            is_history: false,
            key: key.clone(),
            columns: with(&values, &["_fetch_id", "_fetch_row"]),
            values: values.clone(),
        }];
        if model.history {
            all.push(Self {
                table: model.history_table(),
                is_history: true,
                key: with(&key, &["_manifest_key"]),
                values: with(&values, &["_present"]),
                columns: with(
                    &values,
                    &[
                        "_present",
                        "_manifest_key",
                        "_data_date",
                        "_fetched_at",
                        "_fetch_id",
                        "_fetch_row",
                    ],
                ),
            });
        }
        all
    }
}

/// Finds what differs into `differing_<table>`, and counts it.
async fn compare(
    transaction: &Transaction<'_>,
    scratch: &Context<'_>,
    schema: &str,
    model: &Model,
    compared: &Compared,
    request: &Rebuild,
) -> Result<Rebuilt, WarehouseError> {
    let doing = WarehouseError::statement("comparing with the raw store");
    let key = list("", compared.key.iter().map(String::as_str));
    let image = |alias: &str| {
        let columns = list(&format!("{alias}."), compared.values.iter().map(String::as_str));
        format!("(select row({columns}))")
    };
    let mut range = Vec::new();
    for (bound, sign) in [(request.from, ">="), (request.to, "<=")] {
        if let Some(date) = bound {
            let date = literal(&date.to_string());
            range.push(format!(
                "and (was.data_date {sign} {date} or is_now.data_date {sign} {date})"
            ));
        }
    }
    let name = ident(&format!("differing_{}", compared.table));
    // The tables of the ledger have columns of their own names.
    let keys: Vec<String> = compared
        .key
        .iter()
        .map(|name| format!("coalesce(published.{0}, made.{0}) as {0}", ident(name)))
        .collect();
    // A row of the table says who wrote it, one of a history the fetch that said it.
    let written_by = if compared.is_history { "was.publish_id" } else { "published._publish_id" };
    let find = format!(
        "create temporary table {name} on commit drop as
         with older as materialized (
             select publish_id from ({}) as said where by_model or by_source or by_program
         )
         select {}, published._fetch_id is null as _missing, made._fetch_id is null as _extra,
                coalesce({written_by}, is_now.publish_id) in (select publish_id from older) as _older
         from {published} as published full join {made} as made using ({key})
         left join daymark.fetch as was on was.fetch_id = published._fetch_id
         left join daymark.fetch as is_now on is_now.fetch_id = made._fetch_id
         where (published._fetch_id is null or made._fetch_id is null
                or {} operator(pg_catalog.*<>) {}) {}",
        older::publishes(scratch.plan, model),
        keys.join(", "),
        image("published"),
        image("made"),
        range.join(" "),
        published = qualified(schema, &compared.table),
        made = qualified(&scratch.schema, &compared.table),
    );
    transaction.batch_execute(&find).await.map_err(&doing)?;
    let row = transaction
        .query_one(
            &format!(
                "select count(*) filter (where _missing), count(*) filter (where _extra),
                        count(*) filter (where not _missing and not _extra),
                        count(*) filter (where _older),
                        (select array_agg(shown) from (
                             select ({key})::text as shown from pg_temp.{name} order by {key} limit {SHOWN}
                         ) as named)
                 from pg_temp.{name}"
            ),
            &[],
        )
        .await
        .map_err(&doing)?;
    Ok(Rebuilt {
        missing: row.get(0),
        extra: row.get(1),
        different: row.get(2),
        by_older_model: row.get(3),
        keys: row.get::<_, Option<Vec<String>>>(4).unwrap_or_default(),
    })
}

/// Writes what differs.
async fn apply(
    transaction: &Transaction<'_>,
    (made_in, schema): (&str, &str),
    compared: &Compared,
    publish_id: i64,
    rebuilt: &Rebuilt,
) -> Result<(), WarehouseError> {
    let table = qualified(schema, &compared.table);
    let made = qualified(made_in, &compared.table);
    let differing = format!("pg_temp.{}", ident(&format!("differing_{}", compared.table)));
    let key = list("", compared.key.iter().map(String::as_str));
    let columns = list("", compared.columns.iter().map(String::as_str));
    let same = same(compared.key.iter().map(String::as_str), "published", "differing");
    let numbered = if compared.is_history { ("", "") } else { (", _publish_id", ", $1::bigint") };
    // What differs goes, and comes back as the raw store gives it.
    let delete = format!(
        "delete from {table} as published using {differing} as differing
         where not differing._missing and {same}"
    );
    let insert = format!(
        "insert into {table} ({columns}{}) select {columns}{} from {made} as made
         join (select {key} from {differing} where not _extra) as differing using ({key})",
        numbered.0, numbered.1
    );
    let number: [&(dyn ToSql + Sync); 1] = [&publish_id];
    let params = if compared.is_history { &[][..] } else { &number[..] };
    for (statement, params, expected, doing) in [
        (delete, &[][..], rebuilt.different + rebuilt.extra, "deleting rows that differ"),
        (insert, params, rebuilt.different + rebuilt.missing, "inserting rows as rebuilt"),
    ] {
        let expected = u64::try_from(expected).expect("count(*) is not negative");
        let touched = transaction
            .execute(&statement, params)
            .await
            .map_err(WarehouseError::statement(doing))?;
        if touched != expected {
            return Err(WarehouseError::RowCount { doing, touched, expected });
        }
    }
    Ok(())
}
