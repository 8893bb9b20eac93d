#!/bin/sh
# Install the Debian packages that some tests need, where that is possible; a test whose package is missing is skipped,
# and says so at the end (with CI=true that is a failure).
set -u
cd "$(dirname "$0")" || exit 0
missing=""
for package in $(grep -v '^#' debian-packages.txt); do
    dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null 2>&1 || exit 0
if [ "$(id -u)" = 0 ]; then as_root=""; elif sudo -n true 2>/dev/null; then as_root="sudo -n"; else exit 0; fi
echo "installing for the tests:$missing"
$as_root apt-get update -qq >/dev/null 2>&1
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 || true
