use std::collections::BTreeSet;

use super::variables::VARIABLES;
use super::*;

fn read(vars: &[(&str, &str)]) -> Settings {
    Settings::from_vars(|name| {
        vars.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| (*v).to_owned())
    })
}

/// Without the warnings: what is in effect.
fn in_effect(mut settings: Settings) -> Settings {
    settings.warnings.clear();
    settings
}

#[test]
fn nothing_set_means_what_the_specification_says() {
    let settings = read(&[]);
    assert!(!settings.disabled);
    assert_eq!(settings.traces, [Exporter::Otlp]);
    assert_eq!(settings.metrics, [Exporter::Otlp]);
    assert_eq!(settings.logs, [Exporter::Otlp]);
    assert_eq!(settings.traces_otlp.protocol, OtlpProtocol::HttpProtobuf);
    assert_eq!(settings.traces_otlp.timeout, Some(Duration::from_secs(10)));
    assert_eq!(
        settings.sampler,
        Sampler {
            ratio: 1.0,
            parent_based: true
        }
    );
    assert_eq!(settings.span_batches.delay, Duration::from_secs(5));
    assert_eq!(settings.log_batches.delay, Duration::from_secs(1));
    assert_eq!(settings.span_limits.attributes, 128);
    assert_eq!(settings.span_limits.value_length, None);
    assert_eq!(
        settings.propagators,
        [Propagator::TraceContext, Propagator::Baggage]
    );
    assert_eq!(settings.prometheus_listener, None);
    assert_eq!(settings.warnings, []);
}

/// Values of one variable.
struct Case {
    name: &'static str,
    /// Understood, and not the default.
    good: &'static [&'static str],
    /// Warned about; the default takes its place.
    wrong: &'static [&'static str],
    /// At the end of what is understood.
    extreme: &'static [&'static str],
}

const fn case(
    name: &'static str,
    good: &'static [&'static str],
    wrong: &'static [&'static str],
    extreme: &'static [&'static str],
) -> Case {
    Case {
        name,
        good,
        wrong,
        extreme,
    }
}

const NOT_MILLISECONDS: &[&str] = &[
    "10s",
    "soon",
    "-5",
    "1.5",
    "86400001",
    "99999999999999999999",
];
const NOT_ITEMS: &[&str] = &["0", "-1", "many", "10000001", "99999999999999999999"];
const NOT_A_LIMIT: &[&str] = &["-1", "1e3", "4294967296", "99999999999999999999"];
const NOT_PAIRS: &[&str] = &[
    "no-equals-sign",
    "=value",
    "k=%zz",
    "k=%4",
    "k=%ff",
    "%e9=v",
    "%=v",
];
const ANY_TEXT: &[&str] = &["\u{fffd}"];

const CASES: [Case; VARIABLES.len()] = [
    case(
        "OTEL_SDK_DISABLED",
        &["true", "TRUE"],
        &["1", "yes", "0"],
        &[],
    ),
    case("OTEL_SERVICE_NAME", &["shop", "söp"], ANY_TEXT, &[]),
    case(
        "OTEL_RESOURCE_ATTRIBUTES",
        &["a=b", " a.b = c%2Cd , e=", "%61=%C3%A9"],
        NOT_PAIRS,
        &[],
    ),
    case(
        "OTEL_TRACES_EXPORTER",
        &["none", "Console", "OTLP,console"],
        &["zipkin", "prometheus"],
        &[],
    ),
    case(
        "OTEL_LOGS_EXPORTER",
        &["none", "CONSOLE"],
        &["zipkin", "prometheus"],
        &[],
    ),
    case(
        "OTEL_METRICS_EXPORTER",
        &["none", "Prometheus", "otlp,prometheus"],
        &["statsd"],
        &[],
    ),
    case(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        &["http://collector:1", "http://[::1]:4318/base/"],
        ANY_TEXT,
        &[],
    ),
    case(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        &["grpc", "HTTP/JSON"],
        &["http", "carrier-pigeon"],
        &[],
    ),
    case(
        "OTEL_EXPORTER_OTLP_HEADERS",
        &["a=b", "A%2Db = c%20d, e=f"],
        ANY_TEXT,
        &[],
    ),
    case(
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        &["0", "1", "250"],
        NOT_MILLISECONDS,
        &["86400000"],
    ),
    case(
        "OTEL_EXPORTER_OTLP_COMPRESSION",
        &["gzip", "GZIP"],
        &["zstd", "zip", "true"],
        &[],
    ),
    // What is neither is an address without a scheme, which only gRPC has.
    case("OTEL_EXPORTER_OTLP_INSECURE", &[], &["1", "yes"], &[]),
    case(
        "OTEL_EXPORTER_OTLP_CERTIFICATE",
        &["/a/file.pem"],
        ANY_TEXT,
        &[],
    ),
    case(
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        &["/a/file.pem"],
        ANY_TEXT,
        &[],
    ),
    case(
        "OTEL_EXPORTER_OTLP_CLIENT_KEY",
        &["/a/file.pem"],
        ANY_TEXT,
        &[],
    ),
    case(
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        &["::1", "[::1]", "0.0.0.0", "LOCALHOST"],
        &[],
        &[],
    ),
    case(
        "OTEL_EXPORTER_PROMETHEUS_PORT",
        &["0", "9000"],
        &[],
        &["65535"],
    ),
    case(
        "OTEL_METRICS_EXEMPLAR_FILTER",
        &["always_off", "Always_Off"],
        &["always_on", "no"],
        &[],
    ),
    case(
        "OTEL_METRIC_EXPORT_INTERVAL",
        &["1", "5000"],
        &["0", "10s", "-5", "86400001", "99999999999999999999"],
        &["86400000"],
    ),
    case(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        &["delta", "LowMemory"],
        &["none", "both"],
        &[],
    ),
    case(
        "OTEL_PROPAGATORS",
        &["none", "Baggage", "tracecontext"],
        &["b3", "b3,xray"],
        &[],
    ),
    case(
        "OTEL_TRACES_SAMPLER",
        &["always_on", "Always_Off", "ParentBased_Always_Off"],
        &["always", "jaeger_remote", "xray", "0.5"],
        &[],
    ),
    // Read by two of the samplers only.
    case(
        "OTEL_TRACES_SAMPLER_ARG",
        &[],
        &["10%", "half", "1.01", "-0.1", "NaN", "inf"],
        &["0", "1", "1e-300"],
    ),
    case(
        "OTEL_BSP_SCHEDULE_DELAY",
        &["0", "100"],
        NOT_MILLISECONDS,
        &["86400000"],
    ),
    case(
        "OTEL_BSP_MAX_QUEUE_SIZE",
        &["1", "2048"],
        NOT_ITEMS,
        &["10000000"],
    ),
    case(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        &["1", "100"],
        NOT_ITEMS,
        &["10000000"],
    ),
    case(
        "OTEL_BLRP_SCHEDULE_DELAY",
        &["0", "100"],
        NOT_MILLISECONDS,
        &["86400000"],
    ),
    case(
        "OTEL_BLRP_MAX_QUEUE_SIZE",
        &["1", "2048"],
        NOT_ITEMS,
        &["10000000"],
    ),
    case(
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE",
        &["1", "100"],
        NOT_ITEMS,
        &["10000000"],
    ),
    case(
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        &["0", "64"],
        NOT_A_LIMIT,
        &["4294967295"],
    ),
    case(
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        &["0", "64"],
        NOT_A_LIMIT,
        &["4294967295"],
    ),
    case(
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        &["0", "64"],
        NOT_A_LIMIT,
        &["4294967295"],
    ),
    case(
        "OTEL_SPAN_LINK_COUNT_LIMIT",
        &["0", "64"],
        NOT_A_LIMIT,
        &["4294967295"],
    ),
    case(
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
        &["0", "64"],
        NOT_A_LIMIT,
        &["4294967295"],
    ),
    case(
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
        &["0", "64"],
        NOT_A_LIMIT,
        &["4294967295"],
    ),
    case(
        "PYROSCOPE_ENDPOINT",
        &["http://localhost:4040", "http://h/base"],
        &[
            "localhost:4040",
            "ftp://h",
            "http://",
            "http://h?a=b",
            "http://h#a",
        ],
        &[],
    ),
    // These four are read only where there is an endpoint, see below.
    case("PYROSCOPE_BASIC_AUTH_USER", &[], &[], &[]),
    case("PYROSCOPE_BASIC_AUTH_PASSWORD", &[], &[], &[]),
    case("PYROSCOPE_TENANT_ID", &[], &[], &[]),
    case("PYROSCOPE_UPLOAD_INTERVAL", &[], &[], &[]),
    case(
        "TELEMETRY_PROFILING",
        &["off", "OFF"],
        &["maybe", "on"],
        &[],
    ),
    case("TELEMETRY_OTLP_ENCODER", &["sdk", "SDK"], &["own"], &[]),
    case(
        "TELEMETRY_SQL_COMMENTS_PER_SECOND",
        &["0", "7"],
        &["-1", "all"],
        &["4294967295"],
    ),
    case(
        "RUST_LOG",
        &["debug", "users=debug,info"],
        &["users=loud"],
        &[],
    ),
    case("LOG_FORMAT", &["json", "JSON"], &["xml"], &[]),
];

#[test]
fn every_documented_variable_is_understood_or_warned_about() {
    let names = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    assert_eq!(
        names(&CASES.map(|case| case.name)),
        names(&VARIABLES.map(|variable| variable.name))
    );
    let default = read(&[]);
    for Case {
        name,
        good,
        wrong,
        extreme,
    } in CASES
    {
        for empty in ["", "  "] {
            assert_eq!(read(&[(name, empty)]), default, "{name}={empty:?}");
        }
        for value in good {
            let settings = read(&[(name, value)]);
            assert_eq!(settings.warnings, [], "{name}={value:?}");
            assert_ne!(settings, default, "{name}={value:?}");
            assert_eq!(
                read(&[(name, &format!(" {value} "))]),
                settings,
                "{name}={value:?}"
            );
        }
        for value in wrong {
            let settings = read(&[(name, value)]);
            let warned = settings.warnings.first().map(|w| w.variable.as_str());
            assert_eq!(warned, Some(name), "{name}={value:?}");
            assert_eq!(in_effect(settings), default, "{name}={value:?}");
        }
        for value in extreme {
            assert_eq!(read(&[(name, value)]).warnings, [], "{name}={value:?}");
        }
    }
}

/// A copier reads the table, so that it has to be whole.
#[test]
fn the_readme_has_every_variable() {
    let readme = include_str!("../../README.md");
    for variable in VARIABLES {
        let name = format!("`{}`", variable.name);
        assert!(readme.contains(&name), "the table lacks {name}");
    }
}

#[test]
fn a_wrong_value_is_warned_about_once_with_what_is_used() {
    let told = |vars: &[(&str, &str)]| -> Vec<String> {
        let warnings = read(vars).warnings;
        warnings.iter().map(Warning::to_string).collect()
    };
    assert_eq!(
        told(&[("OTEL_TRACES_EXPORTER", "zipkin")]),
        [
            "OTEL_TRACES_EXPORTER=\"zipkin\" is not understood and ignored: expected a list of otlp, \
          console, none; using otlp"
        ]
    );
    assert_eq!(
        told(&[("OTEL_PROPAGATORS", "b3,tracecontext")]),
        [
            "OTEL_PROPAGATORS=\"b3\" is not understood and ignored: expected a list of tracecontext, \
          baggage, none; using the rest of the list"
        ]
    );
    // Read for three signals.
    assert_eq!(
        told(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")]),
        [
            "OTEL_EXPORTER_OTLP_TIMEOUT=\"soon\" is not understood and ignored: expected whole \
          milliseconds up to 86400000 (a day), 0 for no limit; using 10000"
        ]
    );
    assert_eq!(
        told(&[("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "zip")]),
        [
            "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION=\"zip\" is not understood and ignored: expected gzip or \
          none; using OTEL_EXPORTER_OTLP_COMPRESSION, else none"
        ]
    );
    let told_of_metrics = told(&[("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "both")]);
    assert!(
        told_of_metrics[0].ends_with("; using cumulative"),
        "{told_of_metrics:?}"
    );
    assert_eq!(
        told(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "10"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "11")
        ]),
        [
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=\"11\" is not understood and ignored: expected a number of \
          items from 1 to 10000000; using 10, the size of the queue"
        ]
    );
}

#[test]
fn exporters_are_lists() {
    let settings = read(&[
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_METRICS_EXPORTER", "otlp, prometheus,otlp"),
        ("OTEL_LOGS_EXPORTER", "console"),
    ]);
    assert_eq!(settings.traces, []);
    assert_eq!(settings.metrics, [Exporter::Otlp, Exporter::Prometheus]);
    assert_eq!(settings.logs, [Exporter::Console]);
}

#[test]
fn a_signal_s_own_variable_wins_over_the_general_one() {
    let settings = read(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "7"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=2"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "c=3"),
    ]);
    assert_eq!(settings.traces_otlp.protocol, OtlpProtocol::Grpc);
    assert_eq!(settings.logs_otlp.protocol, OtlpProtocol::HttpJson);
    let seven = Some(Duration::from_millis(7));
    assert_eq!(settings.traces_otlp.timeout, seven);
    assert_eq!(settings.logs_otlp.timeout, seven);
    assert_eq!(settings.metrics_otlp.timeout, None);
    let names = |otlp: &Otlp| {
        otlp.headers
            .keys()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&settings.traces_otlp), ["c"]);
    assert_eq!(names(&settings.logs_otlp), ["a", "b"]);
}

#[test]
fn endpoints_are_those_of_the_specification() {
    const GENERAL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const OWN: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
    for (protocol, vars, expected) in [
        ("grpc", vec![], "http://localhost:4317/"),
        ("http/protobuf", vec![], "http://localhost:4318/v1/traces"),
        (
            "http/json",
            vec![(GENERAL, "http://c:9/base/")],
            "http://c:9/base/v1/traces",
        ),
        (
            "http/protobuf",
            vec![(GENERAL, "http://[::1]:9")],
            "http://[::1]:9/v1/traces",
        ),
        (
            "http/protobuf",
            vec![(GENERAL, "http://c:9"), (OWN, "http://o:7/x?y=z")],
            "http://o:7/x?y=z",
        ),
        (
            "grpc",
            vec![(GENERAL, "http://c:9"), (OWN, "http://o:7")],
            "http://o:7/",
        ),
        ("grpc", vec![(GENERAL, "c:9"), insecure], "http://c:9/"),
    ] {
        let mut vars = vars;
        vars.push(("OTEL_EXPORTER_OTLP_PROTOCOL", protocol));
        let settings = read(&vars);
        assert_eq!(settings.warnings, [], "{vars:?}");
        assert_eq!(settings.traces_otlp.endpoint.unwrap().as_str(), expected);
    }
}

#[test]
fn an_endpoint_that_cannot_be_used_says_why() {
    const GENERAL: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
    const OWN: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    for (protocol, variable, value, reason) in [
        (
            "http/protobuf",
            GENERAL,
            "not an address",
            "expected http:// or https:// and a host",
        ),
        (
            "http/protobuf",
            GENERAL,
            "collector:4318",
            "expected http:// or https:// and a host",
        ),
        (
            "http/protobuf",
            GENERAL,
            "ftp://h",
            "expected http:// or https:// and a host",
        ),
        ("http/protobuf", GENERAL, "http://h?a=b", "without a query"),
        (
            "http/protobuf",
            GENERAL,
            "http://h/a#b",
            "without a fragment",
        ),
        ("http/protobuf", OWN, "http://h/a?b#c", "without a fragment"),
        ("grpc", GENERAL, "http://h/base", "without a path or query"),
        ("grpc", OWN, "http://h?a=b", "without a path or query"),
        (
            "grpc",
            GENERAL,
            "http://",
            "expected http:// or https:// and a host",
        ),
    ] {
        let settings = read(&[("OTEL_EXPORTER_OTLP_PROTOCOL", protocol), (variable, value)]);
        let told = settings.traces_otlp.endpoint.unwrap_err();
        let shown = redact::text(value);
        assert!(told.starts_with(&format!("{variable}={shown:?}")), "{told}");
        assert!(told.contains(reason), "{told}");
    }
    for secret in [
        "http://u:hush@",
        "u:hush@h",
        "http://u:hush@h/a#b",
        "http://h?sig=hush",
    ] {
        let told = read(&[(GENERAL, secret)]).traces_otlp.endpoint.unwrap_err();
        assert!(!told.contains("hush"), "{told}");
    }
}

/// Over HTTP as over gRPC, and for the push of profiles.
#[cfg(not(feature = "tls"))]
#[test]
fn https_needs_the_feature_and_says_so() {
    for protocol in ["grpc", "http/protobuf", "http/json"] {
        let settings = read(&[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector"),
        ]);
        for otlp in [
            settings.traces_otlp,
            settings.metrics_otlp,
            settings.logs_otlp,
        ] {
            let told = otlp.endpoint.unwrap_err();
            assert!(told.contains("needs the feature `tls`"), "{told}");
        }
    }
    let settings = read(&[("PYROSCOPE_ENDPOINT", "https://pyroscope")]);
    assert!(
        settings.warnings[0]
            .to_string()
            .contains("needs the crate's feature tls")
    );
}

#[test]
fn headers_are_percent_decoded_and_a_wrong_entry_is_left_out_unseen() {
    const NAME: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    let settings = read(&[(NAME, "Authorization=Bearer%20x=, a%2Db = 2,,c=")]);
    assert_eq!(settings.warnings, []);
    let headers = &settings.traces_otlp.headers;
    assert_eq!(headers["authorization"], "Bearer x=");
    assert_eq!(headers["a-b"], "2");
    assert_eq!(headers["c"], "");
    for wrong in [
        "hush",
        "=hush",
        "k=%zzhush",
        "ké=hush",
        "a b=hush",
        "k=hush%0a",
    ] {
        let list = format!("a=1,{wrong},b=2");
        let settings = read(&[(NAME, &list)]);
        let told = settings.warnings[0].to_string();
        assert_eq!(settings.warnings.len(), 1, "{wrong}");
        assert!(told.contains("entry 2, not shown"), "{told}");
        assert!(!told.contains("hush"), "{told}");
        assert_eq!(settings.traces_otlp.headers.len(), 2, "{wrong}");
    }
}

#[test]
fn samplers() {
    for (name, argument, ratio, parent_based) in [
        ("always_on", "0.5", 1.0, false),
        ("always_off", "", 0.0, false),
        ("traceidratio", "0.25", 0.25, false),
        ("TraceIdRatio", "", 1.0, false),
        ("parentbased_always_off", "", 0.0, true),
        ("parentbased_traceidratio", "1e-3", 0.001, true),
        ("parentbased_traceidratio", "10%", 1.0, true),
    ] {
        let settings = read(&[
            ("OTEL_TRACES_SAMPLER", name),
            ("OTEL_TRACES_SAMPLER_ARG", argument),
        ]);
        assert_eq!(
            settings.sampler,
            Sampler {
                ratio,
                parent_based
            },
            "{name}"
        );
    }
}

#[test]
fn resource_attributes_are_taken_whole_or_not_at_all() {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let settings = read(&[(NAME, "a=b, %63%3D = d%2Ce ,empty=")]);
    assert_eq!(settings.warnings, []);
    assert_eq!(
        settings.resource_attributes,
        [pair("a", "b"), pair("c=", "d,e"), pair("empty", "")]
    );
    // As the specification says of any error.
    let settings = read(&[(NAME, "a=b,c")]);
    assert_eq!(settings.resource_attributes, []);
    assert_eq!(settings.warnings.len(), 1);
}

#[test]
fn the_prometheus_listener_is_opened_when_asked_for() {
    let v4 = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
    let listener = |vars: &[(&str, &str)]| read(vars).prometheus_listener;
    let (host, port) = (
        "OTEL_EXPORTER_PROMETHEUS_HOST",
        "OTEL_EXPORTER_PROMETHEUS_PORT",
    );
    assert_eq!(listener(&[(port, "1")]), v4(1));
    assert_eq!(listener(&[(host, "localhost")]), v4(9464));
    assert_eq!(
        listener(&[(host, "[::1]"), (port, "2")]),
        "[::1]:2".parse().ok()
    );
    for wrong in [
        ("OTEL_EXPORTER_PROMETHEUS_HOST", "here"),
        (port, "99999"),
        (port, "-1"),
    ] {
        let settings = read(&[wrong]);
        assert_eq!(settings.prometheus_listener, v4(9464));
        assert_eq!(settings.warnings[0].variable, wrong.0);
    }
}

#[test]
fn a_variable_without_effect_is_found_by_its_name() {
    for known in ["OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "OTEL_BSP_SCHEDULE_DELAY"] {
        assert!(variables::entry(known).is_some(), "{known}");
    }
    for unknown in [
        "OTEL_EXPORTER_OTLP_ENDPONT",
        "OTEL_EXPORTER_OTLP_PROFILES_ENDPOINT",
        "OTEL_BSP_EXPORT_TIMEOUT",
        "OTEL_TRACES_TIMEOUT",
    ] {
        assert!(variables::entry(unknown).is_none(), "{unknown}");
    }
}

#[test]
fn profiles_are_on_and_pushed_nowhere() {
    let settings = read(&[]);
    assert!(settings.profiling);
    assert_eq!(settings.pyroscope, None);
    assert!(!read(&[("TELEMETRY_PROFILING", "off")]).profiling);
    let unclear = read(&[("TELEMETRY_PROFILING", "maybe")]);
    assert!(unclear.profiling);
    assert_eq!(unclear.warnings[0].variable, "TELEMETRY_PROFILING");
}

#[test]
fn pyroscope_s_variables() {
    let settings = read(&[
        ("PYROSCOPE_ENDPOINT", "http://localhost:4040"),
        ("PYROSCOPE_BASIC_AUTH_USER", "me"),
        ("PYROSCOPE_BASIC_AUTH_PASSWORD", "hush"),
        ("PYROSCOPE_TENANT_ID", "lab"),
        ("PYROSCOPE_UPLOAD_INTERVAL", "15s"),
    ]);
    assert_eq!(settings.warnings, []);
    assert!(!format!("{settings:?}").contains("hush"));
    let pyroscope = settings.pyroscope.unwrap();
    assert_eq!(pyroscope.endpoint.as_str(), "http://localhost:4040/");
    assert_eq!(pyroscope.user.as_deref(), Some("me"));
    assert_eq!(pyroscope.password.unwrap().get(), "hush");
    assert_eq!(pyroscope.tenant.as_deref(), Some("lab"));
    assert_eq!(pyroscope.interval, Duration::from_secs(15));
}

#[test]
fn a_wrong_pyroscope_is_none_and_its_password_is_not_told() {
    for endpoint in [
        "localhost:4040",
        "ftp://h",
        "http://",
        "http://u:hush@",
        "http://u:hush@h?a",
    ] {
        let settings = read(&[("PYROSCOPE_ENDPOINT", endpoint)]);
        assert_eq!(settings.pyroscope, None, "{endpoint}");
        let told = settings.warnings[0].to_string();
        assert!(told.contains("PYROSCOPE_ENDPOINT"), "{told}");
        assert!(!told.contains("hush"), "{told}");
    }
    for interval in ["0", "1m", "soon", "-1", "3601"] {
        let settings = read(&[
            ("PYROSCOPE_ENDPOINT", "http://h"),
            ("PYROSCOPE_UPLOAD_INTERVAL", interval),
        ]);
        assert_eq!(settings.pyroscope.unwrap().interval.as_secs(), 10);
        assert_eq!(settings.warnings.len(), 1, "{interval}");
    }
}
