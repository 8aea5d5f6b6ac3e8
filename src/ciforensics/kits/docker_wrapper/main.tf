# Topic, table, and the subscription that writes each message of the one into the other as it is. A line that
# no column would take stays readable so; no message is ever stuck.
terraform {
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 5.0"
    }
  }
}

locals {
  project = @{ project }@
  dataset = @{ dataset }@
}

data "google_project" "this" {
  project_id = local.project
}

resource "google_pubsub_topic" "docker_wrapper" {
  project = local.project
  name    = @{ topic }@
}

resource "google_bigquery_table" "docker_wrapper" {
  project    = local.project
  dataset_id = local.dataset
  table_id   = @{ table }@
  schema     = file("${path.module}/table-schema.json")

  time_partitioning {
    type  = "DAY"
    field = "publish_time"
  }
}

# Pub/Sub writes as its own service agent.
resource "google_bigquery_table_iam_member" "pubsub" {
  for_each   = toset(["roles/bigquery.dataEditor", "roles/bigquery.metadataViewer"])
  project    = local.project
  dataset_id = local.dataset
  table_id   = google_bigquery_table.docker_wrapper.table_id
  role       = each.value
  member     = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
}

resource "google_pubsub_subscription" "docker_wrapper" {
  project = local.project
  name    = google_pubsub_topic.docker_wrapper.name
  topic   = google_pubsub_topic.docker_wrapper.id

  bigquery_config {
    table          = "${local.project}.${local.dataset}.${google_bigquery_table.docker_wrapper.table_id}"
    write_metadata = true
  }

  expiration_policy {
    ttl = "" # never, however quiet it is
  }

  depends_on = [google_bigquery_table_iam_member.pubsub]
}
