//! Tables, keyed objects and grids against readers made another way, for any content; and any bytes
//! in every layout.

use bytes::BytesMut;
use daymark_extract::RowContext;
use daymark_plan::{
    CsvFormat, Field, FieldPlace, FieldType, GridHeader, JsonPath, Layout, Reading, RowsSpec,
};
use proptest::prelude::*;
use serde_json::Value;

use crate::{extract, rows_of, spec};

/// A table format and the crate `csv` set to the same.
fn formats() -> impl Strategy<Value = CsvFormat> {
    let separators = prop::sample::select(vec![b',', b';', b'\t', b'|']);
    let quotes = prop::sample::select(vec![b'"', b'\'']);
    (separators, quotes, any::<bool>()).prop_map(|(separator, quote, comment)| CsvFormat {
        separator,
        quote: Some(quote),
        comment: comment.then_some(b'#'),
        ..CsvFormat::default()
    })
}

/// The names `a`, `b` and `c` as text columns, cells as they are.
fn abc(format: CsvFormat) -> RowsSpec {
    let fields =
        [("a", "a", FieldType::Text), ("b", "b", FieldType::Text), ("c", "3", FieldType::Text)];
    RowsSpec { csv: format, ..spec(Layout::Csv, "$", &fields) }
}

/// Every layout, with every option that could matter to damaged input, over every type.
fn every_layout() -> Vec<RowsSpec> {
    let types = |place: &str| -> Vec<(&str, String, FieldType)> {
        FieldType::ALL.iter().map(|(name, kind)| (*name, place.to_owned(), *kind)).collect()
    };
    let mut specs = Vec::new();
    for (layout, at, place) in [
        (Layout::Columns, "$[*]", "a|^.a"),
        (Layout::Records, "$.*", "a|^^.b|#"),
        (Layout::Keyed, "$", "key"),
        (Layout::Keyed, "$.a", "@|key 2"),
        (Layout::Keyed, "$..a", "a|key 2"),
        (Layout::Grid, "$", "1"),
        (Layout::Grid, "$[*]", "a|2|$.a"),
        (Layout::Csv, "$", "a|1"),
        (Layout::Csv, "$", "2|#"),
        (Layout::Ndjson, "$", "a.b|a|#"),
    ] {
        for (name, place, kind) in types(place) {
            let one = spec(layout, at, &[(name, &place, kind)]);
            let reading = Reading {
                missing: vec!["NA".to_owned(), String::new()],
                decimal: ',',
                grouping: Some('.'),
                format: match kind {
                    FieldType::Date => Some("%d/%m/%y".to_owned()),
                    FieldType::Time => Some("%I:%M %p".to_owned()),
                    FieldType::Timestamp => Some("%Y%m%d %H%M%S%.f".to_owned()),
                    FieldType::Timestamptz => Some("%s%.f %z".to_owned()),
                    _ => None,
                },
            };
            let read =
                |field: &Field| Field { reading: reading.clone(), optional: true, ..field.clone() };
            let fields = one.fields.iter().map(read).collect();
            let csv = CsvFormat { header: false, comment: Some(b'#'), ..CsvFormat::default() };
            let header = RowsSpec {
                fields,
                grid: GridHeader::FirstRow,
                csv,
                at_optional: true,
                ..one.clone()
            };
            let names = JsonPath::parse("$.a").unwrap();
            specs.push(RowsSpec { grid: GridHeader::At(names), ..header.clone() });
            specs.extend([one, header]);
        }
    }
    specs
}

fn run(specs: &[RowsSpec], body: &[u8]) {
    for rows in specs {
        // `extract` compares the rows with `scan`'s.
        if let Ok((tuples, summary)) = extract(rows, body) {
            assert_eq!(crate::decode::tuples(&tuples).len() as u64, summary.extracted);
        }
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn a_written_table_is_read_back(
        format in formats(),
        records in prop::collection::vec(prop::collection::vec("[a-z,;|\t\"'#\r\n é.]{0,6}", 3), 0..20),
        crlf in any::<bool>(),
        always in any::<bool>(),
    ) {
        let mut writer = csv::WriterBuilder::new()
            .delimiter(format.separator)
            .quote(format.quote.unwrap())
            .terminator(if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') })
            // What starts like a comment must be quoted to come back.
            .quote_style(if always || format.comment.is_some() { csv::QuoteStyle::Always } else { csv::QuoteStyle::Necessary })
            .from_writer(Vec::new());
        writer.write_record(["a", "b", "c"]).unwrap();
        for record in &records {
            writer.write_record(record).unwrap();
        }
        let body = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let (rows, summary) = rows_of(&abc(format), &body);
        prop_assert_eq!(summary.rejects, []);
        prop_assert_eq!(rows.len(), records.len());
        for (row, record) in rows.iter().zip(&records) {
            for (found, written) in row.iter().zip(record) {
                // An empty cell is null where the writer did not quote it.
                prop_assert_eq!(found.as_deref().unwrap_or(""), written);
                prop_assert_eq!(found.is_none(), written.is_empty() && !always && format.comment.is_none());
            }
        }
    }

    #[test]
    fn any_table_is_read_as_the_crate_csv_reads_it(format in formats(), text in "[ab,;|\t\"'#\r\n ]{0,60}") {
        // Three numbered columns; the crate is set to take records of any width.
        // To the crate a comment goes on behind a lone carriage return, and one that is cut is a record.
        let format = CsvFormat { comment: format.comment.filter(|_| !text.contains('\r')), ..format };
        let body = format!("a,b,c\n{text}{}", if format.comment.is_some() { "\n" } else { "" });
        let mut fields = abc(CsvFormat::default()).fields;
        for (field, number) in fields.iter_mut().zip(1..) {
            field.places = vec![FieldPlace::Column(daymark_plan::ColumnRef::Position(number))];
        }
        let rows = RowsSpec { csv: CsvFormat { separator: b',', ..format }, ..RowsSpec::new(Layout::Csv, JsonPath::parse("$").unwrap(), fields) };
        let mut reader = csv::ReaderBuilder::new()
            .quote(format.quote.unwrap())
            .comment(format.comment)
            .flexible(true)
            .from_reader(body.as_bytes());
        let records: Vec<Vec<String>> =
            reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect();
        match extract(&rows, body.as_bytes()) {
            // The crate takes a quote that is never closed; a body that is cut is not taken here.
            Err(error) => prop_assert!(error.to_string().contains("never closed"), "{}", error),
            Ok((tuples, summary)) => {
                prop_assert_eq!(summary.extracted + summary.rejected, records.len() as u64);
                let bad: Vec<i64> = summary.rejects.iter().map(|reject| reject.row).collect();
                let good = (0..).zip(&records).filter(|(row, _)| !bad.contains(row));
                let found = crate::decode::tuples(&tuples);
                for (tuple, (_, record)) in found.iter().zip(good) {
                    let cells: Vec<&str> = tuple[1..].iter()
                        .map(|cell| cell.as_deref().map_or("", |cell| std::str::from_utf8(cell).unwrap())).collect();
                    prop_assert_eq!(&cells, record);
                }
                for reject in &summary.rejects {
                    let width = records[usize::try_from(reject.row).unwrap()].len();
                    let garbled = reject.reason.contains("closing quote");
                    prop_assert!(garbled || width != 3, "{}", reject);
                }
            }
        }
    }

    #[test]
    fn keyed_objects_are_read_as_serde_json_reads_them(
        members in prop::collection::vec(("[a-c\"\\\\é]{0,2}", prop::option::of(any::<i32>())), 0..12),
        pretty in any::<bool>(),
    ) {
        let shown = |name: &str| serde_json::to_string(name).unwrap();
        let written: Vec<String> = members.iter().map(|(name, value)| {
            let value = value.map_or("null".to_owned(), |value| value.to_string());
            format!("{}:{{\"v\":{value}}}", shown(name))
        }).collect();
        let body = format!("{{{}}}", written.join(if pretty { " ,\n" } else { "," }));
        let tree: Value = serde_json::from_str(&body).unwrap();
        let rows = spec(Layout::Keyed, "$", &[("k", "key", FieldType::Text), ("v", "v", FieldType::Integer)]);
        let (mut found, summary) = rows_of(&rows, &body);
        prop_assert_eq!(summary.rejects, []);
        let mut expected: Vec<Vec<Option<String>>> = tree.as_object().unwrap().iter().map(|(name, value)| {
            vec![Some(name.clone()), value["v"].as_i64().map(|value| value.to_string())]
        }).collect();
        // A name that comes twice stands where its last value is, in the tree where its first was.
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn grids_are_read_as_serde_json_reads_them(
        table in prop::collection::vec(prop::collection::vec(prop::option::of("[a-z\"é]{0,4}"), 0..5), 0..12),
        header in any::<bool>(),
    ) {
        let names = ["x", "y", "z"];
        let mut body: Vec<Value> = table.iter().map(|row| serde_json::json!(row)).collect();
        if header {
            body.insert(0, serde_json::json!(names));
        }
        let body = Value::Array(body).to_string();
        let places = if header { ["x", "z"] } else { ["1", "3"] };
        let mut rows = spec(Layout::Grid, "$", &[("x", places[0], FieldType::Text), ("z", places[1], FieldType::Text)]);
        if header {
            rows.grid = GridHeader::FirstRow;
        }
        let (found, summary) = rows_of(&rows, &body);
        let expected: Vec<Vec<Option<String>>> = table.iter()
            .filter(|row| if header { row.len() == 3 } else { row.len() >= 3 })
            .map(|row| vec![row[0].clone(), row[2].clone()])
            .collect();
        prop_assert_eq!(summary.rejected, (table.len() - expected.len()) as u64);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn lines_of_json_are_the_records_of_an_array(
        values in prop::collection::vec(prop::option::of(any::<i64>()), 0..20),
        gaps in prop::collection::vec("[ \r\n]{0,3}", 21),
    ) {
        let records: Vec<String> = values.iter().map(|v| serde_json::json!({ "v": v }).to_string()).collect();
        let fields = [("v", "v", FieldType::Bigint), ("n", "#", FieldType::Bigint)];
        let array = format!("[{}]", records.join(","));
        let (expected, _) = extract(&spec(Layout::Records, "$", &fields), array.as_bytes()).unwrap();
        let lines: Vec<String> = records.iter().zip(&gaps).map(|(record, gap)| format!("{gap}{record}\n")).collect();
        let body = lines.concat();
        match extract(&spec(Layout::Ndjson, "$", &fields), body.as_bytes()) {
            Ok((found, _)) => prop_assert_eq!(found, expected),
            Err(error) => prop_assert!(records.is_empty(), "{}", error),
        }
    }
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn any_bytes_get_an_answer_in_every_layout(
        noise in prop::collection::vec(any::<u8>(), 0..80),
        text in "[\\[\\]{}\",:ab0-9.\r\n \\\\\u{e9}NA/-]{0,120}",
        at in any::<prop::sample::Index>(),
    ) {
        let specs = every_layout();
        run(&specs, &noise);
        run(&specs, text.as_bytes());
        let seeds: [&[u8]; 4] = [
            br#"{"a":{"a":[["a","b"],[1,"2",{"a":null}]],"b":{"a":"1.234,5"}},"b":{"a":"31/12/25"}}"#,
            br#"[["a","b"],["1","x"],["\ud83d",2],{"a":[1,2]},{"a":{"a":1}}]"#,
            b"a,b\n1,\"x\"\"y\"\n#c\n\"p\nq\",12:30 PM\nNA,\n",
            b"{\"a\":{\"b\":1}}\n\n{\"a\":\"20260101 120000.5\"}\n[]\n",
        ];
        for seed in seeds {
            let mut body = seed.to_vec();
            let at = at.index(body.len());
            run(&specs, &body[..at]);
            body.splice(at..at, noise.iter().copied().take(3));
            run(&specs, &body);
        }
    }
}

#[test]
fn a_large_table_needs_no_memory_that_grows() {
    // The reader holds one record: what is appended is all there is.
    let rows = abc(CsvFormat::default());
    let body = format!("a,b,c\n{}", "x,\"y\",z\n".repeat(50_000));
    let mut extraction =
        daymark_extract::open(&rows, body.as_bytes(), RowContext::default()).unwrap();
    let mut chunk = BytesMut::new();
    let mut largest = 0;
    while extraction.next_chunk(&mut chunk).unwrap() {
        largest = largest.max(chunk.len());
        chunk.clear();
    }
    assert_eq!(extraction.summary().extracted, 50_000);
    assert!(largest < daymark_extract::CHUNK_BYTES + 200);
}

#[test]
fn a_table_may_be_read_that_is_nowhere_as_a_whole() {
    /// Records, made as they are asked for.
    struct Endless {
        left: u64,
        held: Vec<u8>,
    }
    impl std::io::Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.held.is_empty() && self.left > 0 {
                self.left -= 1;
                self.held = "x,\"y \u{e9}\",z\n".repeat(1000).into_bytes();
            }
            let count = into.len().min(self.held.len());
            into[..count].copy_from_slice(&self.held[..count]);
            self.held.drain(..count);
            Ok(count)
        }
    }
    let rows = abc(CsvFormat::default());
    let body = Endless { left: 100, held: b"a,b,c\n".to_vec() };
    let summary = daymark_extract::scan_read(&rows, Box::new(body)).unwrap();
    assert_eq!((summary.extracted, summary.rejected), (100_000, 0));
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn a_body_is_plain_utf8_when_nothing_is_to_be_done_with_it(
        bytes in prop::collection::vec(any::<u8>(), 0..12),
        text in "[a\u{e9}\u{20ac}\u{feff}\u{0}]{0,8}",
        charset in prop::option::of(prop::sample::select(vec!["utf-8", "us-ascii", "latin1", "utf-16le", "nonsense"])),
    ) {
        for body in [bytes.as_slice(), text.as_bytes()] {
            let plain = daymark_extract::is_plain_utf8(body, charset).unwrap();
            let taken = daymark_extract::to_utf8(body, charset);
            let as_it_is = matches!(taken, Ok((std::borrow::Cow::Borrowed(_), None)));
            // Where it is not sure it says no, and the body is looked at as a whole.
            prop_assert!(!plain || as_it_is);
            prop_assert!(plain || !as_it_is || body.contains(&0) || body.is_empty() || charset == Some("utf-16le"));
        }
    }
}
