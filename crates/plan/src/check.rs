//! `[[checks]]` of a model: what has to hold before its rows are shown.
//!
//! In: the tables of a model's leading comment. Out: [`Check`]s, each with one [`Rule`]: the person's own
//! SQL, which returns the offending rows, or one of the built-in rules, which become such SQL
//! (`daymark_warehouse`). What a check reads decides what it may do: one that reads only the staged rows of
//! a fetch is a function of that fetch; one that reads more is asked once and its verdict kept
//! (DESIGN.md section 7). Deliberately absent: any judgement of the SQL, which is PostgreSQL's.

use toml::de::DeValue;

use crate::model::Column;
use crate::problem::{Problem, did_you_mean};
use crate::section::{Section, choose};
use crate::{sql_reads, sql_text};

/// What follows when rows offend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing of the fetch becomes visible; its day is quarantined.
    Block,
    /// The offending rows are set aside, the rest is published.
    Reject,
    /// It is told.
    Warn,
}

impl Severity {
    /// Its word in a model's file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Reject => "reject",
            Self::Warn => "warn",
        }
    }
}

/// What a check reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The staged rows of the fetch, and nothing else: the same fetch always gives the same answer.
    Staged,
    /// Published rows, history, other tables, the time of day: its answer depends on when it is asked.
    More,
}

/// A value in a model's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// A text, or what PostgreSQL reads from one, such as a date.
    Text(String),
    /// A number, as it stands in the file.
    Number(String),
    /// `true` or `false`.
    Boolean(bool),
}

/// What has to hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// The query returns no row.
    Sql(String),
    /// These columns have values.
    NotNull(Vec<String>),
    /// No two rows of a fetch have the same values in these columns.
    Unique(Vec<String>),
    /// A column has one of these values, or none.
    AcceptedValues {
        /// The column.
        column: String,
        /// The values.
        values: Vec<Literal>,
    },
    /// A column's values lie within bounds, which are accepted themselves.
    Range {
        /// The column.
        column: String,
        /// The smallest value.
        min: Option<Literal>,
        /// The largest value.
        max: Option<Literal>,
    },
    /// A column's values match a regular expression of PostgreSQL's.
    Regex {
        /// The column.
        column: String,
        /// The expression.
        pattern: String,
    },
    /// A fetch has so many rows.
    RowCount {
        /// At least.
        min: Option<u32>,
        /// At most.
        max: Option<u32>,
    },
    /// A column's values never fall (or, strictly, always rise) in the order of another.
    Monotonic {
        /// The column.
        column: String,
        /// The column that orders the rows; the response's own order when there is none.
        order: Option<String>,
        /// The columns that tell one series from another.
        by: Vec<String>,
        /// Whether equal neighbours offend as well.
        strictly: bool,
    },
    /// From the first date of a fetch to the last, every date that the source's calendar has data on is
    /// there.
    NoGaps {
        /// The column with the dates.
        column: String,
        /// The columns that tell one series from another.
        by: Vec<String>,
    },
    /// The newest value of a column is recent.
    Freshness {
        /// The column with dates or instants.
        column: String,
        /// The most days it may lie before the data date.
        days: u32,
    },
    /// A column's values exist in another table.
    References {
        /// The column.
        column: String,
        /// The table.
        table: String,
        /// The column of that table.
        to: String,
    },
    /// The number of rows is about what it was: within some median absolute deviations of the median.
    VolumeAnomaly {
        /// Of how many fetches before.
        publishes: u32,
        /// How many deviations are still usual.
        deviations: f64,
    },
    /// No value differs from the published one by more than a part of it.
    MaxChange {
        /// The column.
        column: String,
        /// The part: 0.25 is a quarter.
        ratio: f64,
    },
}

/// The built-in rules, as the file calls them.
const RULES: [&str; 13] = [
    "sql",
    "not_null",
    "unique",
    "accepted_values",
    "range",
    "regex",
    "row_count",
    "monotonic",
    "no_gaps",
    "freshness",
    "references",
    "volume_anomaly",
    "max_change",
];

impl Rule {
    /// Its word in a model's file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Sql(_) => "sql",
            Self::NotNull(_) => "not_null",
            Self::Unique(_) => "unique",
            Self::AcceptedValues { .. } => "accepted_values",
            Self::Range { .. } => "range",
            Self::Regex { .. } => "regex",
            Self::RowCount { .. } => "row_count",
            Self::Monotonic { .. } => "monotonic",
            Self::NoGaps { .. } => "no_gaps",
            Self::Freshness { .. } => "freshness",
            Self::References { .. } => "references",
            Self::VolumeAnomaly { .. } => "volume_anomaly",
            Self::MaxChange { .. } => "max_change",
        }
    }

    /// What it reads.
    fn reads(&self) -> Reads {
        match self {
            Self::Sql(sql) if !reads_more(sql).is_empty() => Reads::More,
            Self::References { .. } | Self::VolumeAnomaly { .. } | Self::MaxChange { .. } => {
                Reads::More
            }
            _ => Reads::Staged,
        }
    }

    /// Whether it says of rows which of them offend, and not of a fetch as a whole.
    fn names_rows(&self) -> bool {
        !matches!(
            self,
            Self::RowCount { .. }
                | Self::NoGaps { .. }
                | Self::Freshness { .. }
                | Self::VolumeAnomaly { .. }
        )
    }
}

/// Something that has to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Its name, of one check of the model only.
    pub name: String,
    /// What follows when it does not hold.
    pub severity: Severity,
    /// What has to hold.
    pub rule: Rule,
    /// What it reads.
    pub reads: Reads,
    /// The line of the file its rule starts on; of a rule in SQL, the line of the SQL's first.
    pub line: usize,
}

/// What a check may read of a fetch beside `staged`: the one row of the fetch itself.
const OF_THE_FETCH: [&str; 2] = ["staged", "this_fetch"];

/// Words whose value is another one each time.
const VOLATILE: [&str; 18] = [
    "now",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "random",
    "gen_random_uuid",
    "nextval",
    "timeofday",
    "random_normal",
    "uuid_generate_v4",
    "uuidv4",
    "uuidv7",
    "array_shuffle",
];

/// The words of a query whose value is another one each time.
pub(crate) fn volatile_words(sql: &str) -> Vec<&'static str> {
    let words = sql_text::identifiers(sql);
    VOLATILE.into_iter().filter(|word| words.iter().any(|found| found == word)).collect()
}

/// What a query reads beside the staged rows of the fetch.
fn reads_more(sql: &str) -> Vec<String> {
    // The parser tells what `with` makes from a table of its name; where it cannot read the query, words do.
    let tables = match sql_reads::tables(sql) {
        Ok(named) => named
            .into_iter()
            .map(|table| match table.schema {
                Some(schema) => format!("{schema}.{}", table.name),
                None => table.name,
            })
            .collect(),
        Err(_) => sql_text::tables(sql),
    };
    let mut more: Vec<String> =
        tables.into_iter().filter(|table| !OF_THE_FETCH.contains(&table.as_str())).collect();
    more.extend(volatile_words(sql).into_iter().map(str::to_owned));
    more.dedup();
    more
}

/// Reads the checks of a model with these columns and this key.
pub(crate) fn read(
    section: &mut Section<'_>,
    columns: &[Column],
    key: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<Check> {
    let mut checks: Vec<Check> = Vec::new();
    for table in section.tables("checks", problems) {
        let line = table.line_here();
        if let Some(check) = read_one(table, columns, key, problems) {
            if checks.iter().any(|other| other.name == check.name) {
                let message = format!("two checks are called `{}`", check.name);
                problems.push(
                    Problem::new(section.file(), line, message)
                        .hint("a verdict names its check, so each needs a name of its own"),
                );
            }
            checks.push(check);
        }
    }
    checks
}

fn read_one(
    mut section: Section<'_>,
    columns: &[Column],
    key: &[String],
    problems: &mut Vec<Problem>,
) -> Option<Check> {
    let name = section.required_string("name", problems).filter(|name| {
        let fits = !name.trim().is_empty() && name.len() <= 200 && !name.contains(['\n', '\r']);
        if !fits {
            let problem =
                section.problem("name", "a check's name is one line of at most 200 bytes");
            problems.push(problem.hint("say what has to hold, such as `no close is negative`"));
        }
        fits
    });
    let severities =
        [("block", Severity::Block), ("reject", Severity::Reject), ("warn", Severity::Warn)];
    let severity = choose(&mut section, "severity", &severities, Some(Severity::Block), problems);
    let given: Vec<&str> = RULES.into_iter().filter(|rule| section.has(rule)).collect();
    let rule = match given.as_slice() {
        [one] => {
            let rule = Reading { columns, key, problems }.rule(&mut section, one);
            if let (Some(rule), Some(Severity::Reject)) = (&rule, severity) {
                refuse_reject(&section, one, rule, problems);
            }
            rule
        }
        [] => {
            let problem = section.problem_here("a check without a rule");
            problems.push(problem.hint(format!("one of: {}", RULES.join(", "))));
            None
        }
        several => {
            let message = format!("a check with several rules: {}", several.join(", "));
            problems.push(section.problem_here(message).hint("make a check of each"));
            for rule in several {
                section.optional_value(rule);
            }
            None
        }
    };
    let line = given.first().map_or_else(|| section.line_here(), |rule| section.text_line_of(rule));
    section.finish(problems);
    let rule = rule?;
    Some(Check { name: name?, severity: severity?, reads: rule.reads(), rule, line })
}

/// A reject must be the same whenever its fetch is published, and must name rows.
fn refuse_reject(section: &Section<'_>, key: &str, rule: &Rule, problems: &mut Vec<Problem>) {
    if !rule.names_rows() {
        let message = format!("`{key}` judges a fetch as a whole, and `severity` is `reject`");
        problems.push(
            section.problem(key, message).hint("accepted with it: `block` (the default) or `warn`"),
        );
    } else if rule.reads() == Reads::More {
        let read = match rule {
            Rule::Sql(sql) => reads_more(sql).join("`, `"),
            Rule::References { table, .. } => table.clone(),
            _ => "staged_beside_published".to_owned(),
        };
        let message = format!("a check that rejects rows reads `{read}`");
        problems.push(section.problem(key, message).hint(
            "what is rejected must not depend on when it is published: it may read `staged` (and \
             `this_fetch`) only; use `block` or `warn`",
        ));
    }
}

/// What reading a rule needs.
struct Reading<'r> {
    columns: &'r [Column],
    key: &'r [String],
    problems: &'r mut Vec<Problem>,
}

impl Reading<'_> {
    fn rule(&mut self, section: &mut Section<'_>, rule: &str) -> Option<Rule> {
        match rule {
            "sql" => self.sql(section),
            "not_null" => self.columns_of(section, rule).map(Rule::NotNull),
            "unique" => self.columns_of(section, rule).map(Rule::Unique),
            _ => {
                let mut table = section.required_table(rule, self.problems)?;
                let read = self.of_table(&mut table, rule);
                table.finish(self.problems);
                read
            }
        }
    }

    fn of_table(&mut self, table: &mut Section<'_>, rule: &str) -> Option<Rule> {
        match rule {
            "accepted_values" => {
                let column = self.column(table, "column");
                let values = self.values(table);
                Some(Rule::AcceptedValues { column: column?, values: values? })
            }
            "range" => {
                let column = self.column(table, "column");
                let min = self.literal(table, "min");
                let max = self.literal(table, "max");
                if !table.has("min") && !table.has("max") {
                    let problem = table.problem_here("a range without `min` and `max`");
                    self.problems.push(problem.hint("give one of them, or both"));
                    return None;
                }
                Some(Rule::Range { column: column?, min, max })
            }
            "regex" => {
                let column = self.column(table, "column");
                let pattern = table.required_string("pattern", self.problems);
                Some(Rule::Regex { column: column?, pattern: pattern? })
            }
            "row_count" => {
                let min = table.optional_whole("min", 0..=u32::MAX, self.problems);
                let max = table.optional_whole("max", 0..=u32::MAX, self.problems);
                if !table.has("min") && !table.has("max") {
                    let problem = table.problem_here("a row count without `min` and `max`");
                    self.problems.push(problem.hint("give one of them, or both"));
                    return None;
                }
                if let (Some(min), Some(max)) = (min, max)
                    && min > max
                {
                    let problem = table.problem("min", format!("`min` is {min}, `max` is {max}"));
                    self.problems.push(problem.hint("the smaller number is `min`"));
                }
                Some(Rule::RowCount { min, max })
            }
            "monotonic" => {
                let column = self.column(table, "column")?;
                let order = self.optional_column(table, "order");
                let ours = [Some(column.as_str()), order.as_deref()];
                let by = self.by(table, &ours)?;
                let strictly = table.optional_bool("strictly", self.problems).unwrap_or(false);
                Some(Rule::Monotonic { column, order, by, strictly })
            }
            "no_gaps" => {
                let column = self.column(table, "column")?;
                let by = self.by(table, &[Some(column.as_str())])?;
                Some(Rule::NoGaps { column, by })
            }
            "freshness" => {
                let column = self.column(table, "column");
                let days = table.optional_whole("days", 0..=36_500, self.problems);
                if !table.has("days") {
                    let problem = table.problem_here("`freshness` without `days`");
                    self.problems.push(
                        problem.hint("the most days the newest value may lie before the data date"),
                    );
                }
                Some(Rule::Freshness { column: column?, days: days? })
            }
            "references" => {
                let column = self.column(table, "column");
                let name = self.name(table, "table");
                let to = self.name(table, "to");
                Some(Rule::References { column: column?, table: name?, to: to? })
            }
            "volume_anomaly" => {
                let publishes = table.optional_whole("publishes", 5..=1000, self.problems);
                let deviations = table.optional_number("deviations", 1.0..=1000.0, self.problems);
                Some(Rule::VolumeAnomaly {
                    publishes: publishes.unwrap_or(30),
                    deviations: deviations.unwrap_or(5.0),
                })
            }
            _ => {
                let column = self.column(table, "column");
                let ratio = table.optional_number("ratio", 0.0..=1e9, self.problems);
                if !table.has("ratio") {
                    let problem = table.problem_here("`max_change` without `ratio`");
                    self.problems.push(
                        problem.hint("the part of the published value, such as `ratio = 0.25`"),
                    );
                }
                Some(Rule::MaxChange { column: column?, ratio: ratio? })
            }
        }
    }

    fn sql(&mut self, section: &mut Section<'_>) -> Option<Rule> {
        let sql = section.required_string("sql", self.problems)?;
        let sql = sql.trim_end().trim_end_matches(';').to_owned();
        let refuse = |message: &str, hint: &str| Some(section.problem("sql", message).hint(hint));
        let problem = if sql.trim().is_empty() {
            refuse("the SQL is empty", "a query that returns the offending rows")
        } else if sql_text::has_parameter(&sql) {
            refuse(
                "the SQL has a parameter such as `$1`, and a check takes none",
                "the fetch is the one row of `this_fetch`: `_data_date`, `_fetched_at`, `_entity`",
            )
        } else {
            None
        };
        match problem {
            Some(problem) => {
                self.problems.push(problem);
                None
            }
            None => Some(Rule::Sql(sql)),
        }
    }

    /// Columns of the contract, at least one.
    fn columns_of(&mut self, section: &mut Section<'_>, key: &str) -> Option<Vec<String>> {
        let names = section.required_strings(key, self.problems)?;
        names.iter().all(|name| self.is_column(section, key, name)).then_some(names)
    }

    fn column(&mut self, section: &mut Section<'_>, key: &str) -> Option<String> {
        let name = section.required_string(key, self.problems)?;
        self.is_column(section, key, &name).then_some(name)
    }

    fn optional_column(&mut self, section: &mut Section<'_>, key: &str) -> Option<String> {
        let name = section.optional_string(key, self.problems)?;
        self.is_column(section, key, &name).then_some(name)
    }

    fn is_column(&mut self, section: &Section<'_>, key: &str, name: &str) -> bool {
        let known = self.columns.iter().any(|column| column.name == name);
        if !known {
            let message = format!("the column `{name}` is not in `[columns]`");
            let hint = did_you_mean(name, self.columns.iter().map(|column| column.name.as_str()));
            self.problems.push(section.problem(key, message).hint(hint));
        }
        known
    }

    /// `by`; without it, the key's columns but some.
    fn by(&mut self, section: &mut Section<'_>, but: &[Option<&str>]) -> Option<Vec<String>> {
        if section.has("by") {
            let names = section.optional_strings("by", self.problems)?;
            return names.iter().all(|name| self.is_column(section, "by", name)).then_some(names);
        }
        let rest = self.key.iter().filter(|name| !but.contains(&Some(name.as_str())));
        Some(rest.cloned().collect())
    }

    /// The plain name of a table or column.
    fn name(&mut self, section: &mut Section<'_>, key: &str) -> Option<String> {
        let name = section.required_string(key, self.problems)?;
        if sql_text::is_identifier(&name) {
            return Some(name);
        }
        let problem = section.problem(key, format!("`{name}` is no plain name"));
        self.problems.push(problem.hint("accepted: a-z, 0-9 and _, a letter first"));
        None
    }

    fn literal(&mut self, section: &mut Section<'_>, key: &str) -> Option<Literal> {
        let value = section.optional_value(key)?;
        let literal = literal(value);
        if literal.is_none() {
            let problem = section.problem(key, format!("`{key}` is no value"));
            self.problems.push(problem.hint("accepted: a number, or a string such as a date"));
        }
        literal
    }

    fn values(&mut self, section: &mut Section<'_>) -> Option<Vec<Literal>> {
        let items = section.optional_value("values").and_then(|value| value.as_array());
        let values: Option<Vec<Literal>> =
            items.and_then(|items| items.iter().map(|item| literal(item.get_ref())).collect());
        let values = values.filter(|values| !values.is_empty());
        if values.is_none() {
            let problem = section.problem("values", "`values` is no list of values");
            self.problems
                .push(problem.hint("strings or numbers, such as `[\"open\", \"closed\"]`"));
        }
        values
    }
}

fn literal(value: &DeValue<'_>) -> Option<Literal> {
    match value {
        DeValue::String(text) => Some(Literal::Text(text.to_string())),
        DeValue::Boolean(boolean) => Some(Literal::Boolean(*boolean)),
        DeValue::Integer(integer) if integer.radix() == 10 => {
            Some(Literal::Number(integer.as_str().to_owned()))
        }
        DeValue::Float(float) => {
            let number: f64 = float.as_str().parse().ok()?;
            number.is_finite().then(|| Literal::Number(float.as_str().to_owned()))
        }
        DeValue::Datetime(instant) => Some(Literal::Text(instant.to_string())),
        _ => None,
    }
}
