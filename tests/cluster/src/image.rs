//! Container images made from files of this machine, without a registry and without a daemon.
//!
//! The result is a tar with one layer in the format that `docker save` writes and that containerd,
//! kind (`kind load image-archive`), k3d and podman import.

use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// One entry of an image.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A file of this machine, executable, at a path of the image. The libraries that a dynamically
    /// linked program needs come with it, at the paths where they lie here.
    Program {
        /// On this machine.
        from: PathBuf,
        /// In the image.
        to: PathBuf,
    },
    /// A small file with these contents.
    Text {
        /// In the image.
        to: PathBuf,
        /// What is in it.
        contents: String,
    },
    /// A symbolic link.
    Link {
        /// In the image.
        at: PathBuf,
        /// What it points to.
        to: PathBuf,
    },
}

/// Writes the image `name` (with a tag) to the file `tar`. Every image has a world-writable `/tmp` and
/// an `/etc/passwd` with root and nonroot (65532), so it runs as any user.
///
/// # Errors
/// When a file cannot be read or written.
pub fn build(name: &str, entries: &[Entry], entrypoint: &[&str], tar: &Path) -> Result<()> {
    let layer = layer(entries)?;
    let layer_digest = sha256(&layer);
    let config = json!({
        "architecture": architecture()?,
        "os": "linux",
        "config": {
            "Entrypoint": entrypoint,
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/"],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
    });
    let config = config.to_string();
    let config_file = format!("{}.json", sha256(config.as_bytes()));
    let layer_file = format!("{layer_digest}.tar");
    let manifest = json!([{"Config": config_file, "RepoTags": [name], "Layers": [layer_file]}]);

    if let Some(folder) = tar.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let file = File::create(tar).with_context(|| format!("creating {}", tar.display()))?;
    let mut archive = Builder::new(BufWriter::new(file));
    for (file, contents) in [(config_file.as_str(), config.as_bytes()), (layer_file.as_str(), &layer), ("manifest.json", manifest.to_string().as_bytes())] {
        append(&mut archive, Path::new(file), contents, 0o644)?;
    }
    archive.into_inner().and_then(|buffer| Ok(buffer.into_inner()?)).context("writing an image")?;
    Ok(())
}

fn layer(entries: &[Entry]) -> Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    let mut folder = header(EntryType::Directory, 0, 0o1777);
    archive.append_data(&mut folder, "tmp/", io::empty()).context("adding /tmp")?;
    let users = "root:x:0:0:root:/:/bin/sh\nnonroot:x:65532:65532:nonroot:/tmp:/bin/sh\n";
    append(&mut archive, Path::new("etc/passwd"), users.as_bytes(), 0o644)?;

    let mut libraries = Vec::new();
    for entry in entries {
        match entry {
            Entry::Program { from, to } => {
                add_file(&mut archive, from, to)?;
                libraries.extend(shared_libraries(from)?);
            }
            Entry::Text { to, contents } => {
                append(&mut archive, inside(to), contents.as_bytes(), 0o644)?;
            }
            Entry::Link { at, to } => {
                let mut link = header(EntryType::Symlink, 0, 0o777);
                archive.append_link(&mut link, inside(at), to).context("adding a link")?;
            }
        }
    }
    libraries.sort();
    libraries.dedup();
    for library in libraries {
        // The path as the program names it; what it points to is read.
        add_file(&mut archive, &library, &library)?;
    }
    archive.into_inner().context("writing a layer")
}

fn add_file(archive: &mut Builder<Vec<u8>>, from: &Path, to: &Path) -> Result<()> {
    let contents = fs::read(from).with_context(|| format!("reading {}", from.display()))?;
    append(archive, inside(to), &contents, 0o755)
}

fn append<W: io::Write>(archive: &mut Builder<W>, path: &Path, contents: &[u8], mode: u32) -> Result<()> {
    let mut header = header(EntryType::Regular, contents.len() as u64, mode);
    archive.append_data(&mut header, path, Cursor::new(contents)).with_context(|| format!("adding {}", path.display()))
}

/// Owned by root and without a time, so that equal files make an equal image.
fn header(kind: EntryType, size: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn inside(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// What `ldd` lists for a program; nothing for a static one.
fn shared_libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).env("LC_ALL", "C").output().context("running ldd")?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let is_static = |text: &str| text.contains("not a dynamic executable") || text.contains("statically linked");
    if is_static(&stdout) || is_static(&stderr) {
        return Ok(Vec::new());
    }
    if !output.status.success() {
        bail!("ldd {} failed: {}", program.display(), stderr.trim());
    }
    libraries_of(&stdout).with_context(|| format!("the libraries of {}", program.display()))
}

/// The paths in lines such as `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux.so.2 (0x…)`.
fn libraries_of(listing: &str) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for line in listing.lines().map(str::trim) {
        if line.contains("not found") {
            bail!("a library is missing on this machine: {line}");
        }
        let path = line.split_once("=> ").map_or(line, |(_, path)| path);
        if let Some(path) = path.split_whitespace().next().filter(|path| path.starts_with('/')) {
            paths.push(PathBuf::from(path));
        }
    }
    Ok(paths)
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("no name for the architecture {other} in images"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_the_listing() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let paths = libraries_of(listing).unwrap();
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(paths, expected.map(PathBuf::from));
        assert!(libraries_of("\tlibz.so.1 => not found\n").is_err());
    }

    #[test]
    fn equal_input_makes_an_equal_image_with_everything_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let entries = [
            Entry::Text { to: "/etc/motd".into(), contents: "hello".into() },
            Entry::Link { at: "/bin/sh".into(), to: "/bin/busybox".into() },
            Entry::Program { from: std::env::current_exe().unwrap(), to: "/test".into() },
        ];
        let tars = ["a.tar", "b.tar"].map(|name| {
            let path = dir.path().join(name);
            build("example/image:1", &entries, &["/test"], &path).unwrap();
            fs::read(path).unwrap()
        });
        assert!(tars[0] == tars[1]);

        let mut layer = Vec::new();
        let mut manifest = String::new();
        for entry in tar::Archive::new(tars[0].as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            if name == "manifest.json" {
                io::Read::read_to_string(&mut entry, &mut manifest).unwrap();
            } else if name.ends_with(".tar") {
                io::Read::read_to_end(&mut entry, &mut layer).unwrap();
            }
        }
        assert!(manifest.contains("example/image:1"));
        let files: Vec<_> = tar::Archive::new(layer.as_slice()).entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
        for expected in ["tmp/", "etc/passwd", "etc/motd", "bin/sh", "test"] {
            assert!(files.iter().any(|file| file == expected), "{expected} is not in {files:?}");
        }
        // This test is dynamically linked, so its loader came along.
        assert!(files.iter().any(|file| file.contains("ld-linux")), "{files:?}");
    }
}
