//! What `[expect]`, paging and cursors ask of a body.

use daymark_extract::{Scalar, same_length, scalars_at};
use daymark_plan::JsonPath;

fn lengths(paths: &[&str], body: &str) -> Option<Vec<(String, u64)>> {
    let paths: Vec<JsonPath> = paths.iter().map(|path| JsonPath::parse(path).unwrap()).collect();
    same_length(&paths, body.as_bytes()).unwrap()
}

#[test]
fn lengths_are_told_when_they_differ() {
    let body =
        r#"{"a":[1,2],"b":[[],{"x":"]"}],"c":[1],"d":null,"s":"text","p":[{"v":[1]},{"v":[1,2]}]}"#;
    assert_eq!(lengths(&["$.a", "$.b"], body), None);
    assert_eq!(lengths(&["$.c", "$.s"], body), None);
    assert_eq!(lengths(&["$.d", "$.nowhere"], body), None);
    assert_eq!(lengths(&[], body), None);
    let owned = |lengths: &[(&str, u64)]| {
        Some(lengths.iter().map(|(path, length)| ((*path).to_owned(), *length)).collect::<Vec<_>>())
    };
    assert_eq!(lengths(&["$.a", "$.c"], body), owned(&[("$.a", 2), ("$.c", 1)]));
    assert_eq!(lengths(&["$.a", "$.nowhere"], body), owned(&[("$.a", 2), ("$.nowhere", 0)]));
    assert_eq!(lengths(&["$.p[*].v"], body), owned(&[("$.p[0].v", 1), ("$.p[1].v", 2)]));
    assert!(same_length(&[], b"{").is_err());
}

#[test]
fn plain_values_come_in_the_order_of_the_body() {
    let body = r#"{"data":[{"at":"2026-\u00e9"},{"at":1.50},{"at":null},{"at":[1]},{"at":true},{},{"at":"\ud83d"}]}"#;
    let found = scalars_at(&JsonPath::parse("$.data[*].at").unwrap(), body.as_bytes()).unwrap();
    assert_eq!(
        found,
        [
            Scalar::Text("2026-é".to_owned()),
            Scalar::Number("1.50".to_owned()),
            Scalar::Null,
            Scalar::Boolean(true)
        ]
    );
    let next = JsonPath::parse("$.next").unwrap();
    assert_eq!(scalars_at(&next, b"{}").unwrap(), []);
    assert!(scalars_at(&next, b"oops").is_err());
}
