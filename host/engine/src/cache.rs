//! Compiled code on disk, so that a start of the operator does not compile again what it compiled
//! before. Touches one folder. Used by [`crate::engine`], off the decision path.
//!
//! Loading compiled code means running it, so the folder is trusted like the binary itself: it must
//! belong to the operator's user and be writable by nobody else (checked at every use, as is each
//! file). A digest over the whole file, its engine and its component keeps damaged, cut off and
//! misplaced files out; it is no signature, and does not have to be: who can write here is already
//! the operator. Every miss, for whatever reason, means compiling.

use crate::config::CacheConfig;
use nix::fcntl::OFlag;
use sha2::{Digest as _, Sha256};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use weir_core::ids::Digest;

const MAGIC: &[u8; 8] = b"weir-cw1";
const EXTENSION: &str = "cwasm";

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be made or read.
    #[error("{}: {source}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Others may write to it.
    #[error("{} holds code that the operator runs, so it must be a folder that belongs to the operator's user and is writable by nobody else (mode 0700); it belongs to user {owner} and has mode {mode:04o}", folder.display())]
    NotPrivate {
        /// The folder.
        folder: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its mode bits.
        mode: u32,
    },
}

/// A folder of compiled components.
#[derive(Debug)]
pub(crate) struct DiskCache {
    folder: PathBuf,
    max_bytes: u64,
    fingerprint: [u8; 32],
    written: AtomicU64,
}

impl DiskCache {
    /// Opens the folder, and makes it when it is missing.
    pub(crate) fn open(config: &CacheConfig, engine: &wasmtime::Engine) -> Result<Self, CacheError> {
        let io = |source| CacheError::Io { folder: config.folder.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&config.folder).map_err(io)?;
        let mut hasher = ShaHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let cache = Self { folder: config.folder.clone(), max_bytes: config.max_bytes, fingerprint: hasher.0.finalize().into(), written: AtomicU64::new(0) };
        cache.private()?;
        cache.sweep(|path| path.extension().is_some_and(|extension| extension == "tmp"));
        Ok(cache)
    }

    /// The compiled code of a component; none when there is none, or none that is whole.
    pub(crate) fn read(&self, component: &Digest) -> Option<Vec<u8>> {
        let path = self.path(component);
        match self.read_checked(component, &path) {
            Ok(code) => Some(code),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "compiled policy is not used and compiled again");
                self.forget(component);
                None
            }
        }
    }

    /// Keeps compiled code. A failure costs a compilation at the next start and nothing else.
    pub(crate) fn write(&self, component: &Digest, code: &[u8]) {
        let path = self.path(component);
        if let Err(error) = self.write_atomically(component, &path, code) {
            tracing::warn!(file = %path.display(), %error, "compiled policy could not be kept on disk");
        }
        self.evict(&path);
    }

    /// Removes a file that cannot be used.
    pub(crate) fn forget(&self, component: &Digest) {
        // A file that cannot be removed is checked again at its next use.
        drop(fs::remove_file(self.path(component)));
    }

    fn path(&self, component: &Digest) -> PathBuf {
        let engine = hex::encode(self.fingerprint.get(..8).unwrap_or_default());
        self.folder.join(format!("{}-{engine}.{EXTENSION}", hex::encode(component.as_bytes())))
    }

    fn private(&self) -> Result<(), CacheError> {
        let io = |source| CacheError::Io { folder: self.folder.clone(), source };
        let found = fs::symlink_metadata(&self.folder).map_err(io)?;
        if found.is_dir() && is_private(&found) {
            return Ok(());
        }
        Err(CacheError::NotPrivate { folder: self.folder.clone(), owner: found.uid(), mode: found.mode() & 0o7777 })
    }

    fn read_checked(&self, component: &Digest, path: &Path) -> std::io::Result<Vec<u8>> {
        self.private().map_err(std::io::Error::other)?;
        let mut file = OpenOptions::new().read(true).custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() || !is_private(&found) {
            return Err(std::io::Error::other("it is not a file that only the operator may write"));
        }
        let mut header = [0; 40];
        file.read_exact(&mut header)?;
        let (magic, digest) = header.split_at(MAGIC.len());
        let mut code = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0));
        file.read_to_end(&mut code)?;
        if magic != MAGIC || digest != self.seal(component, &code) {
            return Err(std::io::Error::other("it is damaged: its digest does not match"));
        }
        // The time of last use decides what is evicted; when it cannot be set, the order is a little worse.
        drop(file.set_modified(SystemTime::now()));
        Ok(code)
    }

    fn write_atomically(&self, component: &Digest, path: &Path, code: &[u8]) -> std::io::Result<()> {
        self.private().map_err(std::io::Error::other)?;
        let count = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = self.folder.join(format!("{}-{count}.tmp", std::process::id()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(MAGIC)?;
            file.write_all(&self.seal(component, code))?;
            file.write_all(code)?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            // Makes the new name durable; without it the file may be missing after a crash, which is a miss.
            File::open(&self.folder)?.sync_all()
        })();
        if written.is_err() {
            drop(fs::remove_file(&temporary));
        }
        written
    }

    fn seal(&self, component: &Digest, code: &[u8]) -> [u8; 32] {
        let mut sha = Sha256::new();
        sha.update(MAGIC);
        sha.update(self.fingerprint);
        sha.update(component.as_bytes());
        sha.update(code);
        sha.finalize().into()
    }

    /// Removes the files that were used longest ago until the folder fits; never the one just written.
    fn evict(&self, keep: &Path) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == EXTENSION))
            .filter_map(|entry| entry.metadata().ok().map(|found| (found, entry.path())))
            .map(|(found, path)| (found.modified().unwrap_or(SystemTime::UNIX_EPOCH), found.len(), path))
            .collect();
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= self.max_bytes {
                break;
            }
            if path != keep && fs::remove_file(&path).is_ok() {
                total = total.saturating_sub(bytes);
            }
        }
    }

    fn sweep(&self, unwanted: impl Fn(&Path) -> bool) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if unwanted(&entry.path()) {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

pub(crate) fn is_private(found: &fs::Metadata) -> bool {
    found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & 0o022 == 0
}

/// Feeds what is hashed into SHA-256, so that the fingerprint is the same in every process.
struct ShaHasher(Sha256);

impl Hasher for ShaHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn open(folder: &Path, max_bytes: u64) -> Result<DiskCache, CacheError> {
        DiskCache::open(&CacheConfig { folder: folder.to_owned(), max_bytes }, &wasmtime::Engine::default())
    }

    #[test]
    fn what_was_written_is_read_back_and_a_changed_byte_is_a_miss() {
        let temp = tempfile::tempdir().unwrap();
        let cache = open(&temp.path().join("code"), 1 << 20).unwrap();
        let component = Digest::of(b"component");
        assert_eq!(cache.read(&component), None);
        cache.write(&component, b"machine code");
        assert_eq!(cache.read(&component).unwrap(), b"machine code");
        let path = cache.path(&component);
        for at in [0, 9, 45] {
            cache.write(&component, b"machine code");
            let mut bytes = fs::read(&path).unwrap();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert_eq!(cache.read(&component), None, "byte {at}");
        }
        cache.write(&component, b"machine code");
        fs::rename(&path, cache.path(&Digest::of(b"other"))).unwrap();
        assert_eq!(cache.read(&Digest::of(b"other")), None, "code of another component");
    }

    #[test]
    fn the_oldest_files_go_when_the_folder_is_full() {
        let temp = tempfile::tempdir().unwrap();
        let cache = open(&temp.path().join("code"), 2600).unwrap();
        let digests: Vec<Digest> = (0..4_u8).map(|n| Digest::of(&[n])).collect();
        for (n, digest) in digests.iter().enumerate() {
            cache.write(digest, &[0; 1000]);
            if let Ok(file) = File::options().append(true).open(cache.path(digest)) {
                file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(n as u64)).unwrap();
            }
        }
        let kept: Vec<bool> = digests.iter().map(|digest| cache.read(digest).is_some()).collect();
        assert_eq!(kept, [false, false, true, true]);
    }

    #[test]
    fn a_folder_that_others_may_write_to_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("code");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(open(&folder, 1).unwrap_err().to_string().contains("0777"));
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        let cache = open(&folder, 1 << 20).unwrap();
        let component = Digest::of(b"component");
        cache.write(&component, b"code");
        fs::set_permissions(cache.path(&component), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(cache.read(&component), None);
    }
}
