#!/usr/bin/env bash
# Fetches the bundles from npm, in the versions of README.md, and puts them beside this script.
set -euo pipefail
cd "$(dirname "$0")"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

sed -nE 's/^\| `([a-z-]+)` \| ([0-9.]+) \|.*/\1 \2/p' README.md | while read -r name version; do
  npm pack --silent --pack-destination "$scratch" "$name@$version" >/dev/null
  tar -xzf "$scratch/$name-$version.tgz" -C "$scratch"
  sed '/^\/\/# sourceMappingURL=/d' "$scratch/package/build/$name.min.js" >"$name.min.js"
  cp "$scratch/package/LICENSE" "$name.LICENSE"
  rm -rf "$scratch/package"
  echo "$name $version"
done
