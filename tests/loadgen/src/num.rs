//! Conversions between number types that cannot fail silently, and hashing to numbers.
//! Pure, apart from [`unix_nanos`], which reads the clock. Used by every module of this crate.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The whole part of `x`; 0 for a negative number or NaN, `u64::MAX` beyond it.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` from f64 saturates, which is what this function promises")]
pub(crate) fn floor(x: f64) -> u64 {
    x as u64
}

/// `n` as u64; they are equally wide on every platform that this runs on.
pub(crate) fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// `n` as usize, saturating.
pub(crate) fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Nanoseconds of `d`, saturating after 584 years.
pub(crate) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

/// Now, in nanoseconds since 1970.
pub(crate) fn unix_nanos() -> u64 {
    nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// A well-mixed function of `x` (SplitMix64, Steele, Lea and Flood 2014): the same on every
/// machine and version, so that a seed means the same traffic for ever.
pub(crate) fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number in 0..1 that is a well-mixed function of `x`.
pub(crate) fn unit(x: u64) -> f64 {
    (mix(x) >> 11) as f64 / (1_u64 << 53) as f64
}
