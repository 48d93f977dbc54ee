//! Log lines on standard output, each with the trace it was written in.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::settings::LogFormat;
use crate::{ids, log_crate};

impl<S, N> FormatEvent<S, N> for LogFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let trace = Context::map_current(|cx| {
            let span = cx.span();
            let context = span.span_context();
            context
                .is_valid()
                .then(|| (ids::trace(context.trace_id()), ids::span(context.span_id())))
        });
        // What comes through `log` says its own level and target in fields.
        let through_log = event.normalized_metadata();
        let metadata = through_log.as_ref().unwrap_or_else(|| event.metadata());
        match self {
            Self::Text => {
                write!(
                    writer,
                    "{}",
                    humantime::format_rfc3339_micros(SystemTime::now())
                )?;
                let level = metadata.level().as_str();
                writer.write_str(if level.len() < 5 { "  " } else { " " })?;
                for part in [level, " ", metadata.target(), ": "] {
                    writer.write_str(part)?;
                }
                let mut fields = TextFields::new(writer.by_ref());
                event.record(&mut fields);
                fields.result?;
                if let Some((trace_id, span_id)) = trace {
                    for (name, id) in [
                        (" trace_id=", trace_id.as_str()),
                        (" span_id=", span_id.as_str()),
                    ] {
                        writer.write_str(name)?;
                        writer.write_str(id)?;
                    }
                }
                writer.write_char('\n')
            }
            Self::Json => {
                let time = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
                let mut line = serde_json::Map::new();
                line.insert("timestamp".into(), time.into());
                line.insert("level".into(), metadata.level().as_str().into());
                line.insert("target".into(), metadata.target().into());
                event.record(&mut JsonFields(&mut line));
                if let Some((trace_id, span_id)) = trace {
                    line.insert("trace_id".into(), trace_id.as_str().into());
                    line.insert("span_id".into(), span_id.as_str().into());
                }
                let text = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
                writeln!(writer, "{text}")
            }
        }
    }
}

/// `message name=value ...`, as tracing-subscriber's own format has it.
struct TextFields<'a> {
    writer: Writer<'a>,
    first: bool,
    result: fmt::Result,
}

impl<'a> TextFields<'a> {
    fn new(writer: Writer<'a>) -> Self {
        Self {
            writer,
            first: true,
            result: Ok(()),
        }
    }

    fn write(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'a>) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self.name(field).and_then(|()| value(&mut self.writer));
        }
    }

    fn name(&mut self, field: &Field) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.writer.write_char(' ')?;
        }
        if field.name() != "message" {
            self.writer.write_str(field.name())?;
            self.writer.write_char('=')?;
        }
        Ok(())
    }
}

impl Visit for TextFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if log_crate::is_metadata(field) {
            return;
        }
        self.write(field, |writer| write!(Escaped(writer), "{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.write(field, |writer| Escaped(writer).write_str(value));
        } else {
            self.record_debug(field, &value);
        }
    }
}

/// A caller's text must not move the cursor, change colours or begin a line of its own.
struct Escaped<'w, 'a>(&'w mut Writer<'a>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(char::is_control) {
            let (plain, from) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut after = from.chars();
            if let Some(control) = after.next() {
                write!(self.0, "{}", control.escape_default())?;
            }
            rest = after.as_str();
        }
        self.0.write_str(rest)
    }
}

struct JsonFields<'a>(&'a mut serde_json::Map<String, serde_json::Value>);

impl JsonFields<'_> {
    fn insert(&mut self, field: &Field, value: impl Into<serde_json::Value>) {
        if !log_crate::is_metadata(field) {
            self.0.insert(field.name().into(), value.into());
        }
    }
}

impl Visit for JsonFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn written(format: LogFormat) -> Vec<String> {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .event_format(format)
            .with_writer(lines.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let hostile = "a\nb\x1b[31m\u{9b}c";
            tracing::info!(target: "shop", name = "é", count = 3, shown = %hostile, "hello {}", hostile);
            tracing::info!(target: "shop", alone = true);
            let mut record = tracing_log::log::Record::builder();
            let record = record.target("library").line(Some(7));
            let _ = tracing_log::format_trace(&record.args(format_args!("it is old")).build());
        });
        let bytes = lines.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        // What comes before in text is the time.
        let line = |line: &str| match format {
            LogFormat::Text => line.split_once(' ').unwrap().1.to_owned(),
            LogFormat::Json => line.to_owned(),
        };
        text.lines().map(line).collect()
    }

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let escaped = r"a\nb\u{1b}[31m\u{9b}c";
        assert_eq!(
            written(LogFormat::Text),
            [
                format!(" INFO shop: hello {escaped} name=\"é\" count=3 shown={escaped}"),
                " INFO shop: alone=true".to_owned(),
                " INFO library: it is old".to_owned(),
            ]
        );
    }

    #[test]
    fn json_has_the_same_and_the_crate_log_s_target() {
        let lines = written(LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(&lines[2]).unwrap();
        assert_eq!(line["target"], "library");
        assert_eq!(line["message"], "it is old");
        assert_eq!(line["level"], "INFO");
        assert!(line.get("log.line").is_none(), "{line}");
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!((&line["count"], &line["name"]), (&3.into(), &"é".into()));
    }
}
