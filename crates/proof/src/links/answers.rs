//! What edge answers, and which trace its answers name.

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::{Planned, some};
use crate::backend::Answer;
use crate::backends::Part;
use crate::http;
use crate::report::Failure;
use crate::verify::{BURST, Broken, Requests, Run, Sent};

pub(super) fn links<'a>(run: &'a Run<'a>) -> Vec<Planned<'a>> {
    let requests = &run.requests;
    let asked = |path: &str| run.edge().map(|edge| edge.asked(path)).unwrap_or_default();
    let edge = [Part::Edge];
    let mut links = vec![Planned::new(
        "services are ready",
        &edge,
        "GET /readyz of each service",
        ready(run),
    )];
    for (sent, check) in [
        (&requests.root, greeting as Check),
        (&requests.users, list_of_users),
        (&requests.user, only_admin),
        (&requests.albums, three_albums),
    ] {
        let follow = async move { answered(sent, check) };
        links.push(
            Planned::new(
                format!("edge answers {}", sent.path),
                &edge,
                asked(sent.path),
                follow,
            )
            .spent(sent.took),
        );
    }
    let served = Planned::new("every request is served", &edge, asked("/users"), async {
        all_served(requests)
    });
    links.push(served.spent(requests.burst_took));
    links.push(Planned::new(
        "traceparent is honoured",
        &edge,
        format!(
            "{} with traceparent {}",
            asked("/users"),
            requests.users.traceparent
        ),
        async { honoured(&requests.users) },
    ));
    links.push(Planned::new(
        "broken traceparent is ignored",
        &edge,
        format!(
            "{} with {} broken headers",
            asked("/"),
            requests.broken.len()
        ),
        async { ignored(&requests.broken) },
    ));
    links
}

/// What is right about an answer, or what was expected instead.
type Check = fn(&Answer) -> Result<String, String>;

/// The answer to a request, for links that follow from it.
pub(super) fn answer(sent: &Sent) -> Result<&Answer, Failure> {
    sent.answer.as_ref().map_err(|_| {
        let path = sent.path;
        let look = format!("the link `edge answers {path}`");
        Failure::new(format!("an answer to {path}"), "none", look).settled()
    })
}

/// Where to look when a path is not answered as it should be.
fn look(path: &str) -> &'static str {
    match path {
        "/" => "`./lab status`, `./lab logs edge`",
        "/albums" => "`./lab status`, `./lab logs albums`, `./lab logs edge`",
        _ => "`./lab status`, `./lab logs users`, `./lab logs edge`",
    }
}

fn answered(sent: &Sent, check: Check) -> Result<String, Failure> {
    let wrong = |expected: &str, came: String| Failure::new(expected, came, look(sent.path));
    let answer = sent
        .answer
        .as_ref()
        .map_err(|error| wrong("an answer", error.to_string()))?;
    if answer.status != 200 {
        return Err(wrong(
            "status 200",
            format!("{}, `{}`", answer.status, answer.quote()),
        ));
    }
    let what = check(answer).map_err(|expected| {
        wrong(
            &expected,
            format!("{} `{}`", answer.content_type, answer.quote()),
        )
    })?;
    let named = answer.named().ok_or_else(|| {
        let came = answer.traceparent.as_deref().unwrap_or("none");
        wrong("a valid traceparent header in the answer", came.to_owned())
    })?;
    Ok(format!("200, {what}, trace {}", named.trace))
}

fn greeting(answer: &Answer) -> Result<String, String> {
    let said = String::from_utf8_lossy(&answer.body).contains("hello-world");
    said.then(|| "hello-world".to_owned())
        .ok_or_else(|| "hello-world".to_owned())
}

fn list_of_users(answer: &Answer) -> Result<String, String> {
    let names = names(answer)?;
    if ["admin", "vasya"]
        .iter()
        .all(|name| names.iter().any(|one| one == name))
    {
        return Ok(format!("{} users", names.len()));
    }
    Err("the users admin and vasya".to_owned())
}

fn only_admin(answer: &Answer) -> Result<String, String> {
    let names = names(answer)?;
    if names.is_empty() || names.iter().any(|name| name != "admin") {
        return Err("the user admin alone".to_owned());
    }
    Ok("admin alone".to_owned())
}

fn three_albums(answer: &Answer) -> Result<String, String> {
    match json(answer)?.as_array() {
        Some(albums) if albums.len() == 3 => Ok("3 albums".to_owned()),
        _ => Err("a list of 3 albums".to_owned()),
    }
}

fn names(answer: &Answer) -> Result<Vec<String>, String> {
    let json = json(answer)?;
    let users = json.as_array().ok_or("a list of users")?;
    users
        .iter()
        .map(|user| user["name"].as_str().map(str::to_owned))
        .collect::<Option<_>>()
        .ok_or_else(|| "users with names".to_owned())
}

fn json(answer: &Answer) -> Result<Value, String> {
    answer
        .json()
        .filter(|_| answer.content_type.starts_with("application/json"))
        .ok_or_else(|| "JSON, content-type application/json".to_owned())
}

fn all_served(requests: &Requests) -> Result<String, Failure> {
    let status = answer(&requests.users)?.status;
    let served = requests.burst.get("200").copied().unwrap_or_default();
    let mut came: Vec<String> = requests
        .burst
        .iter()
        .map(|(came, count)| format!("{count} x {came}"))
        .collect();
    if came.is_empty() {
        came.push(format!("{status} at once, so no more were sent"));
    }
    if served == BURST {
        return Ok(some(&came));
    }
    Err(Failure::new(
        format!("{BURST} x 200"),
        some(&came),
        "a fault that is on (`./lab fault list`), `./lab logs users`, `./lab logs edge`",
    ))
}

fn honoured(sent: &Sent) -> Result<String, Failure> {
    let answer = answer(sent)?;
    let look = "the propagator of edge, OTEL_PROPAGATORS, OTEL_SDK_DISABLED";
    let expected = format!(
        "trace {} in the answer's traceparent",
        sent.traceparent.trace
    );
    let Some(named) = answer.named() else {
        let came = answer
            .traceparent
            .clone()
            .unwrap_or_else(|| "no header".to_owned());
        return Err(Failure::new(expected, came, look));
    };
    if named.trace != sent.traceparent.trace {
        return Err(Failure::new(expected, named.to_string(), look));
    }
    if named.span == sent.traceparent.span {
        return Err(Failure::new(
            "a span of edge's own in the answer's traceparent",
            format!("the caller's span {}", named.span),
            look,
        ));
    }
    if !named.sampled {
        return Err(Failure::new(
            "the caller's sampled flag kept",
            named.to_string(),
            look,
        ));
    }
    Ok(named.to_string())
}

fn ignored(broken: &[Broken]) -> Result<String, Failure> {
    let propagator = "the propagator of edge";
    for Broken { header, answer } in broken {
        let expected = format!("200 and a new trace for `traceparent: {header}`");
        let answer = answer
            .as_ref()
            .map_err(|error| Failure::new(&expected, error.to_string(), look("/")))?;
        if answer.status != 200 {
            let came = format!("{}, `{}`", answer.status, answer.quote());
            return Err(Failure::new(expected, came, look("/")));
        }
        let came = answer.traceparent.as_deref().unwrap_or("no traceparent");
        match answer.named() {
            Some(named) if !header.contains(named.trace.as_str()) => {}
            _ => return Err(Failure::new(expected, came, propagator)),
        }
    }
    Ok(format!("{} requests, each in a new trace", broken.len()))
}

async fn ready(run: &Run<'_>) -> Result<String, Failure> {
    let services = [
        ("edge", &run.backends.edge),
        ("users", &run.backends.users),
        ("albums", &run.backends.albums),
    ];
    let mut ready = Vec::new();
    let mut not = Vec::new();
    for (name, url) in services {
        let Some(url) = url else { continue };
        match run
            .http
            .raw(&http::at(url, "/readyz", &[]), HeaderMap::new())
            .await
        {
            Ok(raw) if raw.status == 200 => ready.push(name.to_owned()),
            Ok(raw) => not.push(format!(
                "{name}: {} `{}`",
                raw.status,
                http::quote(&raw.body)
            )),
            Err(error) => not.push(error.to_string()),
        }
    }
    if not.is_empty() {
        return Ok(format!("{} ready", ready.join(", ")));
    }
    Err(Failure::new(
        "200 of each",
        some(&not),
        "`./lab status`, `./lab logs NAME`",
    ))
}
