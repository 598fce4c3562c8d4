//! A first `[rows]` section from recorded responses: what is found, and that it reads every row of them.

use std::path::{Path, PathBuf};

use daymark_extract::infer::{Finding, InferError, Inferred, Sample, infer};
use daymark_plan::{FieldType, Layout};

use crate::families::cassette;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/fixtures");

/// What is found in responses, which is read back by the folder's own parser.
fn found(bodies: &[(&str, &[u8])]) -> Inferred {
    let samples: Vec<Sample<'_>> =
        bodies.iter().map(|(name, body)| Sample { name, body }).collect();
    let inferred = infer(&samples, "s").unwrap_or_else(|error| {
        panic!("{}", daymark_plan::one_line(&error));
    });
    let whole = format!("id = \"s\"\n[request]\nurl = \"http://localhost/\"\n{}", inferred.toml);
    let source = daymark_plan::read_source("s", Path::new("."), &whole)
        .unwrap_or_else(|problems| panic!("{whole}\n{problems:?}"));
    // The findings are those of the section that was printed.
    for ((name, body), finding) in bodies.iter().zip(&inferred.findings) {
        let Finding::Rows(rows) = finding else { continue };
        let (body, _) = daymark_extract::to_utf8(body, None).unwrap();
        let summary = daymark_extract::scan(&source.rows, &body).unwrap();
        assert_eq!((summary.extracted, summary.rejected), (*rows, 0), "{name}\n{whole}");
    }
    inferred
}

fn of_text(text: &str) -> Inferred {
    found(&[("a", text.as_bytes())])
}

/// Name, type and `?` for optional of every field.
fn fields(inferred: &Inferred) -> Vec<String> {
    let field = |field: &daymark_plan::Field| {
        let kind = FieldType::ALL.iter().find(|(_, kind)| *kind == field.field_type).unwrap().0;
        let mark = if field.optional { "?" } else { "" };
        format!("{}{mark} {} {kind}", field.name, field.places[0])
    };
    inferred.rows.fields.iter().map(field).collect()
}

#[track_caller]
fn has(inferred: &Inferred, wanted: &[&str]) {
    let fields = fields(inferred);
    for wanted in wanted {
        assert!(fields.iter().any(|field| field == wanted), "`{wanted}` in {fields:#?}");
    }
}

#[test]
fn nested_lists_take_their_parents_along() {
    let inferred = of_text(
        "{\"stations\":[{\"id\":\"a\",\"readings\":[{\"t\":1,\"v\":1.5},{\"t\":2,\"v\":2}]},\
         {\"id\":\"b\",\"readings\":[{\"t\":1,\"v\":null}]}]}",
    );
    assert_eq!(inferred.rows.at.text(), "$.stations[*].readings");
    assert_eq!(fields(&inferred), ["id ^.id text", "t t integer", "v v double"]);
}

#[test]
fn grids_keyed_lists_lines_and_tables_are_told_apart() {
    let grid = of_text("[[\"NAME\",\"pop\"],[\"Alabama\",\"5\"],[\"Ohio\",\"11\"]]");
    assert_eq!(grid.rows.layout, Layout::Grid);
    assert_eq!(fields(&grid), ["name column NAME text", "pop column pop integer"]);
    let grid = of_text(
        "{\"columns\":[{\"name\":\"d\"},{\"name\":\"x\"}],\"rows\":[[\"2026-01-01\",1],[\"2026-01-02\",2.5]]}",
    );
    assert_eq!(fields(&grid), ["d column d date", "x column x double"]);
    assert!(grid.toml.contains("header = \"$.columns[*].name\""), "{}", grid.toml);
    let grid = of_text("{\"prices\":[[1761768001000,2.5],[1761768002000,2]]}");
    assert_eq!(grid.rows.at.text(), "$.prices");
    let bars = of_text(
        "{\"bars\":{\"AAPL\":[{\"c\":1.5},{\"c\":2.5}],\"MSFT\":[{\"c\":3.5}]},\"next\":null}",
    );
    assert_eq!((bars.rows.layout, bars.rows.at.text()), (Layout::Records, "$.bars.*"));
    assert_eq!(fields(&bars), ["key key 2 text", "c c double"]);
    let lines = of_text("{\"a\":1,\"u\":{\"id\":7}}\n{\"a\":2}\n\n{\"a\":3,\"u\":null}\n");
    assert_eq!(lines.rows.layout, Layout::Ndjson);
    assert_eq!(fields(&lines), ["a a integer", "id? u.id bigint"]);
    let table =
        of_text("Stand: heute\n\nDatum;Wert;Ort\n31.12.2025;1.234,5;x\n01.01.2026;2;\"\"\n");
    assert_eq!(
        fields(&table),
        ["datum column Datum date", "wert column Wert numeric", "ort column Ort text"]
    );
    assert!(table.toml.contains("skip_lines = 2"), "{}", table.toml);
    let tabs = of_text("a\tb\n1\tNA\n2\t3.5\n");
    assert!(tabs.toml.contains("layout = \"tsv\"") && tabs.toml.contains("missing = \"NA\""));
    let plain = of_text("1,2.5\n3,4\n");
    assert_eq!(fields(&plain), ["column_1 column 1 integer", "column_2 column 2 numeric"]);
}

#[test]
fn an_object_in_some_rows_only_is_kept_whole_or_taken_apart() {
    let apart = of_text("[{\"m\":null,\"i\":1},{\"m\":{\"t\":\"x\"},\"i\":2},{\"m\":{},\"i\":3}]");
    assert_eq!(fields(&apart), ["i i integer", "t? m.t text"]);
    let whole = of_text("[{\"m\":\"x\",\"i\":1},{\"m\":{\"t\":\"x\"},\"i\":2}]");
    assert!(fields(&whole).contains(&"m m jsonb".to_owned()), "{:?}", fields(&whole));
    let twice = of_text("[{\"it's\":1,\"a.b\":2,\"\":3,\"x\\\"'y\":4,\"a\":5,\"a\":6}]");
    has(&twice, &["its [\"it's\"] integer", "a_b ['a.b'] integer", "a a integer"]);
}

#[test]
fn errors_are_told_by_a_path_the_others_have_not() {
    let inferred = found(&[
        ("good", b"{\"error\":null,\"data\":[{\"a\":1},{\"a\":2}]}"),
        ("bad", b"{\"error\":{\"code\":7},\"data\":null}"),
        ("empty", b"{\"error\":null,\"data\":[]}"),
        ("text", b"Too Many Requests"),
        ("page", b"<html>"),
    ]);
    assert_eq!(inferred.findings[0], Finding::Rows(2));
    assert!(matches!(&inferred.findings[4], Finding::Other(_)));
    // A null place has no rows; what tells the error is not there in the others.
    assert!(inferred.toml.contains("min_rows = 0"), "{}", inferred.toml);
    let inferred = found(&[
        ("good", b"{\"data\":[{\"a\":1},{\"a\":2}]}"),
        ("bad", b"{\"Error Message\":\"no\"}"),
        ("none", b"{}"),
    ]);
    assert!(inferred.toml.contains("absent = [\"$['Error Message']\"]"), "{}", inferred.toml);
    assert!(inferred.toml.contains("at_optional = true"), "{}", inferred.toml);
}

#[test]
fn what_has_no_rows_is_refused_with_the_reason() {
    let refused = |body: &[u8]| {
        let error = infer(&[Sample { name: "a", body }], "s").unwrap_err();
        daymark_plan::one_line(&error)
    };
    insta::assert_snapshot!(refused(b""), @"no rows were found in `a`: the body is empty");
    insta::assert_snapshot!(refused(b"<html>"), @"no rows were found in `a`: the body is not JSON or a table: it looks like HTML, it starts with `<html>`");
    insta::assert_snapshot!(refused(b"{\"error\":true,\"reason\":\"no\"}"), @"no rows were found in `a`: there is neither a list of values nor a table in it");
    insta::assert_snapshot!(refused(b"[{\"id\":1},{\"id\":"), @"no rows were found in `a`: the body is not whole JSON: it ends inside a value at line 1 column 17 (byte 16)");
    insta::assert_snapshot!(refused(b"Too Many Requests"), @"no rows were found in `a`: there is neither a list of values nor a table in it");
    insta::assert_snapshot!(refused(b"[]"), @"no rows were found in `a`: there is neither a list of values nor a table in it");
    assert!(matches!(infer(&[], "s"), Err(InferError::Nothing)));
}

#[test]
fn a_section_and_a_model_as_they_are_printed() {
    let inferred = found(&[(
        "a.json",
        b"{\"latitude\":1.5,\"daily_units\":{\"time\":\"iso8601\"},\"daily\":{\"time\":[\"2026-03-01\",\"2026-03-02\"],\"max\":[1.5,null]}}",
    )]);
    insta::assert_snapshot!(inferred.toml, @r#"
    # a.json: 2 rows

    [rows]
    layout = "columns"
    at = "$.daily"

    [rows.fields]
    latitude = { path = "$.latitude", type = "double" }
    time     = { path = "time", type = "date" }
    max      = { path = "max", type = "double" }
    "#);
    insta::assert_snapshot!(inferred.model, @r#"
    /* model
    table = "s_daily"
    key   = ["time"]

    [columns]
    latitude = "double precision"
    time     = "date not null"
    max      = "double precision"
    */
    select distinct on (time)
           _fetch_id, _fetch_row,
           latitude,
           time,
           max
    from raw_s
    order by time, _fetch_row desc
    "#);
}

#[test]
fn a_model_quotes_what_sql_reserves() {
    let inferred = of_text("[{\"end\":\"2026-03-01\",\"order\":7}]");
    assert!(inferred.model.contains("distinct on (\"end\")"), "{}", inferred.model);
    assert!(inferred.model.contains("       \"order\"\nfrom"), "{}", inferred.model);
}

/// Every file under a folder or the file itself.
fn files(name: &str) -> Vec<PathBuf> {
    fn collect(path: PathBuf, files: &mut Vec<PathBuf>) {
        if path.is_dir() {
            for entry in std::fs::read_dir(&path).unwrap() {
                collect(entry.unwrap().path(), files);
            }
        } else {
            files.push(path);
        }
    }
    let mut found = Vec::new();
    collect(Path::new(FIXTURES).join(name), &mut found);
    found.sort();
    assert!(!found.is_empty(), "{name}");
    found
}

/// What is found in recorded files together.
fn of_files(names: &[&str]) -> Inferred {
    let bodies: Vec<(String, Vec<u8>)> = names
        .iter()
        .flat_map(|name| files(name))
        .map(|path| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap())
        })
        .collect();
    let bodies: Vec<(&str, &[u8])> =
        bodies.iter().map(|(name, body)| (name.as_str(), body.as_slice())).collect();
    found(&bodies)
}

fn of_cassette(file: &str) -> Inferred {
    let bodies = cassette(file);
    let bodies: Vec<(&str, &[u8])> = bodies.iter().map(|body| ("body", body.as_bytes())).collect();
    found(&bodies)
}

/// The layout and the place; every response has rows, none of which is set aside.
#[track_caller]
fn all_rows(inferred: &Inferred, layout: Layout, at: &str) {
    assert_eq!((inferred.rows.layout, inferred.rows.at.text()), (layout, at), "{}", inferred.toml);
    for finding in &inferred.findings {
        assert!(matches!(finding, Finding::Rows(_)), "{finding:?}\n{}", inferred.toml);
    }
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn open_meteo_is_columns_of_a_section() {
    let daily = of_files(&["open-meteo/city-batch-2026-01-21"]);
    assert_eq!(daily.rows.layout, Layout::Columns, "{}", daily.toml);
    has(&daily, &["latitude $.latitude double", "timezone $.timezone text"]);
    let revisions = of_files(&["open-meteo/mumbai-revisions"]);
    assert_eq!(revisions.rows.layout, Layout::Columns, "{}", revisions.toml);
    let ten_years = of_files(&["open-meteo/bergen-10y-daily.json", "open-meteo/errors"]);
    assert_eq!(ten_years.rows.at.text(), "$.daily", "{}", ten_years.toml);
    assert!(ten_years.toml.contains("absent = [\"$.error\"]"), "{}", ten_years.toml);
    has(&ten_years, &["time time date"]);
    let cities = of_files(&["open-meteo/multi-location-12-cities-ecmwf.json"]);
    assert_eq!(cities.rows.layout, Layout::Columns, "{}", cities.toml);
    assert!(cities.rows.at.text().starts_with("$[*]."), "{}", cities.toml);
    has(&cities, &["latitude ^.latitude double", "location_id? ^.location_id bigint"]);
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn yahoo_is_columns_around_a_list_of_one() {
    let inferred = of_files(&[
        "yahoo/AAPL-10d-1d.json",
        "yahoo/AAPL-6mo-1d-dividends.json",
        "yahoo/MUV2.DE-6mo-null-row.json",
        "yahoo/errors",
    ]);
    let rows = &inferred.rows;
    assert_eq!(
        (rows.layout, rows.at.text()),
        (Layout::Columns, "$.chart.result[0]"),
        "{}",
        inferred.toml
    );
    has(
        &inferred,
        &[
            "symbol meta.symbol text",
            "exchange_timezone_name meta.exchangeTimezoneName text",
            "timestamp timestamp epoch_seconds",
            "open? indicators.quote[0].open double",
            "close indicators.quote[0].close double",
            "volume? indicators.quote[0].volume bigint",
        ],
    );
    assert!(inferred.toml.contains("absent = [\"$.chart.error\"]"), "{}", inferred.toml);
    let months = of_files(&["yahoo/max-1mo"]);
    all_rows(&months, Layout::Columns, "$.chart.result[0]");
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn the_other_families_are_found_too() {
    let vantage = of_files(&["alpha-vantage"]);
    assert_eq!(vantage.rows.layout, Layout::Keyed);
    assert_eq!(vantage.rows.at.text(), "$['Time Series (Daily)']");
    has(
        &vantage,
        &[
            "symbol $['Meta Data']['2. Symbol'] text",
            "date key 1 date",
            "close ['4. close'] numeric",
            "volume ['5. volume'] bigint",
        ],
    );
    for path in ["$['Error Message']", "$.Note"] {
        assert!(vantage.toml.contains(path), "{}", vantage.toml);
    }
    all_rows(&of_files(&["energy-charts-daily"]), Layout::Columns, "$");
    let rates = of_files(&["frankfurter"]);
    all_rows(&rates, Layout::Keyed, "$.rates.*");
    has(&rates, &["date key 2 date", "key key 1 text", "base $.base text", "value @ double"]);
    all_rows(&of_files(&["coingecko/coins_list.json"]), Layout::Records, "$");
    all_rows(&of_files(&["coingecko/simple_price.json"]), Layout::Keyed, "$");
    let bank = of_files(&["world-bank"]);
    all_rows(&bank, Layout::Records, "$[1]");
    has(&bank, &["lastupdated $[0].lastupdated date", "date date integer", "value value double"]);
    all_rows(&of_files(&["socrata"]), Layout::Records, "$");
    let quakes = of_files(&["usgs"]);
    all_rows(&quakes, Layout::Records, "$.features");
    assert!(quakes.findings.contains(&Finding::Rows(0)) && quakes.toml.contains("min_rows = 0"));
    has(&quakes, &["time properties.time epoch_milliseconds"]);
    all_rows(&of_files(&["polygon"]), Layout::Records, "$.results");
    let met = of_files(&["met-office-datapoint/valid_data.json"]);
    all_rows(&met, Layout::Records, "$.SiteRep.DV.Location[*].Period[*].Rep");
    has(&met, &["value ^.value text", "name ^^^.name text", "t T numeric"]);
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn tables_of_text_are_found_with_their_words_for_null() {
    let djia = of_files(&["benchmark/djia-daily-2006-2018"]);
    all_rows(&djia, Layout::Csv, "$");
    has(
        &djia,
        &["date column Date date", "close column Close numeric", "volume column Volume bigint"],
    );
    let air = of_files(&["benchmark/beijing-prsa-hourly/PRSA_Data_Dongsi_20130301-20170228.csv"]);
    all_rows(&air, Layout::Csv, "$");
    assert!(air.toml.contains("missing = \"NA\""), "{}", air.toml);
    has(&air, &["pm2_5 column PM2.5 numeric", "no column No integer", "wd column wd text"]);
    let fred = of_files(&["fred/fred_sp500-fredgraph.csv"]);
    all_rows(&fred, Layout::Csv, "$");
    let stooq = of_files(&["stooq"]);
    assert_eq!(stooq.rows.layout, Layout::Csv);
    assert!(stooq.findings.contains(&Finding::Error(None)), "{:?}", stooq.findings);
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn cassettes_of_banks_and_weather_are_found() {
    let fred = of_cassette("fred/frankfurter-vcr-series-observations.yml");
    all_rows(&fred, Layout::Records, "$.observations");
    let turkey = of_cassette("central-banks/tcmb.yml");
    all_rows(&turkey, Layout::Records, "$.items");
    assert!(turkey.toml.contains("format = \"%d-%m-%Y\""), "{}", turkey.toml);
    all_rows(&of_cassette("central-banks/bcb.yml"), Layout::Records, "$.value");
    all_rows(&of_cassette("central-banks/nbrb.yml"), Layout::Records, "$");
    for file in ["noaa-cdo/ncdc.yml", "noaa-cdo/ncdc_stations.yml", "noaa-cdo/ncdc_locs.yml"] {
        for body in cassette(file) {
            if body.contains("\"results\"") {
                all_rows(&of_text(&body), Layout::Records, "$.results");
            }
        }
    }
}

#[test]
#[cfg_attr(not(has_shared), ignore = "../shared is absent")]
fn every_recorded_file_that_has_rows_is_read_without_a_reject() {
    let mut read = 0;
    let mut unread = Vec::new();
    for path in files("") {
        let name = path.strip_prefix(FIXTURES).unwrap().to_string_lossy().into_owned();
        let is_data = path.extension().is_some_and(|e| e == "json" || e == "csv");
        if !is_data || name.contains("energy-charts") || name.starts_with("benchmark") {
            continue;
        }
        let body = std::fs::read(&path).unwrap();
        match infer(&[Sample { name: &name, body: &body }], "s") {
            Ok(inferred) => {
                assert!(
                    matches!(inferred.findings[..], [Finding::Rows(rows)] if rows > 0),
                    "{name}: {:?}\n{}",
                    inferred.findings,
                    inferred.toml
                );
                read += 1;
            }
            Err(error) => unread.push(format!("{name}: {}", daymark_plan::one_line(&error))),
        }
    }
    assert!(read > 90, "{read}");
    let odd: Vec<&String> = unread.iter().filter(|name| !name.contains("errors")).collect();
    assert_eq!(odd, Vec::<&String>::new());
}
