//! The console in front of the backends: its page can be loaded, and what it passes on is what they have.

use reqwest::header::HeaderMap;
use url::Url;

use super::traces::{self, USERS_PATH};
use super::{Planned, answers};
use crate::backend::Jaeger;
use crate::backends::Part;
use crate::http::{self, AskError};
use crate::report::Failure;
use crate::verify::Run;

const PAGE: &str = "console -> its page and script";
const TRACE: &str = "console -> the trace, by way of it";
const LOOK: &str = "`./lab status`, `./lab logs console`";

pub(super) fn links<'a>(run: &'a Run<'a>) -> Vec<Planned<'a>> {
    let Some(base) = &run.backends.console else {
        // Named all the same, with the reason why it is not there.
        let nothing = || async { Ok(String::new()) };
        let asked = ["GET / of the console", "GET /proxy/jaeger of the console"];
        return std::iter::zip([PAGE, TRACE], asked)
            .map(|(name, asked)| Planned::new(name, &[Part::Console], asked, nothing()))
            .collect();
    };
    let users = &run.requests.users;
    let proxy = Jaeger::new(run.http.clone(), http::at(base, "/proxy/jaeger", &[]));
    let asked = proxy.asked(&users.traceparent.trace);
    vec![
        Planned::new(PAGE, &[Part::Console], http::asked(base), page(run, base)),
        Planned::new(
            TRACE,
            &[Part::Console, Part::Edge, Part::Jaeger],
            asked,
            async move {
                answers::answer(users)?;
                run.until(TRACE, || async {
                    let trace = traces::fetch(&proxy, &users.traceparent.trace).await?;
                    let spans = traces::path(&trace, &USERS_PATH)?;
                    Ok(format!("{} spans from edge to the database", spans.len()))
                })
                .await
            },
        ),
    ]
}

async fn page(run: &Run<'_>, base: &Url) -> Result<String, Failure> {
    let failed =
        |error: AskError| Failure::new("an answer of the console", error.to_string(), LOOK);
    run.until(PAGE, || async {
        let page = run.http.raw(base, HeaderMap::new()).await.map_err(failed)?;
        let text = String::from_utf8_lossy(&page.body).into_owned();
        let script = script(&text).ok_or_else(|| {
            let came = format!("status {}, `{}`", page.status, http::quote(&page.body));
            Failure::new("a page with a script of its own", came, LOOK)
        })?;
        let url = http::at(base, script, &[]);
        let answer = run.http.raw(&url, HeaderMap::new()).await.map_err(failed)?;
        let kind = answer.headers.get("content-type");
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if answer.status != 200 || !kind.contains("javascript") {
            let came = format!("status {}, {kind}", answer.status);
            return Err(Failure::new(format!("JavaScript at {script}"), came, LOOK));
        }
        Ok(format!("{script}, {} KB", answer.body.len() / 1000))
    })
    .await
}

/// `<script type="module" crossorigin src="/assets/index-1.js">`
fn script(page: &str) -> Option<&str> {
    let after = page.split("<script").nth(1)?;
    let source = after.split_once("src=\"")?.1;
    let (source, _) = source.split_once('"')?;
    source.starts_with('/').then_some(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_found() {
        let page =
            r#"<title>lab</title><script type="module" crossorigin src="/assets/i-1.js"></script>"#;
        assert_eq!(script(page), Some("/assets/i-1.js"));
        assert_eq!(script("<script src=\"https://example.org/a.js\">"), None);
        assert_eq!(script("<p>nothing</p>"), None);
    }
}
