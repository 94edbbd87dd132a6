//! Where reports may be written: never over what is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::diff_image;
use crate::compare::side;
use crate::error::Error;
use crate::manifest;
use crate::output::{self, file_is};

const HINT: &str = "write reports beside GOLDEN and NEW, not into them";

/// What a comparison was asked to write.
#[derive(Clone, Debug, Default)]
pub struct Targets<'a> {
    /// Single files, each with its flag.
    pub files: Vec<(&'static str, &'a Path)>,
    /// The folder of the difference pictures.
    pub diff_dir: Option<&'a Path>,
}

/// Refuses targets that would change a side. Where none is refused, reports of an earlier
/// comparison go: if this one ends early, they would be taken for its own.
///
/// # Errors
/// [`Error::Usage`] with the flag and the file that is in danger; [`Error::Io`] if a
/// folder cannot be read, or an earlier report not removed.
pub fn prepare(golden: &Path, new: &Path, targets: &Targets) -> Result<(), Error> {
    check_each_other(targets)?;
    let names = match targets.diff_dir {
        Some(_) => [side::picture_names(golden)?, side::picture_names(new)?].concat(),
        None => Vec::new(),
    };
    for (side, path) in [("GOLDEN", golden), ("NEW", new)] {
        // What does not exist is told by the comparison itself.
        let Ok(real) = path.canonicalize() else { continue };
        let danger = match real.is_dir() {
            true => ProtectedSide::of_folder(side, path, real)?,
            false => ProtectedSide::of_file(side, path, real),
        };
        for (flag, file) in &targets.files {
            danger.check_file(flag, file)?;
        }
        if let Some(folder) = targets.diff_dir {
            danger.check_folder(folder, &names)?;
        }
    }
    if let Some(folder) = targets.diff_dir {
        check_diff_dir(folder, &names)?;
    }
    for (_, file) in targets.files.iter().filter(|(_, file)| is_earlier(file)) {
        std::fs::remove_file(file).map_err(Error::io("remove the earlier report", file))?;
    }
    Ok(())
}

/// Refuses targets that would take each other's place.
fn check_each_other(targets: &Targets) -> Result<(), Error> {
    let refuse = |flags: &str, file: &Path| {
        Err(Error::usage_hint(
            format!("{flags} would both write {}", file.display()),
            "give each a name of its own",
        ))
    };
    for (place, (flag, file)) in targets.files.iter().enumerate() {
        let real = in_real_folder(file);
        let earlier = &targets.files[..place];
        if let Some((other, _)) = earlier.iter().find(|(_, other)| in_real_folder(other) == real) {
            return refuse(&format!("{other} and {flag}"), file);
        }
        let Some(folder) = targets.diff_dir.map(resolved) else { continue };
        let is_list = real == folder.join(diff_image::LIST);
        let is_inside = real.starts_with(&folder) && is_of_a_run(&real);
        if is_list || is_inside || folder.starts_with(&real) {
            return refuse(&format!("{flag} and --diff-dir"), file);
        }
    }
    Ok(())
}

/// Refuses a folder in which a difference picture would take the place of anything but
/// that of an earlier comparison, or would land elsewhere.
fn check_diff_dir(folder: &Path, names: &[String]) -> Result<(), Error> {
    let refuse = |what: String| {
        Err(Error::usage_hint(format!("--diff-dir: {what}"), "give a folder of its own"))
    };
    if folder.join(manifest::FILE_NAME).exists() {
        return refuse(format!("{} holds the pictures of a run", folder.display()));
    }
    let earlier = diff_image::earlier(folder);
    for name in names {
        let file = folder.join(name);
        if output::is_behind_a_link(folder, name) {
            return refuse(format!("{} is, or lies in, a symbolic link", file.display()));
        }
        let own = || earlier.get(name).is_some_and(|hash| file_is(&file, hash).unwrap_or(false));
        if file.exists() && !own() {
            return refuse(format!("{} is there, and no comparison wrote it", file.display()));
        }
    }
    Ok(())
}

/// One side, and what must not be written over.
struct ProtectedSide {
    side: &'static str,
    given: PathBuf,
    /// The side's folder; of a single picture, the one that it lies in.
    folder: PathBuf,
    is_folder: bool,
    /// Pictures that lie elsewhere, behind links.
    linked: BTreeSet<PathBuf>,
}

impl ProtectedSide {
    fn of_folder(
        side: &'static str,
        given: &Path,
        folder: PathBuf,
    ) -> Result<ProtectedSide, Error> {
        let files = output::files_below(given)?.into_iter().map(|name| given.join(name));
        let links = files.filter(|file| file.is_symlink());
        let linked = links.filter_map(|file| file.canonicalize().ok()).collect();
        Ok(ProtectedSide { side, given: given.to_owned(), folder, is_folder: true, linked })
    }

    fn of_file(side: &'static str, given: &Path, file: PathBuf) -> ProtectedSide {
        let folder = in_real_folder(given).parent().map(Path::to_owned).unwrap_or_default();
        let linked = BTreeSet::from([in_real_folder(given), file]);
        ProtectedSide { side, given: given.to_owned(), folder, is_folder: false, linked }
    }

    fn check_file(&self, flag: &str, target: &Path) -> Result<(), Error> {
        // A link under the target's own name is replaced, not followed.
        let real = in_real_folder(target);
        let inside = real.starts_with(&self.folder);
        let own = inside && (self.is_folder || real.exists()) && is_of_a_run(&real);
        let strange = inside && self.is_folder && real.exists() && !is_report(&real);
        if own || strange || self.linked.contains(&real) {
            return Err(self.refusal(flag, target));
        }
        Ok(())
    }

    fn check_folder(&self, target: &Path, names: &[String]) -> Result<(), Error> {
        let flag = "--diff-dir";
        let real = resolved(target);
        let is_side = match self.is_folder {
            true => real.starts_with(&self.folder),
            false => real == self.folder,
        };
        if is_side {
            return Err(self.refusal(flag, target));
        }
        let files = names.iter().map(|name| target.join(name));
        let mut folders: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        for file in files {
            let folder = file.parent().unwrap_or(target).to_owned();
            let real = folders.entry(folder).or_insert_with_key(|folder| resolved(folder));
            let lands = real.join(file.file_name().unwrap_or_default());
            let inside = self.is_folder && lands.starts_with(&self.folder);
            if inside || self.linked.contains(&lands) {
                return Err(self.refusal(flag, &file));
            }
        }
        Ok(())
    }

    fn refusal(&self, flag: &str, target: &Path) -> Error {
        let (side, given) = (self.side, self.given.display());
        let verb = if self.is_folder { "lies in" } else { "would change the folder of" };
        Error::usage_hint(format!("{flag}: {} {verb} {side} ({given})", target.display()), HINT)
    }
}

/// A picture, a raw map, a manifest: never a report, even where none is yet.
fn is_of_a_run(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let is_manifest = name.starts_with("manifest.") && name.ends_with(".json");
    is_manifest || side::is_picture(&name) || side::is_raw(&name)
}

/// Whether an earlier comparison wrote this page or JUnit report.
fn is_report(file: &Path) -> bool {
    let head = head_of(file);
    head.contains("<title>actviz compare: ") || head.contains("<testsuites name=\"actviz compare\"")
}

/// Whether it is a report that goes. What leads to one that is open, as /dev/stdout may, is
/// the system's.
fn is_earlier(file: &Path) -> bool {
    !output::is_a_stream(file) && is_report(file)
}

/// How a file begins; nothing of what is no file.
fn head_of(file: &Path) -> String {
    let bytes = output::read_file(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes[..bytes.len().min(512)]).into_owned()
}

/// Refuses a place for the page of `actviz report` on a folder of pictures: a name that a
/// run gives, and a file that is no earlier page.
///
/// # Errors
/// [`Error::Usage`].
pub fn check_page(folder: &Path, page: &Path) -> Result<(), Error> {
    let refuse = |what: &str| {
        Err(Error::usage_hint(
            format!("{} {what}", page.display()),
            "-o FILE.html writes elsewhere; an earlier page is written over",
        ))
    };
    let is_inside = in_real_folder(page).starts_with(resolved(folder));
    if is_inside && is_of_a_run(page) {
        return refuse("is, or would be taken for, a file of the run");
    }
    let is_page = || head_of(page).contains(crate::report::MARK);
    match page.is_file() && !is_page() {
        true => refuse("is there already, and is no page of actviz report"),
        false => Ok(()),
    }
}

/// Where a file will be: its folder resolved, its own name as it is.
fn in_real_folder(file: &Path) -> PathBuf {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = resolved(parent.unwrap_or(Path::new(".")));
    match file.file_name() {
        Some(name) => folder.join(name),
        None => resolved(file),
    }
}

/// Where a path leads that need not exist: its nearest ancestor that does, resolved, and
/// the rest.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let real = |ancestor: &Path| Some((ancestor.canonicalize().ok()?, ancestor.to_owned()));
    let Some((mut real, ancestor)) = absolute.ancestors().find_map(real) else { return absolute };
    let rest = absolute.strip_prefix(ancestor).unwrap_or(Path::new(""));
    let mut went_up = false;
    for part in rest.components() {
        match part {
            Component::ParentDir => went_up |= real.pop(),
            part => real.push(part),
        }
    }
    if went_up { resolved(&real) } else { real }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_resolved_by_its_nearest_ancestor() {
        let place = tempfile::tempdir().expect("a folder");
        let real = place.path().canonicalize().expect("a folder");
        std::fs::create_dir(real.join("golden")).expect("a folder");
        for (path, expected) in [
            ("golden", "golden"),
            ("golden/a/b", "golden/a/b"),
            ("golden/../x", "x"),
            ("gone/../golden/a", "golden/a"),
            ("golden/gone/../../x", "x"),
        ] {
            assert_eq!(resolved(&real.join(path)), real.join(expected), "{path}");
        }
    }
}
