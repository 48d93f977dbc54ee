//! What is broken on purpose: OpenFeature flags from a file in flagd's JSON format, read live.
//!
//! A file that cannot be read or understood changes nothing: the last good state stays, and the
//! log says what is wrong and where.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use open_feature::provider::{FeatureProvider, ProviderMetadata, ResolutionDetails};
use open_feature::{
    Client, EvaluationContext, EvaluationError, EvaluationErrorCode, EvaluationResult, OpenFeature,
    StructValue,
};
use serde::Deserialize;
use serde_json::Value;

/// How soon a changed file is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Every fault of this service, with the values of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// `users-slow-share`: which share of `/users` burns CPU for [`slow`](Self::slow).
    pub slow_share: f64,
    /// `users-slow-seconds`.
    pub slow: Duration,
    /// `users-error-share`: which share of `/users` answers 500.
    pub error_share: f64,
    /// `users-cpu-burn-ms`: CPU work in every request.
    pub cpu_burn: Duration,
    /// `users-slow-query-ms`: what the database takes longer.
    pub slow_query: Duration,
    /// `users-lock-ms`: how long each request holds the one lock that all need.
    pub lock: Duration,
    /// `users-leak-kib`, in bytes: what each request keeps for ever.
    pub leak_bytes: usize,
}

impl Faults {
    /// Whether a fault of this share hits the request at hand.
    pub fn strikes(&self, share: f64) -> bool {
        share > 0.0 && rand::random::<f64>() < share
    }
}

/// The faults of right now.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<ArcSwap<Faults>>);

impl Live {
    /// Faults that never change, for tests.
    pub fn fixed(faults: Faults) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(faults)))
    }

    /// A copy of this moment's faults.
    pub fn now(&self) -> Faults {
        **self.0.load()
    }
}

/// Follows `file` for the life of the process. Without a file nothing is ever broken.
pub async fn watch(file: Option<PathBuf>) -> Live {
    let live = Live::default();
    let Some(path) = file else {
        return live;
    };
    let mut follower = Follower::new(path, live.clone()).await;
    follower.look().await;
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if follower.changed() {
                follower.look().await;
            }
        }
    });
    live
}

struct Follower {
    path: PathBuf,
    flags: Arc<ArcSwap<FlagFile>>,
    client: Client,
    live: Live,
    seen: Option<(SystemTime, u64)>,
}

impl Follower {
    async fn new(path: PathBuf, live: Live) -> Self {
        let flags = Arc::new(ArcSwap::from_pointee(FlagFile::default()));
        let provider = FileProvider {
            metadata: ProviderMetadata::new("flagd-file"),
            flags: flags.clone(),
        };
        // Named, so that two followers in one process (tests) do not share a provider.
        let name = path.to_string_lossy().into_owned();
        let mut api = OpenFeature::singleton_mut().await;
        api.set_named_provider(&name, provider).await;
        let client = api.create_named_client(&name);
        Self {
            path,
            flags,
            client,
            live,
            seen: None,
        }
    }

    fn stamp(&self) -> Option<(SystemTime, u64)> {
        let metadata = std::fs::metadata(&self.path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    fn changed(&self) -> bool {
        self.stamp() != self.seen
    }

    async fn look(&mut self) {
        self.seen = self.stamp();
        match FlagFile::read(&self.path) {
            Ok(flags) => {
                self.flags.store(Arc::new(flags));
                let faults = self.evaluate().await;
                if faults != self.live.now() {
                    tracing::warn!(?faults, "faults changed");
                }
                self.live.0.store(Arc::new(faults));
            }
            Err(error) => {
                let path = self.path.display().to_string();
                tracing::warn!(
                    file = path,
                    error,
                    "flags not read; the last good ones stay"
                );
            }
        }
    }

    async fn evaluate(&self) -> Faults {
        let milliseconds = |value: f64| Duration::from_secs_f64(value / 1000.0);
        Faults {
            slow_share: self.number("users-slow-share", 1.0).await,
            slow: Duration::from_secs_f64(self.number("users-slow-seconds", 30.0).await),
            error_share: self.number("users-error-share", 1.0).await,
            cpu_burn: milliseconds(self.number("users-cpu-burn-ms", 30_000.0).await),
            slow_query: milliseconds(self.number("users-slow-query-ms", 30_000.0).await),
            lock: milliseconds(self.number("users-lock-ms", 30_000.0).await),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "number() keeps it between 0 and the limit"
            )]
            leak_bytes: (self.number("users-leak-kib", 65_536.0).await * 1024.0) as usize,
        }
    }

    /// A flag's value from 0 to `most`; anything else is logged and means healthy.
    async fn number(&self, flag: &str, most: f64) -> f64 {
        let wrong = match self.client.get_float_value(flag, None, None).await {
            Ok(value) if (0.0..=most).contains(&value) => return value,
            Ok(value) => format!("{value} is not between 0 and {most}"),
            Err(error) if error.code == EvaluationErrorCode::FlagNotFound => return 0.0,
            Err(error) => error.message.unwrap_or_else(|| "no value".to_owned()),
        };
        tracing::warn!(flag, wrong, "flag ignored");
        0.0
    }
}

/// A file in flagd's format, as far as the lab uses it: no targeting rules.
#[derive(Debug, Default, Deserialize)]
struct FlagFile {
    flags: HashMap<String, Flag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Flag {
    state: State,
    variants: HashMap<String, Value>,
    default_variant: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum State {
    Enabled,
    Disabled,
}

impl FlagFile {
    fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        // serde_json's message ends with line and column.
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    fn resolve<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> EvaluationResult<ResolutionDetails<T>> {
        let fail = |code, message: String| {
            Err(EvaluationError {
                code,
                message: Some(message),
            })
        };
        let Some(flag) = self.flags.get(key) else {
            return fail(EvaluationErrorCode::FlagNotFound, format!("no flag {key}"));
        };
        if flag.state == State::Disabled {
            return fail(
                EvaluationErrorCode::FlagNotFound,
                format!("{key} is disabled"),
            );
        }
        let variant = &flag.default_variant;
        let Some(value) = flag.variants.get(variant) else {
            let message = format!("defaultVariant {variant:?} of {key} is not one of its variants");
            return fail(EvaluationErrorCode::ParseError, message);
        };
        let Some(converted) = convert(value) else {
            let message = format!("variant {variant:?} of {key} is {value}, expected {expected}");
            return fail(EvaluationErrorCode::TypeMismatch, message);
        };
        let mut details = ResolutionDetails::new(converted);
        details.variant = Some(variant.clone());
        Ok(details)
    }
}

struct FileProvider {
    metadata: ProviderMetadata,
    flags: Arc<ArcSwap<FlagFile>>,
}

#[async_trait]
impl FeatureProvider for FileProvider {
    fn metadata(&self) -> &ProviderMetadata {
        &self.metadata
    }

    async fn resolve_bool_value(
        &self,
        key: &str,
        _: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<bool>> {
        self.flags.load().resolve(key, "a boolean", Value::as_bool)
    }

    async fn resolve_int_value(
        &self,
        key: &str,
        _: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<i64>> {
        self.flags.load().resolve(key, "an integer", Value::as_i64)
    }

    async fn resolve_float_value(
        &self,
        key: &str,
        _: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<f64>> {
        self.flags.load().resolve(key, "a number", Value::as_f64)
    }

    async fn resolve_string_value(
        &self,
        key: &str,
        _: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<String>> {
        self.flags
            .load()
            .resolve(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    async fn resolve_struct_value(
        &self,
        key: &str,
        _: &EvaluationContext,
    ) -> EvaluationResult<ResolutionDetails<StructValue>> {
        self.flags
            .load()
            .resolve(key, "no object (the lab has no such flag)", |_| None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = include_str!("../../../infra/flags/lab.flagd.json");

    fn with_variant(flag: &str, variant: &str) -> String {
        let mut file: Value = serde_json::from_str(SHIPPED).unwrap();
        file["flags"][flag]["defaultVariant"] = variant.into();
        file.to_string()
    }

    async fn follow(text: &str) -> (tempfile::TempDir, Follower) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lab.flagd.json");
        std::fs::write(&path, text).unwrap();
        let mut follower = Follower::new(path, Live::default()).await;
        follower.look().await;
        (dir, follower)
    }

    fn is_healthy(faults: Faults) -> bool {
        Faults {
            slow: Duration::ZERO,
            ..faults
        } == Faults::default()
    }

    #[tokio::test]
    async fn the_shipped_file_breaks_nothing() {
        let (_dir, follower) = follow(SHIPPED).await;
        assert!(is_healthy(follower.live.now()), "{:?}", follower.live.now());
    }

    #[tokio::test]
    async fn the_set_seed_is_the_seed_s_behaviour() {
        let mut file: Value = serde_json::from_str(SHIPPED).unwrap();
        for (_, flag) in file["flags"].as_object_mut().unwrap() {
            if flag["variants"].get("seed").is_some() {
                flag["defaultVariant"] = "seed".into();
            }
        }
        let (_dir, follower) = follow(&file.to_string()).await;
        let expected = Faults {
            slow_share: 0.1,
            slow: Duration::from_secs(10),
            error_share: 0.1,
            ..Faults::default()
        };
        assert_eq!(follower.live.now(), expected);
    }

    #[tokio::test]
    async fn a_change_is_seen_and_a_malformed_file_changes_nothing() {
        let (_dir, mut follower) = follow(&with_variant("users-error-share", "half")).await;
        assert_eq!(follower.live.now().error_share, 0.5);
        std::fs::write(&follower.path, "{ \"flags\": {").unwrap();
        assert!(follower.changed());
        follower.look().await;
        assert_eq!(follower.live.now().error_share, 0.5);
        std::fs::remove_file(&follower.path).unwrap();
        follower.look().await;
        assert_eq!(follower.live.now().error_share, 0.5);
        std::fs::write(&follower.path, with_variant("users-error-share", "all")).unwrap();
        follower.look().await;
        assert_eq!(follower.live.now().error_share, 1.0);
    }

    #[tokio::test]
    async fn an_unknown_variant_a_wrong_type_and_a_wrong_share_mean_healthy() {
        for (value, variant) in [
            ("0.5", "no-such"),
            ("\"often\"", "x"),
            ("1.5", "x"),
            ("-1", "x"),
        ] {
            let text = format!(
                r#"{{"flags":{{"users-error-share":{{"state":"ENABLED","variants":{{"x":{value}}},"defaultVariant":"{variant}"}}}}}}"#
            );
            let (_dir, follower) = follow(&text).await;
            assert!(is_healthy(follower.live.now()), "{text}");
        }
    }

    #[tokio::test]
    async fn a_disabled_flag_is_off() {
        let text = with_variant("users-error-share", "all").replace("ENABLED", "DISABLED");
        let (_dir, follower) = follow(&text).await;
        assert!(is_healthy(follower.live.now()));
    }

    #[test]
    fn a_share_of_all_strikes_always_and_of_none_never() {
        let faults = Faults::default();
        assert!((0..100).all(|_| faults.strikes(1.0)));
        assert!((0..100).all(|_| !faults.strikes(0.0)));
    }
}
