//! A pipeline folder with its raw objects, and a database.
//!
//! In: how many places there are. Out: two fetches of each place in a raw store, made by `daymark fetch`,
//! and what goes before each run. Deliberately absent: what is measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use daymark_testkit::database::{Kind, TestDatabase};
use tempfile::TempDir;

use crate::api::Api;
use crate::load::Case;

const SETTINGS: &str = "name = \"bench\"\ntime_zone = \"UTC\"\nschedule = \"cron(0 8 * * ? *)\"\n\
                        [raw]\nurl = \"file:raw\"\n";

const SOURCE: &str = r#"id = "archive"
[request]
url = "{{api}}/v1/archive"
query = { place = "{{ entity.id }}", hours = "{{hours}}" }
[entities]
file = "places.csv"
[expect]
absent = ["$.error"]
[rows]
layout = "columns"
at = "$.hourly"
[rows.fields]
time = { path = "time", type = "timestamp" }
temperature = { path = "temperature_2m", type = "double" }
humidity = { path = "relative_humidity_2m", type = "double" }
precipitation = { path = "precipitation", type = "double" }
wind_speed = { path = "wind_speed_10m", type = "double" }
cloud_cover = { path = "cloud_cover", type = "double" }
"#;

const MODEL: &str = r#"/* model
table = "weather_hourly"
key = ["place", "time"]
[columns]
place = "text not null"
time = "timestamp not null"
temperature = "double precision check (temperature between -130 and 140)"
humidity = "double precision check (humidity between 0 and 100)"
precipitation = "double precision check (precipitation >= 0)"
wind_speed = "double precision"
cloud_cover = "double precision"

[[checks]]
name = "the wind is one"
range = { column = "wind_speed", min = 0, max = 500 }

[[checks]]
name = "a year has its hours"
severity = "warn"
row_count = { min = {{hours}}, max = {{hours}} }

[[checks]]
name = "nothing is missing"
severity = "warn"
not_null = ["temperature", "humidity", "precipitation", "wind_speed", "cloud_cover"]
*/
select _fetch_id, _fetch_row, _entity as place, time, temperature, humidity, precipitation,
       wind_speed, cloud_cover
from raw_archive
"#;

/// A pipeline, its raw store, its database.
pub(crate) struct World {
    pub(crate) rows: usize,
    pub(crate) bytes: u64,
    home: std::rc::Rc<TempDir>,
    database: TestDatabase,
    kind: Kind,
}

impl World {
    /// Writes the folder and fetches so many hours of every place, twice.
    pub(crate) async fn new(kind: Kind, api: &Api, places: usize, hours: usize) -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        for folder in ["sources", "models"] {
            fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        let ids: Vec<String> = (0..places).map(|place| format!("p{place:04}")).collect();
        let write = |name: &str, text: &str| fs::write(home.path().join(name), text).unwrap();
        write("daymark.toml", SETTINGS);
        let of_hours = |text: &str| text.replace("{{hours}}", &hours.to_string());
        write("sources/archive.toml", &of_hours(&SOURCE.replace("{{api}}", &api.url())));
        write("models/weather_hourly.sql", &of_hours(MODEL));
        write("places.csv", &format!("id\n{}\n", ids.join("\n")));
        // All rows unchanged are a second fetch of each; with ten times the data it is not wanted.
        for _ in 0..if places > 1000 { 1 } else { 2 } {
            let fetched = program()
                .args(["fetch", "archive", "--json"])
                .env("DAYMARK_PIPELINE", home.path())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&fetched.stderr);
            assert!(fetched.status.success(), "the places could not be fetched: {said}");
        }
        let bytes = bytes_in(&home.path().join("raw/archive"));
        let database = TestDatabase::new(kind).await;
        Self { rows: places * hours, bytes, home: home.into(), database, kind }
    }

    /// The same raw store on an embedded database.
    pub(crate) fn on_embedded(&self) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let database = runtime.block_on(TestDatabase::new(Kind::Embedded));
        let home = std::rc::Rc::clone(&self.home);
        Self { rows: self.rows, bytes: self.bytes, home, database, kind: Kind::Embedded }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn database_url(&self) -> &str {
        &self.database.url
    }

    /// Where the encoded rows are: with every column of `raw_archive`, and beside it (`.narrow`) with
    /// the columns of the table alone.
    pub(crate) fn encoded(&self) -> PathBuf {
        self.home.path().join("encoded")
    }

    /// Writes the rows as COPY takes them.
    pub(crate) fn encode(&self) {
        crate::run(self, Case::Encode);
    }

    /// Drops what the runs made.
    pub(crate) fn clear(&self) {
        crate::run(self, Case::Clear);
    }

    /// What goes before a run, in a process of its own.
    pub(crate) fn before(&self, case: Case) {
        if matches!(case, Case::Raw | Case::Encoded | Case::PublishNew | Case::ByHand)
            && self.kind == Kind::Native
        {
            crate::run(self, Case::Clear);
        }
    }
}

/// The program, without the settings of whoever runs the bench.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daymark"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DAYMARK_") {
            command.env_remove(name);
        }
    }
    command
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let sizes = entries.map(|entry| match entry.metadata().unwrap() {
        found if found.is_dir() => bytes_in(&entry.path()),
        found => found.len(),
    });
    sizes.sum()
}
