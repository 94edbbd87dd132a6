//! What was seen: the maps of one layer of one fold for one image.

use std::borrow::Cow;

use ndarray::{Array2, Array3, Axis};

use crate::error::Error;
use crate::layers::Layer;
use crate::output::Waiting;
use crate::reduction::{Part, Reduction};
use crate::spool::{Spool, Ticket};

/// One layer of one fold for one image.
#[derive(Debug)]
pub(super) struct Look {
    /// Position in the plan's images.
    pub image: usize,
    /// From 1.
    pub fold: usize,
    /// Position in the chosen layers, from 1.
    pub b: usize,
    pub layer: Layer,
    pub parts: Vec<Seen>,
    /// Every channel, if grids are drawn.
    pub channels: Option<Held>,
}

/// One map of a layer.
#[derive(Debug)]
pub(super) struct Seen {
    /// With `top:K` the rank from 1, else 0.
    pub rank: usize,
    /// The channel from 1, if the map is one channel.
    pub channel: Option<usize>,
    map: Held,
}

/// An array in memory, or on disk until the other folds have been seen.
#[derive(Debug)]
pub(super) enum Held {
    Here(Array3<f32>),
    There(Ticket),
}

impl Held {
    /// The array (channels x height x width).
    pub fn get<'a>(&'a self, spool: &Spool) -> Result<Cow<'a, Array3<f32>>, Error> {
        match self {
            Held::Here(array) => Ok(Cow::Borrowed(array)),
            Held::There(ticket) => spool.get(ticket).map(Cow::Owned),
        }
    }

    fn put_away(&mut self, spool: &Spool) -> Result<(), Error> {
        if let Held::Here(array) = self {
            *self = Held::There(spool.put(array)?);
        }
        Ok(())
    }

    fn ticket(&self) -> Option<Ticket> {
        match self {
            Held::Here(_) => None,
            Held::There(ticket) => Some(ticket.clone()),
        }
    }
}

impl Seen {
    /// Height x width, the layer's own values.
    pub fn map(&self, spool: &Spool) -> Result<Array2<f32>, Error> {
        Ok(self.map.get(spool)?.index_axis(Axis(0), 0).to_owned())
    }
}

impl Look {
    /// From what the network gave: a reduced map, or all channels.
    pub fn new(
        (image, fold, b): (usize, usize, usize),
        layer: &Layer,
        given: Array3<f32>,
        reduce: Reduction,
        keep_channels: bool,
    ) -> Look {
        let seen = |Part { rank, channel, map }: Part| Seen {
            rank,
            channel,
            map: Held::Here(map.insert_axis(Axis(0))),
        };
        // What is no picture is not reduced, and what the device has reduced not again.
        let is_map = match reduce {
            Reduction::Whole(_) => !keep_channels || !layer.is_spatial(),
            Reduction::Pca => !layer.is_spatial(),
            Reduction::Channel(_) | Reduction::Top(_) => false,
        };
        let parts = if is_map {
            let map = given.index_axis(Axis(0), 0).to_owned();
            vec![Part { rank: 0, channel: None, map }]
        } else {
            reduce.apply(given.view())
        };
        let parts = parts.into_iter().map(seen).collect();
        let channels = keep_channels.then_some(Held::Here(given));
        Look { image, fold, b, layer: layer.clone(), parts, channels }
    }

    /// Moves the arrays to disk.
    pub fn put_away(&mut self, spool: &Spool) -> Result<(), Error> {
        let maps = self.parts.iter_mut().map(|part| &mut part.map);
        maps.chain(&mut self.channels).try_for_each(|held| held.put_away(spool))
    }

    /// What another process needs to know of arrays that are on disk; `None` if one is not.
    pub fn waiting(&self) -> Option<Waiting> {
        let part = |part: &Seen| Some((part.rank, part.channel, part.map.ticket()?));
        let parts = self.parts.iter().map(part).collect::<Option<_>>()?;
        let channels = match &self.channels {
            Some(channels) => Some(channels.ticket()?),
            None => None,
        };
        Some(Waiting { fold: self.fold, b: self.b, parts, channels })
    }

    /// A look that another process put away, if all of it is there.
    pub fn left(image: usize, layer: &Layer, waiting: &Waiting, spool: &Spool) -> Option<Look> {
        let Waiting { fold, b, parts, channels } = waiting;
        let is_whole = parts.iter().map(|(.., map)| map).chain(channels).all(|t| spool.holds(t));
        let seen = |(rank, channel, map): &(usize, Option<usize>, Ticket)| Seen {
            rank: *rank,
            channel: *channel,
            map: Held::There(map.clone()),
        };
        is_whole.then(|| Look {
            image,
            fold: *fold,
            b: *b,
            layer: layer.clone(),
            parts: parts.iter().map(seen).collect(),
            channels: channels.clone().map(Held::There),
        })
    }
}
