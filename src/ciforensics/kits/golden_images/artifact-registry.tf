# The three repositories: golden images, a cache of Docker Hub, and the virtual one in front of both.
# artifact-registry.sh says the same in gcloud: use one of them.

resource "google_artifact_registry_repository" "golden" {
  project       = @{ project }@
  location      = @{ location }@
  repository_id = @{ golden }@
  description   = "golden images, asked first"
  format        = "DOCKER"
}

resource "google_artifact_registry_repository" "cache" {
  project       = @{ project }@
  location      = @{ location }@
  repository_id = @{ cache }@
  description   = "cache of Docker Hub"
  format        = "DOCKER"
  mode          = "REMOTE_REPOSITORY"

  remote_repository_config {
    docker_repository {
      public_repository = "DOCKER_HUB"
    }
  }
}

resource "google_artifact_registry_repository" "mirror" {
  project       = @{ project }@
  location      = @{ location }@
  repository_id = @{ virtual }@
  description   = "what builds pull from"
  format        = "DOCKER"
  mode          = "VIRTUAL_REPOSITORY"

  virtual_repository_config {
    upstream_policies {
      id         = "golden"
      repository = google_artifact_registry_repository.golden.id
      priority   = 200 # the greater is asked first
    }
    upstream_policies {
      id         = "cache"
      repository = google_artifact_registry_repository.cache.id
      priority   = 100
    }
  }
}

data "google_project" "project" {
  project_id = @{ project }@
}

# docker-mirror reads on behalf of every daemon (Workload Identity Federation for GKE).
resource "google_artifact_registry_repository_iam_member" "docker_mirror" {
  project    = @{ project }@
  location   = @{ location }@
  repository = google_artifact_registry_repository.mirror.name
  role       = "roles/artifactregistry.reader"
  member     = "principal://iam.googleapis.com/projects/${data.google_project.project.number}/locations/global/workloadIdentityPools/${data.google_project.project.project_id}.svc.id.goog/subject/ns/docker-mirror/sa/docker-mirror"
}
