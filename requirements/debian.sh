#!/usr/bin/env bash
# Install the Debian packages of a list that are missing; without the right to, say which.
#
#   requirements/debian.sh requirements/debian.txt
#   requirements/debian.sh python3-venv
#
# Exit 0: nothing is missing any more. Exit 1: something is, and the last lines say what to do.
set -euo pipefail

if [[ -f ${1-} ]]; then
    mapfile -t wanted < <(sed -e 's/#.*//' -e 's/[[:space:]]*|[[:space:]]*/|/g' "$1" | xargs -n1)
else
    wanted=("$@")
fi

installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

available() { apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [^(]'; }

# choose "a|b": print the alternative that is installed, else the first the distribution offers.
choose() {
    local one alternatives
    IFS='|' read -ra alternatives <<<"$1"
    for one in "${alternatives[@]}"; do installed "$one" && echo "$one" && return; done
    for one in "${alternatives[@]}"; do available "$one" && echo "$one" && return; done
    echo "${alternatives[0]}"
}

list_missing() {
    missing=()
    local line one
    for line in "${wanted[@]}"; do
        one=$(choose "$line")
        installed "$one" || missing+=("$one")
    done
}

if ! command -v dpkg-query >/dev/null; then
    echo "This is no Debian or Ubuntu. Install what stands in ${1} under your system's names;" >&2
    echo "then go on with: make check, and .venv/bin/python -m pytest" >&2
    exit 1
fi

list_missing
[[ ${#missing[@]} -eq 0 ]] && exit 0

if [[ $(id -u) -eq 0 ]]; then
    as_root=(env)
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; then
    as_root=(sudo)
else
    echo "Missing Debian packages, and no right to install them here. As root:" >&2
    echo "    apt-get update && apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
fi

apt_get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}

echo "== installing Debian packages: ${missing[*]}"
apt_get update
list_missing # only now is it sure which alternative the distribution has

# The tests start their own archive and database. That Debian starts others on this machine's
# ports, an archive open to everybody among them, would be no favour: policy-rc.d forbids it.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi
apt_get install --no-install-recommends "${missing[@]}"
