#!/usr/bin/env bash
# Installs Gatun into the local Maven repository, then builds and runs every example against it.
# Usage: examples/run-all.sh [EXAMPLE…]
#
# MVN and MVNFLAGS are as for make. To keep your own repository as it is:
#   MVNFLAGS=-Dmaven.repo.local=DIR examples/run-all.sh
set -uo pipefail
cd "$(dirname "$0")/.."
read -ra mvn <<<"${MVN:-mvn -B -ntp} ${MVNFLAGS:-}"

log=$PWD/target/examples
mkdir -p "$log"

# Without the colours that some Mavens write even to a file.
plain() {
  sed 's/\x1b\[[0-9;]*m//g' "$1"
}

# Its output is shown only if it fails.
quietly() {
  local name=$1
  shift
  "$@" >"$log/$name.log" 2>&1 && return 0
  printf 'FAILED  %s\n' "$name"
  plain "$log/$name.log" | grep -v '^    at ' | head -n 60 | sed 's/^/    | /'
  return 1
}

JAVA_GATUN_HOME=$(src/main/scripts/find-jdk.sh --javac) || exit 1
export JAVA_GATUN_HOME
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
quietly install "${mvn[@]}" -q -Dnative.jobs="$jobs" -Dmaven.test.skip=true install || exit 1

if [ $# -eq 0 ]; then
  set -- examples/*/pom.xml
  set -- "${@%/pom.xml}"
  set -- "${@#examples/}"
fi
passed=0
failed=0
for example; do
  rm -rf "examples/$example/target"
  if quietly "$example" "${mvn[@]}" -q -f "examples/$example/pom.xml" compile exec:exec; then
    passed=$((passed + 1))
    printf 'ok      %-16s %s\n' "$example" "$(plain "$log/$example.log" | grep . | tail -n 1)"
  else
    failed=$((failed + 1))
  fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
