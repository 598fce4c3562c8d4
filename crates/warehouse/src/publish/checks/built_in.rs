//! The built-in rules as SQL, so that there is one way through for all checks.
//!
//! In: a check and its model. Out: a query that returns the offending rows, over the same relations a
//! person's own SQL sees: `staged`, `this_fetch`, `staged_beside_published`, `calendar_days`. Pure.
//! Deliberately absent: running it.

use daymark_plan::{Check, Literal, Model, Rule};

use crate::sql::{ident, list, literal};

/// The condition by which a row by itself offends a check; none for a check that looks at rows together.
pub(super) fn offends(check: &Check) -> Option<String> {
    let conditions: Vec<String> = match &check.rule {
        Rule::NotNull(columns) => {
            columns.iter().map(|column| format!("{} is null", ident(column))).collect()
        }
        Rule::AcceptedValues { column, values } => {
            let values: Vec<String> = values.iter().map(value).collect();
            vec![format!("{} not in ({})", ident(column), values.join(", "))]
        }
        Rule::Range { column, min, max } => {
            let column = ident(column);
            let below = min.as_ref().map(|min| format!("{column} < {}", value(min)));
            let above = max.as_ref().map(|max| format!("{column} > {}", value(max)));
            below.into_iter().chain(above).collect()
        }
        Rule::Regex { column, pattern } => {
            vec![format!("{}::text !~ {}", ident(column), literal(pattern))]
        }
        _ => return None,
    };
    Some(conditions.join(" or "))
}

/// A query over no table that fails where PostgreSQL cannot read what a check says, and is true where no value can
/// pass; none for a check of which both are plain when it is prepared.
pub(crate) fn makes_no_sense(check: &Check, kinds: &[(String, String)]) -> Option<String> {
    match &check.rule {
        Rule::Regex { pattern, .. } => Some(format!("select ('' ~ {}) is null", literal(pattern))),
        // As numbers: a bound may lie beyond what the column's type holds.
        Rule::Range {
            min: Some(Literal::Number(min)), max: Some(Literal::Number(max)), ..
        } => Some(format!("select {} > {}", number(min), number(max))),
        Rule::Range { column, min: Some(min), max: Some(max) } => {
            let (_, kind) = kinds.iter().find(|(name, _)| name == column)?;
            // A type of a certain length would cut them.
            let is_whole = !kind.contains('(');
            is_whole.then(|| format!("select {}::{kind} > {}::{kind}", value(min), value(max)))
        }
        _ => None,
    }
}

/// The SQL of a check.
pub(super) fn sql(model: &Model, check: &Check) -> String {
    if let Some(offends) = offends(check) {
        return format!("select * from staged where {offends}");
    }
    match &check.rule {
        Rule::Sql(sql) => sql.clone(),
        Rule::Unique(columns) => {
            let columns = list("", columns.iter().map(String::as_str));
            format!(
                "select staged.* from staged join (\
                 select {columns} from staged group by {columns} having count(*) > 1\
                 ) as twice using ({columns})"
            )
        }
        Rule::RowCount { min, max } => {
            let few = min.map(|min| format!("count(*) < {min}"));
            let many = max.map(|max| format!("count(*) > {max}"));
            let outside: Vec<String> = few.into_iter().chain(many).collect();
            format!("select count(*) as row_count from staged having {}", outside.join(" or "))
        }
        Rule::Monotonic { column, order, by, strictly } => {
            let column = ident(column);
            let order = order.as_deref().unwrap_or("_fetch_row");
            let sign = if *strictly { "<=" } else { "<" };
            format!(
                "select * from (select *, lag({column}) over ({}order by {}, _fetch_row) as _before \
                 from staged where {column} is not null) as pairs where {column} {sign} _before",
                partition(by),
                ident(order),
            )
        }
        Rule::NoGaps { column, by } => no_gaps(column, by),
        Rule::Freshness { column, days } => {
            let newest = format!("max(staged.{})", ident(column));
            format!(
                "select {newest} as newest, this_fetch._data_date from this_fetch left join staged on true \
                 group by this_fetch._data_date having {newest} is null \
                 or {newest}::date < this_fetch._data_date - {days}"
            )
        }
        Rule::References { column, table, to } => format!(
            "select * from staged where {0} is not null \
             and not exists (select 1 from {1} as known where known.{2} = staged.{0})",
            ident(column),
            ident(table),
            ident(to),
        ),
        Rule::VolumeAnomaly { publishes, deviations } => {
            volume_anomaly(model, check, *publishes, *deviations)
        }
        Rule::NotNull(_)
        | Rule::AcceptedValues { .. }
        | Rule::Range { .. }
        | Rule::Regex { .. } => unreachable!("a row offends it by itself"),
        Rule::MaxChange { column, ratio } => {
            let key = list("", model.key.iter().map(String::as_str));
            let (now, was) = (ident(column), ident(&format!("published_{column}")));
            format!(
                "select {key}, {now}, {was} from staged_beside_published where _published_settled \
                 and abs({now}::double precision - {was}::double precision) \
                 > {ratio} * abs({was}::double precision)"
            )
        }
    }
}

/// Dates that the calendar has and a series lacks, between its first and its last.
fn no_gaps(column: &str, by: &[String]) -> String {
    let column = ident(column);
    let names = list("", by.iter().map(String::as_str));
    let (comma, group) =
        if by.is_empty() { ("", String::new()) } else { (", ", format!(" group by {names}")) };
    let same: Vec<String> = by
        .iter()
        .map(|name| format!(" and staged.{0} is not distinct from series.{0}", ident(name)))
        .collect();
    format!(
        "select {}{comma}calendar_days.date as {column} from (\
         select {names}{comma}min({column})::date as _first, max({column})::date as _last \
         from staged{group}) as series \
         join calendar_days on calendar_days.date between series._first and series._last \
         where not exists (select 1 from staged where staged.{column}::date = calendar_days.date{})",
        list("series.", by.iter().map(String::as_str)),
        same.concat(),
    )
}

/// The number of rows beside those of the check's own earlier answers. A tenth of nothing is nothing: what
/// is usual is never narrower than a twentieth of the median, or one row.
fn volume_anomaly(model: &Model, check: &Check, publishes: u32, deviations: f64) -> String {
    format!(
        "with said as (\
         select result.row_count from daymark.check_result as result, this_fetch \
         where result.table_name = {} and result.check_name = {} and result.publish_id is not null \
         and result.entity = this_fetch._entity order by result.result_id desc limit {publishes}), \
         usual as (select percentile_cont(0.5) within group (order by row_count) as median, \
         count(*) as publishes from said), \
         spread as (select percentile_cont(0.5) within group (order by abs(row_count - median)) as deviation \
         from said, usual), \
         counted as (select count(*) as row_count from staged) \
         select counted.row_count, usual.median, spread.deviation, usual.publishes \
         from counted, usual, spread where usual.publishes >= 5 \
         and abs(counted.row_count - usual.median) \
         > {deviations} * greatest(1.4826 * spread.deviation, 0.05 * usual.median, 1)",
        literal(&model.table),
        literal(&check.name),
    )
}

fn partition(by: &[String]) -> String {
    if by.is_empty() {
        return String::new();
    }
    format!("partition by {} ", list("", by.iter().map(String::as_str)))
}

fn value(given: &Literal) -> String {
    match given {
        Literal::Text(text) => literal(text),
        Literal::Number(given) => number(given),
        Literal::Boolean(boolean) => boolean.to_string(),
    }
}

fn number(given: &str) -> String {
    given.replace('_', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with one model that has these checks, as SQL.
    fn compiled(checks: &str) -> String {
        let folder = tempfile::TempDir::new().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "daymark.toml",
            "name = \"t\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n",
        );
        write(
            "sources/bars.toml",
            "id = \"bars\"\n[request]\nurl = \"http://127.0.0.1:1/\"\n[rows]\nlayout = \"records\"\n\
             [rows.fields]\nsymbol = { path = \"symbol\", type = \"text\" }\n",
        );
        write(
            "models/bar.sql",
            &format!(
                "/* model\ntable = \"bar\"\nkey = [\"symbol\", \"date\"]\n[columns]\n\
                 symbol = \"text not null\"\ndate = \"date not null\"\nclose = \"double precision\"\n\
                 {checks}\n*/\nselect _fetch_id, _fetch_row, symbol, null::date as date, 1 as close from raw_bars\n"
            ),
        );
        let plan =
            daymark_plan::load(folder.path(), &daymark_plan::Environment::default()).unwrap();
        let model = &plan.models[0];
        let lines: Vec<String> = model
            .checks
            .iter()
            .map(|check| format!("{}: {}", check.rule.as_str(), sql(model, check)))
            .collect();
        lines.join("\n")
    }

    #[test]
    fn built_in_rules_are_queries_that_return_the_offending_rows() {
        let rules = [
            "not_null = [\"close\", \"date\"]",
            "unique = \"close\"",
            "accepted_values = { column = \"symbol\", values = [\"A\", \"it's\"] }",
            "range = { column = \"close\", min = 0, max = 1e6 }",
            "range = { column = \"date\", min = 2020-01-01 }",
            "regex = { column = \"symbol\", pattern = '^\\^?[A-Z]+$' }",
            "row_count = { min = 5, max = 400 }",
            "monotonic = { column = \"close\", order = \"date\", strictly = true }",
            "monotonic = { column = \"close\", by = [] }",
            "no_gaps = { column = \"date\" }",
            "no_gaps = { column = \"date\", by = [] }",
            "freshness = { column = \"date\", days = 4 }",
            "references = { column = \"symbol\", table = \"listing\", to = \"symbol\" }",
            "volume_anomaly = {}",
            "max_change = { column = \"close\", ratio = 0.25 }",
        ];
        let checks: Vec<String> = rules
            .iter()
            .enumerate()
            .map(|(at, rule)| format!("[[checks]]\nname = \"c{at}\"\n{rule}"))
            .collect();
        insta::assert_snapshot!(compiled(&checks.join("\n")), @r#"
        not_null: select * from staged where "close" is null or "date" is null
        unique: select staged.* from staged join (select "close" from staged group by "close" having count(*) > 1) as twice using ("close")
        accepted_values: select * from staged where "symbol" not in ('A', 'it''s')
        range: select * from staged where "close" < 0 or "close" > 1e6
        range: select * from staged where "date" < '2020-01-01'
        regex: select * from staged where "symbol"::text !~ '^\^?[A-Z]+$'
        row_count: select count(*) as row_count from staged having count(*) < 5 or count(*) > 400
        monotonic: select * from (select *, lag("close") over (partition by "symbol" order by "date", _fetch_row) as _before from staged where "close" is not null) as pairs where "close" <= _before
        monotonic: select * from (select *, lag("close") over (order by "_fetch_row", _fetch_row) as _before from staged where "close" is not null) as pairs where "close" < _before
        no_gaps: select series."symbol", calendar_days.date as "date" from (select "symbol", min("date")::date as _first, max("date")::date as _last from staged group by "symbol") as series join calendar_days on calendar_days.date between series._first and series._last where not exists (select 1 from staged where staged."date"::date = calendar_days.date and staged."symbol" is not distinct from series."symbol")
        no_gaps: select calendar_days.date as "date" from (select min("date")::date as _first, max("date")::date as _last from staged) as series join calendar_days on calendar_days.date between series._first and series._last where not exists (select 1 from staged where staged."date"::date = calendar_days.date)
        freshness: select max(staged."date") as newest, this_fetch._data_date from this_fetch left join staged on true group by this_fetch._data_date having max(staged."date") is null or max(staged."date")::date < this_fetch._data_date - 4
        references: select * from staged where "symbol" is not null and not exists (select 1 from "listing" as known where known."symbol" = staged."symbol")
        volume_anomaly: with said as (select result.row_count from daymark.check_result as result, this_fetch where result.table_name = 'bar' and result.check_name = 'c13' and result.publish_id is not null and result.entity = this_fetch._entity order by result.result_id desc limit 30), usual as (select percentile_cont(0.5) within group (order by row_count) as median, count(*) as publishes from said), spread as (select percentile_cont(0.5) within group (order by abs(row_count - median)) as deviation from said, usual), counted as (select count(*) as row_count from staged) select counted.row_count, usual.median, spread.deviation, usual.publishes from counted, usual, spread where usual.publishes >= 5 and abs(counted.row_count - usual.median) > 5 * greatest(1.4826 * spread.deviation, 0.05 * usual.median, 1)
        max_change: select "symbol", "date", "close", "published_close" from staged_beside_published where _published_settled and abs("close"::double precision - "published_close"::double precision) > 0.25 * abs("published_close"::double precision)
        "#);
    }
}
