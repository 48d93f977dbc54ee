//! The images that the Dockerfiles build on, where no registry can be reached: Debian packages with
//! the compilers of this machine, under upstream's names.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::Lab;
use crate::compose::docker::output;
use crate::compose::image::Image;
use crate::native::provision::{self, Progress, cargo, debian, golang, node};

/// A shell and what a line of it uses.
const SHELL: [&str; 4] = ["dash", "coreutils", "findutils", "libstdc++6"];
/// To link Rust, and for the C in its crates.
const COMPILER: [&str; 6] = [
    "dash",
    "coreutils",
    "findutils",
    "libstdc++6",
    "gcc",
    "libc6-dev",
];
/// What upstream's has of Debian, but for certificates and time zones, of which nothing of ours asks.
const RUNTIME: [&str; 3] = ["libc6", "libgcc-s1", "libstdc++6"];

/// The certificates by which this machine knows registries: a build asks the same ones.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The image that an argument of the Dockerfiles names, and what it is made from.
pub(crate) async fn image(
    lab: &Lab,
    argument: &str,
    report: &dyn Fn(Progress),
) -> anyhow::Result<(Image, String)> {
    let log = provision::build_log(lab, "bases");
    let mut image = Image::default();
    let made = match argument {
        "RUST_IMAGE" => {
            image.root(&debian::tree(lab, "compiler", &COMPILER, &log, report).await?)?;
            // Debian makes this link when the package is installed.
            image.link("/usr/bin/cc", "gcc");
            rust(&mut image).await?
        }
        "GO_IMAGE" => {
            image.root(&debian::tree(lab, "shell", &SHELL, &log, report).await?)?;
            go(&mut image).await?
        }
        "NODE_IMAGE" => {
            image.root(&debian::tree(lab, "shell", &SHELL, &log, report).await?)?;
            let home = node::whole(lab, &log, report).await?;
            node(&mut image, &home)?
        }
        "RUNTIME_IMAGE" => {
            image.root(&debian::tree(lab, "runtime", &RUNTIME, &log, report).await?)?;
            runtime(&mut image);
            "the C library".to_owned()
        }
        other => bail!("nobody has written down what {other} holds"),
    };
    // What was asked for belongs to the cache.
    image.remove(&Path::new("/").join(debian::LIST));
    Ok((image, format!("{made} and Debian packages")))
}

/// As upstream's image has it, with one toolchain and without rustup.
async fn rust(image: &mut Image) -> anyhow::Result<String> {
    const HOME: &str = "/usr/local/rustup/toolchains/here";
    let cargo =
        cargo::cargo().with_context(|| format!("Rust is needed; to get it: {}", cargo::HINT))?;
    let rustc = cargo.with_file_name("rustc");
    let sysroot = PathBuf::from(first_line(&rustc, &["--print", "sysroot"]).await?);
    let version = first_line(&rustc, &["--version"]).await?;
    let host = first_line(&rustc, &["--print", "host-tuple"]).await?;
    for program in ["cargo", "rustc"] {
        image.file(
            sysroot.join("bin").join(program),
            Path::new(HOME).join("bin").join(program),
        );
    }
    let targets = sysroot.join("lib/rustlib");
    // Of the targets the one that is built for; neither sources nor what debuggers and rustup keep there.
    let keep = |path: &Path| path.parent() != Some(&*targets) || path.ends_with(&host);
    image.below(&sysroot.join("lib"), &Path::new(HOME).join("lib"), &keep)?;
    let variables = [
        format!("PATH={HOME}/bin:{PATH}"),
        "CARGO_HOME=/usr/local/cargo".to_owned(),
        "RUSTUP_HOME=/usr/local/rustup".to_owned(),
    ];
    prepare(image, variables);
    // Where this machine's cargo looks for crates.
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    if let Some(settings) = home.map(|home| home.join("config.toml"))
        && settings.is_file()
    {
        image.file(settings, "/usr/local/cargo/config.toml");
    }
    Ok(version)
}

async fn go(image: &mut Image) -> anyhow::Result<String> {
    let go =
        golang::go().with_context(|| format!("Go is needed; to get it: {}", golang::hint()))?;
    let root = PathBuf::from(first_line(&go, &["env", "GOROOT"]).await?);
    let version = first_line(&go, &["version"]).await?;
    let keep = |path: &Path| {
        let top = path.parent() == Some(&*root);
        !top || ["bin", "lib", "pkg", "src", "go.env", "VERSION"]
            .iter()
            .any(|name| path.ends_with(name))
    };
    image.below(&root, Path::new("/usr/local/go"), &keep)?;
    let variables = [
        format!("PATH=/go/bin:/usr/local/go/bin:{PATH}"),
        "GOPATH=/go".to_owned(),
        "GOTOOLCHAIN=local".to_owned(),
    ];
    prepare(image, variables);
    Ok(version)
}

fn node(image: &mut Image, home: &Path) -> anyhow::Result<String> {
    let keep = |path: &Path| !path.ends_with("include") && !path.ends_with("share");
    for part in ["bin", "lib"] {
        image.below(&home.join(part), &Path::new("/usr/local").join(part), &keep)?;
    }
    let mut variables = vec![
        format!("PATH={PATH}"),
        format!("NODE_VERSION={}", node::VERSION),
        // Node.js brings certificates of its own.
        format!("NODE_EXTRA_CA_CERTS={CERTIFICATES}"),
    ];
    // Where this machine's npm looks for packages, when it was told.
    for name in ["NPM_CONFIG_REGISTRY", "npm_config_registry"] {
        if let Ok(registry) = std::env::var(name) {
            variables.push(format!("{name}={registry}"));
        }
    }
    prepare(image, variables);
    Ok(format!("Node.js {}", node::VERSION))
}

fn runtime(image: &mut Image) {
    image.text(
        "/etc/passwd",
        "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
        0o644,
    );
    image.directory("/tmp", 0, 0o1777);
    "65532:65532".clone_into(&mut image.user);
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every image has in which something is built.
fn prepare(image: &mut Image, variables: impl IntoIterator<Item = String>) {
    image.env = variables.into_iter().collect();
    image.text("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644);
    image.directory("/root", 0, 0o700);
    image.directory("/tmp", 0, 0o1777);
    image.link("/bin/sh", "dash");
    if Path::new(CERTIFICATES).is_file() {
        image.file(CERTIFICATES, CERTIFICATES);
    }
    image.command = vec!["/bin/sh".to_owned()];
}

async fn first_line(program: &Path, args: &[&str]) -> anyhow::Result<String> {
    let mut command = tokio::process::Command::new(program);
    command.args(args);
    let text = output(command).await?;
    let line = text.lines().next().unwrap_or_default().trim();
    anyhow::ensure!(
        !line.is_empty(),
        "{} {} says nothing",
        program.display(),
        args.join(" ")
    );
    Ok(line.to_owned())
}
