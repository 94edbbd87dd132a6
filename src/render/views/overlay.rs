//! The map in colours over the input: `a_b.overlay.png`.

use ndarray::Array2;

use super::{Drawing, LayerView};
use crate::error::Error;
use crate::input;
use crate::picture::{View, overlay};
use crate::render::capture::LayerCapture;
use crate::render::renderer::{Coloured, PictureRenderer};

pub(super) const VIEW: LayerView =
    LayerView { view: View::Overlay, suffix: ".overlay", drawing: Drawing::Map(draw) };

fn draw(
    renderer: &PictureRenderer<'_>,
    capture: &LayerCapture,
    map: &Array2<f32>,
) -> Result<Coloured, Error> {
    let (size, plan) = (renderer.size(map), renderer.plan);
    let coloured = renderer.coloured(capture, map, size);
    let image = &plan.images[capture.image];
    let under = input::preview_rgb(&image.path, image.frame, renderer.input, size, &plan.reading)?;
    let heat = overlay::overlay(&coloured.heat, &under, plan.alpha);
    Ok(Coloured { heat, ..coloured })
}
