//! What PostgreSQL says of all SQL of a folder, over tables without a row.
//!
//! In: a plan, and a database with nothing in it. Out: every [`Problem`] at once, in the words and at the
//! places that `daymark validate` has for them. All is made in one transaction that is rolled back: contracts,
//! histories, views; then queries, checks and the pages' queries are prepared. What fails only because
//! something of the folder could not be made is told there and nowhere else. Deliberately absent: rows.

use std::collections::{BTreeMap, BTreeSet};

use daymark_plan::{Plan, Problem, Reads, Severity};

use super::query::{self, check_checks, check_query, is_told_elsewhere, kinds_of, prepared};
use super::{create_raw, make_history, make_table, marts, search_path, shape};
use crate::error::{Failure, WarehouseError};
use crate::session::Session;
use crate::sql::qualified;

/// A query of a page, with parameters for its dates.
#[derive(Debug, Clone)]
pub struct PageQuery {
    /// The file it stands in.
    pub file: String,
    /// The line it starts on.
    pub line: usize,
    /// Its SQL.
    pub sql: String,
}

/// Judges all SQL of a folder.
pub async fn judge(
    session: &mut Session,
    plan: &Plan,
    pages: &[PageQuery],
) -> Result<Vec<Problem>, WarehouseError> {
    let schema = session.schema().to_owned();
    let doing = WarehouseError::statement("judging the folder's SQL");
    let mut transaction = session.client().transaction().await.map_err(&doing)?;
    let mut failures: Vec<Failure> = Vec::new();
    let mut kinds: BTreeMap<String, query::Kinds> = BTreeMap::new();
    transaction.batch_execute(&search_path(&schema)).await.map_err(&doing)?;
    for source in &plan.sources {
        transaction.batch_execute(&create_raw(source)).await.map_err(&doing)?;
        for model in plan.models_of(&source.id) {
            let table = qualified(&schema, &model.table);
            let savepoint = transaction.savepoint("one_model").await.map_err(&doing)?;
            let mut made = make_table(&savepoint, model, &table).await?;
            if made.is_ok() && model.history {
                made = make_history(&savepoint, &schema, model).await?;
            }
            match made {
                Ok(()) => savepoint.commit().await.map_err(&doing)?,
                Err(failure) => {
                    savepoint.rollback().await.map_err(&doing)?;
                    failures.push(failure);
                    continue;
                }
            }
            let shape = shape::read(&transaction, &table).await?;
            failures.extend(check_query(&transaction, model, &shape).await?);
            kinds.insert(model.table.clone(), kinds_of(model, &shape));
        }
    }
    marts::ensure(&mut transaction, &schema, &plan.marts, BTreeSet::new(), &mut failures).await?;
    transaction.batch_execute(&search_path(&schema)).await.map_err(&doing)?;
    for model in &plan.models {
        if let Some(kinds) = kinds.get(&model.table) {
            let all = |_: Severity, _: Reads| true;
            failures.extend(check_checks(&transaction, plan, model, kinds, &all).await?);
        }
    }
    for page in pages {
        if let Err(error) = prepared(&transaction, &page.sql).await? {
            let failure = Failure::of(error, &page.file, &page.sql, "", page.line);
            failures.push(failure.map_err(&doing)?);
        }
    }
    transaction.rollback().await.map_err(&doing)?;
    failures.retain(|failure| !is_told_elsewhere(plan, failure));
    let mut problems: Vec<Problem> = failures.into_iter().map(problem).collect();
    problems.sort();
    Ok(problems)
}

fn problem(failure: Failure) -> Problem {
    let mut problem = Problem::new(&failure.file, failure.line, failure.message);
    if failure.column > 0 {
        problem = problem.at_column(failure.column);
    }
    match failure.hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}
