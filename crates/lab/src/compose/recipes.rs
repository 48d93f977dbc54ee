//! How the images of the stack are made where no registry can be reached: from the programs that
//! the native engine finds or builds, as bare as upstream's images are.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::Lab;
use crate::compose::image::Image;
use crate::native::component::{Component, Found, GoModule, Probe, Recipe, Source, Stop, Tier};
use crate::native::components;
use crate::native::components::console;
use crate::native::provision::{self, Look, Progress, debian, npm};

/// The service whose program is no component of the native engine.
static PROBE: Component = Component {
    name: "probe",
    core: false,
    tier: Tier::Backend,
    ports: &[],
    address: |_| None,
    recipe: |_| {
        Recipe::Sources(vec![Source::Go(GoModule {
            directory: "services/probe",
            package: ".",
        })])
    },
    configure: |_, _| bail!("it runs in the compose stack only"),
    probe: |_| Probe::Http(String::new()),
    stop: Stop::TERM,
};

/// Whose program can be had on a machine like this one.
pub(crate) fn component(lab: &Lab, service: &str) -> Option<&'static Component> {
    let found = match service {
        "probe" => &PROBE,
        service => components::by_name(service)?,
    };
    matches!((found.recipe)(lab), Recipe::Sources(_)).then_some(found)
}

/// The image of a service, and what it is made from.
pub(crate) async fn image(
    lab: &Lab,
    component: &'static Component,
    report: &dyn Fn(Progress),
) -> anyhow::Result<(Image, String)> {
    let log = provision::build_log(lab, component.name);
    let found = match provision::look(lab, component).await {
        Look::Found(found) => found,
        Look::Work(work) => provision::work(lab, component, &work, &log, report).await?,
        Look::Missing { reason, hint } => match hint {
            Some(hint) => bail!("{reason}; to get it: {hint}"),
            None => bail!("{reason}"),
        },
        Look::ComposeOnly => bail!("its program cannot be had here"),
    };
    let libraries = found.library_path();
    let libraries = libraries.as_deref();
    let mut image = Image::default();
    let (path, user) = match component.name {
        "edge" | "users" | "albums" | "probe" | "console" => ("/usr/bin/", "65532:65532"),
        "otel-collector" => ("/otelcol-contrib", "10001:10001"),
        "jaeger" => ("/cmd/jaeger/jaeger-linux", "10001"),
        "loki" => ("/usr/bin/loki", "10001"),
        "prometheus" => ("/bin/prometheus", "65534"),
        "alertmanager" => ("/bin/alertmanager", "65534"),
        "postgres" => {
            postgres(lab, &mut image, &found, &log, report).await?;
            return Ok((image, found.source));
        }
        other => bail!("nobody has written down what the image of {other} holds"),
    };
    let path = match path.strip_suffix('/') {
        Some(directory) => format!("{directory}/{}", component.name),
        None => path.to_owned(),
    };
    image.program(&found.program, &path, libraries).await?;
    image.entrypoint = vec![path];
    user.clone_into(&mut image.user);
    // Volumes begin with the owner of the directory they cover; the console's page is beside it.
    match component.name {
        "loki" => image.directory("/loki", 10_001, 0o755),
        "prometheus" => image.directory("/prometheus", 65_534, 0o755),
        "alertmanager" => image.directory("/alertmanager", 65_534, 0o755),
        "console" => {
            const PAGE: &str = "/usr/share/console";
            let page = npm::page(lab, component.name, &console::PAGE)?;
            image.tree(&page, Path::new(PAGE), &|_| true)?;
            image.env = vec![format!("CONSOLE_WEB={PAGE}")];
        }
        _ => {}
    }
    Ok((image, found.source))
}

/// The image of the lab's own receiver of notifications: this program, and the two files by which
/// it knows a checkout.
pub(crate) async fn webhook(lab: &Lab) -> anyhow::Result<Image> {
    let program = std::env::current_exe().context("this program is gone")?;
    let mut image = Image::default();
    image.program(&program, "/usr/bin/lab", None).await?;
    for file in [".env", "crates/lab/Cargo.toml"] {
        image.file(lab.paths.root.join(file), Path::new("/lab").join(file));
    }
    // The engine mounts something over it: nothing is written into the image.
    image.directory("/var/lib/lab", 10_001, 0o755);
    image.entrypoint = vec!["/usr/bin/lab".to_owned()];
    "10001:10001".clone_into(&mut image.user);
    image.env = vec![
        "LAB_ROOT=/lab".to_owned(),
        "LAB_STATE_DIR=/var/lib/lab".to_owned(),
        "LAB_CACHE_DIR=/var/lib/lab/cache".to_owned(),
    ];
    Ok(image)
}

/// Does for a first start what upstream's script does, as far as the stack asks for it.
const POSTGRES_ENTRYPOINT: &str = r#"#!/bin/sh
set -eu
if [ "$1" = postgres ] && [ ! -s "$PGDATA/PG_VERSION" ]; then
  mkdir -p "$PGDATA.new"
  printf '%s\n' "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-host=scram-sha-256 --auth-local=trust \
    $POSTGRES_INITDB_ARGS --no-instructions --pgdata="$PGDATA.new"
  printf 'host all all all scram-sha-256\n' >> "$PGDATA.new/pg_hba.conf"
  printf 'CREATE DATABASE "%s"\n' "$POSTGRES_DB" | postgres --single -D "$PGDATA.new" postgres
  # Only a complete cluster gets the name.
  mv "$PGDATA.new" "$PGDATA"
fi
exec "$@" -clisten_addresses='*'
"#;

/// PostgreSQL in Debian's layout, with a shell for its entrypoint, as upstream's image has one.
async fn postgres(
    lab: &Lab,
    image: &mut Image,
    found: &Found,
    log: &Path,
    report: &dyn Fn(Progress),
) -> anyhow::Result<()> {
    let (root, version) = debian_layout(&found.program).with_context(|| {
        format!(
            "the image is made from Debian's PostgreSQL, and {} is none",
            found.program.display()
        )
    })?;
    let libraries = found.library_path();
    let libraries = libraries.as_deref();
    let bin = format!("/usr/lib/postgresql/{version}/bin");
    for name in ["postgres", "initdb"] {
        let program = found.program.with_file_name(name);
        image
            .program(&program, &format!("{bin}/{name}"), libraries)
            .await?;
    }
    // In a package of its own, which a machine with the server may lack.
    let mut ready = found.program.with_file_name("pg_isready");
    if !provision::is_executable(&ready) {
        let inside = "usr/lib/postgresql/*/bin/pg_isready";
        let client = debian::fetch(lab, "postgresql-client", inside, log, report).await?;
        let libraries = client.library_path();
        image
            .libraries(&client.program, libraries.as_deref())
            .await?;
        ready = client.program;
    } else {
        image.libraries(&ready, libraries).await?;
    }
    image.file(ready, format!("{bin}/pg_isready"));

    let modules = format!("usr/lib/postgresql/{version}/lib");
    let no_compiler = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name != "bitcode" && !name.starts_with("llvmjit")
    };
    image.tree(
        &root.join(&modules),
        &Path::new("/").join(&modules),
        &no_compiler,
    )?;
    let share = format!("usr/share/postgresql/{version}");
    image.tree(&root.join(&share), &Path::new("/").join(&share), &|_| true)?;
    // Debian's PostgreSQL takes the machine's time zones.
    for zone in ["UTC", "Etc/UTC"] {
        let file = Path::new("/usr/share/zoneinfo").join(zone);
        if file.exists() {
            image.file(&file, &file);
        }
    }
    let shell = debian::fetch(lab, "busybox-static", "bin/busybox", log, report).await?;
    image.file(shell.program, "/bin/busybox");
    for name in ["sh", "mkdir", "mv"] {
        image.link(&format!("/bin/{name}"), "busybox");
    }
    image.text(
        "/etc/passwd",
        "postgres:x:999:999::/var/lib/postgresql:/bin/sh\n",
        0o644,
    );
    image.text("/etc/group", "postgres:x:999:\n", 0o644);
    image.text(
        "/usr/local/bin/docker-entrypoint.sh",
        POSTGRES_ENTRYPOINT,
        0o755,
    );
    image.directory("/var/lib/postgresql", 999, 0o755);
    // The engine gives a tmpfs the mode of the directory below it; without one, a restart finds what the first start
    // made, which is root's alone.
    image.directory("/var/run/postgresql", 999, 0o1777);
    image.entrypoint = vec!["/usr/local/bin/docker-entrypoint.sh".to_owned()];
    image.command = vec!["postgres".to_owned()];
    image.env = vec![
        format!("PATH={bin}:/usr/local/bin:/bin"),
        format!("PGDATA=/var/lib/postgresql/{version}/docker"),
    ];
    Ok(())
}

/// `<root>/usr/lib/postgresql/15/bin/postgres` gives root and `15`.
fn debian_layout(program: &Path) -> Option<(PathBuf, String)> {
    let home = program.parent()?.parent()?;
    let version = home.file_name()?.to_str()?.to_owned();
    let above = home.parent()?;
    let root = above.parent()?.parent()?.parent()?;
    (root.join("usr/lib/postgresql") == above
        && root.join("usr/share/postgresql").join(&version).is_dir())
    .then(|| (root.to_path_buf(), version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_of_debian_is_known() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr/share/postgresql/15")).unwrap();
        let program = dir.path().join("usr/lib/postgresql/15/bin/postgres");
        let (root, version) = debian_layout(&program).unwrap();
        assert_eq!((root.as_path(), version.as_str()), (dir.path(), "15"));
        assert_eq!(
            debian_layout(Path::new("/usr/local/pgsql/bin/postgres")),
            None
        );
    }
}
