//! SETTINGS: limits that each side sets for the other. RFC 9113 section 6.5.

use super::error::{ErrorCode, Fault};
use super::flow::WINDOW_MAX;
use super::frame::{HEAD_BYTES, Kind, head_bytes};

pub(crate) const FRAME_BYTES_MIN: u32 = 16 * 1024;
pub(crate) const FRAME_BYTES_MAX: u32 = (1 << 24) - 1;
pub(crate) const WINDOW_DEFAULT: u32 = 65_535;
const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;

/// Limits that one side sets for the other; the protocol's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub header_table_size: u32,
    pub enable_push: bool,
    /// `None` is no limit.
    pub max_concurrent_streams: Option<u32>,
    pub initial_window_size: u32,
    pub max_frame_size: u32,
    /// Decoded bytes; `None` is no limit.
    pub max_header_list_size: Option<u32>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            header_table_size: 4096,
            enable_push: true,
            max_concurrent_streams: None,
            initial_window_size: WINDOW_DEFAULT,
            max_frame_size: FRAME_BYTES_MIN,
            max_header_list_size: None,
        }
    }
}

/// Returns true if the payload sets the size of the header table, perhaps to less and then to more.
pub(crate) fn names_table_size(payload: &[u8]) -> bool {
    let (pairs, _) = payload.as_chunks::<6>();
    pairs.iter().any(|[i, j, ..]| u16::from_be_bytes([*i, *j]) == HEADER_TABLE_SIZE)
}

impl Settings {
    pub(crate) fn apply(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let (pairs, []) = payload.as_chunks::<6>() else {
            let text = "SETTINGS is not a multiple of 6 bytes";
            return Err(Fault::connection(ErrorCode::FrameSize, text));
        };
        pairs.iter().try_for_each(|[i, j, a, b, c, d]| {
            self.set(u16::from_be_bytes([*i, *j]), u32::from_be_bytes([*a, *b, *c, *d]))
        })
    }

    fn set(&mut self, id: u16, value: u32) -> Result<(), Fault> {
        match id {
            HEADER_TABLE_SIZE => self.header_table_size = value,
            ENABLE_PUSH if value > 1 => return Err(Fault::protocol("ENABLE_PUSH is 0 or 1")),
            ENABLE_PUSH => self.enable_push = value == 1,
            MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = Some(value),
            INITIAL_WINDOW_SIZE if i64::from(value) > WINDOW_MAX => {
                let text = "INITIAL_WINDOW_SIZE is over 2^31-1";
                return Err(Fault::connection(ErrorCode::FlowControl, text));
            }
            INITIAL_WINDOW_SIZE => self.initial_window_size = value,
            MAX_FRAME_SIZE if !(FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&value) => {
                return Err(Fault::protocol("MAX_FRAME_SIZE is outside 2^14 to 2^24-1"));
            }
            MAX_FRAME_SIZE => self.max_frame_size = value,
            MAX_HEADER_LIST_SIZE => self.max_header_list_size = Some(value),
            _ => {}
        }
        Ok(())
    }

    /// Returns the SETTINGS frame with the values that differ from the defaults.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let default = Settings::default();
        let mut frame = vec![0; HEAD_BYTES];
        let mut put = |id: u16, value: u32, default: u32| {
            if value != default {
                frame.extend_from_slice(&id.to_be_bytes());
                frame.extend_from_slice(&value.to_be_bytes());
            }
        };
        put(HEADER_TABLE_SIZE, self.header_table_size, default.header_table_size);
        put(ENABLE_PUSH, u32::from(self.enable_push), 1);
        put(MAX_CONCURRENT_STREAMS, self.max_concurrent_streams.unwrap_or(u32::MAX), u32::MAX);
        put(INITIAL_WINDOW_SIZE, self.initial_window_size, default.initial_window_size);
        put(MAX_FRAME_SIZE, self.max_frame_size, default.max_frame_size);
        put(MAX_HEADER_LIST_SIZE, self.max_header_list_size.unwrap_or(u32::MAX), u32::MAX);
        let head = head_bytes(frame.len() - HEAD_BYTES, Kind::Settings, 0, 0);
        frame[..HEAD_BYTES].copy_from_slice(&head);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(payload: &[u8]) -> Result<Settings, Fault> {
        let mut settings = Settings::default();
        settings.apply(payload).map(|()| settings)
    }

    fn code(payload: &[u8]) -> ErrorCode {
        match applied(payload) {
            Err(Fault::Connection(code, _)) => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let settings = Settings {
            header_table_size: 0,
            enable_push: false,
            max_concurrent_streams: Some(1024),
            initial_window_size: 1 << 20,
            max_frame_size: FRAME_BYTES_MAX,
            max_header_list_size: Some(16_384),
        };
        assert_eq!(applied(&settings.frame()[HEAD_BYTES..]), Ok(settings));
        assert_eq!(Settings::default().frame(), [0, 0, 0, 4, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_last_value_counts_and_unknown_settings_are_ignored() {
        let payload = [0, 4, 0, 0, 0, 100, 0, 255, 9, 9, 9, 9, 0, 4, 0, 0, 0, 1];
        assert_eq!(applied(&payload).map(|s| s.initial_window_size), Ok(1));
    }

    #[test]
    fn values_out_of_range_have_their_own_codes() {
        assert_eq!(code(&[0, 2, 0, 0, 0, 2]), ErrorCode::Protocol);
        assert_eq!(code(&[0, 4, 0x80, 0, 0, 0]), ErrorCode::FlowControl);
        assert_eq!(code(&[0, 5, 0, 0, 0x3F, 0xFF]), ErrorCode::Protocol);
        assert_eq!(code(&[0, 5, 1, 0, 0, 0]), ErrorCode::Protocol);
        assert_eq!(code(&[0, 5, 1]), ErrorCode::FrameSize);
    }
}
