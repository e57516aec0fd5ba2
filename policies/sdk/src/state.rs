//! What a policy remembers from one decision to the next. Touches nothing.
//!
//! The host keeps the bytes and hands them back, also to the next module of the same rule when that says
//! that it can read them; it drops them when it restarts. So state is a memory that may be lost at any
//! time: a policy must decide well, if perhaps less finely, without it.
//!
//! On the wire: one version byte, then postcard; nothing at all for `Default`. Bytes of a version that the type does not read, or none,
//! read as `Default`, so a new version of a policy never trips over what an old one left.

use crate::proposal::Refusal;
use serde::{Serialize, de::DeserializeOwned};

/// Largest state in bytes that [`encode`] lets through. The host's own limit
/// (`spec.limits.stateBytes`) may be lower.
pub const MAX_STATE_BYTES: usize = 16 * 1024;

/// A value that a policy remembers. `Default` is what it starts from.
pub trait State: Serialize + DeserializeOwned + Default {
    /// Raise it with every change of the type. 0 keeps nothing at all.
    const VERSION: u8;

    /// Older versions that [`upgrade`](Self::upgrade) makes one of this type of; at most 16.
    const READS: &'static [u8] = &[];

    /// What an older version left. `bytes` are its own, for `postcard::from_bytes` and the type as it was
    /// then; `None`: they can't be read, and the policy starts from `Default`.
    #[must_use]
    fn upgrade(_version: u8, _bytes: &[u8]) -> Option<Self> {
        None
    }
}

/// A policy without memory.
impl State for () {
    const VERSION: u8 = 0;
}

/// The state that `bytes` hold; `Default` when they are empty, of another version, or no such state.
#[must_use]
pub fn decode<S: State>(bytes: &[u8]) -> S {
    match bytes.split_first() {
        Some((version, rest)) if *version == S::VERSION => postcard::from_bytes(rest).unwrap_or_default(),
        Some((version, rest)) if S::READS.contains(version) => S::upgrade(*version, rest).unwrap_or_default(),
        _ => S::default(),
    }
}

/// The bytes of `state`; none for one that is as `Default`.
///
/// # Errors
/// Refusal `StateTooLarge` beyond [`MAX_STATE_BYTES`], `StateNotEncodable` for a type that postcard
/// can't write (a map or sequence of unknown length).
pub fn encode<S: State>(state: &S) -> Result<Vec<u8>, Refusal> {
    if S::VERSION == 0 {
        return Ok(Vec::new());
    }
    let written = |state: &S| postcard::to_allocvec(state).map_err(|_| Refusal::new("StateNotEncodable", "The policy's state can't be written as bytes."));
    let own = written(state)?;
    if own == written(&S::default())? {
        return Ok(Vec::new());
    }
    let mut bytes = vec![S::VERSION];
    bytes.extend(own);
    if bytes.len() > MAX_STATE_BYTES {
        return Err(Refusal::new("StateTooLarge", format!("The policy wants to remember {} bytes, at most {MAX_STATE_BYTES} are allowed.", bytes.len())));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Memory {
        rates: Vec<f64>,
    }

    impl State for Memory {
        const VERSION: u8 = 3;
    }

    #[test]
    fn state_is_read_back_as_it_was() {
        let memory = Memory { rates: vec![1.5, -0.0] };
        let bytes = encode(&memory).unwrap();
        assert_eq!(bytes.first(), Some(&3));
        assert_eq!(decode::<Memory>(&bytes), memory);
    }

    /// The same, before it remembered more than one rate.
    #[derive(Default, Serialize, Deserialize)]
    struct OneRate {
        rate: f64,
    }

    impl State for OneRate {
        const VERSION: u8 = 2;
    }

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Newer {
        rates: Vec<f64>,
    }

    impl State for Newer {
        const VERSION: u8 = 3;
        const READS: &'static [u8] = &[2];

        fn upgrade(_: u8, bytes: &[u8]) -> Option<Self> {
            let OneRate { rate } = postcard::from_bytes(bytes).ok()?;
            Some(Self { rates: vec![rate] })
        }
    }

    #[test]
    fn an_older_version_is_read_where_the_type_says_how() {
        let old = encode(&OneRate { rate: 4.5 }).unwrap();
        assert_eq!(decode::<Newer>(&old), Newer { rates: vec![4.5] });
        assert_eq!(decode::<Newer>(&[2]), Newer::default(), "what can't be read is nothing");
        assert_eq!(decode::<Newer>(&[1, 0]), Newer::default(), "nobody said that version 1 can be read");
        assert_eq!(decode::<Memory>(&old), Memory::default());
    }

    #[test]
    fn foreign_bytes_read_as_the_default() {
        for bytes in [&[][..], &[2, 1, 0], &[3, 255], &[3]] {
            assert_eq!(decode::<Memory>(bytes), Memory::default());
        }
        assert!(encode(&()).unwrap().is_empty());
        assert!(encode(&Memory::default()).unwrap().is_empty(), "which reads as the default again");
    }

    #[test]
    fn too_much_to_remember_is_refused() {
        assert_eq!(encode(&Memory { rates: vec![0.0; 4096] }).unwrap_err().code, "StateTooLarge");
    }
}
