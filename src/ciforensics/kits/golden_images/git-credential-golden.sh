#!/bin/sh
# git's credential helper in a golden image (gitcredentials(7)). The first that has one answers: the build's
# secret, the variable, .netrc, the user's other helpers. Where there is no credential at all, it says so in a
# way that makes git ask without one: a helper that says nothing makes a git with proactiveAuth give up before it
# sends a request, even for a public repository.
host=@{ host }@
secret=/run/secrets/@{ credentials.secret }@
token=${@{ credentials.environment }@:-}

# CIFORENSICS_ASKED: asked again by the `git credential` below.
[ "$1" = get ] && [ -z "$CIFORENSICS_ASKED" ] || exit 0

if [ -s "$secret" ] && [ -r "$secret" ]; then
  token=$(tr -d '\r\n' <"$secret")
fi
if [ -n "$token" ]; then
  printf 'username=x-access-token\npassword=%s\n' "$token"
  exit
fi

# curl would read it, but not before it is asked for a credential.
found=$(awk -v host="$host" '
  { sub(/^#.*/, ""); for (i = 1; i <= NF; i++) word[++n] = $i }
  END {
    for (i = 1; i <= n; i++) {
      if (word[i] == "machine") ours = word[++i] == host
      else if (word[i] == "default") ours = 0
      else if (ours && word[i] == "login") login = word[++i]
      else if (ours && word[i] == "password") password = word[++i]
    }
    if (login != "" && password != "") printf "username=%s\npassword=%s\n", login, password
  }' "${HOME:-/}/.netrc" 2>/dev/null)
if [ -n "$found" ]; then
  printf '%s\n' "$found"
  exit
fi

if found=$(CIFORENSICS_ASKED=1 GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=false git credential fill 2>/dev/null); then
  printf '%s\n' "$found"
else
  # An empty Authorization header, which curl leaves out.
  printf 'capability[]=authtype\nauthtype=\ncredential=\n'
fi
