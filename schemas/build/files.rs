//! Files of the catalog and how they get into the crate.

use std::fs;
use std::path::Path;

/// A found file.
pub(crate) struct Found {
    /// Path below its root, with `/`.
    pub(crate) path: String,
    /// Content.
    pub(crate) text: String,
}

/// All files below `root` with this ending, sorted by path.
pub(crate) fn find(root: &Path, ending: &str) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        let fail = |error: std::io::Error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(&folder).map_err(fail)? {
            let whole = entry.map_err(fail)?.path();
            if whole.is_dir() {
                open.push(whole);
            } else if whole.extension().is_some_and(|extension| extension == ending) {
                let below = whole.strip_prefix(root).map_err(|error| error.to_string())?;
                let path = below.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/");
                let text = fs::read_to_string(&whole).map_err(|error| format!("{}: {error}", whole.display()))?;
                found.push(Found { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// A table of (path, text); `stem` leaves the ending of the path out.
pub(crate) fn embed(name: &str, files: &[Found], stem: bool) -> String {
    let mut out = format!("/// Embedded files.\nstatic {name}: &[(&str, &str)] = &[\n");
    for file in files {
        let path = if stem { file.path.rsplit_once('.').map_or(&*file.path, |(stem, _)| stem) } else { &file.path };
        out += &format!("    ({path:?}, {:?}),\n", file.text);
    }
    out + "];\n"
}
