//! An API that answers as Open-Meteo's archive does, and for the reference pipeline's day.
//!
//! In: `GET /v1/archive?place=p0000` and the paths of the reference pipeline. Out: bodies that are made from
//! the request alone, with a fixed seed: the same question always has the same answer. Connections are kept
//! open. Deliberately absent: everything else.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};

/// Hours of a year.
pub(crate) const HOURS: usize = 8760;

/// How long an hour is as the archive writes it, in quotes and with a comma.
const TIME: usize = "\"2025-01-01T00:00\",".len();

/// The server; it stops with the process.
pub(crate) struct Api {
    address: SocketAddr,
}

impl Api {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let times = Arc::new(times());
        let asked = Arc::new(AtomicI64::new(0));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_nodelay(true).unwrap();
                let (times, asked) = (Arc::clone(&times), Arc::clone(&asked));
                // A client that goes away is done.
                std::thread::spawn(move || serve(stream, &times, &asked).unwrap_or_default());
            }
        });
        Self { address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(stream: TcpStream, times: &str, asked: &AtomicI64) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut target = String::new();
        if stream.read_line(&mut target)? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while stream.read_line(&mut line)? > 2 {
            line.clear();
        }
        let body = if target.contains("/v1/archive") {
            let said = |name: &str| {
                let rest = target.split(name).nth(1).unwrap_or_default();
                rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<usize>().unwrap()
            };
            archive(said("place=p"), said("hours="), times)
        } else {
            // Each question moves the window on by a day and restates what was said before.
            let day = asked.fetch_add(1, Ordering::Relaxed) / 2;
            let last = date(2026, 1, 2).checked_add(day.days()).unwrap();
            if target.contains("/v1/forecast") { forecast(last) } else { chart(last) }
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let socket = stream.get_mut();
        socket.write_all(head.as_bytes())?;
        socket.write_all(body.as_bytes())?;
    }
}

/// The hours of 2025 as the archive writes them.
fn times() -> String {
    let begin = date(2025, 1, 1).at(0, 0, 0, 0);
    let hours = (0..HOURS).map(|hour| {
        let at = begin + SignedDuration::from_hours(i64::try_from(hour).unwrap());
        at.strftime("\"%Y-%m-%dT%H:%M\"").to_string()
    });
    hours.collect::<Vec<_>>().join(",")
}

/// The first hours of one place's year.
fn archive(place: usize, hours: usize, times: &str) -> String {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(place as u64 + 1));
    let mut body = String::with_capacity(60 * hours);
    let times = &times[..(hours * TIME).min(times.len())];
    let times = times.trim_end_matches(',');
    body.push_str(&format!(
        "{{\"latitude\":{}.{:02},\"longitude\":-{}.{:02},\"generationtime_ms\":1.5,\"utc_offset_seconds\":0,\
         \"timezone\":\"GMT\",\"timezone_abbreviation\":\"GMT\",\"elevation\":{}.0,\"hourly_units\":{{\
         \"time\":\"iso8601\",\"temperature_2m\":\"°C\",\"relative_humidity_2m\":\"%\",\
         \"precipitation\":\"mm\",\"wind_speed_10m\":\"km/h\",\"cloud_cover\":\"%\"}},\"hourly\":{{\"time\":[{times}]",
        20 + place % 40, place % 100, 60 + place % 60, place % 97, place % 800,
    ));
    // A name, how many tenths at least and how many more.
    for (name, least, more, tenths) in [
        ("temperature_2m", -150, 450, true),
        ("relative_humidity_2m", 20, 80, false),
        ("precipitation", 0, 40, true),
        ("wind_speed_10m", 0, 300, true),
        ("cloud_cover", 0, 100, false),
    ] {
        body.push_str(&format!(",\"{name}\":["));
        for hour in 0..hours {
            if hour > 0 {
                body.push(',');
            }
            let value: i64 = least + i64::try_from(noise.next() % more).unwrap();
            if tenths {
                let sign = if value < 0 { "-" } else { "" };
                let value = value.unsigned_abs();
                body.push_str(&format!("{sign}{}.{}", value / 10, value % 10));
            } else {
                body.push_str(&value.to_string());
            }
        }
        body.push(']');
    }
    body.push_str("}}");
    body
}

/// Nine days of weather around the last day that is over.
fn forecast(last: Date) -> String {
    let days: Vec<Date> = (-1..8).map(|day| last.checked_add(day.days()).unwrap()).collect();
    let column = |base: i64| {
        let values = days.iter().map(|day| {
            let number = i64::from(day.day()) + i64::from(last.day()) % 7;
            format!("{}.{}", base + number % 9, number % 10)
        });
        values.collect::<Vec<_>>().join(",")
    };
    let times: Vec<String> = days.iter().map(|day| format!("\"{day}\"")).collect();
    format!(
        "{{\"latitude\":38.9,\"longitude\":-77.0,\"generationtime_ms\":0.07,\"utc_offset_seconds\":-18000,\
         \"timezone\":\"America/New_York\",\"daily\":{{\"time\":[{}],\"temperature_2m_max\":[{}],\
         \"temperature_2m_min\":[{}],\"precipitation_sum\":[{}]}}}}",
        times.join(","),
        column(12),
        column(2),
        column(0),
    )
}

/// A year of bars up to a day, weekends and all: the pipeline's checks only warn of days.
fn chart(last: Date) -> String {
    let zone = TimeZone::get("America/New_York").unwrap();
    let days: Vec<Date> = (-251..=0).map(|day| last.checked_add(day.days()).unwrap()).collect();
    let stamps = days
        .iter()
        .map(|day| zone.to_timestamp(day.at(9, 30, 0, 0)).unwrap().as_second().to_string());
    let stamps = stamps.collect::<Vec<_>>().join(",");
    let column = |by: i64| {
        let values = days.iter().map(|day| {
            let number = i64::from(day.day_of_year()) * 7 % 400;
            format!("{}.25", 6500 + number + by)
        });
        values.collect::<Vec<_>>().join(",")
    };
    let volumes = vec!["5000000000"; days.len()].join(",");
    format!(
        "{{\"chart\":{{\"result\":[{{\"meta\":{{\"currency\":\"USD\",\"symbol\":\"^GSPC\",\
         \"exchangeTimezoneName\":\"America/New_York\",\"gmtoffset\":-18000}},\"timestamp\":[{stamps}],\
         \"indicators\":{{\"quote\":[{{\"open\":[{}],\"high\":[{}],\"low\":[{}],\"close\":[{}],\
         \"volume\":[{volumes}]}}],\"adjclose\":[{{\"adjclose\":[{}]}}]}}}}],\"error\":null}}}}",
        column(-4),
        column(8),
        column(-9),
        column(0),
        column(0),
    )
}

/// Numbers that look random (splitmix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
