//! Lines over depth, as SVG that takes the page's colours.

use maud::{Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::prelude::*;

/// One line: its name, and a value or none for each layer.
pub(super) struct Series {
    pub name: String,
    pub values: Vec<Option<f64>>,
}

/// Stands for the page's own text colour until the picture is whole.
const INK: RGBColor = RGBColor(1, 2, 3);
/// Told apart by people who confuse red and green, on light and dark: M. Okabe and K. Ito,
/// "Color universal design", 2008.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
const SIZE: (u32, u32) = (640, 300);

/// A plot with a caption and a legend. Nothing if there is no value at all.
pub(super) fn plot(title: &str, unit: &str, lines: &[Series]) -> Markup {
    let known = lines.iter().flat_map(|line| line.values.iter().flatten());
    let most = known.copied().fold(f64::NEG_INFINITY, f64::max);
    if !most.is_finite() {
        return html! {};
    }
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&area, unit, lines, most).and_then(|()| area.present().map_err(|e| e.to_string()))
    };
    let svg = svg.replace("#010203", "currentColor");
    html! {
        figure {
            figcaption { (title) }
            @match drawn {
                Ok(()) => (PreEscaped(svg)),
                Err(error) => p.bad { (error) },
            }
            p.legend { @for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
                // A line without a value, as without --places, is not on the plot.
                @if line.values.iter().any(Option::is_some) { span { i style={ "background:rgb(" (colour.0) "," (colour.1) "," (colour.2) ")" } {} " " (line.name) } }
            } }
        }
    }
}

fn draw(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    unit: &str,
    lines: &[Series],
    most: f64,
) -> Result<(), String> {
    let layers = lines.iter().map(|line| line.values.len()).max().unwrap_or(1);
    let digits = if most >= 10.0 { 0 } else { 1 };
    let text = |error: DrawingAreaErrorKind<_>| error.to_string();
    let font = ("sans-serif", 18).into_font().color(&INK);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(46)
        .y_label_area_size(68)
        .build_cartesian_2d(0.5..layers as f64 + 0.5, 0.0..most.max(1e-9) * 1.05)
        .map_err(text)?;
    chart
        .configure_mesh()
        .x_labels(layers.min(12))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.digits$}"))
        .x_desc("layer")
        .y_desc(unit)
        .axis_style(INK.mix(0.6))
        .light_line_style(INK.mix(0.0))
        .bold_line_style(INK.mix(0.12))
        .label_style(font.clone())
        .axis_desc_style(font)
        .draw()
        .map_err(text)?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<(f64, f64)> = line
            .values
            .iter()
            .enumerate()
            .filter_map(|(at, value)| value.map(|value| (at as f64 + 1.0, value)))
            .collect();
        let style = colour.stroke_width(2);
        chart.draw_series(LineSeries::new(points.clone(), style)).map_err(text)?;
        let dots = points.into_iter().map(|point| Circle::new(point, 3, colour.filled()));
        chart.draw_series(dots).map_err(text)?;
    }
    Ok(())
}
