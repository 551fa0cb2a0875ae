//! What the registry said, on disk: a start without it succeeds. Losing the cache costs requests, nothing else, so
//! its own errors are told once and passed over.

use std::path::PathBuf;

/// Files of one registry: `id-<schema id>` holds a schema, `subject-<hash of subject and schema>` an id.
pub(super) struct Disk {
    folder: Option<PathBuf>,
}

impl Disk {
    pub(super) fn new(root: Option<PathBuf>, url: &str) -> Self {
        Self { folder: root.map(|root| root.join(&blake3::hash(url.as_bytes()).to_hex()[..16])) }
    }

    pub(super) async fn id(&self, subject: &str, schema: &str) -> Option<i32> {
        self.read(&subject_file(subject, schema)).await?.parse().ok()
    }

    pub(super) async fn keep_id(&self, subject: &str, schema: &str, id: i32) {
        self.write(&subject_file(subject, schema), &id.to_string()).await;
    }

    pub(super) async fn schema(&self, id: i32) -> Option<String> {
        self.read(&format!("id-{id}")).await
    }

    pub(super) async fn keep_schema(&self, id: i32, schema: &str) {
        self.write(&format!("id-{id}"), schema).await;
    }

    async fn read(&self, name: &str) -> Option<String> {
        tokio::fs::read_to_string(self.folder.as_ref()?.join(name)).await.ok()
    }

    /// Under another name first: a reader sees all or nothing.
    async fn write(&self, name: &str, text: &str) {
        let Some(folder) = &self.folder else { return };
        let path = folder.join(name);
        if tokio::fs::try_exists(&path).await.unwrap_or(false) {
            return;
        }
        let draft = folder.join(format!("draft-{}", uuid::Uuid::now_v7()));
        let written = async {
            tokio::fs::create_dir_all(folder).await?;
            tokio::fs::write(&draft, text).await?;
            tokio::fs::rename(&draft, &path).await
        };
        if let Err(error) = written.await {
            tracing::warn!(path = %path.display(), %error, "the schema cache cannot be written");
        }
    }
}

fn subject_file(subject: &str, schema: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(subject.as_bytes()).update(&[0]).update(schema.as_bytes());
    format!("subject-{}", &hasher.finalize().to_hex()[..32])
}
