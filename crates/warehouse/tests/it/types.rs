//! Every type, sent by extraction and read back by PostgreSQL: equal to what PostgreSQL itself reads in the
//! same JSON. What a column cannot hold is set aside by extraction; it never fails the COPY of the rest.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use daymark_plan::FieldType;
use daymark_testkit::database::Kind;
use daymark_testkit::on_both_databases;
use daymark_warehouse::publish::FetchResult;
use proptest::prelude::*;
use proptest::strategy::Union;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::bench::{Bench, SOURCE};

on_both_databases! {
    what_is_read_back_is_what_was_said;
}

/// A value's JSON text, and whether a column can hold it.
#[derive(Debug, Clone)]
struct Said {
    json: String,
    fits: bool,
}

fn fit(json: impl Into<String>) -> Said {
    Said { json: json.into(), fits: true }
}

fn misfit(json: impl Into<String>) -> Said {
    Said { json: json.into(), fits: false }
}

/// One of these.
fn one_of(values: Vec<Said>) -> BoxedStrategy<Said> {
    prop::sample::select(values).boxed()
}

fn fits(texts: &[&str]) -> BoxedStrategy<Said> {
    one_of(texts.iter().map(|text| fit(*text)).collect())
}

fn misfits(texts: &[&str]) -> BoxedStrategy<Said> {
    one_of(texts.iter().map(|text| misfit(*text)).collect())
}

fn quoted(text: impl std::fmt::Display) -> String {
    serde_json::Value::from(text.to_string()).to_string()
}

/// Days between the years 1 and 9999, with both ends now and then.
fn days() -> impl Strategy<Value = jiff::civil::Date> {
    let first = jiff::civil::date(1, 1, 1);
    prop_oneof![
        1 => Just(first),
        1 => Just(jiff::civil::date(9999, 12, 31)),
        1 => Just(jiff::civil::date(2024, 2, 29)),
        8 => (0..3_652_058_i64).prop_map(move |days| first.checked_add(jiff::Span::new().days(days)).unwrap()),
    ]
}

/// Times of day, to the microsecond.
fn times() -> impl Strategy<Value = String> {
    (0..24_u8, 0..60_u8, proptest::option::of((0..60_u8, proptest::option::of(0..1_000_000_u32))))
        .prop_map(|(hour, minute, rest)| match rest {
            None => format!("{hour:02}:{minute:02}"),
            Some((second, None)) => format!("{hour:02}:{minute:02}:{second:02}"),
            Some((second, Some(micros))) => {
                format!("{hour:02}:{minute:02}:{second:02}.{micros:06}")
            }
        })
}

fn offsets() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Z".to_owned()),
        (any::<bool>(), 0..16_u8, 0..60_u8).prop_map(|(east, hours, minutes)| {
            format!("{}{hours:02}:{minutes:02}", if east { '+' } else { '-' })
        }),
    ]
}

/// Numbers as JSON writes them, long ones too.
fn numbers() -> BoxedStrategy<Said> {
    let written = "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?";
    let long = (1..400_usize, 0..400_usize)
        .prop_map(|(before, behind)| format!("-{}.{}1", "9".repeat(before), "0".repeat(behind)));
    prop_oneof![written.prop_map(fit), long.prop_map(fit)].boxed()
}

fn doubles() -> BoxedStrategy<Said> {
    let any = prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO;
    prop_oneof![
        4 => any.prop_map(|number| fit(serde_json::to_string(&number).unwrap())),
        1 => fits(&["-0.0", "0e-999", "5e-324", "1.7976931348623157e308", "9007199254740993",
                    "0.1000000000000000055511151231257827", "\"6.5\""]),
        // JSON can say an infinity only as a text or as a number that is too large.
        1 => misfits(&["1e999", "-1e999", "1e-999", "\"Infinity\"", "\"-Infinity\"", "\"NaN\"", "true"]),
    ]
    .boxed()
}

fn wholes(low: i64, high: i64) -> BoxedStrategy<Said> {
    let beyond = [i128::from(low) - 1, i128::from(high) + 1];
    prop_oneof![
        4 => (low..=high).prop_map(|number| fit(number.to_string())),
        1 => one_of(vec![fit(low.to_string()), fit(high.to_string()), fit("-0"), fit(quoted(high))]),
        1 => one_of(vec![misfit(beyond[0].to_string()), misfit(beyond[1].to_string()),
                         misfit("0.5"), misfit("\"1.5\""), misfit("\"\""), misfit("1e30"), misfit("[1]")]),
    ]
    .boxed()
}

fn texts() -> BoxedStrategy<Said> {
    prop_oneof![
        4 => any::<String>().prop_map(|text| {
            let json = quoted(&text);
            if text.contains('\0') { misfit(json) } else { fit(json) }
        }),
        1 => fits(&[r#""""#, r#""\\""#, r#""\\N""#, r#""\\.""#, r#""a\tb\r\nc""#, r#""{\"a\": null}""#,
                    r#""\ud83d\ude00\u00e9""#, r#""\ufeff\u200b\u202e""#, "1.50", "true"]),
        1 => misfits(&[r#""\u0000""#, r#""a\u0000b""#, r#""\ud83d""#, r#""\ude00x""#, "{}"]),
    ]
    .boxed()
}

fn jsons() -> BoxedStrategy<Said> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?".prop_map(|number| number),
        any::<String>().prop_map(|text| quoted(text.replace('\0', "\\"))),
    ];
    let trees = leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec(("[a-c]", inner), 0..4).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(name, value)| format!("\"{name}\" :{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    prop_oneof![
        6 => trees.prop_filter("null is no value", |json| json != "null").prop_map(fit),
        1 => misfits(&[r#"["\u0000"]"#, r#"{"a\u0000": 1}"#, r#""\ud83d""#, "[1e1000000]"]),
    ]
    .boxed()
}

fn intervals() -> BoxedStrategy<Said> {
    let part = |low: i64, high: i64, unit: &'static str| {
        proptest::option::of((low..=high).prop_map(move |number| format!("{number}{unit}")))
    };
    let dates =
        (part(-9999, 9999, "Y"), part(-99, 99, "M"), part(-99, 99, "W"), part(-9999, 9999, "D"));
    let clock = (part(-9999, 9999, "H"), part(-99, 99, "M"));
    let seconds = (-99..99_i64, 0..1_000_000_u32, any::<bool>());
    prop_oneof![
        6 => (dates, clock, seconds).prop_map(|(dates, clock, (second, micros, whole))| {
            let dates = <[_; 4]>::from(dates).into_iter().flatten().collect::<String>();
            let clock = <[_; 2]>::from(clock).into_iter().flatten().collect::<String>();
            let seconds = if whole { format!("{second}S") } else { format!("{second}.{micros:06}S") };
            fit(quoted(format!("P{dates}T{clock}{seconds}")))
        }),
        1 => fits(&["\"PT0S\"", "\"P178956970Y7M\"", "\"P-2147483648D\"", "\"PT2562047788H54.775807S\""]),
        1 => misfits(&["\"P\"", "\"1 day\"", "\"P2147483648D\"", "\"P0.5D\"", "\"PT0.0000001S\"", "60",
                       "\"infinity\""]),
    ]
    .boxed()
}

/// Values of a type.
fn values(field_type: FieldType) -> BoxedStrategy<Said> {
    match field_type {
        FieldType::Text => texts(),
        FieldType::Boolean => prop_oneof![
            2 => fits(&["true", "false", "\"true\"", "\"FALSE\""]),
            1 => misfits(&["1", "0", "\"yes\"", "\"\"", "[]"]),
        ]
        .boxed(),
        FieldType::Smallint => wholes(i64::from(i16::MIN), i64::from(i16::MAX)),
        FieldType::Integer => wholes(i64::from(i32::MIN), i64::from(i32::MAX)),
        FieldType::Bigint => wholes(i64::MIN, i64::MAX),
        FieldType::Double => doubles(),
        FieldType::Numeric => prop_oneof![
            6 => numbers(),
            1 => misfits(&["1e131072", "1e-16384", "\"NaN\"", "\"Infinity\"", "\"1,5\""]),
        ]
        .boxed(),
        FieldType::Date => prop_oneof![
            6 => days().prop_map(|day| fit(quoted(day))),
            1 => misfits(&["\"0000-01-01\"", "\"2023-02-29\"", "\"infinity\"", "\"20260102\"", "20260102"]),
        ]
        .boxed(),
        FieldType::Time => prop_oneof![
            6 => times().prop_map(|time| fit(quoted(time))),
            // A leap second has no place in a day of 86,400 seconds.
            1 => misfits(&["\"23:59:60\"", "\"24:00\"", "\"12:60\"", "\"12:30:15.0000001\""]),
        ]
        .boxed(),
        FieldType::Timestamp => prop_oneof![
            6 => (days(), times()).prop_map(|(day, time)| fit(quoted(format!("{day}T{time}")))),
            1 => misfits(&["\"2016-12-31T23:59:60\"", "\"2026-03-08T02:00Z\"", "\"infinity\""]),
        ]
        .boxed(),
        FieldType::Timestamptz => prop_oneof![
            6 => (days(), times(), offsets())
                .prop_map(|(day, time, offset)| fit(quoted(format!("{day}T{time}{offset}")))),
            1 => misfits(&["\"2016-12-31T23:59:60Z\"", "\"2026-03-08T02:00\"", "\"-infinity\""]),
        ]
        .boxed(),
        FieldType::EpochSeconds | FieldType::EpochMilliseconds | FieldType::EpochMicroseconds => {
            let scale = epoch_scale(field_type);
            let last = 253_402_300_799 * scale;
            let first = -62_135_596_800 * scale;
            prop_oneof![
                6 => (first..=last).prop_map(|number| fit(number.to_string())),
                1 => misfits(&["1e300", "1.0000001", "\"today\"", "-1e19"]),
            ]
            .boxed()
        }
        FieldType::Uuid => prop_oneof![
            4 => any::<u128>().prop_map(|number| fit(quoted(uuid::Uuid::from_u128(number)))),
            1 => any::<u128>().prop_map(|number| fit(quoted(uuid::Uuid::from_u128(number).simple()))),
            1 => misfits(&["\"0192aaaa\"", "\"\"", "1"]),
        ]
        .boxed(),
        FieldType::Interval => intervals(),
        FieldType::Jsonb => jsons(),
        FieldType::Array(element) => {
            let element = Union::new_weighted(vec![(9, values(*element)), (1, Just(fit("null")).boxed())]);
            let many = prop::collection::vec(element, 0..4).prop_map(|elements| {
                let fits = elements.iter().all(|element| element.fits);
                let texts: Vec<String> = elements.into_iter().map(|element| element.json).collect();
                Said { json: format!("[{}]", texts.join(", ")), fits }
            });
            prop_oneof![8 => many, 1 => misfits(&["{}", "1", "\"{}\""])]
                .boxed()
        }
    }
}

fn epoch_scale(field_type: FieldType) -> i64 {
    match field_type {
        FieldType::EpochMilliseconds => 1000,
        FieldType::EpochMicroseconds => 1_000_000,
        _ => 1,
    }
}

/// What PostgreSQL reads in the same JSON: `said` is the value as `json`.
fn own_reading(field_type: FieldType) -> String {
    let kind = field_type.postgres();
    match field_type {
        FieldType::Jsonb => "said::jsonb".to_owned(),
        FieldType::EpochSeconds | FieldType::EpochMilliseconds | FieldType::EpochMicroseconds => {
            format!(
                "'epoch'::timestamptz + (((said #>> '{{}}')::numeric * {})::bigint || ' microseconds')::interval",
                1_000_000 / epoch_scale(field_type)
            )
        }
        FieldType::Array(FieldType::Jsonb) => {
            "(select coalesce(array_agg(case json_typeof(one) when 'null' then null else one::jsonb end order by n), '{}') \
              from json_array_elements(said) with ordinality as e (one, n))"
                .to_owned()
        }
        FieldType::Array(_) => format!(
            "(select coalesce(array_agg((one #>> '{{}}')::{} order by n), '{{}}') \
              from json_array_elements(said) with ordinality as e (one, n))",
            kind.trim_end_matches("[]")
        ),
        _ => format!("(said #>> '{{}}')::{kind}"),
    }
}

/// A name of a column from the word of a type.
fn column(word: &str) -> String {
    format!("f_{}", word.replace("[]", "_array"))
}

async fn what_is_read_back_is_what_was_said(kind: Kind) {
    let fields: Vec<String> = FieldType::ALL
        .iter()
        .map(|(word, _)| {
            format!(
                "{0} = {{ path = \"{0}\", type = \"{word}\", optional = true }}\n",
                column(word)
            )
        })
        .collect();
    let fields = fields.concat();
    let source = format!(
        "{}[rows.fields]\nn = {{ path = \"n\", type = \"bigint\" }}\n{fields}",
        SOURCE.replace("\"prices\"", "\"types\"").split("[rows.fields]").next().unwrap()
    );
    let columns: Vec<String> = FieldType::ALL
        .iter()
        .map(|(word, field_type)| format!("{} = \"{}\"\n", column(word), field_type.postgres()))
        .collect();
    let columns = columns.concat();
    let names: Vec<String> = FieldType::ALL.iter().map(|(word, _)| column(word)).collect();
    let model = format!(
        "/* model\ntable = \"types\"\nkey = [\"n\"]\nwrite = \"snapshot\"\n[columns]\nn = \"bigint\"\n{columns}*/\n\
         select n, {}, _fetch_id, _fetch_row from raw_types",
        names.join(", ")
    );
    let files = [("sources/types.toml", source.as_str()), ("models/types.sql", model.as_str())];
    let bench = Mutex::new(Bench::with(kind, &files).await);
    let row = prop::sample::select(FieldType::ALL.to_vec())
        .prop_flat_map(|(word, field_type)| values(field_type).prop_map(move |said| (word, said)));
    let cases = if kind == Kind::Native { 60 } else { 6 };
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let minute = AtomicI64::new(0);
    let run = TestRunner::new(config).run(&prop::collection::vec(row, 40..120), |rows| {
        let mut bench = bench.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = minute.fetch_add(1, Ordering::SeqCst);
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(one(&mut bench, minute, &rows))
        })
    });
    run.unwrap();
}

async fn one(bench: &mut Bench, minute: i64, rows: &[(&str, Said)]) -> Result<(), TestCaseError> {
    let records: Vec<String> = (0..)
        .zip(rows)
        .map(|(n, (word, said))| format!("{{\"n\": {n}, \"{}\": {}}}", column(word), said.json))
        .collect();
    let key = bench.fetch_of("types", minute, &format!("[{}]", records.join(",\n")));
    let report = bench.publish(&[&key]).await;
    prop_assert_eq!(&report.fetches[&key], &FetchResult::Published);

    // A row that says null says nothing that could differ; all the others are there, or were set aside.
    let expected: Vec<i64> =
        (0..).zip(rows).filter(|(_, (_, said))| said.fits).map(|(n, _)| n).collect();
    let mut session = bench.warehouse.session("test").await.unwrap();
    let found = session.client().query("select n from types order by n", &[]).await.unwrap();
    let found: Vec<i64> = found.iter().map(|row| row.get(0)).collect();
    for (n, (word, said)) in (0..).zip(rows) {
        prop_assert_eq!(found.contains(&n), said.fits, "{} {}", word, said.json);
    }
    prop_assert_eq!(found, expected);
    for (word, field_type) in FieldType::ALL {
        let said: Vec<(i64, &str)> = (0..)
            .zip(rows)
            .filter(|(_, (other, said))| *other == word && said.fits)
            .map(|(n, (_, said))| (n, said.json.as_str()))
            .collect();
        let (numbers, texts): (Vec<i64>, Vec<&str>) = said.into_iter().unzip();
        // The text tells a zero from a negative one and 1.5 from 1.50, which `=` does not.
        let compare = format!(
            "select said::text, f::text, own::text from (
                 select said, {column} as f, {own} as own
                 from unnest($1::bigint[], $2::text[]) as s (n, text), lateral (select text::json as said) as j, types
                 where types.n = s.n) as compared
             where f is null or f::text is distinct from own::text",
            column = column(word),
            own = own_reading(field_type),
        );
        let differing = session.client().query(&compare, &[&numbers, &texts]).await.unwrap();
        let shown: Vec<(String, Option<String>, Option<String>)> =
            differing.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        prop_assert!(shown.is_empty(), "{}: {:?}", word, shown);
    }
    Ok(())
}
