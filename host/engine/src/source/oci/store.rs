//! What was pulled, on disk by digest, so that a restart and an outage of the registry lose nothing.
//! Touches one folder. Used by [`super::OciRegistry`], on threads for blocking work.
//!
//! What is read back is checked against its digest, as if it came from the registry again. What has no
//! digest, which manifest a tag meant, is believed: so the folder is the operator's alone. Manifests, tags and
//! signatures are kept for each scope (the namespace that pulled them): one that may not pull an artifact
//! does not get it from here either.

use crate::cache::{CacheError, is_private};
use crate::verify::cosign::CosignSignature;
use bytes::Bytes;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use weir_core::ids::Digest;

/// Bytes of a note: a tag's digest, or signatures.
const MOST_NOTE_BYTES: u64 = 8 << 20;

/// A folder of artifacts.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    max_bytes: u64,
    written: AtomicU64,
}

/// What a file holds besides blobs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Note<'a> {
    /// Which manifest a reference meant last.
    Tag(&'a str),
    /// That the scope may have a manifest: it has pulled it.
    Pulled(&'a Digest),
    /// Signatures of a manifest.
    Signatures(&'a Digest),
}

impl Note<'_> {
    fn key(self, scope: &str) -> String {
        match self {
            Self::Tag(reference) => format!("tag\n{scope}\n{reference}"),
            Self::Pulled(manifest) => format!("pulled\n{scope}\n{manifest}"),
            Self::Signatures(manifest) => format!("signatures\n{scope}\n{manifest}"),
        }
    }
}

impl Store {
    /// Opens the folder, and makes it when it is missing.
    pub(super) fn open(folder: &Path, max_bytes: u64) -> Result<Self, CacheError> {
        let io = |source| CacheError::Io { folder: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
        let found = fs::symlink_metadata(folder).map_err(io)?;
        if !found.is_dir() || !is_private(&found) {
            return Err(CacheError::NotPrivate { folder: folder.to_owned(), owner: found.uid(), mode: found.mode() & 0o7777 });
        }
        let store = Self { folder: folder.to_owned(), max_bytes, written: AtomicU64::new(0) };
        for entry in fs::read_dir(folder).map_err(io)?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "tmp") {
                drop(fs::remove_file(entry.path()));
            }
        }
        Ok(store)
    }

    /// Bytes by their digest; none when there are none of it, or damaged ones.
    pub(super) fn blob(&self, digest: &Digest, limit: u64) -> Option<Bytes> {
        let path = self.blob_path(digest);
        let bytes = self.read(&path, limit)?;
        if Digest::of(&bytes) == *digest {
            return Some(bytes.into());
        }
        tracing::warn!(file = %path.display(), "this cached part of an artifact is damaged and is pulled again");
        drop(fs::remove_file(&path));
        None
    }

    /// Keeps bytes. A failure costs a pull at the next start and nothing else.
    pub(super) fn put_blob(&self, digest: &Digest, bytes: &[u8]) {
        self.write(&self.blob_path(digest), bytes);
    }

    /// The digest in a note.
    pub(super) fn digest(&self, scope: &str, note: Note<'_>) -> Option<Digest> {
        let bytes = self.read(&self.note_path(scope, note), MOST_NOTE_BYTES)?;
        std::str::from_utf8(&bytes).ok()?.trim().parse().ok()
    }

    /// Keeps a digest.
    pub(super) fn put_digest(&self, scope: &str, note: Note<'_>, digest: &Digest) {
        self.write(&self.note_path(scope, note), digest.to_string().as_bytes());
    }

    /// Signatures of a manifest that were fetched before.
    pub(super) fn signatures(&self, scope: &str, manifest: &Digest) -> Option<Vec<CosignSignature>> {
        serde_json::from_slice(&self.read(&self.note_path(scope, Note::Signatures(manifest)), MOST_NOTE_BYTES)?).ok()
    }

    /// Keeps signatures.
    pub(super) fn put_signatures(&self, scope: &str, manifest: &Digest, signatures: &[CosignSignature]) {
        if let Ok(json) = serde_json::to_vec(signatures) {
            self.write(&self.note_path(scope, Note::Signatures(manifest)), &json);
        }
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{}.blob", hex::encode(digest.as_bytes())))
    }

    fn note_path(&self, scope: &str, note: Note<'_>) -> PathBuf {
        self.folder.join(format!("{}.note", hex::encode(Digest::of(note.key(scope).as_bytes()).as_bytes())))
    }

    fn read(&self, path: &Path, limit: u64) -> Option<Vec<u8>> {
        let file = File::open(path).ok()?;
        let mut bytes = Vec::new();
        (&file).take(limit.saturating_add(1)).read_to_end(&mut bytes).ok()?;
        // The time of last use decides what goes first.
        drop(file.set_modified(SystemTime::now()));
        (bytes.len() as u64 <= limit).then_some(bytes)
    }

    fn write(&self, path: &Path, bytes: &[u8]) {
        let temporary = self.folder.join(format!("{}-{}.tmp", std::process::id(), self.written.fetch_add(1, Ordering::Relaxed)));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        })();
        if let Err(error) = written {
            drop(fs::remove_file(&temporary));
            tracing::warn!(file = %path.display(), %error, "a part of an artifact could not be kept on disk");
        }
        self.evict(path);
    }

    /// Removes what was used longest ago until the folder fits; never what was just written.
    fn evict(&self, keep: &Path) {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.metadata().ok().map(|found| (found.modified().unwrap_or(SystemTime::UNIX_EPOCH), found.len(), entry.path())))
            .collect();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        if total <= self.max_bytes {
            return;
        }
        files.sort();
        for (_, bytes, path) in files {
            if total <= self.max_bytes {
                break;
            }
            if path != keep && fs::remove_file(&path).is_ok() {
                total = total.saturating_sub(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_comes_back_whole_or_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("oci"), 1 << 20).unwrap();
        let digest = Digest::of(b"module");
        store.put_blob(&digest, b"module");
        assert_eq!(store.blob(&digest, 100).unwrap(), "module");
        assert_eq!(store.blob(&digest, 5), None, "larger than asked for");
        fs::write(store.blob_path(&digest), b"mutant").unwrap();
        assert_eq!(store.blob(&digest, 100), None);
    }

    #[test]
    fn notes_are_kept_for_each_scope() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("oci"), 1 << 20).unwrap();
        let digest = Digest::of(b"manifest");
        store.put_digest("team-a", Note::Tag("r/a:1"), &digest);
        assert_eq!(store.digest("team-a", Note::Tag("r/a:1")), Some(digest));
        assert_eq!(store.digest("team-b", Note::Tag("r/a:1")), None);
        let signatures = vec![CosignSignature::Bundle { json: "{}".to_owned() }];
        store.put_signatures("team-a", &digest, &signatures);
        assert_eq!(store.signatures("team-a", &digest), Some(signatures));
    }

    #[test]
    fn the_folder_stays_within_its_bound() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(&temp.path().join("oci"), 2500).unwrap();
        let digests: Vec<Digest> = (0..4_u8).map(|n| Digest::of(&vec![n; 1000])).collect();
        for (n, digest) in (0..4_u8).zip(&digests) {
            store.put_blob(digest, &vec![n; 1000]);
            File::options()
                .append(true)
                .open(store.blob_path(digest))
                .unwrap()
                .set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n.into()))
                .unwrap();
        }
        let kept: Vec<bool> = digests.iter().map(|digest| store.blob(digest, 1000).is_some()).collect();
        assert_eq!(kept, [false, false, true, true]);
    }
}
