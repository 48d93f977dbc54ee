//! The images of the stack: which are here, which can be made here, and making them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::Lab;
use crate::compose::image::INPUTS;
use crate::compose::recipes;
use crate::compose::stack::{Service, Stack};
use crate::native::provision::{Progress, Scratch};
use crate::printer::{BAD, GOOD, duration};

/// Says in an image what is really in it: the tag is upstream's.
pub(crate) const MADE_FROM: &str = "observability-lab.made-from";

/// Whether an image is here.
pub(crate) enum Here {
    No,
    /// Pulled, or built from its Dockerfile.
    Upstream,
    /// Made here, from this.
    Made(String),
}

pub(crate) async fn here(stack: &Stack<'_>, service: &Service) -> Here {
    match stack.docker.label(&service.image, MADE_FROM).await {
        None => Here::No,
        Some(label) if label.is_empty() => Here::Upstream,
        Some(label) => Here::Made(label),
    }
}

/// The images that were made here: upstream's names, but not upstream's programs.
pub(crate) async fn made(stack: &Stack<'_>, services: &[Service]) -> Vec<String> {
    let mut made = Vec::new();
    for service in services {
        if let Here::Made(_) = here(stack, service).await {
            made.push(service.image.clone());
        }
    }
    made
}

/// Services without an image, with the reasons. Those that share an image have one reason.
pub(crate) async fn missing(
    lab: &Lab,
    stack: &Stack<'_>,
    services: &[Service],
) -> BTreeMap<String, String> {
    let mut missing = BTreeMap::new();
    for service in services {
        if matches!(here(stack, service).await, Here::No) {
            let how = if recipes::component(lab, &service.name).is_some() {
                "; `./lab air-gap images make` makes it"
            } else {
                ", and it cannot be made here"
            };
            missing.insert(
                service.name.clone(),
                format!("its image {} is not on this machine{how}", service.image),
            );
        }
    }
    missing
}

/// What making an image came to.
pub(crate) enum Outcome {
    Made(String),
    /// The same is here already.
    Same,
    /// Upstream's is here: it is not replaced.
    Upstream,
    Impossible,
    Failed(String),
}

/// Makes what can be made and is not here, or is here and would come out otherwise.
pub(crate) async fn make(
    lab: &Lab,
    stack: &Stack<'_>,
    services: &[Service],
) -> Vec<(Service, Outcome)> {
    let mut outcomes = Vec::new();
    for service in services {
        let began = Instant::now();
        let outcome = match make_one(lab, stack, service, began).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        let took = duration(began.elapsed());
        match &outcome {
            Outcome::Made(from) => lab.printer.step_done(
                &service.name,
                GOOD,
                &format!("made     {} from {from} ({took})", service.image),
            ),
            Outcome::Failed(why) => lab.printer.step_done(&service.name, BAD, why),
            Outcome::Same | Outcome::Upstream | Outcome::Impossible => {}
        }
        outcomes.push((service.clone(), outcome));
    }
    lab.printer.clear_steps();
    outcomes
}

async fn make_one(
    lab: &Lab,
    stack: &Stack<'_>,
    service: &Service,
    began: Instant,
) -> anyhow::Result<Outcome> {
    let before = stack.docker.label(&service.image, INPUTS).await;
    let Some(component) = recipes::component(lab, &service.name) else {
        return Ok(match before {
            Some(_) => Outcome::Upstream,
            None => Outcome::Impossible,
        });
    };
    if before.as_deref() == Some("") {
        return Ok(Outcome::Upstream);
    }
    let say = |message: &str, elapsed: Duration| lab.printer.step(&service.name, message, elapsed);
    let (mut image, from) = recipes::image(lab, component, &|progress| {
        if let Progress::Doing(what) = progress {
            say(&what, began.elapsed());
        }
    })
    .await?;
    image.labels.insert(MADE_FROM.to_owned(), from.clone());
    image.labels.insert(
        "org.opencontainers.image.title".to_owned(),
        service.name.clone(),
    );
    let fingerprint = image.fingerprint()?;
    if before.as_deref() == Some(fingerprint.as_str()) {
        return Ok(Outcome::Same);
    }
    image.labels.insert(INPUTS.to_owned(), fingerprint);
    say("writing the image", began.elapsed());
    let scratch = Scratch::new(
        lab.paths
            .cache
            .join(format!(".image-{}", std::process::id())),
    )?;
    let archive = scratch.join("image.tar");
    image.write(&service.image, &archive, &scratch)?;
    say("loading the image", began.elapsed());
    stack
        .docker
        .load(&archive)
        .await
        .with_context(|| format!("the engine does not take {}", service.image))?;
    Ok(Outcome::Made(from))
}
