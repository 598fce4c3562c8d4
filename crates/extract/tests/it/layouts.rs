//! Both layouts: which rows a body has, and what is set aside.

use daymark_extract::{CHUNK_BYTES, EntityValue, Reject, RowContext};
use daymark_plan::{FieldType, Layout};

use crate::{decode, extract, extract_with, lines, rows_of, spec};

#[test]
fn columns_are_zipped_and_scalars_repeat() {
    let rows = spec(
        Layout::Columns,
        "$.daily",
        &[
            ("latitude", "$.latitude", FieldType::Numeric),
            ("date", "time", FieldType::Date),
            ("high", "old_name|temperature|$.nowhere", FieldType::Double),
            ("low?", "low", FieldType::Double),
            ("units", "$.units", FieldType::Jsonb),
            ("rain", "rain", FieldType::Jsonb),
        ],
    );
    let body = "\u{feff}{\"latitude\":38.90,\"units\":{\"t\":\"°C\"},\r\n\
        \"daily\":{\"time\":[\"2026-01-01\", \"2026-01-02\"],\"temperature\":[6, null],\
        \"rain\":[[1],\"x\"]}}\n";
    let (rows, summary) = rows_of(&rows, body);
    assert_eq!(
        lines(&rows),
        ["38.90 2026-01-01 6 - {\"t\":\"°C\"} [1]", "38.90 2026-01-02 - - {\"t\":\"°C\"} \"x\""]
    );
    assert_eq!((summary.extracted, summary.rejected), (2, 0));
    assert_eq!(summary.rows_sha256.len(), 64);
}

#[test]
fn columns_without_an_array_are_one_row_per_place() {
    let fields = [("t", "t", FieldType::Double), ("u?", "u", FieldType::Text)];
    let (rows, _) =
        rows_of(&spec(Layout::Columns, "$.current", &fields), "{\"current\":{\"t\":1}}");
    assert_eq!(lines(&rows), ["1 -"]);
    let body = "[{\"t\":1},{\"t\":[]},{\"t\":[2,3],\"u\":\"x\"}]";
    let (rows, summary) = rows_of(&spec(Layout::Columns, "$[*]", &fields), body);
    assert_eq!(lines(&rows), ["1 -", "2 x", "3 x"]);
    assert_eq!(summary.extracted, 3);
    // A place that has none of the fields has no row, not a row of nulls.
    let nothing = spec(Layout::Columns, "$", &[("t?", "t", FieldType::Double)]);
    assert_eq!(rows_of(&nothing, "{}").1.extracted, 0);
}

#[test]
fn a_bad_value_sets_its_row_aside_and_leaves_no_byte() {
    let rows = spec(
        Layout::Columns,
        "$.a[0]",
        &[("n", "n", FieldType::Integer), ("s", "['s t']", FieldType::Text)],
    );
    let body = "{\"a\":[{\"n\":[1,\"x\",3,4],\"s t\":[\"a\",\"b\",{\"k\":0},\"d\"]}]}";
    let (good, summary) = rows_of(&rows, body);
    assert_eq!(lines(&good), ["1 a", "4 d"]);
    let reject = |row, field: &str, path: &str, value: &str, reason: &str| Reject {
        row,
        field: field.to_owned(),
        path: path.to_owned(),
        value: value.to_owned(),
        reason: reason.to_owned(),
    };
    assert_eq!(
        summary.rejects,
        [
            reject(1, "n", "$.a[0].n[1]", "\"x\"", "expected a whole number, found other text"),
            reject(2, "s", "$.a[0]['s t'][2]", "{\"k\":0}", "expected a string, found an object"),
        ]
    );
    assert_eq!((summary.extracted, summary.rejected), (2, 2));
}

#[test]
fn a_repeated_value_that_does_not_fit_sets_every_row_aside() {
    let rows = spec(
        Layout::Columns,
        "$",
        &[("n", "n", FieldType::Integer), ("z", "$.zone", FieldType::Double)],
    );
    let body = format!("{{\"zone\":\"{}\",\"n\":[{}0]}}", "é".repeat(300), "0,".repeat(149));
    let (good, summary) = rows_of(&rows, &body);
    assert_eq!((good.len(), summary.rejected, summary.rejects.len()), (0, 150, 100));
    let last = &summary.rejects[99];
    assert_eq!((last.row, last.path.as_str()), (99, "$.zone"));
    assert_eq!(last.value.chars().count(), 200);
    assert!(last.value.ends_with("é…"));
}

#[test]
fn records_are_objects_with_members_missing_or_null() {
    let rows = spec(
        Layout::Records,
        "$.items",
        &[
            ("id", "id", FieldType::Integer),
            ("name?", "user.name|nick", FieldType::Text),
            ("page", "$.page", FieldType::Integer),
        ],
    );
    let body = r#"{"page":7,"items":[
        {"id":1,"user":{"name":"a"},"nick":"b"},
        {"nick":"b","id":2},
        {"id":3,"user":{"name":null},"nick":"b"},
        {"user":{"name":"a"}},
        5,
        {"id":null},
        {"id":"6b"}
    ]}"#;
    let (good, summary) = rows_of(&rows, body);
    assert_eq!(lines(&good), ["1 a 7", "2 b 7", "3 - 7", "- - 7"]);
    let rejects: Vec<String> = summary
        .rejects
        .iter()
        .map(|reject| format!("{} {} {} {}", reject.row, reject.field, reject.path, reject.reason))
        .collect();
    assert_eq!(
        rejects,
        [
            "3 id $.items[3].id missing",
            "4  $.items[4] expected an object, found a number",
            "6 id $.items[6].id expected a whole number, found other text",
        ]
    );
}

#[test]
fn records_may_be_one_object_or_several_arrays() {
    let fields = [("v", "v", FieldType::Integer)];
    let one = spec(Layout::Records, "$", &fields);
    assert_eq!(lines(&rows_of(&one, "{\"v\":1}").0), ["1"]);
    assert_eq!(rows_of(&one, "{\"v\":[1]}").1.rejects[0].path, "$.v");
    let several = spec(Layout::Records, "$[*].items", &fields);
    let body = "[{\"items\":[{\"v\":1},{\"v\":2}]},{\"items\":[]},{\"items\":{\"v\":3}}]";
    assert_eq!(lines(&rows_of(&several, body).0), ["1", "2", "3"]);
}

#[test]
fn the_last_of_two_members_with_one_name_counts_everywhere() {
    let body = "{\"v\":[1],\"w\":1,\"v\":[2,3],\"w\":{\"a\":1}}";
    let fields = [("v", "v", FieldType::Integer), ("w", "w", FieldType::Jsonb)];
    let (rows, _) = rows_of(&spec(Layout::Columns, "$", &fields), body);
    assert_eq!(lines(&rows), ["2 {\"a\":1}", "3 {\"a\":1}"]);
    let (rows, _) = rows_of(
        &spec(Layout::Columns, "$..[?@.x]", &[("x", "x", FieldType::Integer)]),
        "{\"a\":{\"x\":1},\"a\":{\"x\":2}}",
    );
    assert_eq!(lines(&rows), ["2"]);
}

#[test]
fn the_number_of_the_row_stands_before_the_fields() {
    let rows = spec(Layout::Columns, "$", &[("v", "v", FieldType::Bigint)]);
    let context = RowContext { first_row: 40, ..RowContext::default() };
    let (tuples, summary) = extract_with(&rows, b"{\"v\":[7,true,8]}", context).unwrap();
    let tuples = decode::tuples(&tuples);
    let shown: Vec<Vec<String>> = tuples
        .iter()
        .map(|tuple| {
            let fields = tuple.iter().zip([FieldType::Bigint, FieldType::Bigint]);
            fields.map(|(field, kind)| decode::text(kind, field.as_ref().unwrap())).collect()
        })
        .collect();
    assert_eq!(shown, [["40", "7"], ["42", "8"]]);
    assert_eq!(summary.rejects[0].row, 41);
}

#[test]
fn the_columns_of_the_entity_stand_between_and_outside_the_hash() {
    let rows = spec(Layout::Records, "$", &[("v", "v", FieldType::Bigint)]);
    let value = |field_type, value: Option<&str>| EntityValue {
        field_type,
        value: value.map(ToOwned::to_owned),
    };
    let kinds = [FieldType::Text, FieldType::Double, FieldType::Bigint, FieldType::Boolean];
    let texts = [Some(""), Some("-0.13"), Some("7"), None];
    let entity_values =
        kinds.into_iter().zip(texts).map(|(kind, text)| value(kind, text)).collect();
    let with = RowContext { entity_values, ..RowContext::default() };
    let (tuples, summary) = extract_with(&rows, b"[{\"v\":1},{\"v\":2}]", with).unwrap();
    for (tuple, v) in decode::tuples(&tuples).iter().zip(["1", "2"]) {
        assert_eq!(tuple.len(), 6);
        let shown: Vec<Option<String>> = tuple[1..]
            .iter()
            .zip(kinds.into_iter().chain([FieldType::Bigint]))
            .map(|(field, kind)| field.as_ref().map(|bytes| decode::text(kind, bytes)))
            .collect();
        assert_eq!(lines(&[shown]), [format!(" -0.13 7 - {v}")]);
    }
    let (_, without) = extract(&rows, b"[{\"v\":1},{\"v\":2}]").unwrap();
    assert_eq!(summary.rows_sha256, without.rows_sha256);

    let unfit = RowContext {
        entity_values: vec![value(FieldType::Bigint, Some("north"))],
        ..RowContext::default()
    };
    assert_eq!(
        daymark_extract::open(&rows, b"[]", unfit).unwrap_err().to_string(),
        "the entity's value `north` does not fit its column: expected a whole number, found other text"
    );
}

#[test]
fn the_hash_is_of_the_mapped_fields_of_the_good_rows() {
    let rows = spec(Layout::Columns, "$.d", &[("v", "v", FieldType::Double)]);
    let hash = |body: &str| {
        let context = RowContext { first_row: 9, ..RowContext::default() };
        extract_with(&rows, body.as_bytes(), context).unwrap().1.rows_sha256
    };
    let first = hash("{\"generationtime_ms\":0.1,\"d\":{\"v\":[1,2.50]}}");
    assert_eq!(first, hash("{\"d\":{\"v\":[1.0, \"x\", 2.5]},\"generationtime_ms\":0.2}"));
    assert_ne!(first, hash("{\"d\":{\"v\":[1,2.51]}}"));
    assert_ne!(first, hash("{\"d\":{\"v\":[2.5,1]}}"));
    assert_ne!(first, hash("{\"d\":{\"v\":[1,2.5,null]}}"));
}

#[test]
fn chunks_are_bounded_and_join_to_the_same_bytes() {
    let rows = spec(Layout::Columns, "$", &[("v", "v", FieldType::Text)]);
    let body = format!("{{\"v\":[{}0]}}", "\"some text of a row\",".repeat(10_000));
    let (whole, summary) = extract(&rows, body.as_bytes()).unwrap();
    let mut extraction =
        daymark_extract::open(&rows, body.as_bytes(), RowContext::default()).unwrap();
    let mut chunk = bytes::BytesMut::new();
    let mut joined = Vec::new();
    while extraction.next_chunk(&mut chunk).unwrap() {
        assert!(chunk.len() < CHUNK_BYTES + 200);
        decode::tuples(&chunk);
        joined.extend_from_slice(&chunk.split());
    }
    assert_eq!(joined, whole);
    assert_eq!(extraction.summary(), &summary);
    assert!(!extraction.next_chunk(&mut chunk).unwrap(), "the end stays the end");
    assert_eq!(summary.extracted, 10_001);
}
