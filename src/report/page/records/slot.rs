//! Bytes within a page: an element of plain text that holds them, packed.
//!
//! ```text
//! bytes ─▶ zlib ─▶ base64 ─▶ element of the page
//! ```

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

use super::PageError;

/// Largest size of unpacked bytes, to limit what a damaged or hostile page can take. The records of
/// a main job have 2 MB.
pub(in crate::report::page) const UNPACKED_BYTES_MAX: usize = 64 << 20;

const END: &str = "</script>";

/// Element of a page with this anchor, in a version of its form.
#[derive(Clone, Copy, Debug)]
pub(in crate::report::page) struct Slot {
    pub(in crate::report::page) id: &'static str,
    pub(in crate::report::page) form: u32,
}

impl Slot {
    /// Returns the element that holds `bytes`.
    pub(in crate::report::page) fn element(self, bytes: &[u8]) -> String {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).expect("a vector takes everything");
        let packed = encoder.finish().expect("a vector takes everything");
        format!("{}{}\">{}{END}\n", self.start(), self.form, STANDARD.encode(packed))
    }

    /// Returns the element of a page whose bytes were left out.
    pub(super) fn left_out(self) -> String {
        format!("{}{END}\n", self.left_out_start())
    }

    pub(super) fn is_left_out(self, page: &str) -> bool {
        page.contains(&self.left_out_start())
    }

    /// Returns the bytes of a page; `None` if it has no such element.
    pub(in crate::report::page) fn extract(self, page: &str) -> Result<Option<Vec<u8>>, PageError> {
        let Some((_, rest)) = page.split_once(&self.start()) else { return Ok(None) };
        let Some((form, rest)) = rest.split_once("\">") else { return Ok(None) };
        if form != self.form.to_string() {
            let got = form.chars().take(20).collect();
            return Err(PageError::Form { got, read: self.form });
        }
        let (encoded, _) = rest
            .split_once(END)
            .ok_or_else(|| PageError::Damaged("the end of the page is missing".to_owned()))?;
        let packed = STANDARD.decode(encoded.trim());
        unpack(&packed.map_err(|error| PageError::Damaged(error.to_string()))?).map(Some)
    }

    fn start(self) -> String {
        format!(r#"<script type="text/plain" id="{}" data-form=""#, self.id)
    }

    fn left_out_start(self) -> String {
        format!(r#"<script type="text/plain" id="{}" data-left-out="">"#, self.id)
    }
}

fn unpack(packed: &[u8]) -> Result<Vec<u8>, PageError> {
    let mut bytes = Vec::new();
    let limit = UNPACKED_BYTES_MAX as u64 + 1;
    ZlibDecoder::new(packed)
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| PageError::Damaged(error.to_string()))?;
    if bytes.len() as u64 == limit { Err(PageError::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot { id: "ndecho-test", form: 3 };

    #[test]
    fn bytes_are_read_back_and_other_pages_have_none() {
        let page = format!("<p>{}<p>", SLOT.element(b"abc"));
        assert_eq!(SLOT.extract(&page).expect("whole"), Some(b"abc".to_vec()));
        assert_eq!(SLOT.extract("<p>").expect("no element"), None);
        assert_eq!(Slot { id: "other", form: 3 }.extract(&page).expect("no element"), None);
        let newer = Slot { form: 4, ..SLOT }.extract(&page);
        assert!(matches!(newer, Err(PageError::Form { got, read: 4 }) if got == "3"));
    }

    #[test]
    fn a_page_that_unpacks_without_end_is_refused() {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; 1 << 20];
        for _ in 0..=UNPACKED_BYTES_MAX >> 20 {
            encoder.write_all(&zeros).expect("a vector takes everything");
        }
        let packed = encoder.finish().expect("a vector takes everything");
        assert!(matches!(unpack(&packed), Err(PageError::TooLarge)));
    }
}
