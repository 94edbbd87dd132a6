//! The map in colours: `a_b.png`.

use super::{Drawing, LayerView};
use crate::picture::View;

pub(super) const VIEW: LayerView = LayerView {
    view: View::Heat,
    suffix: "",
    drawing: Drawing::Map(|renderer, capture, map| {
        Ok(renderer.coloured(capture, map, renderer.size(map)))
    }),
};
