//! The pictures of docs/performance.md, as SVG.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::config;
use crate::load::FIXED;
use crate::result::{Compare, Growth, Instructions, Soak};
use crate::stats::Spread;

const WIDTH: u32 = 860;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(45, 51, 59);
const FAINT: RGBColor = RGBColor(208, 215, 222);
/// Told apart without colour vision, too: they differ in lightness.
const COLOURS: [RGBColor; 4] = [
    RGBColor(31, 95, 153),
    RGBColor(240, 160, 60),
    RGBColor(120, 190, 160),
    RGBColor(170, 60, 90),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Every picture that can be made of these, with its name.
pub(crate) fn all(
    compare: Option<&Compare>,
    growth: Option<&Growth>,
    soaks: &[(&'static str, Soak)],
    instructions: Option<&Instructions>,
) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut pictures = Vec::new();
    if let Some(compare) = compare {
        pictures.push(("cpu", bars(&cpu(compare))?));
        pictures.push(("latency", bars(&latency(compare))?));
        let chains = chains(compare);
        if chains.bars.len() > 2 {
            pictures.push(("chains", bars(&chains)?));
        }
    }
    if let Some(growth) = growth {
        pictures.push(("growth", lines(&grown(growth))?));
    }
    for (name, soak) in soaks {
        pictures.push((*name, lines(&soaked(soak))?));
    }
    if let Some(instructions) = instructions {
        pictures.push(("instructions", bars(&counted(instructions))?));
    }
    Ok(pictures)
}

/// A bar of one or more parts, and how far its sum was spread.
struct Bar {
    name: String,
    parts: Vec<f64>,
    spread: Option<(f64, f64)>,
    text: String,
}

struct Bars {
    title: String,
    /// What the parts are, when there are several.
    parts: Vec<&'static str>,
    bars: Vec<Bar>,
}

fn first_load(compare: &Compare) -> String {
    compare
        .loads()
        .into_iter()
        .find(|name| name != FIXED)
        .unwrap_or_default()
}

fn is_rust(name: &str) -> bool {
    config::by_name(name).is_some_and(|config| config.chain == config::Chain::Rust)
}

fn cpu(compare: &Compare) -> Bars {
    let load = first_load(compare);
    let bar = |name: &str| {
        let row = compare.row(name, &load)?;
        let part = |process| {
            compare
                .cpu_of(name, &load, process)
                .map(|spread| spread.median)
        };
        let against = compare.ratio(
            name,
            Compare::base(name),
            &load,
            crate::result::Load::services_cpu_us,
        )?;
        Some(Bar {
            name: name.to_owned(),
            parts: vec![part("edge")?, part("users")?],
            spread: Some((row.cpu_us.min, row.cpu_us.max)),
            text: format!("{:.0} us, {:.2} x", row.cpu_us.median, against.median),
        })
    };
    Bars {
        title: format!(
            "CPU a request, both services, {load} connections (microseconds; against off)"
        ),
        parts: vec!["edge", "users"],
        bars: compare
            .configs()
            .into_iter()
            .filter(|name| is_rust(name))
            .filter_map(bar)
            .collect(),
    }
}

fn latency(compare: &Compare) -> Bars {
    let load = FIXED;
    let bar = |name: &str| {
        let row = compare.row(name, load)?;
        let rest = (row.p99_ms.median - row.p50_ms.median).max(0.0);
        Some(Bar {
            name: name.to_owned(),
            parts: vec![row.p50_ms.median, rest],
            spread: Some((row.p99_ms.min, row.p99_ms.max)),
            text: format!("{:.2} ms, {:.2} ms", row.p50_ms.median, row.p99_ms.median),
        })
    };
    Bars {
        title: "Answer times under the fixed load (milliseconds)".to_owned(),
        parts: vec!["p50", "p99"],
        bars: compare.configs().into_iter().filter_map(bar).collect(),
    }
}

fn chains(compare: &Compare) -> Bars {
    let load = first_load(compare);
    let chosen = [
        "off",
        config::ALL,
        "go off",
        config::GO,
        "python off",
        config::PYTHON,
    ];
    let bar = |name: &str| {
        let row = compare.row(name, &load)?;
        let name = if is_rust(name) {
            format!("rust {name}")
        } else {
            name.to_owned()
        };
        Some(Bar {
            name,
            parts: vec![row.per_second.median],
            spread: Some((row.per_second.min, row.per_second.max)),
            text: format!(
                "{:.0}/s, {:.0} us of CPU each",
                row.per_second.median, row.cpu_us.median
            ),
        })
    };
    Bars {
        title: format!("Requests a second, {load} connections, backends on the same cores"),
        parts: Vec::new(),
        bars: chosen.into_iter().filter_map(bar).collect(),
    }
}

fn counted(instructions: &Instructions) -> Bars {
    let off = instructions
        .rows
        .iter()
        .find(|row| row.config == config::OFF)
        .map(|row| row.sum());
    let bars = instructions.rows.iter().map(|row| Bar {
        name: row.config.clone(),
        parts: vec![row.edge / 1e3, row.users / 1e3],
        spread: None,
        text: match off {
            Some(off) => format!("{:.0} k, {:.2} x", row.sum() / 1e3, row.sum() / off),
            None => format!("{:.0} k", row.sum() / 1e3),
        },
    });
    Bars {
        title: "User-space instructions a request (thousands; against off)".to_owned(),
        parts: vec!["edge", "users"],
        bars: bars.collect(),
    }
}

/// A failure of the drawing library, which tells no more than a text.
fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the picture could not be drawn: {error}")
}

fn bars(picture: &Bars) -> anyhow::Result<String> {
    const LEFT: i32 = 170;
    const RIGHT: i32 = 190;
    const TOP: i32 = 74;
    const STEP: i32 = 34;
    const THICK: i32 = 20;
    let count = i32::try_from(picture.bars.len())?;
    let height = TOP + STEP * count + 16;
    let most = picture
        .bars
        .iter()
        .map(|bar| {
            bar.spread
                .map_or(0.0, |(_, max)| max)
                .max(bar.parts.iter().sum())
        })
        .fold(f64::MIN_POSITIVE, f64::max);
    let room = f64::from(WIDTH.cast_signed() - LEFT - RIGHT);
    let x = |value: f64| LEFT + (value / most * room).round() as i32;
    let mut svg = String::new();
    {
        let area =
            SVGBackend::with_string(&mut svg, (WIDTH, height.cast_unsigned())).into_drawing_area();
        head(&area, &picture.title, &picture.parts)?;
        for (index, bar) in (0..).zip(&picture.bars) {
            let top = TOP + index * STEP;
            let middle = top + THICK / 2;
            text(&area, &bar.name, (LEFT - 10, middle), HPos::Right, 15)?;
            let mut from = 0.0;
            for (part, colour) in bar.parts.iter().zip(COLOURS) {
                let corners = [(x(from), top), (x(from + part), top + THICK)];
                area.draw(&Rectangle::new(corners, colour.filled()))
                    .map_err(drawing)?;
                from += part;
            }
            let mut end = from;
            if let Some((min, max)) = bar.spread.filter(|(min, max)| min < max) {
                let whisker = [(x(min), middle), (x(max), middle)];
                area.draw(&PathElement::new(whisker, INK.stroke_width(2)))
                    .map_err(drawing)?;
                for value in [min, max] {
                    let cap = [(x(value), middle - 5), (x(value), middle + 5)];
                    area.draw(&PathElement::new(cap, INK.stroke_width(2)))
                        .map_err(drawing)?;
                }
                end = end.max(max);
            }
            text(&area, &bar.text, (x(end) + 10, middle), HPos::Left, 14)?;
        }
        area.present().map_err(drawing)?;
    }
    Ok(finished(svg))
}

fn head(area: &Area<'_>, title: &str, parts: &[&str]) -> anyhow::Result<()> {
    area.fill(&WHITE).map_err(drawing)?;
    text(area, title, (16, 22), HPos::Left, 18)?;
    let mut at = 16;
    for (part, colour) in parts.iter().zip(COLOURS) {
        let corners = [(at, 42), (at + 14, 56)];
        area.draw(&Rectangle::new(corners, colour.filled()))
            .map_err(drawing)?;
        text(area, part, (at + 20, 49), HPos::Left, 14)?;
        at += 50 + 9 * i32::try_from(part.len())?;
    }
    Ok(())
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), side: HPos, size: u32) -> anyhow::Result<()> {
    let style = TextStyle::from((FONT, size).into_font())
        .color(&INK)
        .pos(Pos::new(side, VPos::Center));
    area.draw_text(text, &style, at).map_err(drawing)
}

/// One line of points.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

struct Lines {
    title: String,
    x: &'static str,
    y: &'static str,
    /// Each step of the x axis multiplies.
    logarithmic: bool,
    lines: Vec<Line>,
}

fn grown(growth: &Growth) -> Lines {
    let mut lines: Vec<Line> = Vec::new();
    for grown in growth.grown() {
        let point = (f64::from(grown.connections), grown.row.per_second.median);
        match lines.iter_mut().find(|line| line.name == grown.config) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                name: grown.config.to_owned(),
                points: vec![point],
            }),
        }
    }
    Lines {
        title: "Requests a second with more and more connections".to_owned(),
        x: "connections",
        y: "requests/s",
        logarithmic: true,
        lines,
    }
}

fn soaked(soak: &Soak) -> Lines {
    let line = |name: &String| Line {
        name: name.clone(),
        points: soak
            .samples
            .iter()
            .filter_map(|sample| Some((sample.seconds / 60.0, *sample.rss.get(name)? as f64 / 1e6)))
            .collect(),
    };
    Lines {
        title: format!(
            "Memory for {} minutes, {}, {}",
            soak.minutes,
            soak.config,
            soak.load()
        ),
        x: "minutes",
        y: "MB",
        logarithmic: false,
        lines: soak.services.keys().map(line).collect(),
    }
}

fn lines(picture: &Lines) -> anyhow::Result<String> {
    let points = || picture.lines.iter().flat_map(|line| &line.points);
    let x = Spread::of(points().map(|(x, _)| *x)).ok_or_else(|| drawing("there are no points"))?;
    let most = points().map(|(_, y)| *y).fold(f64::MIN_POSITIVE, f64::max) * 1.08;
    let place = |x: f64| if picture.logarithmic { x.log10() } else { x };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, 380)).into_drawing_area();
        let names: Vec<&str> = picture
            .lines
            .iter()
            .map(|line| line.name.as_str())
            .collect();
        head(&area, &picture.title, &names)?;
        let mut chart = ChartBuilder::on(&area)
            .margin_top(66)
            .margin_right(30)
            .margin_bottom(8)
            .margin_left(8)
            .x_label_area_size(44)
            .y_label_area_size(70)
            .build_cartesian_2d(place(x.min)..place(x.max), 0.0..most)
            .map_err(drawing)?;
        let label = |value: &f64| {
            let value = if picture.logarithmic {
                10_f64.powf(*value)
            } else {
                *value
            };
            // Short axes would say the same number twice.
            if x.max < 6.0 {
                format!("{value:.1}")
            } else {
                format!("{value:.0}")
            }
        };
        let font = (FONT, 14).into_font().color(&INK);
        chart
            .configure_mesh()
            .x_labels(if picture.logarithmic { 3 } else { 6 })
            .x_label_formatter(&label)
            .y_label_formatter(&|value| format!("{value:.0}"))
            .x_desc(picture.x)
            .y_desc(picture.y)
            .label_style(font.clone())
            .axis_desc_style(font)
            .axis_style(FAINT)
            .bold_line_style(FAINT)
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(drawing)?;
        for (line, colour) in picture.lines.iter().zip(COLOURS) {
            let placed = line.points.iter().map(|(x, y)| (place(*x), *y));
            chart
                .draw_series(LineSeries::new(placed.clone(), colour.stroke_width(2)))
                .map_err(drawing)?;
            if picture.logarithmic {
                chart
                    .draw_series(placed.map(|at| Circle::new(at, 4, colour.filled())))
                    .map_err(drawing)?;
            }
        }
        area.present().map_err(drawing)?;
    }
    Ok(finished(svg))
}

fn finished(mut svg: String) -> String {
    if !svg.ends_with('\n') {
        svg.push('\n');
    }
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_drawn_with_their_names() {
        let picture = Bars {
            title: "A title".to_owned(),
            parts: vec!["edge", "users"],
            bars: vec![Bar {
                name: "off".to_owned(),
                parts: vec![60.0, 40.0],
                spread: Some((90.0, 120.0)),
                text: "100 us".to_owned(),
            }],
        };
        let svg = bars(&picture).unwrap();
        for text in ["<svg", "A title", "off", "users", "100 us", "</svg>"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
        assert_eq!(svg, bars(&picture).unwrap(), "the same again");
    }

    #[test]
    fn lines_need_points() {
        let picture = |points| Lines {
            title: "T".to_owned(),
            x: "minutes",
            y: "MB",
            logarithmic: false,
            lines: vec![Line {
                name: "users".to_owned(),
                points,
            }],
        };
        assert!(lines(&picture(vec![])).is_err());
        let svg = lines(&picture(vec![(0.0, 10.0), (1.0, 11.0)])).unwrap();
        assert!(svg.contains("polyline") && svg.contains("minutes"), "{svg}");
    }
}
