//! PNG files that carry what they show.

use super::Rgb;

/// The keyword of the text chunk with the picture's JSON.
pub const KEYWORD: &str = "actviz";

/// The picture as a PNG file's bytes, with `about` (JSON) in a text chunk. The same
/// pixels and text give the same bytes: there is no time stamp in them.
///
/// # Errors
/// If the picture is too large for PNG.
pub fn encode(picture: &Rgb, about: &str) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width as u32, picture.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // Thousands of small pictures: time counts more than the last kilobyte.
    encoder.set_compression(png::Compression::Fast);
    // What the adaptive filter chooses for nearly every row of a map, and a sixth faster.
    encoder.set_filter(png::Filter::Paeth);
    let mut writer = encoder.write_header()?;
    // International text: layer and file names are UTF-8.
    writer.write_text_chunk(&png::text_metadata::ITXtChunk::new(KEYWORD, about))?;
    writer.write_image_data(&picture.pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// The JSON that [`encode`] put into a file; `None` if it carries none.
///
/// # Errors
/// If the bytes are no PNG.
pub fn about(bytes: &[u8]) -> Result<Option<String>, png::DecodingError> {
    let reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info()?;
    let texts = &reader.info().utf8_text;
    let own = texts.iter().find(|chunk| chunk.keyword == KEYWORD);
    own.map(png::text_metadata::ITXtChunk::get_text).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_and_text_come_back_and_bytes_are_the_same_again() {
        let mut picture = Rgb::filled(9, 7, [1, 2, 3]);
        picture.set(4, 4, [200, 100, 0]);
        let bytes = encode(&picture, "{\"layer\":\"größe\"}").expect("a PNG");
        let decoded = image::load_from_memory(&bytes).expect("a picture").to_rgb8();
        assert_eq!(decoded.as_raw(), &picture.pixels);
        assert_eq!(about(&bytes).expect("a PNG").as_deref(), Some("{\"layer\":\"größe\"}"));
        assert_eq!(encode(&picture, "{\"layer\":\"größe\"}").expect("a PNG"), bytes);
    }

    #[test]
    fn what_is_no_png_is_an_error() {
        assert!(about(b"hello").is_err());
    }
}
