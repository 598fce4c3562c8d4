//! Which tables a query reads, by a real parser of PostgreSQL's SQL.
//!
//! In: one query. Out: every table or view it names, qualified as it is there, with its line; not what it
//! makes itself in `with`, not its aliases, not functions. Deliberately absent: whether such tables exist
//! (`mart`), and what a function reads inside.

use std::ops::ControlFlow;
use std::ptr;
use std::thread;

use sqlparser::ast::{Ident, ObjectNamePart, Query, SetExpr, TableFactor, Visit, Visitor};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// A longer query is not looked at: with each operator the tree of a query may grow a level deeper.
const LONGEST: usize = 128 * 1024;

/// Enough stack for a tree of [`LONGEST`] levels; only what is used of it takes memory.
const STACK: usize = 256 * 1024 * 1024;

/// How deep parentheses may stand in one another.
const DEEPEST: usize = 500;

/// A table or view that a query names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Named {
    /// Its schema, if it is qualified.
    pub(crate) schema: Option<String>,
    /// Its name, lower-cased unless it was quoted.
    pub(crate) name: String,
    /// The line of the query it stands on first, counted from 0.
    pub(crate) line: usize,
}

/// Why a query could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unread {
    /// The line of the query, counted from 0.
    pub(crate) line: usize,
    /// What is wrong: a lower-case fragment.
    pub(crate) message: String,
}

impl Unread {
    fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// The tables a query reads, each once, in the order of their names.
pub(crate) fn tables(sql: &str) -> Result<Vec<Named>, Unread> {
    if sql.len() > LONGEST {
        let message = format!("the query is longer than {} KiB", LONGEST / 1024);
        return Err(Unread::new(0, message));
    }
    // The parser and the walk go as deep as the query does.
    thread::scope(|scope| {
        let reading = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || parse(sql));
        match reading.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => Err(Unread::new(0, "the parser gave up on the query")),
            Err(error) => Err(Unread::new(0, format!("no thread to read the query in: {error}"))),
        }
    })
}

fn parse(sql: &str) -> Result<Vec<Named>, Unread> {
    let mut parser = Parser::new(&PostgreSqlDialect {})
        .with_recursion_limit(DEEPEST)
        .try_with_sql(sql)
        .map_err(|error| unread(&error, sql))?;
    let query = parser.parse_query().map_err(|error| unread(&error, sql))?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        let line = line_of(rest.span.start.line);
        return Err(Unread::new(line, format!("the query should end before `{}`", rest.token)));
    }
    let mut walk = Walk::default();
    // It never breaks off.
    if let ControlFlow::Break(never) = query.visit(&mut walk) {
        match never {}
    }
    let mut found = walk.found;
    found.sort();
    found.dedup_by(|a, b| a.schema == b.schema && a.name == b.name);
    Ok(found)
}

/// What the parser said, with its place taken out of its words.
fn unread(error: &ParserError, sql: &str) -> Unread {
    let (ParserError::TokenizerError(said) | ParserError::ParserError(said)) = error else {
        return Unread::new(0, format!("parentheses stand more than {DEEPEST} deep"));
    };
    let (words, line) = match said.rsplit_once(" at Line: ") {
        Some((words, place)) => {
            let line: Option<u64> = place.split_once(',').and_then(|(line, _)| line.parse().ok());
            (words, line.unwrap_or(1))
        }
        // The end of the query has no place of its own.
        None => (said.as_str(), 1 + u64::try_from(sql.matches('\n').count()).unwrap_or(0)),
    };
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    let words: String = first.into_iter().chain(letters).collect();
    Unread::new(line_of(line), words.replace('\n', " "))
}

fn line_of(counted_from_one: u64) -> usize {
    usize::try_from(counted_from_one).unwrap_or(usize::MAX).saturating_sub(1)
}

/// What the `with` of a query makes, as far as it can be seen where the walk is.
#[derive(Default)]
struct Scope {
    seen: Vec<String>,
    /// Those whose own query is not over: without `recursive` they are not seen in it.
    to_come: Vec<(*const Query, String)>,
}

#[derive(Default)]
struct Walk {
    scopes: Vec<Scope>,
    found: Vec<Named>,
}

/// There is none.
enum Never {}

impl Walk {
    fn names(&mut self, schema: Option<&Ident>, name: &Ident) {
        let line = line_of(name.span.start.line);
        let (schema, name) = (schema.map(folded), folded(name));
        let made = |scope: &Scope| scope.seen.contains(&name);
        if schema.is_none() && self.scopes.iter().any(made) {
            return;
        }
        self.found.push(Named { schema, name, line });
    }

    /// `table x` stands for `select * from x`.
    fn table_commands(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Table(table) => {
                if let Some(name) = &table.table_name {
                    self.names(table.schema_name.as_ref(), name);
                }
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.table_commands(left);
                self.table_commands(right);
            }
            _ => {}
        }
    }
}

impl Visitor for Walk {
    type Break = Never;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Never> {
        let mut scope = Scope::default();
        if let Some(with) = &query.with {
            for made in &with.cte_tables {
                let name = folded(&made.alias.name);
                if with.recursive {
                    scope.seen.push(name);
                } else {
                    scope.to_come.push((ptr::from_ref(&*made.query), name));
                }
            }
        }
        self.scopes.push(scope);
        if !matches!(query.body.as_ref(), SetExpr::Select(_)) {
            // What `with` makes is seen here, whatever of it was walked.
            let to_come = self.scopes.last().map_or(0, |scope| scope.seen.len());
            let later: Vec<String> = self
                .scopes
                .last()
                .map(|scope| scope.to_come.iter().map(|(_, name)| name.clone()).collect())
                .unwrap_or_default();
            if let Some(scope) = self.scopes.last_mut() {
                scope.seen.extend(later);
            }
            self.table_commands(&query.body);
            if let Some(scope) = self.scopes.last_mut() {
                scope.seen.truncate(to_come);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Never> {
        self.scopes.pop();
        if let Some(around) = self.scopes.last_mut() {
            let at = around.to_come.iter().position(|(made, _)| ptr::eq(*made, query));
            if let Some(at) = at {
                let (_, name) = around.to_come.remove(at);
                around.seen.push(name);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Never> {
        // With arguments it is a function.
        if let TableFactor::Table { name, args: None, .. } = factor {
            let parts: Vec<&Ident> = name.0.iter().filter_map(ObjectNamePart::as_ident).collect();
            if let Some((name, before)) = parts.split_last() {
                self.names(before.last().copied(), name);
            }
        }
        ControlFlow::Continue(())
    }
}

/// A name as PostgreSQL folds it.
fn folded(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> String {
        let names = tables(sql).unwrap().into_iter().map(|named| match named.schema {
            Some(schema) => format!("{schema}.{}", named.name),
            None => named.name,
        });
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn tables_are_told_from_what_the_query_makes_and_calls() {
        for (sql, expected) in [
            ("select price from price as p, other o join s.t on true", "other price s.t"),
            ("with x as (select * from a) select * from x, y", "a y"),
            // A `with` query is not seen in itself, unless it is recursive.
            ("with price as (select * from price) select * from price", "price"),
            ("with recursive r as (select 1 union all select n + 1 from r) select * from r", ""),
            ("with a as (select * from t), b as (select * from a) select * from b", "t"),
            // It is seen in what stands inside, and not in what stands outside.
            ("select * from (with x as (select 1) select * from x) as q, x", "x"),
            ("with x as (select 1) select (select count(*) from x), * from y", "y"),
            ("select * from \"Mixed Case\", UPPER, \"a\".\"B\"", "Mixed Case upper a.B"),
            ("select * from generate_series(1, (select max(n) from counted)) as n", "counted"),
            ("select * from a, lateral (select * from b where b.x = a.x) as l", "a b"),
            ("select * from a, lateral unnest(a.xs) with ordinality as u(x, n)", "a"),
            ("select * from only a tablesample system (10)", "a"),
            ("table a", "a"),
            ("with x as (select 1) table x", ""),
            ("table a union all select * from b", "a b"),
            ("select 1 where exists (select from a) and 2 in (select x from b)", "a b"),
            ("select extract(year from d), trim(both 'x' from t), substring(t from 2) from a", "a"),
            ("values (1), ((select max(x) from a))", "a"),
            ("(select * from a) except (select * from b) order by 1 limit 3", "a b"),
            ("select 'from x', $$ from y $$, E'it\\'s from z' from a -- from b\n/* from c */", "a"),
        ] {
            assert_eq!(of(sql), expected, "{sql}");
        }
    }

    #[test]
    fn the_sql_of_marts_is_read() {
        for sql in [
            "select distinct on (a) a, b from t order by a, b desc nulls last",
            "select count(*) filter (where a > 0), percentile_cont(0.5) within group (order by a) from t",
            "select sum(a) over (partition by b order by c rows between 3 preceding and current row) from t",
            "select avg(a) over w from t window w as (order by d range between interval '30 days' preceding \
             and interval '1 day' preceding)",
            "select d at time zone 'UTC', d::date, a::numeric(10,2), j ->> 'x', j #>> '{a,b}' from t",
            "select a is distinct from b, a ~ '^x', a similar to 'y', a ilike '%z', a = any(array[1, 2]) from t",
            "select make_interval(days => 3), array_agg(a order by b), string_agg(distinct a, ',') from t",
            "select a, b, sum(c) from t group by grouping sets ((a), (a, b), ())",
            "select a, sum(c) from t group by rollup (a)",
            "select case when a then 1 else 2 end, coalesce(a, b), nullif(a, 0), greatest(a, b) from t",
            "select date_trunc('month', d)::date, d - interval '1 year', current_date, (a, b) from t",
            "select * from t full join u using (a, b) natural left join v cross join w",
            "select (array[1,2,3])[2], t.*, row_number() over () from t fetch first 5 rows only",
            "select x.* from t cross join lateral jsonb_to_recordset(t.j) as x(a int, b text)",
            "select corr(a, b), regr_slope(a, b), stddev_samp(a), mode() within group (order by a) from t",
            "select last_value(a) over (order by d groups between 1 preceding and 1 following) from t",
            "with x as materialized (select 1) select * from x, t",
            "select a from t where (a, b) in (select a, max(b) from t group by a)",
            "select overlay('abc' placing 'x' from 2), position('a' in b) from t",
            "select date '2026-01-01', timestamp '2026-01-01 00:00', time '00:00' from t",
        ] {
            assert_eq!(tables(sql).map(|found| !found.is_empty()), Ok(true), "{sql}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        for (sql, line, message) in [
            ("select a\nfrom t\nwhere )", 2, "expected: an expression, found: )"),
            ("select a\nfrom t join", 1, "expected: identifier, found: EOF"),
            (
                "selec 1",
                0,
                "expected: SELECT, VALUES, or a subquery in the query body, found: selec",
            ),
            ("select 1\n; select 2", 1, "the query should end before `;`"),
            ("select 'a", 0, "unterminated string literal"),
        ] {
            let unread = tables(sql).unwrap_err();
            assert_eq!((unread.line, unread.message.as_str()), (line, message), "{sql}");
        }
        for deep in [
            format!("select {}1{}", "(".repeat(2_000), ")".repeat(2_000)),
            format!("select {}", "(".repeat(60_000)),
            format!("select {}", "a ".repeat(LONGEST)),
        ] {
            tables(&deep).unwrap_err();
        }
    }

    #[test]
    fn a_query_as_deep_as_it_can_be_is_read() {
        let mut sql = "select 1".to_owned();
        while sql.len() < LONGEST - 20 {
            sql.push_str("+1");
        }
        assert_eq!(of(&format!("{sql} from t")), "t");
        let unions = "select 1 union all ".repeat(6_000);
        assert_eq!(of(&format!("{unions} select 2 from t")), "t");
    }
}
