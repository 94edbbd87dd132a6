//! What was seen: the maps of one layer of one fold for one image.

use std::borrow::Cow;

use ndarray::{Array2, Array3, Axis};

use crate::error::Error;
use crate::layers::Layer;
use crate::output::PendingMaps;
use crate::reduction::{ChannelMap, Reduction};
use crate::spool::{Spool, Ticket};

/// Which layer of which fold, for which image. The order is the manifest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PictureKey {
    /// Position in the plan's images, from 0.
    pub image: usize,
    /// The fold's number.
    pub fold: usize,
    /// Position in the chosen layers, from 1: the b of `a_b.png`.
    pub layer_position: usize,
}

/// One layer of one fold for one image.
#[derive(Debug)]
pub(super) struct LayerCapture {
    /// Position in the plan's images.
    pub image: usize,
    /// From 1.
    pub fold: usize,
    /// Position in the chosen layers, from 1.
    pub layer_position: usize,
    pub layer: Layer,
    pub parts: Vec<ReducedMap>,
    /// Every channel, if grids are drawn.
    pub channels: Option<CapturedArray>,
}

/// One map of a layer.
#[derive(Debug)]
pub(super) struct ReducedMap {
    /// With `top:K` the rank from 1, else 0.
    pub rank: usize,
    /// The channel from 1, if the map is one channel.
    pub channel: Option<usize>,
    map: CapturedArray,
}

/// An array in memory, or on disk until the other folds have been seen.
#[derive(Debug)]
pub(super) enum CapturedArray {
    InMemory(Array3<f32>),
    Spooled(Ticket),
}

impl CapturedArray {
    /// The array (channels x height x width).
    pub fn get<'a>(&'a self, spool: &Spool) -> Result<Cow<'a, Array3<f32>>, Error> {
        match self {
            CapturedArray::InMemory(array) => Ok(Cow::Borrowed(array)),
            CapturedArray::Spooled(ticket) => spool.get(ticket).map(Cow::Owned),
        }
    }

    fn spool_away(&mut self, spool: &Spool) -> Result<(), Error> {
        if let CapturedArray::InMemory(array) = self {
            *self = CapturedArray::Spooled(spool.put(array)?);
        }
        Ok(())
    }

    fn ticket(&self) -> Option<Ticket> {
        match self {
            CapturedArray::InMemory(_) => None,
            CapturedArray::Spooled(ticket) => Some(ticket.clone()),
        }
    }
}

impl ReducedMap {
    /// Height x width, the layer's own values.
    pub fn map(&self, spool: &Spool) -> Result<Array2<f32>, Error> {
        Ok(self.map.get(spool)?.index_axis(Axis(0), 0).to_owned())
    }
}

impl LayerCapture {
    /// From what the network gave: a reduced map, or all channels.
    pub fn new(
        PictureKey { image, fold, layer_position }: PictureKey,
        layer: &Layer,
        given: Array3<f32>,
        reduce: Reduction,
        keep_channels: bool,
    ) -> LayerCapture {
        let seen = |ChannelMap { rank, channel, map }: ChannelMap| ReducedMap {
            rank,
            channel,
            map: CapturedArray::InMemory(map.insert_axis(Axis(0))),
        };
        // What is no picture is not reduced, and what the device has reduced not again.
        let is_map = match reduce {
            Reduction::Whole(_) => !keep_channels || !layer.is_spatial(),
            Reduction::Pca => !layer.is_spatial(),
            Reduction::Channel(_) | Reduction::Top(_) => false,
        };
        let parts = if is_map {
            let map = given.index_axis(Axis(0), 0).to_owned();
            vec![ChannelMap { rank: 0, channel: None, map }]
        } else {
            reduce.apply(given.view())
        };
        let parts = parts.into_iter().map(seen).collect();
        let channels = keep_channels.then_some(CapturedArray::InMemory(given));
        LayerCapture { image, fold, layer_position, layer: layer.clone(), parts, channels }
    }

    /// Which one it is.
    pub fn key(&self) -> PictureKey {
        PictureKey { image: self.image, fold: self.fold, layer_position: self.layer_position }
    }

    /// Moves the arrays to disk.
    pub fn spool_away(&mut self, spool: &Spool) -> Result<(), Error> {
        let maps = self.parts.iter_mut().map(|part| &mut part.map);
        maps.chain(&mut self.channels).try_for_each(|held| held.spool_away(spool))
    }

    /// What another process needs to know of arrays that are on disk; `None` if one is not.
    pub fn waiting(&self) -> Option<PendingMaps> {
        let part = |part: &ReducedMap| Some((part.rank, part.channel, part.map.ticket()?));
        let parts = self.parts.iter().map(part).collect::<Option<_>>()?;
        let channels = match &self.channels {
            Some(channels) => Some(channels.ticket()?),
            None => None,
        };
        Some(PendingMaps { fold: self.fold, layer_position: self.layer_position, parts, channels })
    }

    /// A capture that another process spooled, if all of it is there.
    pub fn left(
        image: usize,
        layer: &Layer,
        waiting: &PendingMaps,
        spool: &Spool,
    ) -> Option<LayerCapture> {
        let PendingMaps { fold, layer_position, parts, channels } = waiting;
        let is_whole = parts.iter().map(|(.., map)| map).chain(channels).all(|t| spool.holds(t));
        let seen = |(rank, channel, map): &(usize, Option<usize>, Ticket)| ReducedMap {
            rank: *rank,
            channel: *channel,
            map: CapturedArray::Spooled(map.clone()),
        };
        is_whole.then(|| LayerCapture {
            image,
            fold: *fold,
            layer_position: *layer_position,
            layer: layer.clone(),
            parts: parts.iter().map(seen).collect(),
            channels: channels.clone().map(CapturedArray::Spooled),
        })
    }
}
