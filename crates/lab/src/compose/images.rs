//! The images of the stack: which are here, which can be made here, and making them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::Lab;
use crate::compose::image::{INPUTS, Image};
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
    /// Not here, but the image that takes its place is.
    StoodIn(String),
}

pub(crate) async fn here(stack: &Stack<'_>, service: &Service) -> Here {
    match stack.docker.label(&service.image, MADE_FROM).await {
        None => match &service.stand_in {
            Some(image) if stack.docker.label(image, MADE_FROM).await.is_some() => {
                Here::StoodIn(image.clone())
            }
            _ => Here::No,
        },
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

/// The image that takes the place of one that is not here.
pub(crate) async fn stand_in(stack: &Stack<'_>, services: &[Service]) -> Option<String> {
    for service in services {
        if let Here::StoodIn(image) = here(stack, service).await {
            return Some(image);
        }
    }
    None
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
            let can =
                service.stand_in.is_some() || recipes::component(lab, &service.name).is_some();
            let how = if can {
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
    Made {
        image: String,
        from: String,
    },
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
            Outcome::Made { image, from } => lab.printer.step_done(
                &service.name,
                GOOD,
                &format!("made     {image} from {from} ({took})"),
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
    let say = |message: &str, elapsed: Duration| lab.printer.step(&service.name, message, elapsed);
    let before = stack.docker.label(&service.image, INPUTS).await;
    if before.as_deref() == Some("") {
        return Ok(Outcome::Upstream);
    }
    let (name, image, from) = if let Some(name) = &service.stand_in {
        let from = "this program, in place of the webhook tester".to_owned();
        (name, recipes::webhook(lab).await?, from)
    } else if let Some(component) = recipes::component(lab, &service.name) {
        let (image, from) = recipes::image(lab, component, &|progress| {
            if let Progress::Doing(what) = progress {
                say(&what, began.elapsed());
            }
        })
        .await?;
        (&service.image, image, from)
    } else {
        return Ok(match before {
            Some(_) => Outcome::Upstream,
            None => Outcome::Impossible,
        });
    };
    say("writing the image", began.elapsed());
    if load(lab, stack, name, image, &from).await? {
        Ok(Outcome::Made {
            image: name.clone(),
            from,
        })
    } else {
        Ok(Outcome::Same)
    }
}

/// Hands an image to the engine; false when it has the same already.
async fn load(
    lab: &Lab,
    stack: &Stack<'_>,
    name: &str,
    mut image: Image,
    from: &str,
) -> anyhow::Result<bool> {
    image.labels.insert(MADE_FROM.to_owned(), from.to_owned());
    let (repository, _) = name.rsplit_once(':').unwrap_or((name, ""));
    let title = repository.rsplit('/').next().unwrap_or(repository);
    image.labels.insert(
        "org.opencontainers.image.title".to_owned(),
        title.to_owned(),
    );
    let fingerprint = image.fingerprint()?;
    if stack.docker.label(name, INPUTS).await.as_deref() == Some(fingerprint.as_str()) {
        return Ok(false);
    }
    image.labels.insert(INPUTS.to_owned(), fingerprint);
    let scratch = Scratch::new(
        lab.paths
            .cache
            .join(format!(".image-{}", std::process::id())),
    )?;
    let archive = scratch.join("image.tar");
    image.write(name, &archive, &scratch)?;
    stack
        .docker
        .load(&archive)
        .await
        .with_context(|| format!("the engine does not take {name}"))?;
    Ok(true)
}
