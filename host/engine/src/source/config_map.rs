//! A component in a key of a ConfigMap. Touches nothing: the operator watches the ConfigMap and hands
//! over what it holds.

use super::SourceError;
use bytes::Bytes;

/// The bytes of `key`, from the two maps of a ConfigMap.
///
/// # Errors
/// [`SourceError::NoKey`], or [`SourceError::KeyIsText`] when the key stands under `data`.
pub fn from_config_map(config_map: &str, key: &str, binary_data: Option<Bytes>, data: Option<&str>) -> Result<Bytes, SourceError> {
    match (binary_data, data) {
        (Some(bytes), _) => Ok(bytes),
        (None, Some(_)) => Err(SourceError::KeyIsText { config_map: config_map.to_owned(), key: key.to_owned() }),
        (None, None) => Err(SourceError::NoKey { config_map: config_map.to_owned(), key: key.to_owned() }),
    }
}

/// The key beside a module's that holds its detached signature.
#[must_use]
pub fn signature_key(key: &str) -> String {
    format!("{key}.sig")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_apart_from_a_missing_key() {
        assert_eq!(from_config_map("m", "k", Some(Bytes::from_static(b"x")), None).unwrap(), "x");
        assert_eq!(from_config_map("m", "k", None, Some("AGFzbQ==")).unwrap_err().reason(), "SourceUnreadable");
        assert_eq!(from_config_map("m", "k", None, None).unwrap_err().reason(), "SourceNotFound");
    }
}
