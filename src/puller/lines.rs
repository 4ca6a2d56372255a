//! The lines of one list: images that the store has are named, the others are pulled and then named.

use std::fmt;
use std::hash::Hash;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::time::timeout;

use crate::admit::{Admission, LeasedStore, line_image};
use crate::concurrency::QUESTIONS_OF_LIST;
use crate::credentials::{Credentials, Login};
use crate::digest::Digest;
use crate::entry::Identity;
use crate::happened::Happened;
use crate::image_list::{ImageList, Line, LineProblem};
use crate::image_store::{Descriptor, ImageStore, PullError, StoreError};
use crate::ledger::{FailureClass, ImportedImage};
use crate::naming::{ExtraNames, Reference};
use crate::needed_blob::BlobFaults;
use crate::one_line::shortened;
use crate::plan::Looked;
use crate::progress::Meter;
use crate::reporter::report;
use crate::retry;
use crate::told::Told;

use super::login::{LoginError, LoginFile};
use super::permits::Permits;
use super::repairs::Repairs;
use super::rules::PullRules;
use super::stored_image::StoredImage;

/// What is told of when the login file cannot be used.
const CREDENTIALS: &str = "credentials";

/// The most characters of an error: a registry may answer with pages, for each line of a list.
const ERROR_MAX: usize = 400;

pub(super) struct ListWork<'a, S: ImageStore> {
    pub(super) store: &'a S,
    pub(super) rules: &'a PullRules,
    pub(super) permits: &'a Permits,
    pub(super) repairs: &'a Repairs<S>,
    pub(super) login_file: &'a LoginFile,
    /// What the list has brought before.
    pub(super) known: &'a [ImportedImage],
    /// The path, for people.
    pub(super) name: String,
    /// The version of the list.
    pub(super) identity: Identity,
    pub(super) told: &'a Told,
    pub(super) names: ExtraNames<'a>,
    pub(super) meter: &'a Meter,
}

/// Why a line has no image in the store.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullLineError {
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error("not pulled within {} (lists.pull-timeout)", humantime::format_duration(*.0))]
    Late(Duration),
    #[error("CRI has pulled it, and containerd has no image of that name")]
    Vanished,
    #[error("CRI has pulled it, and its blob {0} is still damaged")]
    Damaged(Digest),
    /// containerd from 2.2 on asks no registry for a layer by its digest that answers otherwise than with
    /// 404 for a manifest of that digest, and none takes one of more than 4 MiB for a manifest.
    #[error(
        "its layer {digest} was damaged, and cannot be pulled by itself; containers start as long as it is \
         unpacked; to have it pulled anew, remove the image with crictl rmi: {cause}"
    )]
    Layer { digest: Digest, cause: String },
}

/// What the store has of the image of a line.
pub(super) enum LineState {
    Absent,
    /// The store has the image, or some of it, and these of its blobs are not whole.
    Damaged(BlobFaults),
    /// Named and pinned.
    Kept(ImportedImage),
}

impl From<StoreError> for PullLineError {
    fn from(error: StoreError) -> Self {
        Self::Pull(error.into())
    }
}

impl PullLineError {
    /// As the failure of the pull of a layer.
    pub(super) fn of_layer(self, digest: &Digest) -> Self {
        match self {
            Self::Pull(PullError::Store(_)) => self,
            other => Self::Layer {
                digest: digest.clone(),
                cause: other.to_string(),
            },
        }
    }

    /// Fails with the store's own error where the store is away: that says nothing about the line.
    fn or_away(self) -> Result<Self, StoreError> {
        match self {
            Self::Pull(PullError::Store(away)) if away.is_away() => Err(away),
            other => Ok(other),
        }
    }
}

impl<S: ImageStore> ListWork<'_, S> {
    /// Names and pins the images that the store has. Fails only when the store is away: any other failure
    /// concerns one line.
    pub(super) async fn look(&self, list: &ImageList) -> Result<Looked, StoreError> {
        let mut looked = Looked {
            is_understood: list.problems.is_empty(),
            ..Looked::default()
        };
        for LineProblem { number, cause } in &list.problems {
            self.failed(&mut looked, *number, None, cause);
        }
        let mut looks = stream::iter(list.lines.clone())
            .map(async |line| (self.what_is_there(&line, self.known).await, line))
            .buffer_unordered(QUESTIONS_OF_LIST);
        while let Some((there, line)) = looks.next().await {
            match there.map_err(PullLineError::or_away) {
                Ok(LineState::Kept(image)) => self.has(&mut looked, line.number, image),
                Ok(LineState::Absent | LineState::Damaged(_)) => looked.absent.push(line),
                Err(error) => self.failed(&mut looked, line.number, Some(&line.reference), &error?),
            }
        }
        looked.absent.sort_by_key(|line| line.number);
        Ok(looked)
    }

    /// Pulls what a look has found absent. Fails only when the store is away.
    pub(super) async fn pull(&self, mut looked: Looked) -> Result<Looked, StoreError> {
        let (logins, unreadable) = self.logins().await;
        let absent = std::mem::take(&mut looked.absent);
        let mut pulls = stream::iter(absent)
            .map(async |line| (self.fetch(&line, &logins).await, line))
            .buffer_unordered(self.rules.parallel);
        while let Some((fetched, line)) = pulls.next().await {
            let image = &line.reference;
            match fetched.map_err(PullLineError::or_away) {
                Ok(image) => self.has(&mut looked, line.number, image),
                Err(error) => {
                    let gap = logins.gap_for(image);
                    let gap = gap.map(|gap| format!("; lists.auth-file: {gap}"));
                    let error = format!("{}{}", error?, gap.unwrap_or_default());
                    self.failed(&mut looked, line.number, Some(image), &error);
                }
            }
        }
        if let (Some(error), false) = (unreadable, looked.problems.is_empty()) {
            // First of all problems: it may be the cause of the others.
            looked.problems.insert(0, error.to_string());
        }
        Ok(looked)
    }

    /// The image of a line, named and pinned, if the runtime has it and it is whole. Its target is read
    /// from the record that the runtime made, never from the line. `known` are images that were whole
    /// before.
    pub(super) async fn what_is_there(
        &self,
        line: &Line,
        known: &[ImportedImage],
    ) -> Result<LineState, PullLineError> {
        let name = line.reference.to_string();
        let is_seen = self.store.runtime_has(&name).await?;
        let target = self.store.image(&name).await?.map(|image| image.target);
        let known = known.iter().find(|image| match &target {
            Some(target) => image.digest == target.digest,
            None => image.names.contains(&name),
        });
        let known = known.map_or_else(Vec::new, |image| image.blobs.clone());
        let StoredImage { blobs, faults } = match &target {
            Some(target) => StoredImage::look(self.store, target, known).await?,
            None => StoredImage::without_record(self.store, known).await?,
        };
        let target = match target {
            // The runtime does not see an image whose documents are damaged.
            _ if !faults.is_empty() => return Ok(LineState::Damaged(faults)),
            Some(target) if is_seen => target,
            _ => return Ok(LineState::Absent),
        };
        let kept = self.keep(line, &target).await?;
        self.repairs.end(&name).await;
        Ok(LineState::Kept(ImportedImage { blobs, ..kept }))
    }

    async fn fetch(
        &self,
        line: &Line,
        logins: &Credentials,
    ) -> Result<ImportedImage, PullLineError> {
        let permit = self.permits.take(&line.reference).await;
        // An archive, or another list, may have brought it meanwhile.
        let pulled = match self.what_is_there(line, self.known).await? {
            LineState::Kept(image) => return Ok(image),
            LineState::Absent => self.pull_image(&line.reference, logins).await,
            LineState::Damaged(_) => self.repair(line, logins).await,
        };
        drop(permit);
        // Layers that are unpacked are not pulled again. Where the pull failed, nothing may be lacking.
        let known = pulled.as_ref().map_or(self.known, |()| &[]);
        match (self.what_is_there(line, known).await?, pulled) {
            (LineState::Kept(image), _) => Ok(image),
            (_, Err(error)) => Err(error),
            (LineState::Absent, Ok(())) => Err(PullLineError::Vanished),
            (LineState::Damaged(faults), Ok(())) => Err(match faults.into_keys().next() {
                Some(digest) => PullLineError::Damaged(digest),
                None => PullLineError::Vanished,
            }),
        }
    }

    pub(super) async fn pull_image(
        &self,
        image: &Reference,
        logins: &Credentials,
    ) -> Result<(), PullLineError> {
        let (name, login) = (image.to_string(), logins.login_for(image));
        self.in_time(login, self.store.pull(&name, login)).await
    }

    /// Pulls, for as long as a pull may take.
    pub(super) async fn in_time(
        &self,
        login: Option<&Login>,
        pull: impl Future<Output = Result<(), PullError>>,
    ) -> Result<(), PullLineError> {
        let limit = self.rules.timeout;
        // Some registries repeat the credentials that they were sent.
        let shown = |words: String| match login {
            Some(login) => login.kept_out_of(&words),
            None => words,
        };
        match timeout(limit, pull).await {
            Ok(pulled) => Ok(pulled.map_err(|error| error.map_words(shown))?),
            Err(_) => Err(PullLineError::Late(limit)),
        }
    }

    /// Gives an image that is in the store the names that a line brings, pinned.
    async fn keep(&self, line: &Line, target: &Descriptor) -> Result<ImportedImage, PullLineError> {
        let desired = line_image(line, target, &self.names);
        // A lease for each image: the work on a list may take longer than a lease lasts.
        let leased = LeasedStore::begin(self.store, &self.name).await?;
        let admission = Admission {
            leased: &leased,
            meter: self.meter,
        };
        if !self.rules.extra_registries.is_empty()
            && let Err(error) = admission.label_pulled(&desired).await
        {
            let (image, error) = (line.reference.to_string(), error.to_string());
            if self.is_news((&image, "label"), &error) {
                let entry = self.name.clone();
                report(Happened::NotLabelled {
                    entry,
                    image,
                    error,
                });
            }
        }
        let named = admission.put_names(&desired).await;
        leased.release().await;
        Ok(named?)
    }

    /// The credentials of `lists.auth-file`. Where the file is wrong, one warning says so and pulls go on
    /// without: the registry may ask for none, or containerd may have its own.
    async fn logins(&self) -> (Credentials, Option<LoginError>) {
        let Some(file) = &self.rules.auth_file else {
            return (Credentials::default(), None);
        };
        match self.login_file.credentials(file).await {
            Ok(credentials) => {
                self.told.forget(&self.name, CREDENTIALS);
                for gap in credentials.gaps() {
                    let (entry, cause) = (self.name.clone(), gap.to_string());
                    if self.is_news(&cause, "") {
                        report(Happened::LoginMissing { entry, cause });
                    }
                }
                (credentials, None)
            }
            Err(error) => {
                let (entry, told) = (self.name.clone(), error.to_string());
                if self.is_news(CREDENTIALS, &told) {
                    report(Happened::PullingWithoutCredentials { entry, error: told });
                }
                (Credentials::default(), Some(error))
            }
        }
    }

    /// Whether this was not told of the list at the last attempt.
    fn is_news(&self, subject: impl Hash, text: &str) -> bool {
        let Self {
            name,
            identity,
            told,
            ..
        } = self;
        told.is_news(name, *identity, subject, text)
    }

    fn has(&self, looked: &mut Looked, line: usize, image: ImportedImage) {
        self.meter.add(1);
        self.told.forget(&self.name, line);
        looked.images.insert(line, image);
    }

    fn failed(
        &self,
        looked: &mut Looked,
        line: usize,
        reference: Option<&Reference>,
        error: &dyn fmt::Display,
    ) {
        self.meter.add(1);
        let image = reference.map_or(String::new(), |reference| format!("{reference}: "));
        let words = error.to_string();
        // From the whole text: a registry's Retry-After comes last in it.
        let asked = retry::asked_for(&words);
        let error = shortened(&words, ERROR_MAX);
        if self.is_news(line, &error) {
            report(Happened::NotPulled {
                entry: self.name.clone(),
                line,
                image: reference.map(Reference::to_string),
                error: error.clone(),
            });
        }
        looked.not_before = looked.not_before.max(asked.unwrap_or_default());
        // A pull that failed may succeed later; a line that names no image never does.
        let class = reference.map_or(FailureClass::Content, |_| FailureClass::Environment);
        looked.class = looked.class.max(class);
        looked.failed.extend(reference.map(Reference::to_string));
        let problem = format!("line {line}: {image}{error}");
        looked.problems.insert(line, problem);
    }
}
