//! Bytes in any encoding become UTF-8, whole or not at all.

use daymark_extract::to_utf8;
use proptest::prelude::*;

const TEXT: &str = "{\"stadt\":\"Köln, Gänsemarkt\",\"größe\":\"3 m²\",\"ort\":\"Überlingen\"}";

fn sixteen(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

/// The text and the noted encoding, or the error.
fn decoded(body: &[u8], charset: Option<&str>) -> Result<(String, Option<&'static str>), String> {
    let (text, encoding) = to_utf8(body, charset).map_err(|error| error.to_string())?;
    Ok((String::from_utf8(text.into_owned()).unwrap(), encoding))
}

fn good(text: &str, encoding: Option<&'static str>) -> (String, Option<&'static str>) {
    (text.to_owned(), encoding)
}

#[test]
fn utf8_stays_as_it_is() {
    for charset in [None, Some("utf-8"), Some("\"UTF-8\""), Some("no-such-charset")] {
        assert_eq!(decoded(TEXT.as_bytes(), charset), Ok(good(TEXT, None)), "{charset:?}");
    }
    // ASCII is the same in all of them, and needs no note.
    for charset in [None, Some("iso-8859-1"), Some("shift_jis")] {
        assert_eq!(decoded(b"{\"a\":1}", charset), Ok(good("{\"a\":1}", None)), "{charset:?}");
    }
    let marked = format!("\u{feff}{TEXT}");
    assert_eq!(decoded(marked.as_bytes(), Some("iso-8859-1")), Ok(good(&marked, None)));
    assert!(matches!(to_utf8(TEXT.as_bytes(), None).unwrap().0, std::borrow::Cow::Borrowed(_)));
    assert_eq!(decoded(b"", None), Ok(good("", None)));
}

#[test]
fn marks_charsets_and_looks_tell_the_encoding() {
    let (latin, _, lossy) = encoding_rs::WINDOWS_1252.encode(TEXT);
    assert!(!lossy);
    assert_eq!(decoded(&latin, Some("ISO-8859-1")), Ok(good(TEXT, Some("windows-1252"))));
    assert_eq!(decoded(&latin, None), Ok(good(TEXT, Some("windows-1252"))));
    let russian = "{\"город\":\"Санкт-Петербург\",\"погода\":\"сегодня дождь, завтра снег\"}";
    let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode(russian);
    assert_eq!(decoded(&bytes, None), Ok(good(russian, Some("windows-1251"))));
    let japanese = "{\"都市\":\"東京\",\"天気\":\"今日は晴れのち曇りでしょう\"}";
    let (bytes, _, _) = encoding_rs::SHIFT_JIS.encode(japanese);
    assert_eq!(decoded(&bytes, None), Ok(good(japanese, Some("Shift_JIS"))));
    for (bytes, name) in [
        (sixteen(TEXT, u16::to_le_bytes), "UTF-16LE"),
        (sixteen(TEXT, u16::to_be_bytes), "UTF-16BE"),
    ] {
        assert_eq!(decoded(&bytes, None), Ok(good(TEXT, Some(name))));
        assert_eq!(decoded(&bytes, Some(name)), Ok(good(TEXT, Some(name))));
    }
    let marked = sixteen(&format!("\u{feff}{TEXT}"), u16::to_le_bytes);
    assert_eq!(decoded(&marked, Some("utf-8")), Ok(good(TEXT, Some("UTF-16LE"))));
}

#[test]
fn what_has_no_meaning_is_an_error_with_its_position() {
    let error = |body: &[u8], charset| decoded(body, charset).unwrap_err();
    insta::assert_snapshot!(
        error(b"{\n\"\xe9\"}", Some("utf-8")),
        @"the body is not UTF-8 at line 2 column 2 (byte 3)"
    );
    // It was UTF-8 and is damaged: not a new encoding.
    insta::assert_snapshot!(
        error(b"{\n\"\xc3\xa9 \xff\"}", None),
        @"the body is not UTF-8 at line 2 column 4 (byte 6)"
    );
    insta::assert_snapshot!(
        error(b"{\n\"\x83\x65 \xff\"}", Some("shift_jis")),
        @"the body is not Shift_JIS at line 2 column 4 (byte 6)"
    );
    let mut cut = sixteen("\u{feff}{\"a\":\n\"b", u16::to_le_bytes);
    cut.push(0);
    insta::assert_snapshot!(error(&cut, None), @"the body is not UTF-16LE at line 2 column 3 (byte 18)");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_bytes_get_an_answer(
        body in prop::collection::vec(any::<u8>(), 0..300),
        charset in prop::option::of(prop::sample::select(vec![
            "utf-8", "utf-16", "gb18030", "big5", "euc-jp", "iso-2022-jp", "iso-2022-kr", "koi8-r", "x",
        ])),
    ) {
        if let Ok((text, encoding)) = to_utf8(&body, charset) {
            prop_assert!(std::str::from_utf8(&text).is_ok());
            prop_assert_eq!(encoding.is_none(), *text == *body);
        }
    }

    #[test]
    fn sixteen_bits_come_back(text in "\\{\"\\PC{0,40}\"\\}", big in any::<bool>(), mark in any::<bool>()) {
        let marked = if mark { format!("\u{feff}{text}") } else { text.clone() };
        let bytes = sixteen(&marked, if big { u16::to_be_bytes } else { u16::to_le_bytes });
        // Without a mark two ASCII characters must stand at the start.
        if mark || text.as_bytes()[2].is_ascii() {
            prop_assert_eq!(decoded(&bytes, None).unwrap().0, text);
        }
    }
}
