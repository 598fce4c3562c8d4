//! What would bring a table to its contract, and what that does to its rows.
//!
//! In: the shape the contract makes and the shape the table has, both as PostgreSQL stores them. Out:
//! [`Change`]s with their DDL, the rows they touch and what they lose. Deliberately absent: running any
//! of it (`contract`).

use daymark_plan::Model;
use tokio_postgres::Transaction;

use super::shape::{ColumnShape, ConstraintShape, Shape};
use crate::error::{WarehouseError, said_of_rows};
use crate::sql::{ident, list};

/// What a change needs, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Needs {
    /// Nothing: the next run makes it.
    Nothing,
    /// `daymark plan --apply`.
    Apply,
    /// `daymark plan --apply --allow-data-loss`.
    DataLoss,
    /// The rows there are do not allow it.
    OtherRows,
}

/// A number of rows in words.
fn rows(count: i64) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}

/// One difference between a contract and its table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// The table.
    pub table: String,
    /// The model's file.
    pub file: String,
    /// The line of the contract.
    pub line: usize,
    /// What changes: a lower-case fragment with values in backticks.
    pub what: String,
    /// The DDL.
    pub sql: String,
    /// What it needs.
    pub needs: Needs,
    /// What it does to the rows there are, if anything.
    pub rows: Option<String>,
    /// Whether views on the table would be in the way.
    #[serde(skip)]
    pub(super) moves_views: bool,
}

impl Change {
    /// A table that is not there yet.
    pub(super) fn create(model: &Model, table: &str, sql: String) -> Self {
        Self {
            table: table.to_owned(),
            file: model.file.clone(),
            line: 0,
            what: format!("the new table `{table}`"),
            sql,
            needs: Needs::Nothing,
            rows: None,
            moves_views: false,
        }
    }

    /// A mart that its file changes. It holds nothing that could not be worked out again.
    pub(super) fn of_mart(name: &str, file: &str, line: usize, what: String, sql: String) -> Self {
        Self {
            table: name.to_owned(),
            file: file.to_owned(),
            line,
            what,
            sql,
            needs: Needs::Nothing,
            rows: None,
            moves_views: false,
        }
    }

    /// A `write` that makes other keys of the same fetches.
    pub(super) fn of_write(model: &Model, was: &str) -> Self {
        Self {
            table: model.table.clone(),
            file: model.file.clone(),
            line: model.columns_line,
            what: format!("`write` changed from `{was}` to `{}`", model.write.as_str()),
            sql: String::new(),
            needs: Needs::OtherRows,
            rows: Some("its rows have other keys, so give the model a new table name".to_owned()),
            moves_views: false,
        }
    }
}

/// Compares a table with its contract.
pub(super) struct Comparison<'c, 't> {
    pub(super) transaction: &'c mut Transaction<'t>,
    pub(super) model: &'c Model,
    /// The table's quoted, qualified name.
    pub(super) table: &'c str,
    pub(super) wanted: &'c Shape,
    pub(super) found: &'c Shape,
    /// The contract's columns when it was last applied.
    pub(super) known: &'c [String],
    /// Whether the table is the model's history.
    pub(super) is_history: bool,
}

/// What is known of a change before the rows are asked.
struct Draft {
    line: usize,
    what: String,
    sql: String,
    needs: Needs,
    rows: Option<String>,
    moves_views: bool,
}

impl Draft {
    fn new(line: usize, what: String, sql: String, needs: Needs) -> Self {
        Self { line, what, sql, needs, rows: None, moves_views: false }
    }
}

impl Comparison<'_, '_> {
    /// Every difference, in an order it can be applied in.
    pub(super) async fn changes(mut self) -> Result<Vec<Change>, WarehouseError> {
        let mut drafts = self.removed_constraints();
        for column in &self.wanted.columns {
            match self.found.column(&column.name) {
                None => drafts.push(self.added_column(column).await?),
                Some(found) => drafts.extend(self.altered_column(column, found).await?),
            }
        }
        for column in &self.found.columns {
            let ours = self.known.contains(&column.name);
            if ours && self.wanted.column(&column.name).is_none() {
                drafts.push(self.dropped_column(column).await?);
            }
        }
        drafts.extend(self.added_constraints().await?);
        if !self.is_history {
            drafts.extend(self.indexes());
            drafts.extend(self.comments());
        }
        let (table, place) = if self.is_history {
            (self.model.history_table(), "in the history, ")
        } else {
            (self.model.table.clone(), "")
        };
        let change = |draft: Draft| Change {
            table: table.clone(),
            file: self.model.file.clone(),
            line: draft.line,
            what: format!("{place}{}", draft.what),
            sql: draft.sql,
            needs: draft.needs,
            rows: draft.rows,
            moves_views: draft.moves_views,
        };
        Ok(drafts.into_iter().map(change).collect())
    }

    fn line_of(&self, name: &str) -> usize {
        let column = self.model.columns.iter().find(|column| column.name == name);
        column.map_or(self.model.columns_line, |column| column.line)
    }

    /// The line of the column that says it; the key is of none.
    fn line_of_constraint(&self, constraint: &ConstraintShape) -> usize {
        match constraint.columns.as_slice() {
            [column] if constraint.kind != "p" => self.line_of(column),
            _ => self.model.columns_line,
        }
    }

    /// The words of a column that the contract has and the table lacks.
    fn definition(&self, column: &ColumnShape) -> String {
        // A history has the types alone.
        let own = self.model.columns.iter().find(|own| own.name == column.name);
        own.filter(|_| !self.is_history).map_or_else(
            || {
                let not_null = if column.not_null { " not null" } else { "" };
                let default = column.default.as_ref().map(|text| format!(" default {text}"));
                format!("{}{not_null}{}", column.kind, default.unwrap_or_default())
            },
            |own| own.definition.replace('\n', " "),
        )
    }

    async fn added_column(&mut self, column: &ColumnShape) -> Result<Draft, WarehouseError> {
        let definition = self.definition(column);
        let what = format!("the new column `{}` `{definition}`", column.name);
        let sql =
            format!("alter table {} add column {} {definition}", self.table, ident(&column.name));
        let mut draft = Draft::new(self.line_of(&column.name), what, sql, Needs::Nothing);
        // The model's `write` or `settled` brings one, with a value for the rows there are.
        let is_system = column.name.starts_with('_') && column.default.is_some();
        if is_system {
            draft.what = format!("the new system column `{}`", column.name);
        } else if column.not_null {
            draft.needs = Needs::Apply;
            let rows = self.count("true").await?.unwrap_or_default();
            if rows > 0 && column.default.is_none() {
                draft.needs = Needs::OtherRows;
                draft.rows = Some(format!(
                    "{rows} rows have no value for it: add it without `not null`, run `daymark rebuild`, then \
                     make it `not null`"
                ));
            }
        } else if column.default.is_none() {
            draft.rows =
                Some("it is null in the rows there are; `daymark rebuild` fills it".to_owned());
        }
        Ok(draft)
    }

    async fn dropped_column(&mut self, column: &ColumnShape) -> Result<Draft, WarehouseError> {
        let name = ident(&column.name);
        let what = if self.is_history {
            format!("the column `{}` goes too", column.name)
        } else {
            format!(
                "the table `{}` has the column `{}`, which the contract lacks",
                self.model.table, column.name
            )
        };
        let sql = format!("alter table {} drop column {name}", self.table);
        let mut draft = Draft::new(self.model.columns_line, what, sql, Needs::Apply);
        draft.moves_views = true;
        let values = self.count(&format!("{name} is not null")).await?.unwrap_or_default();
        if values > 0 {
            draft.needs = Needs::DataLoss;
            draft.rows =
                Some(format!("the values of `{}` in {} are lost", column.name, rows(values)));
        }
        Ok(draft)
    }

    async fn altered_column(
        &mut self,
        wanted: &ColumnShape,
        found: &ColumnShape,
    ) -> Result<Vec<Draft>, WarehouseError> {
        let (line, column) = (self.line_of(&wanted.name), &wanted.name);
        let alter = format!("alter table {} alter column {}", self.table, ident(column));
        let mut drafts = Vec::new();
        if wanted.generated != found.generated {
            let what = format!("the column `{column}` is generated another way");
            let mut draft = Draft::new(line, what, String::new(), Needs::OtherRows);
            draft.rows = Some("give the model a new table name".to_owned());
            return Ok(vec![draft]);
        }
        if wanted.kind != found.kind {
            drafts.push(self.retyped_column(wanted, found, &alter, line).await?);
        }
        if wanted.not_null && !found.not_null {
            let what = format!("the column `{column}` becomes `not null`");
            let mut draft = Draft::new(line, what, format!("{alter} set not null"), Needs::Apply);
            let nulls =
                self.count(&format!("{} is null", ident(column))).await?.unwrap_or_default();
            if nulls > 0 {
                draft.needs = Needs::OtherRows;
                let nulls = rows(nulls);
                draft.rows = Some(format!("it is null in {nulls}; `daymark rebuild` fills it"));
            }
            drafts.push(draft);
        } else if found.not_null && !wanted.not_null {
            let what = format!("the column `{column}` may be null");
            drafts.push(Draft::new(line, what, format!("{alter} drop not null"), Needs::Nothing));
        }
        if wanted.default != found.default {
            let (what, sql) = match &wanted.default {
                Some(text) => (
                    format!("the default of `{column}` becomes `{text}`"),
                    format!("{alter} set default {text}"),
                ),
                None => (
                    format!("the column `{column}` has no default"),
                    format!("{alter} drop default"),
                ),
            };
            drafts.push(Draft::new(line, what, sql, Needs::Apply));
        }
        Ok(drafts)
    }

    async fn retyped_column(
        &mut self,
        wanted: &ColumnShape,
        found: &ColumnShape,
        alter: &str,
        line: usize,
    ) -> Result<Draft, WarehouseError> {
        let (column, from, to) = (ident(&wanted.name), &found.kind, &wanted.kind);
        let what = format!("the column `{}` changed from `{from}` to `{to}`", wanted.name);
        // A collation is no part of a cast.
        let bare = |kind: &str| kind.split(" collate ").next().unwrap_or_default().to_owned();
        let (from, bare_to) = (bare(from), bare(to));
        let sql = format!("{alter} type {to} using {column}::{bare_to}");
        let mut draft = Draft::new(line, what, sql, Needs::Apply);
        draft.moves_views = true;
        if self.keeps_the_rows(found, wanted).await? {
            draft.needs = Needs::Nothing;
            return Ok(draft);
        }
        let other = format!("({column}::{bare_to})::{from} is distinct from {column}");
        match self.count(&other).await? {
            Ok(0) => {
                let all = rows(self.count("true").await?.unwrap_or_default());
                draft.rows = Some(format!("{all} to be written anew, none loses a value"));
            }
            Ok(losing) => {
                draft.needs = Needs::DataLoss;
                draft.rows = Some(format!(
                    "the values of `{}` in {} lose what `{to}` does not hold",
                    wanted.name,
                    rows(losing)
                ));
            }
            Err(said) => {
                draft.needs = Needs::OtherRows;
                draft.rows = Some(format!("there are values that cannot become `{to}`: {said}"));
            }
        }
        Ok(draft)
    }

    /// Whether PostgreSQL takes the stored values for the new type's as they are: a wider type of the
    /// same kind, found out on an empty table.
    async fn keeps_the_rows(
        &mut self,
        found: &ColumnShape,
        wanted: &ColumnShape,
    ) -> Result<bool, WarehouseError> {
        let doing = WarehouseError::statement("looking whether a type is wider");
        let same_bits: bool = self
            .transaction
            .query_one(
                "select $1::oid = $2::oid or exists (
                     select 1 from pg_cast where castsource = $1 and casttarget = $2
                     and castmethod = 'b' and castcontext = 'i')",
                &[&found.type_oid, &wanted.type_oid],
            )
            .await
            .map_err(&doing)?
            .get(0);
        if !same_bits || found.kind.contains(" collate ") || wanted.kind.contains(" collate ") {
            return Ok(false);
        }
        let probe = self.transaction.savepoint("probe").await.map_err(&doing)?;
        let file = "select pg_relation_filenode('pg_temp.daymark_probe'::regclass)";
        probe
            .batch_execute(&format!("create temporary table daymark_probe (c {})", found.kind))
            .await
            .map_err(&doing)?;
        let before: u32 = probe.query_one(file, &[]).await.map_err(&doing)?.get(0);
        let alter =
            format!("alter table pg_temp.daymark_probe alter column c type {}", wanted.kind);
        probe.batch_execute(&alter).await.map_err(&doing)?;
        let kept: u32 = probe.query_one(file, &[]).await.map_err(&doing)?.get(0);
        probe.rollback().await.map_err(&doing)?;
        Ok(before == kept)
    }

    fn removed_constraints(&self) -> Vec<Draft> {
        let gone =
            self.found.constraints.iter().filter(|found| {
                !self.wanted.constraints.iter().any(|wanted| {
                    wanted.kind == found.kind && wanted.definition == found.definition
                })
            });
        gone.map(|found| {
            let what = match found.kind.as_str() {
                "p" => format!("the key is no longer ({})", found.columns.join(", ")),
                "f" => format!("the contract lacks the reference `{}`", found.name),
                _ => format!("the contract lacks `{}`", found.definition),
            };
            let sql = format!("alter table {} drop constraint {}", self.table, ident(&found.name));
            Draft::new(self.line_of_constraint(found), what, sql, Needs::Apply)
        })
        .collect()
    }

    async fn added_constraints(&mut self) -> Result<Vec<Draft>, WarehouseError> {
        let mut drafts = Vec::new();
        for wanted in &self.wanted.constraints {
            let there =
                self.found.constraints.iter().any(|found| {
                    wanted.kind == found.kind && wanted.definition == found.definition
                });
            // What a new column says of itself comes with the column.
            let with_column = wanted.kind != "p"
                && wanted.columns.iter().any(|name| self.found.column(name).is_none());
            if there || with_column {
                continue;
            }
            let what = match wanted.kind.as_str() {
                "p" => format!("the key becomes ({})", wanted.columns.join(", ")),
                "f" => format!("the new reference `{}`", wanted.name),
                _ => format!("the new constraint `{}`", wanted.definition),
            };
            let name = ident(&wanted.name);
            let definition = &wanted.definition;
            let sql = format!("alter table {} add constraint {name} {definition}", self.table);
            let mut draft = Draft::new(self.line_of_constraint(wanted), what, sql, Needs::Apply);
            match (wanted.kind.as_str(), &wanted.condition) {
                ("c", Some(condition)) => match self.count(&format!("not ({condition})")).await? {
                    Ok(0) | Err(_) => {}
                    Ok(rows) => {
                        draft.needs = Needs::OtherRows;
                        draft.rows = Some(format!("{rows} rows break it"));
                    }
                },
                ("p", _) => {
                    let twice = self.twice(&wanted.columns).await?;
                    draft.rows = Some(if twice > 0 {
                        draft.needs = Needs::OtherRows;
                        format!(
                            "{twice} rows have a key that another has: give the model a new table name"
                        )
                    } else {
                        "which rows there are may change with the key: run `daymark rebuild` after it"
                            .to_owned()
                    });
                }
                _ => {
                    draft.needs = Needs::OtherRows;
                    draft.rows = Some(
                        "a reference is made with its column or its table: give the model a new table name"
                            .to_owned(),
                    );
                }
            }
            drafts.push(draft);
        }
        Ok(drafts)
    }

    fn indexes(&self) -> Vec<Draft> {
        let mut drafts = Vec::new();
        let line = self.model.columns_line;
        for index in self.found.indexes.iter().filter(|index| index.is_ours) {
            let stays =
                self.wanted.indexes.iter().any(|wanted| {
                    wanted.name == index.name && wanted.definition == index.definition
                });
            if !stays {
                let what =
                    format!("the contract lacks the index `{}` ({})", index.name, index.definition);
                // An index lies in the schema of its table.
                let schema = self.table.rsplit_once('.').map_or("", |(schema, _)| schema);
                let sql = format!("drop index {schema}.{}", ident(&index.name));
                drafts.push(Draft::new(line, what, sql, Needs::Apply));
            }
        }
        for index in &self.model.indexes {
            let wanted = self.wanted.indexes.iter().find(|wanted| wanted.name == index.name);
            let there = self.found.indexes.iter().find(|found| found.name == index.name);
            if there
                .zip(wanted)
                .is_some_and(|(found, wanted)| found.definition == wanted.definition)
            {
                continue;
            }
            let mut draft = Draft::new(
                index.line,
                format!("the new index `{}` on ({})", index.name, index.columns.join(", ")),
                super::create_index(index, self.table),
                // One of this name that is not ours is PostgreSQL's to refuse, by its name.
                if there.is_some() { Needs::Apply } else { Needs::Nothing },
            );
            if there.is_some_and(|found| !found.is_ours) {
                draft.needs = Needs::OtherRows;
                draft.rows = Some("an index of this name exists and is not daymark's".to_owned());
            }
            drafts.push(draft);
        }
        drafts
    }

    fn comments(&self) -> Vec<Draft> {
        let mut drafts = Vec::new();
        if self.wanted.comment != self.found.comment && self.model.description.is_some() {
            let sql =
                super::comment_on(&format!("table {}", self.table), self.wanted.comment.as_deref());
            let what = "the table's comment changed".to_owned();
            drafts.push(Draft::new(0, what, sql, Needs::Nothing));
        }
        for wanted in &self.wanted.columns {
            let found = self.found.column(&wanted.name).and_then(|found| found.comment.as_ref());
            if wanted.comment.is_some() && wanted.comment.as_ref() != found {
                let place = format!("column {}.{}", self.table, ident(&wanted.name));
                let sql = super::comment_on(&place, wanted.comment.as_deref());
                let what = format!("the comment of `{}` changed", wanted.name);
                drafts.push(Draft::new(self.line_of(&wanted.name), what, sql, Needs::Nothing));
            }
        }
        drafts
    }

    /// How many rows have the same values in some columns as a row before them, as far as the table has
    /// these columns.
    async fn twice(&mut self, columns: &[String]) -> Result<i64, WarehouseError> {
        let there: Vec<&str> = columns
            .iter()
            .map(String::as_str)
            .filter(|name| self.found.column(name).is_some())
            .collect();
        // A new column is the same in all rows.
        let by = if there.is_empty() { "true".to_owned() } else { list("", there) };
        let query = format!(
            "select coalesce(sum(n - 1), 0)::bigint
             from (select count(*) as n from {} group by {by}) as groups",
            self.table
        );
        let doing = WarehouseError::statement("looking for a key twice");
        Ok(self.transaction.query_one(&query, &[]).await.map_err(doing)?.get(0))
    }

    /// How many rows meet a condition, or what PostgreSQL said of asking.
    async fn count(&mut self, condition: &str) -> Result<Result<i64, String>, WarehouseError> {
        let doing = WarehouseError::statement("counting the rows a change touches");
        let savepoint = self.transaction.savepoint("count").await.map_err(&doing)?;
        let query = format!("select count(*) from {} where {condition}", self.table);
        let counted = savepoint.query_one(&query, &[]).await;
        savepoint.rollback().await.map_err(&doing)?;
        match counted {
            Ok(row) => Ok(Ok(row.get(0))),
            Err(error) => said_of_rows(error).map(Err).map_err(&doing),
        }
    }
}
