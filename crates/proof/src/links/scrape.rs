//! What Prometheus scrapes, and whom it would tell.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::{Planned, some};
use crate::backend::Target;
use crate::backends::Part;
use crate::report::Failure;
use crate::verify::{Run, asking_prometheus};

const TARGETS: &str = "every Prometheus target is up";
const ALERTS: &str = "Prometheus -> Alertmanager";

/// Without these jobs the lab shows nothing.
const JOBS: [&str; 3] = ["users", "otel-collector", "otel-collector-internal"];

pub(super) fn links<'a>(run: &'a Run<'a>) -> Vec<Planned<'a>> {
    let asked = |path: &str| {
        run.prometheus()
            .map(|prometheus| prometheus.asked(path, ""))
            .unwrap_or_default()
    };
    vec![
        Planned::new(
            TARGETS,
            &[Part::Prometheus],
            asked("/api/v1/targets"),
            targets(run),
        ),
        Planned::new(
            ALERTS,
            &[Part::Prometheus, Part::Alertmanager],
            asked("/api/v1/alertmanagers"),
            alertmanager(run),
        ),
    ]
}

async fn targets(run: &Run<'_>) -> Result<String, Failure> {
    run.until(TARGETS, || async {
        let targets = run
            .prometheus()?
            .targets()
            .await
            .map_err(asking_prometheus)?;
        judge(&targets, run.requests.since)
    })
    .await
}

/// Up, and by a scrape after `since`: before it, nobody knew.
fn judge(targets: &[Target], since: SystemTime) -> Result<String, Failure> {
    let look = "`./lab status`, infra/prometheus/prometheus.yml and targets/";
    let jobs: BTreeSet<&str> = targets.iter().map(Target::job).collect();
    let lacking: Vec<String> = JOBS
        .iter()
        .filter(|job| !jobs.contains(*job))
        .map(|job| (*job).to_owned())
        .collect();
    if !lacking.is_empty() {
        let came = format!("no target of {}", some(&lacking));
        return Err(Failure::new(
            format!("targets of the jobs {}", JOBS.join(", ")),
            came,
            look,
        ));
    }
    if jobs.contains("edge") {
        return Err(Failure::new(
            "edge's metrics by OTLP only",
            "Prometheus scrapes edge too, which counts each request twice",
            look,
        )
        .settled());
    }
    let down: Vec<String> = targets
        .iter()
        .filter(|target| target.health != "up")
        .map(|target| {
            let error = crate::http::quote(target.last_error.as_bytes());
            format!(
                "{} {} ({}) {error}",
                target.job(),
                target.health,
                target.scrape_url
            )
        })
        .collect();
    if !down.is_empty() {
        return Err(Failure::new("all up", some(&down), look));
    }
    let stale: Vec<String> = targets
        .iter()
        .filter(|target| !target.scraped_since(since))
        .map(|target| target.job().to_owned())
        .collect();
    if !stale.is_empty() {
        let came = format!("not scraped since the requests: {}", some(&stale));
        return Err(Failure::new("all scraped", came, look));
    }
    let jobs: Vec<&str> = jobs.into_iter().collect();
    Ok(format!("{} up: {}", targets.len(), jobs.join(", ")))
}

async fn alertmanager(run: &Run<'_>) -> Result<String, Failure> {
    run.until(ALERTS, || async {
        let found = run
            .prometheus()?
            .alertmanagers()
            .await
            .map_err(asking_prometheus)?;
        if found.is_empty() {
            return Err(Failure::new(
                "an Alertmanager that Prometheus sends to",
                "none",
                "infra/prometheus/targets/alertmanager.yml, `./lab logs prometheus`",
            ));
        }
        let version = run.alertmanager()?.version().await.map_err(|error| {
            Failure::new(
                "an answer of Alertmanager",
                error.to_string(),
                "`./lab status`, `./lab logs alertmanager`",
            )
        })?;
        // Built from source it may not know its version.
        let version = if version.is_empty() {
            version
        } else {
            format!(" (version {version})")
        };
        Ok(format!("{}, which answers{version}", some(&found)))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(job: &str, health: &str) -> Target {
        Target {
            labels: [("job".to_owned(), job.to_owned())].into(),
            scrape_url: "http://h/metrics".to_owned(),
            health: health.to_owned(),
            last_error: String::new(),
            last_scrape: "2026-01-02T03:04:05.678Z".to_owned(),
        }
    }

    fn at(text: &str) -> SystemTime {
        SystemTime::from(text.parse::<jiff::Timestamp>().expect("a time"))
    }

    fn judged(targets: &[Target]) -> Result<String, Failure> {
        judge(targets, at("2026-01-02T03:04:00Z"))
    }

    #[test]
    fn what_was_up_before_proves_nothing() {
        let late = judge(&all(), at("2026-01-02T03:05:00Z")).expect_err("stale");
        assert!(late.came.contains("not scraped since"), "{late}");
        let mut targets = all();
        targets[0].last_scrape = "0001-01-01T00:00:00Z".to_owned();
        assert!(judged(&targets).is_err());
    }

    fn all() -> Vec<Target> {
        JOBS.iter().map(|job| target(job, "up")).collect()
    }

    #[test]
    fn all_up_passes() {
        assert_eq!(
            judged(&all()).expect("up"),
            "3 up: otel-collector, otel-collector-internal, users"
        );
    }

    #[test]
    fn a_target_that_is_down_or_absent_fails() {
        let mut targets = all();
        targets.push(target("loki", "down"));
        let failure = judged(&targets).expect_err("loki is down");
        assert!(failure.came.contains("loki down"), "{failure}");
        let failure = judged(&all()[1..]).expect_err("users is absent");
        assert!(failure.came.contains("no target of users"), "{failure}");
    }

    #[test]
    fn edge_must_not_be_scraped_too() {
        let mut targets = all();
        targets.push(target("edge", "up"));
        assert!(judged(&targets).expect_err("twice").settled);
    }
}
