//! Every channel, 16 a row: `a_b.grid.png`.

use ndarray::Array3;

use super::{Drawing, DrawnChannels, LayerView};
use crate::manifest::Picture;
use crate::maps;
use crate::picture::View;
use crate::picture::grid::{self, TileOrder};
use crate::reduction;
use crate::render::capture::LayerCapture;
use crate::render::ranges::Kind;
use crate::render::renderer::{Coloured, PictureRenderer};

pub(super) const VIEW: LayerView =
    LayerView { view: View::Grid, suffix: ".grid", drawing: Drawing::Channels(draw) };

fn draw(
    renderer: &PictureRenderer<'_>,
    capture: &LayerCapture,
    channels: &Array3<f32>,
) -> DrawnChannels {
    let plan = renderer.plan;
    let key = (capture.fold, capture.layer_position);
    let range = renderer.ranges.of(key, Kind::Grid, channels.iter().copied());
    let colours = renderer.colours(range, capture.layer.is_signed());
    let by_activity = plan.grid_order == TileOrder::Activity;
    let aligned = renderer.orders.get(&key).cloned();
    let order = aligned.or_else(|| by_activity.then(|| reduction::most_active(channels.view())));
    let (count, height, width) = channels.dim();
    let own: Vec<usize> = (1..=count).collect();
    let heat = grid::grid(channels.view(), order.as_ref().unwrap_or(&own), &colours);
    let flags = maps::flags_of_channels(channels.view());
    let drawn = Coloured { colours, heat, flags };
    let flat = channels.view().into_shape_with_order((1, channels.len()));
    let flat = flat.map(|flat| flat.to_owned()).unwrap_or_default();
    let entry = Picture {
        reduce: "none".to_owned(),
        height,
        width,
        channel: None,
        order,
        ..renderer.entry(capture, &capture.parts[0], &flat, &drawn)
    };
    let in_order = match (plan.align_folds, by_activity) {
        (true, _) => "matched between folds",
        (false, true) => "most active first",
        (false, false) => "in their own order",
    };
    DrawnChannels { drawn, entry, note: format!("{count} channels, {in_order}") }
}
