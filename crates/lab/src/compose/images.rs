//! The images of the stack: which are here, which can be made here, and making them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::Lab;
use crate::compose::bases;
use crate::compose::image::{INPUTS, Image};
use crate::compose::recipes;
use crate::compose::stack::{Service, Stack};
use crate::native::provision::{Progress, Scratch};
use crate::printer::{BAD, GOOD, duration};

/// Says in an image what is really in it: the tag is upstream's.
pub(crate) const MADE_FROM: &str = "observability-lab.made-from";

/// The labels of an image that was made here: what it is made from, and by what it is known again.
struct Labels {
    from: &'static str,
    inputs: &'static str,
}

const OF_SERVICES: Labels = Labels {
    from: MADE_FROM,
    inputs: INPUTS,
};

/// What is built on a base has its labels, too, and was not made as the others are.
const OF_BASES: Labels = Labels {
    from: "observability-lab.base-made-from",
    inputs: "observability-lab.base-inputs",
};

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

/// Those and what was made to take the place of others.
pub(crate) async fn made_and_stand_ins(stack: &Stack<'_>, services: &[Service]) -> Vec<String> {
    let mut all = made(stack, services).await;
    for image in services.iter().filter_map(|each| each.stand_in.clone()) {
        if stack.docker.label(&image, MADE_FROM).await.is_some() {
            all.push(image);
        }
    }
    all
}

/// The bases that were made here.
pub(crate) async fn made_bases(stack: &Stack<'_>) -> anyhow::Result<Vec<String>> {
    let mut made = Vec::new();
    for image in stack.bases().await?.into_values() {
        let label = stack.docker.label(&image, OF_BASES.from).await;
        if label.is_some_and(|from| !from.is_empty()) {
            made.push(image);
        }
    }
    Ok(made)
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

/// Makes the bases that the Dockerfiles build on: what could not be made, and why.
pub(crate) async fn make_bases(lab: &Lab, stack: &Stack<'_>) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for (argument, image) in stack.bases().await? {
        let began = Instant::now();
        let outcome = match make_base(lab, stack, &argument, &image, began).await {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        let took = duration(began.elapsed());
        match &outcome {
            Outcome::Made { image, from } => lab.printer.step_done(
                &argument,
                GOOD,
                &format!("made     {image} from {from} ({took})"),
            ),
            Outcome::Failed(why) => lab.printer.step_done(&argument, BAD, why),
            Outcome::Same | Outcome::Upstream | Outcome::Impossible => {}
        }
        outcomes.push(outcome);
    }
    lab.printer.clear_steps();
    Ok(outcomes)
}

async fn make_base(
    lab: &Lab,
    stack: &Stack<'_>,
    argument: &str,
    name: &str,
    began: Instant,
) -> anyhow::Result<Outcome> {
    if stack.docker.label(name, OF_BASES.inputs).await.as_deref() == Some("") {
        return Ok(Outcome::Upstream);
    }
    let say = |message: &str| lab.printer.step(argument, message, began.elapsed());
    let (image, from) = bases::image(lab, argument, &|progress| {
        if let Progress::Doing(what) = progress {
            say(&what);
        }
    })
    .await?;
    say("writing the image");
    if load(lab, stack, name, image, &from, &OF_BASES).await? {
        Ok(Outcome::Made {
            image: name.to_owned(),
            from,
        })
    } else {
        Ok(Outcome::Same)
    }
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
    if load(lab, stack, name, image, &from, &OF_SERVICES).await? {
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
    labels: &Labels,
) -> anyhow::Result<bool> {
    image.labels.insert(labels.from.to_owned(), from.to_owned());
    let (repository, _) = name.rsplit_once(':').unwrap_or((name, ""));
    let title = repository.rsplit('/').next().unwrap_or(repository);
    image.labels.insert(
        "org.opencontainers.image.title".to_owned(),
        title.to_owned(),
    );
    let fingerprint = image.fingerprint()?;
    if stack.docker.label(name, labels.inputs).await.as_deref() == Some(fingerprint.as_str()) {
        return Ok(false);
    }
    image.labels.insert(labels.inputs.to_owned(), fingerprint);
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
