//! The CPU time of a span: from a trace to the samples that were taken in it.

use super::{Planned, some};
use crate::backend::{Profile, Stack, Users};
use crate::backends::Part;
use crate::http::AskError;
use crate::report::Failure;
use crate::trace::Span;
use crate::traceparent::Traceparent;
use crate::verify::Run;

const NAME: &str = "span -> its samples";
const LOOK: &str =
    "TELEMETRY_PROFILING of users, .cargo/config.toml (frame pointers), `./lab logs users`";

/// The request works for so long, and the profile is longer: it has all of the work.
const WORK: u64 = 1;
const PROFILE: u64 = 2;

/// Where `/do_long_work` is handled.
const HANDLER: [&str; 2] = ["users::work::", "users::routes::do_long_work::"];

/// Fewer samples prove nothing. A second of CPU makes a hundred.
const FEWEST: u64 = 10;

/// By this attribute, a trace leads to a profile.
const PROFILE_ID: &str = "pyroscope.profile.id";

pub(super) fn links<'a>(run: &'a Run<'a>) -> Vec<Planned<'a>> {
    let url = run.backends.users.clone();
    let users = url.map(|url| Users::new(run.http.clone(), url));
    let asked = users
        .as_ref()
        .map(|users| {
            format!(
                "{} while /do_long_work?sec={WORK} is under way",
                users.asked(PROFILE)
            )
        })
        .unwrap_or_default();
    let follow = async move {
        let users = users.ok_or_else(|| Failure::new("users", "it is absent", LOOK).settled())?;
        follow(run, &users).await
    };
    vec![Planned::new(NAME, &[Part::Users], asked, follow)]
}

async fn follow(run: &Run<'_>, users: &Users) -> Result<String, Failure> {
    let (named, told) = run
        .until(NAME, || async {
            let traceparent = Traceparent::random().to_string();
            let (profile, worked) =
                tokio::join!(users.profile(PROFILE), users.work(WORK, &traceparent));
            let profile = profile.map_err(asking)?;
            let worked = worked.map_err(asking)?;
            let named = worked.named().filter(|_| worked.status == 200);
            let named = named.ok_or_else(|| {
                let came = format!("{}, `{}`", worked.status, worked.quote());
                Failure::new("200 and a traceparent of /do_long_work", came, LOOK)
            })?;
            let told = judge(&profile, &named.span)?;
            Ok((named, told))
        })
        .await?;
    // Where there are traces, the way begins there.
    let Ok(jaeger) = run.jaeger() else {
        return Ok(told);
    };
    run.until(NAME, || async {
        let trace = super::traces::fetch(jaeger, &named.trace).await?;
        let came = trace
            .span(&named.span)
            .and_then(|span| Span::text(span, PROFILE_ID));
        if came.as_deref() == Some(named.span.as_str()) {
            return Ok(());
        }
        let expected = format!(
            "{PROFILE_ID}={} on span {} in Jaeger",
            named.span, named.span
        );
        Err(Failure::new(
            expected,
            came.unwrap_or_else(|| "none".to_owned()),
            LOOK,
        ))
    })
    .await?;
    Ok(told)
}

fn asking(error: AskError) -> Failure {
    Failure::new("an answer of users", error.to_string(), LOOK)
}

fn judge(profile: &Profile, span: &str) -> Result<String, Failure> {
    let own = profile.of_span(span);
    let sum = |stacks: &mut dyn Iterator<Item = &Stack>| -> u64 {
        stacks.map(|stack| stack.samples).sum()
    };
    let all = sum(&mut own.clone());
    if all < FEWEST {
        let of_all = sum(&mut profile.stacks.iter());
        return Err(Failure::new(
            format!("at least {FEWEST} samples of span {span}"),
            format!("{all} of {of_all} in the profile"),
            LOOK,
        ));
    }
    let inside = sum(&mut own.clone().filter(|stack| is_in_handler(stack)));
    let share = format!("{inside} of {all} samples of span {span}");
    if inside * 10 >= all * 9 {
        return Ok(format!("{share} are in its handler"));
    }
    let elsewhere: Vec<String> = own
        .filter(|stack| !is_in_handler(stack))
        .map(|stack| {
            stack
                .functions
                .first()
                .cloned()
                .unwrap_or_else(|| "no function".to_owned())
        })
        .collect();
    let came = format!("{share}; others are in {}", some(&elsewhere));
    Err(Failure::new(
        "9 of 10 samples in the span's handler",
        came,
        LOOK,
    ))
}

fn is_in_handler(stack: &Stack) -> bool {
    let in_handler = |function: &String| HANDLER.iter().any(|part| function.contains(part));
    stack.functions.iter().any(in_handler)
}
