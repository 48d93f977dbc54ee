//! What a verification found.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a link turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    #[serde(rename = "ok")]
    Ok,
    #[serde(rename = "fail")]
    Fail,
    /// What the link needs is absent in this place.
    #[serde(rename = "n/a")]
    NotApplicable,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::NotApplicable => "n/a",
        })
    }
}

/// One link: what was asked, and what came back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Link {
    pub name: String,
    pub result: Outcome,
    /// The address or the query.
    pub asked: String,
    /// What came. A `fail` says what was expected, what came, and where to look next; an `n/a` says why.
    pub answer: String,
    pub seconds: f64,
}

/// Every link, in the order in which a request passes them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// True when no link failed and at least one was followed.
    pub ok: bool,
    pub links: Vec<Link>,
}

impl Report {
    #[must_use]
    pub fn new(links: Vec<Link>) -> Self {
        let count = |outcome| links.iter().filter(|link| link.result == outcome).count();
        Self {
            ok: count(Outcome::Fail) == 0 && count(Outcome::Ok) > 0,
            links,
        }
    }

    #[must_use]
    pub fn count(&self, outcome: Outcome) -> usize {
        self.links
            .iter()
            .filter(|link| link.result == outcome)
            .count()
    }
}

/// Why a link leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) expected: String,
    pub(crate) came: String,
    pub(crate) look: String,
    /// True when asking again cannot help.
    pub(crate) settled: bool,
}

impl Failure {
    pub(crate) fn new(
        expected: impl Into<String>,
        came: impl Into<String>,
        look: impl Into<String>,
    ) -> Self {
        Self {
            expected: expected.into(),
            came: came.into(),
            look: look.into(),
            settled: false,
        }
    }

    pub(crate) fn settled(mut self) -> Self {
        self.settled = true;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected {}; came: {}; next: {}",
            self.expected, self.came, self.look
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(result: Outcome) -> Link {
        Link {
            name: "a link".to_owned(),
            result,
            asked: "GET http://h/".to_owned(),
            answer: "200".to_owned(),
            seconds: 0.5,
        }
    }

    #[test]
    fn one_failure_fails_all() {
        assert!(Report::new(vec![link(Outcome::Ok), link(Outcome::NotApplicable)]).ok);
        assert!(!Report::new(vec![link(Outcome::Ok), link(Outcome::Fail)]).ok);
    }

    #[test]
    fn nothing_followed_proves_nothing() {
        assert!(!Report::new(Vec::new()).ok);
        assert!(!Report::new(vec![link(Outcome::NotApplicable)]).ok);
    }

    #[test]
    fn json_has_the_documented_names() {
        let json =
            serde_json::to_value(Report::new(vec![link(Outcome::NotApplicable)])).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!({"ok": false, "links": [
                {"name": "a link", "result": "n/a", "asked": "GET http://h/", "answer": "200", "seconds": 0.5}
            ]})
        );
    }

    #[test]
    fn a_failure_says_what_next() {
        let failure = Failure::new("a trace", "nothing", "lab logs jaeger");
        assert_eq!(
            failure.to_string(),
            "expected a trace; came: nothing; next: lab logs jaeger"
        );
    }
}
