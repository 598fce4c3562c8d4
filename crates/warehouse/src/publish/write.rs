//! Writing fetches of one source: staged, checked, and written as the one difference of each table.
//!
//! In: fetches that are shown, in a savepoint. Out: what became of each and of the tables, or why they could not
//! be written together. Deliberately absent: what the ledger is told (`source`).

use std::collections::BTreeMap;

use daymark_plan::Source;
use tokio_postgres::Transaction;
use tokio_postgres::error::SqlState;

use super::checks::Purpose;
use super::copy::Staging;
use super::difference::{self, TableCounts};
use super::{
    CheckResult, Context, FetchResult, NotDone, Progress, Statement, at_once, entities, record,
    stage,
};
use crate::error::{WarehouseError, said_of_rows};

/// What was written of one source.
#[derive(Default)]
pub(super) struct Written {
    pub(super) fetches: BTreeMap<String, FetchResult>,
    pub(super) tables: BTreeMap<String, TableCounts>,
    pub(super) checks: Vec<CheckResult>,
}

impl Written {
    pub(super) fn add(&mut self, other: Self) {
        self.fetches.extend(other.fetches);
        for (table, counts) in other.tables {
            self.tables.entry(table).or_default().add(counts);
        }
        self.checks.extend(other.checks);
    }
}

/// Stages the fetches, then writes the one difference of each table. The inner error is why the
/// source as a whole could not be written. If `tried_at_once`, fetches that need no staging are settled
/// without; nothing comes back when it turned out that they needed it.
pub(super) async fn write_source(
    transaction: &mut Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    mut accepted: Vec<Statement>,
    tried_at_once: bool,
) -> Result<Result<Option<Written>, NotDone>, WarehouseError> {
    let mut written = Written::default();
    let mut staging = match stage::create_tables(transaction, context, source).await? {
        Ok(staging) => staging,
        Err(not_done) => return Ok(Err(not_done)),
    };
    accepted.sort_by_cached_key(|statement| statement.order_key(source.supersede));
    let mut newer = record::published(transaction, source, accepted.first()).await?;
    number(source, &mut accepted, &mut newer);

    // What a late fetch says may have to yield to newer ones, which are staged with it.
    let mut at_once = if tried_at_once && newer.is_empty() {
        at_once::AtOnce::new(context, source)
    } else {
        None
    };
    let mut staged = Vec::new();
    staging.expect(&accepted);
    for statement in accepted {
        if let Some(at_once) = &mut at_once
            && at_once.settle(transaction, context, source, &statement, &mut staging).await?
        {
            written.fetches.insert(statement.manifest_key, FetchResult::Published);
            continue;
        }
        let (purpose, staging) = (Purpose::Publish, &mut staging);
        let done = stage::fetch(transaction, context, source, &statement, purpose, staging).await?;
        let result = done.map_or_else(FetchResult::from, |()| FetchResult::Published);
        written.fetches.insert(statement.manifest_key.clone(), result.clone());
        if result == FetchResult::Published {
            staged.push(statement);
        }
    }
    written.checks.append(&mut staging.told);
    if let Some(at_once) = &mut at_once {
        at_once.close(transaction, &mut staging).await?;
    }
    if let Some(at_once) = &at_once
        && !at_once.are_apart(transaction, context, source, !staged.is_empty()).await?
    {
        return Ok(Ok(None));
    }
    let mut compared = entities::conflicts(transaction, context, source, &staged).await?;
    if !compared.failed.is_empty() {
        compared.beside.clear();
    }
    for (failed, reason) in compared.failed {
        stage::remove(transaction, context, source, &[failed]).await?;
        let at = staged.iter().position(|statement| statement.ordinal == failed);
        let statement = staged.remove(at.expect("what fails is staged"));
        written.fetches.insert(statement.manifest_key, FetchResult::Failed(reason));
    }
    let oldest = staged.first().map(|oldest| oldest.ordinal);
    if oldest.is_none() && !at_once.as_ref().is_some_and(at_once::AtOnce::has_settled) {
        return Ok(Ok(Some(written)));
    }
    newer.retain(|published| oldest.is_some_and(|oldest| published.ordinal > oldest));
    let reapplied = match apply_again(transaction, context, source, &newer, staging).await? {
        Ok(reapplied) => reapplied,
        Err(not_done) => return Ok(Err(not_done)),
    };
    let fetches = staged.len() + if reapplied { newer.len() } else { 0 };
    for model in context.plan.models_of(&source.id) {
        (context.watch)(Progress::Writing { table: model.table.clone() });
        let mut counts = at_once.as_ref().map_or_else(TableCounts::default, |at| at.counts(model));
        if fetches > 0 {
            let mut staged = difference::Staged::count(transaction, model, fetches).await?;
            if !reapplied {
                staged.beside = compared.beside.remove(&model.table);
            }
            match difference::write(transaction, context, source, model, &staged, reapplied).await?
            {
                Ok(of_staged) => counts.add(of_staged),
                Err(not_done) => return Ok(Err(not_done)),
            }
        }
        written.tables.insert(model.table.clone(), counts);
    }
    // A deferred constraint speaks up here, where it is this source's and not the commit's.
    match transaction.batch_execute("set constraints all immediate").await {
        Ok(()) => Ok(Ok(Some(written))),
        // The row it refers to may come with a later fetch: what the tables hold in the end must not
        // depend on which came first.
        Err(error) if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION) => said_of_rows(error)
            .map(|reason| Err(NotDone::Postponed(reason)))
            .map_err(WarehouseError::statement("checking the references")),
        Err(error) => said_of_rows(error)
            .map(|reason| Err(NotDone::Failed(reason)))
            .map_err(WarehouseError::statement("checking the constraints")),
    }
}

/// Numbers fetches by their common order.
fn number(source: &Source, accepted: &mut [Statement], published: &mut [Statement]) {
    let mut all: Vec<&mut Statement> = accepted.iter_mut().chain(published).collect();
    all.sort_by_cached_key(|statement| statement.order_key(source.supersede));
    for (ordinal, statement) in (0..).zip(all) {
        statement.ordinal = ordinal;
    }
}

/// Stages the published fetches that are newer than the oldest staged one as well, where that one is late
/// and would overwrite or delete what they said. An unchanged row keeps the fetch that first said its
/// value, so the row alone cannot tell who is newer; and what a newer fetch left out must stay out. Gives
/// whether it was needed.
async fn apply_again(
    transaction: &mut Transaction<'_>,
    context: &Context<'_>,
    source: &Source,
    newer: &[Statement],
    mut staging: Staging,
) -> Result<Result<bool, NotDone>, WarehouseError> {
    if newer.is_empty() {
        return Ok(Ok(false));
    }
    let always = context.plan.models_of(&source.id).any(|model| model.write.deletes());
    if !always {
        match difference::overwrites(transaction, context, source).await? {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(false)),
            Err(not_done) => return Ok(Err(not_done)),
        }
    }
    staging.expect(newer);
    for statement in newer {
        let (purpose, staging) = (Purpose::Again, &mut staging);
        let again = stage::fetch(transaction, context, source, statement, purpose, staging).await?;
        if let Err(not_done) = again {
            return Ok(Err(NotDone::Postponed(format!(
                "the fetch is older than `{}`, which had to be applied again and failed: {}",
                statement.manifest_key,
                not_done.reason()
            ))));
        }
    }
    Ok(Ok(true))
}
