//! The output folder: who may write into it, and what a run leaves there.

mod atomic;
mod durable;
mod journal;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::Error;
use crate::manifest::{self, Manifest};
use crate::shard::Shard;
use crate::terminal::count;

pub(crate) use atomic::{is_a_stream, open_own, read_file, temp_file};
pub use atomic::{write_result, write_whole};
use durable::Unsynced;
use journal::{Access, Earlier, Journal};
pub use journal::{JournalEntry, PendingMaps, ResumeIndex, file_is, is_whole, read_journal};

/// The journal of a run under way. It carries the run's configuration, so that the next
/// run knows an interrupted one of its own kind from somebody else's files.
const JOURNAL: &str = ".actviz-run";
/// Maps whose pictures wait for other images, until the run has ended well.
const MAPS: &str = ".actviz-maps";
/// What is not whole yet begins so.
pub(crate) const UNFINISHED: &str = ".actviz-tmp-";

/// An output folder that this run may write into.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    shard: Option<Shard>,
    journal: Journal,
    /// Whether no other attempt at the same shard was under way.
    alone: bool,
    /// Files of an earlier run, relative to the folder.
    earlier: BTreeSet<String>,
    /// Whether anything was written that another run might want to know of.
    written: AtomicBool,
    /// The folder and those above it, as far as this run made them, innermost first.
    made: Vec<PathBuf>,
    /// What is not on the disk yet; `None` if nobody waits for it.
    unsynced: Option<Unsynced>,
}

/// The name of the journal: shards of one run have one each.
fn journal_name(shard: Option<Shard>) -> String {
    shard.map_or(JOURNAL.to_owned(), |shard| format!("{JOURNAL}.{}", shard.in_file_names()))
}

/// What the names of a run's unfinished files begin with.
fn unfinished_prefix(shard: Option<Shard>) -> String {
    shard.map_or(UNFINISHED.to_owned(), |shard| format!("{UNFINISHED}{}-", shard.in_file_names()))
}

impl Folder {
    /// Checks, without writing anything, that a run with this configuration (a
    /// manifest without pictures) would not be mixed into other files. Its own
    /// earlier output is no other file, be it finished or not.
    ///
    /// # Errors
    /// [`Error::Usage`] if the folder holds something else and `force` is not set.
    pub fn check(path: &Path, configuration: &Manifest, force: bool) -> Result<(), Error> {
        if force {
            return Ok(());
        }
        let present = files_below(path)?;
        // A damaged manifest is a file like any other.
        let finished = Manifest::read(path).ok().flatten();
        let journals = bookkeeping(path)?.into_iter().filter(|name| name.starts_with(JOURNAL));
        let started: Vec<Manifest> =
            journals.filter_map(|name| journal::configuration(&path.join(name))).collect();
        let parts = if configuration.shard.is_some() { manifest::parts(path)? } else { vec![] };
        let runs = started.iter().chain(&finished).chain(parts.iter().map(|(_, part)| part));
        if let Some(other) = runs.clone().find(|earlier| !earlier.same_configuration(configuration))
        {
            return Err(Error::usage_hint(
                format!(
                    "{} holds the pictures of another run (model {}, {}{})",
                    path.display(),
                    other.model,
                    count(other.images.len(), "image"),
                    other.shard.as_ref().map(|s| format!(", shard {}", s.of)).unwrap_or_default()
                ),
                "--force replaces them; -o DIR writes elsewhere",
            ));
        }
        let own = finished.as_ref().map(Manifest::files).unwrap_or_default();
        let made_of_it = [crate::insights::FILE_NAME, crate::report::FILE_NAME];
        let unfinished = !started.is_empty() || !parts.is_empty();
        let ours = |file: &String| {
            own.contains(file)
                || made_of_it.contains(&file.as_str())
                || parts.iter().any(|(name, _)| name == file)
                || (unfinished && is_output_name(file))
        };
        match present.iter().find(|file| !ours(file)) {
            None => Ok(()),
            Some(file) => Err(Error::usage_hint(
                format!("{} holds other files, e.g. {file}", path.display()),
                "-o DIR writes elsewhere; --force writes here and keeps them",
            )),
        }
    }

    /// Makes the folder if need be, and keeps other runs out of it until the value
    /// is dropped. Also gives what an interrupted run, or an earlier one, left whole.
    ///
    /// Two attempts at one shard may be under way at once: a scheduler may have given up
    /// one of them that is alive. They write the same bytes, each file whole.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be written, [`Error::Usage`] if another run
    /// is writing into it.
    pub fn open(path: &Path, configuration: &Manifest) -> Result<(Folder, ResumeIndex), Error> {
        let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let made = path.ancestors().take_while(is_missing).map(Path::to_owned).collect();
        fs::create_dir_all(path).map_err(Error::io("create the folder", path))?;
        let shard = configuration.shard.as_ref().map(|part| part.of);
        let file = path.join(journal_name(shard));
        if file.is_symlink() {
            return Err(leads_out(&file));
        }
        let (journal, alone) = match Journal::open(&file).map_err(Error::io("write into", path))? {
            Access::Alone(journal) => (journal, true),
            Access::Beside(journal) if shard.is_some() => (journal, false),
            Access::Beside(_) => {
                return Err(Error::usage_hint(
                    format!("another actviz is writing into {}", path.display()),
                    "wait for it, or write elsewhere with -o DIR",
                ));
            }
        };
        let maps = path.join(MAPS);
        if maps.is_symlink() {
            return Err(leads_out(&maps));
        }
        let (started, lines) = journal.read();
        let goes_on =
            started.as_ref().is_some_and(|earlier| earlier.same_provenance(configuration));
        let whole = Manifest::read(path).ok().flatten();
        let own = shard.and_then(|shard| manifest::part(path, shard).ok().flatten());
        let mut earlier = Vec::new();
        earlier.extend(whole.map(|manifest| Earlier { manifest, lines: Vec::new() }));
        earlier.extend(own.map(|manifest| Earlier { manifest, lines: Vec::new() }));
        earlier.extend(started.map(|manifest| Earlier { manifest, lines }));
        let kept = ResumeIndex::new(path, configuration, &earlier);
        if alone {
            remove_unfinished(path, &unfinished_prefix(shard))?;
            let begun = if goes_on { journal.resume() } else { journal.begin(configuration) };
            begun.map_err(Error::io("write", &file))?;
        }
        if shard.is_some() {
            journal.share();
        }
        let path = path.to_owned();
        let earlier = files_of(&earlier, shard);
        let written = AtomicBool::new(false);
        let unsynced = None;
        Ok((Folder { path, shard, journal, alone, earlier, written, made, unsynced }, kept))
    }

    /// From now on, what is noted as written outlives a loss of power.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be brought to the disk.
    pub fn outlive_power(&mut self) -> Result<(), Error> {
        let parents = self.made.iter().filter_map(|folder| folder.parent());
        let mut parents = parents.filter(|parent| !parent.as_os_str().is_empty());
        parents.try_for_each(durable::sync).map_err(self.failed())?;
        self.unsynced = Some(Unsynced::default());
        Ok(())
    }

    /// Waits until all that was written is on the disk, if that is wanted.
    fn sync(&self) -> Result<(), Error> {
        let synced = self.unsynced.as_ref().map_or(Ok(()), |files| files.sync(&self.path));
        synced.map_err(self.failed())
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> Error {
        Error::io("write into", &self.path)
    }

    /// Notes what has become whole, for a run that goes on after an interruption.
    ///
    /// # Errors
    /// [`Error::Io`], among them a full disk.
    pub fn note(&self, lines: &[JournalEntry]) -> Result<(), Error> {
        if lines.is_empty() {
            return Ok(());
        }
        let file = || self.path.join(journal_name(self.shard));
        self.written.store(true, Ordering::Relaxed);
        self.sync()?;
        let noted = self.journal.append(lines);
        let noted =
            noted.and_then(|()| self.unsynced.as_ref().map_or(Ok(()), |_| self.journal.sync()));
        noted.map_err(|error| Error::io("write", &file())(error))
    }

    /// The file for maps that wait for other images; no shard has any.
    pub fn maps(&self) -> PathBuf {
        self.path.join(MAPS)
    }

    /// Writes a file under its relative name (with `/` between folders): whole, or
    /// not at all.
    ///
    /// # Errors
    /// [`Error::Io`], among them a full disk.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let target = self.path.join(name);
        let parent = target.parent().unwrap_or(&self.path);
        self.check_links(name)?;
        let fail = |error| Error::io("write", &target)(error);
        fs::create_dir_all(parent).map_err(fail)?;
        let mut file = temp_file(parent, &unfinished_prefix(self.shard)).map_err(fail)?;
        file.as_file_mut().write_all(bytes).map_err(fail)?;
        file.persist(&target).map_err(|error| fail(error.error))?;
        self.written.store(true, Ordering::Relaxed);
        if let Some(unsynced) = &self.unsynced {
            unsynced.add(&target);
        }
        Ok(())
    }

    /// Whether a link between this folder and the file would lead elsewhere. The file
    /// itself may be one: it is replaced, not followed.
    fn check_links(&self, name: &str) -> Result<(), Error> {
        let folders = Path::new(name).ancestors().skip(1).map(|folder| self.path.join(folder));
        match folders.take_while(|folder| *folder != self.path).find(|folder| folder.is_symlink()) {
            Some(link) => Err(leads_out(&link)),
            None => Ok(()),
        }
    }

    /// Ends a run: removes what an earlier run left and this one did not write again,
    /// and writes the manifest last.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self, manifest: &Manifest) -> Result<(), Error> {
        let files = manifest.files();
        for stale in self.earlier.difference(&files) {
            if self.check_links(stale).is_err() {
                continue;
            }
            let file = self.path.join(stale);
            // Gone already is as good as removed; a folder that is not empty stays.
            let _ = fs::remove_file(&file);
            let below = file.ancestors().skip(1).take_while(|folder| *folder != self.path);
            for folder in below {
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
        }
        // The manifest promises the pictures, and its being there lets the journal go.
        self.sync()?;
        self.write(&manifest.file_name(), manifest.to_json().as_bytes())?;
        self.sync()?;
        self.remove_bookkeeping();
        Ok(())
    }

    /// Ends a run before its time: the manifest says what is there, unless it would say
    /// that a shard is done, and the journal stays for the run that goes on.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn pause(self, manifest: &Manifest) -> Result<(), Error> {
        match self.shard {
            Some(_) => Ok(()),
            None => {
                self.sync()?;
                self.write(manifest::FILE_NAME, manifest.to_json().as_bytes())?;
                self.sync()
            }
        }
    }

    fn remove_bookkeeping(&self) {
        let _ = fs::remove_file(self.path.join(journal_name(self.shard)));
        if self.shard.is_none() {
            let _ = fs::remove_file(self.maps());
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What earlier runs wrote and this one may remove. A manifest may come from anywhere. A
/// shard removes nothing of a whole run: that belongs to all shards.
fn files_of(earlier: &[Earlier], shard: Option<Shard>) -> BTreeSet<String> {
    let own = earlier
        .iter()
        .filter(|earlier| earlier.manifest.shard.as_ref().map(|part| part.of) == shard);
    let mut files = BTreeSet::new();
    for Earlier { manifest, lines } in own {
        files.extend(manifest.files());
        let pictures = lines.iter().flat_map(|line| &line.pictures);
        files.extend(pictures.flat_map(|p| [Some(p.file.clone()), p.raw.clone()]).flatten());
    }
    files.retain(|name| is_below(name) && is_output_name(name));
    files
}

impl Drop for Folder {
    /// A run that wrote nothing leaves nothing: neither its mark nor, if they are
    /// empty, the folder and those that it made above it.
    fn drop(&mut self) {
        if self.alone && self.earlier.is_empty() && !self.written.load(Ordering::Relaxed) {
            self.remove_bookkeeping();
            let _ = fs::remove_dir(&self.path);
            for folder in &self.made {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

/// Whether a run into the folder `out` might write over `input`.
pub fn would_overwrite(out: &Path, input: &Path) -> bool {
    // Nearly all names are none that a run gives; the system is asked about the others alone.
    let name = input.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    if name != manifest::FILE_NAME && !is_output_name(&name) && !input.is_symlink() {
        return false;
    }
    let inside = match (out.canonicalize(), input.canonicalize()) {
        (Ok(out), Ok(input)) => input.strip_prefix(out).map(Path::to_owned).ok(),
        // What does not exist yet is not overwritten.
        _ => None,
    };
    inside.is_some_and(|name| {
        let name = name.to_string_lossy();
        name == manifest::FILE_NAME || is_output_name(&name)
    })
}

/// A name that a run may give: `a_b.png`, `a_b.overlay.png`, `a_b.top2.npy`,
/// `mean_b.png`, `sheet.png`, in the folder or one below.
pub(crate) fn is_output_name(file: &str) -> bool {
    let name = file.rsplit('/').next().unwrap_or(file);
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbered = |stem: &str| {
        stem.split_once('_')
            .is_some_and(|(a, b)| (number(a) || matches!(a, "mean" | "std")) && number(b))
    };
    let Some((stem, rest)) = name.split_once('.') else { return false };
    let ending = rest.rsplit('.').next().unwrap_or(rest);
    matches!(ending, "png" | "npy") && (numbered(stem) || name == "sheet.png")
}

/// Whether a relative name stays below the folder that it is joined to.
pub(crate) fn is_below(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Whether a file below a folder is a link, or one of the folders on the way to it.
pub(crate) fn is_behind_a_link(folder: &Path, name: &str) -> bool {
    let all = Path::new(name).ancestors().filter(|part| !part.as_os_str().is_empty());
    all.map(|part| folder.join(part)).any(|part| part.is_symlink())
}

fn leads_out(link: &Path) -> Error {
    Error::usage_hint(
        format!("{} is a symbolic link, and might lead out of the folder", link.display()),
        "remove it, or write into another folder with -o DIR",
    )
}

/// What a killed run left half-written.
fn remove_unfinished(path: &Path, prefix: &str) -> Result<(), Error> {
    walk(path, &mut |file| {
        let own = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(prefix);
        if file.file_name().is_some_and(own) {
            let _ = fs::remove_file(file);
        }
    })
}

/// Removes what commands that were killed left half-written in a folder, and, if `below`, in
/// those in it; nothing where a run may be under way, or that is being written.
pub(crate) fn remove_leftovers(path: &Path, below: bool) -> Result<(), Error> {
    if !bookkeeping(path)?.is_empty() {
        return Ok(());
    }
    let mut remove = |file: &Path| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(UNFINISHED) && atomic::is_abandoned(file) {
            let _ = fs::remove_file(file);
        }
    };
    if below {
        return walk(path, &mut remove);
    }
    let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
    entries.filter_map(Result::ok).for_each(|entry| remove(&entry.path()));
    Ok(())
}

/// Whether a run into this folder has begun and not ended: it goes on, or was killed.
pub(crate) fn is_unfinished(path: &Path) -> bool {
    bookkeeping(path).is_ok_and(|names| !names.is_empty())
}

/// The files below a folder, relative, with `/`; without our own bookkeeping.
pub(crate) fn files_below(path: &Path) -> Result<BTreeSet<String>, Error> {
    let mut files = BTreeSet::new();
    walk(path, &mut |file| {
        let name = relative(path, file);
        let last = name.rsplit('/').next().unwrap_or(&name);
        if !last.starts_with(JOURNAL) && !last.starts_with(UNFINISHED) && name != MAPS {
            files.insert(name);
        }
    })?;
    Ok(files)
}

/// The names of our own bookkeeping in a folder.
fn bookkeeping(path: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read the folder", path)(error)),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.starts_with(JOURNAL)).collect())
}

fn relative(folder: &Path, file: &Path) -> String {
    let parts = file.strip_prefix(folder).unwrap_or(file).components();
    let parts: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

/// Visits every file below `path`; links are visited, not followed.
fn walk(path: &Path, visit: &mut dyn FnMut(&Path)) -> Result<(), Error> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("read the folder", path)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(Error::io("read the folder", path))?;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), visit)?,
            _ => visit(&entry.path()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Manifest {
        crate::manifest::tests::example(&[])
    }

    fn names_of(folder: &Path) -> Vec<String> {
        files_below(folder).expect("a folder").into_iter().collect()
    }

    #[test]
    fn a_finished_folder_holds_the_files_and_the_manifest_and_nothing_else() {
        let place = tempfile::tempdir().expect("a folder");
        let (folder, _) = Folder::open(place.path(), &empty()).expect("open");
        folder.write("cat/1_1.png", b"x").expect("write");
        folder.finish(&crate::manifest::tests::example(&["cat/1_1.png"])).expect("finish");
        assert_eq!(names_of(place.path()), ["cat/1_1.png", "manifest.json"]);
        assert!(!place.path().join(JOURNAL).exists());
    }

    #[test]
    fn a_run_that_wrote_nothing_leaves_no_folder_that_it_made() {
        let place = tempfile::tempdir().expect("a folder");
        fs::create_dir(place.path().join("there")).expect("a folder");
        for (out, left) in [("a/b/c", "a"), ("there/b/c", "there/b")] {
            let (folder, _) = Folder::open(&place.path().join(out), &empty()).expect("open");
            assert!(place.path().join(out).is_dir());
            drop(folder);
            assert!(!place.path().join(left).exists(), "{out}");
        }
        assert!(place.path().join("there").exists());
    }

    #[test]
    fn other_files_are_not_mixed_with_unless_forced() {
        let place = tempfile::tempdir().expect("a folder");
        fs::write(place.path().join("thesis.tex"), b"x").expect("write");
        let error = Folder::check(place.path(), &empty(), false).expect_err("other files");
        assert!(error.to_string().contains("thesis.tex"), "{error}");
        Folder::check(place.path(), &empty(), true).expect("forced");
    }

    #[test]
    fn the_same_run_may_run_again_and_another_may_not() {
        let place = tempfile::tempdir().expect("a folder");
        let (folder, _) = Folder::open(place.path(), &empty()).expect("open");
        folder.write("1_1.png", b"x").expect("write");
        folder.finish(&crate::manifest::tests::example(&["1_1.png"])).expect("finish");
        Folder::check(place.path(), &empty(), false).expect("the same");
        let other = Manifest { model: "other".to_owned(), ..empty() };
        let error = Folder::check(place.path(), &other, false).expect_err("another");
        assert!(error.to_string().contains("another run"), "{error}");
    }

    #[test]
    fn an_interrupted_run_may_run_again() {
        let place = tempfile::tempdir().expect("a folder");
        let (folder, _) = Folder::open(place.path(), &empty()).expect("open");
        folder.write("1_1.png", b"x").expect("write");
        fs::write(place.path().join(format!("{UNFINISHED}abc")), b"half").expect("write");
        drop(folder);
        Folder::check(place.path(), &empty(), false).expect("its own leftovers");
        let (folder, _) = Folder::open(place.path(), &empty()).expect("open");
        folder.finish(&crate::manifest::tests::example(&["1_1.png"])).expect("finish");
        assert_eq!(names_of(place.path()), ["1_1.png", "manifest.json"]);
        assert_eq!(fs::read_dir(place.path()).expect("a folder").count(), 2);
    }

    #[test]
    fn a_forced_run_removes_the_earlier_pictures_and_keeps_the_rest() {
        let place = tempfile::tempdir().expect("a folder");
        let (folder, _) = Folder::open(place.path(), &empty()).expect("open");
        folder.write("cat/1_1.png", b"x").expect("write");
        folder.finish(&crate::manifest::tests::example(&["cat/1_1.png"])).expect("finish");
        fs::write(place.path().join("notes.txt"), b"x").expect("write");
        let (folder, _) = Folder::open(place.path(), &empty()).expect("open");
        folder.write("1_1.png", b"y").expect("write");
        folder.finish(&crate::manifest::tests::example(&["1_1.png"])).expect("finish");
        assert_eq!(names_of(place.path()), ["1_1.png", "manifest.json", "notes.txt"]);
    }

    #[test]
    fn a_run_that_wrote_nothing_leaves_nothing() {
        let place = tempfile::tempdir().expect("a folder");
        let out = place.path().join("out");
        drop(Folder::open(&out, &empty()).expect("open"));
        assert!(!out.exists());
    }

    #[test]
    fn two_runs_do_not_write_into_one_folder() {
        let place = tempfile::tempdir().expect("a folder");
        let _first = Folder::open(place.path(), &empty()).expect("open");
        let error = Folder::open(place.path(), &empty()).expect_err("the second");
        assert!(error.to_string().contains("another actviz"), "{error}");
    }

    #[test]
    fn a_manifest_from_elsewhere_does_not_make_us_remove_other_files() {
        let place = tempfile::tempdir().expect("a folder");
        let out = place.path().join("out");
        fs::create_dir(&out).expect("a folder");
        for name in ["1_1.png", "out/notes.txt", "out/2_2.png"] {
            fs::write(place.path().join(name), b"precious").expect("a file");
        }
        let absolute = place.path().join("1_1.png").to_string_lossy().into_owned();
        let names = ["../1_1.png", "notes.txt", "2_2.png", &absolute];
        let planted = crate::manifest::tests::example(&names);
        fs::write(out.join(manifest::FILE_NAME), planted.to_json()).expect("a manifest");
        let (folder, _) = Folder::open(&out, &empty()).expect("open");
        folder.finish(&crate::manifest::tests::example(&[])).expect("finish");
        assert!(place.path().join("1_1.png").exists());
        assert_eq!(names_of(&out), ["manifest.json", "notes.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_in_the_output_folder_are_not_followed_out_of_it() {
        use std::os::unix::fs::symlink;
        let place = tempfile::tempdir().expect("a folder");
        let (out, other) = (place.path().join("out"), place.path().join("other"));
        for folder in [&out, &other] {
            fs::create_dir(folder).expect("a folder");
        }
        fs::write(other.join("file"), b"precious").expect("a file");
        symlink(other.join("file"), out.join("1_1.png")).expect("a link");
        symlink(&other, out.join("cat")).expect("a link");
        let (folder, _) = Folder::open(&out, &empty()).expect("open");
        folder.write("1_1.png", b"x").expect("the link itself is replaced");
        let error = folder.write("cat/1_1.png", b"x").expect_err("a linked folder");
        assert!(error.to_string().contains("symbolic link"), "{error}");
        drop(folder);
        fs::remove_file(out.join(JOURNAL)).expect("the mark of the run");
        symlink(other.join("file"), out.join(JOURNAL)).expect("a link");
        assert!(Folder::open(&out, &empty()).is_err());
        assert_eq!(fs::read(other.join("file")).expect("a file"), b"precious");
        assert_eq!(names_of(&other), ["file"]);
    }

    #[test]
    fn only_names_that_a_run_gives_are_taken_for_pictures() {
        for name in ["1_1.png", "cat/12_3.npy", "1_2.top3.overlay.png", "mean_4.png", "sheet.png"] {
            assert!(is_output_name(name), "{name}");
        }
        for name in ["1_.png", "cat_1.png", "1_1.jpg", "1_1", "my_sheet.png"] {
            assert!(!is_output_name(name), "{name}");
        }
    }
}
