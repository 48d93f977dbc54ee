//! The components where no supervisor tells of them, in containers: each is asked for its health, by
//! the name that it has there. Nobody who looks means that nobody is asked.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use url::Url;

use crate::settings::Settings;

/// A component that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(2);
/// Whoever asks again within this time gets the same answer.
const FRESH: Duration = Duration::from_secs(2);
/// Of a refusal so much is told.
const LONGEST_REASON: usize = 200;

/// What the page shows of a component; the supervisor's file has the same fields.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Component {
    pub(crate) name: String,
    core: bool,
    phase: String,
    /// Seconds since 1970.
    since: f64,
    detail: Option<String>,
    notice: Option<String>,
    hint: Option<String>,
    source: Option<String>,
    address: Option<String>,
    #[serde(default)]
    crashes: u32,
}

impl Component {
    /// What this machine cannot have is absent; what is only broken is not.
    pub(crate) fn why_absent(&self) -> Option<String> {
        let absent = matches!(self.phase.as_str(), "missing" | "compose-only");
        absent.then(|| match &self.detail {
            Some(detail) => format!("{}: {detail}", self.phase),
            None => self.phase.clone(),
        })
    }

    /// Why it is not as it should be.
    pub(crate) fn trouble(&self) -> Option<String> {
        let well = self.phase == "healthy" || self.why_absent().is_some();
        (!well).then(|| match &self.detail {
            Some(detail) => format!("{} is {}: {detail}", self.name, self.phase),
            None => format!("{} is {}", self.name, self.phase),
        })
    }
}

/// What runs, and how it is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing(Vec<Listed>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Listed {
    name: String,
    health: Health,
    /// For a browser.
    address: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Health {
    /// Answers 2xx.
    Http(Url),
    /// Takes a connection.
    Tcp(String),
}

impl FromStr for Listing {
    type Err = String;

    /// A line each: name, address that is asked, address for a browser or `-`.
    fn from_str(text: &str) -> Result<Self, String> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.map(listed).collect::<Result<_, _>>().map(Self)
    }
}

fn listed(line: &str) -> Result<Listed, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, health, address] = words[..] else {
        return Err(format!("`{line}` has {} words, not three", words.len()));
    };
    let health = match health.strip_prefix("tcp://") {
        Some(host) => Health::Tcp(host.to_owned()),
        None => match health.parse::<Url>() {
            Ok(url) if url.scheme() == "http" => Health::Http(url),
            _ => return Err(format!("`{health}` is neither http:// nor tcp://")),
        },
    };
    Ok(Listed {
        name: name.to_owned(),
        health,
        address: (address != "-").then(|| address.to_owned()),
    })
}

/// Asks for them, and remembers since when each is as it is.
#[derive(Debug)]
pub(crate) struct Watch {
    http: reqwest::Client,
    listing: Listing,
    left_out: Vec<String>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    at: Option<Instant>,
    components: Vec<Component>,
}

impl Watch {
    pub(crate) fn new(settings: &Settings) -> reqwest::Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder()
                .timeout(PATIENCE)
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()?,
            listing: settings.components.clone(),
            left_out: settings.left_out.clone(),
            seen: Mutex::default(),
        })
    }

    /// All of them, as they are now or were a moment ago.
    pub(crate) async fn look(&self) -> Vec<Component> {
        let mut seen = self.seen.lock().await;
        if seen.at.is_some_and(|at| at.elapsed() < FRESH) {
            return seen.components.clone();
        }
        let asked = self.listing.0.iter().map(|listed| async move {
            if self.left_out.contains(&listed.name) {
                return (listed, "missing", Some(LEFT_OUT.to_owned()));
            }
            match self.ask(&listed.health).await {
                Ok(()) => (listed, "healthy", None),
                Err(why) => (listed, "unhealthy", Some(why)),
            }
        });
        let answers = join_all(asked).await;
        let before: BTreeMap<&str, &Component> = seen
            .components
            .iter()
            .map(|component| (component.name.as_str(), component))
            .collect();
        let components = answers
            .into_iter()
            .map(|(listed, phase, detail)| {
                let same = before.get(listed.name.as_str());
                let same = same.filter(|before| before.phase == phase);
                Component {
                    name: listed.name.clone(),
                    core: false,
                    phase: phase.to_owned(),
                    since: same.map_or_else(now, |before| before.since),
                    detail,
                    notice: None,
                    hint: (phase == "unhealthy")
                        .then(|| format!("docker compose logs {}", listed.name)),
                    source: None,
                    address: listed.address.clone().filter(|_| phase != "missing"),
                    crashes: 0,
                }
            })
            .collect();
        *seen = Seen {
            at: Some(Instant::now()),
            components,
        };
        seen.components.clone()
    }

    async fn ask(&self, health: &Health) -> Result<(), String> {
        match health {
            Health::Tcp(host) => {
                match tokio::time::timeout(PATIENCE, TcpStream::connect(host)).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err("no connection in time".to_owned()),
                }
            }
            Health::Http(url) => {
                let answer = self.http.get(url.clone()).send().await;
                let answer = answer.map_err(|error| crate::backends::root_cause(&error))?;
                let status = answer.status();
                if status.is_success() {
                    return Ok(());
                }
                let said = answer.text().await.unwrap_or_default();
                let said: String = said.trim().chars().take(LONGEST_REASON).collect();
                Err(format!("{status} {said}").trim().to_owned())
            }
        }
    }
}

/// Who starts the stack decides that, and tells.
const LEFT_OUT: &str = "its image is not on this machine";

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_component() {
        let text =
            "\n  edge  http://edge:8001/readyz http://localhost:8001\n pg tcp://postgres:5432 -\n";
        let Listing(listed) = text.parse().unwrap();
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[0].address.as_deref(), Some("http://localhost:8001"));
        assert_eq!(listed[1].health, Health::Tcp("postgres:5432".to_owned()));
        assert_eq!(listed[1].address, None);
        for wrong in ["edge http://edge", "edge ftp://edge -", "edge edge:80 -"] {
            assert!(wrong.parse::<Listing>().is_err(), "{wrong}");
        }
    }
}
