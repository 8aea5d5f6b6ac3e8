#!/bin/sh
# Builds every golden image, proves that its git sends credentials first, and pushes it to where the mirror
# looks. Run it as root, as the proof takes a chroot, whenever the base images are renewed.
#   ./push.sh            all
#   PUSH=no ./push.sh    build and prove only
set -eu
cd "$(dirname "$0")"

golden() { # folder, name
  docker build --pull -f "$1/Dockerfile" -t "$2" .
  ciforensics golden verify --image "$2" \
    --secret @{ credentials.secret }@ --variable @{ credentials.environment }@
  [ "${PUSH:-yes}" = no ] || docker push "$2"
}

#% for image in images
golden @{ image.folder }@ @{ image.pushed }@
#% endfor
