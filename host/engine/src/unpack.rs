//! From shipped bytes to a component's bytes: gzip and zstd are recognised by their first bytes and
//! unpacked up to a bound, so a small file never becomes a large one in memory. Touches nothing.
//! First stage of [`crate::load`]; sources ship whatever they find.

use crate::error::LoadError;
use bytes::Bytes;
use std::io::Read;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Window of a zstd frame: log2 of the bytes that its decoder may keep. 23 is what `zstd -19` asks for,
/// 27 the most that `zstd -d` takes without being told.
const ZSTD_WINDOW_LOG: std::ops::RangeInclusive<u32> = 23..=27;

/// The uncompressed bytes.
///
/// # Errors
/// [`LoadError::TooLarge`] and [`LoadError::UnpackFailed`].
pub fn unpack(shipped: &Bytes, limit: u64) -> Result<Bytes, LoadError> {
    if shipped.len() as u64 > limit {
        return Err(LoadError::TooLarge { limit, unpacked: false });
    }
    if shipped.starts_with(GZIP) {
        // Multi: `cat a.gz b.gz` is one file, as for gunzip.
        read_all(flate2::read::MultiGzDecoder::new(shipped.as_ref()), limit, "gzip")
    } else if shipped.starts_with(ZSTD) {
        let failed = |error: std::io::Error| LoadError::UnpackFailed { format: "zstd", detail: error.to_string() };
        let mut decoder = zstd::stream::read::Decoder::with_buffer(shipped.as_ref()).map_err(failed)?;
        // A frame of a few bytes may ask for a window of any size, so the window is bounded by the limit too.
        let window = limit.max(1).ilog2().saturating_add(1).clamp(*ZSTD_WINDOW_LOG.start(), *ZSTD_WINDOW_LOG.end());
        decoder.window_log_max(window).map_err(failed)?;
        read_all(decoder, limit, "zstd")
    } else {
        Ok(shipped.clone())
    }
}

fn read_all(decoder: impl Read, limit: u64, format: &'static str) -> Result<Bytes, LoadError> {
    let mut bytes = Vec::new();
    let read = decoder.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    let read = read.map_err(|error| LoadError::UnpackFailed { format, detail: error.to_string() })?;
    if read as u64 > limit { Err(LoadError::TooLarge { limit, unpacked: true }) } else { Ok(Bytes::from(bytes)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn plain_gzip_and_zstd_bytes_come_out_the_same() {
        let plain = Bytes::from_static(b"\0asm and so on");
        let zstd = Bytes::from(zstd::encode_all(plain.as_ref(), 3).unwrap());
        for shipped in [plain.clone(), gzip(&plain), zstd] {
            assert_eq!(unpack(&shipped, 1000).unwrap(), plain);
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit_and_not_after_it() {
        let zeros = vec![0; 64 << 20];
        for shipped in [gzip(&zeros), Bytes::from(zstd::encode_all(zeros.as_slice(), 19).unwrap())] {
            assert!(shipped.len() < 100_000);
            assert_eq!(unpack(&shipped, 1 << 20).unwrap_err(), LoadError::TooLarge { limit: 1 << 20, unpacked: true });
        }
    }

    #[test]
    fn a_shipped_file_above_the_limit_is_not_even_looked_at() {
        assert_eq!(unpack(&Bytes::from(vec![0; 101]), 100).unwrap_err(), LoadError::TooLarge { limit: 100, unpacked: false });
    }

    #[test]
    fn a_cut_off_file_says_so() {
        let whole = gzip(&[7; 1000]);
        let zstd = zstd::encode_all([7u8; 1000].as_slice(), 3).unwrap();
        for cut in [whole.slice(..whole.len() - 5), Bytes::from(zstd[..zstd.len() - 3].to_vec())] {
            assert_eq!(unpack(&cut, 10_000).unwrap_err().reason(), "UnpackFailed");
        }
    }
}
