//! Finds and reads the one file that a path means, and never one outside the operator's folder for
//! policies. Touches files under that folder. Called by [`super::folder`].

use super::SourceError;
use nix::fcntl::OFlag;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

/// Endings of component files.
const ENDINGS: [&str; 3] = [".wasm", ".wasm.gz", ".wasm.zst"];

/// What a signature file has after the module's name.
pub(super) const SIGNATURE_ENDING: &str = ".sig";

/// A module and the signature beside it, each as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// The module.
    pub(super) module: Stamp,
    /// The signature, when there is one.
    pub(super) signature: Option<Stamp>,
}

/// What tells one state of a file from the next without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    path: PathBuf,
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A path inside the root, as it was asked for: not yet resolved, and without `..`.
pub(super) fn inside(root: &Path, path: &Path) -> Result<PathBuf, SourceError> {
    let outside = || SourceError::OutsideRoot { path: path.to_owned(), root: root.to_owned() };
    let relative = if path.is_absolute() { path.strip_prefix(root).map_err(|_| outside())? } else { path };
    if relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) { Ok(root.join(relative)) } else { Err(outside()) }
}

/// The file behind a path: the path itself, or the one component in the folder that it names.
pub(super) fn locate(root: &Path, path: &Path) -> Result<Fingerprint, SourceError> {
    let asked = inside(root, path)?;
    let found = resolve(root, &asked)?;
    if !found.is_dir() {
        return fingerprint(root, found);
    }
    let entries = fs::read_dir(&found).map_err(|error| unreadable(&asked, &error))?;
    let names = entries.flatten().map(|entry| entry.file_name());
    // Names that begin with a dot are Kubernetes' own (`..data`) or hidden.
    let named = |name: &str| !name.starts_with('.') && ENDINGS.iter().any(|ending| name.ends_with(ending));
    let mut files: Vec<_> = names.filter(|name| name.to_str().is_some_and(named)).collect();
    match (files.pop(), files.len()) {
        (Some(name), 0) => fingerprint(root, resolve(root, &asked.join(name))?),
        (None, _) => Err(SourceError::NotOne { path: asked, found: 0 }),
        (Some(_), others) => Err(SourceError::NotOne { path: asked, found: others + 1 }),
    }
}

/// Reads a file, up to a limit. None when it is no longer the same file.
pub(super) fn read(root: &Path, wanted: &Stamp, limit: u64) -> Result<Option<Vec<u8>>, SourceError> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let path = &wanted.path;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(|error| unreadable(path, &error))?;
    let found = file.metadata().map_err(|error| unreadable(path, &error))?;
    if !found.is_file() {
        return Err(SourceError::Unreadable { path: path.clone(), detail: "it is not a regular file".to_owned() });
    }
    still_inside(root, path, &file)?;
    if of(path.clone(), &found) != *wanted {
        return Ok(None);
    }
    if found.len() > limit {
        return Err(SourceError::TooLarge { path: path.clone(), limit });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0));
    (&file).take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > limit {
        return Err(SourceError::TooLarge { path: path.clone(), limit });
    }
    let after = file.metadata().map_err(|error| unreadable(path, &error))?;
    Ok((of(path.clone(), &after) == *wanted).then_some(bytes))
}

/// Follows symbolic links and refuses what they lead to outside the root.
fn resolve(root: &Path, asked: &Path) -> Result<PathBuf, SourceError> {
    let real_root = root.canonicalize().map_err(|error| unreadable(root, &error))?;
    let found = asked.canonicalize().map_err(|error| unreadable(asked, &error))?;
    if found.starts_with(&real_root) { Ok(found) } else { Err(SourceError::OutsideRoot { path: asked.to_owned(), root: root.to_owned() }) }
}

/// A folder on the way may have been exchanged for a link between resolving and opening: what counts
/// is where the opened file lies.
fn still_inside(root: &Path, path: &Path, file: &File) -> Result<(), SourceError> {
    let Ok(opened) = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())) else {
        return Ok(());
    };
    let real_root = root.canonicalize().map_err(|error| unreadable(root, &error))?;
    if opened.starts_with(&real_root) { Ok(()) } else { Err(SourceError::OutsideRoot { path: path.to_owned(), root: root.to_owned() }) }
}

/// The signature is looked for beside the file that the module's path leads to, so that of a mounted
/// ConfigMap both are of one version.
fn fingerprint(root: &Path, path: PathBuf) -> Result<Fingerprint, SourceError> {
    let mut beside = path.clone().into_os_string();
    beside.push(SIGNATURE_ENDING);
    let signature = resolve(root, Path::new(&beside)).and_then(stamp).ok();
    Ok(Fingerprint { module: stamp(path)?, signature })
}

fn stamp(path: PathBuf) -> Result<Stamp, SourceError> {
    let found = fs::symlink_metadata(&path).map_err(|error| unreadable(&path, &error))?;
    Ok(of(path, &found))
}

fn of(path: PathBuf, found: &fs::Metadata) -> Stamp {
    Stamp {
        path,
        device: found.dev(),
        inode: found.ino(),
        bytes: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> SourceError {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => SourceError::Missing { path: path.to_owned() },
        _ => SourceError::Unreadable { path: path.to_owned(), detail: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_path_that_leaves_the_root_is_refused_however_it_does() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(temp.path().join("secret.wasm"), b"secret").unwrap();
        symlink("../secret.wasm", root.join("relative.wasm")).unwrap();
        symlink(temp.path().join("secret.wasm"), root.join("absolute.wasm")).unwrap();
        symlink("..", root.join("folder")).unwrap();
        for path in ["../secret.wasm", "a/../../secret.wasm", "relative.wasm", "absolute.wasm", "folder/secret.wasm", "folder"] {
            assert_eq!(locate(&root, Path::new(path)).unwrap_err().reason(), "SourceRefused", "{path}");
        }
        assert_eq!(locate(&root, &temp.path().join("secret.wasm")).unwrap_err().reason(), "SourceRefused");
    }

    #[test]
    fn a_link_inside_the_root_is_followed_and_a_folder_means_its_one_component() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path();
        fs::create_dir(root.join("team")).unwrap();
        fs::write(root.join("team/notes.txt"), b"").unwrap();
        assert_eq!(locate(root, Path::new("team")).unwrap_err(), SourceError::NotOne { path: root.join("team"), found: 0 });
        fs::write(root.join("team/a.wasm.gz"), b"bytes").unwrap();
        symlink("team/a.wasm.gz", root.join("link")).unwrap();
        for path in ["team", "link", "team/a.wasm.gz"] {
            let found = locate(root, Path::new(path)).unwrap();
            assert_eq!(read(root, &found.module, 10).unwrap().unwrap(), b"bytes");
            assert_eq!(read(root, &found.module, 4).unwrap_err().reason(), "TooLarge");
        }
        fs::write(root.join("team/b.wasm"), b"").unwrap();
        assert_eq!(locate(root, Path::new("team")).unwrap_err(), SourceError::NotOne { path: root.join("team"), found: 2 });
    }

    #[test]
    fn a_pipe_is_refused_and_does_not_block() {
        let temp = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&temp.path().join("p.wasm"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let found = locate(temp.path(), Path::new("p.wasm")).unwrap();
        assert_eq!(read(temp.path(), &found.module, 10).unwrap_err().reason(), "SourceUnreadable");
    }
}
