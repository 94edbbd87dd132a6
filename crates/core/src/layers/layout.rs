//! Which tensor is a picture: pure arithmetic on shapes.

use super::Layout;

/// Where the channels of a tensor stand, as the operator that made it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelAxis {
    /// The graph does not tell.
    #[default]
    Unknown,
    /// After the batch, as convolutions have them.
    First,
    /// Last, as linear layers have them.
    Last,
}

/// What the graph tells of a tensor that may be a sequence of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// Nothing.
    Unknown {
        /// The largest map that the network has made tokens of, as far as the graph tells.
        largest: Option<(usize, usize)>,
    },
    /// It has no places of the image: queries, or mixtures of all tokens.
    Never,
    /// It has those of a map.
    OfMap {
        /// Its rows and columns.
        map: (usize, usize),
        /// Whether there are others before them.
        before: bool,
        /// Whether there are others after them.
        after: bool,
    },
}

impl Default for Tokens {
    fn default() -> Tokens {
        Tokens::Unknown { largest: None }
    }
}

impl Layout {
    /// How one image's tensor of this shape (without the batch) is to be read, in a
    /// network whose input is `height` x `width` pixels. A map of one position is no
    /// picture, and one of none is not either.
    pub fn of(
        shape: &[usize],
        order: ChannelAxis,
        input: (usize, usize),
        tokens: Tokens,
    ) -> Layout {
        let layout = Layout::of_any_size(shape, order, input, tokens);
        match layout.picture_shape(shape)[..] {
            [_, height, width] if height * width > 1 => layout,
            _ => Layout::Flat,
        }
    }

    fn of_any_size(
        shape: &[usize],
        order: ChannelAxis,
        input: (usize, usize),
        tokens: Tokens,
    ) -> Layout {
        match (shape, order) {
            ([_, _, _], ChannelAxis::First) => Layout::ChannelsFirst,
            (&[h, w, _], ChannelAxis::Last) if is_scaled((h, w), input) => Layout::ChannelsLast,
            (&[_, h, w], ChannelAxis::Unknown) if is_scaled((h, w), input) => Layout::ChannelsFirst,
            (&[h, w, _], ChannelAxis::Unknown) if is_scaled((h, w), input) => Layout::ChannelsLast,
            (&[count, _], _) if tokens != Tokens::default() => match tokens {
                Tokens::OfMap { map, before, after } => map_of(count, map, (before, after)),
                Tokens::Unknown { largest }
                    if order == ChannelAxis::Last && !is_scaled((shape[0], shape[1]), input) =>
                {
                    token_grid(count, input, largest)
                }
                Tokens::Unknown { .. } | Tokens::Never => Layout::Flat,
            },
            // Only a linear layer or the like tells tokens from (N, C, L) and (N, H, W), and
            // of the last it may have been one along W.
            (&[tokens, channels], ChannelAxis::Last) if !is_scaled((tokens, channels), input) => {
                token_grid(tokens, input, None)
            }
            _ => Layout::Flat,
        }
    }

    /// The shape as channels, height, width if it is a picture, else as it is.
    pub fn picture_shape(self, shape: &[usize]) -> Vec<usize> {
        match (self, shape) {
            (Layout::ChannelsLast, &[h, w, c]) => vec![c, h, w],
            (Layout::Tokens { rows, columns, .. }, &[_, c]) => vec![c, rows, columns],
            _ => shape.to_vec(),
        }
    }
}

/// Rows and columns of the matrix as which a layer that is no picture is drawn: a
/// vector becomes as near to a square as its divisors allow, lying rather than
/// standing; a matrix stays; of more dimensions, the last gives the columns.
pub fn matrix(shape: &[usize]) -> (usize, usize) {
    let dims: Vec<usize> = shape.iter().copied().filter(|&dim| dim != 1).collect();
    match dims[..] {
        [] => (1, 1),
        [count] => {
            let rows = (1..=count.isqrt()).rev().find(|rows| count % rows == 0).unwrap_or(0);
            (rows, count.checked_div(rows).unwrap_or(0))
        }
        [.., columns] => (dims[..dims.len() - 1].iter().product(), columns),
    }
}

/// Whether a grid has the input's aspect ratio. Rounding in strided layers may cost
/// a row or so; windows of attention (64 windows x 49 tokens) must not pass.
fn is_scaled((h, w): (usize, usize), (height, width): (usize, usize)) -> bool {
    if h == 0 || w == 0 || h > height || w > width {
        return false;
    }
    let expected = w as f64 * height as f64 / width as f64;
    (h as f64 - expected).abs() <= f64::max(1.0, 0.1 * expected)
}

/// The tokens of a map, with others on one side of them.
fn map_of(count: usize, (rows, columns): (usize, usize), others: (bool, bool)) -> Layout {
    let tokens = |skip| Layout::Tokens { rows, columns, skip };
    match (count.checked_sub(rows * columns), others) {
        (Some(0), _) => tokens(0),
        (Some(before), (true, false)) => tokens(before),
        (Some(_), (false, true)) => tokens(0),
        // On both sides: nobody knows how many on which.
        _ => Layout::Flat,
    }
}

/// A square grid of more than one token, with or without a class token before it. Only a
/// square input gives one. If it is known of which map the network makes tokens, it is that
/// one, or a whole fraction of it.
fn token_grid(tokens: usize, input: (usize, usize), map: Option<(usize, usize)>) -> Layout {
    for skip in [0, 1] {
        let grid = tokens.saturating_sub(skip);
        let side = grid.isqrt();
        let is_square = side > 1 && side * side == grid && is_scaled((side, side), input);
        let is_part = |(rows, columns): (usize, usize)| rows % side == 0 && columns % side == 0;
        if is_square && map.is_none_or(is_part) {
            return Layout::Tokens { rows: side, columns: side, skip };
        }
    }
    Layout::Flat
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUT: (usize, usize) = (224, 224);

    fn of(shape: &[usize], order: ChannelAxis, input: (usize, usize)) -> Layout {
        Layout::of(shape, order, input, Tokens::default())
    }

    #[test]
    fn what_a_convolution_gives_is_a_picture_of_any_size() {
        assert_eq!(of(&[64, 112, 112], ChannelAxis::First, INPUT), Layout::ChannelsFirst);
        assert_eq!(of(&[512, 3, 9], ChannelAxis::First, INPUT), Layout::ChannelsFirst);
        assert_eq!(of(&[32, 1, 2], ChannelAxis::First, INPUT), Layout::ChannelsFirst);
    }

    #[test]
    fn one_position_is_no_picture_and_none_is_not_either() {
        for order in [ChannelAxis::First, ChannelAxis::Last, ChannelAxis::Unknown] {
            assert_eq!(of(&[32, 1, 1], order, INPUT), Layout::Flat);
            assert_eq!(of(&[32, 0, 4], order, INPUT), Layout::Flat);
        }
        assert_eq!(of(&[1, 1, 32], ChannelAxis::Last, INPUT), Layout::Flat);
    }

    #[test]
    fn a_linear_layer_on_pictures_has_the_channels_last() {
        let layout = of(&[56, 56, 384], ChannelAxis::Last, INPUT);
        assert_eq!(layout, Layout::ChannelsLast);
        assert_eq!(layout.picture_shape(&[56, 56, 384]), [384, 56, 56]);
        let wide = of(&[7, 10, 3072], ChannelAxis::Last, (224, 320));
        assert_eq!(wide, Layout::ChannelsLast);
    }

    #[test]
    fn windows_of_attention_are_no_picture() {
        assert_eq!(of(&[64, 49, 256], ChannelAxis::Last, INPUT), Layout::Flat);
        assert_eq!(of(&[1, 49, 2048], ChannelAxis::Last, INPUT), Layout::Flat);
    }

    #[test]
    fn without_a_hint_the_aspect_ratio_decides() {
        assert_eq!(of(&[64, 28, 40], ChannelAxis::Unknown, (224, 320)), Layout::ChannelsFirst);
        assert_eq!(of(&[28, 40, 64], ChannelAxis::Unknown, (224, 320)), Layout::ChannelsLast);
        assert_eq!(of(&[9, 2, 100], ChannelAxis::Unknown, INPUT), Layout::Flat);
    }

    #[test]
    fn square_numbers_of_tokens_are_pictures_with_or_without_a_class_token() {
        let tokens = |side, skip| Layout::Tokens { rows: side, columns: side, skip };
        assert_eq!(of(&[196, 3072], ChannelAxis::Last, INPUT), tokens(14, 0));
        assert_eq!(of(&[197, 3072], ChannelAxis::Last, INPUT), tokens(14, 1));
        assert_eq!(tokens(14, 1).picture_shape(&[197, 3072]), [3072, 14, 14]);
        assert_eq!(of(&[195, 3072], ChannelAxis::Last, INPUT), Layout::Flat);
        assert_eq!(of(&[2, 64], ChannelAxis::Last, INPUT), Layout::Flat);
        assert_eq!(of(&[16, 64], ChannelAxis::First, INPUT), Layout::Flat);
    }

    #[test]
    fn the_map_that_tokens_come_from_is_known() {
        let of_map = |count, before, after| {
            let tokens = Tokens::OfMap { map: (14, 20), before, after };
            Layout::of(&[count, 64], ChannelAxis::Last, (224, 320), tokens)
        };
        let tokens = |skip| Layout::Tokens { rows: 14, columns: 20, skip };
        assert_eq!(of_map(280, false, false), tokens(0));
        assert_eq!(of_map(285, true, false), tokens(5));
        assert_eq!(of_map(285, false, true), tokens(0));
        for (count, before, after) in [(285, true, true), (285, false, false), (279, true, false)] {
            assert_eq!(of_map(count, before, after), Layout::Flat, "{count}");
        }
        assert_eq!(of_map(280, true, true), tokens(0));
    }

    #[test]
    fn queries_and_mixtures_of_tokens_are_no_picture() {
        let of = |count, tokens| Layout::of(&[count, 32], ChannelAxis::Last, (64, 64), tokens);
        assert_eq!(of(64, Tokens::Never), Layout::Flat);
        let patches = Tokens::Unknown { largest: Some((8, 8)) };
        assert_eq!(of(100, patches), Layout::Flat);
        assert_eq!(of(16, patches), Layout::Tokens { rows: 4, columns: 4, skip: 0 });
    }

    #[test]
    fn what_may_be_a_sequence_or_a_map_is_not_taken_for_tokens() {
        let no_picture = [
            // relu(x.sum(1)), and the same after a linear layer along the width.
            ([64, 64], ChannelAxis::Unknown, (64, 64)),
            ([64, 64], ChannelAxis::Last, (64, 64)),
            // relu(conv(x).flatten(2))
            ([16, 64], ChannelAxis::Unknown, (64, 64)),
            ([16, 64], ChannelAxis::Unknown, (16, 16)),
            // 14 x 20 patches are no square; a square number of something else is none.
            ([256, 192], ChannelAxis::Last, (224, 320)),
        ];
        for (shape, order, input) in no_picture {
            assert_eq!(of(&shape, order, input), Layout::Flat, "{shape:?} {order:?}");
        }
    }

    #[test]
    fn vectors_and_deeper_tensors_are_flat() {
        assert_eq!(of(&[1000], ChannelAxis::Last, INPUT), Layout::Flat);
        assert_eq!(of(&[8, 4, 16, 16], ChannelAxis::First, INPUT), Layout::Flat);
        assert_eq!(of(&[], ChannelAxis::Unknown, INPUT), Layout::Flat);
    }

    #[test]
    fn a_vector_is_drawn_as_nearly_square_as_its_divisors_allow() {
        assert_eq!(matrix(&[4096]), (64, 64));
        assert_eq!(matrix(&[12]), (3, 4));
        assert_eq!(matrix(&[7]), (1, 7));
        assert_eq!(matrix(&[512, 1, 1]), (16, 32));
        assert_eq!(matrix(&[5, 9]), (5, 9));
        assert_eq!(matrix(&[2, 5, 9]), (10, 9));
        assert_eq!(matrix(&[]), (1, 1));
        assert_eq!(matrix(&[0]), (0, 0));
    }
}
