//! What is made from files, and made anew when they change. What can't be made replaces nothing.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

use super::TlsError;

/// What came of one look at the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    Same,
    Swapped,
    /// The files are missing, broken, half-written or not valid now; what was made before stays.
    Refused,
}

/// Something that is made from the contents of `N` files.
pub(super) trait FromFiles<const N: usize>: Sized {
    /// What is said when new files are no good, and when the first ones aren't.
    const REFUSED: &str;
    const NONE_YET: &str;

    /// `contents` are those of `files`, in their order.
    fn make(files: &[PathBuf; N], contents: &[Vec<u8>; N]) -> Result<Self, TlsError>;

    /// Whether it may take the place of what was made before.
    ///
    /// # Errors
    /// What was made before is better for now. The files are looked at again.
    fn replace(self, _files: &[PathBuf; N], _before: &Self, _now: Timestamp) -> Result<Self, TlsError> {
        Ok(self)
    }
}

/// The newest good one. Reading it waits for nothing; [`Self::reload`] writes it.
pub(super) struct Reloaded<T, const N: usize> {
    files: [PathBuf; N],
    /// With the contents that it was made from: they are compared, not the files' times, because kubelets swap a mounted
    /// Secret by a symbolic link. Nothing until the files were good once.
    made: ArcSwapOption<([Vec<u8>; N], T)>,
    /// Files that are no good are reported once, not on every look.
    refused: AtomicBool,
}

impl<T: FromFiles<N>, const N: usize> Reloaded<T, N> {
    /// Nothing is read yet.
    pub(super) fn of(files: [PathBuf; N]) -> Self {
        Self { files, made: ArcSwapOption::empty(), refused: AtomicBool::new(false) }
    }

    pub(super) const fn files(&self) -> &[PathBuf; N] {
        &self.files
    }

    /// A value of what was made last; `None` while there is none.
    pub(super) fn get<V>(&self, value: impl FnOnce(&T) -> V) -> Option<V> {
        self.made.load().as_ref().map(|made| value(&made.1))
    }

    /// Looks at the files once and takes them if they changed and are good.
    pub(super) fn reload(&self, now: Timestamp) -> Reload {
        let before = self.made.load();
        let contents = match read(&self.files) {
            Ok(contents) => contents,
            Err(error) => return self.refuse(before.is_some(), &error),
        };
        if before.as_ref().is_some_and(|before| before.0 == contents) {
            self.refused.store(false, Ordering::Relaxed);
            return Reload::Same;
        }
        let made = T::make(&self.files, &contents).and_then(|made| match &*before {
            Some(before) => made.replace(&self.files, &before.1, now),
            None => Ok(made),
        });
        match made {
            Ok(made) => {
                self.refused.store(false, Ordering::Relaxed);
                self.made.store(Some(Arc::new((contents, made))));
                Reload::Swapped
            }
            Err(error) => self.refuse(before.is_some(), &error),
        }
    }

    fn refuse(&self, before: bool, error: &TlsError) -> Reload {
        if !self.refused.swap(true, Ordering::Relaxed) {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "{}", if before { T::REFUSED } else { T::NONE_YET });
        }
        Reload::Refused
    }
}

fn read<const N: usize>(files: &[PathBuf; N]) -> Result<[Vec<u8>; N], TlsError> {
    let mut contents = [const { Vec::new() }; N];
    for (content, file) in contents.iter_mut().zip(files) {
        *content = std::fs::read(file).map_err(|source| TlsError::File { path: file.clone(), source })?;
    }
    Ok(contents)
}
