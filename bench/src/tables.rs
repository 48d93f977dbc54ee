//! The tables, on the terminal and as Markdown: one content, two forms.

use crate::config;
use crate::load::FIXED;
use crate::printer::{self, BAD, GOOD, styled};
use crate::result::{Compare, Growth, Instructions, Soak};
use crate::stats::Spread;

/// Rows of text under a header.
#[derive(Debug, PartialEq)]
pub(crate) struct Table {
    pub(crate) title: String,
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(title: impl Into<String>, header: &[&str]) -> Self {
        Self {
            title: title.into(),
            header: header.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn terminal(&self) -> String {
        let mut table = printer::table();
        table.set_header(
            self.header
                .iter()
                .map(|name| styled(anstyle::Style::new().bold(), name)),
        );
        for row in &self.rows {
            table.add_row(row.iter().map(|cell| match cell.as_str() {
                "met" => styled(GOOD, cell),
                "NOT met" => styled(BAD, cell),
                _ => cell.replace('`', ""),
            }));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.trim_fmt()
    }

    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&self.header);
        text.push_str(&line(&vec!["---".to_owned(); self.header.len()]));
        for row in &self.rows {
            text.push_str(&line(row));
        }
        text
    }
}

/// `5,412`
fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn number(value: f64) -> String {
    if value >= 100.0 {
        whole(value)
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// The median, and the least and the most.
fn spread(spread: Spread) -> String {
    if spread.min == spread.max {
        number(spread.median)
    } else {
        format!(
            "{} ({}-{})",
            number(spread.median),
            number(spread.min),
            number(spread.max)
        )
    }
}

fn maybe(value: Option<Spread>) -> String {
    value.map_or_else(|| "-".to_owned(), spread)
}

fn megabytes(bytes: f64) -> f64 {
    bytes / 1e6
}

impl Compare {
    pub(crate) fn tables(&self) -> Vec<Table> {
        let mut tables = vec![self.config_table()];
        for load in self.loads() {
            tables.push(self.load_table(&load));
        }
        tables.push(self.process_table());
        tables.push(self.count_table());
        tables.push(self.goal_table());
        tables
    }

    fn config_table(&self) -> Table {
        let mut table = Table::new("Configurations", &["configuration", "what"]);
        for config in &config::CONFIGS {
            let what = match self.skipped.get(config.name) {
                Some(reason) => format!("{}; skipped: {reason}", config.what),
                None if self.runs.iter().any(|run| run.config == config.name) => {
                    config.what.to_owned()
                }
                None => continue,
            };
            table.rows.push(vec![format!("`{}`", config.name), what]);
        }
        table
    }

    /// The same build without telemetry, where that is measured.
    pub(crate) fn base(config: &str) -> &'static str {
        match config::by_name(config).map(|config| (config.chain, config.name)) {
            Some((_, "python tuned")) => "",
            Some((config::Chain::Python, _)) => "python off",
            Some((config::Chain::Go, _)) => "go off",
            Some((_, config::SPLIT | config::OFF_SPLIT)) => config::OFF_SPLIT,
            _ => config::OFF,
        }
    }

    fn load_table(&self, load: &str) -> Table {
        let title = if load == FIXED {
            let rate = self
                .runs
                .iter()
                .flat_map(|run| &run.loads)
                .find_map(|load| load.asked_per_second)
                .unwrap_or_default();
            format!("Fixed load: {} requests/s over 64 connections", whole(rate))
        } else {
            format!("Saturated, {load} connections")
        };
        let mut table = Table::new(
            title,
            &[
                "configuration",
                "requests/s",
                "CPU us a request",
                "against off",
                "p50 ms",
                "p99 ms",
                "p99 against off",
                "waiting us",
                "stolen %",
            ],
        );
        for name in self.configs() {
            let Some(row) = self.row(name, load) else {
                continue;
            };
            let base = Self::base(name);
            let cost = self.ratio(name, base, load, crate::result::Load::services_cpu_us);
            let late = self.ratio(name, base, load, |load| load.p99_ms);
            table.rows.push(vec![
                format!("`{name}`"),
                spread(row.per_second),
                spread(row.cpu_us),
                maybe(cost),
                number(row.p50_ms.median),
                spread(row.p99_ms),
                maybe(late),
                row.wait_us.map_or_else(|| "-".to_owned(), spread),
                row.stolen_percent.map_or_else(|| "-".to_owned(), spread),
            ]);
        }
        table
    }

    fn process_table(&self) -> Table {
        let loads = self.loads();
        let load = loads.first().map_or("", String::as_str);
        let names = [
            "edge",
            "users",
            "postgres",
            "otel-collector",
            "jaeger",
            "loki",
            "prometheus",
        ];
        let mut header = vec!["configuration"];
        header.extend(names);
        header.extend(["edge MB", "users MB"]);
        let mut table = Table::new(
            format!(
                "CPU us a request by process, {load} connections, and peak memory of the services"
            ),
            &header,
        );
        for name in self.configs() {
            let mut row = vec![format!("`{name}`")];
            for process in names {
                row.push(
                    self.cpu_of(name, load, process)
                        .map_or_else(|| "-".to_owned(), |cpu| number(cpu.median)),
                );
            }
            for service in ["edge", "users"] {
                row.push(
                    self.peak(name, service)
                        .map_or_else(|| "-".to_owned(), |peak| number(megabytes(peak.max))),
                );
            }
            table.rows.push(row);
        }
        table
    }

    fn count_table(&self) -> Table {
        let mut table = Table::new(
            "Counts, all rounds",
            &[
                "configuration",
                "answered",
                "errors",
                "spans received",
                "stored",
                "lost",
                "log records received",
                "stored",
                "lost",
                "stored again",
            ],
        );
        for name in self.configs() {
            let count = self.count(name);
            let counters = count.counters;
            let mut row = vec![format!("`{name}`")];
            row.extend(
                [
                    count.answered,
                    count.errors,
                    counters.spans_received,
                    counters.spans_safe(),
                    count.spans_lost,
                    counters.logs_received,
                    counters.logs_safe(),
                    count.logs_lost,
                    counters.repeated(),
                ]
                .map(|value| whole(value as f64)),
            );
            table.rows.push(row);
        }
        table
    }

    fn goal_table(&self) -> Table {
        let mut table = Table::new("Goals", &["goal", "wanted", "found", ""]);
        for goal in &self.goals {
            table.rows.push(vec![
                goal.what.clone(),
                goal.wanted.clone(),
                goal.found.clone().unwrap_or_else(|| "-".to_owned()),
                match goal.met {
                    Some(true) => "met",
                    Some(false) => "NOT met",
                    None => "not measured",
                }
                .to_owned(),
            ]);
        }
        table
    }
}

impl Growth {
    pub(crate) fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(
            "Growth",
            &[
                "configuration",
                "connections",
                "requests/s",
                "CPU us a request",
                "p50 ms",
                "p99 ms",
                "errors",
                "edge MB",
                "users MB",
            ],
        );
        for grown in self.grown() {
            let memory = |peak: Option<Spread>| {
                peak.map_or_else(|| "-".to_owned(), |peak| number(megabytes(peak.max)))
            };
            table.rows.push(vec![
                format!("`{}`", grown.config),
                whole(f64::from(grown.connections)),
                spread(grown.row.per_second),
                spread(grown.row.cpu_us),
                number(grown.row.p50_ms.median),
                spread(grown.row.p99_ms),
                whole(grown.errors as f64),
                memory(grown.edge_peak),
                memory(grown.users_peak),
            ]);
        }
        vec![table]
    }
}

impl Soak {
    pub(crate) fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(
            format!(
                "Soak: `{}` for {} minutes, {}",
                self.config,
                number(self.minutes),
                self.load()
            ),
            &[
                "service",
                "MB after a quarter",
                "MB at the end",
                "MB an hour",
                "flat",
            ],
        );
        for (name, flat) in &self.services {
            table.rows.push(vec![
                name.clone(),
                number(flat.at_quarter),
                number(flat.at_end),
                format!("{:+.1}", flat.slope_mb_an_hour),
                if flat.flat { "yes" } else { "NO" }.to_owned(),
            ]);
        }
        let count = self.run.count;
        let mut counts = Table::new(
            "Counts",
            &[
                "answered",
                "errors",
                "spans stored",
                "spans lost",
                "counted as dropped",
                "log records stored",
                "log records lost",
                "counted as dropped",
                "stored again",
            ],
        );
        let counted =
            |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| whole(value as f64));
        counts.rows.push(
            [
                Some(count.answered),
                Some(count.errors),
                Some(count.counters.spans_safe()),
                Some(count.spans_lost),
                count.dropped.map(|dropped| dropped.spans),
                Some(count.counters.logs_safe()),
                Some(count.logs_lost),
                count.dropped.map(|dropped| dropped.logs),
                Some(count.counters.repeated()),
            ]
            .map(counted)
            .into(),
        );
        vec![table, counts]
    }
}

impl Instructions {
    pub(crate) fn tables(&self) -> Vec<Table> {
        let mut table = Table::new(
            "Thousands of user-space instructions a request",
            &["configuration", "edge", "users", "together", "against off"],
        );
        let off = self.rows.iter().find(|row| row.config == config::OFF);
        for row in &self.rows {
            let against = off.map_or_else(
                || "-".to_owned(),
                |off| format!("{:.2}", row.sum() / off.sum()),
            );
            table.rows.push(vec![
                format!("`{}`", row.config),
                format!("{:.1}", row.edge / 1e3),
                format!("{:.1}", row.users / 1e3),
                format!("{:.1}", row.sum() / 1e3),
                against,
            ]);
        }
        vec![table]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::machine::Machine;
    use crate::process::Memory;
    use crate::result::{Count, Load, Run};

    #[test]
    fn numbers_read_well() {
        assert_eq!(whole(5412.4), "5,412");
        assert_eq!(whole(999.0), "999");
        assert_eq!(whole(1_234_567.0), "1,234,567");
        assert_eq!([0.5, 12.34, 150.6].map(number), ["0.50", "12.3", "151"]);
        let of = |median, min, max| spread(Spread { median, min, max });
        assert_eq!(of(1.25, 1.2, 1.3), "1.25 (1.20-1.30)");
        assert_eq!(of(1.25, 1.25, 1.25), "1.25");
    }

    #[test]
    fn growth_shows_medians_over_the_rounds() {
        let run = |round, connections, per_second| Run {
            config: "off".to_owned(),
            chain: config::Chain::Rust,
            round,
            loads: vec![Load {
                connections,
                per_second,
                errors: 1,
                ..Load::default()
            }],
            memory: [(
                "users".to_owned(),
                Memory {
                    rss: 0,
                    peak: u64::from(round) * 10_000_000,
                },
            )]
            .into(),
            count: Count::default(),
        };
        let growth = Growth {
            machine: Machine::default(),
            rounds: 3,
            seconds: 10,
            runs: vec![
                run(1, 10, 500.0),
                run(1, 100, 400.0),
                run(2, 100, 420.0),
                run(2, 10, 530.0),
                run(3, 10, 510.0),
                run(3, 100, 410.0),
            ],
            skipped: BTreeMap::new(),
        };
        let tables = growth.tables();
        let rows: Vec<_> = tables[0]
            .rows
            .iter()
            .map(|row| [1, 2, 6, 7, 8].map(|column| row[column].as_str()))
            .collect();
        assert_eq!(
            rows,
            [
                ["10", "510 (500-530)", "3", "-", "30.0"],
                ["100", "410 (400-420)", "3", "-", "30.0"],
            ]
        );
    }

    #[test]
    fn markdown_has_one_line_a_row() {
        let mut table = Table::new("T", &["a", "b"]);
        table.rows.push(vec!["`x`".into(), "1".into()]);
        assert_eq!(table.markdown(), "| a | b |\n| --- | --- |\n| `x` | 1 |\n");
        assert!(!table.terminal().contains('`'));
    }
}
