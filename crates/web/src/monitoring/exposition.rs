//! Prometheus's text format, version 0.0.4.
//!
//! In: families of metrics. Out: lines. Deliberately absent: which metrics there are (`metrics`).

use std::fmt::Display;

/// A kind of metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    /// A sum and a count, without quantiles.
    Summary,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Summary => "summary",
        }
    }
}

/// The text, as it grows.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    text: String,
}

/// The samples of one metric.
pub(super) struct Family<'e> {
    text: &'e mut String,
    name: &'static str,
}

impl Exposition {
    /// Begins a metric. One without samples is named all the same, so that all are known from the first scrape.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
        Family { text: &mut self.text, name }
    }

    /// A gauge with one value, if it is known.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str, value: Option<impl Display>) {
        let mut family = self.family(name, Kind::Gauge, help);
        if let Some(value) = value {
            family.sample(&[], value);
        }
    }

    /// The whole.
    pub(super) fn text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// Adds a sample.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.part("", labels, value);
    }

    /// Adds a part of a summary: `_sum` or `_count`.
    pub(super) fn part(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        if !labels.is_empty() {
            let labels: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                .collect();
            self.text.push_str(&format!("{{{}}}", labels.join(",")));
        }
        self.text.push_str(&format!(" {value}\n"));
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_line_is_escaped() {
        let mut exposition = Exposition::default();
        let mut family = exposition.family("a_total", Kind::Counter, "one\\two\nthree");
        family.sample(&[("of", "a \"b\" \\ \n"), ("x", "é")], 7_u64);
        exposition.gauge("b_seconds", "none", None::<f64>);
        exposition.gauge("c_seconds", "some", Some(0.25));
        insta::assert_snapshot!(exposition.text(), @r#"
        # HELP a_total one\\two\nthree
        # TYPE a_total counter
        a_total{of="a \"b\" \\ \n",x="é"} 7
        # HELP b_seconds none
        # TYPE b_seconds gauge
        # HELP c_seconds some
        # TYPE c_seconds gauge
        c_seconds 0.25
        "#);
    }
}
