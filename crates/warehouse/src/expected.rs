//! What a test expects of tables, compared with what stands in them.
//!
//! In: an expectation of a test's file. Out: the [`Difference`]s, none when it is met. PostgreSQL reads the
//! expected values by the columns' types and compares them, so that `1.50` is `1.5` and a date is a date.
//! Deliberately absent: how differences look.

use daymark_plan::{
    ExpectedRejects, ExpectedRow, ExpectedRows, ExpectedValue, Relation, did_you_mean,
};
use serde::Serialize;
use tokio_postgres::Transaction;

use crate::contract::search_path;
use crate::error::{WarehouseError, db_message};
use crate::session::Session;
use crate::sql::{ident, literal, qualified};

/// How many rows that nobody expected are shown; all are counted.
const SHOWN: i64 = 10;

/// The number of a query's row, where its rows are taken in their order.
const POSITION: &str = "_position";

/// Something that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The line of the test's file that expects it.
    pub line: usize,
    /// The table or view; none of a query and of rejects.
    pub table: Option<String>,
    /// The key of the row, as column and value, in JSON's words.
    pub key: Vec<(String, String)>,
    /// What is otherwise.
    #[serde(flatten)]
    pub found: Found,
}

/// How something differs from what is expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "found", rename_all = "snake_case")]
pub enum Found {
    /// There is a row with this key, with other values.
    Values {
        /// The columns that differ.
        columns: Vec<ColumnDifference>,
    },
    /// There is no row with this key; beside it the keys of some that are there.
    NoRow,
    /// Several rows have this key.
    Several {
        /// How many.
        rows: i64,
    },
    /// A row that is not to be there.
    Present,
    /// Rows that nobody expects.
    Others {
        /// How many.
        rows: i64,
        /// The first of them, as JSON.
        sample: Vec<String>,
    },
    /// Another number of rows.
    Count {
        /// As many as expected.
        expected: String,
        /// As many as there are.
        got: i64,
        /// What was found instead.
        instead: Vec<String>,
    },
    /// PostgreSQL cannot say: no such column, or a value of another type.
    Refused {
        /// Why.
        message: String,
    },
}

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnDifference {
    /// The column.
    pub column: String,
    /// The value expected, in JSON's words.
    pub expected: String,
    /// The value there is.
    pub got: String,
}

/// Compares what is expected of rows with the rows there are.
pub async fn rows(
    session: &mut Session,
    expected: &ExpectedRows,
) -> Result<Vec<Difference>, WarehouseError> {
    let doing = WarehouseError::statement("comparing rows");
    let schema = session.schema().to_owned();
    let transaction = session.client().transaction().await.map_err(&doing)?;
    transaction.batch_execute(&search_path(&schema)).await.map_err(&doing)?;
    let mut compared = Compared::new(&transaction, &schema, expected);
    let done = compared.all().await;
    let mut differences = std::mem::take(&mut compared.differences);
    // A failed statement ends the transaction; what PostgreSQL said of it is a difference.
    if let Err((line, error)) = done {
        let Some(db) = error.as_db_error() else { return Err(doing(error)) };
        let found = Found::Refused { message: db_message(db) };
        let table = compared.table.clone();
        differences.push(Difference { line, table, key: Vec::new(), found });
    }
    transaction.rollback().await.map_err(&doing)?;
    Ok(differences)
}

/// Compares what is expected of rejects with those there are.
pub async fn rejects(
    session: &mut Session,
    expected: &ExpectedRejects,
) -> Result<Option<Difference>, WarehouseError> {
    let rows = session
        .client()
        .query(
            "select reason, coalesce(check_name, '') from daymark.reject where source_id = $1
             order by reject_id",
            &[&expected.source.as_str()],
        )
        .await
        .map_err(WarehouseError::statement("reading rejects"))?;
    let is_wanted = |reason: &str, check: &str| {
        expected.reason.as_deref().is_none_or(|words| reason.contains(words))
            && expected.check.as_deref().is_none_or(|name| name == check)
    };
    let (mut got, mut instead) = (0, Vec::new());
    for row in &rows {
        let (reason, check): (&str, &str) = (row.get(0), row.get(1));
        if is_wanted(reason, check) {
            got += 1;
        } else if instead.len() < usize::try_from(SHOWN).unwrap_or_default() {
            instead.push(reason.to_owned());
        }
    }
    let is_met = match expected.count {
        Some(count) => got == i64::from(count),
        None => got > 0,
    };
    let words = expected.count.map_or("at least 1".to_owned(), |count| count.to_string());
    let found = Found::Count { expected: words, got, instead };
    let line = expected.line;
    Ok((!is_met).then_some(Difference { line, table: None, key: Vec::new(), found }))
}

/// An expectation being compared. Errors carry the line they are about.
struct Compared<'c> {
    transaction: &'c Transaction<'c>,
    expected: &'c ExpectedRows,
    table: Option<String>,
    /// What stands behind `from`.
    from: String,
    key: Vec<String>,
    /// The columns there are, with their types.
    columns: Vec<(String, String)>,
    differences: Vec<Difference>,
}

type Asked<T> = Result<T, (usize, tokio_postgres::Error)>;

impl<'c> Compared<'c> {
    fn new(transaction: &'c Transaction<'c>, schema: &str, expected: &'c ExpectedRows) -> Self {
        let (table, from) = match &expected.relation {
            Relation::Table(name) => (Some(name.clone()), qualified(schema, name)),
            Relation::Sql { sql, .. } => (
                None,
                format!(
                    "(select row_number() over () as {POSITION}, given.* from (\n{sql}\n) as given)"
                ),
            ),
        };
        let by_position = expected.key.is_empty() && table.is_none();
        let key = if by_position { vec![POSITION.to_owned()] } else { expected.key.clone() };
        let (columns, differences) = (Vec::new(), Vec::new());
        Self { transaction, expected, table, from, key, columns, differences }
    }

    async fn all(&mut self) -> Asked<()> {
        let expected = self.expected;
        self.read_columns().await?;
        let by_position = self.key == [POSITION];
        let mut keys = Vec::new();
        for (at, row) in (1..).zip(&expected.rows) {
            let mut row = row.clone();
            if by_position {
                row.values.push((POSITION.to_owned(), ExpectedValue::Text(at.to_string())));
            }
            if self.is_answerable(&row) {
                self.one(&row).await?;
                keys.push(self.has_key(&row));
            }
        }
        for row in &expected.absent {
            if self.is_answerable(row) {
                self.absent(row).await?;
            }
        }
        if let Some(count) = expected.row_count {
            let statement = format!("select count(*) from {} as found", self.from);
            let got: i64 = self.query_one(expected.line, &statement).await?.get(0);
            if got != i64::from(count) {
                let expected = count.to_string();
                let found = Found::Count { expected, got, instead: Vec::new() };
                self.differ(self.expected.line, Vec::new(), found);
            }
        }
        if expected.exact || (by_position && expected.row_count.is_none()) {
            self.others(&keys).await?;
        }
        Ok(())
    }

    async fn query_one(&self, line: usize, statement: &str) -> Asked<tokio_postgres::Row> {
        self.transaction.query_one(statement, &[]).await.map_err(|error| (line, error))
    }

    fn differ(&mut self, line: usize, key: Vec<(String, String)>, found: Found) {
        self.differences.push(Difference { line, table: self.table.clone(), key, found });
    }

    async fn read_columns(&mut self) -> Asked<()> {
        let line = match &self.expected.relation {
            Relation::Table(_) => self.expected.line,
            Relation::Sql { line, .. } => *line,
        };
        let asked = async {
            let statement = format!("select * from {} as found", self.from);
            let prepared = self.transaction.prepare(&statement).await?;
            let mut columns = Vec::new();
            for column in prepared.columns() {
                let (oid, modifier) = (column.type_().oid(), column.type_modifier());
                let name = "select format_type($1, $2)";
                let kind = self.transaction.query_one(name, &[&oid, &modifier]).await?.get(0);
                columns.push((column.name().to_owned(), kind));
            }
            Ok(columns)
        };
        self.columns = asked.await.map_err(|error| (line, error))?;
        Ok(())
    }

    /// Whether the relation has all columns that a row names.
    fn is_answerable(&mut self, row: &ExpectedRow) -> bool {
        let names = row.values.iter().map(|(name, _)| name).chain(&self.key);
        let unknown = names.into_iter().find(|name| self.kind(name).is_none()).cloned();
        let Some(unknown) = unknown else { return true };
        let known = self.columns.iter().map(|(name, _)| name.as_str());
        let known = known.filter(|name| !name.starts_with('_'));
        let message = format!("there is no column `{unknown}`; {}", did_you_mean(&unknown, known));
        self.differ(row.line, Vec::new(), Found::Refused { message });
        false
    }

    fn kind(&self, column: &str) -> Option<&str> {
        self.columns.iter().find(|(name, _)| name == column).map(|(_, kind)| kind.as_str())
    }

    /// An expected value as PostgreSQL's JSON of it.
    fn as_json(&self, column: &str, value: &ExpectedValue) -> String {
        match value {
            ExpectedValue::Null => "null::jsonb".to_owned(),
            ExpectedValue::Json(json) => format!("{}::jsonb", literal(json)),
            ExpectedValue::Text(text) => {
                let kind = self.kind(column).unwrap_or("text");
                format!("to_jsonb(cast({} as {kind}))", literal(text))
            }
        }
    }

    /// The condition that a row of the relation has the key of an expected one.
    fn has_key(&self, row: &ExpectedRow) -> String {
        let parts: Vec<String> = self
            .key
            .iter()
            .filter_map(|name| {
                let (_, value) = row.values.iter().find(|(column, _)| column == name)?;
                let wanted = self.as_json(name, value);
                Some(format!("to_jsonb(found.{}) is not distinct from {wanted}", ident(name)))
            })
            .collect();
        format!("({})", parts.join(" and "))
    }

    /// An expected key in words.
    fn key_of(&self, row: &ExpectedRow) -> Vec<(String, String)> {
        let values = self.key.iter().filter_map(|name| {
            let (_, value) = row.values.iter().find(|(column, _)| column == name)?;
            let text = match value {
                ExpectedValue::Null => "null".to_owned(),
                ExpectedValue::Text(text) | ExpectedValue::Json(text) => text.clone(),
            };
            Some((name.clone(), text))
        });
        values.collect()
    }

    async fn one(&mut self, row: &ExpectedRow) -> Asked<()> {
        let parts: Vec<String> = row
            .values
            .iter()
            .map(|(name, value)| {
                let (got, wanted) =
                    (format!("to_jsonb(found.{})", ident(name)), self.as_json(name, value));
                format!(
                    ", coalesce({wanted}::text, 'null'), coalesce({got}::text, 'null'), \
                     {got} is not distinct from {wanted}"
                )
            })
            .collect();
        let statement = format!(
            "select count(*) over (){} from {} as found where {} limit 1",
            parts.concat(),
            self.from,
            self.has_key(row),
        );
        let found = self.transaction.query_opt(&statement, &[]).await;
        let found = found.map_err(|error| (row.line, error))?;
        let key = self.key_of(row);
        let Some(found) = found else {
            self.differ(row.line, key, Found::NoRow);
            return Ok(());
        };
        let rows: i64 = found.get(0);
        if rows > 1 {
            self.differ(row.line, key, Found::Several { rows });
            return Ok(());
        }
        let mut columns = Vec::new();
        for (at, (name, _)) in row.values.iter().enumerate() {
            if !found.get::<_, bool>(3 * at + 3) {
                let (expected, got) = (found.get(3 * at + 1), found.get(3 * at + 2));
                columns.push(ColumnDifference { column: name.clone(), expected, got });
            }
        }
        if !columns.is_empty() {
            self.differ(row.line, key, Found::Values { columns });
        }
        Ok(())
    }

    async fn absent(&mut self, row: &ExpectedRow) -> Asked<()> {
        let statement =
            format!("select count(*) from {} as found where {}", self.from, self.has_key(row));
        let rows: i64 = self.query_one(row.line, &statement).await?.get(0);
        if rows > 0 {
            let key = self.key_of(row);
            self.differ(row.line, key, Found::Present);
        }
        Ok(())
    }

    /// Rows beside those expected.
    async fn others(&mut self, keys: &[String]) -> Asked<()> {
        let line = self.expected.line;
        let condition = match keys {
            [] => String::new(),
            keys => format!(" where not ({})", keys.join(" or ")),
        };
        let shown: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
        let shown: Vec<String> = shown
            .into_iter()
            .filter(|name| !name.starts_with('_'))
            .map(|name| format!("'{}', found.{}", name.replace('\'', "''"), ident(name)))
            .collect();
        let statement = format!(
            "select jsonb_build_object({})::text, count(*) over () from {} as found{condition} limit {SHOWN}",
            shown.join(", "),
            self.from,
        );
        let rows = self.transaction.query(&statement, &[]).await.map_err(|error| (line, error))?;
        if let Some(first) = rows.first() {
            let sample = rows.iter().map(|row| row.get(0)).collect();
            self.differ(line, Vec::new(), Found::Others { rows: first.get(1), sample });
        }
        Ok(())
    }
}
