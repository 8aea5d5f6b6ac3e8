#!/bin/sh
# The three repositories: golden images, a cache of Docker Hub, and the virtual one in front of both.
# artifact-registry.tf says the same in Terraform: use one of them.
set -eu
create() {
  name=$1
  shift
  gcloud artifacts repositories create "$name" \
    --project=@{ project }@ --location=@{ location }@ --repository-format=docker "$@"
}

create @{ golden }@ --mode=standard-repository --description='golden images, asked first'
create @{ cache }@ --mode=remote-repository --remote-docker-repo=docker-hub --description='cache of Docker Hub'

# The greater priority is asked first.
policy=$(mktemp)
trap 'rm -f "$policy"' EXIT
prefix=projects/@{ project }@/locations/@{ location }@/repositories
printf '[{"id": "golden", "repository": "%s/%s", "priority": 200}, {"id": "cache", "repository": "%s/%s", "priority": 100}]\n' \
  "$prefix" @{ golden }@ "$prefix" @{ cache }@ >"$policy"
create @{ virtual }@ --mode=virtual-repository --upstream-policy-file="$policy" --description='what builds pull from'

# docker-mirror reads on behalf of every daemon (Workload Identity Federation for GKE).
number=$(gcloud projects describe @{ project }@ --format='value(projectNumber)')
gcloud artifacts repositories add-iam-policy-binding @{ virtual }@ \
  --project=@{ project }@ --location=@{ location }@ --role=roles/artifactregistry.reader \
  --member="principal://iam.googleapis.com/projects/$number/locations/global/workloadIdentityPools/"@{ project }@.svc.id.goog/subject/ns/docker-mirror/sa/docker-mirror
