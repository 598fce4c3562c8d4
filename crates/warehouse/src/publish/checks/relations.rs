//! The relations a check sees, as `with` queries before its own.
//!
//! In: a check, its model, and where the rows are. Out: a statement. Pure. Deliberately absent: running it.

use daymark_plan::{Check, Model, Reads, Severity};
use jiff::civil::Date;

use super::built_in;
use crate::sql::{ident, list, literal, same};

/// How many offending rows are kept of a check's answer; all are counted.
const SAMPLE: i64 = 20;

/// What a check is asked of.
pub(super) struct Seen<'s> {
    pub(super) model: &'s Model,
    pub(super) fetch_id: String,
    pub(super) source: &'s str,
    pub(super) data_date: String,
    pub(super) fetched_at: String,
    pub(super) entity: &'s str,
    /// The staged rows, to stand behind `from`.
    pub(super) rows: String,
    /// The published rows, to stand behind `from`, under the name `published`.
    pub(super) published: String,
}

/// The statement that asks a check over a fetch and a table without rows, and what stands before the
/// check's own SQL. `kinds` are the types of the contract's columns.
pub(crate) fn check_over_nothing(
    model: &Model,
    check: &Check,
    kinds: &[(String, String)],
) -> (String, String) {
    let columns: Vec<String> =
        kinds.iter().map(|(name, kind)| format!("null::{kind} as {}", ident(name))).collect();
    let nothing = format!(
        "(select {}, null::uuid as _fetch_id, null::bigint as _fetch_row, true as _settled, \
         null::date as _data_date where false)",
        columns.join(", ")
    );
    let seen = Seen {
        model,
        fetch_id: uuid::Uuid::nil().to_string(),
        source: model.source.as_str(),
        data_date: "2000-01-01".to_owned(),
        fetched_at: "2000-01-01T00:00:00Z".to_owned(),
        entity: "",
        rows: format!("{nothing} as tail"),
        published: format!("{nothing} as published"),
    };
    seen.statement(check, Some(&[]), &built_in::sql(model, check))
}

impl Seen<'_> {
    /// The statement that asks a check, whose SQL this is, and what stands before that SQL.
    pub(super) fn statement(
        &self,
        check: &Check,
        dates: Option<&[Date]>,
        sql: &str,
    ) -> (String, String) {
        // Its rows must be ones that can be set aside.
        let key = match check.severity {
            Severity::Reject => {
                let key = list("offending.", self.model.key.iter().map(String::as_str));
                format!(", ({key})::text")
            }
            Severity::Block | Severity::Warn => String::new(),
        };
        let prefix = format!(
            "{} select to_jsonb(offending.*)::text, count(*) over (){key} from (\n",
            self.relations(check, dates)
        );
        let statement = format!("{prefix}{sql}\n) as offending limit {SAMPLE}");
        (prefix, statement)
    }

    /// The relations.
    pub(super) fn relations(&self, check: &Check, dates: Option<&[Date]>) -> String {
        let model = self.model;
        let of_fetch = format!(
            "{}::date as _data_date, {}::timestamptz as _fetched_at, {}::text as _entity",
            literal(&self.data_date),
            literal(&self.fetched_at),
            literal(self.entity),
        );
        let columns = list("", model.columns.iter().map(|column| column.name.as_str()));
        let settled = if model.settled.is_some() { "_settled" } else { "true as _settled" };
        let mut relations = format!(
            "with this_fetch as (select {}::uuid as _fetch_id, {}::text as _source, {of_fetch}), \
             staged as (select {columns}, _fetch_id, _fetch_row, {settled}, {of_fetch} from {})",
            literal(&self.fetch_id),
            literal(self.source),
            self.rows,
        );
        if check.reads == Reads::More {
            let beside: Vec<String> = model
                .columns
                .iter()
                .map(|column| {
                    let name = ident(&format!("published_{}", column.name));
                    format!(", published.{} as {name}", ident(&column.name))
                })
                .collect();
            let settled = match &model.settled {
                Some(_) => "coalesce(published._settled, false)",
                None => "published._fetch_id is not null",
            };
            let same = same(model.row_key(), "published", "staged");
            relations.push_str(&format!(
                ", staged_beside_published as (select staged.*{}, {settled} as _published_settled \
                 from staged left join {} on {})",
                beside.concat(),
                self.published,
                same,
            ));
        }
        if let Some(dates) = dates {
            let dates: Vec<String> = dates.iter().map(Date::to_string).collect();
            relations.push_str(&format!(
                ", calendar_days as (select unnest({}::date[]) as date)",
                literal(&format!("{{{}}}", dates.join(","))),
            ));
        }
        relations
    }
}
