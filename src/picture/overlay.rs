//! A heatmap over the input that it belongs to.

use super::Rgb;

/// `alpha` of the heatmap over `1 - alpha` of the input, both of the same size.
/// `alpha` is 0 (the input alone) to 1 (the heatmap alone).
pub fn overlay(heat: &Rgb, input: &Rgb, alpha: f32) -> Rgb {
    let share = alpha.clamp(0.0, 1.0);
    let mut picture = heat.clone();
    for (pixel, (own, under)) in picture
        .pixels
        .chunks_exact_mut(3)
        .zip(heat.pixels.chunks_exact(3).zip(input.pixels.chunks_exact(3)))
    {
        let colour = |bytes: &[u8]| [bytes[0], bytes[1], bytes[2]];
        pixel.copy_from_slice(&Rgb::blend(colour(under), colour(own), share));
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_is_the_heatmaps_share() {
        let (heat, input) = (Rgb::filled(2, 1, [200, 0, 100]), Rgb::filled(2, 1, [100, 50, 100]));
        assert_eq!(overlay(&heat, &input, 0.0), input);
        assert_eq!(overlay(&heat, &input, 1.0), heat);
        assert_eq!(overlay(&heat, &input, 0.25).get(1, 0), [125, 38, 100]);
    }
}
