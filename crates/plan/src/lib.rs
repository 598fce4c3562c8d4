//! WHAT to run: a pipeline folder becomes one validated [`Plan`].
//!
//! In: a folder of text files (DESIGN.md section 4) and the environment variables that override its
//! settings. Out: a [`Plan`] whose every value has been checked, or a [`PlanError`] that lists ALL
//! problems of the folder, each with file, line, what was found and what is accepted. Deliberately
//! absent: tokio, the network, the database. Nothing after this crate reads a file of
//! configuration or an environment variable.

mod alerts;
mod calendar;
mod calendar_file;
mod cause;
mod check;
mod clock;
mod data_date;
mod day;
mod digest;
mod finding;
mod folder;
mod json_path;
mod mart;
mod model;
mod model_test;
mod page;
mod problem;
mod raw;
mod rows;
mod schedule;
mod schedule_section;
mod section;
mod settings;
mod source;
mod sql_reads;
mod sql_text;
mod zone_data;

pub use alerts::{
    AlertEvent, Channel, ChannelKind, Email, Heartbeat, SmtpTls, Webhook, WebhookFormat,
};
pub use calendar_file::DayList;
pub use cause::{causes, one_line};
pub use check::{Check, Literal, Reads, Rule, Severity};
pub use clock::Clock;
pub use data_date::data_date;
pub use day::{
    DayFacts, DayRules, DayState, Deadline, DeadlineBy, Expected, Reached, Standing, Wanted,
};
pub use digest::{hex, sha256_hex};
pub use finding::{Finding, Verdict};
pub use folder::{Environment, Plan, WholeParts, load, read_source, whole_parts};
pub use json_path::{JsonPath, Segment, Step};
pub use mart::{Mart, Materialized};
pub use model::{Column, Condition, Index, Model, Write};
pub use model_test::{
    Expectation, ExpectedRejects, ExpectedRow, ExpectedRows, ExpectedValue, FetchOutcome, Given,
    ModelTest, Relation, model_tests,
};
pub use page::{Block, Chart, ChartKind, NamedQuery, Page, Tile, ValueFormat};
pub use problem::{PlanError, Problem, did_you_mean};
pub use raw::raw_url;
pub use rows::{
    ColumnRef, CsvFormat, Field, FieldPlace, FieldType, GridHeader, Layout, ROW_COLUMN, Reading,
    RowsSpec, SYSTEM_COLUMNS,
};
pub use schedule::{BadExpression, Calendar, DataDateRule, DstGap, Missed, Overlap, Schedule};
pub use settings::{Dashboard, DatabaseUrl, Encryption, RawUrl, S3Location, Secret, Settings};
pub use source::{
    Auth, Body, ClientCredentials, CursorType, DayRetry, Entities, Entity, EntityColumn, EntityId,
    Expect, Incremental, JsonTemplate, KeyPlace, Method, Moment, Name, PageStyle, Pagination, Rate,
    Request, Retry, SchemaRules, SecretRef, Secrets, Source, SourceId, Supersede, Template, Values,
    Weight, Window, behind_day, check_url, is_secret_name,
};
pub use zone_data::{ZoneData, zone_data};
