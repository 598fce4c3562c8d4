//! The built charts, styles and fonts, embedded in the binary.
//!
//! In: `dist/`, made by `make ui`, with Vite's `manifest.json`. Out: the addresses a page links to,
//! and the files under `/assets/`, whose names carry a hash of their content and so never change.
//! Deliberately absent: reading files while running.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use crate::Dashboard;
use crate::answer;

#[derive(RustEmbed)]
#[folder = "dist/"]
#[allow_missing = true]
struct Dist;

/// Vite's list of what it built.
const MANIFEST: &str = "manifest.json";
/// The module every page loads.
const ENTRY: &str = "src/main.ts";

/// The files a page links to.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    /// The script of every page; `None` when the charts were not built.
    pub(crate) script: Option<String>,
    /// The style sheets.
    pub(crate) styles: Vec<String>,
    /// What the script loads for charts; a page with charts asks for it early.
    pub(crate) charts: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    file: String,
    #[serde(default)]
    css: Vec<String>,
    #[serde(default)]
    dynamic_imports: Vec<String>,
}

/// The bundle of this binary.
pub(crate) static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| {
    let manifest = Dist::get(MANIFEST).map(|file| file.data);
    manifest.map(|text| read_manifest(&text)).unwrap_or_default()
});

fn read_manifest(text: &[u8]) -> Bundle {
    let entries: BTreeMap<String, Entry> = match serde_json::from_slice(text) {
        Ok(entries) => entries,
        Err(cause) => {
            tracing::error!(%cause, "the manifest of the built charts cannot be read");
            return Bundle::default();
        }
    };
    let address = |file: &String| format!("/assets/{file}");
    let Some(entry) = entries.get(ENTRY) else { return Bundle::default() };
    let imports = entry.dynamic_imports.iter().filter_map(|name| entries.get(name));
    Bundle {
        script: Some(address(&entry.file)),
        styles: entry.css.iter().map(address).collect(),
        charts: imports.map(|entry| address(&entry.file)).collect(),
    }
}

/// `GET /assets/{file}`.
pub(crate) async fn asset(
    State(dashboard): State<Arc<Dashboard>>,
    Path(file): Path<String>,
) -> Response {
    let found = if file == MANIFEST { None } else { Dist::get(&file) };
    let Some(found) = found else { return answer::unknown(State(dashboard)).await };
    let headers = [
        (CONTENT_TYPE, content_type(&file)),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, found.data).into_response()
}

fn content_type(file: &str) -> &'static str {
    match file.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("woff2") => "font/woff2",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_names_script_styles_and_charts() {
        let bundle = read_manifest(
            br#"{"src/charts.ts": {"file": "charts-1.js", "isDynamicEntry": true},
                 "src/main.ts": {"file": "main-2.js", "isEntry": true,
                                 "dynamicImports": ["src/charts.ts"], "css": ["main-3.css"]}}"#,
        );
        assert_eq!(bundle.script.as_deref(), Some("/assets/main-2.js"));
        assert_eq!(bundle.styles, ["/assets/main-3.css"]);
        assert_eq!(bundle.charts, ["/assets/charts-1.js"]);
    }
}
