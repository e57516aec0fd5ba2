//! What is asked of a registry: each question is put to one endpoint after the other until one answers.
//! Touches the network. Used by [`super::OciRegistry`].

use super::artifact::{self, Part};
use super::error::OciError;
use super::registry::Session;
use crate::verify::cosign::CosignSignature;
use bytes::Bytes;
use weir_core::ids::Digest;

/// What an endpoint is asked; a trait and no closure, because its futures must be `Send` for every session.
pub(super) trait Question: Sync {
    /// What comes back.
    type Answer: Send;

    /// Asks one endpoint.
    fn ask(&self, session: &mut Session) -> impl Future<Output = Result<Self::Answer, OciError>> + Send;
}

/// Which manifest a tag means.
pub(super) struct Resolve<'a> {
    pub(super) tag: &'a str,
}

impl Question for Resolve<'_> {
    type Answer = Digest;

    async fn ask(&self, session: &mut Session) -> Result<Digest, OciError> {
        session.resolve(self.tag).await
    }
}

/// A manifest and its layer.
pub(super) struct Pull<'a> {
    pub(super) manifest: &'a Digest,
    /// Bytes that the layer may have.
    pub(super) limit: u64,
}

impl Question for Pull<'_> {
    /// The manifest, what it says of the layer, and the layer.
    type Answer = (Bytes, Part, Bytes);

    async fn ask(&self, session: &mut Session) -> Result<Self::Answer, OciError> {
        let raw = session.manifest(self.manifest).await?;
        let part = artifact::component(&raw, self.limit)?;
        let bytes = session.blob(&part.digest, part.bytes).await?;
        Ok((raw, part, bytes))
    }
}

/// What cosign put beside a manifest.
pub(super) struct SignaturesOf<'a> {
    pub(super) manifest: &'a Digest,
}

impl Question for SignaturesOf<'_> {
    type Answer = Vec<CosignSignature>;

    async fn ask(&self, session: &mut Session) -> Result<Self::Answer, OciError> {
        let tag = self.manifest.to_string().replace(':', "-");
        let mut found = Vec::new();
        if let Some(raw) = session.optional(&format!("manifests/{tag}.sig")).await? {
            collect(session, &raw, &mut found).await?;
        }
        // Bundles refer to the manifest; a registry without that API keeps the list under a tag.
        let referrers = match session.optional(&format!("referrers/{}", self.manifest)).await {
            Ok(Some(index)) => Some(index),
            Ok(None) => session.optional(&format!("manifests/{tag}")).await?,
            Err(error) if error.is_outage() => return Err(error),
            Err(_) => None,
        };
        for bundle in referrers.map(|index| artifact::bundles(&index)).unwrap_or_default() {
            let raw = session.manifest(&bundle).await?;
            collect(session, &raw, &mut found).await?;
        }
        Ok(found)
    }
}

async fn collect(session: &mut Session, manifest: &[u8], found: &mut Vec<CosignSignature>) -> Result<(), OciError> {
    for entry in artifact::signatures(manifest) {
        let bytes = session.blob(&entry.part.digest, entry.part.bytes).await?;
        let Ok(text) = String::from_utf8(bytes.to_vec()) else { continue };
        found.push(match entry.signature {
            Some(signature) => CosignSignature::Simple { payload: text, signature },
            None => CosignSignature::Bundle { json: text },
        });
    }
    Ok(())
}
