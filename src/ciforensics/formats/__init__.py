"""How logs are written: the pieces that sources are put together from. A piece knows a format, never a log.

| module | what it reads |
|---|---|
| `records` | lines and blocks that become records, fields of JSON |
| `envelopes` | what log collectors wrap around lines |
| `times`, `http` | timestamps; URLs and user agents |
| `delimited` | CSV and its relatives, broken ones included |
| `har`, `flows` | files that are no lines: HAR and JSON arrays, mitmproxy's dumps, by `mitmproxy_addon` |
| `json_documents` | JSON documents one after the other: an API's pages, a watch |
| `exchanges`, `keys` | HTTP exchanges as JSON, whatever the keys are called |
| `squid_text`, `squid_json` | Squid's log formats |
| `docker` | docker command lines and image references |
"""
