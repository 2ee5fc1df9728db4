//! Container images without a container builder: a docker archive of plain tar layers.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::tools::hex;

/// What goes into an image, and how it runs.
#[derive(Debug, Clone)]
pub struct Image {
    /// The layer below the programs; none for a static program.
    pub base: Option<PathBuf>,
    /// (file on this machine, absolute path in the image).
    pub binaries: Vec<(PathBuf, String)>,
    /// E.g. `switchover.dev/switchover:dev`.
    pub reference: String,
    pub entrypoint: Vec<String>,
    /// `uid:gid`.
    pub user: String,
}

/// The user of images that need no rights, as in the "distroless" images.
pub const NONROOT: &str = "65532:65532";

impl Image {
    /// An image of dynamically linked programs at /usr/local/bin, which runs the first one without rights.
    pub fn of_programs(base: &Path, programs: &[PathBuf], reference: &str) -> Result<Image> {
        let inside = |program: &PathBuf| -> Result<(PathBuf, String)> {
            let name = program.file_name().context("the program has no file name")?.to_string_lossy();
            Ok((program.clone(), format!("/usr/local/bin/{name}")))
        };
        let binaries: Vec<_> = programs.iter().map(inside).collect::<Result<_>>()?;
        Ok(Image {
            base: Some(base.to_owned()),
            entrypoint: binaries.iter().take(1).map(|(_, inside)| inside.clone()).collect(),
            binaries,
            reference: reference.to_owned(),
            user: NONROOT.to_owned(),
        })
    }

    /// Writes the image as a docker archive, which `ctr images import` and `docker load` read.
    pub fn write(&self, out: &Path) -> Result<()> {
        ensure!(
            self.reference.contains('/') && self.reference.rsplit('/').next().is_some_and(|name| name.contains(':')),
            "the image name {:?} must look like HOST/NAME:TAG, for example switchover.dev/switchover:dev",
            self.reference
        );
        if let Some(parent) = out.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        let mut layers = Vec::new();
        if let Some(base) = &self.base {
            layers.push(fs::read(base).with_context(|| format!("cannot read the base layer {}", base.display()))?);
        }
        layers.push(self.program_layer()?);

        let digests: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let config = self.config(&digests);
        let config_name = format!("{}.json", digest(&config));
        let layer_names: Vec<String> = digests.iter().map(|digest| format!("{digest}.tar")).collect();
        let manifest =
            json!([{"Config": config_name, "RepoTags": [self.reference], "Layers": layer_names}]).to_string();

        // Beside the target and renamed, so that nobody imports half an image.
        let partial = out.with_extension("partial");
        let file = File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
        let mut archive = Builder::new(io::BufWriter::new(file));
        add_file(&mut archive, &config_name, &config, 0o644)?;
        for (name, layer) in layer_names.iter().zip(&layers) {
            add_file(&mut archive, name, layer, 0o644)?;
        }
        add_file(&mut archive, "manifest.json", manifest.as_bytes(), 0o644)?;
        archive.into_inner()?.flush()?;
        fs::rename(&partial, out).with_context(|| format!("cannot write {}", out.display()))
    }

    fn program_layer(&self) -> Result<Vec<u8>> {
        let mut layer = Builder::new(Vec::new());
        for (program, inside) in &self.binaries {
            let content = fs::read(program)
                .with_context(|| format!("cannot read the program {}; is it built?", program.display()))?;
            add_file(&mut layer, inside.trim_start_matches('/'), &content, 0o755)?;
        }
        Ok(layer.into_inner()?)
    }

    fn config(&self, digests: &[String]) -> Vec<u8> {
        let layers: Vec<String> = digests.iter().map(|digest| format!("sha256:{digest}")).collect();
        let history: Vec<_> = digests.iter().map(|_| json!({"created": EPOCH, "created_by": "lab image"})).collect();
        json!({
            "architecture": match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other },
            "os": "linux",
            "created": EPOCH,
            "config": {
                "Entrypoint": self.entrypoint,
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
                "User": self.user,
                "WorkingDir": "/",
            },
            "rootfs": {"type": "layers", "diff_ids": layers},
            "history": history,
        })
        .to_string()
        .into_bytes()
    }
}

/// Images are the same whenever they are built.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// The shared libraries that a Rust program on the gnu target may ask for: the file names begin with one of these.
const LIBRARIES: [&str; 11] = [
    "ld-linux",
    "libc.so",
    "libm.so",
    "libmvec.so",
    "libgcc_s.so",
    "libresolv.so",
    "libnss_files.so",
    "libnss_dns.so",
    "libpthread.so",
    "libdl.so",
    "librt.so",
];

/// Writes the base layer: the C library out of unpacked Debian packages, the few files under /etc that it reads, /tmp.
pub fn write_base_layer(packages: &Path, out: &Path) -> Result<()> {
    let mut libraries = BTreeMap::new();
    collect_libraries(packages, packages, &mut libraries)?;
    ensure!(
        libraries.keys().any(|name| name.contains("ld-linux")),
        "no dynamic loader in the packages below {}; remove that directory and run `lab prepare` again",
        packages.display()
    );
    let mut layer = Builder::new(Vec::new());
    for (name, path) in &libraries {
        match fs::read_link(path) {
            Ok(target) => add_link(&mut layer, name, &target)?,
            Err(_) => add_file(&mut layer, name, &fs::read(path)?, 0o755)?,
        }
    }
    add_file(
        &mut layer,
        "etc/passwd",
        b"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin\n",
        0o644,
    )?;
    add_file(&mut layer, "etc/group", b"root:x:0:\nnonroot:x:65532:\n", 0o644)?;
    add_file(&mut layer, "etc/nsswitch.conf", b"hosts: files dns\n", 0o644)?;
    add_directory(&mut layer, "tmp/", 0o1777)?;
    let partial = out.with_extension("partial");
    fs::write(&partial, layer.into_inner()?).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, out).with_context(|| format!("cannot write {}", out.display()))
}

fn collect_libraries(root: &Path, directory: &Path, found: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.is_symlink() {
            collect_libraries(root, &path, found)?;
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if LIBRARIES.iter().any(|library| name.starts_with(library)) {
            found.insert(path.strip_prefix(root)?.to_string_lossy().into_owned(), path);
        }
    }
    Ok(())
}

fn header(kind: EntryType, size: usize, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn add_file(archive: &mut Builder<impl Write>, name: &str, content: &[u8], mode: u32) -> Result<()> {
    archive.append_data(&mut header(EntryType::Regular, content.len(), mode), name, content)?;
    Ok(())
}

fn add_link(archive: &mut Builder<impl Write>, name: &str, target: &Path) -> Result<()> {
    archive.append_link(&mut header(EntryType::Symlink, 0, 0o777), name, target)?;
    Ok(())
}

fn add_directory(archive: &mut Builder<impl Write>, name: &str, mode: u32) -> Result<()> {
    archive.append_data(&mut header(EntryType::Directory, 0, mode), name, io::empty())?;
    Ok(())
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The name that an image archive carries, e.g. `switchover.dev/switchover:dev`.
pub fn reference_of(archive: &Path) -> Result<String> {
    let file = File::open(archive).with_context(|| format!("cannot read the image {}", archive.display()))?;
    let mut archive_reader = tar::Archive::new(file);
    for entry in archive_reader.entries_with_seek()? {
        let mut entry = entry?;
        if entry.path()?.as_ref() == Path::new("manifest.json") {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            let manifest: serde_json::Value = serde_json::from_str(&text)?;
            if let Some(reference) = manifest[0]["RepoTags"][0].as_str() {
                return Ok(reference.to_owned());
            }
        }
    }
    anyhow::bail!("{} is not an image archive: it holds no manifest.json with a name", archive.display())
}
