//! TIFF: pictures, and whatever else is kept in TIFF: floating-point values, many bands, one
//! band a page.
//!
//! Each strip and tile is put in its place here: the decoder's own way of putting them
//! together panics at tiles of separate planes.

use std::borrow::Cow;
use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer};
use ndarray::{Array3, Axis};
use tiff::decoder::{ChunkType, Decoder, DecodingResult};
use tiff::tags::{PlanarConfiguration, Tag};
use tiff::{ColorType, TiffError, TiffUnsupportedError};

use super::decode::{Decoded, File, check_frame, check_size};
use super::{DecodeLimits, Problem, jpeg};

/// TIFF and BigTIFF, in either byte order.
pub(super) const STARTS: [&[u8]; 4] = [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"];

/// More pages than anybody has. A chain of pages may be long, and made to do harm.
const MOST_PAGES: usize = 65_536;
/// The widest sample, in bytes.
const WIDEST: u64 = 8;

type Reader<'a> = Decoder<Cursor<Cow<'a, [u8]>>>;

/// One page: the values of its pixels, row by row, all samples of a pixel side by side.
struct Page {
    width: usize,
    height: usize,
    samples: usize,
    colour: ColorType,
    values: Values,
    orientation: Orientation,
    /// Red, green, and blue of all colours, if the values are their numbers.
    palette: Option<Vec<u16>>,
}

enum Values {
    U8(Vec<u8>),
    U16(Vec<u16>),
    F32(Vec<f32>),
}

/// The page that is asked for (from 1; the first one if none is), for a network of so many
/// channels; all pages together where each of them is one of its channels.
pub(super) fn read(
    bytes: &[u8],
    channels: usize,
    frame: Option<usize>,
    limits: DecodeLimits,
) -> Result<File, Problem> {
    let mut reader = open(Cow::Borrowed(bytes), limits)?;
    let pages = pages(&mut reader)?;
    let chosen = check_frame(frame, pages.len())?;
    let page = page_at(bytes, &mut reader, pages[chosen], limits)?;
    let frames = pages.len();
    let is_picture =
        matches!(channels, 1 | 3) || (channels == 4 && matches!(page.colour, ColorType::RGBA(_)));
    if is_picture && !matches!(page.values, Values::F32(_)) && is_colour(page.colour) {
        let orientation = page.orientation;
        let mut picture = page.picture()?;
        picture.apply_orientation(orientation);
        return Ok(File { decoded: Decoded::Picture(picture), frames });
    }
    if frame.is_none() && page.samples != channels && page.samples * frames == channels {
        let mut all = Array3::zeros((channels, page.height, page.width));
        for (place, index) in pages.iter().enumerate() {
            let band = page_at(bytes, &mut reader, *index, limits)?.array();
            let (samples, height, width) = band.dim();
            if (height, width) != (page.height, page.width) || samples != page.samples {
                return Err(Problem::new(format!(
                    "page {} is {width} x {height}, the first one {} x {}: they are not the \
                     channels of one image",
                    place + 1,
                    page.width,
                    page.height
                )));
            }
            let from = place * samples;
            all.slice_axis_mut(Axis(0), (from..from + samples).into()).assign(&band);
        }
        return Ok(File { decoded: Decoded::Values(all), frames: 1 });
    }
    if page.palette.is_some() {
        return Err(Problem::new(format!(
            "its values are numbers of a palette, which gives 3 channels; the network takes \
             {channels}"
        )));
    }
    if page.samples != channels {
        let own = match frames {
            1 => format!("has {}", page.samples),
            _ => format!("has {frames} pages of {}", page.samples),
        };
        return Err(Problem::with_hint(
            format!("the TIFF {own} channels, the network takes {channels}"),
            "--channels N says how many it takes",
        ));
    }
    Ok(File { decoded: Decoded::Values(page.array()), frames })
}

/// How many pages it has.
pub(super) fn count(bytes: &[u8], limits: DecodeLimits) -> Result<usize, Problem> {
    Ok(pages(&mut open(Cow::Borrowed(bytes), limits)?)?.len())
}

fn open(bytes: Cow<'_, [u8]>, limits: DecodeLimits) -> Result<Reader<'_>, Problem> {
    let mut own = tiff::decoder::Limits::unlimited();
    let most = limits.pixels.saturating_mul(WIDEST * 4);
    own.decoding_buffer_size = usize::try_from(most).unwrap_or(usize::MAX);
    own.intermediate_buffer_size = own.decoding_buffer_size;
    // A list of values in a file is no longer than the file.
    own.ifd_value_size = bytes.len().saturating_mul(8);
    Ok(Decoder::new(Cursor::new(bytes)).map_err(problem)?.with_limits(own))
}

/// The pages' numbers, from 0, without previews of others (TIFF 6.0, NewSubfileType).
fn pages(reader: &mut Reader<'_>) -> Result<Vec<usize>, Problem> {
    let mut pages = Vec::new();
    for index in 0..MOST_PAGES {
        let kind = reader.find_tag_unsigned::<u32>(Tag::NewSubfileType).ok().flatten();
        if index == 0 || kind.unwrap_or_default() & 1 == 0 {
            pages.push(index);
        }
        if !reader.more_images() {
            break;
        }
        match reader.next_image() {
            Ok(()) => {}
            // What a page is of is only of interest if it is asked for.
            Err(TiffError::UnsupportedError(_)) => {}
            Err(error) => return Err(problem(error)),
        }
    }
    Ok(pages)
}

/// The page with this number. The decoder refuses palettes, so their numbers are read as if
/// they were grey values.
fn page_at(
    bytes: &[u8],
    reader: &mut Reader<'_>,
    index: usize,
    limits: DecodeLimits,
) -> Result<Page, Problem> {
    reader.seek_to_image(index).map_err(problem)?;
    let kind = reader.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation);
    match kind.map_err(problem)? {
        Some(PALETTE) => {}
        Some(8..=10) => return Err(unread("CIE L*a*b* colours")),
        _ => return page(reader, limits),
    }
    let palette = reader.get_tag_u16_vec(Tag::ColorMap).map_err(problem)?;
    let place = reader.ifd_pointer().and_then(|place| as_grey(bytes, place.0));
    let grey = place.ok_or_else(|| Problem::new("not a readable TIFF"))?;
    let mut reader = open(Cow::Owned(grey), limits)?;
    reader.seek_to_image(index).map_err(problem)?;
    let page = page(&mut reader, limits)?;
    match page.colour {
        ColorType::Gray(bits @ (1 | 2 | 4 | 8)) => {
            Ok(Page { colour: ColorType::Palette(bits), palette: Some(palette), ..page })
        }
        _ => Err(unread("a palette of more than 256 colours")),
    }
}

/// PhotometricInterpretation of TIFF 6.0.
const PALETTE: u16 = 3;

/// The file with the palette's page at this place turned into a grey one (TIFF 6.0, section
/// 2, and the BigTIFF design).
fn as_grey(bytes: &[u8], place: u64) -> Option<Vec<u8>> {
    const PHOTOMETRIC: u16 = 262;
    const GREY: u16 = 1;
    let is_little = bytes.starts_with(b"I");
    let number = |at: usize| -> Option<u16> {
        let own = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if is_little { u16::from_le_bytes(own) } else { u16::from_be_bytes(own) })
    };
    let place = usize::try_from(place).ok()?;
    // More entries than 65,535 no page has; their count fills eight bytes in BigTIFF.
    let (count, first, length, value) = match number(2)? {
        43 => (number(if is_little { place } else { place + 6 })?, place + 8, 20, 12),
        _ => (number(place)?, place + 2, 12, 8),
    };
    let entry = (0..usize::from(count)).map(|n| first + n * length);
    let at = entry.into_iter().find(|at| number(*at) == Some(PHOTOMETRIC))? + value;
    let mut grey = bytes.to_vec();
    let own = if is_little { GREY.to_le_bytes() } else { GREY.to_be_bytes() };
    grey.get_mut(at..at + 2)?.copy_from_slice(&own);
    Some(grey)
}

fn page(reader: &mut Reader<'_>, limits: DecodeLimits) -> Result<Page, Problem> {
    let (width, height) = reader.dimensions().map_err(problem)?;
    let colour = match reader.colortype().map_err(problem)? {
        ColorType::Multiband { bit_depth, num_samples: 2 } if has_alpha(reader) => {
            ColorType::GrayA(bit_depth)
        }
        other => other,
    };
    check_kind(colour)?;
    let samples = usize::from(colour.num_samples());
    check_size(width, height, samples as u64 * WIDEST, limits)?;
    let (width, height) = (width as usize, height as usize);
    let is_planar = reader
        .find_tag_unsigned::<u16>(Tag::PlanarConfiguration)
        .map_err(problem)?
        .and_then(PlanarConfiguration::from_u16)
        == Some(PlanarConfiguration::Planar);
    let planes = if is_planar { samples } else { 1 };
    let (across, chunks) = match reader.get_chunk_type() {
        ChunkType::Strip => (1, reader.strip_count().map_err(problem)?),
        ChunkType::Tile => {
            let side = reader.chunk_dimensions().0.max(1) as usize;
            (width.div_ceil(side), reader.tile_count().map_err(problem)?)
        }
    };
    let (full_width, full_height) = reader.chunk_dimensions();
    let down = height.div_ceil(full_height.max(1) as usize);
    let needed = across * down * planes;
    let there = count_of_chunks(reader)?;
    if there < needed || (chunks as usize) < across * down {
        return Err(Problem::new(format!(
            "the TIFF is damaged: it has {there} of its {needed} strips or tiles"
        )));
    }
    check_jpegs(reader, limits)?;
    let mut place = Placement { width, height, samples, planes, values: None };
    for index in 0..needed {
        let (chunk, within) = (index as u32, index % (across * down));
        let (own_width, own_height) = reader.chunk_data_dimensions(chunk);
        let read = reader.read_chunk(chunk).map_err(problem)?;
        let at =
            ((within % across) * full_width as usize, (within / across) * full_height as usize);
        let own = (own_width as usize, own_height as usize);
        place.put(read, colour, (at, own), index / (across * down))?;
    }
    let values = place.values.ok_or_else(|| Problem::new("the picture has no pixels"))?;
    let orientation = reader
        .find_tag_unsigned::<u8>(Tag::Orientation)
        .ok()
        .flatten()
        .and_then(Orientation::from_exif)
        .unwrap_or(Orientation::NoTransforms);
    Ok(Page { width, height, samples, colour, values, orientation, palette: None })
}

/// Whether the second sample says how opaque the first one is.
fn has_alpha(reader: &mut Reader<'_>) -> bool {
    let extra = reader.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples).ok().flatten();
    extra.is_some_and(|extra| matches!(extra[..], [1 | 2]))
}

/// Decodes the JPEG data of a page's strips or tiles as strictly as a JPEG file's: the TIFF
/// decoder fills up with grey what is damaged.
fn check_jpegs(reader: &mut Reader<'_>, limits: DecodeLimits) -> Result<(), Problem> {
    if reader.find_tag_unsigned::<u16>(Tag::Compression).map_err(problem)? != Some(JPEG) {
        return Ok(());
    }
    // Shared tables are a JPEG of their own (TIFF technical note 2): without its end, and the
    // strip without its beginning, they are one.
    let tables = reader.find_tag(Tag::JPEGTables).map_err(problem)?;
    let tables = tables.map(|own| own.into_u8_vec()).transpose().map_err(problem)?;
    let mut all = Vec::new();
    for (offsets, lengths) in
        [(Tag::StripOffsets, Tag::StripByteCounts), (Tag::TileOffsets, Tag::TileByteCounts)]
    {
        let mut numbers = |tag| reader.find_tag_unsigned_vec::<u64>(tag).map_err(problem);
        let (offsets, lengths) = (numbers(offsets)?, numbers(lengths)?);
        all.extend(offsets.into_iter().flatten().zip(lengths.into_iter().flatten()));
    }
    for (offset, length) in all {
        let bytes = reader.inner().get_ref();
        let range = usize::try_from(offset).ok().zip(usize::try_from(length).ok());
        let strip = range.and_then(|(from, length)| bytes.get(from..from.checked_add(length)?));
        let strip = strip.ok_or_else(|| Problem::new("the picture is cut off"))?;
        match &tables {
            Some(tables) if tables.len() > 2 && strip.len() > 2 => {
                jpeg::check(&[&tables[..tables.len() - 2], &strip[2..]].concat(), limits)?;
            }
            _ => jpeg::check(strip, limits)?,
        }
    }
    Ok(())
}

/// Compression of TIFF technical note 2.
const JPEG: u16 = 7;

/// How many strips or tiles the page has data of.
fn count_of_chunks(reader: &mut Reader<'_>) -> Result<usize, Problem> {
    let mut least = usize::MAX;
    for tag in [Tag::StripByteCounts, Tag::TileByteCounts] {
        if let Some(lengths) = reader.find_tag_unsigned_vec::<u64>(tag).map_err(problem)? {
            // None of its bytes: a hole (GDAL), which the decoder would fill up.
            least = least.min(lengths.iter().filter(|length| **length > 0).count());
        }
    }
    Ok(if least == usize::MAX { 0 } else { least })
}

/// Where strips and tiles go.
struct Placement {
    width: usize,
    height: usize,
    samples: usize,
    planes: usize,
    values: Option<Values>,
}

/// Left and top, width and height.
type Area = ((usize, usize), (usize, usize));

impl Placement {
    fn put(
        &mut self,
        chunk: DecodingResult,
        colour: ColorType,
        area: Area,
        plane: usize,
    ) -> Result<(), Problem> {
        let bits = colour.bit_depth();
        match chunk {
            DecodingResult::U8(values) if bits < 8 => {
                let row = area.1.0 * self.samples / self.planes;
                self.put_u8(&unpacked(&values, bits, row), area, plane)
            }
            DecodingResult::U8(values) => self.put_u8(&values, area, plane),
            DecodingResult::U16(values) => {
                let all = self.width * self.height * self.samples;
                let target = self.values.get_or_insert_with(|| Values::U16(vec![0; all]));
                let Values::U16(target) = target else { return Err(mixed()) };
                place(target, &values, area, (self.width, self.samples, self.planes, plane))
            }
            other => {
                let values = floats(other);
                let all = self.width * self.height * self.samples;
                let target = self.values.get_or_insert_with(|| Values::F32(vec![0.0; all]));
                let Values::F32(target) = target else { return Err(mixed()) };
                place(target, &values, area, (self.width, self.samples, self.planes, plane))
            }
        }
    }

    fn put_u8(&mut self, values: &[u8], area: Area, plane: usize) -> Result<(), Problem> {
        let all = self.width * self.height * self.samples;
        let target = self.values.get_or_insert_with(|| Values::U8(vec![0; all]));
        let Values::U8(target) = target else { return Err(mixed()) };
        place(target, values, area, (self.width, self.samples, self.planes, plane))
    }
}

fn mixed() -> Problem {
    Problem::new("the TIFF is damaged: its strips are not of one kind")
}

/// Copies a strip or tile to its place: all samples of its pixels, or one plane of them.
fn place<T: Copy>(
    target: &mut [T],
    values: &[T],
    ((left, top), (own_width, own_height)): Area,
    (width, samples, planes, plane): (usize, usize, usize, usize),
) -> Result<(), Problem> {
    let own_samples = samples / planes;
    let height = target.len() / (width * samples).max(1);
    // Tiles at the edges may stand out.
    let (seen_width, seen_height) =
        (own_width.min(width.saturating_sub(left)), own_height.min(height.saturating_sub(top)));
    let short = || Problem::new("the TIFF is damaged: a strip or tile is too short");
    for y in 0..seen_height {
        let start = y * own_width * own_samples;
        let row = values.get(start..start + seen_width * own_samples);
        let row = row.ok_or_else(short)?;
        let from = ((top + y) * width + left) * samples;
        let into = target.get_mut(from..from + seen_width * samples).ok_or_else(short)?;
        match planes {
            1 => into.copy_from_slice(row),
            _ => into
                .iter_mut()
                .skip(plane)
                .step_by(samples)
                .zip(row)
                .for_each(|(into, value)| *into = *value),
        }
    }
    Ok(())
}

/// Values of 1, 2 or 4 bits; each row begins with a byte of its own.
fn unpacked(bytes: &[u8], bits: u8, row: usize) -> Vec<u8> {
    let (bits, each) = (usize::from(bits), usize::from(8 / bits));
    let mask = ((1_u16 << bits) - 1) as u8;
    let rows = bytes.chunks(row.div_ceil(each).max(1));
    rows.flat_map(|bytes| {
        (0..row).filter_map(move |x| {
            let byte = bytes.get(x / each)?;
            Some((byte >> (8 - bits * (x % each + 1))) & mask)
        })
    })
    .collect()
}

fn floats(values: DecodingResult) -> Vec<f32> {
    match values {
        DecodingResult::U8(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::U16(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::U32(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::U64(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::I8(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::I16(values) => values.into_iter().map(f32::from).collect(),
        DecodingResult::I32(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::I64(values) => values.into_iter().map(|value| value as f32).collect(),
        DecodingResult::F16(values) => values.into_iter().map(half::f16::to_f32).collect(),
        DecodingResult::F32(values) => values,
        DecodingResult::F64(values) => values.into_iter().map(|value| value as f32).collect(),
    }
}

/// Whether the samples are colours that people see.
fn is_colour(colour: ColorType) -> bool {
    !matches!(colour, ColorType::Multiband { .. })
}

/// # Errors
/// For the kinds that neither the decoder nor this file knows, by name.
fn check_kind(colour: ColorType) -> Result<(), Problem> {
    let name = match colour {
        ColorType::CMYKA(_) => "CMYK with an alpha channel",
        _ if matches!(colour.bit_depth(), 1 | 2 | 4 | 8 | 16 | 32 | 64) => return Ok(()),
        _ => return Err(unread(&format!("samples of {} bits", colour.bit_depth()))),
    };
    Err(unread(name))
}

fn unread(kind: &str) -> Problem {
    Problem::with_hint(
        format!("a TIFF with {kind}, which actviz does not read"),
        "save it as PNG, or as a TIFF of 8 or 16 bits in RGB or grey",
    )
}

fn problem(error: TiffError) -> Problem {
    match error {
        TiffError::UnsupportedError(TiffUnsupportedError::ChromaSubsampling) => {
            unread("subsampled YCbCr colours without JPEG")
        }
        TiffError::UnsupportedError(kind) => Problem::with_hint(
            format!("a TIFF of a kind that actviz does not read: {kind}"),
            "save it as PNG, or as a TIFF of 8 or 16 bits in RGB or grey",
        ),
        TiffError::LimitsExceeded => {
            Problem::new("the TIFF takes more memory than the limit allows (--max-image-pixels)")
        }
        error => Problem::new(format!("not a readable TIFF: {error}")),
    }
}

impl Page {
    /// Channels x height x width, the values as they are.
    fn array(self) -> Array3<f32> {
        let values = match self.values {
            Values::U8(values) => floats(DecodingResult::U8(values)),
            Values::U16(values) => floats(DecodingResult::U16(values)),
            Values::F32(values) => values,
        };
        let array = Array3::from_shape_vec((self.height, self.width, self.samples), values);
        let array = array.unwrap_or_default().permuted_axes([2, 0, 1]);
        array.as_standard_layout().into_owned()
    }

    /// A picture for people.
    fn picture(self) -> Result<DynamicImage, Problem> {
        let (width, height) = (self.width as u32, self.height as u32);
        let damaged = || Problem::new("the TIFF is damaged: pixels are missing");
        macro_rules! picture {
            ($pixel:ty, $values:expr) => {
                ImageBuffer::<$pixel, _>::from_raw(width, height, $values)
                    .map(DynamicImage::from)
                    .ok_or_else(damaged)
            };
        }
        use image::{Luma, LumaA, Rgb, Rgba};
        match (self.colour, self.values) {
            (ColorType::Gray(8), Values::U8(values)) => picture!(Luma<u8>, values),
            (ColorType::Gray(bits), Values::U8(values)) => {
                let white = (1_u16 << bits) - 1;
                let grey = |value: u8| (u16::from(value) * 255 / white) as u8;
                picture!(Luma<u8>, values.into_iter().map(grey).collect())
            }
            (ColorType::Palette(bits), Values::U8(values)) => {
                let colours = self.palette.unwrap_or_default();
                let count = 1_usize << bits;
                if colours.len() < 3 * count {
                    return Err(Problem::new("the TIFF is damaged: its palette is too short"));
                }
                let colour = |value: u8| {
                    [0, 1, 2].map(|c| (colours[c * count + usize::from(value) % count] >> 8) as u8)
                };
                picture!(Rgb<u8>, values.into_iter().flat_map(colour).collect())
            }
            (ColorType::GrayA(_), Values::U8(values)) => picture!(LumaA<u8>, values),
            (ColorType::RGB(_), Values::U8(values)) => picture!(Rgb<u8>, values),
            (ColorType::RGBA(_), Values::U8(values)) => picture!(Rgba<u8>, values),
            (ColorType::CMYK(_), Values::U8(values)) => {
                let rgb = values.chunks_exact(4).flat_map(|cmyk| from_cmyk(cmyk, 255));
                picture!(Rgb<u8>, rgb.map(|value| value as u8).collect())
            }
            (ColorType::YCbCr(_), Values::U8(values)) => {
                let rgb = values.chunks_exact(3).flat_map(from_ycbcr);
                picture!(Rgb<u8>, rgb.collect())
            }
            (ColorType::Gray(_), Values::U16(values)) => picture!(Luma<u16>, values),
            (ColorType::GrayA(_), Values::U16(values)) => picture!(LumaA<u16>, values),
            (ColorType::RGB(_), Values::U16(values)) => picture!(Rgb<u16>, values),
            (ColorType::RGBA(_), Values::U16(values)) => picture!(Rgba<u16>, values),
            (ColorType::CMYK(_), Values::U16(values)) => {
                let rgb = values.chunks_exact(4).flat_map(|cmyk| from_cmyk(cmyk, 65_535));
                picture!(Rgb<u16>, rgb.map(|value| value as u16).collect())
            }
            (colour, _) => Err(unread(&format!("{colour:?} samples"))),
        }
    }
}

/// Ink to light, without a colour profile.
fn from_cmyk<T: Copy + Into<u64>>(cmyk: &[T], most: u64) -> [u64; 3] {
    let [cyan, magenta, yellow, black] = [0, 1, 2, 3].map(|at| cmyk[at].into());
    [cyan, magenta, yellow].map(|ink| ((most - ink) * (most - black) + most / 2) / most)
}

/// ITU-R BT.601, all values from 0 to 255 (TIFF 6.0, section 21, with its defaults).
fn from_ycbcr(values: &[u8]) -> [u8; 3] {
    let [y, blue, red] = [0, 1, 2].map(|at| f32::from(values[at]));
    let (blue, red) = (blue - 128.0, red - 128.0);
    [y + 1.402 * red, y - 0.344_136 * blue - 0.714_136 * red, y + 1.772 * blue]
        .map(|value| value.round().clamp(0.0, 255.0) as u8)
}
