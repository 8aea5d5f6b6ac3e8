#!/bin/sh
# The token of the metadata server lives for an hour at most; it hands out a new one in time.
token() {
  curl -fsS -H 'Metadata-Flavor: Google' --max-time 10 \
    http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token \
    | sed -n 's/.*"access_token" *: *"\([A-Za-z0-9._-]*\)".*/proxy_set_header Authorization "Bearer \1";/p' \
      >/tmp/token.new && [ -s /tmp/token.new ]
}
umask 077
until token; do sleep 2; done
mv /tmp/token.new /tmp/token.conf
while sleep 60; do
  if token && ! cmp -s /tmp/token.new /tmp/token.conf; then
    mv /tmp/token.new /tmp/token.conf
    nginx -c /etc/mirror/nginx.conf -s reload
  fi
done &
exec nginx -c /etc/mirror/nginx.conf -g 'daemon off;'
