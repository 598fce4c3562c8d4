//! A pipeline folder, an API and a database of a test's own, and the program that runs on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use daymark_testkit::database::{Kind, TestDatabase};
use daymark_testkit::rest::{Reply, RestServer};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader, Lines};
use tokio::net::TcpSocket;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// What the weather source asks.
pub(crate) const WEATHER: &str = "/v1/forecast";
/// What the market source asks.
pub(crate) const MARKET: &str = "/v8/finance/chart/%5EGSPC";
/// What both tables hold, but for where the rows came from.
pub(crate) const WEATHER_ROWS: &str = "select location, date, temperature_max_c, temperature_min_c, \
     precipitation_mm from weather_daily order by date";
pub(crate) const MARKET_ROWS: &str = "select symbol, date, open, high, low, close, adj_close, \
     volume from sp500_daily order by symbol, date";

/// After this long a child that does not end is a failure.
const TOO_LONG: Duration = Duration::from_mins(2);

/// The reference pipeline in a folder, asking a local API.
pub(crate) struct World {
    pub(crate) api: RestServer,
    pub(crate) folder: PathBuf,
    pub(crate) kind: Kind,
    database: TestDatabase,
    _home: TempDir,
}

impl World {
    /// Writes the reference pipeline with `daymark init` and points its sources at a new local API.
    pub(crate) async fn new(kind: Kind) -> Self {
        let home = TempDir::new().unwrap();
        let folder = home.path().join("pipeline");
        let done = run_to_end(program().arg("init").arg(&folder)).await;
        done.expect_code(0);
        let api = RestServer::start().await;
        let database = TestDatabase::new(kind).await;
        let world = Self { api, folder, kind, database, _home: home };
        let addresses = [
            ("sources/weather.toml", "https://api.open-meteo.com/v1/forecast", WEATHER),
            (
                "sources/sp500.toml",
                "https://query1.finance.yahoo.com/v8/finance/chart/%5EGSPC",
                MARKET,
            ),
        ];
        for (file, public, path) in addresses {
            world.edit(file, public, &world.api.url(path));
            // As many attempts as ever, without the waits between them.
            let text = world.read(file);
            world.write(file, &format!("{text}\n[retry]\nbase_seconds = 0.001\n"));
        }
        world
    }

    /// The same, with an API that answers both sources.
    pub(crate) async fn answering(kind: Kind) -> Self {
        let world = Self::new(kind).await;
        world.api.only(WEATHER, Reply::json(GOOD_WEATHER.body()));
        world.api.only(MARKET, Reply::json(bars(&GOOD_BARS)));
        world
    }

    /// The database's URL.
    pub(crate) fn database_url(&self) -> &str {
        &self.database.url
    }

    /// The program, told the pipeline's folder and database.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .args(arguments)
            .env("DAYMARK_PIPELINE", &self.folder)
            .env("DAYMARK_DATABASE_URL", &self.database.url);
        command
    }

    /// Runs the program to its end.
    pub(crate) async fn daymark(&self, arguments: &[&str]) -> Done {
        run_to_end(&mut self.command(arguments)).await
    }

    /// Starts the program and leaves it running.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(&mut self.command(arguments))
    }

    /// Starts `daymark up` on a schedule that does not fire, and waits until it answers.
    ///
    /// On the embedded database every other program of the test is then its guest.
    pub(crate) async fn up_quietly(&self) -> (Running, String) {
        let quiet = "schedule = \"cron(0 8 1 1 ? 2099)\"";
        let text = self.read("daymark.toml");
        if !text.contains(quiet) {
            self.edit("daymark.toml", "schedule = \"cron(0 8 * * ? *)\"", quiet);
        }
        let mut up = self.start(&["up", "--listen", "127.0.0.1:0"]);
        let address = up.address().await;
        (up, address)
    }

    /// One run for a date, as JSON.
    pub(crate) async fn run(&self, date: &str) -> Report {
        Report::of(&self.daymark(&["run", "--json", "--as-of-now", "--date", date]).await)
    }

    /// The rows of a query.
    pub(crate) async fn sql(&self, query: &str) -> Vec<Map<String, Value>> {
        let done = self.daymark(&["sql", "--json", query]).await;
        done.expect_code(0);
        serde_json::from_str(&done.stdout).unwrap()
    }

    /// The rows of a query, each as the text of its values.
    pub(crate) async fn rows(&self, query: &str) -> Vec<String> {
        let values = |row: Map<String, Value>| row.into_values().collect::<Value>().to_string();
        self.sql(query).await.into_iter().map(values).collect()
    }

    /// The one value of a query.
    pub(crate) async fn value(&self, query: &str) -> Value {
        let mut rows = self.sql(query).await;
        assert_eq!(rows.len(), 1, "{query}: {rows:?}");
        rows.remove(0).into_iter().next().unwrap().1
    }

    /// Takes the whole database away, as a disk that broke does.
    pub(crate) async fn lose_database(&self) {
        if let Some(folder) = self.database.url.strip_prefix("embedded:") {
            fs::remove_dir_all(folder).unwrap();
            return;
        }
        let mut server: url::Url = self.database.url.parse().unwrap();
        let name = server.path().trim_start_matches('/').to_owned();
        server.set_path("postgres");
        let (client, connection) =
            tokio_postgres::connect(server.as_str(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&format!("drop database {name} with (force)")).await.unwrap();
        client.batch_execute(&format!("create database {name}")).await.unwrap();
    }

    /// A file of the pipeline.
    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.join(file)).unwrap()
    }

    /// Writes a file of the pipeline.
    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text).unwrap();
    }

    /// Replaces a text that stands once in a file of the pipeline.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {file}");
        self.write(file, &text.replace(from, to));
    }

    /// The files of a folder of the raw store with their names, by name; none when it is not there.
    pub(crate) fn stored(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        let Ok(entries) = fs::read_dir(self.folder.join(".daymark/raw").join(folder)) else {
            return Vec::new();
        };
        let mut files: Vec<(String, Vec<u8>)> = entries
            .map(|entry| entry.unwrap().path())
            .map(|path| (name_of(&path), fs::read(&path).unwrap()))
            .collect();
        files.sort();
        files
    }

    /// Puts a file into a folder of the raw store, as whoever copies one does.
    pub(crate) fn store(&self, file: &str, bytes: &[u8]) {
        fs::write(self.folder.join(".daymark/raw").join(file), bytes).unwrap();
    }

    /// The manifests of a source, oldest first.
    pub(crate) fn manifests(&self, source: &str) -> Vec<Value> {
        let files = self.stored(&format!("manifests/{source}"));
        files.iter().map(|(_, bytes)| serde_json::from_slice(bytes).unwrap()).collect()
    }

    /// A connection of the test's own to a native database.
    pub(crate) async fn native_client(&self) -> tokio_postgres::Client {
        assert_eq!(self.kind, Kind::Native);
        let (client, connection) =
            tokio_postgres::connect(&self.database.url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// The program, without the settings of the machine that runs the tests.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daymark"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_ascii_uppercase();
        if text.starts_with("DAYMARK_") || text == "RUST_LOG" || text.ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What a program that ended has said.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Fails unless the exit code is this one. A program that succeeds has no warning to give.
    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) {
        let Self { stdout, stderr, .. } = self;
        assert_eq!(self.code, Some(code), "\nstdout:\n{stdout}\nstderr:\n{stderr}");
        let warned = stderr.contains(" WARN ") || stderr.contains(" ERROR ");
        assert!(code != 0 || !warned, "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }

    /// What was printed, as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs a program to its end.
pub(crate) async fn run_to_end(command: &mut Command) -> Done {
    let ended = tokio::time::timeout(TOO_LONG, command.output()).await;
    Done::of(ended.expect("the program ends in time").unwrap())
}

/// Runs the program outside of any pipeline.
pub(crate) async fn daymark(arguments: &[&str]) -> Done {
    run_to_end(program().args(arguments)).await
}

/// The JSON of `daymark run`.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) code: i32,
    pub(crate) json: Value,
}

impl Report {
    pub(crate) fn of(done: &Done) -> Self {
        let code = done.code.unwrap();
        assert!(code <= 1, "{done:?}");
        done.expect_code(code);
        Self { code, json: done.json() }
    }

    /// What became of a source.
    pub(crate) fn source(&self, id: &str) -> &Value {
        let sources = self.json["sources"].as_array().unwrap();
        sources.iter().find(|source| source["source"] == id).unwrap()
    }

    /// Inserted, updated and unchanged rows of a source that is published.
    #[track_caller]
    pub(crate) fn counts(&self, id: &str) -> [u64; 3] {
        let source = self.source(id);
        assert_eq!(source["state"], "published", "{source}");
        ["inserted", "updated", "unchanged"].map(|key| source[key].as_u64().unwrap())
    }

    /// Why a source failed.
    #[track_caller]
    pub(crate) fn reason(&self, id: &str) -> &str {
        let source = self.source(id);
        assert_eq!(source["state"], "failed", "{source}");
        source["reason"].as_str().unwrap()
    }
}

/// A port that refuses connections for as long as the socket lives: bound, and not listened on.
pub(crate) fn closed_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// A program that runs.
pub(crate) struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, stdout, stderr }
    }

    /// Reads standard output up to a line that holds a text.
    pub(crate) async fn says(&mut self, text: &str) -> String {
        match line_with(&mut self.stdout, text).await {
            Ok(line) => line,
            Err(seen) => {
                self.child.start_kill().unwrap();
                let mut errors = String::new();
                self.stderr.get_mut().read_to_string(&mut errors).await.unwrap();
                panic!("`{text}` was not said, but: {seen:?}\nstderr:\n{errors}")
            }
        }
    }

    /// Reads standard error up to a line that holds a text.
    pub(crate) async fn reports(&mut self, text: &str) -> String {
        let line = line_with(&mut self.stderr, text).await;
        line.unwrap_or_else(|seen| panic!("`{text}` was not reported, but: {seen:?}"))
    }

    /// The dashboard's address, once it is served.
    pub(crate) async fn address(&mut self) -> String {
        let line = self.says("dashboard: http://").await;
        line.trim_start_matches("dashboard: ").to_owned()
    }

    /// Sends a signal, such as `INT`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().unwrap();
        // The shell's own `kill`: a slim machine has no other.
        let kill = format!("kill -{name} {id}");
        let status = Command::new("sh").args(["-c", &kill]).status().await.unwrap();
        assert!(status.success());
    }

    /// Kills the program where it is (SIGKILL).
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for the end, and gives what was not read yet.
    pub(crate) async fn end(mut self) -> Done {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        let ended = tokio::time::timeout(TOO_LONG, async {
            tokio::try_join!(
                self.stdout.get_mut().read_to_string(&mut stdout),
                self.stderr.get_mut().read_to_string(&mut stderr),
                self.child.wait(),
            )
        });
        let (_, _, status) = ended.await.expect("the program ends in time").unwrap();
        Done { code: status.code(), stdout, stderr }
    }

    /// Stops the program softly.
    pub(crate) async fn stop(self) {
        self.signal("TERM").await;
        self.end().await.expect_code(0);
    }
}

/// The next line that holds a text, or the lines there were in place of it.
async fn line_with<R: AsyncRead + Unpin>(
    lines: &mut Lines<BufReader<R>>,
    text: &str,
) -> Result<String, Vec<String>> {
    let mut seen = Vec::new();
    let found = tokio::time::timeout(TOO_LONG, async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains(text) {
                return Some(line);
            }
            seen.push(line);
        }
        None
    })
    .await;
    found.ok().flatten().ok_or(seen)
}

/// A day of weather: date, maximum, minimum, precipitation.
pub(crate) type WeatherDay<'w> = (&'w str, Option<f64>, Option<f64>, Option<f64>);

/// What the weather API knows.
pub(crate) struct Weather<'w>(pub(crate) &'w [WeatherDay<'w>]);

/// Three days, one with a gap.
pub(crate) const GOOD_WEATHER: Weather<'_> = Weather(&[
    ("2026-03-01", Some(9.5), Some(-0.5), Some(0.0)),
    ("2026-03-02", Some(11.25), Some(2.0), Some(3.5)),
    ("2026-03-03", Some(7.0), None, Some(1.5)),
]);

/// How those stand in the table.
pub(crate) const GOOD_WEATHER_ROWS: [&str; 3] = [
    r#"["washington-dc","2026-03-01",9.5,-0.5,0.0]"#,
    r#"["washington-dc","2026-03-02",11.25,2.0,3.5]"#,
    r#"["washington-dc","2026-03-03",7.0,null,1.5]"#,
];

impl Weather<'_> {
    /// As the API says it.
    pub(crate) fn json(&self) -> Value {
        let times: Vec<&str> = self.0.iter().map(|day| day.0).collect();
        let column =
            |of: fn(&WeatherDay<'_>) -> Option<f64>| self.0.iter().map(of).collect::<Vec<_>>();
        json!({
            "latitude": 38.9, "longitude": -77.0, "generationtime_ms": 0.07, "utc_offset_seconds": -18000,
            "timezone": "America/New_York", "timezone_abbreviation": "EST", "elevation": 18.0,
            "daily_units": {
                "time": "iso8601", "temperature_2m_max": "°C", "temperature_2m_min": "°C",
                "precipitation_sum": "mm",
            },
            "daily": {
                "time": times,
                "temperature_2m_max": column(|day| day.1),
                "temperature_2m_min": column(|day| day.2),
                "precipitation_sum": column(|day| day.3),
            },
        })
    }

    /// The body of such an answer.
    pub(crate) fn body(&self) -> String {
        self.json().to_string()
    }
}

/// Two market days and their closes.
pub(crate) const GOOD_BARS: [(&str, f64); 2] = [("2026-02-27", 6900.5), ("2026-03-02", 6950.25)];

/// Bars of ^GSPC as the chart API says them.
pub(crate) fn bars(bars: &[(&str, f64)]) -> String {
    let zone = TimeZone::get("America/New_York").unwrap();
    let open = |date: &str| {
        let date: Date = date.parse().unwrap();
        zone.to_timestamp(date.at(9, 30, 0, 0)).unwrap().as_second()
    };
    let stamps: Vec<i64> = bars.iter().map(|bar| open(bar.0)).collect();
    let closes: Vec<f64> = bars.iter().map(|bar| bar.1).collect();
    let moved = |by: f64| closes.iter().map(|close| close + by).collect::<Vec<_>>();
    let volumes: Vec<i64> = (0..).take(bars.len()).map(|index| 5_000_000_000 + index).collect();
    json!({ "chart": { "result": [{
        "meta": {
            "currency": "USD", "symbol": "^GSPC", "instrumentType": "INDEX",
            "exchangeTimezoneName": "America/New_York", "gmtoffset": -18000, "dataGranularity": "1d",
        },
        "timestamp": stamps,
        "indicators": {
            "quote": [{
                "open": moved(-4.0), "high": moved(8.5), "low": moved(-9.0), "close": closes,
                "volume": volumes,
            }],
            "adjclose": [{ "adjclose": closes }],
        },
    }], "error": null } })
    .to_string()
}
