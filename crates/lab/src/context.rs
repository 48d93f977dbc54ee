//! What every verb gets: settings, directories, printer, and the lab that runs, if one does.

use std::collections::BTreeMap;

use url::Url;

use crate::compose;
use crate::paths::Paths;
use crate::printer::Printer;
use crate::settings::{Port, Settings, SettingsError};
use crate::state::State;

pub(crate) struct Lab {
    pub(crate) settings: Settings,
    pub(crate) paths: Paths,
    pub(crate) printer: Printer,
}

impl Lab {
    pub(crate) fn load() -> Result<Self, SettingsError> {
        let paths = Paths::find()?;
        let settings = Settings::load(&paths.root)?;
        let mut programs = crate::native::components::names();
        // No component: what `load` runs.
        programs.push("k6");
        settings.check_programs(&programs)?;
        Ok(Self {
            settings,
            paths,
            printer: Printer::new(),
        })
    }

    /// What the supervisor last wrote, if it (still) runs.
    pub(crate) fn running(&self) -> anyhow::Result<Option<State>> {
        Ok(State::read(&self.paths.state_file())?.filter(State::supervisor_alive))
    }

    /// The lab that runs, natively or in containers.
    pub(crate) async fn running_anywhere(&self) -> anyhow::Result<Option<State>> {
        match self.running()? {
            Some(state) => Ok(Some(state)),
            None => compose::running(self).await,
        }
    }

    /// The port a component really listens on: that of the running lab, else that of the settings.
    pub(crate) fn port(&self, port: Port, running: Option<&State>) -> u16 {
        running
            .and_then(|state| state.ports.get(port.var()).copied())
            .unwrap_or_else(|| self.settings.port(port))
    }

    /// The base address of an HTTP API of the lab.
    pub(crate) fn url(&self, port: Port, running: Option<&State>) -> anyhow::Result<Url> {
        let port = self.port(port, running);
        Ok(Url::parse(&format!("http://127.0.0.1:{port}/"))?)
    }

    /// How to reach the lab's database.
    pub(crate) fn database_url(&self, running: Option<&State>) -> String {
        format!(
            "postgres://lab:lab@127.0.0.1:{}/lab",
            self.port(Port::Postgres, running)
        )
    }

    /// The ports as the lab would start with them now.
    pub(crate) fn ports(&self) -> &BTreeMap<String, u16> {
        self.settings.port_variables()
    }
}
